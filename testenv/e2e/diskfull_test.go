package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

// onSmallDisk gives the daemon a data_dir on a file system of its own, in a
// mount namespace that ends with it; it skips, aloud, without the right to.
func (in *installation) onSmallDisk(size string) {
	in.t.Helper()
	if out, err := exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "dirgate-test", "/mnt").CombinedOutput(); err != nil {
		in.t.Skipf("SKIPPED: no file system can be mounted in a namespace of the test's own (it needs root): %v %s", err, out)
	}
	data := filepath.Join(in.dir, "data")
	if out, err := exec.Command("cp", "-a", data, data+".seed").CombinedOutput(); err != nil {
		in.t.Fatalf("%v %s", err, out)
	}
	const script = `set -e; mount -t tmpfs -o mode=700,size="$2" dirgate-test "$1"; cp -a --sparse=always "$1.seed/." "$1"; shift 2; exec "$@"`
	in.wrap = []string{"unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", data, size}
}

// disk is the daemon's data_dir, as the daemon sees it.
func (in *installation) disk() string {
	return fmt.Sprintf("/proc/%d/root%s", in.daemon.Process.Pid, filepath.Join(in.dir, "data"))
}

// fill leaves so many bytes free on the daemon's disk.
func (in *installation) fill(leave uint64) {
	in.t.Helper()
	f, err := os.OpenFile(filepath.Join(in.disk(), "filler"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		in.t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 64<<10); ; {
		var fs syscall.Statfs_t
		if err := syscall.Fstatfs(int(f.Fd()), &fs); err != nil {
			in.t.Fatal(err)
		}
		free := fs.Bavail * uint64(fs.Bsize)
		if free <= leave {
			return
		}
		if _, err := f.Write(chunk[:min(uint64(len(chunk)), free-leave)]); err != nil {
			in.t.Fatal(err)
		}
	}
}

// TestL3_DiskFull: on a full disk binds go on, password changes are refused
// before the DC sees them, what was acknowledged is applied, and with room
// again all is as before, in the same process.
func TestL3_DiskFull(t *testing.T) {
	t.Parallel()
	w := newEmbeddedWorld(t)
	w.onSmallDisk("192m")
	w.once()
	w.serve()
	w.wantReady()
	pid := w.daemon.Process.Pid
	now := before
	change := func(to string) error {
		err := w.change(now, to)
		if err == nil {
			now = to
		}
		return err
	}
	refused := func(to string) {
		t.Helper()
		if err := change(to); !ldap.IsErrorWithCode(err, ldap.LDAPResultUnavailable) || !strings.Contains(err.Error(), "could not record") {
			t.Errorf("on a full disk: got %v, want unavailable, and why", err)
		}
		if ready := w.get("/readyz"); !strings.Contains(ready, "not enough room on the disk") || !strings.Contains(ready, "password changes are refused") {
			t.Errorf("/readyz says %s, want that the disk has no room", ready)
		}
		if err := w.conn().Bind(w.dn, now); err != nil {
			t.Errorf("a bind on a full disk: %v", err)
		}
	}
	w.cloud.Fail(jcsim.Fault{PathPrefix: "/api/systemusers", Times: 10_000, Kind: jcsim.Status, Code: 503})
	if err := change("Before-Full-1"); err != nil {
		t.Fatal(err)
	}
	w.fill(32 << 20)
	refused("While-Short-2")
	w.cloud.Heal()
	w.cloud.wantAccepted(t, patience, "alice", "Before-Full-1")
	eventually(t, patience, "the change is applied", func() bool { return len(w.changes("--status", "pending")) == 0 })
	w.fill(0)
	refused("While-Full-3")
	if err := os.Remove(filepath.Join(w.disk(), "filler")); err != nil {
		t.Fatal(err)
	}
	if err := change("With-Room-4"); err != nil {
		t.Fatal("with room again:", err)
	}
	w.cloud.wantAccepted(t, patience, "alice", "With-Room-4")
	w.wantReady()
	if ready := w.get("/readyz"); strings.Contains(ready, "room") {
		t.Errorf("with room again /readyz says %s", ready)
	}
	if w.daemon.Process.Pid != pid || syscall.Kill(pid, 0) != nil {
		t.Error("it was not one process")
	}
	w.must("changelog", "verify")
}
