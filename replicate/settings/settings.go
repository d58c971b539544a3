// Package settings tells the planner of a registered domain. The engine of
// passwords and the reconciler of users and groups must plan by the same
// settings, and neither imports the other.
package settings

import (
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// Of are a registered domain's settings. Whether JumpCloud delegates sign-ins
// to it (Delegated) is not registered: who reads JumpCloud adds it.
func Of(d store.Domain) plan.Settings {
	return plan.Settings{Domain: d.Name, ADID: d.JumpCloud.ADID, Use: identity.UseCase(d.UseCase), Actions: d.Actions, Mapping: d.Mapping,
		ImportAccount: d.ImportAccount, SyncAccount: d.SyncAccount}
}
