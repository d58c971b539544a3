package ad

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/samba"
	"github.com/go-ldap/ldap/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type dialer struct {
	addr string
	conf *tls.Config
}

func (d dialer) Dial(ctx context.Context) (*tls.Conn, string, error) {
	td := tls.Dialer{Config: d.conf}
	conn, err := td.DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, "", err
	}
	return conn.(*tls.Conn), "dc1", nil
}

// TestI1_SambaScope asks a real controller, as an account without rights:
// nested membership, the root container, a renamed and a deleted group.
func TestI1_SambaScope(t *testing.T) {
	dc := samba.Start(t)
	password := secret.New([]byte("Service.Pass1"))
	account := dc.AddServiceAccount(t, "reader", password.Expose())
	in := dc.AddUser(t, "inside", []byte("User.Pass1"))
	out := dc.AddUser(t, "outside", []byte("User.Pass1"))
	computer := "CN=ws1,CN=Computers," + dc.BaseDN
	add := ldap.NewAddRequest(computer, nil)
	add.Attribute("objectClass", []string{"computer"})
	add.Attribute("sAMAccountName", []string{"ws1$"})
	add.Attribute("userAccountControl", []string{"4096"})
	if err := dc.Conn(t).Add(add); err != nil {
		t.Fatal(err)
	}
	group := dc.AddGroup(t, "scope", dc.AddGroup(t, "nested", in, computer))

	client := func(change func(*Config)) *Client {
		cfg := Config{DCs: dialer{net.JoinHostPort(dc.Addr, "636"), dc.TLS()}, Account: account, Password: password}
		change(&cfg)
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	plain := client(func(*Config) {})
	_, guid, err := plain.Exists(t.Context(), group, "(objectClass=group)")
	if err != nil {
		t.Fatal(err)
	}
	both := client(func(c *Config) { c.RootDN, c.ScopeGroup, c.ScopeGroupGUID = dc.PeopleDN(), group, guid })
	whole := client(func(c *Config) { c.ScopeGroup = group })
	read := func(c *Client, dn string) identity.User {
		t.Helper()
		_, guid, err := plain.Exists(t.Context(), dn, "(objectClass=user)")
		if err != nil {
			t.Fatal(err)
		}
		u, err := c.User(t.Context(), identity.Account{GUID: guid})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, tt := range []struct {
		name string
		c    *Client
		dn   string
		want bool
	}{
		{"a nested member below the root", both, in, true}, {"no member", both, out, false},
		{"a member outside the root", both, computer, false}, {"a member, without a root", whole, computer, true},
		{"without a root and a group", plain, out, true},
	} {
		u := read(tt.c, tt.dn)
		if u.InScope != tt.want || u.Computer != (tt.dn == computer) || u.DC != "dc1" {
			t.Errorf("%s: got %+v, want in scope %v", tt.name, u, tt.want)
		}
	}
	admin := dc.Conn(t)
	if err := admin.ModifyDN(ldap.NewModifyDNRequest(group, "CN=renamed", true, dc.PeopleDN())); err != nil {
		t.Fatal(err)
	}
	if !read(both, in).InScope {
		t.Error("a member is out of scope since the group was renamed and moved")
	}
	if err := admin.Del(ldap.NewDelRequest("CN=renamed,"+dc.PeopleDN(), nil)); err != nil {
		t.Fatal(err)
	}
	_, account2, err := plain.Exists(t.Context(), out, "(objectClass=user)")
	if err != nil {
		t.Fatal(err)
	}
	if u, err := both.User(t.Context(), identity.Account{GUID: account2}); !errors.Is(err, ErrScope) {
		t.Errorf("after the group was deleted: got %+v, %v, want ErrScope", u, err)
	}
}
