package plan

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

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

// syncer is a planner that plans sync.
type syncer struct {
	*planner
	// What AD has, for those who are to be made: accounts by folded
	// sAMAccountName, groups by the same, DNs by folded cn.
	accountOf map[string]*account
	groupBy   map[string]identity.GUID
	common    map[string]string
	// mails are accounts by folded mail, or else userPrincipalName, and upns by
	// userPrincipalName; nil: nobody has asked yet.
	mails, upns map[string]*account
	made        map[identity.GUID]bool
	// living are the accounts of JumpCloud users that are there.
	living map[string]identity.GUID
}

func (p *planner) syncAll() {
	s := &syncer{planner: p, made: make(map[identity.GUID]bool)}
	p.direction = identity.Sync
	p.Groups = cloneFor(p.Groups)
	p.byGroups(func(of *person) { of.reached = true })
	s.takeNames()
	p.plan.Notes = append(p.plan.Notes, p.rules.Notes...)
	var gone, stay, leave []*person
	for id, of := range p.people {
		of.reached = of.reached || of.bound
		if _, made := Made(id); made {
			continue // is made of an AD account by this very plan
		}
		switch {
		case of.account != nil && of.user == nil:
			gone = append(gone, of)
		case of.user != nil && of.reached:
			stay = append(stay, of)
		case of.account != nil:
			leave = append(leave, of)
		}
	}
	s.syncUsers(gone)
	s.syncUsers(stay)
	s.syncGroups()
	s.syncUsers(leave)
}

// byGroups visits the users who are bound by a group.
func (p *planner) byGroups(visit func(*person)) {
	for id := range p.Cloud.BoundGroups {
		for _, member := range p.Cloud.Groups[id].MemberIDs {
			if of := p.people[member]; of != nil {
				visit(of)
			}
		}
	}
}

