package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/dirgate/dirgate/testenv/samba"
	"github.com/go-ldap/ldap/v3"
)

// syncWorld is a real domain that sync writes to.
type syncWorld struct {
	*world
	admin *ldap.Conn // of an administrator of the domain
	adID  string     // JumpCloud's id of the domain's AD object
	// ungranted is the access list of OU=People without the rights of sync.
	ungranted string
}

// newSyncWorld registers a domain for sync, with Directory Insights or, if an
// organisation does not have them, without. No daemon runs.
func newSyncWorld(t *testing.T, use string, insights bool) *syncWorld {
	t.Helper()
	w := &syncWorld{world: newWorld(t)}
	w.admin = w.dc.Conn(t)
	w.ungranted = w.accessList(t, "")
	w.dc.AddServiceAccount(t, "jcsync", []byte(syncPassword), samba.Sync)
	w.cloud.SetInsights(insights)
	w.configure("insights_url", w.cloud.InsightsURL())
	w.must("domain", "register", w.name, "--root-dn", w.dc.PeopleDN(), "--use-case", use, "--jumpcloud-ldap-url", w.cloud.LDAPURL(),
		"--sync-account", "jcsync@"+w.name, "--sync-password-file", w.secretFile("sync", []byte(syncPassword)), "--yes")
	var d struct {
		JumpCloud struct {
			ADID string `json:"adID"`
		} `json:"jumpcloud"`
	}
	if err := json.Unmarshal([]byte(w.must("--output", "json", "domain", "show", w.name)), &d); err != nil {
		t.Fatal(err)
	}
	w.adID = d.JumpCloud.ADID
	return w
}

// letPass takes a guard away, for a test that is about something else.
func (w *syncWorld) letPass(guards ...string) {
	w.t.Helper()
	text, err := os.ReadFile(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, guard := range guards {
		section := regexp.MustCompile(`(?s)(\n  ` + guard + `:\n.*?)#count: \d+(.*?)#percent: \d+`)
		if !section.Match(text) {
			w.t.Fatalf("the configuration has no guard %s", guard)
		}
		text = section.ReplaceAll(text, []byte("${1}count: 1000${2}percent: 100"))
	}
	if err := os.WriteFile(w.config, text, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// running starts the daemon, and waits for its first pass.
func (w *syncWorld) running() {
	w.t.Helper()
	w.serve()
	eventually(w.t, patience, "the daemon's first pass", func() bool {
		return !slices.ContainsFunc(w.directions(), func(s replicationView) bool { return s.LastPass == "" })
	})
}

// directions are the lines of `replicate status`.
func (w *syncWorld) directions() (all []replicationView) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.must("--output", "json", "replicate", "status")), &all); err != nil || len(all) == 0 {
		w.t.Fatalf("replicate status: %v, %+v", err, all)
	}
	return all
}

// inAD is the account or group with a sAMAccountName; nil: there is none. It is
// safe for concurrent use, as what follows.
func (w *syncWorld) inAD(name string) *ldap.Entry {
	found := w.allInAD("(sAMAccountName=" + ldap.EscapeFilter(name) + ")")
	if len(found) == 0 {
		return nil
	}
	return found[0]
}

func (w *syncWorld) allInAD(filter string) []*ldap.Entry {
	res, err := w.admin.SearchWithPaging(ldap.NewSearchRequest(w.base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter,
		[]string{"cn", "givenName", "sn", "mail", "userAccountControl", "userPrincipalName", "member", "uSNChanged", "title"}, nil), 500)
	if err != nil {
		w.t.Errorf("search %s: %v", filter, err)
		return nil
	}
	return res.Entries
}

// attr is an attribute of an account or group; empty without one.
func (w *syncWorld) attr(name, attribute string) string {
	if e := w.inAD(name); e != nil {
		return e.GetAttributeValue(attribute)
	}
	return ""
}

// enabled: there is an account of that name, and it is not disabled.
func (w *syncWorld) enabled(name string) bool { return w.accountControl(name)&2 == 0 }

// disabled: there is an account of that name, and it is disabled.
func (w *syncWorld) disabled(name string) bool {
	control := w.accountControl(name)
	return control >= 0 && control&2 != 0
}

// accountControl is userAccountControl; without an account a number with every
// bit.
func (w *syncWorld) accountControl(name string) int {
	control, err := strconv.Atoi(w.attr(name, "userAccountControl"))
	if err != nil {
		return -1
	}
	return control
}

func (w *syncWorld) isMember(group, name string) bool {
	g, u := w.inAD(group), w.inAD(name)
	return g != nil && u != nil && slices.Contains(g.GetAttributeValues("member"), u.DN)
}

// enrol makes a JumpCloud user and binds it to the AD object: itself, or by
// a group that is bound.
func (w *syncWorld) enrol(name, last, group string) (id string, err error) {
	id, err = w.cloud.AddUser(jcsim.User{Username: name, Email: name + "@" + w.name, FirstName: "First", LastName: last})
	switch {
	case err != nil:
		return "", err
	case group != "":
		return id, w.cloud.SetMember(group, id, true)
	}
	return id, w.cloud.BindUser(w.adID, id, true)
}

