package reconcile

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

// forgetful is a Reader that finds nobody, as one whose account has lost its
// rights may.
type forgetful struct{ Reader }

func (f *forgetful) Snapshot(ctx context.Context) (ad.Snapshot, error) {
	s, err := f.Reader.Snapshot(ctx)
	s.Users = nil
	return s, err
}

func (f *forgetful) Missing(_ context.Context, known []identity.GUID) ([]identity.GUID, error) {
	return known, nil
}

// TestL1_Faults: whatever JumpCloud does to one request of an import, in the
// end each account has one user, and nothing is left to do.
func TestL1_Faults(t *testing.T) {
	kinds := map[string]jcsim.Fault{
		"429":                     {Kind: jcsim.Status, Code: http.StatusTooManyRequests, RetryAfter: "7"},
		"500":                     {Kind: jcsim.Status, Code: http.StatusInternalServerError},
		"time-out before it":      {Kind: jcsim.TimeoutBeforeApply},
		"time-out after applying": {Kind: jcsim.TimeoutAfterApply},
		"half an answer":          {Kind: jcsim.HalfAnswer},
	}
	for name, fault := range kinds {
		for n, request := range []string{"POST /api/systemusers", "POST /api/v2/usergroups", "POST /api/v2/activedirectories/{id}/associations", "POST /api/v2/usergroups/{id}/members"} {
			t.Run(fmt.Sprintf("%s of %s", name, request), func(t *testing.T) {
				if n != 0 && fault.Kind == jcsim.TimeoutBeforeApply {
					t.Skip("the client does the same with all writes that are not answered")
				}
				w := newWorld(t)
				w.hire("ann", "bea", "cid")
				fault := fault
				fault.Operation, fault.After = request, 1
				w.cloud.Fail(fault)
				for range 5 {
					if next := w.pass(); !next.IsZero() {
						w.clock.add(max(time.Second, next.Sub(w.clock.now())))
					}
				}
				w.cloud.Heal()
				w.want("ann", "bea", "cid")
				if got := w.members(adsim.ScopeGroup); len(got) != 3 {
					t.Errorf("members: %v", got)
				}
				w.idle()
			})
		}
	}
}

// TestL2_Outage: a JumpCloud that refuses all writes is left alone after a
// few, and everything is done when it is back.
func TestL2_Outage(t *testing.T) {
	w := newWorld(t)
	for n := range 30 {
		w.hire(fmt.Sprintf("user%02d", n))
	}
	w.cloud.Fail(jcsim.Fault{Operation: "POST /api/systemusers", Kind: jcsim.Status, Code: http.StatusServiceUnavailable, Times: 1_000_000})
	next := w.pass()
	if next.IsZero() {
		t.Fatal("nothing is to be tried again")
	}
	tried := 0
	pending, err := w.store.Pending(identity.Import, 100, 0)
	w.ok(err)
	for _, e := range pending {
		tried += min(1, e.Attempts)
	}
	if len(pending) != 31 || tried > 10 {
		t.Errorf("%d are pending, and %d were tried", len(pending), tried)
	}
	w.cloud.Heal()
	w.ok(w.im.cfg.JumpCloud.Await(t.Context())) // the client goes by the real clock
	for range 5 {
		w.clock.add(5 * time.Minute)
		w.pass()
	}
	if n := len(w.cloud.Users()); n != 30 {
		t.Errorf("%d users", n)
	}
	w.idle()
}

// TestL2_Refused: what JumpCloud refuses for good is a dead letter with its
// words, holds up nobody, and is tried again when the account changes.
func TestL2_Refused(t *testing.T) {
	w := newWorld(t)
	w.cloud.UseElsewhere("bea@" + w.ad.Domain())
	w.hire("ann", "bea", "cid")
	w.pass()
	w.want("ann", "cid")
	dead := 0
	entries, err := w.store.Pending(identity.Import, 10, 0)
	w.ok(err)
	stats, err := w.store.Stats()
	w.ok(err)
	if dead = stats.Dead[identity.Import]; dead != 1 {
		t.Fatalf("%d dead letters, pending %+v", dead, entries)
	}
	w.set(w.dn("bea"), "mail", "beate@"+w.ad.Domain())
	for range 3 {
		w.pass()
		w.clock.add(5 * time.Minute)
	}
	w.want("ann", "bea", "cid")
	w.idle()
}

// TestPassLimit: a pass ends in time, what it did is recorded, and the rest is
// due at once.
func TestPassLimit(t *testing.T) {
	w := newWorld(t)
	for n := range 20 {
		w.hire(fmt.Sprintf("user%02d", n))
	}
	w.im = w.make(func(c *Config) {
		c.Workers = 1
		c.Now = func() time.Time { // each look at the clock takes a while
			w.clock.add(10 * time.Second)
			return w.clock.now()
		}
	})
	w.ok(w.im.Cycle(t.Context()))
	next, err := w.im.Apply(t.Context())
	w.ok(err)
	some := len(w.cloud.Users())
	if some == 0 || some == 20 || next.IsZero() || next.After(w.clock.now()) {
		t.Fatalf("%d users after one pass, the next is due at %v, and it is %v", some, next, w.clock.now())
	}
	stats, err := w.store.Stats()
	w.ok(err)
	if left := stats.Pending[identity.Import]; left != 21-some {
		t.Errorf("%d are pending, and %d of 20 users and a group are done", left, some)
	}
	w.im = w.make()
	w.pass()
	w.idle()
}

// TestRun: the reconciler follows by itself, and ends when it is told.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.hire("ann", "bea", "cid", "dan")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.im.Run(ctx) }()
	defer func() {
		stop()
		w.ok(<-ended)
	}()
	woken, cancel := w.store.Watch()
	defer cancel()
	until := func(what string, is func() bool) {
		t.Helper()
		limit := time.After(20 * time.Second)
		for !is() {
			select {
			case <-woken:
			case <-time.After(20 * time.Millisecond):
			case <-limit:
				t.Fatalf("%s: it does not come to that; JumpCloud has %v", what, w.names())
			}
		}
	}
	until("first import", func() bool { return len(w.names()) == 4 && len(w.cloud.Groups()) == 1 })
	w.set(w.dn("ann"), "sAMAccountName", "anna")
	until("a change", func() bool { return w.names()[0] == "anna" })
	for _, name := range []string{"bea", "cid", "dan"} {
		w.ok(w.admin.Del(ldap.NewDelRequest(w.dn(name), nil)))
	}
	until("held", func() bool { return len(w.held()) > 0 })
	for _, e := range w.held() {
		w.ok(w.store.Approve(ctx, e.Seq, "admin"))
	}
	until("approved", func() bool { return len(w.names()) < 4 })
}
