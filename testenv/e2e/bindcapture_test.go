package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/samba"
)

// setPasswordAge makes a password of the DC older, as only time can otherwise.
func (w *world) setPasswordAge(dn string, age time.Duration) {
	w.t.Helper()
	const from1601to1970 = 116_444_736_000_000_000
	set := time.Now().Add(-age).UnixNano()/100 + from1601to1970
	w.dc.LDB(w.t, fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: pwdLastSet\npwdLastSet: %d\n", dn, set),
		"ldbmodify", "--controls=local_oid:1.3.6.1.4.1.7165.4.3.20:0") // else it can only become 0 or now
}

// bindName binds on a connection of its own.
func (w *world) bindName(name, password string) {
	w.t.Helper()
	conn := w.conn()
	if err := conn.Bind(name, password); err != nil {
		w.t.Fatalf("bind as %s: %v", name, err)
	}
	_ = conn.Unbind()
}

// taught waits until so many binds had an outcome.
func (w *world) taught(outcome string, n int) {
	w.t.Helper()
	line := fmt.Sprintf("dirgate_capture_total{kind=\"bind\",outcome=%q} %d\n", outcome, n)
	eventually(w.t, soon, line, func() bool { return strings.Contains(w.metrics(), line) })
}

// bindLines are the counters of bind capture.
func (w *world) bindLines() (lines string) {
	for line := range strings.Lines(w.metrics()) {
		if strings.HasPrefix(line, `dirgate_capture_total{kind="bind"`) {
			lines += line
		}
	}
	return lines
}

// TestG6_BindCapture: a user whose password was set before dirgate came is
// learnt from a bind, and the password before the present one, which a DC
// accepts for an hour, is not.
func TestG6_BindCapture(t *testing.T) {
	t.Parallel()
	const second, third = "Set.At.TheDC2", "Reset.By.Admin3"
	w := newWorld(t, samba.OldPasswordGrace(time.Hour))
	upn := "alice@" + w.name
	w.setPasswordAge(w.dn, 2*time.Hour)
	outsider := w.addUser("outsider", []byte("Nobody.Else1")) // not in JumpCloud
	w.setPasswordAge(outsider, 2*time.Hour)
	w.must("domain", "register", w.name, "--scope-group", w.dc.AddGroup(t, "Scope", w.dn)) // or the import makes the outsider there
	w.serve()

	w.bindName(upn, before)
	w.cloud.wantAccepted(t, soon, "alice", before)
	w.taught("recorded", 1)
	changes := w.changes()
	if len(changes) != 1 || changes[0].Kind != identity.PasswordBind {
		t.Fatalf("changes %+v, want one of a bind", changes)
	}
	w.wantApplied(changes[0].Seq)
	for _, args := range [][]string{{"user", "show", "alice"}, {"changelog", "show", changes[0].Seq.String()}, {"changelog", "list"}} {
		if out := w.must(args...); !strings.Contains(out, "password-bind") {
			t.Errorf("%q does not name the kind:\n%s", args, out)
		}
	}

	// The same once more costs neither a read nor a write.
	lines := w.bindLines()
	for range 3 {
		w.bindName(upn, before)
	}
	w.bindName(outsider, "Nobody.Else1")
	w.taught("not_wanted", 1)
	if got := strings.ReplaceAll(w.bindLines(), "dirgate_capture_total{kind=\"bind\",outcome=\"not_wanted\"} 1\n", ""); got != lines {
		t.Errorf("binds with what is known were looked at:\n%s\nbefore:\n%s", got, lines)
	}
	w.bindName(w.dn, before) // another name of hers, which is not known yet
	w.taught("in_sync", 1)

	// Changed at the DC itself: for an hour both passwords are accepted there.
	w.dc.ResetPassword(t, w.dn, []byte(second))
	if err := w.stop(syscall.SIGTERM); err != nil { // what it knows of the old one is in memory
		t.Fatal(err)
	}
	w.serve()
	w.bindName(upn, before)
	w.bindName(upn, second)
	w.taught("unproven", 2)
	if w.cloud.accepts(t, "alice", second) || !w.cloud.accepts(t, "alice", before) {
		t.Error("JumpCloud's password changed without proof")
	}
	// After that hour only the new one is, and a bind proves it.
	w.setPasswordAge(w.dn, 70*time.Minute)
	w.bindName(w.dn, second)
	w.cloud.wantAccepted(t, soon, "alice", second)
	w.taught("recorded", 1)

	// One that was captured at the gateway is in sync without a bind's help.
	if err := w.change(second, third); err == nil {
		w.cloud.wantAccepted(t, soon, "alice", third)
	} else {
		t.Fatal(err)
	}
	if n := len(w.changes()); n != 3 {
		t.Errorf("%d changes, want two of binds and one at the gateway", n)
	}
	w.searchAll(w.metrics(), []string{before, second, third, "Nobody.Else1", servicePassword})
}
