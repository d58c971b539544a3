package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store/identity"
)

// errWaits: something that must be done first was not.
var errWaits = errors.New("the user it is about is not made yet: see the change of that user")

// errDisagrees: a fresh read is not as it was when the plan was made.
var errDisagrees = errors.New("a fresh read does not confirm it")

// errUnexplained: what is not found in AD was not deleted there either, as far
// as AD tells.
var errUnexplained = errors.New("it is not found in Active Directory, which has no deleted object of it: it may be hidden from the import account, or the controller was restored from an older copy")

// confirm reads once more what a result depends on, before something is taken
// from people (rule I8).
func (r *run) confirm(ctx context.Context, result plan.Result) error {
	if r.d == identity.Sync {
		return r.confirmAtJumpCloud(ctx, result)
	}
	return r.confirmInAD(ctx, result)
}

// confirmAtJumpCloud: a deleted user is found neither by its id nor by its names, a suspended one is
// suspended, and a member who is to be taken out of an AD group is no member of
// the JumpCloud group, which is still bound.
func (r *run) confirmAtJumpCloud(ctx context.Context, result plan.Result) error {
	takes := func(kind plan.Kind) bool {
		return slices.ContainsFunc(result.Actions, func(a plan.Action) bool { return a.Kind == kind })
	}
	var err error
	switch {
	case takes(plan.ADDisable):
		err = r.confirmUser(ctx, result.GUID, result.CloudID)
	case takes(plan.ADRemoveMember):
		err = r.confirmMembers(ctx, result)
	}
	if err != nil {
		return fmt.Errorf("confirm at JumpCloud: %w", err)
	}
	return nil
}

func (r *run) confirmUser(ctx context.Context, guid identity.GUID, id string) error {
	_, known := r.world.Cloud.Users[id]
	u, err := r.cfg.JumpCloud.User(ctx, id)
	switch {
	case jumpcloud.NotFound(err) && !known:
		return r.confirmNobody(ctx, guid, id)
	case jumpcloud.NotFound(err):
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cloud.dropUser(id)
		return errDisagrees
	case err != nil:
		return err
	}
	r.remember(&u)
	if now := jumpcloud.ToIdentity(&u, r.settings.ADID); !known || !now.Disabled {
		return errDisagrees
	}
	return nil
}

// confirmNobody asks in another way for a user who is not found by its id: to be
// disabled ends the link, and nobody is enabled again who is not linked.
func (r *run) confirmNobody(ctx context.Context, guid identity.GUID, id string) error {
	username, mail := r.world.Links[guid].Username, ""
	if account, there := r.world.Users[guid]; there {
		mail = account.JoinMail()
	}
	if username == "" && mail == "" {
		return nil
	}
	found, err := r.cfg.JumpCloud.FindUsers(ctx, username, mail)
	if err != nil {
		return err
	}
	for _, u := range found {
		if u.ID == id {
			r.remember(&u)
			return errDisagrees
		}
	}
	return nil
}

func (r *run) confirmMembers(ctx context.Context, result plan.Result) error {
	there, err := r.members(ctx, result.CloudID)
	if jumpcloud.NotFound(err) {
		return errDisagrees
	}
	if err != nil {
		return err
	}
	for _, a := range result.Actions {
		if _, is := slices.BinarySearch(there, a.UserID); is && a.Kind == plan.ADRemoveMember {
			return errDisagrees
		}
	}
	for id, err := range r.cfg.JumpCloud.BoundGroups(ctx, r.settings.ADID) {
		if err != nil || id == result.CloudID {
			return err
		}
	}
	return errDisagrees
}

// confirmedGone judges a read of what the mirror does not have.
func confirmedGone(err error) error {
	switch {
	case errors.Is(err, ad.ErrNotFound):
		return nil
	case err == nil:
		return errDisagrees
	}
	return err
}

// explained asks for the deleted object of what is gone, where the import
// account may see those: whatever takes an account out of sight, such as an
// access list, looks the same as its deletion otherwise.
func (r *run) explained(ctx context.Context, guid identity.GUID, err error) error {
	if err != nil {
		return err
	}
	deleted, known, err := r.cfg.AD.Deleted(ctx, r.cfg.Domain.BaseDN, guid)
	if err == nil && known && !deleted {
		return errUnexplained
	}
	return err
}

// confirmInAD reads the account or group, before something is taken from people
// because it is gone, out of scope or disabled.
func (r *run) confirmInAD(ctx context.Context, result plan.Result) error {
	if !slices.ContainsFunc(result.Actions, func(a plan.Action) bool {
		return a.Kind == plan.DeleteUser || a.Kind == plan.UnbindUser || a.Kind == plan.Suspend || a.Kind == plan.DeleteGroup || a.Kind == plan.UnbindGroup
	}) {
		return nil
	}
	if isGroup(r.world, result.GUID) {
		if _, there := r.world.Groups[result.GUID]; there {
			return nil
		}
		_, _, err := r.cfg.AD.Exists(ctx, "<GUID="+result.GUID.String()+">", "(objectClass=group)")
		return r.explained(ctx, result.GUID, confirmedGone(err))
	}
	known, there := r.world.Users[result.GUID]
	now, err := r.cfg.AD.User(ctx, identity.Account{Domain: r.settings.Domain, GUID: result.GUID})
	switch {
	case !there:
		return r.explained(ctx, result.GUID, confirmedGone(err))
	case err != nil && confirmedGone(err) == nil: // it is on its way out of the mirror
		return nil
	case err != nil:
		return err
	case r.scope.User(known) != "" && now.InScope, r.scope.User(known) == "" && known.Disabled && !now.Disabled:
		return errDisagrees
	}
	return nil
}
