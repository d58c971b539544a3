package plan

import (
	"slices"

	"github.com/dirgate/dirgate/store/identity"
)

// carryOutSync does in mind what an action of sync would do.
func (s *syncer) carryOutSync(a Action) {
	switch a.Kind {
	case ADCreateUser:
		s.createAccount(a)
	case ADUpdateUser:
		u := *s.Users[a.GUID]
		for _, f := range a.Fields {
			Set(&u, importedFrom(f.Name), f.To)
		}
		s.Users[a.GUID] = &u
	case ADDisable, ADEnable:
		u := *s.Users[a.GUID]
		u.Disabled = a.Kind == ADDisable
		s.Users[a.GUID] = &u
	case ADCreateGroup:
		guid := newGUID(a.GroupID)
		s.made[guid] = true
		g := identity.Group{Side: identity.AD, GUID: guid, Name: a.Name, Security: true, InRoot: true, DN: "CN=" + a.Name}
		s.Groups[guid], s.names.byGroup[fold(a.Name)], s.common[fold(a.Name)] = g, guid, g.DN
		s.GroupLinks[guid] = identity.GroupLink{Domain: s.Domain, GUID: guid, GroupID: a.GroupID, Name: a.Name, BySync: true, MadeInAD: true}
		s.groupOf[a.GroupID] = guid
	case ADRenameGroup:
		g := s.Groups[a.GUID]
		delete(s.names.byGroup, fold(g.Name))
		delete(s.common, fold(rdn(g.DN)))
		g.Name, g.DN = a.Fields[0].To, "CN="+a.Fields[0].To
		s.Groups[a.GUID], s.names.byGroup[fold(g.Name)], s.common[fold(g.Name)] = g, a.GUID, g.DN
	case ADAddMember, ADRemoveMember: // all at once
	default:
		s.carryOut(a)
	}
	s.mark(a)
	if link, ok := s.Links[a.GUID]; ok && a.Kind == Link {
		link.BySync = true
		s.Links[a.GUID] = link
	}
	if link, ok := s.GroupLinks[a.GUID]; ok && a.Kind == LinkGroup {
		link.BySync = true
		s.GroupLinks[a.GUID] = link
	}
}

func (s *syncer) createAccount(a Action) {
	guid := newGUID(a.UserID)
	s.made[guid] = true
	u := &identity.User{Side: identity.AD, GUID: guid, InRoot: true}
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
	s.Users[guid] = u
	s.takeName(guid, u)
	s.link(guid, a.UserID)
	link := Applied(s.Links[guid], a)
	link.BySync, link.MadeInAD = true, true
	s.Links[guid] = link
}

// carryOutADMembers does all changes of a group's members at once.
func (s *syncer) carryOutADMembers(actions []Action) {
	out := make(map[identity.GUID]bool)
	var in []identity.GUID
	var id string
	for _, a := range actions {
		switch a.Kind {
		case ADAddMember:
			in = append(in, a.Member)
		case ADRemoveMember:
			out[a.Member] = true
		default:
			continue
		}
		id = a.GroupID
	}
	if id == "" {
		return
	}
	g := s.Groups[s.groupOf[id]]
	for _, member := range g.Members {
		if !out[member] {
			in = append(in, member)
		}
	}
	slices.SortFunc(in, compareGUID)
	g.Members = in
	s.Groups[g.GUID] = g
}
