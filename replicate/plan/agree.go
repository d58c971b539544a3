package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// Agreement is what both sides have already and the stored link does not say.
type Agreement struct {
	// Fields of a user, for identity.Link.Agreed; an empty value is not kept.
	Fields map[string]string
	// Activated: the user is active at JumpCloud and stays so, and Enabled: the
	// account is enabled in AD. What we did before is over then: one that a
	// person disables there later is not ours to lift.
	Activated, Enabled bool
	// Bound: the user or group was seen bound to the AD object.
	Bound bool
	// Name and Members of a group, for identity.GroupLink, if HasMembers.
	Name       string
	Members    []string
	HasMembers bool
}

// Agree puts into a user's link what a verdict found both sides to have. It is
// to be called with what is stored when Verdict.Agreed is set, whether or not
// the verdict has actions.
func Agree(link identity.Link, v Verdict) identity.Link {
	a := v.Agreed
	if a == nil {
		return link
	}
	link.Agreed = merged(link.Agreed, maps.Clone(a.Fields))
	link.SuspendedByUs = link.SuspendedByUs && !a.Activated
	link.DisabledByUs = link.DisabledByUs && !a.Enabled
	link.WasBound = link.WasBound || a.Bound
	return link
}

// AgreeGroup is Agree for a group's link.
func AgreeGroup(link identity.GroupLink, v Verdict) identity.GroupLink {
	a := v.Agreed
	if a == nil {
		return link
	}
	if a.HasMembers {
		link.AgreedName, link.Agreed = a.Name, slices.Clone(a.Members)
	}
	link.WasBound = link.WasBound || a.Bound
	return link
}

// Applied puts into a user's link what follows from an action that was carried
// out. For Suspend and ADDisable that must be stored before the action is
// sent: what is not known to be ours would never be lifted.
func Applied(link identity.Link, a Action) identity.Link {
	switch a.Kind {
	case Suspend:
		link.SuspendedByUs = true
	case Activate:
		link.SuspendedByUs = false
	case ADDisable:
		link.DisabledByUs = true
	case ADEnable:
		link.DisabledByUs = false
	case BindUser:
		link.WasBound = true
	case CreateUser, UpdateUser:
		if a.Direction != identity.Sync { // else it writes what is not compared
			link.Agreed = merged(link.Agreed, valuesOf(a.Fields, comparedName))
		}
	case ADCreateUser, ADUpdateUser:
		link.Agreed = merged(link.Agreed, valuesOf(a.Fields, agreedName))
	}
	return link
}

// AppliedGroup is Applied for a group's link.
func AppliedGroup(link identity.GroupLink, a Action) identity.GroupLink {
	switch a.Kind {
	case BindGroup:
		link.WasBound = true
	case CreateGroup, UpdateGroup, ADCreateGroup, ADRenameGroup:
		for _, f := range a.Fields {
			if f.Name == FieldGroupName || f.Name == AttrSAM {
				link.AgreedName = f.To
			}
		}
	case AddMember, ADAddMember, RemoveMember, ADRemoveMember:
		return AppliedMembers(link, []Action{a})
	}
	return link
}

// AppliedMembers is [AppliedGroup] of many members, each added or removed once,
// at the cost of one. Other actions are passed over.
func AppliedMembers(link identity.GroupLink, did []Action) identity.GroupLink {
	members := slices.Clone(link.Agreed)
	removed := make(map[string]bool)
	for i := range did {
		switch a := &did[i]; a.Kind {
		case RemoveMember, ADRemoveMember:
			removed[a.UserID] = true
		case AddMember, ADAddMember:
			members = append(members, a.UserID)
		}
	}
	slices.Sort(members)
	link.Agreed = slices.DeleteFunc(slices.Compact(members), func(id string) bool { return removed[id] })
	return link
}

// valuesOf are the values of the fields that name has a name for.
func valuesOf(fields []Field, name func(string) string) map[string]string {
	values := make(map[string]string, len(fields))
	for _, f := range fields {
		_, made := Made(f.To)
		if n := name(f.Name); n != "" && !made {
			values[n] = f.To
		}
	}
	return values
}

