package reconcile

import (
	"context"
	"testing"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/store/identity"
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
