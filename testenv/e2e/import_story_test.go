package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

// storyUsers is how many users the domain of TestImportStory has.
var storyUsers = flag.Int("story-users", 600, "run TestImportStory with `N` users, at least 600")

// company is a domain of many users, and what has to come of it, worked out
// from how it was made alone.
type company struct {
	*world
	ldif    strings.Builder
	users   int
	people  []string            // who has to be at JumpCloud, alice among them
	skipped map[string]string   // everybody else, and words of the reason
	groups  map[string][]string // who has to be in which group there
}

// Who is in the domain.
const (
	reasonSurname    = "JumpCloud needs a first and a last name"
	reasonPrivileged = "privileged account (adminCount=1)"
	reasonDisabled   = "disabled in AD"
	reasonTwin       = "change one of them"
	reasonOutsider   = "not a member of the scope group"
	reasonComputer   = "not a person's account"
)

func (c *company) cn(name string) string { return "CN=" + name + "," + c.dc.PeopleDN() }

// hire makes users of one kind; those with a reason have to be skipped.
func (c *company) hire(prefix string, n int, reason, extra string) (dns, names []string) {
	for i := range n {
		name := fmt.Sprintf("%s%04d", prefix, i)
		mail, surname, control := name, "sn: Test\n", "544"
		switch reason {
		case reasonSurname:
			surname = ""
		case reasonDisabled:
			control = "514"
		case reasonTwin:
			mail = "twins"
		}
		fmt.Fprintf(&c.ldif, "dn: %s\nobjectClass: user\nsAMAccountName: %s\nuserPrincipalName: %s@%s\nmail: %s@%s\ngivenName: %s\n%suserAccountControl: %s\n%s\n",
			c.cn(name), name, name, c.name, mail, c.name, name, surname, control, extra)
		dns = append(dns, c.cn(name))
		c.users++
		if reason != "" {
			c.skipped[name] = reason
			continue
		}
		c.people, names = append(c.people, name), append(names, name)
	}
	return dns, names
}

// group makes a group; nested groups that are not there yet come later, by
// Replace.
func (c *company) group(name string, imported []string, members ...string) string {
	fmt.Fprintf(&c.ldif, "dn: %s\nobjectClass: group\nsAMAccountName: %s\n", c.cn(name), name)
	for _, m := range members {
		fmt.Fprintf(&c.ldif, "member: %s\n", m)
	}
	c.ldif.WriteString("\n")
	c.groups[name] = slices.Clone(imported)
	return c.cn(name)
}

// found makes the domain. Its scope group has everybody in it through a large
// group (1,600 members of 2,000 users), two groups that are members of one
// another, and a chain.
func found(t *testing.T) *company {
	t.Helper()
	c := &company{world: newWorld(t), people: []string{"alice"}, skipped: make(map[string]string), groups: make(map[string][]string)}
	staff, names := c.hire("staff", *storyUsers-460, "", "")
	for _, kind := range []struct {
		prefix string
		n      int
		reason string
		extra  string
	}{{"admin", 10, reasonPrivileged, "adminCount: 1\n"}, {"mononym", 20, reasonSurname, ""}, {"absent", 20, reasonDisabled, ""}, {"twin", 2, reasonTwin, ""}} {
		dns, _ := c.hire(kind.prefix, kind.n, kind.reason, kind.extra)
		staff = append(staff, dns...)
	}
	for i := range 8 {
		name := fmt.Sprintf("host%d", i)
		fmt.Fprintf(&c.ldif, "dn: %s\nobjectClass: computer\nsAMAccountName: %s$\nuserAccountControl: 4128\n\n", c.cn(name), name)
		staff = append(staff, c.cn(name))
		c.skipped[name+"$"] = reasonComputer
	}
	everyone := c.group("Everyone", names, staff...)
	circle, inCircle := c.hire("circle", *storyUsers*15/100, "", "")
	ring2 := c.group("Ring2", inCircle, circle...)
	ring1 := c.group("Ring1", inCircle, ring2)
	deep, inDeep := c.hire("deep", 59, "", "")
	deep3 := c.group("Deep3", inDeep, deep...)
	deep2 := c.group("Deep2", inDeep, deep3)
	deep1 := c.group("Deep1", inDeep, deep2)
	c.hire("outsider", *storyUsers-1-c.users, reasonOutsider, "") // alice is one of them
	scope := c.group("Scope", c.people, c.dn, everyone, ring1, deep1)
	c.dc.AddLDIF(t, c.ldif.String())
	c.dc.Replace(t, ring2, "member", append(circle, ring1)...)
	slices.Sort(c.people)
	c.configure("requests_per_second", "1000") // the simulator has no limit of its own
	c.must("domain", "register", c.name, "--root-dn", c.dc.PeopleDN(), "--scope-group", scope)
	return c
}

