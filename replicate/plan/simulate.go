package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// newID stands for the id of a user or group that a plan would create.
func newID(guid identity.GUID) string { return prefixNew + guid.String() }

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
func (p *planner) carryOut(a Action) {
	switch a.Kind {
	case CreateUser:
		id := newID(a.GUID)
		p.changeUser(id, a.Fields)
		p.link(a.GUID, id)
	case Link:
		p.link(a.GUID, a.UserID)
	case Unlink:
		delete(p.linkOf, p.Links[a.GUID].JumpCloudID)
		delete(p.Links, a.GUID)
	case UpdateUser:
		p.changeUser(a.UserID, a.Fields)
	case DeleteUser:
		p.unindex(a.UserID, p.Cloud.Users[a.UserID])
		delete(p.Cloud.Users, a.UserID)
		delete(p.Cloud.BoundUsers, a.UserID)
		p.forgetMember(a.UserID)
	case Suspend, Activate:
		p.suspend(a)
	case ExpirePassword:
		link, linked := p.Links[a.GUID]
		if u, ok := p.Users[a.GUID]; ok && linked && !u.AccountExpires.After(p.Now) {
			link.ExpiredFor = u.AccountExpires
			p.Links[a.GUID] = link
		}
	case BindUser:
		p.Cloud.BoundUsers[cmp.Or(a.UserID, p.Links[a.GUID].JumpCloudID)] = true // it may just have been made
	case UnbindUser:
		delete(p.Cloud.BoundUsers, a.UserID)
		p.changeUser(a.UserID, []Field{{Name: FieldRestrict}, {Name: FieldDelegate}})
	default:
		p.carryOutGroup(a)
	}
}

// mark keeps in the link what an action has it remember.
func (p *planner) mark(a Action) {
	if link, ok := p.Links[a.GUID]; ok {
		p.Links[a.GUID] = Applied(link, a)
	}
	if link, ok := p.GroupLinks[a.GUID]; ok && a.Kind != AddMember && a.Kind != RemoveMember {
		p.GroupLinks[a.GUID] = AppliedGroup(link, a)
	}
}

func (p *planner) link(guid identity.GUID, id string) {
	p.Links[guid] = identity.Link{Domain: p.Domain, GUID: guid, JumpCloudID: id, Username: p.Cloud.Users[id].Username} // it exists: it was found, or made
	p.linkOf[id] = guid
}

func (p *planner) changeUser(id string, fields []Field) {
	u := identity.User{Side: identity.JumpCloud, ID: id}
	if was, ok := p.Cloud.Users[id]; ok {
		p.unindex(id, was)
		u = *was // the caller's stays as it was
	}
	for _, f := range fields {
		Set(&u, f.Name, f.To)
	}
	p.Cloud.Users[id] = &u
	p.index(id, &u)
}

func (p *planner) suspend(a Action) {
	u := *p.Cloud.Users[a.UserID]
	u.Disabled = a.Kind == Suspend
	p.Cloud.Users[a.UserID] = &u
}

func (p *planner) forgetMember(userID string) {
	for id, g := range p.Cloud.Groups {
		if i, found := slices.BinarySearch(g.MemberIDs, userID); found {
			g.MemberIDs = slices.Delete(slices.Clone(g.MemberIDs), i, i+1)
			p.Cloud.Groups[id] = g
		}
	}
}

func (p *planner) carryOutGroup(a Action) {
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
	for _, a := range actions {
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
