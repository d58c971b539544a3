package ad

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// A Change is what an object is now. One of User, Group and Deleted is set.
type Change struct {
	GUID identity.GUID
	// Deleted objects may be of any class, and may never have been reported
	// before.
	Deleted bool
	// User may be outside of the root container (InRoot false), having moved.
	User  *identity.User
	Group *identity.Group
	// MemberOf are the groups whose member attribute names the user: they
	// need not be told to have changed when it comes back from deletion.
	MemberOf []identity.GUID
}

// A Batch is what has changed between two cursors.
type Batch struct {
	Changes []Change // ordered by GUID
	Cursor  Cursor   // to go on from
	More    bool     // there is more already
	// DeletionsUnseen: the account may not see deleted objects, so
	// [Reader.Missing] has to be asked for them.
	DeletionsUnseen bool
	// Look: it is time to, because something was written since the last time
	// that the account was not shown.
	Look bool
	// Unreadable are objects that have changed but cannot be read: hidden
	// from the account, or deleted a moment ago, which the next batch tells.
	Unreadable []identity.GUID
}

// memory is what a Reader remembers to save work. It is of one cursor: with
// another one, the groups are told again.
type memory struct {
	cursor    string
	relevant  map[identity.GUID]uint32 // where membership counts, with their RIDs
	primaries map[identity.GUID][]identity.GUID
}

// Changes reads what has changed since the cursor. The error wraps
// ErrFullCompare when that cannot be told without a gap.
func (r *Reader) Changes(ctx context.Context, since Cursor) (Batch, error) {
	b, err := r.changes(ctx, since)
	if err != nil {
		return Batch{}, fmt.Errorf("read changes of Active Directory: %w", err)
	}
	return b, nil
}

func (r *Reader) changes(ctx context.Context, since Cursor) (b Batch, err error) {
	pos, err := parseCursor(since)
	if err != nil {
		return b, err
	}
	p, err := r.open(ctx, pos.Host)
	if err != nil {
		return b, err
	}
	at, err := r.place(ctx, p)
	if err != nil {
		return b, err
	}
	if err := pos.check(p, at, r.method); err != nil {
		return b, err
	}
	sees, err := r.seesDeleted(ctx, p)
	if err != nil {
		return b, err
	}
	h, shown := make(hints), 0
	if pos.Method == MethodUSN {
		shown, err = r.byUSN(ctx, p, pos.USN, h)
	} else {
		pos.Cookie, b.More, err = r.dirSync(ctx, p, pos.Method, pos.Cookie, h)
	}
	if err != nil {
		return b, err
	}
	r.looked.wrote(p.host, pos.USN, p.usn, shown)
	b.DeletionsUnseen, b.Look = !sees, r.looked.due(time.Now())
	pos.USN = p.usn
	c := &changing{peer: p, at: at, found: make(map[identity.GUID]Change), rids: make(map[identity.GUID]uint32)}
	if err := r.follow(ctx, c, h); err != nil {
		return b, err
	}
	if b.Cursor, err = pos.cursor(); err != nil {
		return b, err
	}
	b.Unreadable = c.unreadable
	if err := r.settle(ctx, c, string(since), string(b.Cursor)); err != nil {
		return b, err
	}
	b.Changes = slices.Collect(maps.Values(c.found))
	slices.SortFunc(b.Changes, func(a, b Change) int { return compareGUID(a.GUID, b.GUID) })
	return b, nil
}

// changing is what a call has found out.
type changing struct {
	*peer
	at         place
	found      map[identity.GUID]Change
	rids       map[identity.GUID]uint32 // of found groups
	containers []identity.GUID
	unreadable []identity.GUID
	people     bool // a user has changed, or an object was deleted
	groups     bool // a group has changed, or an object was deleted
}

// follow reads what the hints point at.
func (r *Reader) follow(ctx context.Context, c *changing, h hints) error {
	there := make(map[identity.GUID]bool)
	attrs := append(whole(), "memberOf")
	err := r.reread(ctx, c.peer, slices.SortedFunc(maps.Keys(h), compareGUID), attrs, func(e *ldap.Entry) error {
		guid, _, err := entryGUID(e)
		if err != nil {
			return err
		}
		there[guid] = true
		return r.note(ctx, c, guid, e)
	})
	if err != nil {
		return fmt.Errorf("read changed objects: %w", err)
	}
	for guid, deleted := range h {
		switch {
		case there[guid]:
		case deleted:
			c.found[guid] = Change{GUID: guid, Deleted: true}
			c.people, c.groups = true, true
		default:
			c.unreadable = append(c.unreadable, guid)
		}
	}
	// What is in a container moves with it and is told of by nobody.
	for _, guid := range c.containers {
		req := r.request(byGUID(guid), ldap.ScopeWholeSubtree, "(|(objectClass=user)(objectClass=group))", attrs, withGUIDs())
		err := r.paged(ctx, c.session, req, func(e *ldap.Entry) error {
			guid, _, err := entryGUID(e)
			if err != nil || there[guid] {
				return err
			}
			there[guid] = true
			return r.note(ctx, c, guid, e)
		})
		if err != nil {
			return fmt.Errorf("read the content of changed container %s: %w", guid, err)
		}
	}
	return nil
}

