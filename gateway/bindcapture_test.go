package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// teachingDC accepts every bind, says that alice is bound, and counts what it
// was asked.
type teachingDC struct {
	now      time.Time
	set      atomic.Int64 // pwdLastSet
	sids     [][]byte     // of alice's groups
	searches atomic.Int32
	silent   chan struct{} // closed: searches get no answer until the connection ends; nil: they do
}

func newTeachingDC(age time.Duration) *teachingDC {
	dc := &teachingDC{now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	dc.set.Store(fileTimeOf(dc.now.Add(-age)))
	return dc
}

func (dc *teachingDC) serve(p *peer) {
	for msg := range p.requests() {
		if msg.Op != ldapwire.OpSearchRequest {
			p.send(plainAnswer(msg))
			continue
		}
		if dc.silent != nil {
			continue
		}
		p.send(dc.search(msg))
	}
}

func (dc *teachingDC) search(msg ldapwire.Message) []byte {
	req, err := ldapwire.ParseSearchRequest(msg.Body)
	if err != nil {
		return ldapwire.AppendSearchDone(nil, msg.ID, ldapwire.ResultProtocolError, "", "")
	}
	value := func(name, v string) ldapwire.AttributeValues {
		return ldapwire.AttributeValues{Type: name, Values: [][]byte{[]byte(v)}}
	}
	var attrs []ldapwire.AttributeValues
	switch string(req.BaseDN) {
	case "":
		dc.searches.Add(1)
		attrs = []ldapwire.AttributeValues{{Type: "tokenGroups", Values: append([][]byte{aliceSIDBytes}, dc.sids...)},
			value("defaultNamingContext", baseDN), value("currentTime", dc.now.Format("20060102150405")+".0Z")}
	case "<SID=" + aliceSID + ">":
		dc.searches.Add(1)
		attrs = []ldapwire.AttributeValues{value("objectGUID", string(aliceGUID[:])), value("sAMAccountName", "alice"),
			value("sAMAccountType", "805306368"), value("pwdLastSet", strconv.FormatInt(dc.set.Load(), 10)), value("userAccountControl", "512")}
	default:
		return plainAnswer(msg)
	}
	frame := ldapwire.AppendSearchEntry(nil, msg.ID, aliceDN, attrs)
	return ldapwire.AppendSearchDone(frame, msg.ID, ldapwire.ResultSuccess, "", "")
}

// taught is a BindRecorder that remembers.
type taught struct {
	outcome identity.BindOutcome
	fail    error
	told    chan string // account, pwdLastSet and password of each
	hold    chan struct{}
}

func newTaught() *taught {
	return &taught{outcome: identity.BindRecorded, told: make(chan string, 1024)}
}

func (r *taught) RecordBind(ctx context.Context, c identity.Change, password secret.Bytes) (identity.BindOutcome, error) {
	if r.hold != nil {
		select {
		case <-r.hold:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	r.told <- fmt.Sprintf("%s %s %s %d %s", c.Kind, c.Direction, c.Account.GUID, c.PwdLastSet, password.Expose())
	return r.outcome, r.fail
}

func (dc *teachingDC) lesson(password string) string {
	return fmt.Sprintf("password-bind import %s %d %s", aliceGUID, dc.set.Load(), password)
}

func newLessonRig(t testing.TB, dc *teachingDC, taught *taught, change ...func(*Config)) *rig {
	t.Helper()
	r, _ := newRig(t, dc.serve, append([]func(*Config){func(c *Config) { c.Binds = taught }}, change...)...)
	return r
}

// captures is dirgate_capture_total of kind bind.
func (r *rig) captures(outcome string) float64 {
	r.tb.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.tb.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if l := m.GetLabel(); f.GetName() == "dirgate_capture_total" && l[0].GetValue() == captureBind && l[1].GetValue() == outcome {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// counted waits until an outcome was counted n times.
func (r *rig) counted(outcome string, n float64) {
	r.tb.Helper()
	receiveUntil(r.tb, func() bool { return r.captures(outcome) == n })
}

func (r *rig) bindOnce(name, password string) {
	r.tb.Helper()
	c := r.dial()
	if res := c.tryBind(1, name, password); res.Code != ldapwire.ResultSuccess {
		r.tb.Fatal(res.Code)
	}
	c.send(ldapwire.AppendUnbindRequest(nil, 2))
	c.wantEnd()
}

// TestG6_Taught: an accepted bind is read and recorded, when the client has
// gone, when it is silent, and when it binds again at once; the second bind with
// the same password costs nothing, with the lockout guard and without.
func TestG6_Taught(t *testing.T) {
	for name, guard := range map[string]func(*Config){"guarded": guarded, "unguarded": func(*Config) {}} {
		t.Run(name, func(t *testing.T) {
			dc, taught := newTeachingDC(2*time.Hour), newTaught()
			r := newLessonRig(t, dc, taught, guard)
			r.bindOnce("alice", "One.Pass1")
			if got := receive(t, taught.told, "the lesson of a client that has gone"); got != dc.lesson("One.Pass1") {
				t.Errorf("got %q", got)
			}
			r.counted("recorded", 1)
			asked := dc.searches.Load()
			for range 20 {
				r.bindOnce("alice", "One.Pass1")
			}

			c := r.dial()
			if res := c.tryBind(1, "alice", "One.Pass1"); res.Code != ldapwire.ResultSuccess {
				t.Fatal(res.Code)
			}
			if got := dc.searches.Load(); got != asked {
				t.Errorf("the DC was asked %d times more for what is known", got-asked)
			}
			if res := c.tryBind(2, "alice", "Two.Pass2"); res.Code != ldapwire.ResultSuccess { // another password
				t.Fatal(res.Code)
			}
			if got := receive(t, taught.told, "the lesson of a silent client"); got != dc.lesson("Two.Pass2") {
				t.Errorf("got %q", got)
			}
			for i := range int32(3) { // no silence between
				c.send(ldapwire.AppendBindRequest(nil, 3+i, "alice", fmt.Appendf(nil, "Next.Pass%d", i)))
			}
			for range 3 {
				c.want(ldapwire.OpBindResponse)
			}
			for i := range 3 {
				if got := receive(t, taught.told, "the lesson of a busy client"); !strings.HasPrefix(got, "password-bind") {
					t.Errorf("lesson %d: got %q", i, got)
				}
			}
			r.counted("recorded", 5)
			if len(taught.told) != 0 {
				t.Errorf("%d lessons too many", len(taught.told))
			}
		})
	}
}

// TestG6_NotTaught: nothing is recorded of what proves nothing, and the DC is
// not asked about it again at once.
func TestG6_NotTaught(t *testing.T) {
	t.Run("within the grace", func(t *testing.T) {
		dc, taught := newTeachingDC(30*time.Minute), newTaught()
		var mu sync.Mutex
		now := time.Now()
		r := newLessonRig(t, dc, taught, func(c *Config) {
			c.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		})
		for range 5 {
			r.bindOnce("alice", "Old.Pass1")
		}
		r.counted("unproven", 1)
		if got := dc.searches.Load(); got != 2 {
			t.Errorf("the DC was asked %d times, want 2", got)
		}
		mu.Lock()
		now = now.Add(37 * time.Minute)
		mu.Unlock()
		dc.set.Store(fileTimeOf(dc.now.Add(-67 * time.Minute))) // as it is then
		r.bindOnce("alice", "Old.Pass1")
		receive(t, taught.told, "the lesson after the grace")
	})
	t.Run("privileged by a group of the moment", func(t *testing.T) {
		dc, taught := newTeachingDC(2*time.Hour), newTaught()
		admins := append(append([]byte(nil), aliceSIDBytes[:24]...), 0, 2, 0, 0) // 512
		dc.sids = [][]byte{admins}
		r := newLessonRig(t, dc, taught)
		r.bindOnce("alice", "Admin.Pass1")
		r.counted("unproven", 1)
		if len(taught.told) != 0 {
			t.Error("the password of an administrator was handed over")
		}
	})
	t.Run("where nothing is captured", func(t *testing.T) {
		ca := certstest.New(t)
		for name, domain := range map[string]*Domain{
			"validate only": {Name: "corp.example.test"},
			"no AD":         {Name: "elsewhere", BaseDN: "o=elsewhere", Foreign: true, Capture: true},
		} {
			dc, taught := newTeachingDC(2*time.Hour), newTaught()
			domain.DCs = newScriptedDC(t, ca, dc.serve)
			domains := []*Domain{domain}
			if domain.Foreign {
				domains = append([]*Domain{{Name: "corp.example.test", DCs: newScriptedDC(t, ca, answerAll)}}, domain)
			}
			r := newRigFor(t, ca, domain, func(c *Config) { c.Binds, c.Domains = taught, func() []*Domain { return domains } })
			r.bindOnce("uid=alice,o=elsewhere", "Some.Pass1")
			if got := dc.searches.Load(); got != 0 {
				t.Errorf("%s: the DC was asked %d times", name, got)
			}
		}
	})
	t.Run("anonymous", func(t *testing.T) {
		dc, taught := newTeachingDC(2*time.Hour), newTaught()
		r := newLessonRig(t, dc, taught)
		r.bindOnce("", "")
		if got := dc.searches.Load(); got != 0 {
			t.Errorf("the DC was asked %d times", got)
		}
	})
}

// TestG6_LookedAtAgain: how soon depends on what became of it.
func TestG6_LookedAtAgain(t *testing.T) {
	for _, tt := range []struct {
		outcome identity.BindOutcome
		fail    error
		label   string
		after   time.Duration
	}{
		{identity.BindRecorded, nil, "recorded", time.Hour},
		{identity.BindInSync, nil, "in_sync", time.Hour},
		{identity.BindPending, nil, "pending", lookAgain},
		{identity.BindNotWanted, nil, "not_wanted", lookAgain},
		{identity.BindEarly, nil, "early", lessonClaim},
		{"", errors.New("no answer"), "failed", lessonClaim},
	} {
		t.Run(tt.label, func(t *testing.T) {
			dc, taught := newTeachingDC(2*time.Hour), newTaught()
			taught.outcome, taught.fail = tt.outcome, tt.fail
			var mu sync.Mutex
			now := time.Now()
			move := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
			r := newLessonRig(t, dc, taught, func(c *Config) {
				c.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
			})
			r.bindOnce("alice", "One.Pass1")
			r.counted(tt.label, 1)
			move(tt.after - time.Second)
			r.bindOnce("alice", "One.Pass1")
			if got := dc.searches.Load(); got != 2 {
				t.Errorf("a second before: the DC was asked %d times, want 2", got)
			}
			move(2 * time.Second)
			r.bindOnce("alice", "One.Pass1")
			r.counted(tt.label, 2)
		})
	}
}

// TestG6_NeverInTheWay: a recorder that hangs holds up neither the client nor
// the server's end, and what waits is bounded.
func TestG6_NeverInTheWay(t *testing.T) {
	dc, taught := newTeachingDC(2*time.Hour), newTaught()
	taught.hold = make(chan struct{})
	r := newLessonRig(t, dc, taught)
	c := r.dial()
	for i := range int32(maxLessons + 3) {
		if res := c.tryBind(1+i, "alice", fmt.Sprintf("Pass.Word%d", i)); res.Code != ldapwire.ResultSuccess {
			t.Fatal(res.Code)
		}
	}
	r.counted("busy", 3)
	if len(taught.told) != 0 {
		t.Error("the recorder was not held")
	}
} // closing the server ends those that wait

// TestG6_RequestsBeforeLessons: what the client asks after a bind reaches the
// DC before the lesson does.
func TestG6_RequestsBeforeLessons(t *testing.T) {
	dc, taught := newTeachingDC(2*time.Hour), newTaught()
	order := make(chan string, 16)
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			if msg.Op == ldapwire.OpSearchRequest {
				req, _ := ldapwire.ParseSearchRequest(msg.Body)
				order <- string(req.BaseDN)
				p.send(dc.search(msg))
				continue
			}
			p.send(plainAnswer(msg))
		}
	}, func(c *Config) { c.Binds = taught })
	c := r.dial()
	if res := c.tryBind(1, "alice", "One.Pass1"); res.Code != ldapwire.ResultSuccess {
		t.Fatal(res.Code)
	}
	c.send(ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{BaseDN: "OU=Mine", Attributes: []string{"cn"}}))
	c.want(ldapwire.OpSearchResultEntry)
	if first := receive(t, order, "a search"); first != "OU=Mine" {
		t.Errorf("the DC was asked for %q first", first)
	}
	receive(t, taught.told, "the lesson")
}

func TestG6_LessonMemory(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	cfg := Config{now: func() time.Time { return now }, OldPasswordPeriod: time.Hour}
	l := newLessons(&cfg, newMarker())
	defer l.stop()
	print := func(name, password string) fingerprint {
		return l.fingerprint(nameKey("d", name), l.marks.markOf(secret.New([]byte(password))))
	}
	one := print("alice", "a")
	if one == print("alice", "b") || one == print("bob", "a") || one != print("ALICE", "a") {
		t.Error("passwords of names are not told apart")
	}
	if !l.claim(one) || l.claim(one) {
		t.Error("a password was not claimed once")
	}
	now = now.Add(lessonClaim)
	if l.isKnown(one) || !l.claim(one) {
		t.Error("a claim does not end")
	}
	l.leave(one, time.Hour)
	for i := range 3 * maxKnown {
		l.leave(fingerprint{byte(i), byte(i >> 8), byte(i >> 16), 1}, time.Hour)
	}
	if n := len(l.known) + len(l.older); n > 2*maxKnown || l.isKnown(one) {
		t.Errorf("%d passwords are remembered, want at most %d", n, 2*maxKnown)
	}
}

func BenchmarkKnownBind(b *testing.B) {
	cfg := Config{now: time.Now, OldPasswordPeriod: time.Hour}
	l := newLessons(&cfg, newMarker())
	defer l.stop()
	m := l.marks.markOf(secret.New([]byte("Some.Password1")))
	key := nameKey(guardDomain, aliceDN)
	l.leave(l.fingerprint(key, m), time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if !l.isKnown(l.fingerprint(key, m)) {
			b.Fatal("not known")
		}
	}
}
