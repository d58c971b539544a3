package plan

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// Sync plans everything that makes AD what JumpCloud asks for: first the users
// who were deleted, then the others by name, then groups, whose members may be
// users made just now, and at last those who are let go. w stays as it is. Where
// the use case does not sync, the plan is empty.
func Sync(w World) (Plan, error) {
	if !w.Use.Syncs() {
		return Plan{}, nil
	}
	if err := w.complete(identity.Sync); err != nil {
		return Plan{}, err
	}
	p := newPlanner(w)
	p.syncAll()
	return p.plan, nil
}

// Both plans both directions, as far as the use case has them: first what
// [Import] asks for, and then what [Sync] does once that is done.
func Both(w World) (Plan, error) {
	p := newPlanner(w)
	if w.Use.Imports() {
		if err := w.complete(identity.Import); err != nil {
			return Plan{}, err
		}
		p.importAll()
	}
	if w.Use.Syncs() {
		if err := w.complete(identity.Sync); err != nil {
			return Plan{}, err
		}
		p.syncAll()
	}
	return p.plan, nil
}

func (w *World) complete(d identity.Direction) error {
	switch {
	case !w.Complete:
		return fmt.Errorf("plan %s of %s: active directory: %w", d, w.Domain, ErrIncomplete)
	case d == identity.Sync && !w.Cloud.Complete:
		return fmt.Errorf("plan %s of %s: jumpcloud: %w", d, w.Domain, ErrIncomplete)
	}
	return nil
}

// names says what AD has, for those who are to be made.
type names struct {
	accounts map[string]identity.GUID // by folded sAMAccountName
	mails    map[string]identity.GUID // by folded mail, or else userPrincipalName
	upns     map[string]identity.GUID
	byGroup  map[string]identity.GUID // groups by folded sAMAccountName
	common   map[string]string        // DN by folded cn
}

// syncer is a planner that plans sync.
type syncer struct {
	*planner
	names
	bound map[string]bool // users, directly or by a group
	made  map[identity.GUID]bool
	// living are the accounts of JumpCloud users that are there.
	living map[string]identity.GUID
}

func (p *planner) syncAll() {
	s := &syncer{planner: p, made: make(map[identity.GUID]bool), bound: p.byGroups()}
	maps.Copy(s.bound, p.Cloud.BoundUsers)
	p.direction = identity.Sync
	p.Users, p.Groups = cloneFor(p.Users, p.pairs), cloneFor(p.Groups, 0)
	s.takeNames()
	p.plan.Notes = append(p.plan.Notes, p.rules.Notes...)
	var gone, stay, leave []string
	for id := range p.linkOf {
		switch _, there := p.Cloud.Users[id]; {
		case !there:
			gone = append(gone, id)
		case !s.bound[id]:
			leave = append(leave, id)
		}
	}
	for id := range s.bound {
		if _, there := p.Cloud.Users[id]; there {
			stay = append(stay, id)
		}
	}
	s.syncUsers(gone)
	s.syncUsers(stay)
	s.syncGroups()
	s.syncUsers(leave)
}

// byGroups are the users who are bound by a group.
func (p *planner) byGroups() map[string]bool {
	most := 0
	for id := range p.Cloud.BoundGroups {
		most = max(most, len(p.Cloud.Groups[id].MemberIDs))
	}
	bound := make(map[string]bool, most)
	for id := range p.Cloud.BoundGroups {
		for _, member := range p.Cloud.Groups[id].MemberIDs {
			bound[member] = true
		}
	}
	return bound
}

func (s *syncer) takeNames() {
	n := &s.names
	room := max(len(s.Users), s.pairs)
	n.accounts, n.mails, n.upns = make(map[string]identity.GUID, room), make(map[string]identity.GUID, room), make(map[string]identity.GUID, room)
	n.byGroup, n.common = make(map[string]identity.GUID, len(s.Groups)), make(map[string]string, room)
	for guid, u := range s.Users {
		s.takeName(guid, u)
	}
	for guid, g := range s.Groups {
		n.byGroup[fold(g.Name)] = first(n.byGroup[fold(g.Name)], guid)
		n.common[fold(rdn(g.DN))] = max(n.common[fold(rdn(g.DN))], g.DN)
	}
}

