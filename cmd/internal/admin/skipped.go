package admin

import (
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// skippedBySync are what sync last said of JumpCloud's users, or groups, that
// have nothing in AD and get nothing.
func (m *mirrored) skippedBySync(groups bool) (all []store.Verdict, err error) {
	err = m.store.EachVerdict(m.world.Domain, func(v store.Verdict) {
		if v.Direction == identity.Sync && v.GUID.IsZero() && v.Group == groups && v.Skip != "" && len(v.Actions) == 0 {
			all = append(all, v)
		}
	})
	return all, err
}

// skippedUsers puts the users whom sync skips into the list.
func (m *mirrored) skippedUsers(all []UserRow) ([]UserRow, error) {
	skipped, err := m.skippedBySync(false)
	return withSkipped(all, skipped, func(r *UserRow) cells {
		return cells{r.GUID, &r.Username, &r.Status, &r.Reason, &r.JumpCloudID, &r.JumpCloud}
	}), err
}

// skippedGroups puts the groups which sync skips into the list.
func (m *mirrored) skippedGroups(all []GroupRow) ([]GroupRow, error) {
	skipped, err := m.skippedBySync(true)
	return withSkipped(all, skipped, func(r *GroupRow) cells {
		return cells{r.GUID, &r.Name, &r.Status, &r.Reason, &r.GroupID, &r.JumpCloud}
	}), err
}

// cells are those of a row that tell about a skipped user or group.
type cells struct {
	guid                                         identity.GUID
	name, status, reason, jumpCloudID, jumpCloud *string
}

// withSkipped puts what sync skips into a list: to the row that is not linked
// and has the name, since it is most often why, or else by itself.
func withSkipped[R any](all []R, skipped []store.Verdict, of func(*R) cells) []R {
	for _, v := range skipped {
		at := slices.IndexFunc(all, func(r R) bool {
			c := of(&r)
			return *c.status != Linked && strings.EqualFold(*c.name, v.Name)
		})
		if at < 0 {
			at = len(all)
			var r R
			*of(&r).name = v.Name
			all = append(all, r)
		}
		c := of(&all[at])
		*c.status, *c.reason, *c.jumpCloudID, *c.jumpCloud = Skipped, v.Skip, v.CloudID, v.Name
	}
	slices.SortStableFunc(all, func(a, b R) int {
		x, y := of(&a), of(&b)
		return strings.Compare(order(*x.name, x.guid), order(*y.name, y.guid))
	})
	return all
}
