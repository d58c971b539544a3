package e2e

import (
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// TestUserWhy: the daemon imports a real domain, and the command line says of
// each user who is skipped why, and of who was renamed, given a password and
// deleted what happened; one user is compared and given other authorities.
func TestUserWhy(t *testing.T) {
	w := newWorld(t)
	pass := []byte(before)
	w.dc.AddUser(t, "outsider", pass)
	members := []string{
		w.dn,
		w.dc.AddUser(t, "mononym", pass, ldap.Attribute{Type: "sn"}),
		w.dc.AddUser(t, "boss", pass, ldap.Attribute{Type: "adminCount", Vals: []string{"1"}}),
		w.dc.AddUser(t, "absent", pass),
		w.dc.AddUser(t, "twin1", pass, ldap.Attribute{Type: "mail", Vals: []string{"twins@" + w.name}}),
		w.dc.AddUser(t, "twin2", pass, ldap.Attribute{Type: "mail", Vals: []string{"twins@" + w.name}}),
		w.dc.AddUser(t, "leaver", pass),
	}
	w.dc.Disable(t, members[3])
	group := w.dc.AddGroup(t, "Scope", members...)
	w.must("domain", "register", w.name, "--scope-group", group)
	w.serve()
	surname := func(name string) string {
		for _, u := range w.cloud.Users() {
			if u.Username == name {
				return u.LastName
			}
		}
		return ""
	}
	has := func(name string) func() bool { return func() bool { return surname(name) != "" } }
	eventually(t, patience, "leaver is imported", has("leaver"))
	why := func(name string, wants ...string) {
		t.Helper()
		out := w.must("user", "why", name)
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("user why %s says nothing of %q:\n%s", name, want, out)
			}
		}
	}
	for name, reason := range map[string]string{
		"outsider": "not a member of the scope group", "mononym": "JumpCloud needs a first and a last name", "boss": "privileged account (adminCount=1)",
		"absent": "disabled in AD", "twin1": "change one of them",
	} {
		why(name, "skipped: ", reason, ", since ")
	}
	why("alice@"+w.name, "taken over by the import", "link (the same username and mail)")

	w.dc.Replace(t, w.dn, "sAMAccountName", "alice.smith")
	w.dc.Replace(t, w.dn, "sn", "Smith")
	eventually(t, patience, "alice is renamed", has("alice.smith"))
	eventually(t, patience, "and has the other last name", func() bool { return surname("alice.smith") == "Smith" })
	const to = "Another.Pass-2"
	if err := w.change(before, to); err != nil {
		t.Fatal(err)
	}
	w.cloud.wantAccepted(t, soon, "alice.smith", to)
	eventually(t, soon, "the log says so", func() bool {
		return strings.Contains(w.must("user", "why", "alice.smith"), "accepted by Active Directory")
	})
	why("alice", `username "alice" -> "alice.smith"`, `lastname`, "password change", "JumpCloud has it")
	t.Log(w.must("user", "why", "alice"))

	if err := w.dc.Conn(t).Del(ldap.NewDelRequest(members[6], nil)); err != nil {
		t.Fatal(err)
	}
	w.must("replicate", "resync") // who may not read deleted objects sees it within the interval otherwise
	eventually(t, patience, "leaver is removed", func() bool { return !has("leaver")() })
	eventually(t, soon, "leaver is gone", func() bool { return strings.Contains(w.must("user", "why", "leaver"), "gone: ") })
	why("leaver", "delete user (the AD account was deleted)", "create user username \"leaver\"")
	if out := w.must("group", "why", "Scope"); !strings.Contains(out, "add member alice") || !strings.Contains(out, "linked since") {
		t.Errorf("group why: %s", out)
	}
	if out := w.must("user", "resync", "alice.smith"); !strings.Contains(out, "both sides agree") {
		t.Errorf("resync: %s", out)
	}
	if out, err := w.cli("user", "set-delegation", "alice.smith", "ad"); err == nil || !strings.Contains(out, "PENDING at JumpCloud") || !strings.Contains(out, "nothing was done") {
		t.Errorf("delegated where nobody is: %s", out)
	}
	w.must("user", "set-authority", "alice.smith", "--password-authority", "none")
	w.must("replicate", "resync")
	out := w.must("user", "show", "alice.smith")
	t.Log(out)
	for _, want := range []string{"AD's password is the one that JumpCloud was given last", "password checked by"} {
		if !strings.Contains(out, want) {
			t.Errorf("user show: %s", out)
		}
	}
	if m := w.metrics(); !strings.Contains(m, `dirgate_passwords_linked{domain="`+w.name+`"}`) || !strings.Contains(m, "dirgate_passwords_in_sync{") {
		t.Errorf("metrics: %s", m)
	}
}