// first is the lower of two, so that a plan does not depend on the order of a
// map; zero is none.
func first(a, b identity.GUID) identity.GUID {
	if a.IsZero() || !b.IsZero() && compareGUID(b, a) < 0 {
		return b
	}
	return a
}

func (s *syncer) takeName(guid identity.GUID, u *identity.User) {
	name, mail, upn, cn := fold(u.Username), fold(u.JoinMail()), fold(u.UPN), fold(rdn(u.DN))
	s.accounts[name] = first(s.accounts[name], guid)
	s.mails[mail] = first(s.mails[mail], guid)
	s.upns[upn] = first(s.upns[upn], guid)
	s.common[cn] = max(s.common[cn], u.DN)
}

// syncUsers plans users by name.
func (s *syncer) syncUsers(ids []string) {
	sortByName(ids, func(id string) string { return fold(s.userName(id)) }, strings.Compare)
	for _, id := range ids {
		if _, made := Made(id); made {
			continue // is made of an AD account by this very plan
		}
		s.finish(id, s.userName(id), SyncUser(s.userCase(id)))
	}
}

func (s *syncer) userName(id string) string {
	if u, ok := s.Cloud.Users[id]; ok {
		return u.Username
	}
	return s.Links[s.linkOf[id]].Username
}

// finish does a verdict in mind, and records it.
func (s *syncer) finish(id, name string, v Verdict) {
	guid := cmp.Or(s.linkOf[id], s.groupOf[id])
	for i := range v.Actions {
		v.Actions[i].Direction = identity.Sync
		s.carryOutSync(v.Actions[i])
	}
	s.carryOutADMembers(v.Actions)
	if guid.IsZero() {
		guid = cmp.Or(s.linkOf[id], s.groupOf[id])
	}
	if s.made[guid] {
		guid = identity.GUID{}
	}
	for i := range v.Actions { // what is made in mind has no GUID for others
		if a := &v.Actions[i]; s.made[a.GUID] {
			a.GUID = identity.GUID{}
		}
		if a := &v.Actions[i]; s.made[a.Member] {
			a.Member = identity.GUID{}
		}
	}
	s.keep(Result{Direction: identity.Sync, GUID: guid, CloudID: id, Name: name, Verdict: v})
}

func (s *syncer) userCase(id string) SyncCase {
	c := SyncCase{Settings: s.Settings, Rules: s.rules, ID: id, Cloud: s.Cloud.Users[id], Bound: s.bound[id]}
	if guid, linked := s.linkOf[id]; linked {
		c.Link, c.AD = new(s.Links[guid]), s.Users[guid]
	}
	if c.AD != nil {
		c.Imported = s.scope.user(c.AD, nil) == ""
		return c
	}
	if c.Cloud == nil {
		return c
	}
	c.SAM = c.Cloud.Username
	if made, ok := c.Rules.one(c.Cloud, c.Domain, AttrSAM); ok {
		c.SAM = made
	}
	guid, there := s.accounts[fold(c.SAM)]
	if there {
		link, linked := s.Links[guid]
		c.Same, c.SameLinked = s.Users[guid], linked && link.JumpCloudID != id
		return c
	}
	c.Taken, c.CN = s.inTheWay(&c), s.freeCN(&c)
	return c
}

// inTheWay names what has something that a new account needs for itself.
func (s *syncer) inTheWay(c *SyncCase) string {
	if g, ok := s.names.byGroup[fold(c.SAM)]; ok {
		return fmt.Sprintf("AD group %q has the name: change the username", s.Groups[g].DN)
	}
	if u, ok := s.mails[fold(c.Cloud.Mail)]; ok && c.Cloud.Mail != "" {
		return fmt.Sprintf("AD account %q (%s) has mail %q, but another username: make them agree", s.Users[u].Username, s.Users[u].DN, c.Cloud.Mail)
	}
	upn := c.upn()
	if u, ok := s.upns[fold(upn)]; ok {
		return fmt.Sprintf("AD account %q (%s) has userPrincipalName %q: change one of them", s.Users[u].Username, s.Users[u].DN, upn)
	}
	return ""
}

