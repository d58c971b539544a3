package samba

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"go.uber.org/goleak"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bind binds on a connection of its own. The code is AD's sub-code, 0 for
// success.
func bind(t *testing.T, dc *DC, name, password string) (subCode uint32) {
	t.Helper()
	conn, err := dc.Dial(requestTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Bind(name, password)
	if err == nil {
		return 0
	}
	var refused *ldap.Error
	if !errors.As(err, &refused) || refused.ResultCode != ldap.LDAPResultInvalidCredentials {
		t.Fatalf("bind as %s: %v", name, err)
	}
	code, ok := ldapwire.SubCode([]byte(refused.Err.Error()))
	if !ok {
		t.Fatalf("bind as %s: no sub-code in %q", name, refused.Err)
	}
	return code
}

const password = "Start.Pass1"

func TestStates(t *testing.T) {
	begin := time.Now()
	dc := Start(t, Lockout(3, time.Minute))
	t.Logf("ready after %v", time.Since(begin))
	tests := []struct {
		name string
		make func(dn string)
		want uint32
	}{
		{"good", func(string) {}, 0},
		{"expired", func(dn string) { dc.Expire(t, dn) }, 0x532},
		{"mustchange", func(dn string) { dc.MustChange(t, dn) }, 0x773},
		{"disabled", func(dn string) { dc.Disable(t, dn) }, 0x533},
		{"enabled", func(dn string) { dc.Disable(t, dn); dc.Enable(t, dn) }, 0},
		{"locked", func(dn string) { dc.Lock(t, dn) }, 0x775},
		{"unlocked", func(dn string) { dc.Lock(t, dn); dc.Unlock(t, dn) }, 0},
		{"ended", func(dn string) { dc.ExpireAccount(t, dn) }, 0x701},
		{"guessed", func(dn string) {
			for range 3 {
				if got := bind(t, dc, dn, "wrong"); got != 0x52e {
					t.Fatalf("wrong password: sub-code %x, want 52e", got)
				}
			}
		}, 0x775},
	}
	for _, tt := range tests {
		dn := dc.AddUser(t, tt.name, []byte(password))
		tt.make(dn)
		if got := bind(t, dc, tt.name+"@"+dc.Domain, password); got != tt.want {
			t.Errorf("%s: bind gives sub-code %x, want %x", tt.name, got, tt.want)
		}
	}
}

func TestOldPasswordStopsAtOnce(t *testing.T) {
	dc := Start(t)
	dn := dc.AddUser(t, "alice", []byte(password))
	dc.ResetPassword(t, dn, []byte("Other.Pass2"))
	if got := bind(t, dc, dn, password); got != 0x52e {
		t.Errorf("old password: sub-code %x, want 52e", got)
	}
	if got := bind(t, dc, dn, "Other.Pass2"); got != 0 {
		t.Errorf("new password: sub-code %x, want success", got)
	}
}

func TestTwoAtOnce(t *testing.T) {
	a, b := Start(t), Start(t)
	if a.Addr == b.Addr {
		t.Fatalf("both have the address %s", a.Addr)
	}
	dn := a.AddUser(t, "alice", []byte(password))
	if got := bind(t, b, dn, password); got != 0x52e {
		t.Errorf("the other DC gives sub-code %x, want 52e: it does not know alice", got)
	}
}

func TestLifeCycle(t *testing.T) {
	dc := Start(t)
	dn := dc.AddUser(t, "alice", []byte(password))

	dc.Kill(t)
	if conn, err := dc.Dial(time.Second); err == nil {
		conn.Close()
		t.Error("killed, but it accepts connections")
	}
	dc.Restart(t)
	if got := bind(t, dc, dn, password); got != 0 {
		t.Errorf("after a crash: sub-code %x, want success", got)
	}

	dc.Suspend(t)
	tcp, err := net.DialTimeout("tcp", net.JoinHostPort(dc.Addr, "636"), 5*time.Second)
	if err != nil {
		t.Fatalf("connect while suspended: %v", err)
	}
	tcp.Close()
	if conn, err := dc.Dial(200 * time.Millisecond); err == nil {
		err = conn.Bind(dn, password)
		conn.Close()
		if err == nil {
			t.Error("suspended, but it answers")
		}
	}
	dc.Resume(t)
	if got := bind(t, dc, dn, password); got != 0 {
		t.Errorf("resumed: sub-code %x, want success", got)
	}

	dc.Suspend(t)
	dc.Stop(t) // must not hang
	dc.Stop(t) // and may be repeated
	dc.Restart(t)
}

func TestEndsWithItsPipe(t *testing.T) {
	dc := Start(t)
	if err := dc.proc.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-dc.proc.done:
	case <-time.After(endTimeout):
		t.Error("its standard input was closed, and it still runs")
	}
}

