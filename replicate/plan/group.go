package plan

import (
	"fmt"
	"slices"

	"github.com/dirgate/dirgate/store/identity"
)

// GroupCase is what is known about one AD group and its JumpCloud group.
type GroupCase struct {
	Settings
	AD *identity.Group // nil: it was deleted
	// Out says why the group is not mirrored; empty: it is. Without AD it has
	// no meaning.
	Out  string
	Link *identity.GroupLink
	// Cloud is the group that Link names, with its members; nil: it is gone.
	Cloud *identity.Group
	Bound bool // Cloud is bound to the domain's AD object
	// Holder is another JumpCloud group with the wanted name, and HolderLinked
	// says that it is another AD group's.
	Holder       *identity.Group
	HolderLinked bool
	HolderBound  bool // to the domain's AD object
	// Want are the JumpCloud users of all accounts in the group and in those
	// that are members of it, however deep; sorted.
	Want []string
	// Gone are those of Want whom JumpCloud does not have (any more), though
	// they are linked: a guard may hold what is to follow from that. Nobody
	// can make them members.
	Gone map[string]bool
	// Managed are the JumpCloud users that are linked to an AD account, those of
	// Want aside. Others are JumpCloud's own and keep their membership. They
	// count where AD is the authority.
	Managed map[string]bool
	// Direct are the JumpCloud users whose accounts are members themselves, and
	// Namesakes those without an account of whose name one is a member. They
	// count where both sides are edited.
	Direct, Namesakes map[string]bool
}

// Group decides about one group (rule I5).
func Group(c GroupCase) Verdict {
	switch {
	case !c.Use.Imports():
		return Verdict{Skip: "groups are managed in JumpCloud"}
	case c.Link == nil && c.AD == nil:
		return Verdict{}
	case c.AD != nil && c.Out != "" && c.Link == nil:
		return Verdict{Skip: c.Out}
	case c.AD == nil:
		return Verdict{Actions: c.end("the AD group was deleted")}
	case c.Out != "":
		return Verdict{Actions: c.end(c.Out)}
	case c.rests():
		return Verdict{Skip: resting}
	case c.Link != nil && c.Cloud == nil && c.Use != identity.UseAD:
		return Verdict{Skip: "the JumpCloud group was deleted there"}
	case c.Link != nil && c.Cloud == nil:
		again := c
		again.Link, again.Bound = nil, false
		v := Group(again)
		v.Actions = append([]Action{c.action(UnlinkGroup, "the JumpCloud group was deleted")}, v.Actions...)
		return v
	case c.Link == nil:
		return c.pair()
	}
	return c.update()
}

// rests: somebody unbound the group in JumpCloud; see UserCase.rests.
func (c *GroupCase) rests() bool {
	return c.Use == identity.UseTwoWay && c.Link != nil && c.Cloud != nil && !c.Bound && groupReleased(c.Link)
}

func (c *GroupCase) action(kind Kind, reason string) Action {
	a := Action{Kind: kind, Reason: reason}
	if c.Link != nil {
		a.GUID, a.GroupID, a.Name = c.Link.GUID, c.Link.GroupID, c.Link.Name
	}
	if c.AD != nil {
		a.GUID, a.Name = c.AD.GUID, c.AD.Name
	}
	return a
}

// end: what the import made it may delete; what was there before is let go.
func (c *GroupCase) end(why string) []Action {
	unlink := c.action(UnlinkGroup, why)
	switch {
	case c.Cloud == nil, c.rests():
		return []Action{unlink}
	case c.Link.Created:
		return []Action{c.action(DeleteGroup, why), unlink}
	}
	return []Action{c.action(UnbindGroup, why), unlink}
}

func (c *GroupCase) pair() Verdict {
	switch {
	case c.Holder == nil:
		actions := []Action{c.action(CreateGroup, "in scope, and no JumpCloud group has the name"), c.action(BindGroup, "imported from AD")}
		actions[0].Fields = []Field{{FieldGroupName, "", c.AD.Name}}
		if c.AD.Description != "" {
			actions[0].Fields = append(actions[0].Fields, Field{FieldGroupNote, "", c.AD.Description})
		}
		v := Verdict{Actions: actions}
		c.members(nil, &v)
		return v
	case c.HolderLinked:
		return Verdict{Skip: fmt.Sprintf("JumpCloud group %q (%s) is another AD group's: rename one of them", c.Holder.Name, c.Holder.ID)}
	case c.Holder.Dynamic:
		return Verdict{Skip: fmt.Sprintf("JumpCloud group %q (%s) works out its members by a rule of its own: rename one of the two", c.Holder.Name, c.Holder.ID)}
	}
	paired := *c
	paired.Link = &identity.GroupLink{Domain: c.Domain, GUID: c.AD.GUID, GroupID: c.Holder.ID, Name: c.Holder.Name}
	paired.Cloud, paired.Bound, paired.Holder = c.Holder, c.HolderBound, nil
	v := paired.update()
	v.Actions = append([]Action{paired.action(LinkGroup, "the same name")}, v.Actions...)
	return v
}

