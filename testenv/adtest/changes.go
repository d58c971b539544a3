package adtest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// sync asks for what has changed, with or without the right to replicate.
func (s *suite) sync(t testing.TB, conn *ldap.Conn, base string, flags int64, cookie []byte, attrs ...string) (*ldap.SearchResult, []byte, error) {
	t.Helper()
	var all ldap.SearchResult
	for {
		req := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=*)", attrs,
			[]ldap.Control{ldap.NewRequestControlDirSync(flags, 1<<20, cookie)})
		r, err := conn.Search(req)
		if err != nil {
			return nil, nil, err
		}
		answer, ok := ldap.FindControl(r.Controls, ldap.ControlTypeDirSync).(*ldap.ControlDirSync)
		if !ok || len(answer.Cookie) == 0 {
			t.Fatal("DirSync: no cookie came")
		}
		all.Entries, cookie = append(all.Entries, r.Entries...), answer.Cookie
		if answer.Flags == 0 {
			return &all, cookie, nil
		}
	}
}

// dirSync: what is told of each change, and to whom (MS-ADTS 3.1.1.3.4.1.3).
func (s *suite) dirSync(t *testing.T) {
	conn := s.admin(t)
	attrs := []string{"name", "mail", "title", "member", "isDeleted", "objectGUID", "pwdLastSet"}
	_, cookie, err := s.sync(t, conn, s.BaseDN, 0, nil, attrs...)
	if err != nil {
		t.Fatal(err)
	}
	next := func() []*ldap.Entry {
		t.Helper()
		r, after, err := s.sync(t, conn, s.BaseDN, 0, cookie, attrs...)
		if err != nil {
			t.Fatal(err)
		}
		cookie = after
		return r.Entries
	}
	p := s.user(t, ldap.Attribute{Type: "mail", Vals: []string{"sync@example.test"}})
	guid := string(read(t, conn, p.dn, "objectGUID").GetRawAttributeValue("objectGUID"))
	find := func(entries []*ldap.Entry) *ldap.Entry {
		i := slices.IndexFunc(entries, func(e *ldap.Entry) bool { return string(e.GetRawAttributeValue("objectGUID")) == guid })
		if i < 0 {
			return &ldap.Entry{}
		}
		return entries[i]
	}
	ou := "OU=sync,OU=People," + s.BaseDN
	group := "CN=syncers,OU=People," + s.BaseDN
	for _, step := range []struct {
		name string
		do   func()
		has  string // attributes of the user's entry, "" for no entry
	}{
		{"create", func() {}, "mail name pwdLastSet"},
		{"nothing", func() {}, ""},
		{"an attribute", func() { s.replace(t, p.dn, "title", "Boss") }, "title"},
		{"one that goes", func() { s.replace(t, p.dn, "title") }, "title"},
		{"one that was not asked for", func() { s.replace(t, p.dn, "description", "x") }, ""},
		{"membership", func() {
			mustAdd(t, conn, group, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"syncers"}, "member": {p.dn}})
		}, ""},
		{"a new container", func() { mustAdd(t, conn, ou, map[string][]string{"objectClass": {"organizationalUnit"}}) }, ""},
		{"move", func() {
			s.check(t, "move", outcomeOf(t, conn.ModifyDN(ldap.NewModifyDNRequest(p.dn, "CN="+p.sam, true, ou))), both(success))
		}, "name"},
		{"its container moves", func() {
			s.check(t, "move", outcomeOf(t, conn.ModifyDN(ldap.NewModifyDNRequest(ou, "OU=synced", true, ""))), both(success))
		}, ""},
		{"delete", func() {
			s.check(t, "delete", outcomeOf(t, conn.Del(ldap.NewDelRequest("CN="+p.sam+",OU=synced,OU=People,"+s.BaseDN, nil))), both(success))
		}, "isDeleted mail name"},
	} {
		step.do()
		e := find(next())
		var names []string
		for _, a := range e.Attributes {
			if slices.Contains(attrs, a.Name) && a.Name != "objectGUID" {
				names = append(names, a.Name)
			}
		}
		slices.Sort(names)
		if step.name == "delete" { // what else goes differs
			names = slices.DeleteFunc(names, func(n string) bool { return n == "pwdLastSet" || n == "title" })
		}
		if got := strings.Join(names, " "); got != step.has {
			t.Errorf("%s: its entry has %q, want %q", step.name, got, step.has)
		}
	}
}

