package ad

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// TestI2_SnapshotIsWhole: every attribute, members of every kind, the scope.
func TestI2_SnapshotIsWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		w := d.world(t)
		full := w.addUser("full", w.people)
		attrs := map[string]string{"displayName": "d", "description": "e", "title": "f", "department": "g", "company": "h", "physicalDeliveryOfficeName": "i",
			"employeeType": "j", "telephoneNumber": "k", "mobile": "l", "homePhone": "m", "facsimileTelephoneNumber": "n", "streetAddress": "o", "l": "p",
			"st": "q", "postalCode": "r", "co": "s", "postOfficeBox": "u", "manager": w.dn("u1"), "accountExpires": "133000000000000000", "adminCount": "1"}
		for name, value := range attrs {
			w.replace(full, name, value)
		}
		s, err := w.newReader(MethodAuto).Snapshot(t.Context())
		w.must("snapshot", err)
		if s.Method != MethodDirSync || len(s.Limits) > 0 {
			t.Errorf("method %q, limits %q, want %q and none", s.Method, s.Limits, MethodDirSync)
		}
		users := make(map[string]identity.User)
		for _, u := range s.Users {
			users[u.Username] = u
		}
		want := identity.User{
			Side: identity.AD, GUID: w.guid(full), DN: full, Username: "full", UPN: "full.upn@corp.example.test", Mail: "full@example.test", First: "full", Last: "Test",
			Disabled: true, Privileged: true, InRoot: true, DC: "dc1", MustChange: true, Manager: identity.Ref{GUID: w.guid(w.dn("u1"))},
			AccountExpires: identity.FileTime(133000000000000000),
			Profile: identity.Profile{DisplayName: "d", Description: "e", JobTitle: "f", Department: "g", Company: "h", Location: "i", EmployeeType: "j",
				WorkPhone: "k", MobilePhone: "l", HomePhone: "m", WorkFax: "n",
				Address: identity.Address{Street: "o", Locality: "p", Region: "q", PostalCode: "r", Country: "s", POBox: "u"}},
		}
		if got := users["full"]; got != want {
			t.Errorf("got\n%+v, want\n%+v", got, want)
		}
		if u, ok := users["away"]; !ok || u.InRoot {
			t.Errorf("the member from outside the root container: got %v, %+v", ok, u)
		}
		if _, ok := users["svc-lowly"]; ok {
			t.Error("a user from outside the root container who is no member came")
		}
		if s.ScopeGroup != w.guid(w.dn("scope")) || s.AdminsGroup != w.guid(w.dn(adminsGroup)) {
			t.Errorf("scope group %s, admins %s", s.ScopeGroup, s.AdminsGroup)
		}
		i := slices.IndexFunc(s.Groups, func(g identity.Group) bool { return g.Name == "far" })
		if i < 0 || s.Groups[i].InRoot || !s.Groups[i].Security || len(s.Groups[i].Members) != 2 {
			t.Errorf("the group outside the root container: %+v", s.Groups[max(i, 0)])
		}
	})
}

