package ad

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/go-ldap/ldap/v3"
)

// newWriter writes as an account that has only the rights sync takes.
func (w *world) newWriter(change ...func(*WriterConfig)) *Writer {
	w.t.Helper()
	cfg := WriterConfig{Config: Config{DCs: w.dial, Account: w.syncer, Password: w.password, RootDN: w.people}}
	for _, c := range change {
		c(&cfg)
	}
	writer, err := NewWriter(cfg)
	w.must("writer", err)
	w.t.Cleanup(writer.Close)
	return writer
}

// delegated is a Writer whose account was given every right that sync takes, by
// the commands that the Writer itself names.
func (w *world) delegated() *Writer {
	w.t.Helper()
	writer := w.newWriter()
	states, err := writer.Rights(w.t.Context(), "mail", "displayName", "department", "userPrincipalName")
	w.must("rights", err)
	var grants []Grant
	for _, s := range states {
		grants = append(grants, s.Grant)
	}
	w.allow(grants...)
	return writer
}

func (w *world) bindsAs(name string, password secret.Bytes) error {
	w.t.Helper()
	conn, err := ldap.DialURL("ldaps://"+w.dial.addr, ldap.DialWithTLSConfig(w.dial.conf))
	w.must("connect", err)
	defer conn.Close()
	return conn.Bind(name, string(password.Expose()))
}

// TestSync_Writer runs the Writer's cases on one domain, as an account that has
// been given what sync takes, right by right.
func TestSync_Writer(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		d.addUsers("many", 130)
		shared := d.world(t)
		for _, tt := range []struct {
			name string
			run  func(*world, *testing.T)
		}{
			{"S3_EachRight", (*world).writeS3_EachRight}, // the first: it delegates the rights
			{"S2_CreateUser", (*world).writeS2_CreateUser},
			{"S2_Collisions", (*world).writeS2_Collisions},
			{"S3_UpdateUser", (*world).writeS3_UpdateUser},
			{"S3_DisableEnable", (*world).writeS3_DisableEnable},
			{"S4_SetPassword", (*world).writeS4_SetPassword},
			{"S3_Groups", (*world).writeS3_Groups},
			{"S3_ManyMembers", (*world).writeS3_ManyMembers},
			{"S3_Privileged", (*world).writeS3_Privileged},
			{"S3_RightsOfTheFixture", (*world).writeS3_RightsOfTheFixture},
		} {
			t.Run(tt.name, func(t *testing.T) {
				w := *shared
				w.t = t
				tt.run(&w, t)
			})
		}
	})
}

func newUser(name string) NewUser {
	return NewUser{Username: name, UPN: name + "@corp.example.test", CN: "Person " + name, First: "Person", Last: name, Mail: name + "@mail.test"}
}

// writeS2_CreateUser creates accounts with the names that people have.
func (w *world) writeS2_CreateUser(t *testing.T) {
	writer := w.newWriter()
	for i, cn := range []string{"Plain Person", "Comma, Person", "Plus+Person", " Leading Space", "#Hash", `Back\slash "quoted" <x>;`, "Zoë Ünïcode 李", "Equals=Sign", strings.Repeat("long ", 20), ""} {
		n := newUser(fmt.Sprintf("made%d", i))
		n.CN, n.Attributes = cn, []Attribute{{Name: "department", Values: []string{"Research"}}}
		u, err := writer.CreateUser(t.Context(), n)
		if err != nil {
			t.Errorf("%q: %v", cn, err)
			continue
		}
		if u.Username != n.Username || u.UPN != n.UPN || u.Mail != n.Mail || u.First != n.First || u.Last != n.Last || u.Disabled || u.MustChange ||
			u.PwdLastSet == 0 || u.Profile.Department != "Research" || !u.InRoot || u.GUID.IsZero() || u.DC != "dc1" || u.GUID != w.guid(u.DN) {
			t.Errorf("%q: got %+v", cn, u)
		}
		if got := w.attribute(u.DN, "userAccountControl"); got != "512" {
			t.Errorf("%q: userAccountControl is %s", cn, got)
		}
		again, err := writer.CreateUser(t.Context(), n)
		if err != nil || again.GUID != u.GUID {
			t.Errorf("%q again: got %s, %v; want the same account", cn, again.GUID, err)
		}
	}
	n := newUser("asleep")
	n.Disabled = true
	if u, err := writer.CreateUser(t.Context(), n); err != nil || !u.Disabled || w.attribute(u.DN, "userAccountControl") != "514" {
		t.Errorf("disabled: got %+v, %v", u, err)
	}
}