// TestImportStory: an administrator of many users looks at the plan, lets it be
// done, and goes on working in AD while the daemon runs. `make import-story`
// has 2,000 users, and says how long things take.
func TestImportStory(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	c := found(t)
	t.Logf("the domain is made: %s", time.Since(begun).Round(time.Millisecond))
	c.planned(t)
	c.imported(t)
	c.serve()
	after(t, "the daemon's first pass", func() bool { return c.replication().LastPass != "" })
	c.followed(t)
	c.explained(t)
	c.heldBack(t)
	c.restored(t)
	c.emptied(t)
	t.Logf("the whole story: %s", time.Since(begun).Round(time.Millisecond))
}

// planned compares the plan with what has to come.
func (c *company) planned(t *testing.T) {
	t.Helper()
	begun := time.Now()
	var planned []struct {
		Name, Skip string
		Actions    []struct{ Kind string }
	}
	if err := json.Unmarshal([]byte(c.must("--output", "json", "replicate", "plan")), &planned); err != nil {
		t.Fatal(err)
	}
	t.Logf("replicate plan: %s", time.Since(begun).Round(time.Millisecond))
	kinds, made, skipped := make(map[string]int), []string(nil), make(map[string]string)
	for _, p := range planned {
		if p.Skip != "" {
			skipped[p.Name] = p.Skip
		}
		for _, a := range p.Actions {
			if kinds[a.Kind]++; a.Kind == "create-user" || a.Kind == "link" {
				made = append(made, p.Name)
			}
		}
	}
	if slices.Sort(made); !slices.Equal(made, c.people) {
		t.Errorf("%d users would be made or taken over, want %d", len(made), len(c.people))
	}
	for name, reason := range c.skipped {
		if !strings.Contains(skipped[name], reason) {
			t.Errorf("%s is skipped because %q, want %q", name, skipped[name], reason)
		}
	}
	for name, reason := range skipped {
		if _, ok := c.skipped[name]; !ok {
			t.Errorf("%s is skipped: %s", name, reason)
		}
	}
	members := 0
	for _, in := range c.groups {
		members += len(in)
	}
	for kind, want := range map[string]int{"create-user": len(c.people) - 1, "link": 1, "bind-user": len(c.people), "create-group": len(c.groups),
		"bind-group": len(c.groups), "add-member": members, "delete-user": 0, "suspend": 0, "remove-member": 0} {
		if kinds[kind] != want {
			t.Errorf("the plan has %d of %s, want %d", kinds[kind], kind, want)
		}
	}
	if writes := c.cloud.Writes(); len(c.cloud.people()) != 1 || slices.ContainsFunc(writes, func(w jcsim.Write) bool { return strings.Contains(w.Path, "systemusers") }) {
		t.Errorf("the plan was carried out: %v", writes)
	}
}

// imported lets it be done, twice.
func (c *company) imported(t *testing.T) {
	t.Helper()
	begun := time.Now()
	shown := c.onTerminal("replicate", "run", "--once")
	took := time.Since(begun)
	t.Logf("replicate run of %d users: %s, %d requests that write", len(c.people), took.Round(time.Millisecond), len(c.cloud.Writes()))
	for _, want := range []string{"[#", " % ", " users and groups", " per second, about ", "0 dead letters"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the terminal did not show %q: it ends %q", want, shown[max(0, len(shown)-300):])
		}
	}
	c.wantPeople(t, "after the import", c.people)
	for name, want := range c.groups {
		if got := c.members(name); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("group %s has %d members, want %d", name, len(got), len(want))
		}
	}
	c.cloud.ForgetHistory()
	if out := c.must("replicate", "run", "--once"); !strings.HasPrefix(out, "0 changes recorded, 0 applied; open: 0 pending, 0 held, 0 dead") {
		t.Errorf("the second run: %s", out)
	}
	c.must("replicate", "resync")
	if writes := c.cloud.Writes(); len(writes) > 0 {
		t.Errorf("with nothing changed %d requests wrote, the first %v", len(writes), writes[0])
	}
}

func (c *company) wantPeople(t *testing.T, when string, want []string) {
	t.Helper()
	got := c.cloud.people()
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s JumpCloud has %s", when, name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s JumpCloud lacks %s", when, name)
		}
	}
}

