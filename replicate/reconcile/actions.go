package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// carryOut does the actions of one result, in their order; when one fails
// those after it are not done. What both sides agree on already is kept before,
// and after the two were paired.
func (r *run) carryOut(ctx context.Context, j *job, result plan.Result) error {
	actions := result.Actions
	if k := actions[0].Kind; k == plan.Link || k == plan.LinkGroup {
		if err := r.act(ctx, j, actions[0]); err != nil {
			return err
		}
		actions = actions[1:]
	}
	if err := r.agreeOne(ctx, result); err != nil {
		return err
	}
	waits := false
	for at := 0; at < len(actions); {
		end := at
		for end < len(actions) && actions[end].Kind == actions[at].Kind && isMembership(actions[at].Kind) {
			end++
		}
		var err error
		switch {
		case end == at:
			end++
			err = r.act(ctx, j, actions[at])
		case actions[at].Kind.InAD():
			err = r.membersInAD(ctx, j, actions[at:end])
		default:
			err = r.membersAtJumpCloud(ctx, j, actions[at:end])
		}
		if waits = waits || errors.Is(err, errWaits) && isMembership(actions[at].Kind); err != nil && !waits {
			return err
		}
		at = end
	}
	if waits {
		return errWaits
	}
	return nil
}

func isMembership(k plan.Kind) bool {
	return k == plan.AddMember || k == plan.RemoveMember || k == plan.ADAddMember || k == plan.ADRemoveMember
}

// membersAtJumpCloud changes members of a group side by side: it may have very
// many, so what costs as much as there are members is done once for all of them.
// One whose user cannot be made yet keeps nobody out: the error is errWaits
// then.
func (r *run) membersAtJumpCloud(ctx context.Context, j *job, actions []plan.Action) error {
	var mu sync.Mutex
	var did []plan.Action
	waits := false
	group, err := r.groupID(actions[0])
	if err != nil {
		return r.did(err, actions...)
	}
	err = sideBySide(r.cfg.Workers, actions, func(a plan.Action) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		user, err := r.userID(a)
		if err != nil {
			err = r.did(err, a)
		} else {
			a.UserID, a.GroupID = user, group
			err = r.act(ctx, j, a)
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.Is(err, errWaits):
			waits = true
			return nil
		case err == nil:
			did = append(did, a)
		}
		return err
	})
	r.noteMembers(group, did)
	if kept := r.keepMembers(context.WithoutCancel(ctx), did); err == nil {
		err = kept
	}
	if err == nil && waits {
		err = errWaits
	}
	return err
}

// keepMembers keeps in a group's link what was done to its members, where both
// sides are edited.
func (r *run) keepMembers(ctx context.Context, did []plan.Action) error {
	if len(did) == 0 || r.settings.Use == identity.UseAD {
		return nil
	}
	guid, err := r.groupGUID(did[0])
	if err != nil {
		return err
	}
	return r.cfg.Store.ChangeGroupLink(ctx, r.settings.Domain, guid, func(l *identity.GroupLink) {
		*l = plan.AppliedMembers(*l, did)
	})
}

// act does one action, and notes it.
func (r *run) act(ctx context.Context, j *job, a plan.Action) error {
	var err error
	switch a.Kind {
	case plan.CreateGroup, plan.LinkGroup, plan.UnlinkGroup, plan.UpdateGroup, plan.DeleteGroup, plan.BindGroup, plan.UnbindGroup, plan.AddMember, plan.RemoveMember:
		err = r.actOnGroup(ctx, j, a)
	default:
		if a.Kind.InAD() {
			err = r.actInAD(ctx, j, a)
		} else {
			err = r.actOnUser(ctx, j, a)
		}
	}
	return r.did(err, a)
}

// did counts actions that were done together, and notes them.
func (r *run) did(err error, actions ...plan.Action) error {
	for _, a := range actions {
		r.cfg.Observe.Action(r.d, string(a.Kind), outcome(err))
		if err != nil {
			continue
		}
		r.cfg.Log.Info("replicated", "domain", r.settings.Domain, "direction", string(r.d), "action", string(a.Kind), "object", a.GUID.String(), "user", a.UserID, "group", a.GroupID, "why", a.Reason)
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", strings.ReplaceAll(string(actions[0].Kind), "-", " "), actions[0].Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range actions {
		if !a.Kind.InAD() {
			r.note(a)
		}
	}
	return nil
}

// outcome names what came of an action, as the metrics do.
func outcome(err error) string {
	if err == nil {
		return "done"
	}
	switch judgeFailure(err) {
	case failedUnknown:
		return "unknown"
	case failedForGood:
		return "refused"
	}
	return "deferred"
}

// userID is JumpCloud's id of the user that an action is about.
func (r *run) userID(a plan.Action) (string, error) {
	guid, made := plan.Made(a.UserID)
	switch {
	case made:
	case a.UserID != "":
		return a.UserID, nil
	default:
		guid = a.GUID
	}
	link, err := r.cfg.Store.LinkByGUID(r.settings.Domain, guid)
	if errors.Is(err, store.ErrNotFound) {
		return "", errWaits // for the user to be made
	}
	return link.JumpCloudID, err
}