// dirSyncRefused: who may not, and what is no base and no cookie.
func (s *suite) dirSyncRefused(t *testing.T) {
	p := s.user(t)
	own := s.as(t, p.dn, startPassword)
	people := "OU=People," + s.BaseDN
	refused := func(conn *ldap.Conn, base string, flags int64, cookie string) outcome {
		_, _, err := s.sync(t, conn, base, flags, []byte(cookie), "mail")
		return outcomeOf(t, err)
	}
	s.check(t, "without the right", refused(own, s.BaseDN, 0, ""), both(outcome{code: ldap.LDAPResultInsufficientAccessRights}))
	s.check(t, "of what may be read", refused(own, s.BaseDN, 1, ""), both(success))
	s.check(t, "no head of a naming context", refused(own, people, 1, ""), both(outcome{code: ldap.LDAPResultUnwillingToPerform}))
	s.check(t, "no cookie", refused(s.admin(t), s.BaseDN, 0, "garbage"), both(outcome{code: ldap.LDAPResultUnavailableCriticalExtension}))
}

// extendedNames: DNs with GUIDs and SIDs (MS-ADTS 3.1.1.3.4.1.5).
func (s *suite) extendedNames(t *testing.T) {
	conn := s.admin(t)
	p := s.user(t)
	group := "CN=extended,OU=People," + s.BaseDN
	mustAdd(t, conn, group, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"extended"}, "member": {p.dn}})
	user := read(t, conn, p.dn, "objectGUID", "objectSid")
	guid, sid := user.GetRawAttributeValue("objectGUID"), user.GetRawAttributeValue("objectSid")
	hex := func(b []byte) string { return strings.ReplaceAll(escapeBytes(b), `\`, "") }
	for flag, want := range map[string]string{
		"\x30\x03\x02\x01\x00": "<GUID=" + hex(guid) + ">;<SID=" + hex(sid) + ">;" + p.dn,
		"\x30\x03\x02\x01\x01": "<GUID=" + guidText(guid) + ">;<SID=" + sidText(sid) + ">;" + p.dn,
	} {
		req := ldap.NewSearchRequest(group, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"member"},
			[]ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.529", true, flag)})
		r, err := conn.Search(req)
		if err != nil || len(r.Entries) != 1 || r.Entries[0].GetAttributeValue("member") != want {
			t.Errorf("flag %x: %v, %+v, want %q", flag, err, r.Entries, want)
		}
		if err == nil && !strings.HasSuffix(r.Entries[0].DN, ";"+group) {
			t.Errorf("flag %x: its own DN is %q", flag, r.Entries[0].DN)
		}
	}
}

// notification: what is told to who waits (MS-ADTS 3.1.1.3.4.1.9).
func (s *suite) notification(t *testing.T) {
	p := s.user(t)
	own := s.as(t, p.dn, startPassword)
	own.SetTimeout(0) // the watch has no end
	watch := func(conn *ldap.Conn, filter string) ldap.Response {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		return conn.SearchAsync(ctx, ldap.NewSearchRequest(s.BaseDN, ldap.ScopeWholeSubtree, 0, 0, 0, false, filter, []string{"objectGUID"},
			[]ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.528", true, "")}), 8)
	}
	filtered := watch(own, "(cn=x)")
	for filtered.Next() {
	}
	s.check(t, "another filter", outcomeOf(t, filtered.Err()), both(outcome{code: ldap.LDAPResultUnwillingToPerform}))
	watched := watch(own, "(objectClass=*)")
	told := make(chan string)
	go func() {
		defer close(told)
		for watched.Next() {
			told <- watched.Entry().DN
		}
	}()
	// Nothing tells when the watch has begun, so something is changed until
	// it is told of.
	for n := 0; ; n++ {
		s.replace(t, p.dn, "description", strings.Repeat("x", n%9+1))
		select {
		case dn := <-told:
			if dn != p.dn {
				t.Errorf("told of %s, want %s", dn, p.dn)
			}
			_ = own.Close()
			for range told { // until the watch has ended
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
		if n > 200 {
			t.Fatal("a change was not told")
		}
	}
}

// primaryGroup: what its change does to memberships (MS-SAMR 3.1.1.8.2).
func (s *suite) primaryGroup(t *testing.T) {
	conn := s.admin(t)
	p := s.user(t)
	group := "CN=primary,OU=People," + s.BaseDN
	mustAdd(t, conn, group, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"primary"}})
	sid := read(t, conn, group, "objectSid").GetRawAttributeValue("objectSid")
	rid := sidText(sid)[strings.LastIndexByte(sidText(sid), '-')+1:]
	set := func(dn, attr, value string) outcome {
		req := ldap.NewModifyRequest(dn, nil)
		req.Replace(attr, []string{value})
		return outcomeOf(t, conn.Modify(req))
	}
	s.check(t, "a group that it is no member of", set(p.dn, "primaryGroupID", rid), both(outcome{code: ldap.LDAPResultUnwillingToPerform}))
	s.check(t, "join", set(group, "member", p.dn), both(success))
	s.check(t, "a group that it is a member of", set(p.dn, "primaryGroupID", rid), both(success))
	users := "CN=Domain Users,CN=Users," + s.BaseDN
	if got := read(t, conn, group, "member").GetAttributeValues("member"); len(got) != 0 {
		t.Errorf("the primary group has members %q, want none", got)
	}
	if got := read(t, conn, users, "member").GetAttributeValues("member"); !slices.Contains(got, p.dn) {
		t.Errorf("the former primary group has members %q, want %s among them", got, p.dn)
	}
}

// deletedObjects: who may see them, and one that comes back.
func (s *suite) deletedObjects(t *testing.T) {
	conn, p := s.admin(t), s.user(t)
	own := s.as(t, s.user(t).dn, startPassword)
	guid := read(t, conn, p.dn, "objectGUID").GetRawAttributeValue("objectGUID")
	s.check(t, "delete", outcomeOf(t, conn.Del(ldap.NewDelRequest(p.dn, nil))), both(success))
	shown := []ldap.Control{ldap.NewControlMicrosoftShowDeleted()}
	find := func(c *ldap.Conn) []*ldap.Entry {
		t.Helper()
		r, err := c.Search(ldap.NewSearchRequest(s.BaseDN, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectGUID="+escapeBytes(guid)+")", []string{"cn"}, shown))
		if err != nil {
			t.Fatal(err)
		}
		return r.Entries
	}
	if got := find(own); len(got) != 0 {
		t.Errorf("a user finds the tombstone %s", got[0].DN)
	}
	if got := find(conn); len(got) == 1 {
		req := ldap.NewModifyRequest(got[0].DN, shown)
		req.Delete("isDeleted", nil)
		req.Replace("distinguishedName", []string{p.dn})
		s.check(t, "reanimate", outcomeOf(t, conn.Modify(req)), both(success))
	}
	back := read(t, conn, p.dn, "objectGUID", "sAMAccountName", "isDeleted", "mail")
	if string(back.GetRawAttributeValue("objectGUID")) != string(guid) || back.GetAttributeValue("sAMAccountName") != p.sam || has(back, "isDeleted") {
		t.Errorf("it came back as %+v", back)
	}
	if got := s.bind(t, p.dn, startPassword); got == success {
		t.Error("it binds with the password that it had")
	}
}
