package adsim

import (
	b64 "encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/secret"
)

func base64(s string) string { return b64.StdEncoding.EncodeToString([]byte(s)) }

// A clock stands still until it is moved.
type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

func newTestDirectory(t *testing.T, p Policy, grace time.Duration) (*Directory, *clock, string) {
	t.Helper()
	c := &clock{time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)} // a Wednesday
	d := NewDirectory(DirectoryConfig{Domain: "corp.example.test", Policy: p, OldPasswordGrace: grace,
		AdminPassword: secret.New([]byte(adminPassword)), Now: c.read})
	dn, err := d.AddUser(User{Name: "alice", Password: secret.New([]byte(userPassword))})
	if err != nil {
		t.Fatal(err)
	}
	return d, c, dn
}

// reason is the sub-code of a bind, 0 for success.
func reason(d *Directory, name, password string) uint32 {
	_, err := d.Bind(name, []byte(password))
	var r *Refusal
	if !errors.As(err, &r) {
		return 0
	}
	code, _ := ldapwire.SubCode([]byte(r.Text))
	return code
}

func changeOf(t *testing.T, d *Directory, dn, old, new string) *Refusal {
	t.Helper()
	id, err := d.Bind(d.AdminDN(), []byte(adminPassword))
	if err != nil {
		t.Fatal(err)
	}
	return refusalOf(d.Modify(id, dn, []Change{
		{ldapwire.ModDelete, "unicodePwd", []string{quoted(old)}},
		{ldapwire.ModAdd, "unicodePwd", []string{quoted(new)}},
	}, false))
}

func TestLockoutEnds(t *testing.T) {
	p := DefaultPolicy()
	p.LockoutThreshold, p.LockoutDuration, p.LockoutWindow = 2, 10*time.Minute, 5*time.Minute
	d, c, dn := newTestDirectory(t, p, 0)
	steps := []struct {
		after    time.Duration
		password string
		want     uint32
	}{
		{0, "wrong", 0x52e},
		{5 * time.Minute, "wrong", 0x52e}, // the first is forgotten
		{time.Minute, userPassword, 0},    // and this one by success
		{0, "wrong", 0x52e},
		{0, "wrong", 0x52e},
		{0, userPassword, 0x775},
		{10*time.Minute - 1, userPassword, 0x775},
		{1, userPassword, 0},
	}
	for i, s := range steps {
		c.now = c.now.Add(s.after)
		if got := reason(d, dn, s.password); got != s.want {
			t.Errorf("step %d: sub-code %x, want %x", i, got, s.want)
		}
	}
}

func TestLockoutWithoutEnd(t *testing.T) {
	p := DefaultPolicy()
	p.LockoutThreshold, p.LockoutDuration = 1, 0
	d, c, dn := newTestDirectory(t, p, 0)
	reason(d, dn, "wrong")
	c.now = c.now.Add(1000 * time.Hour)
	if got := reason(d, dn, userPassword); got != 0x775 {
		t.Errorf("sub-code %x, want 775", got)
	}
}

func TestPasswordExpires(t *testing.T) {
	p := DefaultPolicy()
	p.MaxAge = 24 * time.Hour
	d, c, dn := newTestDirectory(t, p, 0)
	c.now = c.now.Add(24*time.Hour - time.Second)
	if got := reason(d, dn, userPassword); got != 0 {
		t.Errorf("just before: sub-code %x, want success", got)
	}
	c.now = c.now.Add(time.Second)
	if got := reason(d, dn, userPassword); got != 0x532 {
		t.Errorf("at the age: sub-code %x, want 532", got)
	}
	p.MaxAge = 0
	d, c, dn = newTestDirectory(t, p, 0)
	c.now = c.now.Add(100000 * time.Hour)
	if got := reason(d, dn, userPassword); got != 0 {
		t.Errorf("without a maximum: sub-code %x, want success", got)
	}
}

func TestMinimumAge(t *testing.T) {
	p := DefaultPolicy()
	p.MinAge = time.Hour
	d, c, dn := newTestDirectory(t, p, 0)
	c.now = c.now.Add(time.Hour - time.Second)
	if got := changeOf(t, d, dn, userPassword, "Other.Word2"); got.Code != ldapwire.ResultConstraintViolation {
		t.Errorf("too young: %v, want constraint violation", got)
	}
	c.now = c.now.Add(time.Second)
	if got := changeOf(t, d, dn, userPassword, "Other.Word2"); got.Code != 0 {
		t.Errorf("old enough: %v, want success", got)
	}
}

func TestHistoryLength(t *testing.T) {
	p := DefaultPolicy()
	p.History = 2
	d, _, dn := newTestDirectory(t, p, 0)
	for i, step := range []struct {
		old, new string
		code     ldapwire.ResultCode
	}{
		{userPassword, "Second.Pw2", 0},
		{"Second.Pw2", userPassword, ldapwire.ResultConstraintViolation},
		{"Second.Pw2", "Third.Pw3", 0},
		{"Third.Pw3", userPassword, 0}, // no longer remembered
	} {
		if got := changeOf(t, d, dn, step.old, step.new); got.Code != step.code {
			t.Errorf("step %d: %v, want %v", i, got, step.code)
		}
	}
}

