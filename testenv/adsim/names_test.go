package adsim

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// TestIndexes: names and links are found as they are now, whatever they were
// before.
func TestIndexes(t *testing.T) {
	d, _, alice := newTestDirectory(t, DefaultPolicy(), 0)
	admin, err := d.Bind(d.AdminDN(), []byte(adminPassword))
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string) string {
		d.mu.Lock()
		defer d.mu.Unlock()
		if e := d.find("sAMAccountName", name); e != nil {
			return e.dn
		}
		return ""
	}
	want := func(when, name, dn string) {
		t.Helper()
		if got := named(name); got != dn {
			t.Errorf("%s: %s is %q, want %q", when, name, got, dn)
		}
	}
	login := func(dn, to string) {
		t.Helper()
		if err := d.Modify(admin, dn, []Change{{ldapwire.ModReplace, "sAMAccountName", []string{to}}}, false); err != nil {
			t.Fatal(err)
		}
	}
	groups := func(dn string) (names []string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		e, refusal := d.resolve(dn)
		if refusal != nil {
			t.Fatal(refusal)
		}
		return d.backLinks(e, "member")
	}
	want("at first", "ALICE", alice)
	saved := d.Save()
	login(alice, "anna")
	want("renamed", "anna", alice)
	want("renamed", "alice", "")
	other, err := d.AddUser(User{Name: "alice2"})
	if err != nil {
		t.Fatal(err)
	}
	login(other, "alice")
	want("the name given to another", "alice", other)
	for n := range 2 {
		group, err := d.AddGroup(fmt.Sprint("group", n), alice)
		if err != nil {
			t.Fatal(err)
		}
		if got := groups(alice); !slices.Contains(got, group) || len(got) != n+1 {
			t.Errorf("the groups of alice are %v", got)
		}
	}
	if err := d.Delete(admin, other); err != nil {
		t.Fatal(err)
	}
	want("deleted", "alice", "")
	d.Restore(saved)
	want("restored", "alice", alice)
	want("restored", "anna", "")
	if got := groups(alice); len(got) > 0 {
		t.Errorf("restored, the groups of alice are %v", got)
	}
}
