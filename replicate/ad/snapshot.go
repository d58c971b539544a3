package ad

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// A Snapshot is a complete read, or it is an error: nothing is missing that
// was there all the time.
type Snapshot struct {
	// Users are those below the root container, and those outside of it that
	// the scope group has as members, directly or through other groups.
	Users []identity.User
	// Groups are all groups of the domain with their direct members. Those
	// whose primary group it is are among the members of the scope group, of
	// the groups within it and of JumpCloud Admins, where membership counts.
	Groups []identity.Group
	// ScopeGroup and AdminsGroup are zero where there is none.
	ScopeGroup, AdminsGroup identity.GUID
	// Cursor is of before the read, so [Reader.Changes] from it on tells
	// everything that happened meanwhile, perhaps again.
	Cursor Cursor
	// Method is how changes will be found.
	Method Method
	// Limits say what the service account may not, and what that costs.
	Limits []string
}

// Snapshot reads everything.
func (r *Reader) Snapshot(ctx context.Context) (Snapshot, error) {
	s, err := r.snapshot(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("read users and groups of Active Directory: %w", err)
	}
	return s, nil
}

func (r *Reader) snapshot(ctx context.Context) (s Snapshot, err error) {
	p, err := r.open(ctx, "")
	if err != nil {
		return s, err
	}
	at, err := r.place(ctx, p)
	if err != nil {
		return s, err
	}
	pos, err := r.begin(ctx, p, at, &s)
	if err != nil {
		return s, err
	}
	all := &reading{peer: p, at: at, users: make(map[identity.GUID]identity.User), groups: make(map[identity.GUID]identity.Group), rids: make(map[identity.GUID]uint32)}
	if err := r.readGroups(ctx, all); err != nil {
		return s, err
	}
	if err := r.readUsers(ctx, all); err != nil {
		return s, err
	}
	relevant := all.relevant()
	primaries, err := r.primaries(ctx, p, relevant)
	if err != nil {
		return s, err
	}
	for guid, members := range primaries {
		g := all.groups[guid]
		g.Members = union(g.Members, members)
		all.groups[guid] = g
	}
	if err := r.readStrangers(ctx, all, relevant); err != nil {
		return s, err
	}
	s.Users, s.Groups = slices.Collect(maps.Values(all.users)), slices.Collect(maps.Values(all.groups))
	slices.SortFunc(s.Users, func(a, b identity.User) int { return compareGUID(a.GUID, b.GUID) })
	slices.SortFunc(s.Groups, func(a, b identity.Group) int { return compareGUID(a.GUID, b.GUID) })
	s.ScopeGroup, s.AdminsGroup = at.scope, all.admins
	s.Cursor, err = pos.cursor()
	r.memory = memory{cursor: string(s.Cursor), relevant: relevant, primaries: primaries}
	return s, err
}

// begin decides how changes will be found, and takes the cursor.
func (r *Reader) begin(ctx context.Context, p *peer, at place, s *Snapshot) (position, error) {
	sees, err := r.seesDeleted(ctx, p)
	if err != nil {
		return position{}, err
	}
	if !sees {
		s.Limits = append(s.Limits, deletionsUnseen(p.base))
	}
	s.Method = r.method
	pos := p.position(s.Method, at)
	switch r.method {
	case MethodUSN:
		return pos, nil
	case MethodAuto:
		pos.Method = MethodDirSync
	}
	pos.Cookie, err = r.firstCookie(ctx, p, pos.Method)
	if r.method == MethodAuto && errors.Is(err, ErrNoReplication) {
		s.Limits = append(s.Limits, err.Error()+"; until then changes are found by uSNChanged")
		pos.Method, err = MethodUSN, nil
	}
	s.Method = pos.Method
	return pos, err
}

// A reading is what a snapshot has read so far.
type reading struct {
	*peer
	at     place
	users  map[identity.GUID]identity.User
	groups map[identity.GUID]identity.Group
	rids   map[identity.GUID]uint32
	admins identity.GUID
}

