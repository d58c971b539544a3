package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// nobody is a user that owns nothing here.
const nobody = 65534

// TestRootElsewhere: root does not work in another user's installation, and
// leaves nothing of its own in it.
func TestRootElsewhere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root, to give a folder away")
	}
	dir := filepath.Join(t.TempDir(), "etc")
	config := filepath.Join(dir, "dirgate.yaml")
	if out, code := dirgate(t, "--config", config, "init", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"); code != exitDone {
		t.Fatal(out)
	}
	give := func() (paths string) {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			paths += path + "\n"
			if err != nil {
				return err
			}
			return os.Lchown(path, nobody, nobody)
		})
		if err != nil {
			t.Fatal(err)
		}
		return paths
	}
	before := give()
	for _, args := range [][]string{{"domain", "list"}, {"changelog", "list"}, {"serve"}} {
		out, code := dirgate(t, append([]string{"--config", config}, args...)...)
		if code != exitFailed || !strings.Contains(out, "run it as that user: sudo -u nobody dirgate") || strings.Contains(out, "chown") {
			t.Errorf("%q: got status %d, %s", args, code, out)
		}
	}
	if out, code := dirgate(t, "--config", filepath.Join(dir, "second.yaml"), "init"); code != exitFailed || !strings.Contains(out, "sudo -u nobody") {
		t.Errorf("init: got status %d, %s", code, out)
	}
	if after := give(); after != before {
		t.Errorf("files now:\n%sbefore:\n%s", after, before)
	}
}

func TestRightUser(t *testing.T) {
	mine := t.TempDir()
	if err := rightUser(mine, os.Geteuid()); err != nil {
		t.Error("one's own folder:", err)
	}
	if err := rightUser(filepath.Join(mine, "absent"), 0); err != nil {
		t.Error("a folder that does not exist:", err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(mine, 54321, -1); err != nil {
			t.Fatal(err)
		}
	}
	err := rightUser(mine, 0)
	if err == nil || !strings.Contains(err.Error(), "sudo -u ") {
		t.Errorf("another's folder as root: got %v, want advice to use sudo -u", err)
	}
	if os.Geteuid() == 0 && !strings.Contains(err.Error(), "sudo -u '#54321' dirgate") {
		t.Errorf("a user without a name: got %v", err)
	}
}

// dirgate runs a command in this process.
func dirgate(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	var out bytes.Buffer
	code = run(t.Context(), append([]string{"dirgate"}, args...), strings.NewReader(""), &out, &out)
	return out.String(), code
}
