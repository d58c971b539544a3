package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/dirgate/dirgate/testenv/samba"
	"github.com/go-ldap/ldap/v3"
)

// passwordPath is where JumpCloud takes a user's password.
func (w *world) passwordPath() string { return "/api/systemusers/" + w.id + "/password" }

// change asks for a password change and does not wait for the answer longer
// than the connection lives.
func (w *world) change(from, to string) error {
	w.t.Helper()
	c := w.conn()
	if err := c.Bind(w.dn, from); err != nil {
		w.t.Fatal(err)
	}
	return changeOn(w.t, c, w.dn, from, to)
}

func changeOn(tb testing.TB, c *ldap.Conn, dn, from, to string) error {
	tb.Helper()
	old, err := ldapwire.AppendUnicodePwd(nil, []byte(from))
	if err != nil {
		tb.Fatal(err)
	}
	value, err := ldapwire.AppendUnicodePwd(nil, []byte(to))
	if err != nil {
		tb.Fatal(err)
	}
	req := ldap.NewModifyRequest(dn, nil)
	req.Delete("unicodePwd", []string{string(old)})
	req.Add("unicodePwd", []string{string(value)})
	return c.Modify(req)
}

// changes are those of passwords; the import records its own.
func (w *world) changes(args ...string) []identity.Entry {
	w.t.Helper()
	var entries []identity.Entry
	if err := json.Unmarshal([]byte(w.must(append([]string{"--output", "json", "changelog", "list"}, args...)...)), &entries); err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(entries, func(e identity.Entry) bool { return e.Kind.IsState() })
}

func (w *world) wantApplied(seq identity.Seq) {
	w.t.Helper()
	eventually(w.t, patience, "the change is applied", func() bool {
		for _, e := range w.changes() {
			if e.Seq == seq {
				return e.Status == identity.StatusApplied
			}
		}
		return false
	})
}

// once makes JumpCloud refuse a password that it has had: a second write of
// the same change would show as a dead letter.
func (w *world) once() {
	w.cloud.SetPolicy(jcsim.PasswordPolicy{EnableMaxHistory: true, MaxHistory: 5})
}

// TestG5_KilledBeforeApply: kill -9 after the DC accepted and before JumpCloud
// has the password. It arrives after the restart, once.
func TestG5_KilledBeforeApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.once()
	w.cloud.Fail(jcsim.Fault{PathPrefix: "/api/systemusers", Times: 10_000, Kind: jcsim.Status, Code: 503})
	w.serve()
	if err := w.change(before, "Survives-Kill1"); err != nil {
		t.Fatal(err)
	}
	pending := w.changes("--status", "pending")
	if len(pending) != 1 {
		t.Fatalf("%d pending changes, want 1", len(pending))
	}
	_ = w.stop(syscall.SIGKILL)
	if w.cloud.accepts(t, "alice", "Survives-Kill1") {
		t.Fatal("JumpCloud has the password already")
	}
	w.cloud.Heal()
	w.serve()
	// Due at once, or when the retry that was recorded before the kill is.
	w.cloud.wantAccepted(t, patience, "alice", "Survives-Kill1")
	w.wantApplied(pending[0].Seq)
}

// TestL1_KilledBeforeJumpCloudAnswered: JumpCloud has the password, and the
// process dies before it knows. The user is read back; nothing is sent twice.
func TestL1_KilledBeforeJumpCloudAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.once()
	w.cloud.Fail(jcsim.Fault{Method: "POST", PathPrefix: w.passwordPath(), Kind: jcsim.TimeoutAfterApply})
	w.serve()
	if err := w.change(before, "Sent-Unanswered1"); err != nil {
		t.Fatal(err)
	}
	w.cloud.wantAccepted(t, soon, "alice", "Sent-Unanswered1")
	pending := w.changes("--status", "pending")
	if len(pending) != 1 || pending[0].Evidence == "" {
		t.Fatalf("got %+v, want one pending change with evidence of a write", pending)
	}
	_ = w.stop(syscall.SIGKILL)
	w.cloud.ForgetHistory()
	w.serve()
	w.wantApplied(pending[0].Seq)
	if slices.ContainsFunc(w.cloud.Writes(), func(write jcsim.Write) bool { return write.Path == w.passwordPath() }) {
		t.Error("the password was sent a second time")
	}
}

// slowPasswords makes the DC take 3 s over a change of alice's password.
func slowPasswords(t *testing.T) samba.Option {
	t.Helper()
	script := filepath.Join(t.TempDir(), "slow-check")
	const body = "#!/bin/sh\ncat >/dev/null\n[ \"$SAMBA_CPS_ACCOUNT_NAME\" != alice ] || sleep 3\nexit 0\n"
	if err := os.WriteFile(script, []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
	return samba.Setting("check password script = " + script)
}

// TestG5_KilledBeforeTheOutcome: kill -9 while the DC works on the change. The
// DC makes it; nobody recorded that. It is settled by evidence and arrives.
func TestG5_KilledBeforeTheOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, slowPasswords(t))
	w.once()
	w.serve()
	c := w.conn()
	if err := c.Bind(w.dn, before); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- changeOn(t, c, w.dn, before, "Made-Unseen1") }()
	var unsettled []identity.Entry
	eventually(t, patience, "the intent is recorded", func() bool {
		unsettled = w.changes("--status", "unsettled")
		return len(unsettled) == 1
	})
	_ = w.stop(syscall.SIGKILL)
	if err := <-answered; err == nil {
		t.Fatal("the DC answered before the kill")
	}
	w.serve()
	w.cloud.wantAccepted(t, patience, "alice", "Made-Unseen1")
	w.wantApplied(unsettled[0].Seq)
	if err := w.conn().Bind(w.dn, "Made-Unseen1"); err != nil {
		t.Error("AD and JumpCloud differ:", err)
	}
}

// TestG5_DCKilledBeforeItsAnswer: the DC dies with the change; the outcome is
// unknown, then settled as what it was.
func TestG5_DCKilledBeforeItsAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, slowPasswords(t))
	w.serve()
	c := w.conn()
	if err := c.Bind(w.dn, before); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- changeOn(t, c, w.dn, before, "Never-Made1") }()
	eventually(t, patience, "the intent is recorded", func() bool { return len(w.changes("--status", "unsettled")) == 1 })
	w.dc.Kill(t)
	if err := <-answered; !ldap.IsErrorWithCode(err, ldap.LDAPResultUnavailable) {
		t.Errorf("the client was told %v, want unavailable", err)
	}
	w.dc.Restart(t)
	made := w.conn().Bind(w.dn, "Never-Made1") == nil
	if made {
		w.cloud.wantAccepted(t, patience, "alice", "Never-Made1")
	} else if w.cloud.accepts(t, "alice", "Never-Made1") {
		t.Error("JumpCloud has a password that the DC never accepted")
	}
	if err := w.conn().Bind(w.dn, before); (err == nil) == made {
		t.Errorf("the DC accepts both or neither of the passwords: %v", err)
	}
	if list := w.changes("--status", "pending"); len(list) != 0 && !made {
		t.Errorf("got %+v, want nothing pending: the change was not made", list)
	}
}
