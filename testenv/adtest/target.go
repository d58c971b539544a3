package adtest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/secret"
)

// A Target is a domain to try the cases on. Its policy: minimum length 7,
// complexity, a history of 24, no minimum age, lockout after [Threshold] wrong
// passwords for a minute or more, no grace for replaced passwords. It has
// OU=People.
type Target struct {
	Samba         bool // expect what Samba does where it differs from Windows
	URL           string
	TLS           *tls.Config
	BaseDN        string
	Domain        string // DNS name
	NetBIOS       string
	AdminDN       string
	AdminPassword secret.Bytes

	// Expire makes the password of a user older than the policy allows,
	// which no client can.
	Expire func(tb testing.TB, dn string)
}

// Threshold is the number of wrong passwords that lock an account.
const Threshold = 3

// Run runs all cases on the target that start begins.
func Run(t *testing.T, start func(t *testing.T) Target) {
	target := start(t)
	s := &suite{Target: target}
	s.boss = s.as(t, s.AdminDN, string(s.AdminPassword.Expose()))
	for _, group := range []struct {
		name string
		run  func(*suite, *testing.T)
	}{
		{"BindStates", (*suite).bindStates},
		{"BindNames", (*suite).bindNames},
		{"BindIdentity", (*suite).bindIdentity},
		{"Lockout", (*suite).lockout},
		{"Password", (*suite).passwords},
		{"PasswordState", (*suite).passwordStates},
		{"UserPassword", (*suite).userPassword},
		{"Filters", (*suite).filters},
		{"Shape", (*suite).shape},
		{"SearchErrors", (*suite).searchErrors},
		{"RootDSE", (*suite).rootDSE},
		{"Paging", (*suite).paging},
		{"Writes", (*suite).writes},
		{"Rename", (*suite).rename},
		{"Tombstone", (*suite).tombstone},
		{"DeletedObjects", (*suite).deletedObjects},
		{"PrimaryGroup", (*suite).primaryGroup},
		{"ExtendedNames", (*suite).extendedNames},
		{"DirSync", (*suite).dirSync},
		{"DirSyncRefused", (*suite).dirSyncRefused},
		{"Notification", (*suite).notification},
		{"Extended", (*suite).extended},
		{"Frames", (*suite).frames},
	} {
		t.Run(group.name, func(t *testing.T) { group.run(s, t) })
	}
}

type suite struct {
	Target
	boss  *ldap.Conn
	users atomic.Int64
}

const timeout = 30 * time.Second

// Start is the password that users begin with; it and its relatives do not
// contain the names used here.
const (
	startPassword = "Start.Pass1"
	nextPassword  = "Other.Word2"
)

