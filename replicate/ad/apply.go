package ad

import (
	"slices"

	"github.com/dirgate/dirgate/store/identity"
)

// Apply brings a mirror of a [Snapshot] up to date.
//
// A deleted object leaves every group at once: a controller need not say of
// the groups that they have changed, and an object that is restored without
// its memberships must not have them here.
func (b *Batch) Apply(users map[identity.GUID]identity.User, groups map[identity.GUID]identity.Group) {
	gone := make(map[identity.GUID]bool)
	joins := make(map[identity.GUID][]identity.GUID) // of users that are new, by group
	for _, c := range b.Changes {
		switch {
		case c.Deleted:
			gone[c.GUID] = true
			delete(users, c.GUID)
			delete(groups, c.GUID)
		case c.User != nil:
			if _, known := users[c.GUID]; !known {
				for _, group := range c.MemberOf {
					joins[group] = append(joins[group], c.GUID)
				}
			}
			users[c.GUID] = *c.User
		case c.Group != nil:
			groups[c.GUID] = *c.Group
		}
	}
	isGone := func(g identity.GUID) bool { return gone[g] }
	for guid, g := range groups {
		if len(gone) > 0 && slices.ContainsFunc(g.Members, isGone) {
			g.Members = slices.DeleteFunc(slices.Clone(g.Members), isGone)
			groups[guid] = g
		}
		if len(joins[guid]) > 0 {
			g.Members = union(g.Members, joins[guid])
			groups[guid] = g
		}
	}
}
