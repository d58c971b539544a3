package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store/identity"
)

// cloud is JumpCloud as it was last seen, and what was done to it since. One
// goroutine has it, but for what says otherwise.
type cloud struct {
	watcher *jumpcloud.Watcher // nil: not made yet
	wanted  map[string]bool    // ids and names of groups whose members are read
	due     time.Time          // when the watcher is to look again
	at      time.Time          // when everything in the state was last known to be so
	failed  error              // of the last look; nil: it was well
	news    map[string]bool    // what was seen to be different and not planned for yet; "" is all
	rules   []identity.TranslationRule
	said    *saying // what the watcher said and was not taken over yet; nil: nothing

	// state is what is planned with; nil: nothing was read yet. Guarded by the
	// Reconciler's mu, as what follows is.
	state  *plan.Cloud
	shared bool // its maps are the watcher's
	// noted is when something of ours was last put into it that the watcher has
	// not read yet; zero: there is none.
	noted                                  time.Time
	users, groups, boundUsers, boundGroups map[string]bool // to be read for it
}

// own makes the maps of the state ones that may be changed.
func (c *cloud) own() {
	if !c.shared {
		return
	}
	s := c.state
	c.state, c.shared = &plan.Cloud{Users: maps.Clone(s.Users), Groups: maps.Clone(s.Groups),
		BoundUsers: maps.Clone(s.BoundUsers), BoundGroups: maps.Clone(s.BoundGroups), Complete: s.Complete}, false
}

// adopt takes over all that the watcher has.
func (c *cloud) adopt(s *jumpcloud.State, asOf time.Time) {
	c.state = &plan.Cloud{Users: s.Users, Groups: s.Groups, BoundUsers: s.BoundUsers, BoundGroups: s.BoundGroups, Complete: true}
	c.shared, c.noted, c.at = true, time.Time{}, asOf
}

// merge takes over what the watcher found to be different, and leaves the rest:
// of what was written since, the watcher has only a part.
func (c *cloud) merge(d *jumpcloud.Delta, s *jumpcloud.State) {
	c.own()
	for _, id := range d.Users {
		if u := s.Users[id]; u != nil {
			c.state.Users[id] = u
		}
	}
	for _, id := range d.GoneUsers {
		c.dropUser(id)
	}
	for _, id := range d.Groups {
		if g, ok := s.Groups[id]; ok {
			c.state.Groups[id] = g
		}
	}
	for _, id := range d.GoneGroups {
		delete(c.state.Groups, id)
		delete(c.state.BoundGroups, id)
	}
	for _, id := range d.Bound {
		setTo(c.state.BoundUsers, id, s.BoundUsers[id])
		setTo(c.state.BoundGroups, id, s.BoundGroups[id])
	}
}

func setTo(set map[string]bool, id string, is bool) {
	if is {
		set[id] = true
	} else {
		delete(set, id)
	}
}

// dropUser takes a user out of everything, as JumpCloud does.
func (c *cloud) dropUser(id string) {
	delete(c.state.Users, id)
	delete(c.state.BoundUsers, id)
	for groupID, g := range c.state.Groups {
		if at, is := slices.BinarySearch(g.MemberIDs, id); is {
			g.MemberIDs = slices.Delete(slices.Clone(g.MemberIDs), at, at+1)
			c.state.Groups[groupID] = g
		}
	}
}

// errNotRead: the first look at JumpCloud is not complete.
var errNotRead = errors.New("JumpCloud was not read completely yet")

// lookDue: it is time to look at JumpCloud.
func (i *Reconciler) lookDue(full bool) bool {
	return full || i.cloud.state == nil || i.cloud.said != nil || i.syncs && !i.cfg.Now().Before(i.cloud.due)
}

// saying is what a look of the watcher came to.
type saying struct {
	delta jumpcloud.Delta
	err   error
}