// members are the usernames in a group at JumpCloud.
func (c *company) members(name string) (names []string) {
	byID := make(map[string]string)
	for _, u := range c.cloud.Users() {
		byID[u.ID] = u.Username
	}
	for _, g := range c.cloud.Groups() {
		if g.Name == name {
			for _, id := range c.cloud.Members(g.ID) {
				names = append(names, byID[id])
			}
		}
	}
	slices.Sort(names)
	return names
}

// rename writes down what somebody is called from now on.
func (c *company) rename(from, to string) {
	c.people[slices.Index(c.people, from)] = to
	slices.Sort(c.people)
}

// followed makes every kind of change some times, and says how long each took
// to arrive. The import account may not read deleted objects.
func (c *company) followed(t *testing.T) {
	t.Helper()
	took := make(map[string][]time.Duration)
	measure := func(kind string, change func(), done func() bool) {
		t.Helper()
		change()
		took[kind] = append(took[kind], after(t, kind, done))
	}
	move := func(from, rdn, to string) {
		t.Helper()
		if err := c.dc.Conn(t).ModifyDN(ldap.NewModifyDNRequest(from, rdn, true, to)); err != nil {
			t.Fatal(err)
		}
	}
	outside := "OU=Service," + c.base
	for n := range 4 {
		name := func(kind int) string { return fmt.Sprintf("staff%04d", *storyUsers/50*kind+n) }
		who, to := name(0), fmt.Sprintf("renamed%d", n)
		id := c.cloud.person(who).ID
		measure("renamed", func() { c.dc.Replace(t, c.cn(who), "sAMAccountName", to) }, func() bool { return c.cloud.person(to).ID == id })
		c.rename(who, to)
		gone := name(1)
		measure("moved out of the root", func() { move(c.cn(gone), "CN="+gone, outside) }, func() bool { return c.cloud.person(gone).ID == "" })
		measure("moved into the root", func() { move("CN="+gone+","+outside, "CN="+gone, c.dc.PeopleDN()) }, func() bool { return c.cloud.person(gone).ID != "" })
		ill := name(2)
		measure("disabled", func() { c.dc.Disable(t, c.cn(ill)) }, func() bool { return c.cloud.person(ill).State == "SUSPENDED" })
		measure("enabled again", func() { c.dc.Replace(t, c.cn(ill), "userAccountControl", "544") }, func() bool { return c.cloud.person(ill).State == "ACTIVATED" })
		old := name(3)
		measure("expired", func() { c.dc.ExpireAccount(t, c.cn(old)) }, func() bool { return c.cloud.person(old).PasswordExpired })
		leaver := name(4)
		measure("deleted", func() {
			if err := c.dc.Conn(t).Del(ldap.NewDelRequest(c.cn(leaver), nil)); err != nil {
				t.Fatal(err)
			}
		}, func() bool { return c.cloud.person(leaver).ID == "" })
		c.people = slices.DeleteFunc(c.people, func(name string) bool { return name == leaver })
		a, b := name(5), name(6)
		idA, idB := c.cloud.person(a).ID, c.cloud.person(b).ID
		measure("usernames swapped", func() {
			for _, to := range [][2]string{{a, "swapping"}, {b, a}, {a, b}} {
				c.login(t, to[0], to[1])
			}
		}, func() bool { return c.cloud.person(a).ID == idB && c.cloud.person(b).ID == idA })
		busy := name(7)
		measure("title", func() { c.dc.Replace(t, c.cn(busy), "title", "Chief") }, func() bool { return c.cloud.person(busy).Fields["jobTitle"] == "Chief" })
	}
	var all []time.Duration
	for kind, each := range took {
		slices.Sort(each)
		all = append(all, each...)
		t.Logf("%-22s %s", kind, each)
	}
	slices.Sort(all)
	t.Logf("from a change in AD to JumpCloud, %d changes: p50 %s, p99 %s, longest %s", len(all), all[len(all)/2], all[len(all)*99/100], all[len(all)-1])
	c.wantPeople(t, "after the changes", c.people)
}

// login gives the account of that CN another sAMAccountName, and the
// userPrincipalName that AD would have it clash with otherwise.
func (c *company) login(t *testing.T, cn, name string) {
	t.Helper()
	m := ldap.NewModifyRequest(c.cn(cn), nil)
	m.Replace("sAMAccountName", []string{name})
	m.Replace("userPrincipalName", []string{name + "@" + c.name})
	if err := c.dc.Conn(t).Modify(m); err != nil {
		t.Fatal(err)
	}
}

