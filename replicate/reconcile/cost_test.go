package reconcile

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store/identity"
)

// TestStillCycleMakesNoWorld: a cycle in which nothing has changed does not put
// together what there is of users and links. That a world would be made is
// seen by the scope group, which is looked for then.
func TestStillCycleMakesNoWorld(t *testing.T) {
	w := newWorld(t)
	w.hire("anna", "bert")
	w.pass()
	w.pass()
	w.im.cfg.Domain.ScopeGroup = "CN=nobody has this one"
	w.ok(w.im.Cycle(t.Context()))
	w.set(w.dn("anna"), "title", "Chief")
	if err := w.im.Cycle(t.Context()); err == nil {
		t.Error("a change was planned without the scope group")
	}
	w.im.cfg.Domain.ScopeGroup = w.domain.ScopeGroup
	w.pass()
	w.im.cfg.Domain.ScopeGroup = "CN=nobody has this one"
	w.clock.add(w.im.cfg.Interval)
	if err := w.im.Cycle(t.Context()); err == nil {
		t.Error("nothing is planned once an interval")
	}
}

// TestStillLookMakesNoWorld: nor does it when JumpCloud is asked and says that
// nothing has changed. What it says is planned for in the same cycle.
func TestStillLookMakesNoWorld(t *testing.T) {
	w := twoWay(t)
	w.cloud.SetInsights(true)
	w.im = w.make(func(c *Config) { c.InsightsURL, c.Interval = w.cloud.InsightsURL(), time.Hour })
	id := w.enrol("ann")[0]
	for range 4 {
		w.soon()
	}
	scope := w.im.cfg.Domain.ScopeGroup
	w.im.cfg.Domain.ScopeGroup = "CN=nobody has this one"
	polls := w.cloud.Counts()["POST /insights/directory/v1/events"]
	for range 3 {
		w.clock.add(time.Second)
		w.ok(w.im.Cycle(t.Context()))
	}
	if n := w.cloud.Counts()["POST /insights/directory/v1/events"] - polls; n != 3 {
		t.Errorf("Insights was asked %d times in 3 s, want 3", n)
	}
	w.ok(w.cloud.EditUser(id, map[string]any{"firstname": "Anna"}))
	w.clock.add(time.Second)
	if err := w.im.Cycle(t.Context()); err == nil {
		t.Error("a change was planned without the scope group")
	}
	w.im.cfg.Domain.ScopeGroup = scope
	w.pass() // what was heard before is not lost, though it is not time to ask again
	w.wantAD("ann", "givenName", "Anna")
}

// TestSliceOfLongPlan: where planning takes long, most of the time is for
// applying all the same, and the other direction is not forgotten.
func TestSliceOfLongPlan(t *testing.T) {
	now := time.Now()
	i := &Reconciler{imports: true, syncs: true, cfg: Config{Now: func() time.Time { return now }}}
	for took, want := range map[time.Duration]time.Duration{0: 2 * time.Second, time.Second / 4: 2 * time.Second, 3 * time.Second: 12 * time.Second, time.Minute: 20 * time.Second} {
		if got := i.until(now.Add(-took)).Sub(now); got != want {
			t.Errorf("a plan that took %s has a slice of %s, want %s", took, got, want)
		}
	}
	i.syncs = false
	if got := i.until(now.Add(-time.Minute)).Sub(now); got != passLimit {
		t.Errorf("one direction alone has %s, want %s", got, passLimit)
	}
}

// TestNoteMembers: what was done to many members together is what the group
// has then, and who holds the list of before still has that.
func TestNoteMembers(t *testing.T) {
	before := []string{"b", "d", "f"}
	i := &Reconciler{cfg: Config{Now: time.Now}}
	i.cloud.state = &plan.Cloud{Groups: map[string]identity.Group{"g": {ID: "g", MemberIDs: slices.Clone(before)}}}
	held := i.cloud.state.Groups["g"].MemberIDs
	r := &run{Reconciler: i}
	r.noteMembers("g", []plan.Action{{Kind: plan.AddMember, UserID: "e"}, {Kind: plan.AddMember, UserID: "b"}, {Kind: plan.AddMember, UserID: "a"}})
	r.noteMembers("g", []plan.Action{{Kind: plan.RemoveMember, UserID: "d"}, {Kind: plan.RemoveMember, UserID: "x"}})
	if got, want := fmt.Sprint(i.cloud.state.Groups["g"].MemberIDs), "[a b e f]"; got != want {
		t.Errorf("the members are %s, want %s", got, want)
	}
	if !slices.Equal(held, before) {
		t.Errorf("the list of before is %v now", held)
	}
	if !i.cloud.groups["g"] || i.cloud.noted.IsZero() {
		t.Error("the watcher is not told to read the group")
	}
}