func (s *suite) dial(t testing.TB) *ldap.Conn {
	t.Helper()
	conn, err := ldap.DialURL(s.URL, ldap.DialWithTLSConfig(s.TLS))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	conn.SetTimeout(timeout)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// as is a new connection bound as somebody.
func (s *suite) as(t testing.TB, name, password string) *ldap.Conn {
	t.Helper()
	conn := s.dial(t)
	if err := conn.Bind(name, password); err != nil {
		t.Fatalf("bind as %s: %v", name, err)
	}
	return conn
}

// admin is a connection bound as the administrator, which no case may bind anew.
func (s *suite) admin(t testing.TB) *ldap.Conn {
	t.Helper()
	if s.boss.IsClosing() {
		t.Fatal("the administrator's connection was closed")
	}
	return s.boss
}

// A person is a user of one case.
type person struct{ dn, sam, upn string }

// user adds an enabled user with startPassword.
func (s *suite) user(t testing.TB, extra ...ldap.Attribute) person {
	t.Helper()
	sam := fmt.Sprintf("u%d", s.users.Add(1))
	p := person{"CN=" + sam + ",OU=People," + s.BaseDN, sam, sam + "@" + s.Domain}
	req := ldap.NewAddRequest(p.dn, nil)
	req.Attribute("objectClass", []string{"user"})
	req.Attribute("sAMAccountName", []string{sam})
	req.Attribute("userPrincipalName", []string{p.upn})
	req.Attribute("userAccountControl", []string{"512"})
	req.Attribute("unicodePwd", []string{quoted(startPassword)})
	req.Attributes = append(req.Attributes, extra...)
	if err := s.admin(t).Add(req); err != nil {
		t.Fatalf("add %s: %v", sam, err)
	}
	return p
}

// replace replaces an attribute as the administrator.
func (s *suite) replace(t testing.TB, dn, attribute string, values ...string) {
	t.Helper()
	req := ldap.NewModifyRequest(dn, nil)
	req.Replace(attribute, values)
	if err := s.admin(t).Modify(req); err != nil {
		t.Fatalf("replace %s: %v", attribute, err)
	}
}

// quoted is a value of unicodePwd.
func quoted(password string) string {
	var b strings.Builder
	for _, u := range utf16Of(`"` + password + `"`) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return b.String()
}

// An outcome is how an operation ended: the result code, and a reason where the
// case looks at one: data of a refused bind, else the error the text begins
// with. A reason of 0 is not compared.
type outcome struct {
	code   uint16
	reason uint32
}

func (o outcome) String() string { return fmt.Sprintf("%d (%08X)", o.code, o.reason) }

var success = outcome{}

// Common outcomes.
func refused(reason uint32) outcome { return outcome{ldap.LDAPResultInvalidCredentials, reason} }

// outcomeOf reads an error of go-ldap's.
func outcomeOf(t testing.TB, err error) outcome {
	t.Helper()
	if err == nil {
		return success
	}
	var e *ldap.Error
	if !errors.As(err, &e) || e.ResultCode >= ldap.ErrorNetwork {
		t.Fatalf("no answer: %v", err)
	}
	text := []byte(e.Err.Error())
	o := outcome{code: e.ResultCode}
	if reason, ok := ldapwire.SubCode(text); ok && e.ResultCode == ldap.LDAPResultInvalidCredentials {
		o.reason = reason
	} else if reason, ok := ldapwire.Win32Code(text); ok {
		o.reason = reason
	}
	return o
}

// An expectation is what an AD does, and what Samba does if that differs.
type expectation struct {
	want  outcome
	samba *outcome
	why   string // that Samba differs
}

func both(o outcome) expectation { return expectation{want: o} }

func differs(windows, samba outcome, why string) expectation {
	return expectation{want: windows, samba: &samba, why: why}
}

// check compares an outcome with what is expected of this target.
func (s *suite) check(t testing.TB, what string, got outcome, x expectation) {
	t.Helper()
	want, note := x.want, ""
	if s.Samba && x.samba != nil {
		want, note = *x.samba, ", as Samba differs: "+x.why
	}
	if got.code != want.code || want.reason != 0 && got.reason != want.reason {
		t.Errorf("%s: got %v, want %v%s", what, got, want, note)
	}
}

// bind tries a name and a password on a connection of its own.
func (s *suite) bind(t testing.TB, name, password string) outcome {
	t.Helper()
	conn := s.dial(t)
	defer conn.Close()
	return bindOn(t, conn, name, password)
}

func bindOn(t testing.TB, conn *ldap.Conn, name, password string) outcome {
	t.Helper()
	_, err := conn.SimpleBind(&ldap.SimpleBindRequest{Username: name, Password: password, AllowEmptyPassword: true})
	return outcomeOf(t, err)
}

// has reports whether an attribute came, with or without values.
func has(e *ldap.Entry, name string) bool {
	return slices.ContainsFunc(e.Attributes, func(a *ldap.EntryAttribute) bool { return strings.EqualFold(a.Name, name) })
}

// search is a search with go-ldap.
func search(conn *ldap.Conn, base string, scope int, filter string, attrs ...string) (*ldap.SearchResult, error) {
	return conn.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, filter, attrs, nil))
}

// read reads one entry.
func read(t testing.TB, conn *ldap.Conn, dn string, attrs ...string) *ldap.Entry {
	t.Helper()
	r, err := search(conn, dn, ldap.ScopeBaseObject, "(objectClass=*)", attrs...)
	if err != nil || len(r.Entries) != 1 {
		t.Fatalf("read %s: %v", dn, err)
	}
	return r.Entries[0]
}
