package reconcile

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// applied says whether the newest change of a JumpCloud user is.
func (w *world) applied(id string) bool {
	e, err := w.store.NewestCloudState(w.domain.Name, identity.UserChange, id)
	return err == nil && e.Status == identity.StatusApplied
}

// TestS1_Run: JumpCloud is looked at every SyncInterval, without anybody who
// asks for it, and AD's notification goes on beside it.
func TestS1_Run(t *testing.T) {
	w := twoWay(t)
	w.im = w.make(func(c *Config) { c.Now, c.SyncInterval, c.Interval = time.Now, 50*time.Millisecond, time.Hour })
	stop := w.runs(w.im.Run)
	id := w.enrol("ann")[0]
	w.until("ann in AD", func() bool { return w.applied(id) })
	w.wantAD("ann", "givenName", "Ann")
	w.hire("bea")
	w.until("bea at JumpCloud", func() bool {
		links, err := w.store.Links(w.domain.Name)
		return err == nil && len(links) == 2
	})
	w.want("ann", "bea")
	stop()
	all, err := w.im.Status()
	w.ok(err)
	if len(all) != 2 || all[0].Direction != identity.Import || all[1].Direction != identity.Sync || all[1].State != Running || all[1].LastPass.IsZero() {
		t.Errorf("status: %+v", all)
	}
}

// TestS1_Insights: where Directory Insights tells what was changed, nothing is
// listed for it.
func TestS1_Insights(t *testing.T) {
	w := fromCloud(t)
	w.cloud.SetInsights(true)
	w.im = w.make(func(c *Config) { c.InsightsURL = w.cloud.InsightsURL() })
	w.pass()
	ids := w.enrol("ann", "bea")
	w.soon()
	w.wantAD("ann", "givenName", "Ann")
	lists := w.cloud.Counts()["GET /api/systemusers"]
	w.ok(w.cloud.EditUser(ids[1], map[string]any{"firstname": "Beate"}))
	w.soon()
	w.wantAD("bea", "givenName", "Beate")
	if n := w.cloud.Counts()["GET /api/systemusers"]; n != lists {
		t.Errorf("users were listed %d times", n-lists)
	}
}

// ticking is an Observer that makes every action take a second.
type ticking struct {
	unobserved
	clock *clock
}

func (o ticking) Action(identity.Direction, string, string) { o.clock.add(time.Second) }

// TestS1_LongImport: an import that takes long does not delay sync.
func TestS1_LongImport(t *testing.T) {
	w := twoWay(t)
	w.im = w.make(func(c *Config) { c.Observe, c.Workers = ticking{clock: w.clock}, 1 })
	w.pass()
	for _, name := range []string{"a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"} {
		w.hire(name)
	}
	id := w.enrol("zoe")[0]
	if next := w.soon(); next.After(w.clock.now()) || next.IsZero() {
		t.Errorf("next is %v, want the rest at once", next)
	}
	if !w.applied(id) {
		t.Error("sync waited for the import")
	}
	stats, err := w.store.Stats()
	w.ok(err)
	if stats.Pending[identity.Import] < 5 {
		t.Errorf("%d changes of the import are left, want most", stats.Pending[identity.Import])
	}
	for range 20 {
		w.pass()
	}
	w.want("a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "zoe")
}

// TestS1_Outage: while JumpCloud does not answer, what is changed in AD is
// recorded, nothing is taken for deleted, and both directions go on afterwards.
func TestS1_Outage(t *testing.T) {
	w := twoWay(t)
	w.pass()
	id := w.enrol("ann")[0]
	w.soon()
	w.soon()
	w.cloud.Fail(jcsim.Fault{PathPrefix: "/api", Kind: jcsim.Status, Code: http.StatusServiceUnavailable, Times: 1_000_000})
	w.hire("bea")
	for range 3 {
		w.clock.add(5 * time.Second)
		w.ok(w.im.Cycle(t.Context()))
		_, _ = w.im.Apply(t.Context()) // it cannot
	}
	stats, err := w.store.Stats()
	w.ok(err)
	if stats.Pending[identity.Import] == 0 {
		t.Error("nothing of AD was recorded")
	}
	w.wantAD("ann", "userAccountControl", "512")
	w.cloud.Heal()
	w.until("JumpCloud is asked again", func() bool { return w.im.cfg.JumpCloud.Await(t.Context()) == nil })
	w.ok(w.cloud.EditUser(id, map[string]any{"firstname": "Anna"}))
	for range 3 {
		w.clock.add(6 * time.Minute)
		w.pass()
	}
	w.want("ann", "bea")
	w.wantAD("ann", "givenName", "Anna")
	if _, err := w.store.LinkByJumpCloudID(id); err != nil {
		t.Error(err)
	}
}

// TestS1_UseCaseChanged: what is open of a direction that the use case does not
// have any more is given up.
func TestS1_UseCaseChanged(t *testing.T) {
	w := twoWay(t)
	w.pass()
	w.ok(w.store.SetPaused(t.Context(), w.domain.Name, identity.Import, true, "ann"))
	w.hire("ann")
	w.soon()
	stats, err := w.store.Stats()
	w.ok(err)
	if stats.Pending[identity.Import] == 0 {
		t.Fatal("nothing is open")
	}
	w.domain.UseCase = string(identity.UseJumpCloud)
	w.im = w.make()
	w.pass()
	if stats, err = w.store.Stats(); err != nil || stats.Pending[identity.Import] != 0 {
		t.Errorf("%d changes of the import are open, %v", stats.Pending[identity.Import], err)
	}
}

// TestS1_ManyWrites: what an import of many has written is read back from
// JumpCloud, and comes to nothing.
func TestS1_ManyWrites(t *testing.T) {
	for name, url := range map[string]func(*world) string{
		"listed": func(*world) string { return "" }, "with Directory Insights": func(w *world) string { return w.cloud.InsightsURL() },
	} {
		t.Run(name, func(t *testing.T) {
			w := twoWay(t)
			w.cloud.SetInsights(true)
			w.im = w.make(func(c *Config) { c.InsightsURL = url(w) })
			w.pass()
			for n := range 2 * manyNotes {
				w.hire(fmt.Sprintf("user%03d", n))
			}
			for range 4 {
				w.soon()
			}
			if !w.im.cloud.noted.IsZero() {
				t.Error("the watcher has not read what was written")
			}
			w.idle()
		})
	}
}
