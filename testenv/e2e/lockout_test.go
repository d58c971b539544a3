package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/samba"
	"github.com/go-ldap/ldap/v3"
)

// TestG7_StalePassword: a device that tries a stale password a thousand times
// does not lock its owner's account, and the right password works meanwhile.
// Neither does one that tries the old password after it was changed.
func TestG7_StalePassword(t *testing.T) {
	t.Parallel()
	const after = "Second.Pass2"
	w := newWorld(t, samba.Lockout(5, 30*time.Minute))
	w.serve()
	names := []string{w.dn, "alice@" + w.name}
	try := func(password string, times int) {
		t.Helper()
		conn := w.conn()
		for i := range times {
			err := conn.Bind(names[i%len(names)], password)
			if !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) || !strings.Contains(err.Error(), "data 52e") {
				t.Fatalf("try %d: got %v, want invalid credentials with data 52e", i, err)
			}
			if i%250 == 0 && i > 0 {
				w.bindAs(t, password+"x", false) // a typing mistake of the owner
			}
		}
	}
	w.bindAs(t, before, true)
	for range 2 {
		try("Stale.Pass0", 500)
		w.bindAs(t, before, true)
	}
	if _, err := w.ldapTool(w.ca, w.changeByLDIF(before, after), "ldapmodify", "-x", "-H", w.gateway(), "-D", w.dn, "-w", before); err != nil {
		t.Fatal(err)
	}
	try(before, 500)
	w.bindAs(t, after, true)
	if metrics := w.metrics(); !strings.Contains(metrics, `dirgate_gateway_guarded_binds_total{why="repeated"}`) {
		t.Error("no bind was answered from memory")
	}
}

// bindAs binds as alice on a new connection.
func (w *world) bindAs(t *testing.T, password string, ok bool) {
	t.Helper()
	conn := w.conn()
	defer conn.Close()
	if err := conn.Bind(w.dn, password); (err == nil) != ok {
		t.Fatalf("bind: %v, want success %v", err, ok)
	}
}
