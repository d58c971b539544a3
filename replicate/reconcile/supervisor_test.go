package reconcile

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// until waits for what another goroutine brings about.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	woken, cancel := w.store.Watch()
	defer cancel()
	limit := time.After(20 * time.Second)
	for !is() {
		select {
		case <-woken:
		case <-time.After(20 * time.Millisecond): // JumpCloud's simulator wakes nobody
		case <-limit:
			w.t.Fatalf("%s: it does not come to that; JumpCloud has %v", what, w.names())
		}
	}
}

// runs runs something in the background until the test ends.
func (w *world) runs(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stopped := false
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			w.ok(<-ended)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

func (w *world) status() Status {
	w.t.Helper()
	s, err := w.im.Status()
	w.ok(err)
	return s[0]
}

// TestSupervisor: registrations that are made, changed and removed are
// followed; one that cannot be served waits, says why, and is tried again.
func TestSupervisor(t *testing.T) {
	w := newWorld(t)
	w.hire("ann")
	ctx := t.Context()
	broken := errors.New("no such key")
	var fail atomic.Bool
	made := 0
	s, err := NewSupervisor(SupervisorConfig{Store: w.store, NoSync: true, Log: w.im.cfg.Log, Now: w.clock.now,
		Make: func(d store.Domain) (*Reconciler, func(), error) {
			if fail.Load() {
				return nil, nil, broken
			}
			made++
			return w.make(func(c *Config) { c.Domain = d }), func() {}, nil
		}})
	w.ok(err)
	fail.Store(true)
	w.ok(w.store.PutDomain(ctx, w.domain, nil))
	stop := w.runs(s.Run)
	if err := s.Pass(ctx, w.domain.Name, false); !errors.Is(err, broken) {
		t.Errorf("a domain that cannot be started: %v", err)
	}
	all, err := s.Status()
	if err != nil || len(all) != 1 || all[0].State != Waiting || all[0].Why != broken.Error() {
		t.Errorf("its status: %+v, %v", all, err)
	}
	w.ok(s.settled(ctx))
	fail.Store(false)
	w.clock.add(time.Hour)
	w.ok(s.Pass(ctx, w.domain.Name, false))
	w.want("ann")

	w.hire("bea")
	w.ok(s.Pass(ctx, strings.ToUpper(w.domain.Name), false))
	w.want("ann", "bea")
	if made != 1 {
		t.Errorf("%d were made, want 1: nothing has changed", made)
	}
	changed := w.domain
	changed.Mapping = identity.Mapping{BasicOnly: true}
	w.ok(w.store.PutDomain(ctx, changed, nil))
	w.ok(s.settled(ctx))
	if made != 2 {
		t.Errorf("%d were made, want another for the changed registration", made)
	}
	s.Changed(w.domain.Name) // for example a new password, which no registration shows
	w.ok(s.settled(ctx))
	s.Restart()
	w.ok(s.settled(ctx))
	if made != 4 {
		t.Errorf("%d were made, want 4", made)
	}
	changed.UseCase = store.UseCaseJumpCloud
	w.ok(w.store.PutDomain(ctx, changed, nil))
	if err := s.Pass(ctx, w.domain.Name, false); err == nil || !strings.Contains(err.Error(), "no direction") {
		t.Errorf("a use case that does not import: %v", err)
	}
	w.ok(w.store.PutDomain(ctx, w.domain, nil))
	w.ok(s.Pass(ctx, w.domain.Name, true))
	w.ok(w.store.RemoveDomain(ctx, w.domain.Name))
	w.ok(s.settled(ctx))
	if all, err := s.Status(); err != nil || len(all) != 0 {
		t.Errorf("after the domain was removed: %+v, %v", all, err)
	}
	stop()
	if err := s.Pass(ctx, w.domain.Name, false); !errors.Is(err, ErrStopped) {
		t.Errorf("a pass after it was stopped: %v", err)
	}
}

// TestPassOfAnother: who waits for a pass gets it of the next reconciler when
// its domain's is made anew meanwhile.
func TestPassOfAnother(t *testing.T) {
	w := newWorld(t)
	w.hire("ann", "bea", "cid")
	w.ok(w.store.PutDomain(t.Context(), w.domain, nil))
	var s *Supervisor
	var made atomic.Int32
	var acted atomic.Bool
	anew := observer{action: func(string, string) {
		if acted.Swap(true) {
			return
		}
		s.Changed(w.domain.Name)
		w.until("it is taken out", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.members[w.domain.Name] == nil
		})
	}}
	s, err := NewSupervisor(SupervisorConfig{Store: w.store, NoSync: true, Log: w.im.cfg.Log, Now: w.clock.now,
		Make: func(d store.Domain) (*Reconciler, func(), error) {
			made.Add(1)
			return w.make(func(c *Config) { c.Domain, c.Workers, c.Observe = d, 1, anew }), func() {}, nil
		}})
	w.ok(err)
	w.runs(s.Run)
	w.ok(s.Pass(t.Context(), w.domain.Name, false))
	w.want("ann", "bea", "cid")
	if n := made.Load(); n != 2 {
		t.Errorf("%d were made, want 2", n)
	}
}

