package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/secret"
)

// TestL4_BackupAndRestore backs an installation up, offline and through its
// daemon, and restores it into an empty data directory.
func TestL4_BackupAndRestore(t *testing.T) {
	cfg := newInstallation(t)
	record(t, cfg, 3)
	run := func(args ...string) (string, int) {
		return dirgate(t, append([]string{"--config", cfg.Path}, args...)...)
	}
	done := func(args ...string) string {
		t.Helper()
		out, code := run(args...)
		if code != exitDone {
			t.Fatalf("%v: status %d, %s", args, code, out)
		}
		return out
	}
	dir := t.TempDir()
	offline, online := filepath.Join(dir, "offline"), filepath.Join(dir, "online")
	done("backup", offline)
	if out, code := run("backup", offline); code != exitFailed || !strings.Contains(out, "file exists") {
		t.Errorf("a second backup into the same file: status %d, %s", code, out)
	}
	if out, code := run("restore", offline); code != exitFailed || !strings.Contains(out, "is not overwritten") {
		t.Errorf("restore over the store: status %d, %s", code, out)
	}
	d, _ := newTestDaemon(t, cfg)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx, nil) }()
	done("backup", online)
	if out, code := run("restore", online); code != exitFailed || !strings.Contains(out, "a daemon is running") {
		t.Errorf("restore under a daemon: status %d, %s", code, out)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, backup := range []string{offline, online} {
		content, err := os.ReadFile(backup)
		if err != nil || bytes.Contains(content, []byte("a-password")) {
			t.Errorf("%s: %v, or a password in clear", backup, err)
		}
		if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", backup, info.Mode(), err)
		}
		if err := os.RemoveAll(cfg.DataDir); err != nil {
			t.Fatal(err)
		}
		done("restore", backup)
		if out := done("changelog", "verify"); !strings.Contains(out, "every sequence number is accounted for") {
			t.Errorf("after the restore: %s", out)
		}
		if out := done("changelog", "list", "--status", "dead"); strings.Count(out, "held: records were lost or taken back") != 3 {
			t.Errorf("dead letters after the restore: %s", out)
		}
	}
}

// TestP1_KeyRotate rotates offline and through the daemon, which rotates by
// itself too.
func TestP1_KeyRotate(t *testing.T) {
	cfg := newInstallation(t)
	record(t, cfg, 1)
	epochs := func() []uint32 {
		t.Helper()
		all, err := secret.Epochs(keysDir(cfg))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if out, code := dirgate(t, "--config", cfg.Path, "key", "rotate"); code != exitDone || !strings.Contains(out, "epoch 2 is in use; destroyed: []") {
		t.Errorf("offline: status %d, %s", code, out)
	}
	d, _ := newTestDaemon(t, cfg)
	if err := tendOnce(t.Context(), d.opened.store, keysOf(cfg, d.opened.opener)); err != nil {
		t.Fatal(err)
	}
	// Epoch 1 has a pending password; 2 had nothing.
	if got := epochs(); !slices.Equal(got, []uint32{1, 3}) {
		t.Errorf("epochs %v, want 1 and 3", got)
	}
	if err := d.opened.store.Discard(t.Context(), 1, "a test"); err != nil {
		t.Fatal(err)
	}
	if err := tendOnce(t.Context(), d.opened.store, keysOf(cfg, d.opened.opener)); err != nil {
		t.Fatal(err)
	}
	if got := epochs(); !slices.Equal(got, []uint32{3}) {
		t.Errorf("epochs %v, want 3 alone: nothing is sealed to 1", got)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx, nil) }()
	if out, code := dirgate(t, "--config", cfg.Path, "key", "rotate"); code != exitDone || !strings.Contains(out, "epoch 4 is in use; destroyed: [3]") {
		t.Errorf("through the daemon: status %d, %s", code, out)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	stranger := filepath.Join(t.TempDir(), "master.key")
	if err := secret.CreateMasterKey(stranger); err != nil {
		t.Fatal(err)
	}
	cfg.MasterKeyFile = stranger
	if _, err := newDaemon(t.Context(), cfg, allRoles, d.log); err == nil || !strings.Contains(err.Error(), "another master key; check master_key_file") {
		t.Errorf("with another master key: %v", err)
	}
}
