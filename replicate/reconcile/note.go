package reconcile

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// remember takes over a user as JumpCloud answered a write of ours.
func (i *Reconciler) remember(u *jumpcloud.User) {
	i.mu.Lock()
	i.saw(u)
	i.mu.Unlock()
	if i.syncs {
		i.cloud.watcher.Saw(*u)
	}
}

func (i *Reconciler) rememberGroup(g identity.Group) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cloud.state.Groups[g.ID] = g
	i.cloud.note(i.cfg.Now(), &i.cloud.groups, g.ID)
}

// note keeps that something was written which the watcher is to read.
func (c *cloud) note(now time.Time, set *map[string]bool, id string) {
	if *set == nil {
		*set = make(map[string]bool)
	}
	(*set)[id] = true
	c.noted = now
}

// manyNotes is from how many objects on that were written they are left to the
// lists, each of which takes a request for a hundred. Without Directory Insights
// everything is listed all the time.
const manyNotes = 50

// tellWatcher has the watcher read what was written.
func (i *Reconciler) tellWatcher() {
	c := &i.cloud
	i.mu.Lock()
	defer i.mu.Unlock()
	sets := []*map[string]bool{&c.users, &c.groups, &c.boundUsers, &c.boundGroups}
	n := 0
	for _, set := range sets {
		n += len(*set)
	}
	switch {
	case n == 0 || !i.syncs || c.watcher == nil:
	case n > manyNotes && i.cfg.InsightsURL != "":
		c.watcher.Resync()
	case n > manyNotes:
	default:
		c.watcher.Touch(keys(c.users)...)
		c.watcher.TouchGroups(keys(c.groups)...)
		c.watcher.TouchBound(keys(c.boundUsers), keys(c.boundGroups))
	}
	for _, set := range sets {
		clear(*set)
	}
}

func keys(set map[string]bool) (all []string) {
	for id := range set {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

// note takes over what an action did to what is known of JumpCloud. Callers
// hold mu. What it does not know is found out before the next plan is carried
// out.
func (r *run) note(a plan.Action) {
	user, group := a.UserID, a.GroupID
	if _, made := plan.Made(user); made || user == "" {
		user, _ = r.userID(a)
	}
	if a.Kind == plan.AddMember || a.Kind == plan.RemoveMember {
		return // they are noted together
	}
	if _, made := plan.Made(group); made || group == "" {
		group, _ = r.groupID(a)
	}
	c, now := &r.cloud, r.cfg.Now()
	s := c.state
	switch a.Kind {
	case plan.DeleteUser:
		c.dropUser(user)
		c.note(now, &c.users, user)
	case plan.Suspend, plan.Activate:
		c.note(now, &c.users, user)
		if u, ok := s.Users[user]; ok {
			now := *u
			now.Disabled = a.Kind == plan.Suspend
			s.Users[user] = &now
		}
	case plan.UnbindUser:
		delete(s.BoundUsers, user)
		c.note(now, &c.boundUsers, user)
		c.note(now, &c.users, user)
		if u, ok := s.Users[user]; ok {
			now := *u
			now.Restricted, now.DelegatedTo = "", ""
			s.Users[user] = &now
		}
	case plan.BindUser:
		s.BoundUsers[user] = true
		c.note(now, &c.boundUsers, user)
	case plan.BindGroup:
		s.BoundGroups[group] = true
		c.note(now, &c.boundGroups, group)
	case plan.UnbindGroup:
		delete(s.BoundGroups, group)
		c.note(now, &c.boundGroups, group)
	case plan.DeleteGroup:
		delete(s.Groups, group)
		delete(s.BoundGroups, group)
		c.note(now, &c.groups, group)
	case plan.UpdateGroup:
		if g, ok := s.Groups[group]; ok {
			for _, f := range a.Fields {
				if f.Name == plan.FieldGroupName {
					g.Name = f.To
				}
			}
			s.Groups[group] = g
		}
		c.note(now, &c.groups, group)
	}
}

// noteMembers is note for members of a group that were added and removed, whose
// ids are known.
func (r *run) noteMembers(group string, did []plan.Action) {
	if len(did) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cloud.note(r.cfg.Now(), &r.cloud.groups, group)
	g, ok := r.cloud.state.Groups[group]
	if !ok {
		return
	}
	removed := make(map[string]bool)
	members := slices.Clone(g.MemberIDs) // others may hold the old list
	for _, a := range did {
		if a.Kind == plan.RemoveMember {
			removed[a.UserID] = true
		} else {
			members = append(members, a.UserID)
		}
	}
	slices.Sort(members)
	g.MemberIDs = slices.DeleteFunc(slices.Compact(members), func(id string) bool { return removed[id] })
	r.cloud.state.Groups[group] = g
}

// agreeOn notes which members of a group are those of both sides, after it was
// brought in line where AD is the authority.
func (r *run) agreeOn(ctx context.Context, guid identity.GUID) error {
	link, err := r.cfg.Store.GroupLink(r.settings.Domain, guid)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	there := r.cloud.state.Groups[link.GroupID].MemberIDs
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