// TestI2_Changes: what each operation is reported as, by each method, and that
// it ends in what a new snapshot says.
func TestI2_Changes(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		w := d.world(t)
		w.admin.SetTimeout(time.Minute)
		w.must("add OU", w.admin.Add(&ldap.AddRequest{DN: "OU=Team," + w.people, Attributes: []ldap.Attribute{{Type: "objectClass", Vals: []string{"organizationalUnit"}}}}))
		w.addUser("t0", "OU=Team,"+w.people)
		w.addUser("leaver", w.people)
		leaver := w.guid(w.dn("leaver"))
		w.modify(w.dn("scope"), ldap.AddAttribute, "member", w.dn("leaver"))
		mirrors := make(map[Method]*mirror)
		for _, m := range methods() {
			mirrors[m] = w.mirror(w.newReader(m))
		}
		lowly := w.mirror(w.newReader(MethodAuto, func(c *ReaderConfig) { c.Account = d.lowly }))
		mirrors["without rights"] = lowly
		var fresh identity.GUID
		steps := []struct {
			name string
			do   func()
			want func(c Change) bool // one of the changes is such
		}{
			{"nothing", func() {}, nil},
			{"create", func() { fresh = w.guid(w.addUser("fresh", w.people)) }, func(c Change) bool { return c.GUID == fresh && c.User != nil && c.User.InRoot }},
			{"rename", func() { w.move(w.dn("fresh"), "CN=fresher", "") }, func(c Change) bool { return c.GUID == fresh && c.User.DN == w.dn("fresher") }},
			{"an attribute", func() { w.replace(w.dn("fresher"), "title", "Boss") }, func(c Change) bool { return c.GUID == fresh && c.User.Profile.JobTitle == "Boss" }},
			{"an attribute that goes", func() { w.replace(w.dn("fresher"), "title") }, func(c Change) bool { return c.GUID == fresh && c.User.Profile.JobTitle == "" }},
			{"account names", func() {
				w.replace(w.dn("u4"), "sAMAccountName", "u4-tmp")
				w.replace(w.dn("u5"), "sAMAccountName", "u4")
				w.replace(w.dn("u4"), "sAMAccountName", "u5")
			}, func(c Change) bool { return c.User != nil && c.User.DN == w.dn("u4") && c.User.Username == "u5" }},
			{"move out of the root", func() { w.move(w.dn("fresher"), "CN=fresher", "CN=Users,"+w.base) }, func(c Change) bool { return c.GUID == fresh && c.User != nil && !c.User.InRoot }},
			{"move back", func() { w.move("CN=fresher,CN=Users,"+w.base, "CN=fresher", w.people) }, func(c Change) bool { return c.GUID == fresh && c.User != nil && c.User.InRoot }},
			{"an OU moves out of the root", func() { w.move("OU=Team,"+w.people, "OU=Team", w.base) }, func(c Change) bool { return c.User != nil && c.User.Username == "t0" && !c.User.InRoot }},
			{"an OU moves back", func() { w.move("OU=Team,"+w.base, "OU=Team", w.people) }, func(c Change) bool { return c.User != nil && c.User.Username == "t0" && c.User.InRoot }},
			{"join", func() { w.modify(w.dn("deep"), ldap.AddAttribute, "member", w.dn("fresher")) }, func(c Change) bool {
				return c.Group != nil && c.Group.Name == "deep" && slices.Contains(c.Group.Members, fresh)
			}},
			{"the primary group", func() {
				res, err := w.admin.Search(ldap.NewSearchRequest(w.dn("deep"), ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"objectSid"}, nil))
				w.must("read", err)
				w.replace(w.dn("fresher"), "primaryGroupID", strconv.FormatUint(uint64(ridOf(res.Entries[0])), 10))
			}, func(c Change) bool {
				return c.Group != nil && c.Group.Name == "deep" && slices.Contains(c.Group.Members, fresh)
			}},
			{"the primary group again", func() { w.replace(w.dn("fresher"), "primaryGroupID", "513") }, func(c Change) bool {
				return c.Group != nil && c.Group.Name == "deep" && slices.Contains(c.Group.Members, fresh)
			}},
			{"leave", func() { w.modify(w.dn("deep"), ldap.DeleteAttribute, "member", w.dn("fresher")) }, func(c Change) bool {
				return c.Group != nil && c.Group.Name == "deep" && !slices.Contains(c.Group.Members, fresh)
			}},
			{"enable and expire", func() { w.replace(w.dn("u3"), "accountExpires", "133000000000000000") }, func(c Change) bool { return c.User != nil && !c.User.AccountExpires.IsZero() }},
			{"delete", func() { w.delete(w.dn("leaver")) }, func(c Change) bool { return c.GUID == leaver && c.Deleted }},
			{"undelete", func() { w.undelete(leaver, w.dn("leaver")) }, func(c Change) bool { return c.GUID == leaver && c.User != nil }},
			{"delete a group", func() { w.delete(w.dn("nested")) }, func(c Change) bool { return c.Deleted }},
		}
		for _, step := range steps {
			step.do()
			want := w.mirror(w.newReader(MethodUSN))
			for method, m := range mirrors {
				changes, err := m.update(t.Context())
				if err != nil {
					t.Fatalf("%s, %s: %v", step.name, method, err)
				}
				// A logon moves uSNChanged, too.
				byUSN := method == MethodUSN || m == lowly
				if step.want == nil && len(changes) > 0 && !byUSN {
					t.Errorf("%s, %s: got %+v, want no changes", step.name, method, changes)
				}
				if step.want != nil && !slices.ContainsFunc(changes, step.want) {
					t.Errorf("%s, %s: no such change among %s", step.name, method, describe(changes))
				}
				compare(t, step.name+", "+string(method), m, want)
			}
			if t.Failed() {
				t.FailNow()
			}
		}
	})
}

func describe(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "\n %s deleted=%v user=%+v group=%+v", c.GUID, c.Deleted, c.User, c.Group)
	}
	return b.String()
}

// TestI2_RightsMissing: without rights changes are found by USN, and it is said
// what is missing.
func TestI2_RightsMissing(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		w := d.world(t)
		as := func(c *ReaderConfig) { c.Account = d.lowly }
		s, err := w.newReader(MethodAuto, as).Snapshot(t.Context())
		w.must("snapshot", err)
		limits := strings.Join(s.Limits, "\n")
		if s.Method != MethodUSN || !strings.Contains(limits, "Replicating Directory Changes") || !strings.Contains(limits, "CN=Deleted Objects,"+w.base) {
			t.Errorf("method %q, limits:\n%s", s.Method, limits)
		}
		if _, err := w.newReader(MethodDirSync, as).Snapshot(t.Context()); !errors.Is(err, ErrNoReplication) || !strings.Contains(err.Error(), w.base) {
			t.Errorf("DirSync without the right: %v", err)
		}
		if s, err := w.newReader(MethodDirSyncVisible, as).Snapshot(t.Context()); err != nil || s.Method != MethodDirSyncVisible {
			t.Errorf("DirSync of what may be read: %v, %q", err, s.Method)
		}
	})
}
