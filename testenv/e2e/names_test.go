package e2e

import (
	"strings"
	"testing"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

// addDomain registers the embedded AD as a second domain, with bob in it and
// in JumpCloud; bob is his DN.
func (w *world) addDomain(name string) (ad *adsim.Server, bob string) {
	w.t.Helper()
	ca := certstest.New(w.t)
	ad, err := adsim.Start(adsim.Config{TLS: ca.Server("127.0.0.1"), Domain: name, AdminPassword: secret.New([]byte("Admin.Secret-99"))})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = ad.Close() })
	for _, u := range []adsim.User{
		{Name: "svc-dirgate", Password: secret.New([]byte(servicePassword))},
		{Name: "bob", Password: secret.New([]byte(before)), GivenName: "Given", Surname: "Sur"},
	} {
		if bob, err = ad.AddUser(u); err != nil {
			w.t.Fatal(err)
		}
	}
	w.cloud.add(w.t, "bob", "bob@"+name)
	w.must("domain", "register", name, "--dc", ad.URL(), "--ca-file", ca.File(),
		"--import-account", "svc-dirgate@"+name, "--import-password-file", w.secretFile("pw", []byte(servicePassword)),
		"--jumpcloud-url", w.cloud.URL(), "--jumpcloud-ca-file", w.cloud.ca.File(),
		"--api-key-file", w.secretFile("key", w.cloud.APIKey().Expose()))
	return ad, bob
}

// TestG3_SeveralDomains: a real domain, the embedded one and JumpCloud's LDAP
// behind one endpoint, each reached by every form of a name.
func TestG3_SeveralDomains(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("domain", "register", w.name, "--jumpcloud-ldap-url", w.cloud.LDAPURL())
	const second = "lab.test"
	lab, bobDN := w.addDomain(second)
	if out := w.must("domain", "list"); !strings.Contains(out, w.name) || !strings.Contains(out, second) {
		t.Errorf("domain list lacks one of %s and %s:\n%s", w.name, second, out)
	}
	w.serve()

	const cloudPassword = "Reader.JumpCloud1"
	if _, err := w.cloud.AddUser(jcsim.User{Username: "reader", Email: "reader@" + w.name, LDAPBound: true, LDAPBindingUser: true,
		Password: secret.New([]byte(cloudPassword))}); err != nil {
		t.Fatal(err)
	}
	cloudDN := "uid=reader,ou=Users,o=" + w.cloud.OrgID() + ",dc=jumpcloud,dc=com"
	conn := w.conn() // one connection, whose binds move it from domain to domain
	for _, tt := range []struct{ name, password, base string }{
		{"alice@" + w.name, before, w.base},
		{w.dc.NetBIOS + `\alice`, before, w.base},
		{"LAB\\bob", before, lab.BaseDN()},
		{"alice", before, w.base},
		{bobDN, before, lab.BaseDN()},
		{cloudDN, cloudPassword, ""},
		{"bob@" + second, before, lab.BaseDN()},
		{strings.ToLower(w.dn), before, w.base},
	} {
		if err := conn.Bind(tt.name, tt.password); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if tt.base == "" {
			res, err := conn.Search(ldap.NewSearchRequest(cloudDN, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"uid"}, nil))
			if err != nil || len(res.Entries) != 1 || res.Entries[0].GetAttributeValue("uid") != "reader" {
				t.Errorf("%s: search at JumpCloud's LDAP: %v, %v", tt.name, res, err)
			}
			continue
		}
		res, err := conn.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"defaultNamingContext"}, nil))
		if err != nil || res.Entries[0].GetAttributeValue("defaultNamingContext") != tt.base {
			t.Errorf("%s: served by %v, %v; want %s", tt.name, res, err, tt.base)
		}
	}
	for _, name := range []string{`LAB\alice`, w.dc.NetBIOS + `\bob`, "bob", "alice@elsewhere.test"} {
		if err := conn.Bind(name, before); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
			t.Errorf("%s: got %v, want invalidCredentials", name, err)
		}
	}

	// A mail address that is no userPrincipalName is that of the account which
	// has it alone.
	mail := func(dn, address string) {
		t.Helper()
		admin := w.conn()
		if err := admin.Bind(w.adminName, string(w.adminPassword.Expose())); err != nil {
			t.Fatal(err)
		}
		m := ldap.NewModifyRequest(dn, nil)
		m.Replace("mail", []string{address})
		if err := admin.Modify(m); err != nil {
			t.Fatal(err)
		}
	}
	mail(w.dn, "Alice.Archer@mail.test")
	shared := w.addUser("shared1", []byte(before))
	mail(shared, "team@mail.test")
	mail(w.addUser("shared2", []byte(before)), "team@mail.test")
	if err := conn.Bind("alice.archer@mail.test", before); err != nil {
		t.Errorf("by mail address: %v", err)
	}
	for name, password := range map[string]string{"alice.archer@mail.test": "Wrong.Pass1", "team@mail.test": before, "nobody@mail.test": before} {
		if err := conn.Bind(name, password); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
			t.Errorf("%s: got %v, want invalidCredentials", name, err)
		}
	}

	const changed = "Changed.InLab2"
	if err := conn.Bind(`LAB\bob`, before); err != nil {
		t.Fatal(err)
	}
	unicodePwd := func(password string) []string {
		v, err := ldapwire.AppendUnicodePwd(nil, []byte(password))
		if err != nil {
			t.Fatal(err)
		}
		return []string{string(v)}
	}
	mod := ldap.NewModifyRequest(bobDN, nil)
	mod.Delete("unicodePwd", unicodePwd(before))
	mod.Add("unicodePwd", unicodePwd(changed))
	if err := conn.Modify(mod); err != nil {
		t.Fatal(err)
	}
	w.cloud.wantAccepted(t, soon, "bob", changed)
	if out := w.must("user", "show", "bob", "--domain", second); !strings.Contains(out, "bob") {
		t.Errorf("user show bob:\n%s", out)
	}
}
