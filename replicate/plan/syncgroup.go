package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// SyncGroupCase is what is known about one JumpCloud group and its AD group.
type SyncGroupCase struct {
	Settings
	ID    string          // JumpCloud's
	Cloud *identity.Group // nil: it was deleted
	Bound bool
	Link  *identity.GroupLink
	AD    *identity.Group // the group that Link names; nil: it is gone
	// Imported: the import would pair AD by itself, since it is in its scope.
	Imported bool
	// Same is the AD group with Cloud's name, other than AD; SameLinked says
	// that it is another JumpCloud group's.
	Same       *identity.Group
	SameLinked bool
	// Aside is a name for the moment: Same has the one asked for, and waits for
	// AD's, as do all in a circle of groups that swap names.
	Aside string
	// Taken says what else of AD has the name; empty: nothing.
	Taken string
	// Accounts are the AD accounts of JumpCloud users, but for service accounts,
	// whose memberships are left alone: their rights may come from them.
	Accounts map[string]identity.GUID
	// Direct are the JumpCloud users whose accounts are members of the AD group,
	// and Nested those whose accounts are members of a group within.
	Direct, Nested map[string]bool
}

// isPrivileged is why sync leaves a group alone: who may edit JumpCloud's
// groups must not become an administrator of the domain by it.
const isPrivileged = "is privileged (adminCount=1), or one that Active Directory comes with: never written"

// SyncGroup decides about one group (rules S3 and S5). AD groups are never
// deleted, and their members who have no JumpCloud user stay.
func SyncGroup(c SyncGroupCase) Verdict {
	switch {
	case !c.Use.Syncs() || c.Link == nil && (c.Cloud == nil || !c.Bound):
		return Verdict{}
	case c.Link == nil:
		return c.pair()
	case c.AD == nil:
		return c.groupGone()
	case c.Cloud == nil && c.Use.Imports() && c.Imported:
		return Verdict{Skip: "the JumpCloud group was deleted there; the AD group stays as it is"}
	case c.Cloud == nil:
		return Verdict{Actions: []Action{c.action(UnlinkGroup, "the JumpCloud group was deleted: the AD group stays as it is")}}
	case !c.Bound:
		return c.unbound()
	case !c.AD.InRoot:
		return Verdict{Skip: "the AD group is outside the domain's root container: not written"}
	}
	v := c.update()
	if c.AD.Privileged && len(v.Actions) > 0 { // what both sides agree on still counts, for the import
		v.Actions, v.Won, v.Skip = nil, nil, "the AD group "+isPrivileged
	}
	return v
}

func (c *SyncGroupCase) action(kind Kind, reason string) Action {
	a := Action{Kind: kind, GroupID: c.ID, Reason: reason}
	if c.Link != nil {
		a.GUID, a.Name = c.Link.GUID, c.Link.Name
	}
	if c.Cloud != nil {
		a.Name = c.Cloud.Name
	}
	if c.AD != nil {
		a.GUID, a.Name = c.AD.GUID, c.AD.Name
	}
	return a
}

// groupGone: in two-way use a deletion in AD is the import's to carry over.
func (c *SyncGroupCase) groupGone() Verdict {
	if c.Use.Imports() {
		return Verdict{}
	}
	v := Verdict{Actions: []Action{c.action(UnlinkGroup, "the AD group was deleted")}}
	if c.Cloud != nil && c.Bound {
		again := *c
		again.Link = nil
		next := SyncGroup(again)
		next.Actions = append(v.Actions, next.Actions...)
		return next
	}
	return v
}

func (c *SyncGroupCase) unbound() Verdict {
	switch {
	case !c.Use.Imports() || !c.Imported:
		return Verdict{Actions: []Action{c.action(UnlinkGroup, "unbound from AD in JumpCloud: the AD group stays as it is")}}
	case groupReleased(c.Link):
		return Verdict{Skip: resting}
	}
	return Verdict{}
}

func groupReleased(link *identity.GroupLink) bool { return link.WasBound || link.BySync }

func (c *SyncGroupCase) pair() Verdict {
	switch bad := badSAM(c.Cloud.Name, maxCN); {
	case bad != "":
		return Verdict{Skip: fmt.Sprintf("%q cannot be a group's name in AD: %s", c.Cloud.Name, bad)}
	case c.Same == nil && c.Taken != "":
		return Verdict{Skip: c.Taken}
	case c.Same == nil:
		a := c.action(ADCreateGroup, "bound to AD, and no AD group has the name")
		a.Fields = []Field{{AttrSAM, "", c.Cloud.Name}, {AttrCN, "", c.Cloud.Name}}
		v := Verdict{Actions: []Action{a}}
		c.members(&v)
		return v
	case c.SameLinked:
		return Verdict{Skip: fmt.Sprintf("AD group %q (%s) is another JumpCloud group's: rename one of them", c.Same.Name, c.Same.DN)}
	case c.Same.Privileged:
		return Verdict{Skip: fmt.Sprintf("AD group %q (%s) %s: rename the JumpCloud group", c.Same.Name, c.Same.DN, isPrivileged)}
	case !c.Same.Security:
		return Verdict{Skip: fmt.Sprintf("AD group %q (%s) is a distribution group: rename one of the two", c.Same.Name, c.Same.DN)}
	case !c.Same.InRoot:
		return Verdict{Skip: fmt.Sprintf("AD group %q (%s) is outside the domain's root container: move it there, or rename one of the two", c.Same.Name, c.Same.DN)}
	}
	paired := *c
	paired.AD, paired.Same = c.Same, nil
	paired.Link = &identity.GroupLink{Domain: c.Domain, GUID: c.Same.GUID, GroupID: c.ID, Name: c.Cloud.Name, BySync: true}
	v := paired.update()
	v.Actions = append([]Action{paired.action(LinkGroup, "the same name")}, v.Actions...)
	return v
}

