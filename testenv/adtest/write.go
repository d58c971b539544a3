package adtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// modify is a Modify with one change.
func modify(conn *ldap.Conn, dn string, change func(*ldap.ModifyRequest)) error {
	req := ldap.NewModifyRequest(dn, nil)
	change(req)
	return conn.Modify(req)
}

// writes: results of Add, Modify and Delete, and who may.
func (s *suite) writes(t *testing.T) {
	conn := s.admin(t)
	p, q := s.user(t), s.user(t)
	mine := s.as(t, p.dn, startPassword)
	group := "CN=writers,OU=People," + s.BaseDN
	mustAdd(t, conn, group, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"writers"}, "member": {p.dn}})
	code := func(c uint16) expectation { return both(outcome{code: c}) }
	no := code(ldap.LDAPResultInsufficientAccessRights)
	rep := func(a string, v ...string) step { return func(r *ldap.ModifyRequest) { r.Replace(a, v) } }
	ins := func(a string, v ...string) step { return func(r *ldap.ModifyRequest) { r.Add(a, v) } }
	rm := func(a string, v ...string) step { return func(r *ldap.ModifyRequest) { r.Delete(a, v) } }
	for _, tt := range []struct {
		name   string
		conn   *ldap.Conn
		dn     string
		change step
		want   expectation
	}{
		{"replace", conn, p.dn, rep("description", "one"), both(success)},
		{"add the value that is there", conn, p.dn, ins("description", "one"), code(ldap.LDAPResultAttributeOrValueExists)},
		{"delete a value that is not", conn, p.dn, rm("description", "two"), code(ldap.LDAPResultNoSuchAttribute)},
		{"delete the attribute", conn, p.dn, rm("description"), both(success)},
		{"delete it again", conn, p.dn, rm("description"), code(ldap.LDAPResultNoSuchAttribute)},
		{"two values for one", conn, p.dn, rep("sn", "a", "b"),
			differs(outcome{code: ldap.LDAPResultConstraintViolation}, outcome{code: ldap.LDAPResultAttributeOrValueExists}, "other code")},
		{"replace by nothing", conn, p.dn, rep("sn"), both(success)},
		{"several values", conn, p.dn, rep("otherTelephone", "1", "2"), both(success)},
		{"an unknown attribute", conn, p.dn, rep("noSuchThing", "x"), code(ldap.LDAPResultNoSuchAttribute)},
		{"the RDN", conn, p.dn, rep("cn", "x"), code(ldap.LDAPResultNotAllowedOnRDN)},
		{"a member twice", conn, group, ins("member", p.dn), code(ldap.LDAPResultEntryAlreadyExists)},
		{"a member that is none", conn, group, rm("member", q.dn), code(ldap.LDAPResultUnwillingToPerform)},
		{"a member that does not exist", conn, group, ins("member", "CN=nobody,"+s.BaseDN), code(ldap.LDAPResultNoSuchObject)},
		{"an account name that is taken", conn, p.dn, rep("sAMAccountName", q.sam), code(ldap.LDAPResultEntryAlreadyExists)},
		{"a UPN that is taken", conn, p.dn, rep("userPrincipalName", q.upn), code(ldap.LDAPResultConstraintViolation)},
		{"account control that is another by now", conn, p.dn, func(r *ldap.ModifyRequest) {
			r.Delete("userAccountControl", []string{"514"})
			r.Add("userAccountControl", []string{"66050"})
		}, code(ldap.LDAPResultNoSuchAttribute)},
		{"account control", conn, p.dn, func(r *ldap.ModifyRequest) {
			r.Delete("userAccountControl", []string{"512"})
			r.Add("userAccountControl", []string{"512"})
		}, both(success)},
		{"own telephone number", mine, p.dn, rep("telephoneNumber", "1"), both(success)},
		{"own description", mine, p.dn, rep("description", "x"), no},
		{"another's telephone number", mine, q.dn, rep("telephoneNumber", "1"), no},
		{"own account control", mine, p.dn, rep("userAccountControl", "66048"), no},
		{"own group", mine, group, rm("member", p.dn), no},
	} {
		s.check(t, tt.name, outcomeOf(t, modify(tt.conn, tt.dn, tt.change)), tt.want)
	}

	user := func(sam string, more ...string) map[string][]string {
		attrs := map[string][]string{"objectClass": {"user"}, "sAMAccountName": {sam}}
		for i := 0; i+1 < len(more); i += 2 {
			attrs[more[i]] = []string{more[i+1]}
		}
		return attrs
	}
	at := func(cn string) string { return "CN=" + cn + ",OU=People," + s.BaseDN }
	for _, tt := range []struct {
		name  string
		conn  *ldap.Conn
		dn    string
		attrs map[string][]string
		want  expectation
	}{
		{"add by a user", mine, at("w1"), user("w1"), no},
		{"add a name with all that is escaped", conn, at(`\#a\, \=b\+c\"d\\e\<f\>\;é\ `), user("w0"), both(success)},
		{"add a DN that is there", conn, p.dn, user("w2"), code(ldap.LDAPResultEntryAlreadyExists)},
		{"add an account name that is there", conn, at("w3"), user(p.sam), code(ldap.LDAPResultEntryAlreadyExists)},
		{"add a UPN that is there", conn, at("w4"), user("w4", "userPrincipalName", p.upn), code(ldap.LDAPResultConstraintViolation)},
		{"add below nothing", conn, "CN=w5,OU=nowhere," + s.BaseDN, user("w5"), code(ldap.LDAPResultNoSuchObject)},
		{"add an unknown attribute", conn, at("w6"), user("w6", "noSuchThing", "x"), code(ldap.LDAPResultNoSuchAttribute)},
		{"add without a class", conn, at("w7"), map[string][]string{"sAMAccountName": {"w7"}}, code(ldap.LDAPResultObjectClassViolation)},
		{"add enabled without a password", conn, at("w8"), user("w8", "userAccountControl", "512"),
			differs(outcome{ldap.LDAPResultUnwillingToPerform, 0x52d}, success, "it accepts accounts without a password")},
		{"add with a short password", conn, at("w9"), user("w9", "userAccountControl", "512", pwd, quoted("Ab.1")),
			differs(outcome{ldap.LDAPResultUnwillingToPerform, 0x52d}, outcome{ldap.LDAPResultConstraintViolation, 0x52d}, "it answers resets as it answers changes")},
		{"add disabled without a password", conn, at("w10"), user("w10"), both(success)},
		{"add 21 characters", conn, at("w11"), user("abcdefghijklmnopqrstu"),
			differs(outcome{code: ldap.LDAPResultConstraintViolation}, success, "it accepts longer account names")},
	} {
		s.check(t, tt.name, tryAdd(t, tt.conn, tt.dn, tt.attrs), tt.want)
	}

	s.check(t, "delete by a user", outcomeOf(t, mine.Del(ldap.NewDelRequest(q.dn, nil))), no)
	s.check(t, "delete a container with children", outcomeOf(t, conn.Del(ldap.NewDelRequest("OU=People,"+s.BaseDN, nil))), code(ldap.LDAPResultNotAllowedOnNonLeaf))
	s.check(t, "delete nothing", outcomeOf(t, conn.Del(ldap.NewDelRequest(at("nobody"), nil))), code(ldap.LDAPResultNoSuchObject))
	before := read(t, conn, p.dn, "uSNChanged", "telephoneNumber")
	s.check(t, "replace by the same value", outcomeOf(t, modify(conn, p.dn, rep("telephoneNumber", "1"))), both(success))
	if after := read(t, conn, p.dn, "uSNChanged"); after.GetAttributeValue("uSNChanged") != before.GetAttributeValue("uSNChanged") {
		t.Error("replacing a value by the same moved uSNChanged")
	}
	s.check(t, "change something", outcomeOf(t, modify(conn, p.dn, rep("telephoneNumber", "2"))), both(success))
	if after := read(t, conn, p.dn, "uSNChanged"); after.GetAttributeValue("uSNChanged") == before.GetAttributeValue("uSNChanged") {
		t.Error("replacing a value by another left uSNChanged")
	}
	if equal, err := conn.Compare(p.dn, "telephoneNumber", "2"); err != nil || !equal {
		t.Errorf("compare with the value: %t, %v, want true", equal, err)
	}
	if equal, err := conn.Compare(p.dn, "telephoneNumber", "3"); err != nil || equal {
		t.Errorf("compare with another: %t, %v, want false", equal, err)
	}
}