func (c *GroupCase) update() (v Verdict) {
	c.rename(&v)
	if !c.Bound {
		v.Actions = append(v.Actions, c.action(BindGroup, "imported from AD"))
	}
	if !c.Cloud.Dynamic {
		c.members(c.Cloud.MemberIDs, &v)
	}
	if c.Use == identity.UseTwoWay {
		c.agree(&v)
	}
	return v
}

func (c *GroupCase) rename(v *Verdict) {
	if c.Cloud.Name == c.AD.Name || c.Holder != nil { // the name is taken, until the other gives it up
		return
	}
	if c.Use == identity.UseTwoWay {
		to, won := compared{"name", baseName(c.Link, c.AD), c.AD.Name, c.Cloud.Name, true, true}.resolve()
		if to != identity.JumpCloud {
			return
		}
		if won != "" {
			v.Won = append(v.Won, won)
		}
	}
	a := c.action(UpdateGroup, "renamed in AD")
	a.Fields = []Field{{FieldGroupName, c.Cloud.Name, c.AD.Name}}
	v.Actions = append(v.Actions, a)
}

// members brings the members in line. Who was a member on both sides before is
// taken out, even when the user is JumpCloud's own by now: AD had put it in.
// Where AD is the authority every imported user is a member because AD says
// so; where both sides are, additions and removals of both are merged, and one
// that was made at JumpCloud is sync's to carry over.
func (c *GroupCase) members(is []string, v *Verdict) {
	there := set(is)
	if n := len(c.Want) - len(is); n > 0 {
		v.Actions = slices.Grow(v.Actions, n)
	}
	var agreed map[string]bool
	if c.Link != nil {
		agreed = set(c.Link.Agreed)
	}
	merge := c.Use == identity.UseTwoWay
	for _, id := range c.Want {
		switch {
		case there[id], c.Gone[id], merge && agreed[id] && c.Direct[id]:
			continue
		case merge && agreed[id]:
			v.Won = append(v.Won, "member "+id+": AD has it through a group within, over its removal in JumpCloud")
		}
		v.Actions = append(v.Actions, c.member(AddMember, id, "a member in AD"))
	}
	for _, id := range is {
		if _, wanted := slices.BinarySearch(c.Want, id); !wanted {
			if ours := agreed[id] && !c.Namesakes[id] || c.Managed[id] && c.Use == identity.UseAD; ours {
				v.Actions = append(v.Actions, c.member(RemoveMember, id, "not a member in AD"))
			}
		}
	}
}

// agree tells what both sides have and the link does not say.
func (c *GroupCase) agree(v *Verdict) {
	a := Agreement{Bound: c.Bound, Name: c.Link.AgreedName, Members: agreedMembers(set(c.Want), c.Cloud.MemberIDs, c.Link.Agreed), HasMembers: true}
	if c.AD.Name == c.Cloud.Name {
		a.Name = c.AD.Name
	}
	if a.Bound && !c.Link.WasBound || a.Name != c.Link.AgreedName || !slices.Equal(a.Members, c.Link.Agreed) {
		v.Agreed = &a
	}
}

// agreedMembers are those of both sides, and those that were and are still
// members on one: whose removal is to be carried over.
func agreedMembers(inAD map[string]bool, inCloud, before []string) (agreed []string) {
	base, cloud := set(before), set(inCloud)
	for _, id := range inCloud {
		if inAD[id] || base[id] {
			agreed = append(agreed, id)
		}
	}
	for _, id := range before {
		if inAD[id] && !cloud[id] {
			agreed = append(agreed, id)
		}
	}
	slices.Sort(agreed)
	return agreed
}

func (c *GroupCase) member(kind Kind, userID, reason string) Action {
	a := c.action(kind, reason)
	a.UserID = userID
	return a
}

func set(ids []string) map[string]bool {
	m := make(map[string]bool, len(ids))
	for _, id := range ids {
		m[id] = true
	}
	return m
}