// TestPausedQueues: while it is paused changes are recorded; resumed, they are
// applied by themselves.
func TestPausedQueues(t *testing.T) {
	w := newWorld(t)
	w.hire("ann")
	ctx := t.Context()
	stop := w.runs(w.im.Run)
	w.ok(w.im.Pass(ctx, false))
	w.want("ann")
	w.ok(w.store.SetPaused(ctx, w.domain.Name, identity.Import, true, "admin"))
	w.hire("bea")
	if err := w.im.Pass(ctx, false); !errors.Is(err, ErrPaused) || !strings.Contains(err.Error(), "replicate resume") {
		t.Errorf("a pass while it is paused: %v", err)
	}
	stats, err := w.store.Stats()
	if err != nil || stats.Pending[identity.Import] == 0 {
		t.Errorf("pending while it is paused: %v, %v", stats.Pending, err)
	}
	w.want("ann")
	if s := w.status(); s.State != Paused || s.Why != "by admin" || s.Since.IsZero() || s.Progress != (Progress{}) {
		t.Errorf("status: %+v", s)
	}
	w.ok(w.store.SetPaused(ctx, w.domain.Name, identity.Import, false, "admin"))
	w.until("resumed", func() bool { return slices.Equal(w.names(), []string{"ann", "bea"}) })
	if s := w.status(); s.State != Running || s.Why != "" {
		t.Errorf("status after: %+v", s)
	}
	stop()
	if err := w.im.Pass(ctx, false); !errors.Is(err, ErrStopped) {
		t.Errorf("a pass of one that ended: %v", err)
	}
}

// TestPauseStopsAPass: a pause does not wait for the end of a long import.
func TestPauseStopsAPass(t *testing.T) {
	w := newWorld(t)
	w.hire("ann", "bea", "cid", "dan")
	w.im = w.make(func(c *Config) {
		c.Workers = 1
		c.Observe = observer{action: func(action, outcome string) {
			if action == "create-user" {
				w.ok(w.store.SetPaused(t.Context(), w.domain.Name, identity.Import, true, "admin"))
			}
		}}
	})
	if err := w.im.Once(t.Context(), false); !errors.Is(err, ErrPaused) {
		t.Errorf("a pass that was paused: %v", err)
	}
	w.want("ann")
	w.ok(w.store.SetPaused(t.Context(), w.domain.Name, identity.Import, false, "admin"))
	w.im = w.make()
	w.ok(w.im.Once(t.Context(), false))
	w.want("ann", "bea", "cid", "dan")
}

// observer calls what is set of it.
type observer struct {
	action  func(action, outcome string)
	applied func(time.Duration)
}

func (o observer) Action(_ identity.Direction, action, outcome string) {
	if o.action != nil {
		o.action(action, outcome)
	}
}

func (o observer) Applied(_ identity.Direction, after time.Duration) {
	if o.applied != nil {
		o.applied(after)
	}
}

// TestStatus: it says how far the work has come, and what is waited for.
func TestStatus(t *testing.T) {
	w := newWorld(t)
	w.hire("ann", "bea")
	var seen []Progress
	outcomes := make(map[string]int)
	lags := 0
	w.im = w.make(func(c *Config) {
		c.Workers = 1
		c.Observe = observer{
			action: func(action, outcome string) {
				if action == "create-user" {
					seen = append(seen, w.status().Progress)
				}
				outcomes[outcome]++
			},
			applied: func(time.Duration) { lags++ },
		}
	})
	w.ok(w.im.Once(t.Context(), false))
	if len(seen) != 2 || seen[0].Total != 3 || seen[0].Done != 0 || seen[1].Done != 1 || seen[0].Since.IsZero() {
		t.Errorf("progress: %+v, want 0 and 1 of 3 (two people and the scope group)", seen)
	}
	if outcomes["done"] == 0 || len(outcomes) != 1 || lags != 3 {
		t.Errorf("outcomes %v and %d lags, want all done, and 3", outcomes, lags)
	}
	s := w.status()
	if s.State != Running || s.Phase != "" || s.Progress != (Progress{}) || s.LastPass.IsZero() || s.LastFull.IsZero() || !s.NextFull.Equal(s.LastFull.Add(6*time.Hour)) || s.Controller == "" {
		t.Errorf("status after a pass: %+v", s)
	}

	w.cloud.Fail(jcsim.Fault{Code: 503, Times: 1000})
	w.im.Resync()
	if err := w.im.Once(t.Context(), true); err == nil {
		t.Fatal("a pass without JumpCloud went well")
	}
	if s = w.status(); s.State != Waiting || s.For != "JumpCloud" || !strings.Contains(s.Why, "503") {
		t.Errorf("without JumpCloud: %+v", s)
	}
	w.cloud.Heal()
	w.ok(w.im.Once(t.Context(), true))
	if s = w.status(); s.State != Running || s.Why != "" {
		t.Errorf("with JumpCloud again: %+v", s)
	}
	w.ok(w.ad.Close())
	if err := w.im.Once(t.Context(), false); err == nil {
		t.Fatal("a pass without Active Directory went well")
	}
	if s = w.status(); s.State != Waiting || s.For != "Active Directory" {
		t.Errorf("without Active Directory: %+v", s)
	}
}