func (c *SyncGroupCase) update() (v Verdict) {
	agreedName := c.rename(&v)
	members := agreedMembers(c.inAD(), c.Cloud.MemberIDs, c.Link.Agreed)
	c.members(&v)
	a := Agreement{Bound: true, Name: agreedName, Members: members, HasMembers: true}
	if !c.Link.WasBound || a.Name != c.Link.AgreedName || !slices.Equal(a.Members, c.Link.Agreed) {
		v.Agreed = &a
	}
	return v
}

// nameTo says to which side the other's name is to be written, and who prevails.
func (c *SyncGroupCase) nameTo() (to identity.Side, won string) {
	if !c.Use.Imports() {
		return identity.AD, ""
	}
	return compared{"name", baseName(c.Link, c.AD), c.AD.Name, c.Cloud.Name, true, true}.resolve()
}

// baseName is what both sides last agreed to call a group. A name for the
// moment is nobody's edit.
func baseName(link *identity.GroupLink, ad *identity.Group) string {
	if strings.HasSuffix(ad.Name, "."+roomMark(ad.GUID)) {
		return ad.Name
	}
	return link.AgreedName
}

// asideName is a name for the moment, which fits into a cn.
func asideName(ad *identity.Group) string {
	mark := "." + roomMark(ad.GUID)
	name := []rune(ad.Name)
	return string(name[:min(len(name), maxCN-len(mark))]) + mark
}

// waits reports whether the name asked for is that of a linked group, which may
// give it up.
func (c *SyncGroupCase) waits() bool {
	if c.Link == nil || c.AD == nil || c.Cloud == nil || !c.Bound || !c.AD.InRoot || c.AD.Privileged || !c.SameLinked || badSAM(c.Cloud.Name, maxCN) != "" {
		return false
	}
	to, _ := c.nameTo()
	return to == identity.AD && c.AD.Name != c.Cloud.Name
}

// rename brings the name in line, and gives the one both sides agree on.
func (c *SyncGroupCase) rename(v *Verdict) (agreed string) {
	to, won := c.nameTo()
	if c.Use.Imports() {
		if won != "" && to == identity.AD {
			v.Won = append(v.Won, won)
		}
	}
	switch bad := badSAM(c.Cloud.Name, maxCN); {
	case c.AD.Name == c.Cloud.Name:
		return c.AD.Name
	case to != identity.AD:
	case bad != "":
		v.Note = fmt.Sprintf("%q cannot be a group's name in AD: %s", c.Cloud.Name, bad)
	case c.Same != nil && c.Aside != "":
		a := c.action(ADRenameGroup, fmt.Sprintf("makes room: AD group %q (%s) has the name %q and is about to get another one", c.Same.Name, c.Same.DN, c.Cloud.Name))
		a.Fields = []Field{{AttrSAM, c.AD.Name, c.Aside}, {AttrCN, "", c.Aside}}
		v.Actions = append(v.Actions, a)
	case c.Same != nil:
		v.Note = fmt.Sprintf("AD group %q (%s) has that name: rename one of them", c.Same.Name, c.Same.DN)
	case c.Taken != "":
		v.Note = c.Taken
	default:
		a := c.action(ADRenameGroup, "renamed in JumpCloud")
		a.Fields = []Field{{AttrSAM, c.AD.Name, c.Cloud.Name}, {AttrCN, "", c.Cloud.Name}}
		v.Actions = append(v.Actions, a)
	}
	return c.Link.AgreedName
}

// members brings the direct members of the AD group in line. Only users with an
// account can be members; who is one through a group within stays.
func (c *SyncGroupCase) members(v *Verdict) {
	there, base := set(c.Cloud.MemberIDs), make(map[string]bool)
	if c.Link != nil {
		base = set(c.Link.Agreed)
	}
	merge := c.Use.Imports() && !c.Cloud.Dynamic // else JumpCloud alone says who is a member
	if n := len(c.Cloud.MemberIDs) - len(c.Direct); n > 0 {
		v.Actions = slices.Grow(v.Actions, n)
	}
	for _, id := range c.Cloud.MemberIDs {
		_, hasAccount := c.Accounts[id]
		if hasAccount && !c.Direct[id] && !c.Nested[id] && !(merge && base[id]) {
			v.Actions = append(v.Actions, c.member(ADAddMember, id, "a member in JumpCloud"))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Direct)) {
		if _, ours := c.Accounts[id]; ours && !there[id] && (!merge || base[id]) {
			v.Actions = append(v.Actions, c.member(ADRemoveMember, id, "not a member in JumpCloud"))
		}
	}
	for id := range c.Nested {
		if !there[id] && !merge && v.Note == "" {
			v.Note = "some are members of the AD group through a group within it: take them out there"
		}
	}
}

// inAD are the users whose accounts are members, however deep.
func (c *SyncGroupCase) inAD() map[string]bool {
	if len(c.Nested) == 0 {
		return c.Direct
	}
	all := maps.Clone(c.Direct)
	maps.Copy(all, c.Nested)
	return all
}

func (c *SyncGroupCase) member(kind Kind, userID, reason string) Action {
	a := c.action(kind, reason)
	a.UserID, a.Member = userID, c.Accounts[userID]
	return a
}
