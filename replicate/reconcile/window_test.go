package reconcile

import (
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// TestI8_WindowOverRestarts: a daemon that starts anew before each change lets
// pass no more within an hour than one that runs.
func TestI8_WindowOverRestarts(t *testing.T) {
	w := fromCloud(t)
	w.pass()
	ids := w.enrol("ann", "bea", "cid", "dan", "eve", "fay")
	w.soon()
	for _, id := range ids[:plan.Few+1] {
		w.im = w.make()
		w.ok(w.cloud.EditUser(id, map[string]any{"state": "SUSPENDED"}))
		w.pass()
	}
	w.wantAD("bea", "userAccountControl", "514")
	w.wantAD("cid", "userAccountControl", "512")
	held, err := w.store.Held(identity.Sync, store.HeldOptions{})
	w.ok(err)
	if len(held) != 1 || held[0].CloudID != ids[2] {
		t.Fatalf("held: %+v", held)
	}

	w.clock.add(window)
	w.im = w.make()
	w.ok(w.cloud.EditUser(ids[3], map[string]any{"state": "SUSPENDED"}))
	w.pass()
	w.wantAD("dan", "userAccountControl", "514")
}

// TestI8_DisabledAndDeleted: of accounts that were disabled within the hour, and
// whose users are deleted since, each counts among those there were too.
func TestI8_DisabledAndDeleted(t *testing.T) {
	w := fromCloud(t)
	w.im = w.make(func(c *Config) { c.Limits = plan.Limits{plan.ADDisables: {Count: 1000, Percent: 100}} })
	w.pass()
	ids := w.enrol("ann", "bea", "cid", "dan", "eve", "fay")
	w.soon()
	for _, id := range ids {
		w.ok(w.cloud.EditUser(id, map[string]any{"state": "SUSPENDED"}))
	}
	w.soon()
	for _, id := range ids {
		w.ok(w.cloud.EditUser(id, map[string]any{"state": "ACTIVATED"}))
	}
	w.soon()
	for _, name := range []string{"ann", "bea", "cid", "dan", "eve", "fay"} {
		w.ok(w.cloud.DeleteUser(w.user(name).ID))
		w.soon()
		w.wantAD(name, "userAccountControl", "514")
	}
}

// TestI8_Taken: what is tried again counts once, and what was approved not at
// all.
func TestI8_Taken(t *testing.T) {
	w := newWorld(t)
	j := &job{}
	r := &run{Reconciler: w.im, d: identity.Import}
	gone := plan.Action{Direction: identity.Import, Kind: plan.DeleteUser, GUID: identity.GUID{1}}
	member := plan.Action{Direction: identity.Import, Kind: plan.RemoveMember, GUID: identity.GUID{2}, GroupID: "g1", UserID: "u1"}
	other := member
	other.UserID = "u2"
	count := func(want int) {
		t.Helper()
		if again := w.make(); len(r.done) != want || len(again.done) != want {
			t.Errorf("counted %d, and %d after a restart; want %d", len(r.done), len(again.done), want)
		}
	}
	w.ok(r.take(t.Context(), j, []plan.Action{gone, member, {Kind: plan.UpdateUser, GUID: identity.GUID{3}}}))
	w.ok(r.take(t.Context(), j, []plan.Action{gone, member}))
	count(2)
	w.ok(r.take(t.Context(), j, []plan.Action{other}))
	count(3)
	approved := &job{entry: identity.Entry{Approved: true}}
	w.ok(r.take(t.Context(), approved, []plan.Action{{Kind: plan.DeleteUser, GUID: identity.GUID{4}}}))
	count(3)

	r.cfg.Limits = plan.Limits{plan.Removals: {Count: 1, Percent: 100}}
	world := plan.World{}
	if over := r.check(identity.Import, []plan.Action{gone}, world); len(over) > 0 {
		t.Errorf("the same removal again: %v", over)
	}
	two := gone
	two.GUID = identity.GUID{5}
	if over := r.check(identity.Import, []plan.Action{two}, world); over[plan.Removals] == "" {
		t.Errorf("another removal passes: %v", over)
	}
	w.clock.add(window + time.Second)
	if over := r.check(identity.Import, []plan.Action{two}, world); len(over) > 0 {
		t.Errorf("an hour later: %v", over)
	}
}
