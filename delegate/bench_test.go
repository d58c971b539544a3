package delegate

import (
	"io"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway"
	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/samba"
	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkValidate is a validation of the right password, by 16 callers at
// once: "stub" by fast bind at a controller in the same process, so cpu-us/op is
// of both; "samba" by a connection for each bind, as Samba has no fast bind.
func BenchmarkValidate(b *testing.B) {
	b.Run("stub", func(b *testing.B) {
		v, _ := newStubbed(b)
		validateAtOnce(b, v)
	})
	b.Run("samba", func(b *testing.B) { validateAtOnce(b, newOnSamba(b)) })
}

// BenchmarkAdded compares a validation with the bare bind that is in it, one
// after the other by one caller: added-p50-us and added-p99-us are the
// percentiles of the validations less those of the binds.
func BenchmarkAdded(b *testing.B) {
	b.Run("stub", func(b *testing.B) {
		v, _ := newStubbed(b)
		compareWithBind(b, v)
	})
	b.Run("samba", func(b *testing.B) { compareWithBind(b, newOnSamba(b)) })
}

func newOnSamba(b *testing.B) *Validator {
	b.Helper()
	ad := samba.Start(b)
	ad.AddUser(b, "alice", []byte(right))
	ad.AddServiceAccount(b, serviceAccount, []byte(servicePass))
	set, err := dc.New(dc.Config{URLs: []string{ad.URL}, TLS: ad.TLS()})
	if err != nil {
		b.Fatal(err)
	}
	domain := &Domain{Name: ad.Domain, BaseDN: ad.BaseDN, UseCase: identity.UseAD, DCs: set, Account: serviceAccount + "@" + ad.Domain,
		Password: func() (secret.Bytes, error) { return pw(servicePass), nil }}
	v, err := New(Config{Domains: func() []*Domain { return []*Domain{domain} }, Cloud: &fakeCloud{}, Guard: gateway.NewShared(),
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(v.Close)
	return v
}

func validated(b *testing.B, v *Validator, password secret.Bytes) time.Duration {
	start := time.Now()
	if got := short(v.Validate(b.Context(), "alice", password, "192.0.2.1")); got != "accepted ad" {
		b.Error(got)
	}
	return time.Since(start)
}

func validateAtOnce(b *testing.B, v *Validator) {
	validated(b, v, pw(right))
	var mu sync.Mutex
	var times []time.Duration
	before := cpu()
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		password := pw(right)
		var own []time.Duration
		for pb.Next() {
			own = append(own, validated(b, v, password))
		}
		mu.Lock()
		defer mu.Unlock()
		times = append(times, own...)
	})
	b.StopTimer()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(percentile(times, 99), "p99-us")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "validations/s")
}

func compareWithBind(b *testing.B, v *Validator) {
	password := pw(right)
	validated(b, v, password)
	s, err := v.find(b.Context(), name{kind: nameSAM, text: "alice"})
	if err != nil {
		b.Fatal(err)
	}
	var whole, bare []time.Duration
	for b.Loop() {
		whole = append(whole, validated(b, v, password))
		start := time.Now()
		res, conn, err := s.domain.try(b.Context(), s.account.DN, password, false)
		if err != nil || res.Code != 0 {
			b.Fatal(res, err)
		}
		bare = append(bare, time.Since(start))
		if conn != nil {
			conn.close()
		}
	}
	for _, p := range []int{50, 99} {
		at := "p" + string(rune('0'+p/10)) + string(rune('0'+p%10)) + "-us"
		b.ReportMetric(percentile(bare, p), "bind-"+at)
		b.ReportMetric(percentile(whole, p)-percentile(bare, p), "added-"+at)
	}
}

func percentile(times []time.Duration, p int) float64 {
	slices.Sort(times)
	return float64(times[len(times)*p/100].Microseconds())
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