func (r *Reader) readGroups(ctx context.Context, all *reading) error {
	req := r.request(all.base, ldap.ScopeWholeSubtree, "(objectClass=group)", whole(), withGUIDs())
	err := r.paged(ctx, all.session, req, func(e *ldap.Entry) error {
		g, err := r.group(ctx, all.peer, e, all.at)
		if err != nil {
			return err
		}
		all.groups[g.GUID], all.rids[g.GUID] = g, ridOf(e)
		if strings.EqualFold(g.Name, adminsGroup) {
			all.admins = g.GUID
		}
		return nil
	})
	switch _, found := all.groups[all.at.scope]; {
	case err != nil:
		return fmt.Errorf("read the groups: %w", err)
	case len(all.groups) == 0:
		return fmt.Errorf("read the groups: %w: none is visible below %q, and every domain has some; does the account have the right to list it?", ErrIncomplete, all.base)
	case !found && !all.at.scope.IsZero():
		return fmt.Errorf("%w: the scope group %s is not among the groups below %q", ErrScope, all.at.scope, all.base)
	}
	return nil
}

// group makes a group of an entry, and reads its members.
func (r *Reader) group(ctx context.Context, p *peer, e *ldap.Entry, at place) (identity.Group, error) {
	g, err := p.readableGroup(e, at)
	if err == nil {
		g.Members, err = r.members(ctx, p, g.GUID, e)
	}
	return g, err
}

func (r *Reader) readUsers(ctx context.Context, all *reading) error {
	req := r.request(all.at.root, ldap.ScopeWholeSubtree, "(objectClass=user)", whole(), withGUIDs())
	if err := r.paged(ctx, all.session, req, all.addUser); err != nil {
		return fmt.Errorf("read the users below %q: %w", all.at.root, err)
	}
	return nil
}

func (all *reading) addUser(e *ldap.Entry) error {
	if classOf(e) != classUser {
		return nil
	}
	u, err := all.readableUser(e, all.at)
	if err == nil {
		all.users[u.GUID] = u
	}
	return err
}

// relevant are the groups where membership counts.
func (all *reading) relevant() map[identity.GUID]uint32 {
	found := make(map[identity.GUID]uint32)
	if !all.admins.IsZero() {
		found[all.admins] = all.rids[all.admins]
	}
	seen := map[identity.GUID]bool{all.at.scope: true}
	for todo := []identity.GUID{all.at.scope}; len(todo) > 0; todo = todo[1:] {
		g, ok := all.groups[todo[0]]
		if !ok {
			continue
		}
		found[g.GUID] = all.rids[g.GUID]
		for _, member := range g.Members {
			if !seen[member] {
				seen[member] = true
				todo = append(todo, member)
			}
		}
	}
	return found
}

// readStrangers reads the members from outside the root container.
func (r *Reader) readStrangers(ctx context.Context, all *reading, relevant map[identity.GUID]uint32) error {
	unknown := make(map[identity.GUID]bool)
	for guid := range relevant {
		for _, member := range all.groups[guid].Members {
			_, user := all.users[member]
			_, group := all.groups[member]
			unknown[member] = !user && !group
		}
	}
	maps.DeleteFunc(unknown, func(_ identity.GUID, yes bool) bool { return !yes })
	if err := r.reread(ctx, all.peer, slices.Collect(maps.Keys(unknown)), whole(), all.addUser); err != nil {
		return fmt.Errorf("read members from outside %q: %w", all.at.root, err)
	}
	return nil
}

// primaries finds the users whose primary group is one of those given
// (MS-ADA3 2.120); member does not name them.
func (r *Reader) primaries(ctx context.Context, p *peer, groups map[identity.GUID]uint32) (map[identity.GUID][]identity.GUID, error) {
	byRID := make(map[uint32]identity.GUID)
	for guid, rid := range groups {
		if rid != 0 {
			byRID[rid] = guid
		}
	}
	found := make(map[identity.GUID][]identity.GUID)
	for some := range slices.Chunk(slices.Sorted(maps.Keys(byRID)), batchSize) {
		filter := "(&(objectClass=user)(|"
		for _, rid := range some {
			filter += "(primaryGroupID=" + strconv.FormatUint(uint64(rid), 10) + ")"
		}
		req := r.request(p.base, ldap.ScopeWholeSubtree, filter+"))", []string{"objectGUID", "primaryGroupID"}, withGUIDs())
		err := r.paged(ctx, p.session, req, func(e *ldap.Entry) error {
			user, _, err := entryGUID(e)
			if group, ok := byRID[primaryOf(e)]; ok {
				found[group] = append(found[group], user)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read members by primaryGroupID: %w", err)
		}
	}
	for _, members := range found {
		slices.SortFunc(members, compareGUID)
	}
	return found, nil
}
