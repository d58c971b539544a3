package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// directory is AD as it was at one time.
type directory struct {
	users  map[identity.GUID]identity.User
	groups map[identity.GUID]identity.Group
	cursor ad.Cursor // empty: everything must be read
	// shared: the maps are those of the state before, of which nothing has
	// changed.
	shared bool
}

// apply brings it up to date, on maps of its own.
func (d *directory) apply(batch *ad.Batch) {
	if len(batch.Changes) == 0 {
		return
	}
	if d.shared {
		d.users, d.groups, d.shared = maps.Clone(d.users), maps.Clone(d.groups), false
	}
	batch.Apply(d.users, d.groups)
}

// adminsGroup is the group whose members become administrators of their
// devices, by sAMAccountName.
const adminsGroup = "JumpCloud Admins"

// stored reads the mirror and the cursor.
func (i *Reconciler) stored() (*directory, error) {
	m, err := i.cfg.Store.Mirror(i.settings.Domain)
	if err != nil {
		return nil, err
	}
	d := &directory{users: make(map[identity.GUID]identity.User, len(m.Users)), groups: m.Groups}
	for guid, u := range m.Users {
		d.users[guid] = *u
	}
	cursor, err := i.cfg.Store.Cursor(i.cursorName())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	d.cursor = cursor
	return d, nil
}

// look reads AD: what has changed, or everything when that is needed. What
// was known stays as it is.
func (i *Reconciler) look(ctx context.Context) (next *directory, full bool, err error) {
	now := i.cfg.Now()
	if len(i.dir.cursor) > 0 && !i.full && !i.fullDue(now) {
		next, err = i.follow(ctx)
		if !errors.Is(err, ad.ErrFullCompare) {
			return next, false, err
		}
		i.cfg.Log.Warn("everything is compared", "domain", i.settings.Domain, "why", err)
	}
	next, limits, err := i.snapshot(ctx, i.dir)
	for _, limit := range limits {
		i.cfg.Log.Warn("reading Active Directory is limited", "domain", i.settings.Domain, "why", limit)
	}
	return next, true, err
}

// follow reads what has changed since the cursor.
func (i *Reconciler) follow(ctx context.Context) (*directory, error) {
	next := &directory{users: i.dir.users, groups: i.dir.groups, cursor: i.dir.cursor, shared: true}
	for {
		batch, err := i.cfg.Reader.Changes(ctx, next.cursor)
		if err != nil {
			return nil, err
		}
		next.apply(&batch)
		next.cursor = batch.Cursor
		if len(batch.Unreadable) > 0 {
			i.cfg.Log.Warn("objects have changed and cannot be read", "domain", i.settings.Domain, "objects", len(batch.Unreadable), "first", batch.Unreadable[0].String())
		}
		if batch.More {
			continue
		}
		if batch.DeletionsUnseen && (batch.Look || i.cfg.Now().Sub(i.missedAt) >= i.cfg.Interval) {
			return next, i.dropMissing(ctx, next)
		}
		return next, nil
	}
}

// dropMissing looks for deletions that nobody tells.
func (i *Reconciler) dropMissing(ctx context.Context, d *directory) error {
	missing, err := i.cfg.Reader.Missing(ctx, d.known(nil))
	if err != nil {
		return err
	}
	var batch ad.Batch
	links, _, err := i.links()
	if err != nil {
		return err
	}
	for _, guid := range missing {
		if i.young(links[guid]) {
			continue
		}
		batch.Changes = append(batch.Changes, ad.Change{GUID: guid, Deleted: true})
	}
	d.apply(&batch)
	i.missedAt = i.cfg.Now()
	return nil
}

func (d *directory) known(more []identity.GUID) []identity.GUID {
	all := slices.Concat(slices.Collect(maps.Keys(d.users)), slices.Collect(maps.Keys(d.groups)), more)
	slices.SortFunc(all, func(a, b identity.GUID) int { return strings.Compare(string(a[:]), string(b[:])) })
	return slices.Compact(all)
}

// snapshot reads everything. What was known before, or is linked, and is not
// there any more, counts as deleted only if it is not found by its objectGUID
// (rule I8); otherwise it is where it is of no account.
func (i *Reconciler) snapshot(ctx context.Context, old *directory) (next *directory, limits []string, err error) {
	s, err := i.cfg.Reader.Snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	next = &directory{users: make(map[identity.GUID]identity.User, len(s.Users)), groups: make(map[identity.GUID]identity.Group, len(s.Groups)), cursor: s.Cursor}
	for _, u := range s.Users {
		next.users[u.GUID] = u
	}
	for _, g := range s.Groups {
		next.groups[g.GUID] = g
	}
	links, groupLinks, err := i.links()
	if err != nil {
		return nil, nil, err
	}
	var absent []identity.GUID
	for _, guid := range old.known(slices.Concat(slices.Collect(maps.Keys(links)), slices.Collect(maps.Keys(groupLinks)))) {
		_, user := next.users[guid]
		_, group := next.groups[guid]
		if !user && !group {
			absent = append(absent, guid)
		}
	}
	if len(absent) == 0 {
		return next, s.Limits, nil
	}
	missing, err := i.cfg.Reader.Missing(ctx, absent)
	if err != nil {
		return nil, nil, err
	}
	gone := make(map[identity.GUID]bool, len(missing))
	for _, guid := range missing {
		gone[guid] = !i.young(links[guid])
	}
	for _, guid := range absent {
		if gone[guid] {
			continue
		}
		if g, ok := old.groups[guid]; ok {
			g.InRoot = false
			next.groups[guid] = g
			continue
		}
		u, ok := old.users[guid]
		if !ok {
			u = identity.User{Side: identity.AD, GUID: guid, Username: links[guid].Username}
		}
		u.InRoot = u.InRoot && i.young(links[guid])
		next.users[guid] = u
	}
	return next, s.Limits, nil
}

