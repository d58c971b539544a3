package reconcile

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// remember takes over a user as JumpCloud answered it.
func (i *Reconciler) remember(u *jumpcloud.User) {
	known := jumpcloud.ToIdentity(u, i.settings.ADID)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cloud.Users[u.ID] = &known
}

func (i *Reconciler) rememberGroup(g identity.Group) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cloud.Groups[g.ID] = g
}

// note takes over what an action did to what is known of JumpCloud. Callers
// hold mu. What it does not know is found out before the next plan is carried
// out.
func (r *run) note(a plan.Action) {
	user, group := a.UserID, a.GroupID
	if _, made := plan.Made(user); made || user == "" {
		user, _ = r.userID(a)
	}
	if _, made := plan.Made(group); made || group == "" {
		link, _ := r.cfg.Store.GroupLink(r.settings.Domain, a.GUID)
		group = link.GroupID
	}
	c := r.cloud
	switch a.Kind {
	case plan.DeleteUser:
		delete(c.Users, user)
		delete(c.BoundUsers, user)
		for id, g := range c.Groups {
			if at, is := slices.BinarySearch(g.MemberIDs, user); is {
				g.MemberIDs = slices.Delete(slices.Clone(g.MemberIDs), at, at+1)
				c.Groups[id] = g
			}
		}
	case plan.Suspend, plan.Activate:
		if u, ok := c.Users[user]; ok {
			now := *u
			now.Disabled = a.Kind == plan.Suspend
			c.Users[user] = &now
		}
	case plan.UnbindUser:
		delete(c.BoundUsers, user)
		if u, ok := c.Users[user]; ok {
			now := *u
			now.Restricted, now.DelegatedTo = "", ""
			c.Users[user] = &now
		}
	case plan.BindUser:
		c.BoundUsers[user] = true
	case plan.BindGroup:
		c.BoundGroups[group] = true
	case plan.UnbindGroup:
		delete(c.BoundGroups, group)
	case plan.DeleteGroup:
		delete(c.Groups, group)
		delete(c.BoundGroups, group)
	case plan.UpdateGroup, plan.AddMember, plan.RemoveMember:
		r.noteGroup(a, group, user)
	}
}

func (r *run) noteGroup(a plan.Action, group, user string) {
	g, ok := r.cloud.Groups[group]
	if !ok {
		return
	}
	at, is := slices.BinarySearch(g.MemberIDs, user)
	switch {
	case a.Kind == plan.AddMember && !is:
		g.MemberIDs = slices.Insert(slices.Clone(g.MemberIDs), at, user)
	case a.Kind == plan.RemoveMember && is:
		g.MemberIDs = slices.Delete(slices.Clone(g.MemberIDs), at, at+1)
	case a.Kind == plan.UpdateGroup:
		for _, f := range a.Fields {
			if f.Name == plan.FieldGroupName {
				g.Name = f.To
			}
		}
	}
	r.cloud.Groups[group] = g
}

// agreeOn notes which members of a group are those of both sides, after it was
// brought in line.
func (r *run) agreeOn(ctx context.Context, guid identity.GUID) error {
	link, err := r.cfg.Store.GroupLink(r.settings.Domain, guid)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	there := r.cloud.Groups[link.GroupID].MemberIDs
	r.mu.Unlock()
	var both []string
	for _, member := range r.scope.Members(guid) {
		l, err := r.cfg.Store.LinkByGUID(r.settings.Domain, member)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if _, is := slices.BinarySearch(there, l.JumpCloudID); is {
			both = append(both, l.JumpCloudID)
		}
	}
	slices.SortFunc(both, strings.Compare)
	if slices.Equal(both, link.Agreed) {
		return nil
	}
	link.Agreed = both
	return r.cfg.Store.PutGroupLink(ctx, link)
}