// explained asks why.
func (c *company) explained(t *testing.T) {
	t.Helper()
	for name, want := range map[string]string{"admin0003": reasonPrivileged, "mononym0004": reasonSurname, "absent0005": reasonDisabled, "twin0001": reasonTwin,
		"outsider0006": reasonOutsider, "renamed0": `username "staff0000" -> "renamed0"`} {
		if out := c.must("user", "why", name); !strings.Contains(out, want) {
			t.Errorf("user why %s says nothing of %q:\n%s", name, want, out)
		}
	}
}

// heldBack: what changes while the import is paused arrives when it goes on.
func (c *company) heldBack(t *testing.T) {
	t.Helper()
	c.must("replicate", "pause")
	c.cloud.ForgetHistory()
	for n := range 5 {
		c.dc.Replace(t, c.cn(fmt.Sprintf("circle%04d", n)), "title", "Paused")
	}
	eventually(t, patience, "the changes are recorded", func() bool { return c.replication().Pending == 5 })
	if writes := c.cloud.Writes(); len(writes) > 0 {
		t.Errorf("paused, and %v was written", writes)
	}
	c.must("replicate", "resume")
	for n := range 5 {
		after(t, "what was paused arrives", func() bool { return c.cloud.person(fmt.Sprintf("circle%04d", n)).Fields["jobTitle"] == "Paused" })
	}
}

// restored: the controller comes back as it was before people were hired.
// Their accounts are gone, and that is more than a guard lets pass; nobody else
// is lost either.
func (c *company) restored(t *testing.T) {
	t.Helper()
	content := c.dc.Save(t)
	dns, late := c.hire("late", 25, "", "")
	for _, name := range late {
		c.dc.AddUser(t, name, []byte(before))
	}
	join := ldap.NewModifyRequest(c.cn("Deep3"), nil)
	join.Add("member", dns)
	if err := c.dc.Conn(t).Modify(join); err != nil {
		t.Fatal(err)
	}
	slices.Sort(c.people)
	after(t, "the new people are imported", func() bool { return len(c.cloud.people()) == len(c.people) })
	c.dc.Restore(t, content)
	eventually(t, patience, "a guard holds what would take people away", func() bool { return strings.Contains(c.must("guard", "list"), "late0024") })
	c.must("replicate", "run", "--once")
	c.wantPeople(t, "after the restore", c.people)
	c.must("guard", "approve", "--all", "--yes")
	c.people = slices.DeleteFunc(c.people, func(name string) bool { return slices.Contains(late, name) })
	after(t, "they are gone when somebody has said so", func() bool { return len(c.cloud.people()) <= len(c.people) })
	c.wantPeople(t, "after the approval", c.people)
}

// emptied: nothing happens to people whose scope group was emptied, until
// somebody says so.
func (c *company) emptied(t *testing.T) {
	t.Helper()
	scope := c.cn("Scope")
	c.cloud.ForgetHistory()
	c.dc.Replace(t, scope, "member")
	eventually(t, patience, "everybody is held", func() bool { return strings.Contains(c.must("guard", "list"), "circle0042") })
	c.must("replicate", "run", "--once")
	c.wantPeople(t, "with the scope group emptied", c.people)
	if writes := c.cloud.Writes(); len(writes) > 0 {
		t.Errorf("with the scope group emptied %d requests wrote, the first %v", len(writes), writes[0])
	}
	var held []struct {
		Seq     uint64
		Account struct{ SAM string }
	}
	if err := json.Unmarshal([]byte(c.must("--output", "json", "guard", "list")), &held); err != nil {
		t.Fatal(err)
	}
	for _, h := range held {
		if h.Account.SAM == "circle0042" {
			c.must("guard", "approve", "--seq", fmt.Sprint(h.Seq), "--yes")
		}
	}
	after(t, "who was approved is removed", func() bool { return c.cloud.person("circle0042").ID == "" })
	c.wantPeople(t, "after one approval", slices.DeleteFunc(slices.Clone(c.people), func(name string) bool { return name == "circle0042" }))
	c.dc.Replace(t, scope, "member", c.dn, c.cn("Everyone"), c.cn("Ring1"), c.cn("Deep1"))
	after(t, "who is back is made again", func() bool { return c.cloud.person("circle0042").ID != "" })
	eventually(t, patience, "nothing is held any more", func() bool { return !strings.Contains(c.must("guard", "list"), "circle0001") })
	c.wantPeople(t, "with the scope group filled again", c.people)
}