// groupID is JumpCloud's id of the group that an action is about.
func (r *run) groupID(a plan.Action) (string, error) {
	if _, made := plan.Made(a.GroupID); !made && a.GroupID != "" {
		return a.GroupID, nil
	}
	link, err := r.cfg.Store.GroupLink(r.settings.Domain, a.GUID)
	return link.GroupID, err
}

func (r *run) actOnUser(ctx context.Context, j *job, a plan.Action) error {
	switch a.Kind {
	case plan.CreateUser:
		return r.createUser(ctx, a)
	case plan.Link:
		link := r.newLink(a, a.UserID, r.world.Cloud.Users[a.UserID].Username)
		link.How = "taken over by the import: " + a.Reason
		if a.Direction == identity.Sync {
			link.BySync, link.How = true, "taken over by sync: "+a.Reason
		}
		if err := r.cfg.Store.PutLink(ctx, link); err != nil {
			return err
		}
		return r.identify(ctx, j, a.GUID)
	case plan.Unlink:
		err := r.cfg.Store.RemoveLink(ctx, r.settings.Domain, a.GUID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}
	id, err := r.userID(a)
	if err != nil {
		return err
	}
	cloud := r.cfg.JumpCloud
	switch a.Kind {
	case plan.UpdateUser:
		return r.updateUser(ctx, a, id)
	case plan.DeleteUser:
		return cloud.DeleteUser(ctx, id)
	case plan.Suspend:
		return r.suspend(ctx, a, id)
	case plan.Activate:
		if err := cloud.Activate(ctx, id); err != nil {
			return err
		}
		return r.changeLink(ctx, a.GUID, func(l *identity.Link) { l.SuspendedByUs = false })
	case plan.ExpirePassword:
		return r.expire(ctx, a, id)
	case plan.BindUser:
		if err := cloud.BindUser(ctx, r.settings.ADID, id); err != nil {
			return err
		}
		return r.keep(ctx, a)
	case plan.UnbindUser:
		if _, err := cloud.UpdateUser(ctx, id, r.settings.ADID, []jumpcloud.Field{{Name: plan.FieldRestrict}, {Name: plan.FieldDelegate}}); err != nil && !jumpcloud.NotFound(err) {
			return err
		}
		return cloud.UnbindUser(ctx, r.settings.ADID, id)
	}
	return fmt.Errorf("action %q is not known", a.Kind)
}

func (r *run) newLink(a plan.Action, id, username string) identity.Link {
	return identity.Link{Domain: r.settings.Domain, GUID: a.GUID, JumpCloudID: id, Username: username, At: r.cfg.Now()}
}

func (r *run) createUser(ctx context.Context, a plan.Action) error {
	fields, err := r.fields(a)
	if err != nil {
		return err
	}
	made, err := r.cfg.JumpCloud.CreateUser(ctx, r.settings.ADID, fields)
	if err != nil {
		return err
	}
	link := r.newLink(a, made.ID, made.Username)
	link.How = "made at JumpCloud by the import"
	link = plan.Applied(link, a)
	link.SudoGiven = slices.Contains(fields, jumpcloud.Field{Name: plan.FieldSudo, To: "true"})
	r.remember(&made)
	// The user exists: its link must not fall to a shutdown.
	return r.cfg.Store.PutLink(context.WithoutCancel(ctx), link)
}

func (r *run) updateUser(ctx context.Context, a plan.Action, id string) error {
	fields, err := r.fields(a)
	if err != nil {
		return err
	}
	sudo := slices.IndexFunc(fields, func(f jumpcloud.Field) bool { return f.Name == plan.FieldSudo })
	if sudo >= 0 && fields[sudo].To == "true" { // before: a right that is not known to be ours would never be taken back
		if err := r.changeLink(ctx, a.GUID, func(l *identity.Link) { l.SudoGiven = true }); err != nil {
			return err
		}
	}
	now, err := r.cfg.JumpCloud.UpdateUser(ctx, id, r.settings.ADID, fields)
	if err != nil {
		return err
	}
	if now.ID == id {
		r.remember(&now)
	}
	if sudo >= 0 && fields[sudo].To != "true" {
		if err := r.changeLink(ctx, a.GUID, func(l *identity.Link) { l.SudoGiven = false }); err != nil {
			return err
		}
	}
	return r.keep(ctx, a)
}

// keep puts into a user's link what follows from an action that was carried
// out, where both sides are edited.
func (r *run) keep(ctx context.Context, a plan.Action) error {
	if r.settings.Use == identity.UseAD {
		return nil
	}
	return r.changeLink(context.WithoutCancel(ctx), a.GUID, func(l *identity.Link) { *l = plan.Applied(*l, a) })
}

// fields are an action's, with the ids of managers who were made just now.
func (r *run) fields(a plan.Action) (fields []jumpcloud.Field, err error) {
	for _, f := range a.Fields {
		if _, made := plan.Made(f.To); made && f.Name == plan.FieldManager {
			if f.To, err = r.userID(plan.Action{UserID: f.To}); err != nil {
				return nil, fmt.Errorf("manager: %w", err)
			}
		}
		fields = append(fields, jumpcloud.Field{Name: f.Name, To: f.To})
	}
	return fields, nil
}

// suspend notes before that the suspension is ours: one that is not known to be
// would never be lifted. What was not carried out is not ours: else one that a
// person makes later would be lifted.
func (r *run) suspend(ctx context.Context, a plan.Action, id string) error {
	if err := r.changeLink(ctx, a.GUID, func(l *identity.Link) { l.SuspendedByUs = true }); err != nil {
		return err
	}
	cause := r.cfg.JumpCloud.Suspend(ctx, id)
	switch {
	case cause == nil:
		return nil
	case !jumpcloud.Refused(cause) && !jumpcloud.NotSent(cause):
		r.mu.Lock()
		defer r.mu.Unlock()
		r.note(a) // it may be so; the user is read before the next attempt
		return cause
	}
	err := r.changeLink(context.WithoutCancel(ctx), a.GUID, func(l *identity.Link) { l.SuspendedByUs = false })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return errors.Join(cause, err)
	}
	return cause
}

