package samba

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// PeopleDN is where AddUser puts users.
func (dc *DC) PeopleDN() string { return "OU=People," + dc.BaseDN }

// AddUser adds an enabled user with a first and a last name, a mail address and
// a userPrincipalName of that name, and the password. Extra attributes replace
// these, or add to them; one without values is left out. It returns the DN.
func (dc *DC) AddUser(tb testing.TB, name string, password []byte, extra ...ldap.Attribute) (dn string) {
	tb.Helper()
	return dc.addUser(tb, "CN="+name+","+dc.PeopleDN(), name, password, extra...)
}

func (dc *DC) addUser(tb testing.TB, dn, name string, password []byte, extra ...ldap.Attribute) string {
	tb.Helper()
	quoted, err := ldapwire.AppendUnicodePwd(nil, password)
	if err != nil {
		tb.Fatalf("add user %s: %v", name, err)
	}
	attrs := []ldap.Attribute{
		{Type: "objectClass", Vals: []string{"user"}},
		{Type: "sAMAccountName", Vals: []string{name}},
		{Type: "userPrincipalName", Vals: []string{name + "@" + dc.Domain}},
		{Type: "givenName", Vals: []string{name}},
		{Type: "sn", Vals: []string{"Test"}},
		{Type: "mail", Vals: []string{name + "@" + dc.Domain}},
		{Type: "userAccountControl", Vals: []string{"512"}},
		{Type: "unicodePwd", Vals: []string{string(quoted)}},
	}
	req := ldap.NewAddRequest(dn, nil)
	req.Attributes = merge(attrs, extra)
	if err := dc.Conn(tb).Add(req); err != nil {
		tb.Fatalf("add user %s: %v", name, err)
	}
	return dn
}

// merge puts extra over attrs.
func merge(attrs, extra []ldap.Attribute) []ldap.Attribute {
	var merged []ldap.Attribute
	for _, a := range attrs {
		replaced := false
		for _, e := range extra {
			replaced = replaced || strings.EqualFold(a.Type, e.Type)
		}
		if !replaced {
			merged = append(merged, a)
		}
	}
	for _, e := range extra {
		if len(e.Vals) > 0 {
			merged = append(merged, e)
		}
	}
	return merged
}

// AddGroup adds a global security group with members and returns its DN.
func (dc *DC) AddGroup(tb testing.TB, name string, members ...string) (dn string) {
	tb.Helper()
	dn = "CN=" + name + ",OU=Groups," + dc.BaseDN
	req := ldap.NewAddRequest(dn, nil)
	req.Attribute("objectClass", []string{"group"})
	req.Attribute("sAMAccountName", []string{name})
	if len(members) > 0 {
		req.Attribute("member", members)
	}
	if err := dc.Conn(tb).Add(req); err != nil {
		tb.Fatalf("add group %s: %v", name, err)
	}
	return dn
}

// Replace replaces an attribute of an object, as the administrator.
func (dc *DC) Replace(tb testing.TB, dn, attribute string, values ...string) {
	tb.Helper()
	req := ldap.NewModifyRequest(dn, nil)
	req.Replace(attribute, values)
	if err := dc.Conn(tb).Modify(req); err != nil {
		tb.Fatalf("replace %s of %s: %v", attribute, dn, err)
	}
}

// ResetPassword sets a password as the administrator.
func (dc *DC) ResetPassword(tb testing.TB, dn string, password []byte) {
	tb.Helper()
	quoted, err := ldapwire.AppendUnicodePwd(nil, password)
	if err != nil {
		tb.Fatalf("reset the password of %s: %v", dn, err)
	}
	dc.Replace(tb, dn, "unicodePwd", string(quoted))
}

// Expire makes the password of a user as old as 2012: binds fail with 532.
func (dc *DC) Expire(tb testing.TB, dn string) {
	tb.Helper()
	dc.SetPwdLastSet(tb, dn, time.Date(2012, 12, 14, 7, 6, 40, 0, time.UTC))
}

// SetPwdLastSet makes the password of a user as old as that.
func (dc *DC) SetPwdLastSet(tb testing.TB, dn string, at time.Time) {
	tb.Helper()
	// Over LDAP pwdLastSet can only become 0 or now; this control lifts that.
	dc.LDB(tb, fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: pwdLastSet\npwdLastSet: %d\n", dn, at.UnixNano()/100+filetimeOfUnixEpoch),
		"ldbmodify", "--controls=local_oid:1.3.6.1.4.1.7165.4.3.20:0")
}

// MustChange demands a new password at the next logon: binds fail with 773.
func (dc *DC) MustChange(tb testing.TB, dn string) {
	tb.Helper()
	dc.Replace(tb, dn, "pwdLastSet", "0")
}

// Disable disables an account: binds fail with 533.
func (dc *DC) Disable(tb testing.TB, dn string) {
	tb.Helper()
	dc.Replace(tb, dn, "userAccountControl", "514")
}

// Enable ends what [DC.Disable] began.
func (dc *DC) Enable(tb testing.TB, dn string) {
	tb.Helper()
	dc.Replace(tb, dn, "userAccountControl", "512")
}

// Lock locks an account as wrong passwords do: binds fail with 775.
func (dc *DC) Lock(tb testing.TB, dn string) {
	tb.Helper()
	now := time.Now().UnixNano()/100 + filetimeOfUnixEpoch
	dc.Replace(tb, dn, "lockoutTime", strconv.FormatInt(now, 10))
}

// filetimeOfUnixEpoch is 1970 in units of 100 ns since 1601.
const filetimeOfUnixEpoch = 116444736000000000

// Unlock ends a lockout.
func (dc *DC) Unlock(tb testing.TB, dn string) {
	tb.Helper()
	dc.Replace(tb, dn, "lockoutTime", "0")
}

// ExpireAccount lets an account end in 2012: binds fail with 701.
func (dc *DC) ExpireAccount(tb testing.TB, dn string) {
	tb.Helper()
	dc.Replace(tb, dn, "accountExpires", "130000000000000000")
}
