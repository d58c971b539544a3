package adtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// guidText and sidText are the usual forms (MS-DTYP 2.3.4.2, 2.4.2.1).
func guidText(g []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(g), binary.LittleEndian.Uint16(g[4:]), binary.LittleEndian.Uint16(g[6:]), g[8:10], g[10:])
}

func sidText(b []byte) string {
	s := fmt.Sprintf("S-%d-%d", b[0], b[7])
	for i := 8; i+4 <= len(b); i += 4 {
		s += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(b[i:]))
	}
	return s
}

// filters: which entries a filter finds.
func (s *suite) filters(t *testing.T) {
	conn := s.admin(t)
	ou := "OU=filters,OU=People," + s.BaseDN
	mustAdd(t, conn, ou, map[string][]string{"objectClass": {"organizationalUnit"}})
	dn := func(cn string) string { return "CN=" + cn + "," + ou }
	mustAdd(t, conn, dn("fa"), map[string][]string{"objectClass": {"user"}, "sAMAccountName": {"fa"}, "description": {"Red  Fox"}, "sn": {"Archer"}, "uidNumber": {"9"}})
	mustAdd(t, conn, dn("fb"), map[string][]string{"objectClass": {"user"}, "sAMAccountName": {"fb"}, "description": {"red hen"}, "sn": {"Baker (x)"}, "uidNumber": {"10"}})
	mustAdd(t, conn, dn("g1"), map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"g1"}, "member": {dn("fa")}})
	mustAdd(t, conn, dn("g2"), map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"g2"}, "member": {dn("g1")}})
	guid := read(t, conn, dn("fa"), "objectGUID").GetRawAttributeValue("objectGUID")
	// The last is what Samba finds, if that differs: it takes the test of an
	// unknown attribute for false, not for undefined.
	tests := []struct{ filter, want, samba string }{
		{"(objectClass=*)", "fa fb filters g1 g2", ""},
		{"(objectClass=user)", "fa fb", ""},
		{"(objectClass=PERSON)", "fa fb", ""},
		{"(objectCategory=person)", "fa fb", ""},
		{"(objectCategory=group)", "g1 g2", ""},
		{"(cn=FA)", "fa", ""},
		{"(&(objectClass=user)(sn=archer))", "fa", ""},
		{"(|(cn=fa)(cn=g1))", "fa g1", ""},
		{"(&(objectClass=user)(!(cn=fa)))", "fb", ""},
		{"(!(noSuchAttribute=x))", "", "fa fb filters g1 g2"},
		{"(|(noSuchAttribute=x)(cn=fa))", "fa", ""},
		{"(sn=*)", "fa fb", ""},
		{"(sn=ar*)", "fa", ""},
		{"(sn=*er*)", "fa fb", ""},
		{"(sn=*er)", "fa", ""},
		{"(sn=b*k*)", "fb", ""},
		{`(sn=Baker \28x\29)`, "fb", ""},
		{"(uidNumber>=10)", "fb", ""},
		{"(uidNumber<=9)", "fa", ""},
		{"(uidNumber>=9)", "fa fb", ""},
		{"(userAccountControl:1.2.840.113556.1.4.803:=2)", "fa fb", ""},
		{"(userAccountControl:1.2.840.113556.1.4.803:=65538)", "", ""},
		{"(userAccountControl:1.2.840.113556.1.4.804:=65538)", "fa fb", ""},
		{"(member=" + dn("fa") + ")", "g1", ""},
		{"(memberOf=" + dn("g1") + ")", "fa", ""},
		{"(memberOf=" + strings.ToUpper(dn("g1")) + ")", "fa", ""},
		{"(memberOf:1.2.840.113556.1.4.1941:=" + dn("g2") + ")", "fa g1", ""},
		{"(member:1.2.840.113556.1.4.1941:=" + dn("fa") + ")", "g1 g2", ""},
		{"(objectGUID=" + escapeBytes(guid) + ")", "fa", ""},
		{"(sAMAccountType=805306368)", "fa fb", ""},
		{"(unicodePwd=*)", "", ""},
	}
	for _, tt := range tests {
		r, err := search(conn, ou, ldap.ScopeWholeSubtree, tt.filter, "name")
		if err != nil {
			t.Errorf("%s: %v", tt.filter, err)
			continue
		}
		var found []string
		for _, e := range r.Entries {
			found = append(found, e.GetAttributeValue("name"))
		}
		slices.Sort(found)
		want := tt.want
		if s.Samba && tt.samba != "" {
			want = tt.samba
		}
		if got := strings.Join(found, " "); got != want {
			t.Errorf("%s finds %q, want %q", tt.filter, got, want)
		}
	}
	for scope, want := range map[int]int{ldap.ScopeBaseObject: 1, ldap.ScopeSingleLevel: 4, ldap.ScopeWholeSubtree: 5} {
		r, err := search(conn, ou, scope, "(objectClass=*)", "name")
		if err != nil || len(r.Entries) != want {
			t.Errorf("scope %d: %v, want %d entries", scope, err, want)
		}
	}
}

