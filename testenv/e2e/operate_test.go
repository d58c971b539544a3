package e2e

import (
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dirgate/dirgate/certs"
	"github.com/go-ldap/ldap/v3"

	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
)

// TestReadyRecovers: an outage of the controllers is seen, and its end too,
// without any client.
func TestReadyRecovers(t *testing.T) {
	t.Parallel()
	w := newEmbeddedWorld(t)
	w.serve()
	up := func(value string) bool {
		return strings.Contains(w.metrics(), `dirgate_dc_up{dc="`+w.url+`"} `+value)
	}
	w.wantReady()
	if !up("1") {
		t.Errorf("ready, and metrics lack dirgate_dc_up 1:\n%s", w.metrics())
	}
	for range 2 {
		if err := w.ad.RefuseConnections(true); err != nil {
			t.Fatal(err)
		}
		w.ad.DropConnections()
		eventually(t, patience, "/readyz says that no controller can be reached", func() bool {
			ready := w.get("/readyz")
			return strings.Contains(ready, "no domain controller can be reached") && strings.Contains(ready, w.url) && up("0")
		})
		if err := w.ad.RefuseConnections(false); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "the controller is up again", func() bool { return up("1") })
		w.wantReady()
	}
	if !strings.Contains(w.metrics(), `dirgate_dc_request_seconds_count{dc="`+w.url+`"}`) {
		t.Errorf("metrics lack dirgate_dc_request_seconds")
	}
}

// TestRegisterThroughTheDaemon: a registration that is repeated while the
// daemon runs keeps what it does not name, and takes effect.
func TestRegisterThroughTheDaemon(t *testing.T) {
	t.Parallel()
	w := newEmbeddedWorld(t)
	w.serve()
	w.wantReady()
	first := w.must("domain", "show", w.name)
	w.must("domain", "register", w.name, "--api-key-file", w.secretFile("key", w.cloud.APIKey().Expose()))
	unmoved := func(show string) string { text, _, _ := strings.Cut(show, "updated"); return text }
	if after := w.must("domain", "show", w.name); unmoved(after) != unmoved(first) {
		t.Errorf("a new key alone changed the registration to\n%s\nfrom\n%s", after, first)
	}
	dn, err := w.ad.AddUser(adsim.User{Name: "jcsync", Password: secret.New([]byte(syncPassword))})
	if err == nil {
		err = w.ad.GrantSync(dn, w.base)
	}
	if err != nil {
		t.Fatal(err)
	}
	twoWay := []string{"domain", "register", w.name, "--use-case", "two-way", "--sync-account", "jcsync@" + w.name, "--sync-password-file", w.secretFile("sync", []byte(syncPassword))}
	out, err := w.cli(twoWay...)
	if err == nil || !strings.Contains(out, "--yes") {
		t.Errorf("another use case without --yes: got %v, want a refusal that names it", err)
	}
	out, err = w.cli(append(twoWay, "--yes")...)
	if err != nil || !strings.Contains(w.must("domain", "show", w.name), "two-way") {
		t.Errorf("another use case with --yes: got %v\n%s", err, out)
	}
	out, err = w.cli("domain", "register", w.name, "--dc", "ldaps://127.0.0.1:1", "--dc", w.url)
	if err != nil {
		t.Errorf("another controller: got %v\n%s", err, out)
	}
	w.wantReady()
	if m := w.metrics(); !strings.Contains(m, `dirgate_dc_up{dc="ldaps://127.0.0.1:1"} 0`) {
		t.Errorf("metrics lack the new controller")
	}
	w.must("domain", "register", w.name, "--dc", w.url)
	w.wantReady()
	if m := w.metrics(); strings.Contains(m, `127.0.0.1:1"`) {
		t.Errorf("metrics still have the controller that is no longer named")
	}
	// The stored secrets are still those that the replicator needs.
	if err := w.change(before, "Through-Daemon1"); err != nil {
		t.Fatal(err)
	}
	w.cloud.wantAccepted(t, patience, "alice", "Through-Daemon1")
}