func TestServiceAccount(t *testing.T) {
	dc := Start(t)
	alice := dc.AddUser(t, "alice", []byte(password))
	svc := dc.AddServiceAccount(t, "svc", []byte(password), DirSync, ResetPasswords)
	conn, err := dc.Dial(requestTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Bind(svc, password); err != nil {
		t.Fatal(err)
	}

	quoted, err := ldapwire.AppendUnicodePwd(nil, []byte("Other.Pass2"))
	if err != nil {
		t.Fatal(err)
	}
	reset := ldap.NewModifyRequest(alice, nil)
	reset.Replace("unicodePwd", []string{string(quoted)})
	if err := conn.Modify(reset); err != nil {
		t.Errorf("reset a password: %v", err)
	}
	rename := ldap.NewModifyRequest(alice, nil)
	rename.Replace("description", []string{"x"})
	if err := conn.Modify(rename); !ldap.IsErrorWithCode(err, ldap.LDAPResultInsufficientAccessRights) {
		t.Errorf("change a description: %v, want insufficient access rights", err)
	}
	search := ldap.NewSearchRequest(dc.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=user)", []string{"cn"}, nil)
	if _, err := conn.DirSync(search, 0, 0, nil); err != nil {
		t.Errorf("DirSync: %v", err)
	}

	manager := dc.AddServiceAccount(t, "svc2", []byte(password), ManagePeople)
	if err := conn.Bind(manager, password); err != nil {
		t.Fatal(err)
	}
	if err := conn.Modify(rename); err != nil {
		t.Errorf("change a description with full rights: %v", err)
	}
	if err := conn.Del(ldap.NewDelRequest(alice, nil)); err != nil {
		t.Errorf("delete a user: %v", err)
	}
}

func TestGroupAndTool(t *testing.T) {
	dc := Start(t)
	alice := dc.AddUser(t, "alice", []byte(password), ldap.Attribute{Type: "mail"}, ldap.Attribute{Type: "sn", Vals: []string{"Archer"}})
	dc.AddGroup(t, "staff", alice)
	if got := dc.Tool(t, "group", "listmembers", "staff"); strings.TrimSpace(got) != "alice" {
		t.Errorf("members of staff: %q, want alice", got)
	}
	found, err := dc.Conn(t).Search(ldap.NewSearchRequest(alice, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"sn", "mail"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := found.Entries[0].GetAttributeValue("sn"); got != "Archer" {
		t.Errorf("sn is %q, want Archer", got)
	}
	if got := found.Entries[0].GetAttributeValue("mail"); got != "" {
		t.Errorf("mail is %q, want none", got)
	}
}

func TestProvisionTime(t *testing.T) {
	if os.Getenv("DIRGATE_MEASURE") == "" {
		t.Skip("SKIPPED: measures provisioning, which takes 5 to 15 s: set DIRGATE_MEASURE=1")
	}
	if ok, why := Available(); !ok {
		t.Skip(why)
	}
	begin := time.Now()
	if err := provision(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Logf("provisioned in %v", time.Since(begin))
}
