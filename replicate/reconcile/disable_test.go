package reconcile

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// refusingWriter may not disable.
type refusingWriter struct{ Writer }

func (refusingWriter) Disable(context.Context, identity.GUID) (identity.User, error) {
	return identity.User{}, ad.ErrRights
}

// TestS3_RefusedDisable: an account that sync could not disable, and that a
// person disabled then, is not enabled by sync.
func TestS3_RefusedDisable(t *testing.T) {
	w := fromCloud(t)
	w.pass()
	id := w.enrol("ann")[0]
	w.soon()
	w.im = w.make(func(c *Config) { c.Writer = refusingWriter{c.Writer} })
	w.ok(w.cloud.EditUser(id, map[string]any{"state": "SUSPENDED"}))
	w.pass()
	w.wantAD("ann", "userAccountControl", "512")

	w.im = w.make()
	w.set(w.inAD("ann").DN, "userAccountControl", "514")
	w.pass()
	w.ok(w.cloud.EditUser(id, map[string]any{"state": "ACTIVATED"}))
	w.soon()
	w.soon()
	w.wantAD("ann", "userAccountControl", "514")
}

// TestS3_RefusedDisableAgain: so it is where sync had disabled the account before,
// and somebody has enabled it in AD meanwhile.
func TestS3_RefusedDisableAgain(t *testing.T) {
	w := fromCloud(t)
	w.pass()
	id := w.enrol("ann")[0]
	w.soon()
	w.ok(w.cloud.EditUser(id, map[string]any{"state": "SUSPENDED"}))
	w.soon()
	w.wantAD("ann", "userAccountControl", "514")
	w.im = w.make(func(c *Config) { c.Writer = refusingWriter{c.Writer} })
	w.set(w.inAD("ann").DN, "userAccountControl", "512")
	w.soon()
	w.soon()
	w.wantAD("ann", "userAccountControl", "512")

	w.im = w.make()
	w.set(w.inAD("ann").DN, "userAccountControl", "514")
	w.pass()
	w.ok(w.cloud.EditUser(id, map[string]any{"state": "ACTIVATED"}))
	w.soon()
	w.soon()
	w.wantAD("ann", "userAccountControl", "514")
}

// TestI6_RefusedSuspension: a suspension that JumpCloud did not carry out is not
// ours, so one that its administrator makes later is not lifted.
func TestI6_RefusedSuspension(t *testing.T) {
	const suspend = "POST /api/systemusers/{id}/state/suspend"
	for name, fault := range map[string]jcsim.Fault{
		"refused":  {Kind: jcsim.Status, Code: http.StatusBadRequest},
		"too many": {Kind: jcsim.Status, Code: http.StatusTooManyRequests, RetryAfter: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.hire("ann")
			w.pass()
			fault.Operation, fault.Times = suspend, 1
			w.cloud.Fail(fault)
			w.set(w.dn("ann"), "userAccountControl", "514")
			w.pass()
			w.wantState("ann", "ACTIVATED")
			if w.linkOf("ann").SuspendedByUs {
				t.Error("what was not done counts as ours")
			}
			w.cloud.Heal()
			w.ok(w.im.cfg.JumpCloud.Await(t.Context()))
			w.ok(w.cloud.EditUser(w.user("ann").ID, map[string]any{"state": "SUSPENDED"}))
			w.set(w.dn("ann"), "userAccountControl", "512")
			for range 3 {
				w.clock.add(10 * time.Minute)
				w.im.Resync()
				w.pass()
			}
			w.wantState("ann", "SUSPENDED")
		})
	}
}

// TestI6_SuspensionWithoutAnAnswer: it was carried out, so it is lifted when the
// account is enabled before it is looked at again.
func TestI6_SuspensionWithoutAnAnswer(t *testing.T) {
	w := newWorld(t)
	w.hire("ann")
	w.pass()
	w.cloud.Fail(jcsim.Fault{Operation: "POST /api/systemusers/{id}/state/suspend", Kind: jcsim.TimeoutAfterApply, Times: 1})
	w.set(w.dn("ann"), "userAccountControl", "514")
	w.pass()
	w.wantState("ann", "SUSPENDED")
	w.cloud.Heal()
	w.set(w.dn("ann"), "userAccountControl", "512")
	for range 3 {
		w.clock.add(time.Minute)
		w.pass()
	}
	w.wantState("ann", "ACTIVATED")
	w.idle()
}

// TestI6_ActivatedByAnother: a suspension of ours is over when somebody has
// activated the user. One that is made after that is theirs.
func TestI6_ActivatedByAnother(t *testing.T) {
	w := newWorld(t)
	w.hire("ann")
	w.pass()
	w.set(w.dn("ann"), "userAccountControl", "514")
	w.pass()
	id := w.user("ann").ID
	w.ok(w.cloud.EditUser(id, map[string]any{"state": "ACTIVATED"}))
	w.set(w.dn("ann"), "userAccountControl", "512")
	w.im.Resync()
	w.pass()
	w.ok(w.cloud.EditUser(id, map[string]any{"state": "SUSPENDED"}))
	for range 3 {
		w.clock.add(10 * time.Minute)
		w.im.Resync()
		w.pass()
	}
	w.wantState("ann", "SUSPENDED")
}

func (w *world) wantState(name, state string) {
	w.t.Helper()
	if got := w.user(name).State; got != state {
		w.t.Errorf("%s is %s at JumpCloud, want %s", name, got, state)
	}
}

func (w *world) linkOf(name string) identity.Link {
	w.t.Helper()
	link, err := w.store.LinkByJumpCloudID(w.user(name).ID)
	w.ok(err)
	return link
}