// TestUnlink ends a link, in the daemon and without one.
func TestUnlink(t *testing.T) {
	t.Parallel()
	w := newEmbeddedWorld(t)
	w.serve()
	linked := func() bool { return strings.Contains(w.must("user", "show", "alice"), "linked since") }
	passwords := []string{before, "Unlink-First1", "Unlink-Second2"}
	for i, name := range []string{"alice", w.id} {
		if err := w.change(passwords[i], passwords[i+1]); err != nil {
			t.Fatal(err)
		}
		w.cloud.wantAccepted(t, patience, "alice", passwords[i+1])
		eventually(t, patience, "alice is linked", linked)
		if out, err := w.cli("user", "unlink", name); err == nil || !strings.Contains(out, "not confirmed") || !linked() {
			t.Errorf("without --yes: got %v %s, want nothing done", err, out)
		}
		if i == 1 {
			_ = w.stop(syscall.SIGTERM)
		}
		if out := w.must("user", "unlink", name, "--yes"); !strings.Contains(out, w.id) {
			t.Errorf("unlink %s says %q, want the JumpCloud id %s in it", name, out, w.id)
		}
		if linked() {
			t.Errorf("alice is still linked after unlink %s", name)
		}
		if out, err := w.cli("user", "unlink", name, "--yes"); err == nil || !strings.Contains(out, "user unlink") {
			t.Errorf("again: got %v %s, want an error", err, out)
		}
	}
}

// TestReloadOnSIGHUP: new connections get the new certificate, sessions that
// exist go on with the old one.
func TestReloadOnSIGHUP(t *testing.T) {
	t.Parallel()
	w := newEmbeddedWorld(t)
	w.serve()
	old := w.conn()
	if err := old.Bind(w.dn, before); err != nil {
		t.Fatal(err)
	}
	ca, err := certs.NewCA("another CA")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue("localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"server.key": pair.KeyPEM, "server.crt": pair.CertPEM} {
		if err := os.WriteFile(filepath.Join(w.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.daemon.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the daemon says that it reloaded", func() bool { return strings.Contains(w.output.String(), "certificate reloaded") })
	c, err := tls.Dial("tcp", w.ldaps, clientTLS(t, ca.CertPEM))
	if err != nil {
		t.Fatal("with the new certificate:", err)
	}
	_ = c.Close()
	entry := ldap.NewSearchRequest(w.dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"cn"}, nil)
	if res, err := old.Search(entry); err != nil || len(res.Entries) != 1 {
		t.Errorf("a session from before: got %v, want it to go on", err)
	}
}

// TestServeTwice: the second daemon is refused and does no harm to the first.
func TestServeTwice(t *testing.T) {
	t.Parallel()
	w := newEmbeddedWorld(t)
	w.serve()
	out, err := w.cli("serve")
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 1 || !strings.Contains(out, "another daemon (pid ") {
		t.Errorf("got %v, want exit status 1 and the other process named", err)
	}
	said := len(w.output.String())
	if out := w.must("domain", "list"); !strings.Contains(out, w.name) || strings.Contains(w.output.String()[said:], "no daemon is running") {
		t.Errorf("the first daemon no longer answers: %s", w.output.String()[said:])
	}
	if err := w.conn().Bind(w.dn, before); err != nil {
		t.Errorf("the first daemon no longer serves: %v", err)
	}
}

// TestStaleSocket: a killed daemon leaves its socket; commands work without
// it, and the next daemon replaces it.
func TestStaleSocket(t *testing.T) {
	t.Parallel()
	w := newEmbeddedWorld(t)
	w.serve()
	_ = w.stop(syscall.SIGKILL)
	socket := filepath.Join(w.dir, "admin.sock")
	if info, err := os.Lstat(socket); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Fatalf("after kill -9: %v, %v, want the socket left", info, err)
	}
	if out := w.must("domain", "list"); !strings.Contains(out, w.name) {
		t.Errorf("without a daemon: got %s", out)
	}
	w.serve()
	info, err := os.Lstat(socket)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("socket %v, %v, want mode 0600", info.Mode(), err)
	}
	said := len(w.output.String())
	if out := w.must("domain", "list"); !strings.Contains(out, w.name) || strings.Contains(w.output.String()[said:], "no daemon is running") {
		t.Errorf("the next daemon is not asked: %s", w.output.String()[said:])
	}
}