// rename: ModifyDN, and that links follow.
func (s *suite) rename(t *testing.T) {
	conn := s.admin(t)
	p := s.user(t)
	guid := read(t, conn, p.dn, "objectGUID").GetRawAttributeValue("objectGUID")
	group := "CN=renamers,OU=People," + s.BaseDN
	mustAdd(t, conn, group, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"renamers"}, "member": {p.dn}})
	ou := "OU=renamed,OU=People," + s.BaseDN
	mustAdd(t, conn, ou, map[string][]string{"objectClass": {"organizationalUnit"}})
	s.check(t, "rename", outcomeOf(t, conn.ModifyDN(ldap.NewModifyDNRequest(p.dn, `CN=New\, Name`, true, ou))), both(success))
	e := read(t, conn, "<GUID="+guidText(guid)+">", "cn", "name", "distinguishedName", "memberOf")
	want := `CN=New\, Name,` + ou
	if e.DN != want || e.GetAttributeValue("distinguishedName") != want || e.GetAttributeValue("cn") != "New, Name" || e.GetAttributeValue("name") != "New, Name" {
		t.Errorf("renamed to %q with cn %q, want %q", e.DN, e.GetAttributeValue("cn"), want)
	}
	if got := read(t, conn, group, "member").GetAttributeValue("member"); got != want {
		t.Errorf("member is %q, want %q", got, want)
	}
	s.check(t, "bind with the new name", s.bind(t, want, startPassword), both(success))
	s.check(t, "rename what is below", outcomeOf(t, conn.ModifyDN(ldap.NewModifyDNRequest(ou, "OU=moved", true, ""))), both(success))
	moved := `CN=New\, Name,OU=moved,OU=People,` + s.BaseDN
	if got := read(t, conn, "<GUID="+guidText(guid)+">", "cn").DN; got != moved {
		t.Errorf("moved along to %q, want %q", got, moved)
	}
	if got := read(t, conn, group, "member").GetAttributeValue("member"); got != moved {
		t.Errorf("member is %q, want %q", got, moved)
	}
}