// boundGroup makes a JumpCloud group that is bound to the AD object.
func (w *syncWorld) boundGroup(name string) string {
	w.t.Helper()
	id, err := w.cloud.AddGroup(jcsim.Group{Name: name})
	if err == nil {
		err = w.cloud.BindGroup(w.adID, id, true)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// edit is an administrator's edit of a user in JumpCloud.
func (w *syncWorld) edit(id, field string, value any) error {
	return w.cloud.EditUser(id, map[string]any{field: value})
}

// stopwatch takes the times from a change to its effect.
type stopwatch struct {
	t    *testing.T
	mu   sync.Mutex
	took map[string][]time.Duration // guarded by mu
}

// measure makes a change and waits for what it brings about. It reports false
// when the test has failed; others may call it at the same time.
func (s *stopwatch) measure(kind string, change func() error, done func() bool) bool {
	begun := time.Now()
	if err := change(); err != nil {
		s.t.Errorf("%s: %v", kind, err)
		return false
	}
	for !done() {
		if time.Since(begun) > 2*patience {
			s.t.Errorf("not within %s: %s", 2*patience, kind)
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took[kind] = append(s.took[kind], time.Since(begun))
	return true
}

// report says how long it took.
func (s *stopwatch) report(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []time.Duration
	for kind, each := range s.took {
		slices.Sort(each)
		all = append(all, each...)
		s.t.Logf("%-26s %s", kind, rounded(each))
	}
	slices.Sort(all)
	if len(all) > 0 {
		s.t.Logf("%s, %d changes: p50 %s, p90 %s, p99 %s, longest %s", what, len(all), round(all[len(all)/2]), round(all[len(all)*9/10]), round(all[len(all)*99/100]), round(all[len(all)-1]))
	}
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

func rounded(all []time.Duration) string {
	var text []string
	for _, d := range all {
		text = append(text, round(d).String())
	}
	return strings.Join(text, " ")
}

// career is what happens to one person, and what AD has to show for it.
func (w *syncWorld) career(s *stopwatch, n int, crew, team string) {
	name, last := fmt.Sprint("cloudy", n), fmt.Sprintf("O'Neil, Jr. + #%d", n)
	group, how := "", "bound itself"
	if n%2 == 1 {
		group, how = crew, "bound by a group"
	}
	var id string
	is := func(attribute, value string) func() bool {
		return func() bool { return w.attr(name, attribute) == value }
	}
	_ = s.measure("created, "+how, func() (err error) { id, err = w.enrol(name, last, group); return err },
		func() bool {
			return w.enabled(name) && is("sn", last)() && strings.HasSuffix(w.inAD(name).DN, ","+w.dc.PeopleDN())
		}) &&
		s.measure("first name", func() error { return w.edit(id, "firstname", "Zoë") }, is("givenName", "Zoë")) &&
		s.measure("last name", func() error { return w.edit(id, "lastname", "Married") }, is("sn", "Married")) &&
		s.measure("suspended", func() error { return w.edit(id, "state", "SUSPENDED") }, func() bool { return w.disabled(name) }) &&
		s.measure("activated again", func() error { return w.edit(id, "state", "ACTIVATED") }, func() bool { return w.enabled(name) }) &&
		s.measure("into a group", func() error { return w.cloud.SetMember(team, id, true) }, func() bool { return w.isMember("Team", name) }) &&
		s.measure("out of a group", func() error { return w.cloud.SetMember(team, id, false) }, func() bool { return !w.isMember("Team", name) }) &&
		s.measure("deleted", func() error { return w.cloud.DeleteUser(id) }, func() bool { return w.disabled(name) })
	if e := w.inAD(name); e == nil || e.GetAttributeValue("userPrincipalName") != name+"@"+w.name {
		w.t.Errorf("the account of %s, after all: %+v", name, e)
	}
}

// groupStory is what happens to a group meanwhile.
func (w *syncWorld) groupStory(s *stopwatch) {
	var id string
	if !s.measure("group created", func() (err error) {
		if id, err = w.cloud.AddGroup(jcsim.Group{Name: "Project 0"}); err == nil {
			err = w.cloud.BindGroup(w.adID, id, true)
		}
		return err
	}, func() bool { return w.inAD("Project 0") != nil }) {
		return
	}
	for n := range 4 {
		to := fmt.Sprint("Project ", n+1)
		if !s.measure("group renamed", func() error { return w.cloud.EditGroup(id, map[string]any{"name": to}) }, func() bool { return w.attr(to, "cn") == to }) {
			return
		}
	}
}

// lives lets so many people come, work and go in JumpCloud, and reports how
// long each step took to arrive in AD.
func (w *syncWorld) lives(t *testing.T, people int, what string) {
	t.Helper()
	s := &stopwatch{t: t, took: make(map[string][]time.Duration)}
	crew, team := w.boundGroup("Crew"), w.boundGroup("Team")
	var all sync.WaitGroup
	for n := range people {
		all.Go(func() { w.career(s, n, crew, team) })
	}
	all.Go(func() { w.groupStory(s) })
	all.Wait()
	s.report(what)
}

// accessList is the access list of OU=People; with a value it is set.
func (w *syncWorld) accessList(t *testing.T, set string) string {
	t.Helper()
	const attribute, dacl = "nTSecurityDescriptor", 4 // DACL_SECURITY_INFORMATION (MS-ADTS 3.1.1.3.4.1.11)
	flags := []ldap.Control{&ldap.ControlMicrosoftSDFlags{Criticality: true, ControlValue: dacl}}
	if set != "" {
		m := ldap.NewModifyRequest(w.dc.PeopleDN(), flags)
		m.Replace(attribute, []string{set})
		if err := w.admin.Modify(m); err != nil {
			t.Fatalf("set the access list of %s: %v", w.dc.PeopleDN(), err)
		}
	}
	res, err := w.admin.Search(ldap.NewSearchRequest(w.dc.PeopleDN(), ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{attribute}, flags))
	if err != nil || len(res.Entries) != 1 {
		t.Fatalf("read the access list of %s: %v", w.dc.PeopleDN(), err)
	}
	return res.Entries[0].GetAttributeValue(attribute)
}