// writeS2_Collisions creates accounts whose names are taken: of the entry, which
// is evaded, and of the account, which is not.
func (w *world) writeS2_Collisions(t *testing.T) {
	writer := w.newWriter()
	n := newUser("twin")
	n.CN = "u0"
	u, err := writer.CreateUser(t.Context(), n)
	if err != nil || u.DN != "CN=u0 (twin),"+w.people {
		t.Errorf("a common name that is taken: got %q, %v", u.DN, err)
	}
	contact := "CN=contact,OU=Groups," + w.base
	req := ldap.NewAddRequest(contact, nil)
	req.Attribute("objectClass", []string{"contact"})
	req.Attribute("mail", []string{"Shared@mail.test"})
	w.must("add a contact", w.admin.Add(req))
	for _, tt := range []struct {
		name   string
		change func(*NewUser)
		holder string
	}{
		{"username of a user outside the root container", func(n *NewUser) { n.Username = "AWAY" }, "CN=away,CN=Users,"},
		{"username of a group", func(n *NewUser) { n.Username = "far" }, "CN=far,OU=Groups,"},
		{"UPN", func(n *NewUser) { n.UPN = "away.upn@corp.example.test" }, "CN=away,CN=Users,"},
		{"UPN that a user has by the username", func(n *NewUser) { n.UPN = "Away@CORP.example.test" }, "CN=away,CN=Users,"},
		{"mail of a contact", func(n *NewUser) { n.Mail = "shared@mail.test" }, contact},
		{"username, made by somebody else as wanted", func(n *NewUser) {
			*n = NewUser{Username: "u1", UPN: "u1.upn@corp.example.test", CN: "u1", First: "u1", Last: "Test", Mail: "u1@example.test",
				Attributes: []Attribute{{Name: "displayName"}}}
		}, "CN=u1,"},
	} {
		n := newUser("fresh")
		tt.change(&n)
		_, err := writer.CreateUser(t.Context(), n)
		if !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), tt.holder) {
			t.Errorf("%s: got %v, want ErrExists that names %s", tt.name, err, tt.holder)
		}
	}
	if _, err := writer.CreateUser(t.Context(), newUser("fresh")); err != nil {
		t.Errorf("a refused creation left something behind: %v", err)
	}
}

