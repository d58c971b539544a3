package admin

import (
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
)

// TestMirror: users and groups as an import left them, through the socket, and
// with neither side within reach.
func TestMirror(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	if _, err := w.client.Users(ctx, MirrorQuery{}); err == nil || !strings.Contains(err.Error(), "no domain is registered") {
		t.Errorf("without a domain: %v", err)
	}
	w.register()
	w.local.Reconciler = w.reconciler
	before := func(_ any, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "no import of "+domainName+" has run yet: run `dirgate replicate run --once") {
			t.Errorf("before an import: %v", err)
		}
	}
	before(w.client.Users(ctx, MirrorQuery{}))
	before(w.client.Groups(ctx, MirrorQuery{Domain: domainName}))
	before(w.client.Group(ctx, "", adsim.ScopeGroup))
	if _, err := w.client.RunImport(ctx, "", false); err != nil {
		t.Fatal(err)
	}
	if err := w.cloud.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.ad.Close(); err != nil {
		t.Fatal(err)
	}

	all, err := w.client.Users(ctx, MirrorQuery{})
	want, wantErr := w.local.Users(ctx, MirrorQuery{})
	equal(t, "Users", all, want, err)
	if wantErr != nil {
		t.Fatal(wantErr)
	}
	row := func(name string) UserRow {
		i := slices.IndexFunc(all, func(r UserRow) bool { return r.Username == name })
		if i < 0 {
			t.Fatalf("%s is not listed: %+v", name, all)
		}
		return all[i]
	}
	alice := row("alice")
	link, err := w.local.Store.LinkByGUID(domainName, alice.GUID)
	if err != nil || alice.Status != Linked || alice.JumpCloudID != link.JumpCloudID || alice.Mail != "alice@"+domainName || !alice.LinkedAt.Equal(link.At) {
		t.Errorf("alice: %+v, link %+v, %v", alice, link, err)
	}
	for who, mark := range map[string]func(*identity.Link){
		"in Active Directory by sync": func(l *identity.Link) { l.DisabledByUs, l.SuspendedByUs = true, false },
		"at JumpCloud by the import":  func(l *identity.Link) { l.DisabledByUs, l.SuspendedByUs = false, true },
	} {
		if err := w.local.Store.ChangeLink(ctx, domainName, alice.GUID, mark); err != nil {
			t.Fatal(err)
		}
		now, err := w.client.Users(ctx, MirrorQuery{Status: Linked})
		if i := slices.IndexFunc(now, func(r UserRow) bool { return r.Username == "alice" }); err != nil || i < 0 || !strings.Contains(now[i].Reason, who) {
			t.Errorf("disabled %s: %+v, %v", who, now, err)
		}
	}
	if carol := row("carol"); carol.Status != Skipped || !strings.Contains(carol.Reason, "disabled in AD") || carol.JumpCloudID != "" {
		t.Errorf("carol, who is disabled: %+v", carol)
	}
	linked, err := w.client.Users(ctx, MirrorQuery{Status: Linked})
	if err != nil || len(linked) != 5 {
		t.Errorf("linked: %+v, %v, want 5", linked, err)
	}
	skipped, err := w.client.Users(ctx, MirrorQuery{Status: Skipped})
	if err != nil || len(linked)+len(skipped) != len(all) {
		t.Errorf("skipped: %+v, %v, want all but those linked", skipped, err)
	}

	groups, err := w.client.Groups(ctx, MirrorQuery{Status: Linked})
	if err != nil || len(groups) != 1 || groups[0].Name != adsim.ScopeGroup || groups[0].GroupID == "" {
		t.Fatalf("groups: %+v, %v, want the scope group", groups, err)
	}
	for _, name := range []string{strings.ToLower(adsim.ScopeGroup), groups[0].DN, groups[0].GUID.String()} {
		v, err := w.client.Group(ctx, "", name)
		if err != nil || v.GUID != groups[0].GUID || v.Members != len(v.People) || v.Members < 5 {
			t.Errorf("group %s: %+v, %v", name, v, err)
		}
	}
	if _, err := w.client.Group(ctx, "", "nosuch"); err == nil || !strings.Contains(err.Error(), "see `dirgate group list`") {
		t.Errorf("no such group: %v", err)
	}
}