// tombstone: what is left of a deleted user.
func (s *suite) tombstone(t *testing.T) {
	conn := s.admin(t)
	p := s.user(t, ldap.Attribute{Type: "mail", Vals: []string{"gone@example.test"}})
	guid := read(t, conn, p.dn, "objectGUID").GetRawAttributeValue("objectGUID")
	group := "CN=leavers,OU=People," + s.BaseDN
	mustAdd(t, conn, group, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"leavers"}, "member": {p.dn}})
	s.check(t, "delete", outcomeOf(t, conn.Del(ldap.NewDelRequest(p.dn, nil))), both(success))
	if got := read(t, conn, group, "member").GetAttributeValues("member"); len(got) != 0 {
		t.Errorf("the group still has %q", got)
	}
	filter := "(objectGUID=" + escapeBytes(guid) + ")"
	r, err := search(conn, s.BaseDN, ldap.ScopeWholeSubtree, filter)
	if err != nil || len(r.Entries) != 0 {
		t.Errorf("found without asking for deleted objects: %v", err)
	}
	shown := []ldap.Control{ldap.NewControlMicrosoftShowDeleted()}
	r, err = conn.Search(ldap.NewSearchRequest(s.BaseDN, ldap.ScopeWholeSubtree, 0, 0, 0, false, filter, nil, shown))
	if err != nil || len(r.Entries) != 1 {
		t.Fatalf("search for the tombstone: %v, want one entry", err)
	}
	e := r.Entries[0]
	if want := "OU=People," + s.BaseDN; e.GetAttributeValue("isDeleted") != "TRUE" || e.GetAttributeValue("lastKnownParent") != want || e.GetAttributeValue("sAMAccountName") != p.sam {
		t.Errorf("isDeleted %q, lastKnownParent %q, sAMAccountName %q, want TRUE, %q, %q", e.GetAttributeValue("isDeleted"),
			e.GetAttributeValue("lastKnownParent"), e.GetAttributeValue("sAMAccountName"), want, p.sam)
	}
	if name := e.GetAttributeValue("name"); name != p.sam+"\nDEL:"+guidText(guid) {
		t.Errorf("its name is %q", name)
	}
	if !strings.HasSuffix(e.DN, ",CN=Deleted Objects,"+s.BaseDN) {
		t.Errorf("it is at %q", e.DN)
	}
	for _, a := range e.Attributes {
		if slices.Contains([]string{"mail", "userPrincipalName", "memberOf"}, a.Name) {
			t.Errorf("it kept %s", a.Name)
		}
	}
	s.check(t, "bind as it", s.bind(t, p.upn, startPassword), differs(refused(0x525), refused(0x52e), "it does not tell whether the user exists"))
}

// extended: operations AD has, and lacks.
func (s *suite) extended(t *testing.T) {
	p := s.user(t)
	conn := s.as(t, p.dn, startPassword)
	r, err := conn.WhoAmI(nil)
	s.check(t, "who am I?", outcomeOf(t, err), differs(success, outcome{code: ldap.LDAPResultProtocolError}, "it has no Who am I?"))
	if err == nil && r.AuthzID != "u:"+s.NetBIOS+`\`+p.sam {
		t.Errorf("who am I: %q, want %q", r.AuthzID, "u:"+s.NetBIOS+`\`+p.sam)
	}
	_, err = conn.PasswordModify(ldap.NewPasswordModifyRequest("", startPassword, nextPassword))
	s.check(t, "RFC 3062", outcomeOf(t, err), both(outcome{code: ldap.LDAPResultProtocolError}))
	s.check(t, "the password is unchanged", s.bind(t, p.dn, startPassword), both(success))
	s.check(t, "StartTLS within TLS", outcomeOf(t, startTLS(conn)), both(outcome{code: ldap.LDAPResultOperationsError}))
}

func startTLS(conn *ldap.Conn) error {
	_, err := conn.Extended(ldap.NewExtendedRequest("1.3.6.1.4.1.1466.20037", nil))
	return err
}
