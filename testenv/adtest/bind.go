package adtest

import (
	"encoding/hex"
	"testing"
	"unicode/utf16"

	"github.com/go-ldap/ldap/v3"
)

func utf16Of(s string) []uint16 { return utf16.Encode([]rune(s)) }

// bindStates: what keeps an account from binding, and that a wrong password
// hides it.
func (s *suite) bindStates(t *testing.T) {
	set := func(attribute string, values ...string) func(*testing.T, person) {
		return func(t *testing.T, p person) { s.replace(t, p.dn, attribute, values...) }
	}
	lock := func(t *testing.T, p person) {
		for range Threshold {
			s.check(t, "wrong password", s.bind(t, p.dn, "wrong"), both(refused(0x52e)))
		}
	}
	tests := []struct {
		name         string
		prepare      func(*testing.T, person)
		right, wrong expectation
	}{
		{"enabled", nil, both(success), both(refused(0x52e))},
		{"disabled", set("userAccountControl", "514"), both(refused(0x533)), both(refused(0x52e))},
		{"password expired", func(t *testing.T, p person) { s.Expire(t, p.dn) }, both(refused(0x532)), both(refused(0x52e))},
		{"must change", set("pwdLastSet", "0"), both(refused(0x773)), both(refused(0x52e))},
		{"account expired", set("accountExpires", "130000000000000000"), both(refused(0x701)), both(refused(0x52e))},
		{"logon hours", set("logonHours", string(make([]byte, 21))), both(refused(0x530)), both(refused(0x52e))},
		{"workstations", set("userWorkstations", "OTHERPC"), both(refused(0x531)), both(refused(0x52e))},
		{"locked out", lock, both(refused(0x775)), both(refused(0x775))},
		{"never expires", func(t *testing.T, p person) {
			s.replace(t, p.dn, "userAccountControl", "66048")
			s.Expire(t, p.dn)
		}, both(success), both(refused(0x52e))},
		{"disabled and expired", func(t *testing.T, p person) {
			s.replace(t, p.dn, "userAccountControl", "514")
			s.Expire(t, p.dn)
		}, both(refused(0x533)), both(refused(0x52e))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := s.user(t)
			if tt.prepare != nil {
				tt.prepare(t, p)
			}
			s.check(t, "right password", s.bind(t, p.dn, startPassword), tt.right)
			s.check(t, "wrong password", s.bind(t, p.dn, "wrong"), tt.wrong)
		})
	}
}