// quietCloud looks at JumpCloud, when it is time and what AD has is as it was:
// true if there is nothing to take over. That costs nothing for each user. Else
// lookAtCloud takes over what was heard.
func (i *Reconciler) quietCloud(ctx context.Context, full bool) bool {
	c := &i.cloud
	if full || c.state == nil || c.said != nil {
		return false
	}
	i.phase(readingJumpCloud)
	delta, err := i.listen(ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err == nil && c.failed == nil && delta.Empty() && c.noted.IsZero() {
		c.at, c.said = delta.AsOf, nil
		return true
	}
	return false
}

// listen asks the watcher, and keeps its answer.
func (i *Reconciler) listen(ctx context.Context) (jumpcloud.Delta, error) {
	c := &i.cloud
	delta, err := c.watcher.Refresh(ctx)
	c.due = c.watcher.Due()
	c.said = &saying{delta, err}
	return delta, err
}

// lookAtCloud brings what is known of JumpCloud up to date: with full and at
// first all of it, and where sync runs what has changed, when it is time. An
// error leaves what was known as it was.
//
// Where nothing is synced JumpCloud is listed for full compares alone, by a
// watcher made for it, whose first look is not bounded.
func (i *Reconciler) lookAtCloud(ctx context.Context, w plan.World, full bool) (err error) {
	c := &i.cloud
	if !i.lookDue(full) {
		return nil
	}
	if c.watcher == nil || full && !i.syncs && c.watcher.State() != nil {
		if c.watcher, err = i.newWatcher(); err != nil {
			return err
		}
	} else if full && i.syncs {
		c.watcher.Resync()
	}
	i.phase(readingJumpCloud)
	if full || c.state == nil {
		if err := i.readDelegation(ctx); err != nil {
			return err
		}
	}
	c.wanted = wanted(w)
	before := c.said
	if before == nil || full {
		_, _ = i.listen(ctx)
	}
	delta, err := c.said.delta, c.said.err
	c.said = nil
	state := c.watcher.State()
	if state == nil {
		if err == nil {
			err = errNotRead
		}
		return err
	}
	first := c.state == nil
	c.failed = err
	i.mu.Lock()
	if before != nil && full && !first {
		c.merge(&before.delta, state)
		c.heard(&before.delta)
	}
	if first || !i.syncs || c.noted.IsZero() || delta.Complete && !delta.AsOf.Before(c.noted) {
		c.adopt(state, delta.AsOf)
	} else {
		c.merge(&delta, state)
	}
	i.mu.Unlock()
	c.rules = state.Rules
	if err == nil || !first {
		err = i.fillMembers(ctx, w, state)
	}
	if err != nil && first {
		c.state = nil
	}
	c.heard(&delta)
	return err
}

func (c *cloud) heard(d *jumpcloud.Delta) {
	if c.news == nil {
		c.news = make(map[string]bool)
	}
	for _, ids := range [][]string{d.Users, d.GoneUsers, d.Groups, d.GoneGroups, d.Bound} {
		for _, id := range ids {
			c.news[id] = true
		}
	}
	if d.Rules {
		c.news[""] = true
	}
}

func (i *Reconciler) newWatcher() (*jumpcloud.Watcher, error) {
	conf := jumpcloud.WatchConfig{Client: i.cfg.JumpCloud, ADID: i.settings.ADID, Interval: i.cfg.SyncInterval, Log: i.cfg.Log, Now: i.cfg.Now,
		Wanted: func(g identity.Group) bool { return i.cloud.wanted[g.ID] || i.cloud.wanted[g.Name] }}
	if i.syncs && i.cfg.InsightsURL != "" {
		// Without a cursor of an earlier process: the first look lists everything.
		events, err := jumpcloud.NewInsights(i.cfg.JumpCloud, i.cfg.InsightsURL, nil, i.cfg.Now)
		if err != nil {
			return nil, err
		}
		conf.Insights = events
	}
	return jumpcloud.NewWatcher(conf)
}

// wanted are the groups whose members must be known, besides those that are
// bound: those that are linked, or have the name of an AD group.
func wanted(w plan.World) map[string]bool {
	all := make(map[string]bool, len(w.Groups)+len(w.GroupLinks))
	for _, g := range w.Groups {
		all[g.Name] = true
	}
	for _, l := range w.GroupLinks {
		all[l.GroupID] = true
	}
	return all
}

// fillMembers reads the members of groups that are linked or bound, of which
// the watcher has none yet: such a group is not an empty one.
func (i *Reconciler) fillMembers(ctx context.Context, w plan.World, s *jumpcloud.State) error {
	ids := maps.Clone(s.BoundGroups)
	if ids == nil {
		ids = make(map[string]bool)
	}
	for _, l := range w.GroupLinks {
		ids[l.GroupID] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		g, there := s.Groups[id]
		if !there || s.Members[id] {
			continue
		}
		members, err := i.members(ctx, id)
		if jumpcloud.NotFound(err) {
			continue // it is about to be seen gone
		}
		if err != nil {
			return err
		}
		g.MemberIDs = members
		i.mu.Lock()
		i.cloud.own()
		i.cloud.state.Groups[id] = g
		i.mu.Unlock()
	}
	return nil
}

func (i *Reconciler) members(ctx context.Context, groupID string) (ids []string, err error) {
	for id, err := range i.cfg.JumpCloud.Members(ctx, groupID) {
		if err != nil {
			return nil, fmt.Errorf("members of group %s: %w", groupID, err)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// listAll is how many objects are worked on from which on they are not each
// asked for before: one list, of which everything was known at one time, does.
const listAll = 100

// refresh looks again at what JumpCloud has of the objects that are about to
// be worked on, and of whoever has the names that the import asks for.
func (i *Reconciler) refresh(ctx context.Context, w plan.World, of map[object]*job) (err error) {
	c := &i.cloud
	if c.state == nil || len(of) > listAll && i.cfg.Now().Sub(c.at) >= passLimit {
		err = i.lookAtCloud(ctx, w, true)
		if err == nil && c.failed != nil {
			err = c.failed
		}
	}
	if err != nil {
		return err
	}
	i.mu.Lock()
	c.own()
	i.mu.Unlock()
	if len(of) > listAll {
		return nil
	}
	groups := false
	for o, j := range of {
		switch {
		case j.entry.Kind == identity.GroupChange && o.cloudID != "":
			err = i.refreshGroup(ctx, o.cloudID)
		case j.entry.Kind == identity.GroupChange:
			groups = true
		case o.cloudID != "":
			err = i.refreshCloudUser(ctx, o.cloudID)
		default:
			err = i.refreshUser(ctx, w, o.guid)
		}
		if err != nil {
			return err
		}
	}
	if groups {
		return i.refreshGroups(ctx, w)
	}
	return nil
}

// refreshGroups reads all groups, and the members of those that matter.
func (i *Reconciler) refreshGroups(ctx context.Context, w plan.World) error {
	linked := make(map[string]bool)
	for _, l := range w.GroupLinks {
		linked[l.GroupID] = true
	}
	names := wanted(w)
	now := make(map[string]identity.Group)
	for g, err := range i.cfg.JumpCloud.ListGroups(ctx) {
		if err != nil {
			return err
		}
		now[g.ID] = g.ToIdentity()
	}
	for id, g := range now {
		if !linked[id] && !names[g.Name] && !i.cloud.state.BoundGroups[id] {
			continue
		}
		var err error
		if g.MemberIDs, err = i.members(ctx, id); err != nil {
			return err
		}
		now[id] = g
	}
	i.cloud.state.Groups = now
	return nil
}

// refreshGroup reads one group and its members.
func (i *Reconciler) refreshGroup(ctx context.Context, id string) error {
	g, err := i.cfg.JumpCloud.Group(ctx, id)
	if jumpcloud.NotFound(err) {
		delete(i.cloud.state.Groups, id)
		delete(i.cloud.state.BoundGroups, id)
		return nil
	}
	if err != nil {
		return err
	}
	known := g.ToIdentity()
	if known.MemberIDs, err = i.members(ctx, id); err == nil {
		i.cloud.state.Groups[id] = known
	}
	return err
}

// refreshCloudUser reads one user.
func (i *Reconciler) refreshCloudUser(ctx context.Context, id string) error {
	u, err := i.cfg.JumpCloud.User(ctx, id)
	switch {
	case err == nil:
		i.saw(&u)
	case jumpcloud.NotFound(err):
		i.cloud.dropUser(id)
		err = nil
	}
	return err
}

// saw takes over a user as JumpCloud answered it.
func (i *Reconciler) saw(u *jumpcloud.User) {
	known := jumpcloud.ToIdentity(u, i.settings.ADID)
	i.cloud.state.Users[u.ID] = &known
}

func (i *Reconciler) refreshUser(ctx context.Context, w plan.World, guid identity.GUID) error {
	if link, ok := w.Links[guid]; ok {
		if err := i.refreshCloudUser(ctx, link.JumpCloudID); err != nil {
			return err
		}
	}
	account, ok := w.Users[guid]
	if !ok {
		return nil
	}
	name, mail := plan.Username(i.settings.Mapping, account), account.JoinMail()
	if name == "" || mail == "" {
		return nil
	}
	found, err := i.cfg.JumpCloud.FindUsers(ctx, name, mail)
	if err != nil {
		return err
	}
	users := i.cloud.state.Users
	for id, u := range users {
		if (strings.EqualFold(u.Username, name) || strings.EqualFold(u.Mail, mail)) && id != w.Links[guid].JumpCloudID {
			delete(users, id) // or it is among those found
		}
	}
	for _, u := range found {
		i.saw(&u)
	}
	return nil
}

func isGroup(w plan.World, guid identity.GUID) bool {
	_, group := w.Groups[guid]
	_, linked := w.GroupLinks[guid]
	return group || linked
}