// writeS3_UpdateUser writes what differs, and nothing else.
func (w *world) writeS3_UpdateUser(t *testing.T) {
	writer := w.newWriter()
	guid := w.guid(w.addUser("edit", w.people))
	attrs := []Attribute{{Name: "givenName", Values: []string{"Ada"}}, {Name: "sn", Values: []string{"Lovelace"}}, {Name: "department", Values: []string{"Engines"}}}
	u, err := writer.UpdateUser(t.Context(), guid, attrs)
	if err != nil || u.First != "Ada" || u.Last != "Lovelace" || u.Profile.Department != "Engines" {
		t.Fatalf("got %+v, %v", u, err)
	}
	usn := w.attribute(u.DN, "uSNChanged")
	if _, err := writer.UpdateUser(t.Context(), guid, attrs); err != nil || w.attribute(u.DN, "uSNChanged") != usn {
		t.Errorf("the same again: %v, USN %s after %s", err, w.attribute(u.DN, "uSNChanged"), usn)
	}
	for range 2 { // the second removes what is not there
		if u, err = writer.UpdateUser(t.Context(), guid, []Attribute{{Name: "department"}}); err != nil || u.Profile.Department != "" || u.First != "Ada" {
			t.Errorf("remove: got %+v, %v", u, err)
		}
	}
	w.updateChanged(t, writer, guid)
	w.move(w.dn("edit"), "CN=edit renamed", "")
	if u, err = writer.UpdateUser(t.Context(), guid, []Attribute{{Name: "sn", Values: []string{"King"}}}); err != nil || u.Last != "King" {
		t.Errorf("after a rename: got %+v, %v", u, err)
	}
	for _, name := range []string{"unicodePwd", "userPassword", "userAccountControl", "sAMAccountName", "member", "adminCount", "servicePrincipalName",
		"nTSecurityDescriptor", "msDS-KeyCredentialLink", "altSecurityIdentities", "scriptPath", "sIDHistory", "cn"} {
		if _, err := writer.UpdateUser(t.Context(), guid, []Attribute{{Name: name, Values: []string{"x"}}}); !errors.Is(err, ErrName) {
			t.Errorf("%s: got %v, want ErrName", name, err)
		}
	}
}

// updateChanged: what is not as it is taken to be is not written over.
func (w *world) updateChanged(t *testing.T, writer *Writer, guid identity.GUID) {
	for _, test := range []struct {
		attribute, was, to string
		want               error
	}{
		{"givenName", "Ada", "Augusta", nil},
		{"givenName", "Augusta", "augusta", nil},
		{"givenName", "augusta", "", nil},
		{"givenName", "", "Ada", nil},
		{"sn", "Byron", "King", ErrChanged},
		{"sn", "", "King", ErrChanged},
		{"sn", "Byron", "Lovelace", nil}, // it has that already
		{"department", "Looms", "Engines", ErrChanged},
	} {
		attr := Attribute{Name: test.attribute, Was: &test.was}
		if test.to != "" {
			attr.Values = []string{test.to}
		}
		u, err := writer.UpdateUser(t.Context(), guid, []Attribute{attr})
		if !errors.Is(err, test.want) {
			t.Errorf("%s from %q to %q: got %v, want %v", test.attribute, test.was, test.to, err, test.want)
		}
		if got := w.attribute(w.dn("edit"), test.attribute); err == nil && got != test.to {
			t.Errorf("%s is %q, want %q: %+v", test.attribute, got, test.to, u)
		}
	}
	// Between the Writer's read and its write.
	req := ldap.NewModifyRequest(w.dn("edit"), nil)
	was := "Lovelace"
	if err := (&Attribute{Name: "sn", Values: []string{"King"}, Was: &was}).change(req, []string{was}); err != nil {
		t.Fatal(err)
	}
	w.replace(w.dn("edit"), "sn", "Byron")
	if err := w.admin.Modify(req); !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchAttribute) {
		t.Errorf("an edit between read and write: got %v, want noSuchAttribute", err)
	}
	w.replace(w.dn("edit"), "sn", "Lovelace")
}