// freeCN is the first name that no object below the root container has. That
// one in another container would not be in the way is not worth a namesake.
func (s *syncer) freeCN(c *SyncCase) string {
	wanted := commonNames(c.Cloud, c.SAM)
	if made, ok := c.Rules.one(c.Cloud, c.Domain, AttrCN); ok {
		wanted = append([]string{made}, wanted...)
	}
	for _, name := range wanted {
		if _, taken := s.common[fold(name)]; !taken {
			return name
		}
	}
	return ""
}

func (s *syncer) syncGroups() {
	s.living = make(map[string]identity.GUID, len(s.linkOf))
	for id, guid := range s.linkOf {
		if u := s.Users[guid]; u != nil && !s.service(u) {
			s.living[id] = guid
		}
	}
	seen := maps.Clone(s.Cloud.BoundGroups)
	for _, link := range s.GroupLinks {
		seen[link.GroupID] = true
	}
	ids := slices.Collect(maps.Keys(seen))
	sortByName(ids, s.groupName, strings.Compare)
	for _, id := range ids {
		if _, made := Made(id); made {
			continue
		}
		s.finish(id, s.groupName(id), SyncGroup(s.syncGroupCase(id)))
	}
}

func (s *syncer) groupName(id string) string {
	if g, ok := s.Cloud.Groups[id]; ok {
		return g.Name
	}
	return s.GroupLinks[s.groupOf[id]].Name
}

func (s *syncer) syncGroupCase(id string) SyncGroupCase {
	c := SyncGroupCase{Settings: s.Settings, ID: id, Bound: s.Cloud.BoundGroups[id], Accounts: s.living}
	if g, ok := s.Cloud.Groups[id]; ok {
		c.Cloud = &g
	}
	if guid, linked := s.groupOf[id]; linked {
		link := s.GroupLinks[guid]
		c.Link = &link
		if g, ok := s.Groups[guid]; ok {
			c.AD, c.Imported = &g, s.scope.group(&g, false) == ""
		}
	}
	if c.Cloud == nil {
		return c
	}
	if guid, ok := s.names.byGroup[fold(c.Cloud.Name)]; ok && (c.AD == nil || guid != c.AD.GUID) {
		g := s.Groups[guid]
		link, linked := s.GroupLinks[guid]
		c.Same, c.SameLinked = &g, linked && link.GroupID != id
	}
	if guid, ok := s.accounts[fold(c.Cloud.Name)]; ok {
		c.Taken = fmt.Sprintf("AD account %q has the name %q: rename the group", s.Users[guid].DN, c.Cloud.Name)
	} else if dn, ok := s.common[fold(c.Cloud.Name)]; ok && c.Same == nil && (c.AD == nil || c.AD.DN != dn) {
		c.Taken = fmt.Sprintf("%q has the common name %q: rename the group", dn, c.Cloud.Name)
	}
	if of := cmp.Or(c.AD, c.Same); of != nil {
		c.Direct, c.Nested = s.members(of.GUID)
	}
	return c
}

// members are the JumpCloud users with an account in a group, and those with
// one only in a group within.
func (p *planner) members(group identity.GUID) (direct, nested map[string]bool) {
	top := p.Groups[group].Members
	direct = make(map[string]bool, len(top))
	for _, member := range top {
		if link, ok := p.Links[member]; ok && p.Users[member] != nil {
			direct[link.JumpCloudID] = true
		}
	}
	isGroup := func(member identity.GUID) bool { _, ok := p.Groups[member]; return ok }
	if !slices.ContainsFunc(top, isGroup) {
		return direct, nil
	}
	nested = make(map[string]bool)
	users, _ := p.below(group)
	for _, member := range users {
		if link, ok := p.Links[member]; ok && !direct[link.JumpCloudID] {
			nested[link.JumpCloudID] = true
		}
	}
	return direct, nested
}

// newGUID stands for the objectGUID of what a plan would make in AD.
func newGUID(id string) (guid identity.GUID) {
	h := fnv.New128a()
	_, _ = h.Write([]byte(id)) // never fails
	h.Sum(guid[:0])
	return guid
}
