package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

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

// carryOut does the actions of one result, in their order; when one fails
// those after it are not done. Members are added side by side: a group may
// have very many; one whose user cannot be made yet keeps nobody out.
func (r *run) carryOut(ctx context.Context, result plan.Result) error {
	actions := result.Actions
	var waits atomic.Bool
	for at := 0; at < len(actions); {
		end := at
		for end < len(actions) && actions[end].Kind == plan.AddMember {
			end++
		}
		if end == at {
			if err := r.act(ctx, actions[at]); err != nil {
				return err
			}
			at++
			continue
		}
		err := sideBySide(r.cfg.Workers, actions[at:end], func(a plan.Action) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := r.act(ctx, a)
			if errors.Is(err, errWaits) {
				waits.Store(true)
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		at = end
	}
	if waits.Load() {
		return errWaits
	}
	return nil
}

// act does one action, and notes it.
func (r *run) act(ctx context.Context, a plan.Action) error {
	var err error
	switch a.Kind {
	case plan.CreateGroup, plan.LinkGroup, plan.UnlinkGroup, plan.UpdateGroup, plan.DeleteGroup, plan.BindGroup, plan.UnbindGroup, plan.AddMember, plan.RemoveMember:
		err = r.actOnGroup(ctx, a)
	default:
		err = r.actOnUser(ctx, a)
	}
	r.cfg.Observe.Action(identity.Import, string(a.Kind), outcome(err))
	if err != nil {
		return fmt.Errorf("%s %q: %w", strings.ReplaceAll(string(a.Kind), "-", " "), a.Name, err)
	}
	r.cfg.Log.Info("imported", "domain", r.settings.Domain, "action", string(a.Kind), "object", a.GUID.String(), "user", a.UserID, "group", a.GroupID, "why", a.Reason)
	r.mu.Lock()
	defer r.mu.Unlock()
	if j := r.jobs[a.GUID]; a.Kind.Destructive() && (j == nil || !j.entry.Approved) {
		r.done = append(r.done, taken{r.cfg.Now(), a})
	}
	r.note(a)
	return nil
}

// outcome names what came of an action, as the metrics do.
func outcome(err error) string {
	switch {
	case err == nil:
		return "done"
	case jumpcloud.Unknown(err):
		return "unknown"
	case jumpcloud.Refused(err) && !jumpcloud.Temporary(err) && !jumpcloud.NotSent(err) && !jumpcloud.Unauthorized(err):
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

func (r *run) actOnUser(ctx context.Context, a plan.Action) error {
	switch a.Kind {
	case plan.CreateUser:
		return r.createUser(ctx, a)
	case plan.Link:
		link := r.newLink(a, a.UserID, r.world.Cloud.Users[a.UserID].Username)
		link.How = "taken over by the import: " + a.Reason
		return r.cfg.Store.PutLink(ctx, link)
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
		// Before: a suspension that is not known to be ours would never be lifted.
		if err := r.changeLink(ctx, a.GUID, func(l *identity.Link) { l.SuspendedByUs = true }); err != nil {
			return err
		}
		return cloud.Suspend(ctx, id)
	case plan.Activate:
		if err := cloud.Activate(ctx, id); err != nil {
			return err
		}
		return r.changeLink(ctx, a.GUID, func(l *identity.Link) { l.SuspendedByUs = false })
	case plan.ExpirePassword:
		return r.expire(ctx, a, id)
	case plan.BindUser:
		return cloud.BindUser(ctx, r.settings.ADID, id)
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
		return r.changeLink(ctx, a.GUID, func(l *identity.Link) { l.SudoGiven = false })
	}
	return nil
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

func (r *run) actOnGroup(ctx context.Context, a plan.Action) error {
	st, cloud := r.cfg.Store, r.cfg.JumpCloud
	id := a.GroupID
	if _, made := plan.Made(id); made || id == "" {
		link, err := st.GroupLink(r.settings.Domain, a.GUID)
		if err != nil && a.Kind != plan.CreateGroup && a.Kind != plan.UnlinkGroup {
			return err
		}
		id = link.GroupID
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
		return st.PutGroupLink(context.WithoutCancel(ctx), r.newGroupLink(a, made.ID, made.Name, true))
	case plan.LinkGroup:
		return st.PutGroupLink(ctx, r.newGroupLink(a, id, r.world.Cloud.Groups[id].Name, false))
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
		return err
	case plan.DeleteGroup:
		return cloud.DeleteGroup(ctx, id)
	case plan.BindGroup:
		return cloud.BindGroup(ctx, r.settings.ADID, id)
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

func (r *run) newGroupLink(a plan.Action, id, name string, created bool) identity.GroupLink {
	return identity.GroupLink{Domain: r.settings.Domain, GUID: a.GUID, GroupID: id, Name: name, At: r.cfg.Now(), Created: created}
}