func escapeBytes(b []byte) string {
	s := ""
	for _, c := range b {
		s += fmt.Sprintf(`\%02x`, c)
	}
	return s
}

func mustAdd(t testing.TB, conn *ldap.Conn, dn string, attrs map[string][]string) {
	t.Helper()
	if o := tryAdd(t, conn, dn, attrs); o != success {
		t.Fatalf("add %s: %v", dn, o)
	}
}

func tryAdd(t testing.TB, conn *ldap.Conn, dn string, attrs map[string][]string) outcome {
	t.Helper()
	req := ldap.NewAddRequest(dn, nil)
	for name, values := range attrs {
		req.Attribute(name, values)
	}
	return outcomeOf(t, conn.Add(req))
}

// shape: which attributes come, and what they look like.
func (s *suite) shape(t *testing.T) {
	conn := s.admin(t)
	p := s.user(t, ldap.Attribute{Type: "mail", Vals: []string{"shape@example.test"}})
	mustAdd(t, conn, "CN=shapes,OU=People,"+s.BaseDN, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"shapes"}, "member": {p.dn}})

	all := read(t, conn, p.dn)
	for name, want := range map[string]string{
		"cn": p.sam, "name": p.sam, "sAMAccountName": p.sam, "userPrincipalName": p.upn, "distinguishedName": p.dn, "mail": "shape@example.test",
		"userAccountControl": "512", "primaryGroupID": "513", "sAMAccountType": "805306368", "accountExpires": "9223372036854775807", "instanceType": "4",
		"badPwdCount": "0", "memberOf": "CN=shapes,OU=People," + s.BaseDN, "objectCategory": "CN=Person,CN=Schema,CN=Configuration," + s.BaseDN,
	} {
		if got := all.GetAttributeValue(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got, want := all.GetAttributeValues("objectClass"), []string{"top", "person", "organizationalPerson", "user"}; !slices.Equal(got, want) {
		t.Errorf("objectClass is %q, want %q", got, want)
	}
	for _, name := range []string{"objectGUID", "objectSid", "uSNChanged", "uSNCreated", "whenChanged", "whenCreated", "pwdLastSet"} {
		if len(all.GetRawAttributeValue(name)) == 0 {
			t.Errorf("%s did not come", name)
		}
	}
	constructed := []string{"canonicalName", "msDS-User-Account-Control-Computed", "msDS-UserPasswordExpiryTimeComputed", "tokenGroups"}
	for _, name := range append(constructed, pwd) {
		if has(all, name) {
			t.Errorf("%s came without being asked for", name)
		}
	}
	asked := read(t, conn, p.dn, constructed...)
	for _, name := range constructed {
		if len(asked.GetRawAttributeValue(name)) == 0 {
			t.Errorf("%s did not come when asked for", name)
		}
	}
	if got, want := asked.GetAttributeValue("canonicalName"), s.Domain+"/People/"+p.sam; got != want {
		t.Errorf("canonicalName is %q, want %q", got, want)
	}
	if len(asked.Attributes) != len(constructed) {
		t.Errorf("%d attributes came, %d were asked for", len(asked.Attributes), len(constructed))
	}
	if got := len(read(t, conn, p.dn, "1.1").Attributes); got != 0 {
		t.Errorf("%d attributes came for 1.1, want none", got)
	}
	if got := len(read(t, conn, p.dn, "MAIL").GetEqualFoldAttributeValue("mail")); got == 0 {
		t.Error("mail did not come when asked for in capitals")
	}
}

// searchErrors: bases, limits and controls.
func (s *suite) searchErrors(t *testing.T) {
	conn := s.admin(t)
	p := s.user(t)
	e := read(t, conn, p.dn, "objectGUID", "objectSid")
	for name, base := range map[string]string{
		"GUID": "<GUID=" + guidText(e.GetRawAttributeValue("objectGUID")) + ">",
		"SID":  "<SID=" + sidText(e.GetRawAttributeValue("objectSid")) + ">",
	} {
		if got := read(t, conn, base, "cn").GetAttributeValue("cn"); got != p.sam {
			t.Errorf("base by %s finds %q, want %q", name, got, p.sam)
		}
	}
	_, err := search(conn, "CN=nobody,OU=People,"+s.BaseDN, ldap.ScopeBaseObject, "(objectClass=*)")
	s.check(t, "no such base", outcomeOf(t, err), both(outcome{code: ldap.LDAPResultNoSuchObject}))
	matched := "OU=People," + s.BaseDN
	if s.Samba {
		matched = "" // it does not tell how far the name is right
	}
	if refusal := new(ldap.Error); !errors.As(err, &refusal) || refusal.MatchedDN != matched {
		t.Errorf("no such base: %v, want matched DN %q", err, matched)
	}
	_, err = search(conn, "no DN at all", ldap.ScopeBaseObject, "(objectClass=*)")
	s.check(t, "malformed base", outcomeOf(t, err), both(outcome{code: ldap.LDAPResultInvalidDNSyntax}))

	limited := ldap.NewSearchRequest(s.BaseDN, ldap.ScopeSingleLevel, ldap.NeverDerefAliases, 2, 0, false, "(objectClass=*)", []string{"cn"}, nil)
	r, err := conn.Search(limited)
	s.check(t, "size limit", outcomeOf(t, err), differs(outcome{code: ldap.LDAPResultSizeLimitExceeded}, success, "it ignores the client's size limit"))
	if !s.Samba && (r == nil || len(r.Entries) != 2) {
		t.Error("size limit: want the two entries as well")
	}

	r, err = search(conn, s.BaseDN, ldap.ScopeWholeSubtree, "(cn="+p.sam+")", "cn")
	if err != nil || len(r.Entries) != 1 || len(r.Referrals) == 0 {
		t.Errorf("subtree of the domain: %v, want one entry and references to other naming contexts", err)
	}
	typesOnly := ldap.NewSearchRequest(p.dn, ldap.ScopeBaseObject, 0, 0, 0, true, "(objectClass=*)", []string{"cn"}, nil)
	r, err = conn.Search(typesOnly)
	values := 0
	if s.Samba {
		values = 1 // it sends values all the same
	}
	if err != nil || len(r.Entries) != 1 || len(r.Entries[0].Attributes) != 1 || len(r.Entries[0].Attributes[0].Values) != values {
		t.Errorf("types only: %v, want cn with %d values", err, values)
	}
}

// rootDSE: what everybody may read.
func (s *suite) rootDSE(t *testing.T) {
	conn := s.dial(t)
	e := read(t, conn, "")
	if got := e.GetAttributeValue("defaultNamingContext"); got != s.BaseDN {
		t.Errorf("defaultNamingContext is %q, want %q", got, s.BaseDN)
	}
	if got, want := e.GetAttributeValue("configurationNamingContext"), "CN=Configuration,"+s.BaseDN; got != want {
		t.Errorf("configurationNamingContext is %q, want %q", got, want)
	}
	for _, name := range []string{"dnsHostName", "highestCommittedUSN", "dsServiceName", "serverName", "namingContexts", "supportedLDAPVersion", "currentTime", "schemaNamingContext", "isSynchronized"} {
		if e.GetAttributeValue(name) == "" {
			t.Errorf("%s did not come", name)
		}
	}
	for name, want := range map[string]string{"supportedControl": ldap.ControlTypePaging, "supportedCapabilities": "1.2.840.113556.1.4.800"} {
		if !slices.Contains(e.GetAttributeValues(name), want) {
			t.Errorf("%s does not contain %s", name, want)
		}
	}
	if has(e, "tokenGroups") {
		t.Error("tokenGroups came without being asked for")
	}
	admin := s.admin(t)
	service := read(t, admin, e.GetAttributeValue("dsServiceName"), "invocationId")
	if got := len(service.GetRawAttributeValue("invocationId")); got != 16 {
		t.Errorf("invocationId has %d bytes, want 16", got)
	}
	token := read(t, admin, "", "tokenGroups").GetRawAttributeValues("tokenGroups")
	if len(token) < 2 || !strings.HasSuffix(sidText(token[0]), "-500") {
		t.Errorf("tokenGroups of the administrator: %d SIDs, want its own first", len(token))
	}
}

// paging: RFC 2696.
func (s *suite) paging(t *testing.T) {
	conn := s.admin(t)
	ou := "OU=paging,OU=People," + s.BaseDN
	mustAdd(t, conn, ou, map[string][]string{"objectClass": {"organizationalUnit"}})
	for i := range 5 {
		mustAdd(t, conn, fmt.Sprintf("CN=p%d,%s", i, ou), map[string][]string{"objectClass": {"container"}})
	}
	for _, base := range []string{ou, s.BaseDN} { // the second with references
		r, err := conn.SearchWithPaging(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(&(objectClass=container)(name=p*))", []string{"name"}, nil), 2)
		if err != nil {
			t.Fatalf("pages of two below %s: %v", base, err)
		}
		seen := make(map[string]bool)
		for _, e := range r.Entries {
			seen[e.GetAttributeValue("name")] = true
		}
		for i := range 5 {
			if !seen[fmt.Sprintf("p%d", i)] {
				t.Errorf("pages of two below %s lack p%d", base, i)
			}
		}
	}
	page := ldap.NewControlPaging(2)
	req := ldap.NewSearchRequest(ou, ldap.ScopeSingleLevel, 0, 0, 0, false, "(objectClass=*)", []string{"name"}, []ldap.Control{page})
	r, err := conn.Search(req)
	if err != nil || len(r.Entries) != 2 {
		t.Fatalf("first page: %v, want two entries", err)
	}
	answer, ok := ldap.FindControl(r.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
	if !ok || len(answer.Cookie) == 0 {
		t.Fatal("the first page has no cookie")
	}
	page.SetCookie(answer.Cookie)
	_, err = s.as(t, s.AdminDN, string(s.AdminPassword.Expose())).Search(req)
	s.check(t, "cookie on another connection", outcomeOf(t, err), both(outcome{code: ldap.LDAPResultUnwillingToPerform}))
	r, err = conn.Search(req)
	if err != nil || len(r.Entries) != 2 {
		t.Errorf("second page: %v, want two entries", err)
	}
}
