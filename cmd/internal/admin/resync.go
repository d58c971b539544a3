package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

const pathResyncUser = "/v1/user/resync"

// UserRun is what came of comparing one user.
type UserRun struct {
	Name string        `json:"name"`
	GUID identity.GUID `json:"guid"`
	// Change is the one that was recorded for it, or the newer one that the
	// same pass recorded because AD had changed too.
	Change identity.Entry `json:"change"`
	// Done are the attempts of the change: what was written, in words.
	Done []string `json:"done,omitempty"`
	// Result says how it ended, in words.
	Result string `json:"result"`
}

// ResyncUser compares one user with both sides now and writes what differs:
// it records a change of the account, or where the use case imports nothing, or
// AD has none, of the JumpCloud user, and makes a pass.
func (l *Local) ResyncUser(ctx context.Context, domain, name string) (run UserRun, err error) {
	d, err := l.pick(domain)
	if err != nil {
		return run, err
	}
	o, err := l.find(ctx, d, name, false)
	if err != nil {
		return run, err
	}
	run.Name, run.GUID = o.name, o.guid
	change := identity.Change{Kind: identity.UserChange, Direction: identity.Import, Actor: "user resync",
		Account: identity.Account{Domain: d.Name, GUID: o.guid, DN: o.dn, SAM: o.name}}
	newest := func() (identity.Entry, error) { return l.Store.NewestState(d.Name, o.guid) }
	switch use := identity.UseCase(d.UseCase); {
	case use.Imports() && !o.guid.IsZero():
	case !use.Syncs():
		return run, fmt.Errorf("%s has no account in Active Directory that could be compared", o.name)
	case o.cloudID == "":
		return run, fmt.Errorf("%s has no JumpCloud user that could be compared: use case %s of %s goes by what JumpCloud has; see `dirgate user why %s`", o.name, use, d.Name, name)
	default:
		change.Direction, change.CloudID = identity.Sync, o.cloudID
		newest = func() (identity.Entry, error) {
			return l.Store.NewestCloudState(d.Name, identity.UserChange, o.cloudID)
		}
	}
	seq, err := l.Store.AppendState(ctx, change)
	if err != nil {
		return run, err
	}
	_, passErr := l.RunImport(ctx, d.Name, false)
	if run.Change, err = newest(); err != nil {
		return run, errors.Join(passErr, err)
	}
	if err := l.outcome(&run); err != nil {
		return run, errors.Join(passErr, err)
	}
	if passErr != nil && !run.Change.Status.Final() {
		return run, fmt.Errorf("change %s is recorded, and not applied: %w", max(seq, run.Change.Seq), passErr)
	}
	return run, nil
}

// outcome says what became of the change.
func (l *Local) outcome(run *UserRun) error {
	e := run.Change
	records, _, err := l.Store.Story([]identity.Entry{e})
	if err != nil {
		return err
	}
	for _, r := range records[e.Seq] {
		if r.Type == store.RecordAttempt {
			run.Done = append(run.Done, r.Evidence)
		}
	}
	switch {
	case e.Status == identity.StatusApplied && len(run.Done) == 0:
		run.Result = "both sides agree: nothing was to be done"
	case e.Status == identity.StatusApplied:
		run.Result = "done"
	case e.Status == identity.StatusHeld:
		run.Result = "held by the guard of " + e.Class + ": " + e.Reason + "; see `dirgate guard list`"
	case e.Reason == "":
		run.Result = string(e.Status)
	default:
		run.Result = string(e.Status) + ": " + e.Reason
	}
	return nil
}

// ResyncUser compares one user with both sides now.
func (c *Client) ResyncUser(ctx context.Context, domain, name string) (UserRun, error) {
	return call[UserRun](ctx, c, pathResyncUser, named{Domain: domain, Name: name})
}
