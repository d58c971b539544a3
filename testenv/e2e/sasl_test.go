package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestG1_SambaClient lets Samba's own LDAP client, which shares no code with
// the others here, read through the gateway: without a bind, and with NTLM
// over SASL where the configuration relays that.
func TestG1_SambaClient(t *testing.T) {
	w := newWorld(t)
	tool := clientProgram(t, "ldbsearch")
	conf := filepath.Join(t.TempDir(), "smb.conf")
	if err := os.WriteFile(conf, []byte("[global]\n\ttls cafile = "+w.ca+"\n\ttls verify peer = ca_only\n\tworkgroup = CORP\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	search := func(t *testing.T, url string, args ...string) (string, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, tool, append([]string{"-H", url, "--configfile", conf}, args...)...)
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			t.Fatalf("ldbsearch waits for ever\n%s", out)
		}
		return string(out), err
	}
	asAlice := []string{"-U", "CORP/alice%" + before, "-b", w.base, "(sAMAccountName=alice)", "dn"}

	w.serve()
	out, err := search(t, w.gateway(), "-s", "base", "-b", "", "defaultNamingContext")
	if err != nil || !strings.Contains(out, "defaultNamingContext: "+w.base) {
		t.Fatalf("root DSE: %v\n%s", err, out)
	}
	if out, err := search(t, w.gateway(), asAlice...); err == nil {
		t.Fatalf("SASL is refused, and yet\n%s", out)
	}
	if err := w.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	w.configure("sasl", "relay")
	w.serve()
	out, err = search(t, w.gateway(), asAlice...)
	if err != nil || !strings.Contains(out, "dn: "+w.dn) {
		t.Fatalf("NTLM through the gateway: %v\n%s", err, out)
	}
	out, err = search(t, w.gateway(), "-U", "CORP/alice%wrong", "-b", w.base, "(sAMAccountName=alice)", "dn")
	if err == nil {
		t.Fatalf("a wrong password was accepted\n%s", out)
	}
}
