package adtest

import (
	"testing"

	"github.com/go-ldap/ldap/v3"
)

const pwd = "unicodePwd"

func change(dn, old, new string) *ldap.ModifyRequest {
	req := ldap.NewModifyRequest(dn, nil)
	req.Delete(pwd, []string{quoted(old)})
	req.Add(pwd, []string{quoted(new)})
	return req
}

func reset(dn, new string) *ldap.ModifyRequest {
	req := ldap.NewModifyRequest(dn, nil)
	req.Replace(pwd, []string{quoted(new)})
	return req
}

// Who writes a password.
type actor int

const (
	admin actor = iota
	self
	another
	nobody
)

type step = func(*ldap.ModifyRequest)

func del(v ...string) step { return func(r *ldap.ModifyRequest) { r.Delete(pwd, v) } }
func add(v ...string) step { return func(r *ldap.ModifyRequest) { r.Add(pwd, v) } }
func rep(v ...string) step { return func(r *ldap.ModifyRequest) { r.Replace(pwd, v) } }
func set(attribute string, v ...string) step {
	return func(r *ldap.ModifyRequest) { r.Replace(attribute, v) }
}

// passwords: every shape of a write of unicodePwd, who may do it, how it ends,
// and which password binds afterwards.
func (s *suite) passwords(t *testing.T) {
	ok := both(success)
	const constraint, unwilling = ldap.LDAPResultConstraintViolation, ldap.LDAPResultUnwillingToPerform
	policyChange := both(outcome{constraint, 0x52d})
	policyReset := differs(outcome{unwilling, 0x52d}, outcome{constraint, 0x52d}, "it answers resets as it answers changes")
	shape := differs(outcome{unwilling, 0x1f}, outcome{unwilling, 0x2035}, "other Win32 error")
	old, next := quoted(startPassword), quoted(nextPassword)
	tests := []struct {
		name  string
		by    actor
		steps []step
		want  expectation
		binds string // afterwards; "" if nothing is to be tried
	}{
		{"reset by admin", admin, []step{rep(next)}, ok, nextPassword},
		{"reset to the same", admin, []step{rep(old)}, ok, startPassword},
		{"reset by self", self, []step{rep(next)}, both(outcome{code: ldap.LDAPResultInsufficientAccessRights}), startPassword},
		{"reset by another", another, []step{rep(next)}, both(outcome{code: ldap.LDAPResultInsufficientAccessRights}), startPassword},
		{"reset by nobody", nobody, []step{rep(next)}, both(outcome{code: ldap.LDAPResultOperationsError}), startPassword},
		{"reset too short", admin, []step{rep(quoted("Ab.1"))}, policyReset, startPassword},
		{"reset not complex", admin, []step{rep(quoted("aaaaaaaaaa"))}, policyReset, startPassword},
		{"reset non-ASCII", admin, []step{rep(quoted("Pässwörd€1😀"))}, ok, "Pässwörd€1😀"},
		{"reset with quotes inside", admin, []step{rep(quoted(`Quo"te".12`))}, ok, `Quo"te".12`},
		{"reset, two values", admin, []step{rep(quoted("First.One1"), next)}, ok, nextPassword},
		{"reset, twice", admin, []step{rep(quoted("First.One1")), rep(next)}, ok, nextPassword},
		{"reset, no value", admin, []step{rep()}, shape, startPassword},
		{"reset, empty value", admin, []step{rep("")}, both(outcome{code: ldap.LDAPResultInvalidAttributeSyntax}), startPassword},
		{"reset without quotes", admin, []step{rep(utf16LE(nextPassword))}, shape, startPassword},
		{"reset in UTF-8", admin, []step{rep(`"` + nextPassword + `"`)}, shape, startPassword},
		{"reset with one quote", admin, []step{rep(utf16LE(`"` + nextPassword))}, shape, startPassword},
		{"reset of odd length", admin, []step{rep(next + "x")}, shape, startPassword},
		{"delete all and add", admin, []step{del(), add(next)}, ok, nextPassword},
		{"delete all and add, by self", self, []step{del(), add(next)}, both(outcome{code: constraint}), startPassword},

		{"change", self, []step{del(old), add(next)}, ok, nextPassword},
		{"change, add first", self, []step{add(next), del(old)}, ok, nextPassword},
		{"change, with another attribute between", self, []step{del(old), set("telephoneNumber", "1"), add(next)}, ok, nextPassword},
		{"change by another who knows it", another, []step{del(old), add(next)}, ok, nextPassword},
		{"change by admin", admin, []step{del(old), add(next)}, ok, nextPassword},
		{"change by nobody", nobody, []step{del(old), add(next)}, both(outcome{code: ldap.LDAPResultOperationsError}), startPassword},
		{"change, wrong old", self, []step{del(next), add(quoted("Third.One3"))}, both(outcome{constraint, 0x56}), startPassword},
		{"change to the same", self, []step{del(old), add(old)}, policyChange, startPassword},
		{"change too short", self, []step{del(old), add(quoted("Ab.1"))}, policyChange, startPassword},
		{"change not complex", self, []step{del(old), add(quoted("aaaaaaaaaa"))}, policyChange, startPassword},
		{"change to empty quotes", self, []step{del(old), add(quoted(""))}, policyChange, startPassword},
		{"add alone", self, []step{add(next)}, both(outcome{code: ldap.LDAPResultInsufficientAccessRights}), startPassword},
		{"add alone, by admin", admin, []step{add(next)}, shape, startPassword},
		{"delete alone", self, []step{del(old)}, shape, startPassword},
		{"delete two", self, []step{del(old, next), add(next)}, both(outcome{code: constraint}), startPassword},
		{"add two", self, []step{del(old), add(next, quoted("Third.One3"))}, both(outcome{code: constraint}), startPassword},
		{"with an unknown attribute", admin, []step{rep(next), set("noSuchThing", "x")}, both(outcome{code: ldap.LDAPResultNoSuchAttribute}), startPassword},
		{"other case of the name", admin, []step{func(r *ldap.ModifyRequest) { r.Replace("UNICODEPWD", []string{next}) }}, ok, nextPassword},
		{"with an option", admin, []step{func(r *ldap.ModifyRequest) { r.Replace("unicodePwd;binary", []string{next}) }}, both(outcome{code: ldap.LDAPResultNoSuchAttribute}), startPassword},
		{"as an OID", admin, []step{func(r *ldap.ModifyRequest) { r.Replace("1.2.840.113556.1.4.90", []string{next}) }}, both(outcome{code: ldap.LDAPResultNoSuchAttribute}), startPassword},
		{"contains the account name", admin, []step{rep(quoted("Xy-zappa-77"))},
			differs(outcome{unwilling, 0x52d}, success, "it does not look for names"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := s.user(t, ldap.Attribute{Type: "displayName", Vals: []string{"Zappa, Test"}})
			req := ldap.NewModifyRequest(p.dn, nil)
			for _, step := range tt.steps {
				step(req)
			}
			s.check(t, "modify", outcomeOf(t, s.connOf(t, tt.by, p).Modify(req)), tt.want)
			if tt.binds == "" {
				return
			}
			s.check(t, "bind afterwards", s.bind(t, p.dn, tt.binds), both(success))
			other := startPassword
			if tt.binds == startPassword {
				other = nextPassword
			}
			s.check(t, "bind with the other password", s.bind(t, p.dn, other), both(refused(0x52e)))
		})
	}
}

