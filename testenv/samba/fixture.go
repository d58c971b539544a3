package samba

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// requestTimeout bounds each request of the fixture. Writes of a password take
// 60 ms, and more on a machine under load.
const requestTimeout = 30 * time.Second

// install is what to do where Samba is missing.
const install = "run `apt-get install samba samba-ad-dc samba-ad-provision samba-dsdb-modules ldb-tools python3-samba` as root, with services kept from starting"

// Available reports whether a DC can run here, and if not, why.
func Available() (ok bool, why string) {
	for _, program := range []string{"samba", "samba-tool", "ldbmodify", python} {
		if _, err := exec.LookPath(program); err != nil {
			return false, program + " is not installed: " + install
		}
	}
	if _, err := os.Stat("/usr/share/samba/setup/provision.ldif"); err != nil {
		return false, "the files to provision a domain are not installed: " + install
	}
	_, lock, err := lease()
	if err == nil {
		_ = lock.Close()
		return true, ""
	}
	return false, err.Error() + ": run as root, or inside `unshare -Urn` after `ip link set lo up`"
}

// Start runs a DC for the length of a test. Where it cannot run, the test is
// skipped, or fails if DIRGATE_REQUIRE_SAMBA is 1.
func Start(tb testing.TB, opts ...Option) *DC {
	tb.Helper()
	if ok, why := Available(); !ok {
		if os.Getenv("DIRGATE_REQUIRE_SAMBA") == "1" {
			tb.Fatalf("no Samba domain controller, which DIRGATE_REQUIRE_SAMBA asks for: %s", why)
		}
		tb.Skipf("SKIPPED: needs a Samba domain controller: %s", why)
	}
	// Not tb.TempDir: with a long test name the paths of Samba's sockets in it
	// exceed what the kernel allows.
	dir, err := os.MkdirTemp("", "dirgate-dc-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("remove a domain controller: %v", err)
		}
	})
	dc, err := Run(tb.Context(), dir, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := dc.Close(); err != nil {
			tb.Errorf("stop a domain controller: %v", err)
		}
	})
	return dc
}

// Conn returns a new connection that is bound as the administrator and closed
// with the test.
func (dc *DC) Conn(tb testing.TB) *ldap.Conn {
	tb.Helper()
	conn, err := dc.dialAdmin(requestTimeout)
	if err != nil {
		tb.Fatalf("connect to the domain controller: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Tool runs samba-tool on the DC's database and returns what it prints.
func (dc *DC) Tool(tb testing.TB, args ...string) string {
	tb.Helper()
	return run(tb, exec.Command("samba-tool", append(args, "-s", dc.Dir+"/smb.conf")...))
}

// LDB runs an ldb tool (ldbmodify, ldbsearch, ldbadd) on the DC's database with
// full rights, with input as its standard input.
func (dc *DC) LDB(tb testing.TB, input, program string, args ...string) string {
	tb.Helper()
	cmd := exec.Command(program, append([]string{"-H", dc.Dir + "/private/sam.ldb"}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	return run(tb, cmd)
}

func run(tb testing.TB, cmd *exec.Cmd) string {
	tb.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		// Arguments may be passwords, so only the first few are shown.
		tb.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args[:min(3, len(cmd.Args))], " "), err, out, stderr.String())
	}
	return string(out)
}

// Kill ends the DC as a crash does. [DC.Restart] brings it back.
func (dc *DC) Kill(tb testing.TB) {
	tb.Helper()
	dc.must(tb, "kill", dc.stop(endKill))
}

// Stop ends the DC in an orderly way. [DC.Restart] brings it back.
func (dc *DC) Stop(tb testing.TB) {
	tb.Helper()
	dc.must(tb, "stop", dc.stop(endTerm))
}

// Restart starts the DC, stopped first if it runs, on the same address with the
// same state, and returns when it answers.
func (dc *DC) Restart(tb testing.TB) {
	tb.Helper()
	dc.Stop(tb)
	dc.must(tb, "restart", dc.start(tb.Context()))
}

// Suspend makes the DC hang: connections are accepted by the kernel, and
// nothing answers.
func (dc *DC) Suspend(tb testing.TB) {
	tb.Helper()
	dc.must(tb, "suspend", dc.signal(syscall.SIGSTOP))
}

// Resume ends what [DC.Suspend] began.
func (dc *DC) Resume(tb testing.TB) {
	tb.Helper()
	dc.must(tb, "resume", dc.signal(syscall.SIGCONT))
}

func (dc *DC) signal(sig syscall.Signal) error {
	if dc.proc == nil {
		return fmt.Errorf("it does not run")
	}
	return dc.proc.signal(sig)
}

func (dc *DC) must(tb testing.TB, what string, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatalf("%s the domain controller: %v", what, err)
	}
}
