package reconcile

import (
	"context"
	"fmt"
)

// readDelegation asks JumpCloud whether AD may check passwords for it, which
// decides whether a user may be told to have them checked there. A list of AD
// objects that lacks this domain's is an error: taken for a "no", it would take
// the delegation from everybody.
func (i *Reconciler) readDelegation(ctx context.Context) error {
	all, err := i.cfg.JumpCloud.ActiveDirectories(ctx)
	if err != nil {
		return fmt.Errorf("read the domain's AD object at JumpCloud: %w", err)
	}
	for _, object := range all {
		if object.ID == i.settings.ADID {
			i.settings.Delegated = object.DelegationState == "ENABLED"
			return nil
		}
	}
	return fmt.Errorf("JumpCloud has no AD object %s any more: run `dirgate domain register %s` again", i.settings.ADID, i.settings.Domain)
}