func (r *run) expire(ctx context.Context, a plan.Action, id string) error {
	if err := r.cfg.JumpCloud.ExpirePassword(ctx, id); err != nil {
		return err
	}
	u, ok := r.world.Users[a.GUID]
	if !ok || u.AccountExpires.IsZero() || u.AccountExpires.After(r.world.Now) {
		return nil
	}
	return r.changeLink(ctx, a.GUID, func(l *identity.Link) { l.ExpiredFor = u.AccountExpires })
}

// changeLink brings a stored link up to date; what others keep there stays.
func (r *run) changeLink(ctx context.Context, guid identity.GUID, change func(*identity.Link)) error {
	return r.cfg.Store.ChangeLink(ctx, r.settings.Domain, guid, change)
}

func (r *run) actOnGroup(ctx context.Context, j *job, a plan.Action) error {
	st, cloud := r.cfg.Store, r.cfg.JumpCloud
	id, err := r.groupID(a)
	if err != nil && a.Kind != plan.CreateGroup && a.Kind != plan.UnlinkGroup {
		return err
	}
	switch a.Kind {
	case plan.CreateGroup:
		note := ""
		if len(a.Fields) > 1 {
			note = a.Fields[1].To
		}
		made, err := cloud.CreateGroup(ctx, a.Fields[0].To, note)
		if err != nil {
			return err
		}
		r.rememberGroup(made.ToIdentity())
		return st.PutGroupLink(context.WithoutCancel(ctx), plan.AppliedGroup(r.newGroupLink(a, made.ID, made.Name, true), a))
	case plan.LinkGroup:
		link := r.newGroupLink(a, id, r.world.Cloud.Groups[id].Name, false)
		link.BySync = a.Direction == identity.Sync
		if err := st.PutGroupLink(ctx, link); err != nil {
			return err
		}
		return r.identify(ctx, j, a.GUID)
	case plan.UnlinkGroup:
		err := st.RemoveGroupLink(ctx, r.settings.Domain, a.GUID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	case plan.UpdateGroup:
		fields, err := r.fields(a)
		if err == nil {
			_, err = cloud.UpdateGroup(ctx, id, fields)
		}
		if err != nil {
			return err
		}
		return r.keepGroup(ctx, a)
	case plan.DeleteGroup:
		return cloud.DeleteGroup(ctx, id)
	case plan.BindGroup:
		if err := cloud.BindGroup(ctx, r.settings.ADID, id); err != nil {
			return err
		}
		return r.keepGroup(ctx, a)
	case plan.UnbindGroup:
		return cloud.UnbindGroup(ctx, r.settings.ADID, id)
	}
	user, err := r.userID(a)
	switch {
	case err != nil:
		return err
	case a.Kind == plan.AddMember:
		return cloud.AddMember(ctx, id, user)
	}
	return cloud.RemoveMember(ctx, id, user)
}

// keepGroup is keep for a group.
func (r *run) keepGroup(ctx context.Context, a plan.Action) error {
	if r.settings.Use == identity.UseAD {
		return nil
	}
	return r.cfg.Store.ChangeGroupLink(context.WithoutCancel(ctx), r.settings.Domain, a.GUID, func(l *identity.GroupLink) { *l = plan.AppliedGroup(*l, a) })
}

func (r *run) newGroupLink(a plan.Action, id, name string, created bool) identity.GroupLink {
	return identity.GroupLink{Domain: r.settings.Domain, GUID: a.GUID, GroupID: id, Name: name, At: r.cfg.Now(), Created: created}
}
