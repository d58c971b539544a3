package plan

import (
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

func TestI1_Reasons(t *testing.T) {
	user := func(n byte, name string, change func(*identity.User)) *identity.User {
		u := &identity.User{Side: identity.AD, GUID: identity.GUID{n}, Username: name, Mail: name + "@corp.example.test", First: "A", Last: "B", InRoot: true}
		if change != nil {
			change(u)
		}
		return u
	}
	w := World{Settings: Settings{Domain: "corp.example.test", ADID: "ad", Use: identity.UseAD}, Complete: true, Tree: Tree{
		ScopeGroup: identity.GUID{100},
		Users: map[identity.GUID]*identity.User{
			{1}: user(1, "alice", nil), {2}: user(2, "bob", nil), {3}: user(3, "carol", func(u *identity.User) { u.Last = "" }),
			{4}: user(4, "dave", nil), {5}: user(5, "erin", func(u *identity.User) { u.Mail = "bob2@corp.example.test" }),
			{6}: user(6, "frank", func(u *identity.User) { u.Mail = "BOB2@corp.example.test" }),
		},
		Groups: map[identity.GUID]identity.Group{
			{100}: {GUID: identity.GUID{100}, Name: "scope", Security: true, InRoot: true, Members: []identity.GUID{{1}, {2}, {3}, {5}, {6}, {101}}},
			{101}: {GUID: identity.GUID{101}, Name: "list", InRoot: true, Members: []identity.GUID{{100}}},
			{102}: {GUID: identity.GUID{102}, Name: "other", Security: true, InRoot: true},
		}},
		Links: map[identity.GUID]identity.Link{{1}: {GUID: identity.GUID{1}, JumpCloudID: "u1"}},
	}
	got := Reasons(w)
	for guid, want := range map[identity.GUID]string{{2}: "", {3}: "first and a last name", {4}: "not a member of the scope group",
		{5}: "is that of", {6}: "is that of", {100}: "", {101}: "a distribution group", {102}: "not the scope group"} {
		reason, ok := got[guid]
		if !ok || want == "" && reason != "" || !strings.Contains(reason, want) {
			t.Errorf("%v: got %q, %t, want %q", guid[0], reason, ok, want)
		}
	}
	if reason, ok := got[identity.GUID{1}]; ok {
		t.Errorf("a linked account has the reason %q", reason)
	}
}
