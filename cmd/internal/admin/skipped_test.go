package admin

import (
	"slices"
	"testing"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// TestSkippedBySync: the lists have JumpCloud's users and groups that sync
// skips, with the reason; one whose name an account has is listed with it.
func TestSkippedBySync(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.register()
	w.local.Reconciler = w.reconciler
	if _, err := w.client.RunImport(ctx, "", false); err != nil {
		t.Fatal(err)
	}
	before, err := w.client.Users(ctx, MirrorQuery{})
	if err != nil {
		t.Fatal(err)
	}
	verdict := func(id, name, skip string, group bool) store.Verdict {
		return store.Verdict{Direction: identity.Sync, CloudID: id, Name: name, Skip: skip, Group: group, Since: w.local.Now()}
	}
	if err := w.local.Store.PutVerdicts(ctx, domainName, []store.Verdict{
		verdict("u1", "o.dot.", "it ends with a dot", false),
		verdict("u2", "carol", "is disabled: enable it", false),
		verdict("g1", "Domain Admins of mine", "it cannot be", true),
	}); err != nil {
		t.Fatal(err)
	}
	users, err := w.client.Users(ctx, MirrorQuery{Status: Skipped})
	if err != nil {
		t.Fatal(err)
	}
	find := func(name string) (found UserRow) {
		for _, r := range users {
			if r.Username == name {
				found = r
			}
		}
		return found
	}
	if r := find("o.dot."); r.Status != Skipped || r.Reason != "it ends with a dot" || r.JumpCloudID != "u1" || !r.GUID.IsZero() {
		t.Errorf("one without an account: %+v of %+v", r, users)
	}
	if r := find("carol"); r.Reason != "is disabled: enable it" || r.JumpCloudID != "u2" || r.GUID.IsZero() {
		t.Errorf("one whose name an account has: %+v", r)
	}
	if all, err := w.client.Users(ctx, MirrorQuery{}); err != nil || len(all) != len(before)+1 {
		t.Errorf("%d users, %v, want one more than %d", len(all), err, len(before))
	}
	groups, err := w.client.Groups(ctx, MirrorQuery{Status: Skipped})
	at := slices.IndexFunc(groups, func(r GroupRow) bool { return r.GroupID == "g1" })
	if err != nil || at < 0 || groups[at].Reason != "it cannot be" || groups[at].Name != "Domain Admins of mine" {
		t.Errorf("groups: %+v, %v", groups, err)
	}
}
