package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store/identity"
)

// readCloud lists JumpCloud's side. Members are read of the groups that are
// linked, or have the name of an AD group.
func (i *Reconciler) readCloud(ctx context.Context, w plan.World) (*plan.Cloud, error) {
	if err := i.readDelegation(ctx); err != nil {
		return nil, err
	}
	c := &plan.Cloud{Users: make(map[string]*identity.User), Groups: make(map[string]identity.Group),
		BoundUsers: make(map[string]bool), BoundGroups: make(map[string]bool)}
	for u, err := range i.cfg.JumpCloud.ListUsers(ctx) {
		if err != nil {
			return nil, err
		}
		known := jumpcloud.ToIdentity(&u, i.settings.ADID)
		c.Users[u.ID] = &known
	}
	if err := i.readGroups(ctx, w, c); err != nil {
		return nil, err
	}
	for id, err := range i.cfg.JumpCloud.BoundUsers(ctx, i.settings.ADID) {
		if err != nil {
			return nil, err
		}
		c.BoundUsers[id] = true
	}
	for id, err := range i.cfg.JumpCloud.BoundGroups(ctx, i.settings.ADID) {
		if err != nil {
			return nil, err
		}
		c.BoundGroups[id] = true
	}
	return c, nil
}

func (i *Reconciler) readGroups(ctx context.Context, w plan.World, c *plan.Cloud) error {
	wanted := make(map[string]bool)
	for _, g := range w.Groups {
		wanted[g.Name] = true
	}
	linked := make(map[string]bool)
	for _, l := range w.GroupLinks {
		linked[l.GroupID] = true
	}
	clear(c.Groups)
	for g, err := range i.cfg.JumpCloud.ListGroups(ctx) {
		if err != nil {
			return err
		}
		c.Groups[g.ID] = g.ToIdentity()
	}
	for id, g := range c.Groups {
		if !linked[id] && !wanted[g.Name] {
			continue
		}
		var err error
		if g.MemberIDs, err = i.members(ctx, id); err != nil {
			return err
		}
		c.Groups[id] = g
	}
	return nil
}

func (i *Reconciler) members(ctx context.Context, groupID string) (ids []string, err error) {
	for id, err := range i.cfg.JumpCloud.Members(ctx, groupID) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// listAll is how many objects are worked on from which on everything is listed
// instead of each being asked for.
const listAll = 100

// refresh looks again at what JumpCloud has of the objects that are about to
// be worked on, and of whoever has the names that they ask for.
func (i *Reconciler) refresh(ctx context.Context, w plan.World, guids []identity.GUID) (err error) {
	if i.cloud == nil || len(guids) > listAll {
		i.cloud, err = i.readCloud(ctx, w)
		return err
	}
	c := &plan.Cloud{Users: maps.Clone(i.cloud.Users), Groups: maps.Clone(i.cloud.Groups),
		BoundUsers: i.cloud.BoundUsers, BoundGroups: i.cloud.BoundGroups}
	groups := false
	for _, guid := range guids {
		if isGroup(w, guid) {
			groups = true
			continue
		}
		if err := i.refreshUser(ctx, w, c, guid); err != nil {
			return err
		}
	}
	if groups {
		if err := i.readGroups(ctx, w, c); err != nil {
			return err
		}
	}
	i.cloud = c
	return nil
}

func isGroup(w plan.World, guid identity.GUID) bool {
	_, group := w.Groups[guid]
	_, linked := w.GroupLinks[guid]
	return group || linked
}

func (i *Reconciler) refreshUser(ctx context.Context, w plan.World, c *plan.Cloud, guid identity.GUID) error {
	if link, ok := w.Links[guid]; ok {
		u, err := i.cfg.JumpCloud.User(ctx, link.JumpCloudID)
		switch {
		case err == nil:
			known := jumpcloud.ToIdentity(&u, i.settings.ADID)
			c.Users[u.ID] = &known
		case jumpcloud.NotFound(err):
			delete(c.Users, link.JumpCloudID)
		default:
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
	for id, u := range c.Users {
		if (strings.EqualFold(u.Username, name) || strings.EqualFold(u.Mail, mail)) && id != w.Links[guid].JumpCloudID {
			delete(c.Users, id) // or it is among those found
		}
	}
	for _, u := range found {
		known := jumpcloud.ToIdentity(&u, i.settings.ADID)
		c.Users[u.ID] = &known
	}
	return nil
}