// note records what an object is now.
func (r *Reader) note(ctx context.Context, c *changing, guid identity.GUID, e *ldap.Entry) error {
	switch classOf(e) {
	case classUser:
		u, err := c.readableUser(e, c.at)
		if err != nil {
			return err
		}
		change := Change{GUID: guid, User: &u}
		for _, value := range e.GetAttributeValues("memberOf") {
			group, _, err := splitDN(value)
			if err != nil {
				return err
			}
			change.MemberOf = append(change.MemberOf, group)
		}
		c.found[guid], c.people = change, true
	case classGroup:
		g, err := r.group(ctx, c.peer, e, c.at)
		if err != nil {
			return err
		}
		c.found[guid], c.rids[guid], c.groups = Change{GUID: guid, Group: &g}, ridOf(e), true
	case classPolicy:
		return fullCompare("the password policy %q has changed, and with it when passwords expire", e.DN)
	default:
		c.containers = append(c.containers, guid)
	}
	return nil
}

// settle adds what the hints cannot tell: members by primary group, and groups
// that count since another one has them as members.
func (r *Reader) settle(ctx context.Context, c *changing, since, next string) error {
	known := r.memory.cursor == since
	if !c.people && !c.groups {
		if known {
			r.memory.cursor = next
		}
		return nil
	}
	last := r.memory
	if !known {
		last = memory{}
	}
	now := memory{cursor: next, relevant: last.relevant}
	var err error
	if !known || c.groups {
		if now.relevant, err = r.walk(ctx, c); err != nil {
			return err
		}
	}
	if now.primaries, err = r.primaries(ctx, c.peer, now.relevant); err != nil {
		return err
	}
	again := make(map[identity.GUID]bool)
	for guid := range now.relevant {
		_, before := last.relevant[guid]
		again[guid] = !before
	}
	for _, some := range []memory{last, now} {
		for guid := range some.primaries {
			again[guid] = again[guid] || !slices.Equal(last.primaries[guid], now.primaries[guid])
		}
	}
	if err := r.again(ctx, c, again); err != nil {
		return err
	}
	for guid, members := range now.primaries {
		if g := c.found[guid].Group; g != nil {
			g.Members = union(g.Members, members)
		}
	}
	r.memory = now
	return nil
}

// again reads groups that have not changed themselves.
func (r *Reader) again(ctx context.Context, c *changing, groups map[identity.GUID]bool) error {
	var guids []identity.GUID
	for guid, yes := range groups {
		if _, have := c.found[guid]; yes && !have {
			guids = append(guids, guid)
		}
	}
	err := r.reread(ctx, c.peer, guids, whole(), func(e *ldap.Entry) error {
		guid, _, err := entryGUID(e)
		if err != nil || classOf(e) != classGroup {
			return err
		}
		return r.note(ctx, c, guid, e)
	})
	if err != nil {
		return fmt.Errorf("read groups in scope: %w", err)
	}
	return nil
}

// A knownGroup is a group with what walking needs.
type knownGroup struct {
	guid identity.GUID
	dn   string
	rid  uint32
}

// walk finds the groups where membership counts: the scope group, those within
// it, level by level, and JumpCloud Admins.
func (r *Reader) walk(ctx context.Context, c *changing) (map[identity.GUID]uint32, error) {
	found := make(map[identity.GUID]uint32)
	admins, err := r.adminsGroup(ctx, c.peer)
	if err != nil {
		return nil, err
	}
	if !admins.guid.IsZero() {
		found[admins.guid] = admins.rid
	}
	if c.at.scope.IsZero() {
		return found, nil
	}
	level, err := r.groupsBy(ctx, c.peer, "(objectGUID="+escapeBytes(c.at.scope[:])+")")
	seen := make(map[identity.GUID]bool)
	for ; err == nil && len(level) > 0; level, err = r.within(ctx, c.peer, level) {
		level = slices.DeleteFunc(level, func(g knownGroup) bool {
			was := seen[g.guid]
			seen[g.guid] = true
			return was
		})
		for _, g := range level {
			found[g.guid] = g.rid
		}
	}
	if err != nil {
		return nil, fmt.Errorf("follow the scope group: %w", err)
	}
	return found, nil
}

// within finds the groups that are members of those given.
func (r *Reader) within(ctx context.Context, p *peer, groups []knownGroup) (members []knownGroup, err error) {
	for some := range slices.Chunk(groups, batchSize) {
		filter := "(|"
		for _, g := range some {
			filter += "(memberOf=" + ldap.EscapeFilter(g.dn) + ")"
		}
		found, err := r.groupsBy(ctx, p, filter+")")
		if err != nil {
			return nil, err
		}
		members = append(members, found...)
	}
	return members, nil
}

func (r *Reader) groupsBy(ctx context.Context, p *peer, filter string) (found []knownGroup, err error) {
	req := r.request(p.base, ldap.ScopeWholeSubtree, "(&(objectClass=group)"+filter+")", []string{"objectSid"}, withGUIDs())
	err = r.paged(ctx, p.session, req, func(e *ldap.Entry) error {
		guid, dn, err := entryGUID(e)
		found = append(found, knownGroup{guid, dn, ridOf(e)})
		return err
	})
	return found, err
}

func (r *Reader) adminsGroup(ctx context.Context, p *peer) (knownGroup, error) {
	found, err := r.groupsBy(ctx, p, "(sAMAccountName="+ldap.EscapeFilter(adminsGroup)+")")
	if err != nil {
		return knownGroup{}, fmt.Errorf("find the group %q: %w", adminsGroup, err)
	}
	if len(found) == 0 {
		return knownGroup{}, nil
	}
	return found[0], nil
}
