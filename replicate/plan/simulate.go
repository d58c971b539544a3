package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// newID stands for the id of a user or group that a plan would create.
func newID(guid identity.GUID) string {
	const digits = "0123456789abcdef"
	id := append(make([]byte, 0, len(prefixNew)+36), prefixNew...)
	for i, at := range [...]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} { // see identity.GUID
		if i == 4 || i == 6 || i == 8 || i == 10 {
			id = append(id, '-')
		}
		id = append(id, digits[guid[at]>>4], digits[guid[at]&15])
	}
	return string(id)
}

const prefixNew = "new:"

// Made tells of which AD account or group an id in an [Action] is the one that
// carrying out the plan would make; false: it is one of JumpCloud's.
func Made(id string) (identity.GUID, bool) {
	text, ok := strings.CutPrefix(id, prefixNew)
	if !ok {
		return identity.GUID{}, false
	}
	guid, err := identity.ParseGUID(text)
	return guid, err == nil
}

// carryOut does in mind what an action would do.
func (p *planner) carryOut(a *Action) {
	switch a.Kind {
	case CreateUser:
		of := p.person(newID(a.GUID))
		p.changeUser(of, a.Fields)
		p.link(p.account(a.GUID), of)
	case Link:
		p.link(p.account(a.GUID), p.person(a.UserID))
	case Unlink:
		p.unlink(p.account(a.GUID))
	case UpdateUser:
		p.changeUser(p.person(a.UserID), a.Fields)
	case DeleteUser:
		of := p.person(a.UserID)
		p.unindex(of)
		of.user, of.bound = nil, false
		p.forgetMember(a.UserID)
	case Suspend, Activate:
		of := p.person(a.UserID)
		u := *of.user
		u.Disabled = a.Kind == Suspend
		of.user = &u
	case ExpirePassword:
		if of := p.account(a.GUID); of.user != nil && of.link != nil && !of.user.AccountExpires.After(p.Now) {
			of.link.ExpiredFor = of.user.AccountExpires
		}
	case BindUser:
		of := p.account(a.GUID).cloud // it may just have been made
		if a.UserID != "" {
			of = p.person(a.UserID)
		}
		of.bound = true
	case UnbindUser:
		of := p.person(a.UserID)
		of.bound = false
		p.changeUser(of, []Field{{Name: FieldRestrict}, {Name: FieldDelegate}})
	default:
		p.carryOutGroup(a)
	}
}

func (p *planner) changeUser(of *person, fields []Field) {
	u := p.newUsers.take()
	if of.user != nil {
		p.unindex(of)
		*u = *of.user // the caller's stays as it was
	} else {
		u.Side, u.ID = identity.JumpCloud, of.id
	}
	for _, f := range fields {
		Set(u, f.Name, f.To)
	}
	of.user = u
	p.index(of)
}

func (p *planner) forgetMember(userID string) {
	for id, g := range p.Cloud.Groups {
		if i, found := slices.BinarySearch(g.MemberIDs, userID); found {
			g.MemberIDs = slices.Delete(slices.Clone(g.MemberIDs), i, i+1)
			p.Cloud.Groups[id] = g
		}
	}
}

func (p *planner) carryOutGroup(a *Action) {
	id := cmp.Or(a.GroupID, p.GroupLinks[a.GUID].GroupID)
	switch a.Kind {
	case CreateGroup:
		id = newID(a.GUID)
		p.setGroup(identity.Group{Side: identity.JumpCloud, ID: id, Name: a.Fields[0].To})
		p.GroupLinks[a.GUID] = identity.GroupLink{Domain: p.Domain, GUID: a.GUID, GroupID: id, Name: a.Name, Created: true}
		p.groupOf[id] = a.GUID
	case LinkGroup:
		p.GroupLinks[a.GUID] = identity.GroupLink{Domain: p.Domain, GUID: a.GUID, GroupID: id, Name: p.Cloud.Groups[id].Name}
		p.groupOf[id] = a.GUID
	case UnlinkGroup:
		delete(p.groupOf, p.GroupLinks[a.GUID].GroupID)
		delete(p.GroupLinks, a.GUID)
	case UpdateGroup:
		g := p.Cloud.Groups[id]
		delete(p.byGroup, g.Name)
		for _, f := range a.Fields {
			if f.Name == FieldGroupName {
				g.Name = f.To
			}
		}
		p.setGroup(g)
	case DeleteGroup:
		delete(p.byGroup, p.Cloud.Groups[id].Name)
		delete(p.Cloud.Groups, id)
		delete(p.Cloud.BoundGroups, id)
	case BindGroup:
		p.Cloud.BoundGroups[id] = true
	case UnbindGroup:
		delete(p.Cloud.BoundGroups, id)
	}
}

func (p *planner) setGroup(g identity.Group) {
	p.Cloud.Groups[g.ID] = g
	p.byGroup[g.Name] = g.ID
}

// carryOutMembers does all changes of a group's members at once: a group may
// have very many.
func (p *planner) carryOutMembers(actions []Action) {
	out := make(map[string]bool)
	var in []string
	var id string
	for i := range actions {
		a := &actions[i]
		switch a.Kind {
		case AddMember:
			in = append(in, a.UserID)
		case RemoveMember:
			out[a.UserID] = true
		default:
			continue
		}
		id = cmp.Or(a.GroupID, p.GroupLinks[a.GUID].GroupID)
	}
	if id == "" {
		return
	}
	g := p.Cloud.Groups[id]
	for _, member := range g.MemberIDs {
		if !out[member] {
			in = append(in, member)
		}
	}
	slices.Sort(in)
	g.MemberIDs = in
	p.Cloud.Groups[id] = g
	guid := p.groupOf[id]
	if link, ok := p.GroupLinks[guid]; ok {
		link.Agreed = in // or more: who is a member on both sides, and who is JumpCloud's own
		p.GroupLinks[guid] = link
	}
}
