package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestG1_SambaClient lets Samba's own LDAP client, which shares no code with
// the others here, read through the gateway without a bind, and try to bind with
// NTLM over SASL where the configuration relays that.
func TestG1_SambaClient(t *testing.T) {
	t.Parallel()
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
	direct := filepath.Join(t.TempDir(), "direct.conf")
	text, err := os.ReadFile(conf)
	if err == nil {
		err = os.WriteFile(direct, []byte(strings.ReplaceAll(string(text), w.ca, w.caFile)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	// The last step is the DC's: with the right password it says that this
	// client may not sign within TLS, with a wrong one that it is wrong.
	for _, password := range []string{before, "Wrong.Pass1"} {
		args := slices.Clone(asAlice)
		args[1] = "CORP/alice%" + password
		want, wantErr := search(t, w.url, append(args, "--configfile", direct)...)
		got, gotErr := search(t, w.gateway(), args...)
		got = strings.ReplaceAll(got, w.gateway(), w.url)
		if got != want || (gotErr == nil) != (wantErr == nil) || !strings.Contains(got, "LDAP") {
			t.Errorf("through the gateway:\n%s%v\ndirectly:\n%s%v", got, gotErr, want, wantErr)
		}
	}
}
