package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// restored restores a backup into a place of its own and opens it.
func (f *fixture) restored(t *testing.T, backup []byte) *fixture {
	t.Helper()
	root := t.TempDir()
	g := &fixture{keys: f.keys, dir: filepath.Join(root, "store")}
	g.keys.dir = filepath.Join(root, "keys")
	_, err := Restore(t.Context(), bytes.NewReader(backup), g.options(), g.keys.dir)
	ok(t, err)
	g.keys.sealer, err = secret.OpenSealer(g.keys.dir)
	ok(t, err)
	g.keys.opener, err = secret.OpenOpener(g.keys.dir, f.master)
	ok(t, err)
	g.reopen(t)
	return g
}

// TestL4_BackupWhileInUse backs up a store that is being written to, and
// restores it: it is whole, says that it was restored, and holds what was
// pending until a person has looked.
func TestL4_BackupWhileInUse(t *testing.T) {
	f := newStore(t)
	f.everything(t)
	f.rotate(t)
	pending := f.pend(t, 7, "pending at the backup")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = f.AppendIntent(ctx, change(byte(i)), secret.New(fmt.Append(nil, "password ", i)))
		}
	}()
	var backup bytes.Buffer
	header, err := f.Backup(t.Context(), &backup, f.keys.dir, false)
	ok(t, err)
	stop()
	<-ended
	f.verified(t)
	if hits := bytes.Contains(backup.Bytes(), []byte("pending at the backup")); hits {
		t.Error("a password lies in the backup")
	}

	g := f.restored(t, backup.Bytes())
	r := g.verified(t)
	if r.Last < header.Last+1 {
		t.Errorf("the restored log ends at %d, the backup at %d", r.Last, header.Last)
	}
	records, err := g.Records(header.Last, 1)
	ok(t, err)
	if records[0].Type != RecordRestored || !contains(records[0].Reason, "restored from the backup of 2026-03-01") {
		t.Errorf("record %+v, want one that tells of the restore", records[0])
	}
	e, err := g.Entry(pending)
	ok(t, err)
	if e.Status != identity.StatusDead || e.Reason != heldReason {
		t.Errorf("pending at the backup: %+v, want it held", e)
	}
	password, err := g.Secret(pending, g.opener)
	if err != nil || string(password.Expose()) != "pending at the backup" {
		t.Errorf("its password: %q, %v", password.Expose(), err)
	}
	if key, err := g.Credential("corp.example", CredAPIKey, g.opener); err != nil || string(key.Expose()) != "key" {
		t.Errorf("credential: %q, %v", key.Expose(), err)
	}
	if _, err := g.LinkByJumpCloudID("jc1"); err != nil {
		t.Error(err)
	}
	g.check(t)
	g.reopen(t)
	g.verified(t)

	_, err = Restore(t.Context(), bytes.NewReader(backup.Bytes()), g.options(), g.keys.dir)
	if !errors.Is(err, os.ErrExist) {
		t.Errorf("restore over a store: %v, want it refused", err)
	}
	g.verified(t)
}

// TestL4_BackupWithoutPasswords: what was pending is discarded when such a
// backup is restored, and the rest is whole.
func TestL4_BackupWithoutPasswords(t *testing.T) {
	f := newStore(t)
	f.everything(t)
	seq := f.pend(t, 7, "pw")
	var backup bytes.Buffer
	_, err := f.Backup(t.Context(), &backup, f.keys.dir, true)
	ok(t, err)
	g := f.restored(t, backup.Bytes())
	g.verified(t)
	if got := g.status(t, seq); got != identity.StatusDiscarded {
		t.Errorf("a change without its password is %s", got)
	}
	g.check(t)
}

// TestL4_DamagedBackup flips and cuts bytes of a backup, and restores it with
// the wrong master key. Nothing may be put in place.
func TestL4_DamagedBackup(t *testing.T) {
	f := newStore(t)
	f.everything(t)
	var whole bytes.Buffer
	_, err := f.Backup(t.Context(), &whole, f.keys.dir, false)
	ok(t, err)
	try := func(name string, backup []byte, logKey *secret.LogKey) {
		t.Helper()
		root := t.TempDir()
		o := f.options()
		o.Dir, o.LogKey = filepath.Join(root, "store"), logKey
		_, err := Restore(t.Context(), bytes.NewReader(backup), o, filepath.Join(root, "keys"))
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
		if left := glob(t, filepath.Join(root, "*")); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
	size := whole.Len()
	for i := 0; i < size; i += size/12 + 1 {
		flipped := bytes.Clone(whole.Bytes())
		flipped[i] ^= 0xFF
		try(fmt.Sprintf("byte %d of %d flipped", i, size), flipped, f.logKey)
		try(fmt.Sprintf("cut at %d", i), whole.Bytes()[:i], f.logKey)
	}
	try("the wrong master key", whole.Bytes(), newKeys(t).logKey)
}
