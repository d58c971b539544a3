package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/testenv/samba"
)

// sambaDialer makes a real domain controller a Dialer.
type sambaDialer struct{ dc *samba.DC }

func (d sambaDialer) Dial(ctx context.Context) (*tls.Conn, string, error) {
	dialer := tls.Dialer{Config: d.dc.TLS()}
	conn, err := dialer.DialContext(ctx, "tcp", d.dc.Addr+":636")
	if err != nil {
		return nil, "", err
	}
	return conn.(*tls.Conn), d.dc.URL, nil
}

// attribute reads an attribute of an entry from the DC's own database; empty
// when it has none.
func attribute(t *testing.T, dc *samba.DC, dn, name string) string {
	t.Helper()
	for line := range strings.Lines(dc.LDB(t, "", "ldbsearch", "-b", dn, "-s", "base", name)) {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TestG7_RealDomainController: a domain that locks after five refusals.
func TestG7_RealDomainController(t *testing.T) {
	dc := samba.Start(t, samba.Lockout(5, 30*time.Minute))
	dn := dc.AddUser(t, "alice", []byte("Start.Pass1"))
	r := newRigFor(t, certstest.New(t), &Domain{Name: dc.Domain, DCs: sambaDialer{dc}, Capture: true}, guarded)
	forms := []string{dn, "alice@" + dc.Domain, dc.NetBIOS + `\alice`}
	bind := func(name, password string) ldapwire.Result {
		c := r.dial()
		defer c.conn.Close()
		return c.tryBind(1, name, password)
	}
	// refused: what a device with an old password does, by each form in turn.
	refused := func(password string, times int) {
		t.Helper()
		for i := range times {
			res := bind(forms[i%len(forms)], password)
			if sub, _ := ldapwire.SubCode(res.Diagnostic); res.Code != ldapwire.ResultInvalidCredentials || sub != 0x52e {
				t.Fatalf("try %d: got %s %q, want invalidCredentials with data 52e", i, res.Code, res.Diagnostic)
			}
		}
	}
	accepted := func(password string) {
		t.Helper()
		for _, name := range forms {
			if res := bind(name, password); res.Code != ldapwire.ResultSuccess {
				t.Fatalf("the right password of %s: %s %q", name, res.Code, res.Diagnostic)
			}
		}
	}
	notLocked := func(most int) {
		t.Helper()
		var count int
		if text := attribute(t, dc, dn, "badPwdCount"); text != "" {
			if _, err := fmt.Sscan(text, &count); err != nil {
				t.Fatal(err)
			}
		}
		if locked := attribute(t, dc, dn, "lockoutTime"); count > most || (locked != "" && locked != "0") {
			t.Fatalf("badPwdCount %d, lockoutTime %q; want %d at most and not locked", count, locked, most)
		}
	}

	refused("Stale.Pass0", 500)
	notLocked(3) // one for each form: nobody knows yet whose they are
	accepted("Start.Pass1")
	notLocked(0)
	refused("Stale.Pass0", 500)
	notLocked(1)
	for i := range 50 {
		refused(fmt.Sprintf("Guess.Pass%d", i), 1)
	}
	notLocked(4)
	accepted("Start.Pass1")

	// A wrong old password in a change, tried by somebody else.
	dc.AddUser(t, "mallory", []byte("Start.Pass1"))
	mallory := r.dial()
	if res := mallory.tryBind(1, "mallory@"+dc.Domain, "Start.Pass1"); res.Code != ldapwire.ResultSuccess {
		t.Fatal(res.Code)
	}
	for i := range int32(100) {
		mallory.send(changeRequest(t, 2+i, dn, fmt.Sprintf("Guess.Pass%d", 100+i/10), "Evil.Word9"))
		mallory.wantResult(ldapwire.OpModifyResponse, 2+i, ldapwire.ResultConstraintViolation)
	}
	notLocked(4)
	accepted("Start.Pass1")

	// A change through the gateway: what was right is wrong now.
	changeOwnPassword(t, r, dn, "Start.Pass1", "Other.Word2")
	refused("Start.Pass1", 300)
	notLocked(1)
	accepted("Other.Word2")
	refused("Start.Pass1", 300)
	notLocked(1)

	// A change that the gateway does not see.
	dc.ResetPassword(t, dn, []byte("Third.Word3"))
	refused("Other.Word2", 300)
	notLocked(2)
	accepted("Third.Word3")
	notLocked(0)
}

// changeRequest is the change of a password whose old value is known.
func changeRequest(t *testing.T, id int32, dn, from, to string) []byte {
	t.Helper()
	var mods []ldapwire.Mod
	for op, password := range map[ldapwire.ModOp]string{ldapwire.ModDelete: from, ldapwire.ModAdd: to} {
		value, err := ldapwire.AppendUnicodePwd(nil, []byte(password))
		if err != nil {
			t.Fatal(err)
		}
		mods = append(mods, ldapwire.Mod{Op: op, Type: "unicodePwd", Values: [][]byte{value}})
	}
	return ldapwire.AppendModifyRequest(nil, id, dn, mods...)
}

// changeOwnPassword changes a user's own password through the gateway.
func changeOwnPassword(t *testing.T, r *rig, dn, from, to string) {
	t.Helper()
	c := r.dial()
	defer c.conn.Close()
	if res := c.tryBind(1, dn, from); res.Code != ldapwire.ResultSuccess {
		t.Fatalf("bind: %s %q", res.Code, res.Diagnostic)
	}
	c.send(changeRequest(t, 2, dn, from, to))
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
}
