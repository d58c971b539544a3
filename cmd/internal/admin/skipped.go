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

// skippedUsers puts those whom sync skips into the list: to the account that is
// not linked and has the name, since it is most often why, or else by themselves.
func (m *mirrored) skippedUsers(all []UserRow) ([]UserRow, error) {
	skipped, err := m.skippedBySync(false)
	for _, v := range skipped {
		at := slices.IndexFunc(all, func(r UserRow) bool { return r.Status != Linked && strings.EqualFold(r.Username, v.Name) })
		if at < 0 {
			at = len(all)
			all = append(all, UserRow{Username: v.Name})
		}
		r := &all[at]
		r.Status, r.Reason, r.JumpCloudID, r.JumpCloud = Skipped, v.Skip, v.CloudID, v.Name
	}
	slices.SortStableFunc(all, func(a, b UserRow) int { return strings.Compare(order(a.Username, a.GUID), order(b.Username, b.GUID)) })
	return all, err
}

// skippedGroups is skippedUsers for groups.
func (m *mirrored) skippedGroups(all []GroupRow) ([]GroupRow, error) {
	skipped, err := m.skippedBySync(true)
	for _, v := range skipped {
		at := slices.IndexFunc(all, func(r GroupRow) bool { return r.Status != Linked && strings.EqualFold(r.Name, v.Name) })
		if at < 0 {
			at = len(all)
			all = append(all, GroupRow{Name: v.Name})
		}
		r := &all[at]
		r.Status, r.Reason, r.GroupID, r.JumpCloud = Skipped, v.Skip, v.CloudID, v.Name
	}
	slices.SortStableFunc(all, func(a, b GroupRow) int { return strings.Compare(order(a.Name, a.GUID), order(b.Name, b.GUID)) })
	return all, err
}
