package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

// people are the usernames that JumpCloud has.
func (c cloud) people() (names []string) {
	for _, u := range c.Users() {
		names = append(names, u.Username)
	}
	slices.Sort(names)
	return names
}

// TestImportByCommand: an administrator looks at the plan, imports a real
// domain, and decides about what a guard holds; without a daemon first, and
// then through one.
func TestImportByCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	scope := []string{w.dn}
	want := []string{"alice"}
	for n := range 8 {
		name := fmt.Sprintf("user%d", n)
		scope = append(scope, w.addUser(name, []byte(before)))
		want = append(want, name)
	}
	noSurname := w.dc.AddUser(t, "mononym", []byte(before), ldap.Attribute{Type: "sn"})
	// Two groups that are members of one another, and 1,600 users out of scope,
	// which no page holds.
	w.dc.AddUsers(t, "mass", 1600)
	inner := w.dc.AddGroup(t, "Inner", noSurname, scope[1])
	group := w.dc.AddGroup(t, "Scope", append(scope[2:], w.dn, inner)...)
	w.dc.Replace(t, inner, "member", noSurname, scope[1], group)
	w.must("domain", "register", w.name, "--scope-group", group)

	var planned []struct {
		Name, Skip string
		Actions    []struct{ Kind string }
	}
	if err := json.Unmarshal([]byte(w.must("--output", "json", "replicate", "plan")), &planned); err != nil {
		t.Fatal(err)
	}
	skipped := ""
	for _, p := range planned {
		if p.Name == "mononym" {
			skipped = p.Skip
		}
	}
	if !strings.Contains(skipped, "last name") {
		t.Errorf("the plan says of who has no surname: %q", skipped)
	}
	if got := w.cloud.people(); !slices.Equal(got, []string{"alice"}) {
		t.Errorf("after the plan JumpCloud has %v", got)
	}
	w.must("replicate", "run", "--once")
	if got := w.cloud.people(); !slices.Equal(got, want) {
		t.Errorf("JumpCloud has %v, want %v", got, want)
	}
	w.serve()
	w.cloud.ForgetHistory()
	out := w.must("replicate", "run", "--once")
	wrote := slices.DeleteFunc(w.cloud.Writes(), func(w jcsim.Write) bool { // the daemon asks for the delegation, beside the import
		return w.Operation == "PATCH /api/v2/activedirectories/{id}"
	})
	if !strings.HasPrefix(out, "0 changes recorded") || len(wrote) > 0 {
		t.Errorf("the second run: %s, and it wrote %v", out, wrote)
	}

	w.dc.Replace(t, scope[3], "sAMAccountName", "renamed")
	w.dc.Disable(t, scope[4])
	if err := w.dc.Conn(t).Del(ldap.NewDelRequest(scope[5], nil)); err != nil {
		t.Fatal(err)
	}
	w.must("replicate", "run", "--once")
	state := func(name string) jcsim.User {
		for _, u := range w.cloud.Users() {
			if u.Username == name {
				return u
			}
		}
		return jcsim.User{}
	}
	if state("renamed").ID == "" || state("user2").ID != "" || state("user3").State != "SUSPENDED" || state("user4").ID != "" {
		t.Errorf("after a rename, a disabling and a deletion JumpCloud has %v, user3 is %q", w.cloud.people(), state("user3").State)
	}

	left := w.cloud.people()
	w.dc.Replace(t, group, "member")
	w.must("replicate", "run", "--once")
	if got := w.cloud.people(); !slices.Equal(got, left) {
		t.Errorf("with the scope group emptied JumpCloud has %v, want %v", got, left)
	}
	if out := w.must("guard", "list"); !strings.Contains(out, "removals") || !strings.Contains(out, "alice") {
		t.Errorf("guard list: %s", out)
	}
	if out, err := w.cli("guard", "approve", "--all"); err == nil || !strings.Contains(out, "not confirmed") {
		t.Errorf("approved without a question: %s", out)
	}
	w.must("guard", "approve", "--all", "--yes")
	w.must("replicate", "run", "--once")
	if got := w.cloud.people(); len(got) != 0 {
		t.Errorf("after the approval JumpCloud has %v", got)
	}
}
