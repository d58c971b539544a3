package dc

import (
	"slices"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/testenv/samba"
)

// Two real controllers hang, resume, die and come back. The times are logged,
// not judged, but for a deadline that only a failure reaches.
func TestG9_Samba(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: two Samba domain controllers take a while; run without -short")
	}
	a, b := samba.Start(t), samba.Start(t)
	conf, err := certs.Client(slices.Concat(a.CAPEM, []byte("\n"), b.CAPEM), "")
	if err != nil {
		t.Fatal(err)
	}
	changes := make(chan event, 100)
	s, err := New(Config{
		URLs: []string{a.URL, b.URL}, TLS: conf,
		Observe: func(c string, up bool) {
			changes <- event{c + map[bool]string{true: " up", false: " down"}[up], time.Now()}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.stagger = 2 * time.Second // a busy machine may be slow to shake hands
	runs(t, s)
	await := func(since time.Time, want string) {
		t.Helper()
		deadline := time.After(time.Minute)
		for {
			select {
			case got := <-changes:
				if got.what == want {
					t.Logf("%s after %v", want, got.at.Sub(since).Round(time.Millisecond))
					return
				}
				t.Logf("also %s", got.what) // a busy machine may be slow to answer
			case <-deadline:
				t.Fatalf("no %q within a minute; status %+v", want, s.Healthy())
			}
		}
	}
	dial := func(want string) {
		t.Helper()
		begin := time.Now()
		conn, name, err := s.Dial(t.Context())
		if err != nil {
			t.Fatalf("Dial: %v", err)
		}
		_ = conn.Close()
		t.Logf("Dial gave %s in %v", name, time.Since(begin).Round(100*time.Microsecond))
		if name != want {
			t.Errorf("Dial gave %s, want %s", name, want)
		}
	}

	begin := time.Now()
	await(begin, a.URL+" up")
	for !s.Healthy()[1].Up {
		await(begin, b.URL+" up")
	}
	for _, st := range s.Healthy() {
		t.Logf("%s: health read in %v", st.Name, st.RTT.Round(time.Microsecond))
		if st.ReadOnly {
			t.Errorf("%s is taken for read-only", st.Name)
		}
	}
	dial(a.URL)

	for _, step := range []struct {
		what       string
		fail, mend func(testing.TB)
	}{
		{"suspended", a.Suspend, a.Resume},
		{"killed", a.Kill, a.Restart},
	} {
		t.Logf("-- %s is %s", a.URL, step.what)
		failed := time.Now()
		step.fail(t)
		await(failed, a.URL+" down")
		dial(b.URL)
		step.mend(t)
		await(time.Now(), a.URL+" up")
		dial(a.URL)
	}

	t.Log("-- both hang, then the other one resumes")
	failed := time.Now()
	a.Suspend(t)
	b.Suspend(t)
	for s.Healthy()[0].Up || s.Healthy()[1].Up {
		select {
		case got := <-changes:
			t.Logf("%s after %v", got.what, got.at.Sub(failed).Round(time.Millisecond))
		case <-time.After(time.Minute):
			t.Fatalf("a controller that hangs stays in rotation: %+v", s.Healthy())
		}
	}
	b.Resume(t)
	dial(b.URL) // whether or not a health read found out
	a.Resume(t)
	await(time.Now(), a.URL+" up")
}