// unseenFor is for how long an account that sync made may not be found without
// being taken for deleted: the controller that is read need not have it yet.
const unseenFor = time.Hour

func (i *Reconciler) young(link identity.Link) bool {
	return link.MadeInAD && i.cfg.Now().Sub(link.At) < unseenFor
}

// difference is what of a directory is not as it was.
type difference struct {
	users  []identity.User
	groups []identity.Group
	gone   []identity.GUID
}

func (d *difference) empty() bool { return len(d.users)+len(d.groups)+len(d.gone) == 0 }

// touched are the objects themselves.
func (d *difference) touched() map[identity.GUID]bool {
	all := make(map[identity.GUID]bool)
	for _, u := range d.users {
		all[u.GUID] = true
	}
	for _, g := range d.groups {
		all[g.GUID] = true
	}
	for _, guid := range d.gone {
		all[guid] = true
	}
	return all
}

// since compares with an earlier state. Which controller said it is no
// difference.
func (d *directory) since(old *directory) (diff difference) {
	if d.shared {
		return diff
	}
	for guid, u := range d.users {
		was, ok := old.users[guid]
		was.DC = u.DC
		if !ok || !sameUser(was, u) {
			diff.users = append(diff.users, u)
		}
	}
	for guid, g := range d.groups {
		was, ok := old.groups[guid]
		if !ok || !sameGroup(was, g) {
			diff.groups = append(diff.groups, g)
		}
	}
	for _, guid := range old.known(nil) {
		_, user := d.users[guid]
		_, group := d.groups[guid]
		if !user && !group {
			diff.gone = append(diff.gone, guid)
		}
	}
	return diff
}

// sameUser: a time that was stored and read is another value for ==.
func sameUser(a, b identity.User) bool {
	if !a.AccountExpires.Equal(b.AccountExpires) || !a.PasswordExpires.Equal(b.PasswordExpires) {
		return false
	}
	a.AccountExpires, a.PasswordExpires = b.AccountExpires, b.PasswordExpires
	return a == b
}

func sameGroup(a, b identity.Group) bool {
	return a.Name == b.Name && a.DN == b.DN && a.Description == b.Description && a.Security == b.Security && a.InRoot == b.InRoot &&
		a.Privileged == b.Privileged && slices.Equal(a.Members, b.Members)
}

// tree finds the groups that have a meaning of their own.
func (i *Reconciler) tree(d *directory) (plan.Tree, error) {
	t := plan.Tree{Users: make(map[identity.GUID]*identity.User, len(d.users)), Groups: d.groups, ScopeGroup: i.cfg.Domain.ScopeGroupGUID}
	for guid, u := range d.users {
		t.Users[guid] = &u
	}
	for guid, g := range d.groups {
		if strings.EqualFold(g.Name, adminsGroup) {
			t.AdminsGroup = guid
		}
		if t.ScopeGroup.IsZero() && i.cfg.Domain.ScopeGroup != "" && strings.EqualFold(g.DN, i.cfg.Domain.ScopeGroup) {
			t.ScopeGroup = guid
		}
	}
	if _, ok := t.Groups[t.ScopeGroup]; !ok && (i.cfg.Domain.ScopeGroup != "" || !t.ScopeGroup.IsZero()) {
		return t, fmt.Errorf("the scope group %q is not found in Active Directory; if it was deleted or renamed, run `dirgate domain register` again with the new --scope-group", i.cfg.Domain.ScopeGroup)
	}
	return t, nil
}

func (i *Reconciler) links() (map[identity.GUID]identity.Link, map[identity.GUID]identity.GroupLink, error) {
	all, err := i.cfg.Store.Links(i.settings.Domain)
	if err != nil {
		return nil, nil, err
	}
	groups, err := i.cfg.Store.GroupLinks(i.settings.Domain)
	if err != nil {
		return nil, nil, err
	}
	links, groupLinks := make(map[identity.GUID]identity.Link, len(all)), make(map[identity.GUID]identity.GroupLink, len(groups))
	for _, l := range all {
		links[l.GUID] = l
	}
	for _, l := range groups {
		groupLinks[l.GUID] = l
	}
	return links, groupLinks, nil
}

// world is what is known, but for JumpCloud.
func (i *Reconciler) world(d *directory) (plan.World, error) {
	w := plan.World{Settings: i.settings, Now: i.cfg.Now(), Complete: true}
	var err error
	if w.Tree, err = i.tree(d); err != nil {
		return w, err
	}
	w.Links, w.GroupLinks, err = i.links()
	return w, err
}