func TestOldPasswordGrace(t *testing.T) {
	d, c, dn := newTestDirectory(t, Policy{}, time.Hour)
	if got := changeOf(t, d, dn, userPassword, "Other.Word2"); got.Code != 0 {
		t.Fatal(got)
	}
	c.now = c.now.Add(time.Hour - time.Second)
	if got := reason(d, dn, userPassword); got != 0 {
		t.Errorf("within the hour: sub-code %x, want success", got)
	}
	c.now = c.now.Add(time.Second)
	if got := reason(d, dn, userPassword); got != 0x52e {
		t.Errorf("after the hour: sub-code %x, want 52e", got)
	}
	if got := reason(d, dn, "Other.Word2"); got != 0 {
		t.Errorf("new password: sub-code %x, want success", got)
	}
}

func TestLogonHours(t *testing.T) {
	d, c, dn := newTestDirectory(t, Policy{}, 0)
	id, err := d.Bind(d.AdminDN(), []byte(adminPassword))
	if err != nil {
		t.Fatal(err)
	}
	hours := make([]byte, 21)
	hour := 3*24 + 12 // Wednesday noon
	hours[hour/8] = 1 << (hour % 8)
	if err := d.Modify(id, dn, []Change{{ldapwire.ModReplace, "logonHours", []string{string(hours)}}}, false); err != nil {
		t.Fatal(err)
	}
	if got := reason(d, dn, userPassword); got != 0 {
		t.Errorf("within: sub-code %x, want success", got)
	}
	c.now = c.now.Add(time.Hour)
	if got := reason(d, dn, userPassword); got != 0x530 {
		t.Errorf("outside: sub-code %x, want 530", got)
	}
}

// TestOperatorRights: account operators reset passwords of ordinary users, and
// not those of administrators.
func TestOperatorRights(t *testing.T) {
	d, _, alice := newTestDirectory(t, Policy{}, 0)
	op, err := d.AddUser(User{Name: "op", Password: secret.New([]byte(userPassword)), Container: "OU=Service," + d.BaseDN(), Groups: []string{"Account Operators"}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := d.Bind(op, []byte(userPassword))
	if err != nil {
		t.Fatal(err)
	}
	reset := []Change{{ldapwire.ModReplace, "unicodePwd", []string{quoted("Other.Word2")}}}
	for dn, want := range map[string]ldapwire.ResultCode{alice: 0, d.AdminDN(): ldapwire.ResultInsufficientAccessRights, d.BaseDN(): ldapwire.ResultInsufficientAccessRights} {
		if got := refusalOf(d.Modify(id, dn, reset, false)); got.Code != want {
			t.Errorf("reset of %s: %v, want %v", dn, got, want)
		}
	}
}

// TestAtomicModify: a refused Modify changes nothing but the count of wrong
// passwords.
func TestAtomicModify(t *testing.T) {
	d, _, dn := newTestDirectory(t, Policy{}, 0)
	id, err := d.Bind(d.AdminDN(), []byte(adminPassword))
	if err != nil {
		t.Fatal(err)
	}
	err = d.Modify(id, dn, []Change{
		{ldapwire.ModReplace, "description", []string{"x"}},
		{ldapwire.ModDelete, "unicodePwd", []string{quoted("Wrong.Pass9")}},
		{ldapwire.ModAdd, "unicodePwd", []string{quoted("Other.Word2")}},
	}, false)
	if got := refusalOf(err); got.Code != ldapwire.ResultConstraintViolation {
		t.Fatalf("%v, want constraint violation", got)
	}
	e := d.byKey[mustName(t, dn).key]
	if got := e.first("description"); got != "" {
		t.Errorf("description is %q, want none", got)
	}
	if got := e.num("badPwdCount"); got != 1 {
		t.Errorf("badPwdCount is %d, want 1", got)
	}
}

func mustName(t *testing.T, dn string) name {
	t.Helper()
	n, ok := parseName(dn)
	if !ok {
		t.Fatalf("not a DN: %s", dn)
	}
	return n
}

func TestDecodePassword(t *testing.T) {
	tests := []struct {
		value, want string
		ok          bool
	}{
		{"\"\x00a\x00\"\x00", "a", true},
		{"\"\x00\"\x00", "", true},
		{"\"\x00\"\x00\"\x00", `"`, true},
		{"\"\x00\x3d\xd8\x00\xde\"\x00", "😀", true},
		{"\"\x00\x00\xd8\"\x00", "\xed\xa0\x80", true},
		{"\"\x00\x00\xd8a\x00\"\x00", "\xed\xa0\x80a", true},
		{"\"\x00\x00\x00\"\x00", "\x00", true},
		{"\"\x00", "", false},
		{"", "", false},
		{"\"\x00a\x00", "", false},
		{"\x00\"\x00a\x00\"", "", false},
		{"\"\x00a\x00\"\x00x", "", false},
	}
	for _, tt := range tests {
		got, ok := decodePassword(tt.value)
		if string(got) != tt.want || ok != tt.ok {
			t.Errorf("decodePassword(%q) = %q, %t, want %q, %t", tt.value, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, text := range []string{"(cn=a)", "(&(a=b)(!(c=*)))", "(cn=a*b*c)", "(x:1.2.840.113556.1.4.803:=2)", "(uidNumber>=3)"} {
		filter, err := FilterFromText(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filter.p.Bytes())
	}
	d := NewDirectory(DirectoryConfig{Domain: "corp.example.test", Now: time.Now})
	f.Fuzz(func(t *testing.T, b []byte) {
		if ldapwire.CheckDepth(b, 0) != nil {
			return // the front would not let it in
		}
		filter, err := ParseFilter(b)
		if err != nil {
			return
		}
		for _, e := range d.ordered {
			d.matches(filter.p, e)
		}
	})
}
