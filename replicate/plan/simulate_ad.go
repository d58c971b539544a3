package plan

import (
	"slices"

	"github.com/dirgate/dirgate/store/identity"
)

// carryOutSync does in mind what an action of sync would do.
func (s *syncer) carryOutSync(a *Action) {
	switch a.Kind {
	case ADCreateUser:
		s.createAccount(a)
	case ADUpdateUser:
		s.takeAddresses() // as they were
		of := s.account(a.GUID)
		u := *of.user
		for _, f := range a.Fields {
			Set(&u, importedFrom(f.Name), f.To)
		}
		of.user = &u
	case ADDisable, ADEnable:
		of := s.account(a.GUID)
		u := *of.user
		u.Disabled = a.Kind == ADDisable
		of.user = &u
	case ADCreateGroup:
		guid := newGUID(a.GroupID)
		s.made[guid] = true
		g := identity.Group{Side: identity.AD, GUID: guid, Name: a.Name, Security: true, InRoot: true, DN: "CN=" + a.Name}
		s.Groups[guid], s.groupBy[fold(a.Name)], s.common[fold(a.Name)] = g, guid, g.DN
		s.GroupLinks[guid] = identity.GroupLink{Domain: s.Domain, GUID: guid, GroupID: a.GroupID, Name: a.Name, BySync: true, MadeInAD: true}
		s.groupOf[a.GroupID] = guid
	case ADRenameGroup:
		g := s.Groups[a.GUID]
		delete(s.groupBy, fold(g.Name))
		delete(s.common, fold(rdn(g.DN)))
		g.Name, g.DN = a.Fields[0].To, "CN="+a.Fields[0].To
		s.Groups[a.GUID], s.groupBy[fold(g.Name)], s.common[fold(g.Name)] = g, a.GUID, g.DN
	default:
		s.carryOut(a)
	}
	s.mark(a)
	switch a.Kind {
	case Link:
		s.account(a.GUID).link.BySync = true
	case LinkGroup:
		link := s.GroupLinks[a.GUID]
		link.BySync = true
		s.GroupLinks[a.GUID] = link
	}
}

func (s *syncer) createAccount(a *Action) {
	guid := newGUID(a.UserID)
	s.made[guid] = true
	u := s.newUsers.take()
	u.Side, u.GUID, u.InRoot = identity.AD, guid, true
	for _, f := range a.Fields {
		switch f.Name {
		case AttrSAM:
			u.Username = f.To
		case AttrUPN:
			u.UPN = f.To
		case AttrCN:
			u.DN = "CN=" + f.To
			s.common[fold(f.To)] = u.DN
		default:
			Set(u, importedFrom(f.Name), f.To)
		}
	}
	of := s.account(guid)
	of.user = u
	s.takeName(of)
	s.link(of, s.person(a.UserID))
	*of.link = Applied(*of.link, *a)
	of.link.BySync, of.link.MadeInAD = true, true
}

// carryOutADMembers does all changes of a group's members at once.
func (s *syncer) carryOutADMembers(actions []Action) {
	out := make(map[identity.GUID]bool)
	in := make([]identity.GUID, 0, len(actions))
	var of *Action
	for i := range actions {
		switch a := &actions[i]; a.Kind {
		case ADAddMember:
			in, of = append(in, a.Member), a
		case ADRemoveMember:
			out[a.Member], of = true, a
		}
	}
	if link, ok := s.GroupLinks[of.GUID]; ok {
		s.GroupLinks[of.GUID] = AppliedMembers(link, actions)
	}
	g := s.Groups[s.groupOf[of.GroupID]]
	for _, member := range g.Members {
		if !out[member] {
			in = append(in, member)
		}
	}
	slices.SortFunc(in, compareGUID)
	g.Members = in
	s.Groups[g.GUID] = g
	delete(s.memberships, g.GUID)
}