// bindNames: names that bind, and names that do not.
func (s *suite) bindNames(t *testing.T) {
	p := s.user(t)
	e := read(t, s.admin(t), p.dn, "objectGUID", "objectSid")
	guid := e.GetRawAttributeValue("objectGUID")
	sid := e.GetRawAttributeValue("objectSid")
	unknown := differs(refused(0x525), refused(0x52e), "it does not tell whether the user exists")
	tests := []struct {
		form, name string
		want       expectation
	}{
		{"DN", p.dn, both(success)},
		{"DN in other case and spacing", "cn=" + p.sam + " , ou=PEOPLE," + s.BaseDN, both(success)},
		{"DN with an escape", `CN=\75` + p.sam[1:] + ",OU=People," + s.BaseDN, both(success)},
		{"GUID", "<GUID=" + guidText(guid) + ">", both(success)},
		{"GUID in hex", "<GUID=" + hex.EncodeToString(guid) + ">", both(success)},
		{"SID in hex", "<SID=" + hex.EncodeToString(sid) + ">", both(success)},
		{"SID in angle brackets", "<SID=" + sidText(sid) + ">", both(success)},
		{"SID", sidText(sid), both(success)},
		{"UPN", p.upn, both(success)},
		{"UPN in capitals", "U" + p.sam[1:] + "@CORP.EXAMPLE.TEST", both(success)},
		{"UPN and a space", p.upn + " ", both(success)},
		{"account@NETBIOS", p.sam + "@" + s.NetBIOS, both(success)},
		{`NETBIOS\account`, s.NetBIOS + `\` + p.sam, both(success)},
		{"canonical name", s.Domain + "/People/" + p.sam, both(success)},
		{"bare account name", p.sam, both(refused(0x52e))},
		{`DNS domain\account`, s.Domain + `\` + p.sam, both(refused(0x52e))},
		{"NETBIOS/account", s.NetBIOS + "/" + p.sam, both(refused(0x52e))},
		{"GUID in braces", "{" + guidText(guid) + "}", both(refused(0x52e))},
		{"unknown DN", "CN=nobody,OU=People," + s.BaseDN, unknown},
		{"unknown UPN", "nobody@" + s.Domain, unknown},
		{`NETBIOS\unknown`, s.NetBIOS + `\nobody`, unknown},
		{"a container", "OU=People," + s.BaseDN, differs(refused(0x52e), refused(0x1f), "it tries to log the container on")},
	}
	for _, tt := range tests {
		s.check(t, tt.form, s.bind(t, tt.name, startPassword), tt.want)
	}
	s.check(t, "no name, no password", s.bind(t, "", ""), both(success))
	s.check(t, "name and empty password", s.bind(t, p.dn, ""),
		differs(success, refused(0x52e), "it refuses unauthenticated binds, where Windows makes them anonymous"))
	s.check(t, "password, NUL and more", s.bind(t, p.dn, startPassword+"\x00garbage"), both(success))
	s.check(t, "password in another case", s.bind(t, p.dn, "start.pass1"), both(refused(0x52e)))
	s.check(t, "password and a space", s.bind(t, p.dn, startPassword+" "), both(refused(0x52e)))
}

// bindIdentity: who a connection acts as after binds of all kinds.
func (s *suite) bindIdentity(t *testing.T) {
	p := s.user(t)
	conn := s.dial(t)
	who := func() string {
		t.Helper()
		return sidText(read(t, conn, "", "tokenGroups").GetRawAttributeValue("tokenGroups"))
	}
	me := sidText(read(t, s.admin(t), p.dn, "objectSid").GetRawAttributeValue("objectSid"))
	const anonymous = "S-1-5-7"
	canSearch := func(want expectation) {
		t.Helper()
		_, err := search(conn, s.BaseDN, ldap.ScopeBaseObject, "(objectClass=*)")
		s.check(t, "search", outcomeOf(t, err), want)
	}
	unbound := differs(outcome{ldap.LDAPResultOperationsError, 0x4dc}, outcome{ldap.LDAPResultOperationsError, 0x2020}, "other Win32 error")

	if got := who(); got != anonymous {
		t.Errorf("before any bind: %s, want %s", got, anonymous)
	}
	canSearch(unbound)
	s.check(t, "bind", bindOn(t, conn, p.dn, startPassword), both(success))
	if got := who(); got != me {
		t.Errorf("bound: %s, want %s", got, me)
	}
	s.check(t, "wrong password", bindOn(t, conn, s.AdminDN, "wrong"), both(refused(0x52e)))
	if got := who(); got != me {
		t.Errorf("after a failed bind: %s, want %s still", got, me)
	}
	canSearch(both(success))
	s.check(t, "anonymous bind", bindOn(t, conn, "", ""), both(success))
	if got := who(); got != anonymous {
		t.Errorf("after an anonymous bind: %s, want %s", got, anonymous)
	}
	canSearch(unbound)
	req := ldap.NewModifyRequest(p.dn, nil)
	req.Replace("telephoneNumber", []string{"1"})
	s.check(t, "anonymous modify", outcomeOf(t, conn.Modify(req)), unbound)
}

// lockout: what counts as a wrong password, and what undoes it.
func (s *suite) lockout(t *testing.T) {
	p := s.user(t)
	count := func(want string) {
		t.Helper()
		if got := read(t, s.admin(t), p.dn, "badPwdCount").GetAttributeValue("badPwdCount"); got != want {
			t.Errorf("badPwdCount is %s, want %s", got, want)
		}
	}
	s.check(t, "wrong password", s.bind(t, p.dn, "wrong"), both(refused(0x52e)))
	count("1")
	s.check(t, "right password", s.bind(t, p.dn, startPassword), both(success))
	count("0")

	conn := s.as(t, p.dn, startPassword)
	for range Threshold {
		s.check(t, "change with a wrong old password", outcomeOf(t, conn.Modify(change(p.dn, "Wrong.Pass9", nextPassword))), both(outcome{ldap.LDAPResultConstraintViolation, 0x56}))
	}
	s.check(t, "locked by changes", s.bind(t, p.dn, startPassword), both(refused(0x775)))
	s.check(t, "change while locked", outcomeOf(t, conn.Modify(change(p.dn, startPassword, nextPassword))), both(outcome{ldap.LDAPResultConstraintViolation, 0x775}))
	if _, err := search(conn, p.dn, ldap.ScopeBaseObject, "(objectClass=*)"); err != nil {
		t.Errorf("a connection of a locked user no longer works: %v", err)
	}
	if got := read(t, s.admin(t), p.dn, "msDS-User-Account-Control-Computed").GetAttributeValue("msDS-User-Account-Control-Computed"); got != "16" {
		t.Errorf("computed account control is %s, want 16, locked out", got)
	}
	s.check(t, "reset", outcomeOf(t, s.admin(t).Modify(reset(p.dn, nextPassword))), both(success))
	s.check(t, "locked after a reset", s.bind(t, p.dn, nextPassword), both(refused(0x775)))
	s.replace(t, p.dn, "lockoutTime", "0")
	s.check(t, "unlocked", s.bind(t, p.dn, nextPassword), both(success))

	// The two passwords before do not count: a program may not know yet.
	s.check(t, "previous password", s.bind(t, p.dn, startPassword), both(refused(0x52e)))
	count("0")
}
