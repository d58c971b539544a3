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

// A Right is what a service account may do beyond reading.
type Right int

// Rights.
const (
	// DirSync allows replicating directory changes, flags 0 (MS-ADTS
	// 3.1.1.3.4.1.3).
	DirSync Right = iota
	// ReadDeleted allows reading deleted objects.
	ReadDeleted
	// ResetPasswords allows resetting passwords, demanding a change at the
	// next logon and unlocking, of users under OU=People.
	ResetPasswords
	// ManagePeople allows creating, changing and deleting users and groups
	// under OU=People.
	ManagePeople
	// Sync allows what the sync account needs under OU=People, and no more:
	// creating users and groups; of users resetting the password and writing
	// first and last name and userAccountControl; of groups writing the names
	// and the members.
	Sync
)

// AddServiceAccount adds an account under OU=Service whose password does not
// expire, and returns its DN. Like any account it can read the directory,
// deleted objects excepted.
func (dc *DC) AddServiceAccount(tb testing.TB, name string, password []byte, rights ...Right) (dn string) {
	tb.Helper()
	dn = dc.addUser(tb, "CN="+name+",OU=Service,"+dc.BaseDN, name, password,
		ldap.Attribute{Type: "userAccountControl", Vals: []string{"66048"}})
	for _, right := range rights {
		dc.grant(tb, dn, right)
	}
	return dn
}

// Schema and control access identifiers (MS-ADSC, MS-ADTS 5.1.3.2.1).
const (
	classUser           = "bf967aba-0de6-11d0-a285-00aa003049e2"
	classGroup          = "bf967a9c-0de6-11d0-a285-00aa003049e2"
	attrPwdLastSet      = "bf967a0a-0de6-11d0-a285-00aa003049e2"
	attrLockoutTime     = "28630ebf-41d5-11d1-a9c1-0000f80367c1"
	forceChangePassword = "00299570-246d-11d0-a768-00aa006e0529"

	attrGivenName          = "f0f8ff8e-1191-11d0-a060-00aa006c33ed"
	attrSN                 = "bf967a41-0de6-11d0-a285-00aa003049e2"
	attrUserAccountControl = "bf967a68-0de6-11d0-a285-00aa003049e2"
	attrSAMAccountName     = "3e0abfd0-126a-11d0-a060-00aa006c33ed"
	attrCN                 = "bf96793f-0de6-11d0-a285-00aa003049e2"
	attrName               = "bf967a0e-0de6-11d0-a285-00aa003049e2"
	attrMember             = "bf9679c0-0de6-11d0-a285-00aa003049e2"
)

func (dc *DC) grant(tb testing.TB, dn string, right Right) {
	tb.Helper()
	if right == DirSync {
		dc.Tool(tb, "dsacl", "set", "--objectdn="+dc.BaseDN, "--action=allow", "--car=get-changes", "--trusteedn="+dn)
		return
	}
	sid := dc.SID(tb, dn)
	var aces string
	switch right {
	case ReadDeleted:
		dc.allowDeleted(tb, sid)
		return
	case ResetPasswords:
		aces = fmt.Sprintf("(OA;CIIO;CR;%s;%s;%s)", forceChangePassword, classUser, sid) +
			fmt.Sprintf("(OA;CIIO;RPWP;%s;%s;%s)", attrPwdLastSet, classUser, sid) +
			fmt.Sprintf("(OA;CIIO;RPWP;%s;%s;%s)", attrLockoutTime, classUser, sid)
	case ManagePeople:
		for _, class := range []string{classUser, classGroup} {
			aces += fmt.Sprintf("(OA;CI;CCDC;%s;;%s)(OA;CIIO;GA;;%s;%s)", class, sid, class, sid)
		}
	case Sync:
		aces = fmt.Sprintf("(OA;CIIO;CR;%s;%s;%s)", forceChangePassword, classUser, sid)
		for class, attributes := range map[string][]string{classUser: {attrGivenName, attrSN, attrUserAccountControl},
			classGroup: {attrSAMAccountName, attrCN, attrName, attrMember}} {
			aces += fmt.Sprintf("(OA;CI;CC;%s;;%s)", class, sid)
			for _, attribute := range attributes {
				aces += fmt.Sprintf("(OA;CIIO;WP;%s;%s;%s)", attribute, class, sid)
			}
		}
	default:
		tb.Fatalf("grant right %d to %s: no such right", right, dn)
	}
	dc.Tool(tb, "dsacl", "set", "--objectdn="+dc.PeopleDN(), "--sddl="+aces)
}

// SID is the objectSid of an object, as text.
func (dc *DC) SID(tb testing.TB, dn string) string {
	tb.Helper()
	out := dc.LDB(tb, "", "ldbsearch", "-b", dn, "-s", "base", "objectSid")
	for line := range strings.Lines(out) {
		if sid, ok := strings.CutPrefix(line, "objectSid: "); ok {
			return strings.TrimSpace(sid)
		}
	}
	tb.Fatalf("read the SID of %s: it has none", dn)
	return ""
}