// writeS3_Privileged tries all writes on objects that sync must not touch.
func (w *world) writeS3_Privileged(t *testing.T) {
	// As the administrator: only the Writer's own rules are in the way.
	writer := w.newWriter(func(c *WriterConfig) { c.Account, c.Password = w.adminDN, w.adminPassword })
	w.replace(w.dn("u3"), "adminCount", "1")
	w.replace(w.dn("nested"), "adminCount", "1")
	user, group, member := w.guid(w.dn("u3")), w.guid(w.dn("nested")), w.guid(w.dn("u4"))
	outside, outer := w.guid("CN=away,CN=Users,"+w.base), w.guid("CN=far,OU=Groups,"+w.base)
	try := func(what string, user, group identity.GUID, want error) {
		t.Helper()
		writes := map[string]error{}
		_, writes["update"] = writer.UpdateUser(t.Context(), user, []Attribute{{Name: "sn", Values: []string{"x"}}})
		_, writes["disable"] = writer.Disable(t.Context(), user)
		_, writes["enable"] = writer.Enable(t.Context(), user)
		_, writes["password"] = writer.SetPassword(t.Context(), user, secret.New([]byte("Another.Word9")))
		_, writes["rename"] = writer.RenameGroup(t.Context(), group, "other")
		writes["add"] = writer.AddMembers(t.Context(), group, []identity.GUID{member})
		writes["remove"] = writer.RemoveMembers(t.Context(), group, []identity.GUID{member})
		for name, err := range writes {
			if !errors.Is(err, want) {
				t.Errorf("%s, %s: got %v, want %v", what, name, err, want)
			}
		}
	}
	try("adminCount", user, group, ErrPrivileged)
	try("outside", outside, outer, ErrOutside)
	try("not there", identity.GUID{1}, identity.GUID{2}, ErrNotFound)
	try("of the other class", w.guid(w.dn("deep")), w.guid(w.dn("u5")), ErrNotFound)
	// The default root container is the domain, with all that AD comes with.
	writer = w.newWriter(func(c *WriterConfig) { c.Account, c.Password, c.RootDN = w.adminDN, w.adminPassword, "" })
	try("of AD's own", w.guid("CN=Administrator,CN=Users,"+w.base), w.guid("CN=Domain Users,CN=Users,"+w.base), ErrPrivileged)
}

// writeS3_DisableEnable keeps the other bits of userAccountControl.
func (w *world) writeS3_DisableEnable(t *testing.T) {
	writer := w.newWriter()
	u, err := writer.CreateUser(t.Context(), newUser("switch"))
	w.must("create", err)
	w.replace(u.DN, "userAccountControl", "66048") // never expires
	for _, step := range []struct {
		do       func() (identity.User, error)
		disabled bool
		want     string
	}{
		{func() (identity.User, error) { return writer.Disable(t.Context(), u.GUID) }, true, "66050"},
		{func() (identity.User, error) { return writer.Disable(t.Context(), u.GUID) }, true, "66050"},
		{func() (identity.User, error) { return writer.Enable(t.Context(), u.GUID) }, false, "66048"},
		{func() (identity.User, error) { return writer.Enable(t.Context(), u.GUID) }, false, "66048"},
	} {
		got, err := step.do()
		if err != nil || got.Disabled != step.disabled || w.attribute(u.DN, "userAccountControl") != step.want {
			t.Errorf("got %+v, %v, %s; want %s", got, err, w.attribute(u.DN, "userAccountControl"), step.want)
		}
	}
}

// writeS4_SetPassword sets one that binds, and hears AD's words about others.
func (w *world) writeS4_SetPassword(t *testing.T) {
	writer := w.newWriter()
	u, err := writer.CreateUser(t.Context(), newUser("pia"))
	w.must("create", err)
	good := secret.New([]byte("Grüße-2-alle 😀"))
	set, err := writer.SetPassword(t.Context(), u.GUID, good)
	if err != nil || set.PwdLastSet < u.PwdLastSet || set.MustChange {
		t.Fatalf("got %+v, %v", set, err)
	}
	if err := w.bindsAs(u.DN, good); err != nil {
		t.Errorf("the password does not bind: %v", err)
	}
	for what, bad := range map[string]string{"short": "Ab1.", "simple": "aaaaaaaaaaaaaa"} {
		_, err := writer.SetPassword(t.Context(), u.GUID, secret.New([]byte(bad)))
		var policy *PolicyError
		if !errors.Is(err, ErrPolicy) || !errors.As(err, &policy) || policy.Code != "0000052D" || policy.Text == "" || strings.Contains(err.Error(), bad) {
			t.Errorf("%s: got %v, want ErrPolicy with AD's words and without the password", what, err)
		}
	}
	for what, bad := range map[string]string{"empty": "", "NUL": "Good.Word1\x00x", "no UTF-8": "Good.Word1\xff"} {
		if _, err := writer.SetPassword(t.Context(), u.GUID, secret.New([]byte(bad))); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: got %v, want ErrPolicy", what, err)
		}
	}
	if err := w.bindsAs(u.DN, good); err != nil {
		t.Errorf("the password does not bind any more: %v", err)
	}
}

