package adsim

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"go.uber.org/goleak"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	adminPassword = "Adm1n-of-a-test"
	userPassword  = "Start.Pass1"
	waitLimit     = 30 * time.Second
)

// A world is a running simulator with what a client needs.
type world struct {
	*Server
	t  *testing.T
	ca *certstest.CA
}

func start(t *testing.T, c Config) *world {
	t.Helper()
	ca := certstest.New(t)
	c.TLS = ca.Server("127.0.0.1")
	c.AdminPassword = secret.New([]byte(adminPassword))
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if _, err := Populate(s.Directory, secret.New([]byte(userPassword))); err != nil {
		t.Fatal(err)
	}
	return &world{s, t, ca}
}

func (w *world) dial() *ldap.Conn {
	w.t.Helper()
	conn, err := ldap.DialURL(w.URL(), ldap.DialWithTLSConfig(w.ca.Client("127.0.0.1")))
	if err != nil {
		w.t.Fatal(err)
	}
	conn.SetTimeout(waitLimit)
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (w *world) admin() *ldap.Conn {
	w.t.Helper()
	conn := w.dial()
	if err := conn.Bind(w.AdminDN(), adminPassword); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func (w *world) raw() *tls.Conn {
	w.t.Helper()
	conn, err := tls.Dial("tcp", w.Addr(), w.ca.Client("127.0.0.1"))
	if err != nil {
		w.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// alive proves that the server still serves.
func (w *world) alive() {
	w.t.Helper()
	conn := w.dial()
	defer conn.Close()
	if err := conn.Bind("alice@corp.example.test", userPassword); err != nil {
		w.t.Errorf("a client that follows cannot bind: %v", err)
	}
}

func (w *world) dn(name string) string { return "CN=" + name + ",OU=People," + w.BaseDN() }

func quoted(password string) string {
	b, err := ldapwire.AppendUnicodePwd(nil, []byte(password))
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestPopulatedStates(t *testing.T) {
	w := start(t, Config{})
	for name, want := range map[string]uint32{"alice": 0, "bob": 0, "carol": 0x533, "dave": 0x773, "erin": 0x775, "frank": 0x532} {
		err := w.dial().Bind(w.dn(name), userPassword)
		var got uint32
		if refused := new(ldap.Error); errors.As(err, &refused) {
			got, _ = ldapwire.SubCode([]byte(refused.Err.Error()))
		}
		if got != want {
			t.Errorf("%s: sub-code %x, want %x", name, got, want)
		}
	}
	if got := len(w.Users()); got != 7 {
		t.Errorf("%d users, want 7", got)
	}
}

func TestBindText(t *testing.T) {
	w := start(t, Config{})
	err := w.dial().Bind(w.dn("alice"), "wrong")
	refused := new(ldap.Error)
	want := "80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data 52e, v4563\x00"
	if !errors.As(err, &refused) || refused.Err.Error() != want {
		t.Errorf("text is %q, want %q", err, want)
	}
}

func TestNeedsTLS(t *testing.T) {
	if s, err := Start(Config{}); err == nil {
		t.Errorf("started without TLS: %v", s.Close())
	}
}

// TestFacesAgree asks gldap and the front the same and compares the bytes.
func TestFacesAgree(t *testing.T) {
	w := start(t, Config{Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }})
	find := func(text string, attrs ...string) []byte {
		f, err := ldap.CompileFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		return ldapwire.AppendSearchRequest(nil, 7, ldapwire.SearchParams{BaseDN: "OU=People," + w.BaseDN(), Scope: 2, Filter: f.Bytes(), Attributes: attrs})
	}
	mod := func(name, value string) []byte {
		return ldapwire.AppendModifyRequest(nil, 7, w.dn("bob"), ldapwire.Mod{Op: ldapwire.ModReplace, Type: name, Values: [][]byte{[]byte(value)}})
	}
	paged, err := ldapwire.ParseMessage(find("(objectClass=user)", "cn"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string][]byte{
		"bind":            ldapwire.AppendBindRequest(nil, 7, w.AdminDN(), []byte(adminPassword)),
		"refused bind":    ldapwire.AppendBindRequest(nil, 7, w.dn("alice"), []byte("wrong")),
		"search":          find("(objectClass=*)"),
		"binary":          find("(objectSid=*)", "objectSid", "objectGUID"),
		"filter":          find(`(&(|(cn=al*)(sn=*b\2a*))(!(mail=x))(userAccountControl:1.2.840.113556.1.4.803:=512))`, "cn"),
		"nothing":         find("(cn=nobody)"),
		"no base":         ldapwire.AppendSearchRequest(nil, 7, ldapwire.SearchParams{BaseDN: "CN=x,OU=People," + w.BaseDN()}),
		"root DSE":        ldapwire.AppendSearchRequest(nil, 7, ldapwire.SearchParams{}),
		"modify":          mod("description", "x"),
		"refused modify":  mod("noSuchThing", "x"),
		"long value":      mod("description", strings.Repeat("x", 70000)),
		"refused add":     ldapwire.AppendAddRequest(nil, 7, w.dn("bob"), []ldapwire.AttributeValues{{Type: "objectClass", Values: [][]byte{[]byte("user")}}}),
		"refused delete":  ldapwire.AppendDelRequest(nil, 7, w.dn("nobody")),
		"page":            ldapwire.AppendWithControls(nil, paged, ldapwire.Control{OID: []byte(oidPaged), HasValue: true, Value: []byte{0x30, 5, 2, 1, 100, 4, 0}}),
		"unused password": mod("unicodePwd", "x"),
	}
	for name, frame := range tests {
		// A session without a connection: nothing is written by answer.
		s := &session{srv: w.Server}
		if err := s.bind(w.AdminDN(), []byte(adminPassword)); err != nil {
			t.Fatal(err)
		}
		m, err := ldapwire.ParseMessage(frame)
		if err != nil {
			t.Fatal(err)
		}
		ctl, refusal := parseControls(m)
		if refusal != nil || !s.forGLDAP(m, ctl) {
			t.Errorf("%s: does not go to gldap", name)
			continue
		}
		byGLDAP, ok := s.forward(m)
		if !ok {
			t.Errorf("%s: gldap does not answer", name)
			continue
		}
		s.inner.close()
		byFront, ok := s.native(m, ctl)
		if !ok || !bytes.Equal(byGLDAP, byFront) {
			t.Errorf("%s: gldap and the front differ:\n%q\n%q", name, byGLDAP, byFront)
		}
	}
}

func TestFaults(t *testing.T) {
	w := start(t, Config{})
	describe := func(conn *ldap.Conn, text string) error {
		req := ldap.NewModifyRequest(w.dn("alice"), nil)
		req.Replace("description", []string{text})
		return conn.Modify(req)
	}
	description := func() string {
		t.Helper()
		r, err := w.admin().Search(ldap.NewSearchRequest(w.dn("alice"), 0, 0, 0, 0, false, "(objectClass=*)", []string{"description"}, nil))
		if err != nil {
			t.Fatal(err)
		}
		return r.Entries[0].GetAttributeValue("description")
	}
	network := func(what string, err error) {
		t.Helper()
		if answer := new(ldap.Error); err == nil || errors.As(err, &answer) && answer.ResultCode < ldap.ErrorNetwork {
			t.Errorf("%s: %v, want a broken connection", what, err)
		}
	}

	remove := w.Inject(Fault{Kind: DropBefore, Op: ldapwire.OpModifyRequest, Times: 1})
	network("drop before", describe(w.admin(), "before"))
	remove()
	if got := description(); got != "" {
		t.Errorf("dropped before: description is %q, want none", got)
	}

	remove = w.Inject(Fault{Kind: DropAfter, Op: ldapwire.OpModifyRequest})
	network("drop after", describe(w.admin(), "after"))
	remove()
	if got := description(); got != "after" {
		t.Errorf("dropped after: description is %q, want after", got)
	}

	remove = w.Inject(Fault{Kind: DropAfter, Op: ldapwire.OpModifyRequest, Bytes: 5, Times: 1})
	network("cut answer", describe(w.admin(), "cut"))
	remove()

	remove = w.Inject(Fault{Kind: Answer, Op: ldapwire.OpModifyRequest, Code: ldapwire.ResultBusy, Text: "later"})
	if err := describe(w.admin(), "busy"); !ldap.IsErrorWithCode(err, ldap.LDAPResultBusy) {
		t.Errorf("answer: %v, want busy", err)
	}
	remove()
	remove()

	remove = w.Inject(Fault{Kind: Hang, Op: ldapwire.OpModifyRequest})
	conn := w.admin()
	done := make(chan error, 1)
	go func() { done <- describe(conn, "hung") }()
	w.alive() // others go on
	select {
	case err := <-done:
		t.Errorf("hanging: it answered: %v", err)
	default:
	}
	remove()
	if err := <-done; err != nil {
		t.Errorf("no longer hanging: %v", err)
	}

	if err := w.RefuseConnections(true); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", w.Addr()); err == nil {
		c.Close()
		t.Error("refusing connections: it accepts one")
	}
	if err := w.RefuseConnections(false); err != nil {
		t.Fatal(err)
	}
	w.alive()
	w.DropConnections()
	network("dropped", describe(conn, "x"))
	w.alive()
}

// TestClose closes while clients are idle, hang, and have not shaken hands.
func TestClose(t *testing.T) {
	w := start(t, Config{})
	idle := w.admin()
	silent, err := net.Dial("tcp", w.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	w.Inject(Fault{Kind: Hang, Op: ldapwire.OpDelRequest})
	hung := make(chan error, 1)
	go func() { hung <- idle.Del(ldap.NewDelRequest(w.dn("alice"), nil)) }()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- errors.Join(w.Close(), w.Close()) }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Fatal("close hangs")
	}
	if err := <-hung; err == nil {
		t.Error("the hanging request succeeded")
	}
}

func TestLimits(t *testing.T) {
	w := start(t, Config{})
	var members []string
	for i := range MaxValRange + 1 {
		dn, err := w.AddUser(User{Name: fmt.Sprintf("m%04d", i), Password: secret.New([]byte(userPassword))})
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, dn)
	}
	big, err := w.AddGroup("big", members...)
	if err != nil {
		t.Fatal(err)
	}
	conn := w.admin()
	all := ldap.NewSearchRequest(w.BaseDN(), 2, 0, 0, 0, false, "(cn=m*)", []string{"cn"}, nil)
	r, err := conn.Search(all)
	if !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) || len(r.Entries) != MaxPageSize {
		t.Errorf("unpaged: %v, want size limit exceeded after %d entries", err, MaxPageSize)
	}
	r, err = conn.SearchWithPaging(all, 5000)
	if err != nil || len(r.Entries) != MaxValRange+1 {
		t.Errorf("paged: %v, want %d entries", err, MaxValRange+1)
	}
	read := func(attr string) *ldap.Entry {
		t.Helper()
		r, err := conn.Search(ldap.NewSearchRequest(big, 0, 0, 0, 0, false, "(objectClass=*)", []string{attr}, nil))
		if err != nil {
			t.Fatal(err)
		}
		return r.Entries[0]
	}
	e := read("member")
	if got := len(e.GetAttributeValues("member")); got != 0 {
		t.Errorf("member has %d values, want none beside a range", got)
	}
	if got := len(e.GetAttributeValues("member;range=0-1499")); got != MaxValRange {
		t.Errorf("the first range has %d values, want %d", got, MaxValRange)
	}
	if got := read("member;range=1500-*").GetAttributeValues("member;range=1500-*"); !slices.Equal(got, members[MaxValRange:]) {
		t.Errorf("the last range is %q, want %q", got, members[MaxValRange:])
	}
}