func (s *suite) connOf(t testing.TB, who actor, p person) *ldap.Conn {
	t.Helper()
	switch who {
	case admin:
		return s.admin(t)
	case self:
		return s.as(t, p.dn, startPassword)
	case another:
		return s.as(t, s.user(t).dn, startPassword)
	}
	return s.dial(t)
}

func utf16LE(s string) string {
	q := quoted(s)
	return q[2 : len(q)-2]
}

// passwordStates: changes of accounts that cannot bind, histories, temporary
// passwords, what is left on the account.
func (s *suite) passwordStates(t *testing.T) {
	t.Run("must change, by another", func(t *testing.T) {
		p := s.user(t)
		s.replace(t, p.dn, "pwdLastSet", "0")
		s.check(t, "bind", s.bind(t, p.dn, startPassword), both(refused(0x773)))
		s.check(t, "change", outcomeOf(t, s.connOf(t, another, p).Modify(change(p.dn, startPassword, nextPassword))), both(success))
		s.check(t, "bind with the new one", s.bind(t, p.dn, nextPassword), both(success))
	})
	t.Run("expired, by another", func(t *testing.T) {
		p := s.user(t)
		s.Expire(t, p.dn)
		s.check(t, "change", outcomeOf(t, s.connOf(t, another, p).Modify(change(p.dn, startPassword, nextPassword))), both(success))
		s.check(t, "bind with the new one", s.bind(t, p.dn, nextPassword), both(success))
	})
	t.Run("history", func(t *testing.T) {
		p := s.user(t)
		conn := s.as(t, p.dn, startPassword)
		s.check(t, "first change", outcomeOf(t, conn.Modify(change(p.dn, startPassword, nextPassword))), both(success))
		s.check(t, "back", outcomeOf(t, conn.Modify(change(p.dn, nextPassword, startPassword))), both(outcome{ldap.LDAPResultConstraintViolation, 0x52d}))
		s.check(t, "reset into the history", outcomeOf(t, s.admin(t).Modify(reset(p.dn, startPassword))), both(success))
	})
	t.Run("temporary password", func(t *testing.T) {
		p := s.user(t)
		req := reset(p.dn, nextPassword)
		req.Replace("pwdLastSet", []string{"0"})
		s.check(t, "reset", outcomeOf(t, s.admin(t).Modify(req)), both(success))
		s.check(t, "bind", s.bind(t, p.dn, nextPassword), both(refused(0x773)))
		s.replace(t, p.dn, "pwdLastSet", "-1")
		s.check(t, "bind after -1", s.bind(t, p.dn, nextPassword), both(success))
	})
	t.Run("pwdLastSet moves", func(t *testing.T) {
		p := s.user(t)
		before := read(t, s.admin(t), p.dn, "pwdLastSet", "uSNChanged")
		s.check(t, "reset", outcomeOf(t, s.admin(t).Modify(reset(p.dn, nextPassword))), both(success))
		after := read(t, s.admin(t), p.dn, "pwdLastSet", "uSNChanged")
		for _, a := range []string{"pwdLastSet", "uSNChanged"} {
			if b, c := before.GetAttributeValue(a), after.GetAttributeValue(a); b >= c {
				t.Errorf("%s was %s, is %s, want more", a, b, c)
			}
		}
	})
	t.Run("by GUID", func(t *testing.T) {
		p := s.user(t)
		guid := read(t, s.admin(t), p.dn, "objectGUID").GetRawAttributeValue("objectGUID")
		s.check(t, "reset", outcomeOf(t, s.admin(t).Modify(reset("<GUID="+guidText(guid)+">", nextPassword))), both(success))
		s.check(t, "bind", s.bind(t, p.dn, nextPassword), both(success))
	})
	t.Run("no such object", func(t *testing.T) {
		s.check(t, "reset", outcomeOf(t, s.admin(t).Modify(reset("CN=nobody,OU=People,"+s.BaseDN, nextPassword))), both(outcome{code: ldap.LDAPResultNoSuchObject}))
	})
	t.Run("never returned", func(t *testing.T) {
		p := s.user(t)
		if has(read(t, s.admin(t), p.dn, pwd, "cn"), pwd) {
			t.Error("unicodePwd came back")
		}
		r, err := search(s.admin(t), p.dn, ldap.ScopeBaseObject, "(unicodePwd=*)", "cn")
		if err != nil || len(r.Entries) != 0 {
			t.Errorf("unicodePwd can be searched for: %v", err)
		}
	})
}

// userPassword is an ordinary attribute.
func (s *suite) userPassword(t *testing.T) {
	p := s.user(t)
	s.replace(t, p.dn, "userPassword", nextPassword)
	s.check(t, "the password is unchanged", s.bind(t, p.dn, startPassword), both(success))
	s.check(t, "it is none", s.bind(t, p.dn, nextPassword), both(refused(0x52e)))
	reader := s.connOf(t, another, p)
	if got := read(t, reader, p.dn, "userPassword").GetAttributeValue("userPassword"); got != nextPassword {
		t.Errorf("another user does not read it: got %d bytes, want %d", len(got), len(nextPassword))
	}
}