// writeS3_Groups creates, renames and fills groups.
func (w *world) writeS3_Groups(t *testing.T) {
	writer := w.newWriter()
	g, err := writer.CreateGroup(t.Context(), "Team # 1")
	if err != nil || g.Name != "Team # 1" || !g.Security || !g.InRoot || w.attribute(g.DN, "groupType") != "-2147483646" {
		t.Fatalf("got %+v, %v", g, err)
	}
	if again, err := writer.CreateGroup(t.Context(), "Team # 1"); err != nil || again.GUID != g.GUID {
		t.Errorf("again: got %+v, %v", again, err)
	}
	if _, err := writer.CreateGroup(t.Context(), "away"); !errors.Is(err, ErrExists) {
		t.Errorf("a user's name: got %v", err)
	}
	if _, err := writer.CreateGroup(t.Context(), "a,b"); !errors.Is(err, ErrName) {
		t.Errorf("a comma: got %v", err)
	}
	// Of an entry in the container, the name is evaded.
	w.replace(w.dn("u5"), "sAMAccountName", "other5")
	if evaded, err := writer.CreateGroup(t.Context(), "u5"); err != nil || evaded.DN != "CN=u5 (group),"+w.people {
		t.Errorf("a common name that is taken: got %+v, %v", evaded, err)
	}
	for range 2 {
		if g, err = writer.RenameGroup(t.Context(), g.GUID, "Team, 2"); !errors.Is(err, ErrName) {
			t.Errorf("rename to a comma: got %v", err)
		}
		g, err = writer.RenameGroup(t.Context(), w.guid(w.dn("Team # 1")), "Team 2")
		if err != nil || g.Name != "Team 2" || g.DN != w.dn("Team 2") {
			t.Fatalf("rename: got %+v, %v", g, err)
		}
		g, err = writer.RenameGroup(t.Context(), g.GUID, "Team # 1")
		w.must("rename back", err)
	}
	if _, err := writer.RenameGroup(t.Context(), g.GUID, "deep"); !errors.Is(err, ErrExists) || w.attribute(g.DN, "sAMAccountName") != "Team # 1" {
		t.Errorf("rename to a name that is taken: got %v", err)
	}
	var members []identity.GUID
	for _, name := range []string{"u0", "u1", "u2", "deep"} {
		members = append(members, w.guid(w.dn(name)))
	}
	slices.SortFunc(members, compareGUID)
	for _, step := range []struct {
		add  bool
		some []identity.GUID
		want []identity.GUID
	}{
		{true, members[:2], members[:2]}, {true, members, members}, {true, members, members},
		{false, members[1:3], []identity.GUID{members[0], members[3]}}, {false, members, nil}, {false, members, nil},
	} {
		change := writer.RemoveMembers
		if step.add {
			change = writer.AddMembers
		}
		if err := change(t.Context(), g.GUID, step.some); err != nil {
			t.Fatalf("add %v %d: %v", step.add, len(step.some), err)
		}
		if got := w.membersOf(g.DN); !slices.Equal(got, step.want) {
			t.Errorf("add %v %d: members %v, want %v", step.add, len(step.some), got, step.want)
		}
	}
	err = writer.AddMembers(t.Context(), g.GUID, []identity.GUID{members[0], {7}})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), identity.GUID{7}.String()) {
		t.Errorf("a member that does not exist: got %v, want ErrNotFound that names it", err)
	}
	groups, err := writer.MemberOf(t.Context(), w.guid(w.dn("u1")))
	if want := []identity.GUID{w.guid(w.dn("deep"))}; err != nil || !slices.Equal(groups, want) {
		t.Errorf("groups of u1: got %v, %v, want %v", groups, err, want)
	}
}