func (s *syncer) takeNames() {
	room := max(len(s.accounts), len(s.people))
	s.accountOf, s.common = make(map[string]*account, room), make(map[string]string, room)
	s.groupBy = make(map[string]identity.GUID, len(s.Groups))
	for _, a := range s.accounts {
		if a.user != nil {
			s.takeName(a)
		}
	}
	for guid, g := range s.Groups {
		name, cn := fold(g.Name), fold(rdn(g.DN))
		s.groupBy[name] = first(s.groupBy[name], guid)
		s.common[cn] = max(s.common[cn], g.DN)
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

func (s *syncer) takeName(a *account) {
	takeFirst(s.accountOf, fold(a.user.Username), a)
	cn := fold(rdn(a.user.DN))
	s.common[cn] = max(s.common[cn], a.user.DN)
	if s.mails != nil {
		s.takeAddress(a)
	}
}

// takeAddresses is put off until somebody is to be made, or an address changes.
func (s *syncer) takeAddresses() {
	if s.mails != nil {
		return
	}
	room := max(len(s.accounts), len(s.people))
	s.mails, s.upns = make(map[string]*account, room), make(map[string]*account, room)
	for _, a := range s.accounts {
		if a.user != nil {
			s.takeAddress(a)
		}
	}
}

func (s *syncer) takeAddress(a *account) {
	takeFirst(s.mails, fold(joinMail(a.user)), a)
	takeFirst(s.upns, fold(a.user.UPN), a)
}

// takeFirst lets the account with the lowest GUID have a name.
func takeFirst(names map[string]*account, name string, a *account) {
	if other := names[name]; other == nil || compareAccount(a, other) < 0 {
		names[name] = a
	}
}

// syncUsers plans users by name.
func (s *syncer) syncUsers(all []*person) {
	sortByName(all, func(of *person) string { return fold(of.called()) }, comparePerson)
	for _, of := range all {
		guid := func() (guid identity.GUID) {
			if of.account != nil {
				guid = of.account.guid
			}
			return guid
		}
		s.finish(of.id, of.called(), SyncUser(s.userCase(of)), guid)
	}
}

// called is what people know a user by.
func (of *person) called() string {
	switch {
	case of.user != nil:
		return of.user.Username
	case of.account != nil && of.account.link != nil:
		return of.account.link.Username
	}
	return ""
}

// finish does a verdict in mind, and records it.
func (s *syncer) finish(id, name string, v Verdict, find func() identity.GUID) {
	guid := find()
	members := false
	for i := range v.Actions {
		a := &v.Actions[i]
		a.Direction = identity.Sync
		if a.Kind == ADAddMember || a.Kind == ADRemoveMember {
			members = true
			continue
		}
		s.carryOutSync(a)
	}
	if members {
		s.carryOutADMembers(v.Actions)
	}
	if guid.IsZero() {
		guid = find()
	}
	if s.isMade(guid) {
		guid = identity.GUID{}
	}
	for i := range v.Actions { // what is made in mind has no GUID for others
		if a := &v.Actions[i]; s.isMade(a.GUID) {
			a.GUID = identity.GUID{}
		}
		if a := &v.Actions[i]; s.isMade(a.Member) {
			a.Member = identity.GUID{}
		}
	}
	s.keep(Result{Direction: identity.Sync, GUID: guid, CloudID: id, Name: name, Verdict: v})
}

func (s *syncer) isMade(guid identity.GUID) bool { return !guid.IsZero() && s.made[guid] }

func (s *syncer) userCase(of *person) SyncCase {
	c := SyncCase{Settings: s.Settings, Rules: s.rules, ID: of.id, Cloud: of.user, Bound: of.reached}
	if a := of.account; a != nil {
		c.Link, c.AD = s.linkOf(a), a.user
		if a.user != nil {
			c.Imported = outOfScope(a.user, s.scope.all || a.member) == ""
			return c
		}
	}
	if c.Cloud == nil {
		return c
	}
	c.SAM = c.Cloud.Username
	if made, ok := c.Rules.one(c.Cloud, c.Domain, AttrSAM); ok {
		c.SAM = made
	}
	if same := s.accountOf[fold(c.SAM)]; same != nil {
		c.Same, c.SameLinked = same.user, same.link != nil && same.link.JumpCloudID != of.id
		return c
	}
	c.Taken, c.CN = s.inTheWay(&c), s.freeCN(&c)
	return c
}

// inTheWay names what has something that a new account needs for itself.
func (s *syncer) inTheWay(c *SyncCase) string {
	s.takeAddresses()
	if g, ok := s.groupBy[fold(c.SAM)]; ok {
		return fmt.Sprintf("AD group %q has the name: change the username", s.Groups[g].DN)
	}
	if a := s.mails[fold(c.Cloud.Mail)]; a != nil && c.Cloud.Mail != "" {
		return fmt.Sprintf("AD account %q (%s) has mail %q, but another username: make them agree", a.user.Username, a.user.DN, c.Cloud.Mail)
	}
	upn := c.upn()
	if a := s.upns[fold(upn)]; a != nil {
		return fmt.Sprintf("AD account %q (%s) has userPrincipalName %q: change one of them", a.user.Username, a.user.DN, upn)
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
	s.living = make(map[string]identity.GUID, len(s.people))
	for id, of := range s.people {
		if a := of.account; a != nil && a.user != nil && !s.service(a.user) {
			s.living[id] = a.guid
		}
	}
	seen := maps.Clone(s.Cloud.BoundGroups)
	for _, link := range s.GroupLinks {
		seen[link.GroupID] = true
	}
	ids := slices.Collect(maps.Keys(seen))
	sortByName(ids, s.groupName, cmp.Compare)
	ids = slices.DeleteFunc(ids, func(id string) bool { _, made := Made(id); return made })
	// Who waits for a name has it in the same plan if it is given up in it.
	for len(ids) > 0 {
		waiting := make(map[string]string) // for the name of which other
		left := slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
			c := s.syncGroupCase(id)
			if c.waits() {
				waiting[id] = s.GroupLinks[c.Same.GUID].GroupID
				return false
			}
			s.syncGroup(id, c)
			return true
		})
		if len(left) == len(ids) && !s.stepAside(left, waiting) {
			for _, id := range left {
				s.syncGroup(id, s.syncGroupCase(id))
			}
			return
		}
		ids = left
	}
}

func (s *syncer) syncGroup(id string, c SyncGroupCase) {
	s.finish(id, s.groupName(id), SyncGroup(c), func() identity.GUID { return s.groupOf[id] })
}

// stepAside gives the first group of a circle, in which each has the name that
// another waits for, a name for the moment. Its turn comes again.
func (s *syncer) stepAside(ids []string, waiting map[string]string) bool {
	for _, id := range ids {
		next := waiting[id]
		for steps := 0; next != "" && next != id && steps < len(ids); steps++ {
			next = waiting[next]
		}
		if next != id {
			continue
		}
		c := s.syncGroupCase(id)
		c.Aside = asideName(c.AD)
		if c.Aside != c.AD.Name {
			s.syncGroup(id, c)
			return true
		}
	}
	return false
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
			c.AD, c.Imported = &g, s.scope.out(&g, false) == ""
		}
	}
	if c.Cloud == nil {
		return c
	}
	name := fold(c.Cloud.Name)
	if guid, ok := s.groupBy[name]; ok && (c.AD == nil || guid != c.AD.GUID) {
		g := s.Groups[guid]
		link, linked := s.GroupLinks[guid]
		c.Same, c.SameLinked = &g, linked && link.GroupID != id
	}
	if a := s.accountOf[name]; a != nil {
		c.Taken = fmt.Sprintf("AD account %q has the name %q: rename the group", a.user.DN, c.Cloud.Name)
	} else if dn, ok := s.common[name]; ok && c.Same == nil && (c.AD == nil || c.AD.DN != dn) {
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
	top := p.membersOf(group)
	direct = make(map[string]bool, len(top.accounts))
	for _, a := range top.accounts {
		if a.link != nil {
			direct[a.cloud.id] = true
		}
	}
	if len(top.groups) == 0 {
		return direct, nil
	}
	nested = make(map[string]bool)
	users, _ := p.below(group)
	for _, a := range users {
		if a.link != nil && !direct[a.cloud.id] {
			nested[a.cloud.id] = true
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
