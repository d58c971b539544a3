package plan

import (
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

func TestServiceAccountNames(t *testing.T) {
	u := identity.User{DN: `CN=Sync\, Svc,OU=Service Accounts,DC=corp,DC=example`, Username: "svc-sync", UPN: "dirgate@corp.test"}
	s := Settings{Domain: "corp.example"}
	tests := []struct {
		name string
		want bool
	}{
		{"svc-sync", true},
		{"SVC-Sync", true},
		{"dirgate@corp.test", true},
		{"Dirgate@CORP.test", true},
		{"svc-sync@corp.example", true},
		{"svc-sync@CORP.EXAMPLE", true},
		{`CORP\svc-sync`, true},
		{`corp\SVC-SYNC`, true},
		{`CN=Sync\, Svc,OU=Service Accounts,DC=corp,DC=example`, true},
		{`cn=sync\, svc, ou=Service Accounts , dc = corp,dc=example`, true},

		{"", false},
		{"svc", false},
		{"svc-sync@corp.test", false}, // another's userPrincipalName
		{"svc-sync@", false},
		{`CORP\dirgate`, false},
		{`CORP\`, false},
		{`CN=Sync\,Svc,OU=Service Accounts,DC=corp,DC=example`, false}, // the space is escaped by what stands before it
		{`CN=Sync\, Svc,OU=ServiceAccounts,DC=corp,DC=example`, false},
		{`CN=Sync\, Svc,DC=corp,DC=example`, false},
	}
	for _, tt := range tests {
		for _, s := range []Settings{{Domain: s.Domain, ImportAccount: tt.name}, {Domain: s.Domain, SyncAccount: tt.name}} {
			if got := s.service(&u); got != tt.want {
				t.Errorf("%q: got %v, want %v", tt.name, got, tt.want)
			}
		}
	}
	if bare := (identity.User{}); s.service(&bare) {
		t.Error("no service account is registered, and a nameless account is one")
	}
}

// TestServiceAccounts: neither direction makes, pairs, ends or writes one.
func TestServiceAccounts(t *testing.T) {
	service := func(s *Settings) { s.ImportAccount = `CORP\Alice` }
	imported := map[string]UserCase{
		"new":                 newCase(func(c *UserCase) { service(&c.Settings) }),
		"with a namesake":     newCase(func(c *UserCase) { service(&c.Settings); c.Holders = []Holder{{User: aliceJC}} }),
		"linked and changed":  linkedCase(func(c *UserCase) { service(&c.Settings); c.AD.Last = "New" }),
		"linked and left":     linkedCase(func(c *UserCase) { service(&c.Settings); c.Out = "not a member of the scope group" }),
		"linked and disabled": linkedCase(func(c *UserCase) { service(&c.Settings); c.AD.Disabled = true }),
	}
	for name, c := range imported {
		if v := User(c); len(v.Actions) > 0 || v.Skip != isService {
			t.Errorf("import, %s: got %q", name, told(v))
		}
	}
	const taken = `AD account "alice" (CN=Alice,DC=corp) is dirgate's own service account: not replicated`
	alice := aliceAD
	synchronised := []struct {
		name string
		c    SyncCase
		want string
	}{
		{"a namesake", unpaired(func(c *SyncCase) { service(&c.Settings); c.Same = &alice }), taken},
		{"linked and changed", synced(func(c *SyncCase) { service(&c.Settings); c.Cloud.Last = "New" }), isService},
		{"linked and suspended", synced(func(c *SyncCase) { service(&c.Settings); c.Cloud.Disabled = true }), isService},
		{"linked and its user deleted", synced(func(c *SyncCase) { service(&c.Settings); c.Cloud = nil }), "the user was deleted at JumpCloud; the AD account is " + isService},
	}
	for _, tt := range synchronised {
		if v := SyncUser(tt.c); len(v.Actions) > 0 || v.Skip != tt.want {
			t.Errorf("sync, %s: got %q, want %q", tt.name, told(v), tt.want)
		}
	}
}

// TestServiceAccountWorld: it stands in nobody's way either, and keeps its AD
// groups, which may be what its rights come from.
func TestServiceAccountWorld(t *testing.T) {
	service, person := identity.GUID{1}, identity.GUID{2}
	user := func(guid identity.GUID, name, upn string) *identity.User {
		return &identity.User{GUID: guid, DN: "CN=" + name, Username: name, UPN: upn, Mail: "it@corp.example", First: "F", Last: "L", InRoot: true}
	}
	w := World{Settings: twoWay, Now: may, Complete: true, Tree: Tree{Users: map[identity.GUID]*identity.User{
		service: user(service, "svc", "svc@corp.example"), person: user(person, "ann", "ann@corp.example")}}}
	w.ImportAccount, w.SyncAccount = "svc@corp.example", `CORP\svc`
	p := mustPlan(t, w)
	for _, r := range p.Results {
		switch {
		case r.GUID == service && (len(r.Actions) > 0 || r.Skip != isService):
			t.Errorf("service account: got %q", told(r.Verdict))
		case r.GUID == person && len(r.Actions) == 0:
			t.Errorf("with its mail address: got %q, want a user", told(r.Verdict))
		}
	}
	if len(p.Results) != 2 || Reasons(w)[service] != isService {
		t.Errorf("got %d results, and the reason %q", len(p.Results), Reasons(w)[service])
	}

	rights := identity.GUID{3}
	w.Use = identity.UseJumpCloud
	w.Groups = map[identity.GUID]identity.Group{rights: {GUID: rights, Name: "Rights", DN: "CN=Rights", Security: true, InRoot: true, Members: []identity.GUID{service, person}}}
	w.Links = map[identity.GUID]identity.Link{service: {GUID: service, JumpCloudID: "j1", WasBound: true}, person: {GUID: person, JumpCloudID: "j2", WasBound: true}}
	w.GroupLinks = map[identity.GUID]identity.GroupLink{rights: {GUID: rights, GroupID: "g1", WasBound: true}}
	cloud := func(id, name string) *identity.User {
		return &identity.User{ID: id, Username: name, Mail: "it@corp.example", First: "F", Last: "L"}
	}
	w.Cloud = Cloud{Users: map[string]*identity.User{"j1": cloud("j1", "svc"), "j2": cloud("j2", "ann")},
		Groups:     map[string]identity.Group{"g1": {ID: "g1", Name: "Rights"}},
		BoundUsers: map[string]bool{"j1": true, "j2": true}, BoundGroups: map[string]bool{"g1": true}, Complete: true}
	p, err := Sync(w)
	if err != nil {
		t.Fatal(err)
	}
	if actions := p.Actions(); len(actions) != 1 || actions[0].Kind != ADRemoveMember || actions[0].Member != person {
		t.Errorf("got %+v, want the person taken out of the group alone", actions)
	}
}