func merged(agreed, with map[string]string) map[string]string {
	if len(with) == 0 {
		return agreed
	}
	if agreed == nil {
		maps.DeleteFunc(with, func(_, value string) bool { return value == "" })
		return with // of the caller's making
	}
	now := maps.Clone(agreed)
	for name, value := range with {
		if now[name] = value; value == "" {
			delete(now, name)
		}
	}
	return now
}

// comparedName is the name under which a field is remembered; empty: it is not
// compared with what was agreed.
func comparedName(field string) string {
	switch field {
	case FieldEmail, FieldFirst, FieldLast, FieldManager:
		return field
	}
	if profileIndex(field) >= 0 {
		return field
	}
	return ""
}

// unread begins the names under which attributes are remembered that the mirror
// of AD does not have.
const unread = "ad:"

// agreedName is comparedName of an AD attribute.
func agreedName(attr string) string {
	switch {
	case strings.EqualFold(attr, AttrSAM), strings.EqualFold(attr, AttrUPN), strings.EqualFold(attr, AttrCN):
		return ""
	}
	if field := importedFrom(attr); field != "" {
		return field
	}
	return unread + fold(attr)
}

// importedFrom is the JumpCloud field that the import fills from an AD
// attribute; empty: none.
func importedFrom(attr string) string {
	switch {
	case strings.EqualFold(attr, AttrFirst):
		return FieldFirst
	case strings.EqualFold(attr, AttrLast):
		return FieldLast
	case strings.EqualFold(attr, AttrMail):
		return FieldEmail
	}
	for _, f := range profileFields {
		if strings.EqualFold(f.attr, attr) {
			return f.name
		}
	}
	return ""
}

// Mirrored reports whether the mirror has an attribute's value as AD has it: a
// country's is that of either of two.
func Mirrored(attr string) bool {
	field := importedFrom(attr)
	return field != "" && !strings.EqualFold(attr, "co")
}

// value is what a user has of a field of JumpCloud's.
func value(u *identity.User, field string) string {
	switch field {
	case FieldUsername:
		return u.Username
	case FieldEmail:
		return u.Mail
	case FieldFirst:
		return u.First
	case FieldLast:
		return u.Last
	case FieldManager:
		return u.Manager.ID
	}
	if i := profileIndex(field); i >= 0 {
		return *profile(&u.Profile)[i]
	}
	return ""
}

// compared is one field of a user on both sides, and what they last agreed on.
type compared struct {
	name             string
	base, ad, cloud  string
	exported, needed bool // sync writes it; neither side can be without it
}

// resolve says to which side the other's value is to be written (rule S5);
// empty: to none. won says who prevailed when both had an edit.
//
// What was never agreed upon has an empty base: then AD prevails, unless it has
// nothing.
func (c compared) resolve() (to identity.Side, won string) {
	same := func(a, b string) bool { return a == b || c.name == FieldEmail && strings.EqualFold(a, b) }
	over := func(winner identity.Side) string {
		if winner == identity.AD {
			return fmt.Sprintf("%s: AD's %q over JumpCloud's %q", c.name, c.ad, c.cloud)
		}
		return fmt.Sprintf("%s: JumpCloud's %q over AD's %q", c.name, c.cloud, c.ad)
	}
	switch {
	case same(c.ad, c.cloud):
		return "", ""
	case !c.exported && same(c.base, c.ad):
		return "", ""
	case c.needed && c.ad == "":
		return identity.AD, c.undone(over(identity.JumpCloud))
	case c.needed && c.cloud == "":
		return identity.JumpCloud, c.undone(over(identity.AD))
	case same(c.base, c.ad):
		return identity.AD, ""
	case same(c.base, c.cloud):
		return identity.JumpCloud, ""
	}
	return identity.JumpCloud, over(identity.AD)
}

// undone: somebody emptied what may not be empty.
func (c compared) undone(won string) string {
	if c.base == "" {
		return "" // it always was
	}
	return won + ", since nobody may be without one"
}