func (w *world) membersOf(dn string) (members []identity.GUID) {
	w.t.Helper()
	res, err := w.admin.Search(ldap.NewSearchRequest(w.base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(memberOf="+ldap.EscapeFilter(dn)+")", []string{"objectGUID"}, nil))
	w.must("members of "+dn, err)
	for _, e := range res.Entries {
		guid, err := identity.GUIDFromBytes(e.GetRawAttributeValue("objectGUID"))
		w.must("members of "+dn, err)
		members = append(members, guid)
	}
	slices.SortFunc(members, compareGUID)
	return members
}

// writeS3_ManyMembers changes more members than fit in a request.
func (w *world) writeS3_ManyMembers(t *testing.T) {
	writer := w.newWriter()
	g, err := writer.CreateGroup(t.Context(), "everybody")
	w.must("create", err)
	found, err := w.admin.Search(ldap.NewSearchRequest(w.people, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(sAMAccountName=many*)", []string{"objectGUID"}, nil))
	w.must("search", err)
	var members []identity.GUID
	for _, e := range found.Entries {
		guid, err := identity.GUIDFromBytes(e.GetRawAttributeValue("objectGUID"))
		w.must("guid", err)
		members = append(members, guid)
	}
	w.must("add some", writer.AddMembers(t.Context(), g.GUID, members[50:120]))
	w.must("add all", writer.AddMembers(t.Context(), g.GUID, members))
	if got := len(w.membersOf(g.DN)); got != 130 {
		t.Errorf("%d members, want 130", got)
	}
	w.must("remove", writer.RemoveMembers(t.Context(), g.GUID, members[:129]))
	if got := len(w.membersOf(g.DN)); got != 1 {
		t.Errorf("%d members, want 1", got)
	}
}

// writeS3_EachRight takes one right away at a time: the write that needs it names
// it, and works after the command that the error gives was run.
func (w *world) writeS3_EachRight(t *testing.T) {
	plain := w.newWriter()
	states, err := plain.Rights(t.Context())
	w.must("rights", err)
	for _, s := range states {
		if !s.Known || s.Held {
			t.Errorf("before the delegation: %s: %+v, want known and lacking", s.Right, s)
		}
	}
	user, group, member := w.guid(w.addUser("subject", w.people)), w.guid(w.addGroup("party", w.people)), w.guid(w.dn("u5"))
	rename := func() error { _, err := plain.RenameGroup(t.Context(), group, "parties"); return err }
	steps := []struct {
		right string
		write func() error
	}{
		{"Create user objects", func() error { _, err := plain.CreateUser(t.Context(), newUser("righty")); return err }},
		{"Create group objects", func() error { _, err := plain.CreateGroup(t.Context(), "righties"); return err }},
		{"Write givenName of user objects", func() error {
			_, err := plain.UpdateUser(t.Context(), user, []Attribute{{Name: "givenName", Values: []string{"Righty"}}})
			return err
		}},
		{"Write sn of user objects", func() error {
			_, err := plain.UpdateUser(t.Context(), user, []Attribute{{Name: "givenName", Values: []string{"Righter"}}, {Name: "sn", Values: []string{"Still"}}})
			return err
		}},
		{"Reset password of user objects", func() error {
			_, err := plain.SetPassword(t.Context(), user, secret.New([]byte("Another.Word9")))
			return err
		}},
		{"Write userAccountControl of user objects", func() error { _, err := plain.Enable(t.Context(), user); return err }},
		{"Write member of group objects", func() error { return plain.AddMembers(t.Context(), group, []identity.GUID{member}) }},
		{"Write cn of group objects", rename}, {"Write name of group objects", rename},
		{"Write sAMAccountName of group objects", rename},
	}
	for _, tt := range steps {
		w.needs(tt.write(), tt.right)
	}
	for _, tt := range steps {
		if err := tt.write(); err != nil {
			t.Errorf("%s: after it was delegated: %v", tt.right, err)
		}
	}

	states, err = plain.Rights(t.Context())
	w.must("rights", err)
	for _, s := range states {
		if !s.Known || !s.Held {
			t.Errorf("after the delegation: %s: %+v, want known and held", s.Right, s)
		}
	}
	w.delegated() // and for what the other cases write
}

// needs checks that an error names a right, and grants it.
func (w *world) needs(err error, right string) {
	w.t.Helper()
	var lacking *RightsError
	if !errors.Is(err, ErrRights) || !errors.As(err, &lacking) {
		w.t.Errorf("%s: got %v, want ErrRights", right, err)
		return
	}
	for _, g := range lacking.Lacking {
		if g.Right.String() == right {
			if !strings.Contains(err.Error(), g.Windows) || !strings.Contains(err.Error(), g.Samba) || lacking.Text == "" {
				w.t.Errorf("%s: the commands are not in the error: %v", right, err)
			}
			w.allow(g)
			return
		}
	}
	w.t.Errorf("%s: not named in %v", right, err)
}

// writeS3_RightsOfTheFixture finds the rights that sync takes in an account that
// was given these and no others, not by the Writer's own commands.
func (w *world) writeS3_RightsOfTheFixture(t *testing.T) {
	writer := w.newWriter(func(c *WriterConfig) { c.Account = w.keeper })
	states, err := writer.Rights(t.Context(), "department")
	w.must("rights", err)
	for _, s := range states {
		if lacks := s.Right.Attribute == "department"; !s.Known || s.Held == lacks {
			t.Errorf("%s: got %+v", s.Right, s)
		}
	}
	u, err := writer.CreateUser(t.Context(), newUser("kept"))
	w.must("create", err)
	_, err = writer.UpdateUser(t.Context(), u.GUID, []Attribute{{Name: "givenName", Values: []string{"K"}}, {Name: "department", Values: []string{"D"}}})
	var lacking *RightsError
	if !errors.As(err, &lacking) || len(lacking.Lacking) != 1 || lacking.Lacking[0].Right.Attribute != "department" {
		t.Errorf("one of two attributes: got %v, want the one that lacks the right", err)
	}
	// Whoever may do these must not be able to do more.
	for what, err := range map[string]error{
		"delete":      w.keeperConn().Del(ldap.NewDelRequest(u.DN, nil)),
		"move":        w.keeperConn().ModifyDN(ldap.NewModifyDNRequest(u.DN, "CN=kept", true, "CN=Users,"+w.base)),
		"rename":      w.keeperConn().ModifyDN(ldap.NewModifyDNRequest(u.DN, "CN=other", true, "")),
		"add outside": w.keeperConn().Add(&ldap.AddRequest{DN: "CN=x,OU=Groups," + w.base, Attributes: []ldap.Attribute{{Type: "objectClass", Vals: []string{"group"}}}}),
	} {
		if !ldap.IsErrorWithCode(err, ldap.LDAPResultInsufficientAccessRights) {
			t.Errorf("%s: got %v, want 50", what, err)
		}
	}
}

func (w *world) keeperConn() *ldap.Conn {
	w.t.Helper()
	conn, err := ldap.DialURL("ldaps://"+w.dial.addr, ldap.DialWithTLSConfig(w.dial.conf))
	w.must("connect", err)
	w.t.Cleanup(func() { _ = conn.Close() })
	w.must("bind", conn.Bind(w.keeper, serviceWord))
	return conn
}
