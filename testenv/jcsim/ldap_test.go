package jcsim_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

func pw(text string) secret.Bytes { return secret.New([]byte(text)) }

func (s *sim) add(u jcsim.User) string {
	s.t.Helper()
	id, err := s.AddUser(u)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *sim) dial() *ldap.Conn {
	s.t.Helper()
	conn, err := ldap.DialURL(s.LDAPURL(), ldap.DialWithTLSConfig(s.tls.Clone()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// bindCode is the result code of a bind on a new connection; 0: success.
func (s *sim) bindCode(dn, password string) uint16 {
	s.t.Helper()
	conn := s.dial()
	defer conn.Close()
	_, err := conn.SimpleBind(&ldap.SimpleBindRequest{Username: dn, Password: password, AllowEmptyPassword: true})
	return codeOf(s.t, err)
}

func codeOf(t *testing.T, err error) uint16 {
	t.Helper()
	if err == nil {
		return 0
	}
	e, ok := errors.AsType[*ldap.Error](err)
	if !ok {
		t.Fatalf("not an LDAP result: %v", err)
	}
	return e.ResultCode
}

func TestBind(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := start(t, jcsim.Config{Now: func() time.Time { return now }})
	alice := s.add(jcsim.User{Username: "alice", Email: "alice@corp.example", Password: pw("old"), LDAPBound: true})
	s.add(jcsim.User{Username: "stranger", Email: "s@corp.example", Password: pw("old")})
	s.add(jcsim.User{Username: "staged", Email: "t@corp.example", Password: pw("old"), LDAPBound: true, State: "STAGED"})
	s.add(jcsim.User{Username: "none", Email: "n@corp.example", LDAPBound: true})
	path := "/api/systemusers/" + alice

	check := func(name, dn, password string, want ldapwire.ResultCode) {
		t.Helper()
		if got := s.bindCode(dn, password); got != uint16(want) {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
	dn := s.UserDN("alice")
	check("right", dn, "old", ldapwire.ResultSuccess)
	check("other case", strings.ToUpper(dn), "old", ldapwire.ResultSuccess)
	check("wrong", dn, "new", ldapwire.ResultInvalidCredentials)
	check("empty", dn, "", ldapwire.ResultUnwillingToPerform)
	check("anonymous", "", "", ldapwire.ResultInappropriateAuthentication)
	check("no DN", "alice", "old", ldapwire.ResultInvalidDNSyntax)
	check("other organisation", "uid=alice,ou=Users,o=5f0000000000000000000001,dc=jumpcloud,dc=com", "old", ldapwire.ResultInvalidCredentials)
	check("not in the directory", s.UserDN("stranger"), "old", ldapwire.ResultInvalidCredentials)
	check("staged", s.UserDN("staged"), "old", ldapwire.ResultInvalidCredentials)
	check("no password", s.UserDN("none"), "old", ldapwire.ResultInvalidCredentials)

	now = now.Add(time.Minute)
	before, _ := s.User(alice)
	s.call("POST", path+"/password", object{"password": "new"}, nil)
	after, _ := s.User(alice)
	if before.PasswordDate == after.PasswordDate || !after.Activated {
		t.Errorf("password date %q -> %q, activated %t: want a new date and true", before.PasswordDate, after.PasswordDate, after.Activated)
	}
	check("old after the change", dn, "old", ldapwire.ResultInvalidCredentials)
	check("new after the change", dn, "new", ldapwire.ResultSuccess)

	s.call("POST", path+"/expire", nil, nil)
	check("expired", dn, "new", ldapwire.ResultInvalidCredentials)
	s.call("POST", path+"/password", object{"password": "newer"}, nil)
	check("set again", dn, "newer", ldapwire.ResultSuccess)
	s.call("POST", path+"/state/suspend", nil, nil)
	check("suspended", dn, "newer", ldapwire.ResultInvalidCredentials)
	s.call("PUT", path, object{"state": "ACTIVATED"}, nil)
	check("active again", dn, "newer", ldapwire.ResultSuccess)

	s.SetPolicy(jcsim.PasswordPolicy{EnableMaxLoginAttempts: true, MaxLoginAttempts: 2})
	check("first failure", dn, "no", ldapwire.ResultInvalidCredentials)
	check("second failure", dn, "no", ldapwire.ResultInvalidCredentials)
	check("locked", dn, "newer", ldapwire.ResultInvalidCredentials)
	s.call("POST", path+"/unlock", nil, nil)
	check("unlocked", dn, "newer", ldapwire.ResultSuccess)
	if err := s.BindToLDAP(alice, false); err != nil {
		t.Fatal(err)
	}
	check("taken out", dn, "newer", ldapwire.ResultInvalidCredentials)
}

func TestSearch(t *testing.T) {
	s := start(t, jcsim.Config{})
	s.add(jcsim.User{Username: "app", Email: "app@corp.example", Password: pw("secret"), LDAPBindingUser: true})
	for i := range 5 {
		s.add(jcsim.User{Username: fmt.Sprintf("user%d", i), Email: fmt.Sprintf("user%d@corp.example", i),
			FirstName: "User", LastName: fmt.Sprintf("No %d", i), Password: pw("secret"), LDAPBound: true})
	}
	s.add(jcsim.User{Username: "hidden", Email: "hidden@corp.example"})
	conn := s.dial()
	if err := conn.Bind(s.UserDN("app"), "secret"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		filter string
		base   string
		scope  int
		want   []string
	}{
		{"(uid=USER1)", "", ldap.ScopeWholeSubtree, []string{"user1"}},
		{"(mail=user2@corp.example)", "", ldap.ScopeSingleLevel, []string{"user2"}},
		{"(&(objectClass=inetOrgPerson)(uid=user*))", "", ldap.ScopeWholeSubtree, []string{"user0", "user1", "user2", "user3", "user4"}},
		{"(|(uid=user0)(cn=user  no 3))", "", ldap.ScopeWholeSubtree, []string{"user0", "user3"}},
		{"(&(objectClass=posixAccount)(!(uid=user*)))", "", ldap.ScopeWholeSubtree, []string{"app"}},
		{"(!(noSuchAttribute=x))", "", ldap.ScopeWholeSubtree, nil},
		{"(jcLdapAdmin=TRUE)", "", ldap.ScopeWholeSubtree, []string{"app"}},
		{"(uid=*3)", "", ldap.ScopeWholeSubtree, []string{"user3"}},
		{"(uid=u*e*4)", "", ldap.ScopeWholeSubtree, []string{"user4"}},
		{"(homeDirectory=/home/USER1)", "", ldap.ScopeWholeSubtree, nil},
		{"(uid=hidden)", "", ldap.ScopeWholeSubtree, nil},
		{"(userPassword=*)", "", ldap.ScopeWholeSubtree, nil},
		{"(objectClass=*)", s.UserDN("user1"), ldap.ScopeBaseObject, []string{"user1"}},
		{"(objectClass=*)", s.UserDN("user1"), ldap.ScopeSingleLevel, nil},
		{"(uid=user1)", "o=" + s.OrgID() + ",dc=jumpcloud,dc=com", ldap.ScopeWholeSubtree, []string{"user1"}},
		{"(uid=user1)", "o=" + s.OrgID() + ",dc=jumpcloud,dc=com", ldap.ScopeSingleLevel, nil},
	}
	for _, tt := range tests {
		if tt.base == "" {
			tt.base = s.BaseDN()
		}
		res, err := conn.Search(ldap.NewSearchRequest(tt.base, tt.scope, 0, 0, 0, false, tt.filter, []string{"uid"}, nil))
		if err != nil {
			t.Errorf("%s: %v", tt.filter, err)
			continue
		}
		var got []string
		for _, e := range res.Entries {
			if uid := e.GetAttributeValue("uid"); uid != "" {
				got = append(got, uid)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s below %s: got %v, want %v", tt.filter, tt.base, got, tt.want)
		}
	}
	t.Run("limits", func(t *testing.T) { testSearchLimits(t, s, conn) })
	t.Run("rights", func(t *testing.T) { testSearchRights(t, s, conn) })
}

func testSearchLimits(t *testing.T, s *sim, conn *ldap.Conn) {
	req := ldap.NewSearchRequest(s.BaseDN(), ldap.ScopeWholeSubtree, 0, 2, 0, false, "(uid=user*)", []string{"uid"}, nil)
	res, err := conn.Search(req)
	if got := codeOf(t, err); got != ldap.LDAPResultSizeLimitExceeded || len(res.Entries) != 2 {
		t.Errorf("size limit 2: got code %d and %d entries, want 4 and 2", got, len(res.Entries))
	}
	req.SizeLimit = 0
	res, err = conn.SearchWithPaging(req, 2)
	if err != nil || len(res.Entries) != 5 {
		t.Errorf("paged: got %d entries, %v, want 5", len(res.Entries), err)
	}
	req.Controls = []ldap.Control{ldap.NewControlString("1.2.3.4", true, "")}
	if _, err := conn.Search(req); codeOf(t, err) != ldap.LDAPResultUnavailableCriticalExtension {
		t.Errorf("unknown critical control: got %v, want 12", err)
	}
	req.Controls = []ldap.Control{ldap.NewControlString("1.2.3.4", false, "")}
	if _, err := conn.Search(req); err != nil {
		t.Errorf("unknown control: got %v, want success", err)
	}
	req.BaseDN = "ou=Nowhere," + s.BaseDN()
	if _, err := conn.Search(req); codeOf(t, err) != ldap.LDAPResultNoSuchObject {
		t.Errorf("no such base: got %v, want 32", err)
	}
}

func testSearchRights(t *testing.T, s *sim, conn *ldap.Conn) {
	req := ldap.NewSearchRequest(s.BaseDN(), ldap.ScopeWholeSubtree, 0, 0, 0, false, "(uid=user1)", nil, nil)
	stranger := s.dial()
	if _, err := stranger.Search(req); codeOf(t, err) != ldap.LDAPResultInsufficientAccessRights {
		t.Errorf("unbound search: got %v, want 50", err)
	}
	if err := stranger.Bind(s.UserDN("user1"), "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Search(req); codeOf(t, err) != ldap.LDAPResultInsufficientAccessRights {
		t.Errorf("search by a user without the right: got %v, want 50", err)
	}
	modify := ldap.NewModifyRequest(s.UserDN("user1"), nil)
	modify.Delete("title", nil) // alone ends a bare gldap process
	modify.Replace("userPassword", []string{"x", "y"})
	if err := conn.Modify(modify); codeOf(t, err) != ldap.LDAPResultUnwillingToPerform {
		t.Errorf("modify: got %v, want 53", err)
	}
	if _, err := conn.Compare(s.UserDN("user1"), "uid", "user1"); codeOf(t, err) != ldap.LDAPResultUnwillingToPerform {
		t.Errorf("compare: got %v, want 53", err)
	}
	if _, err := conn.WhoAmI(nil); codeOf(t, err) != ldap.LDAPResultProtocolError {
		t.Errorf("whoami: got %v, want 2", err)
	}
	if _, err := conn.Search(req); err != nil {
		t.Errorf("search after what gldap does not know: %v", err)
	}
}

// TestHostileClients does to the LDAP face what ends or wedges a bare gldap.
func TestHostileClients(t *testing.T) {
	s := start(t, jcsim.Config{})
	s.add(jcsim.User{Username: "alice", Email: "alice@corp.example", Password: pw("secret"), LDAPBindingUser: true})
	address := strings.TrimPrefix(s.LDAPURL(), "ldaps://")

	idle, err := net.Dial("tcp", address) // never shakes hands; Close must not wait for it
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	s.dial() // shakes hands, then nothing

	nested := slices.Repeat([]byte{0x30, 0x80}, 50_000)
	for name, bytes := range map[string][]byte{
		"nested":    nested,
		"two GiB":   {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02, 0x01},
		"not LDAP":  []byte("GET / HTTP/1.1\r\n\r\n"),
		"a result":  ldapwire.AppendSearchDone(nil, 7, 0, "", ""),
		"bad paged": ldapwire.AppendWithControls(nil, pagedBadly(t), ldapwire.Control{OID: []byte(ldapwire.OIDControlPagedResults), Value: []byte{0x30, 0}, HasValue: true}),
	} {
		conn, err := tls.Dial("tcp", address, s.tls.Clone())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = conn.Write(bytes) // may be cut off while writing
		if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection was kept", name)
		}
		_ = conn.Close()
	}
	if got := s.bindCode(s.UserDN("alice"), "secret"); got != 0 {
		t.Errorf("bind afterwards: got %d, want success", got)
	}
}

func pagedBadly(t *testing.T) ldapwire.Message {
	t.Helper()
	m, err := ldapwire.ParseMessage(ldapwire.AppendSearchRequest(nil, 1, ldapwire.SearchParams{BaseDN: "dc=com", Filter: []byte{0x87, 2, 'c', 'n'}}))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestBindOrder sends a bind and a search in one segment: the search must run
// as the bound user every time.
func TestBindOrder(t *testing.T) {
	s := start(t, jcsim.Config{})
	s.add(jcsim.User{Username: "app", Email: "app@corp.example", Password: pw("secret"), LDAPBindingUser: true})
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.LDAPURL(), "ldaps://"), s.tls.Clone())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	answers := ldapwire.NewReader(conn, 1<<20)
	for id := int32(1); id < 40; id += 2 {
		both := ldapwire.AppendBindRequest(nil, id, s.UserDN("app"), []byte("secret"))
		both = ldapwire.AppendSearchRequest(both, id+1, ldapwire.SearchParams{BaseDN: s.UserDN("app"), Filter: []byte{0x87, 3, 'u', 'i', 'd'}})
		if _, err := conn.Write(both); err != nil {
			t.Fatal(err)
		}
		var ops []ldapwire.Op
		for range 3 {
			m, err := answers.Next()
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, m.Op)
		}
		want := []ldapwire.Op{ldapwire.OpBindResponse, ldapwire.OpSearchResultEntry, ldapwire.OpSearchResultDone}
		if !slices.Equal(ops, want) {
			t.Fatalf("round %d: got %v, want %v", id, ops, want)
		}
	}
}
