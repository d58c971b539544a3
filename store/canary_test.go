package store

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf16"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

const canary = "Kanarienvogel-7f3a-Zugvogel"

// forms are the ways in which a secret could lie in a file.
func forms(text string) map[string][]byte {
	wide := make([]byte, 0, 2*len(text))
	for _, unit := range utf16.Encode([]rune(text)) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	found := make(map[string][]byte)
	for name, raw := range map[string][]byte{"UTF-8": []byte(text), "UTF-16LE": wide} {
		found[name] = raw
		found[name+" hex"] = []byte(hex.EncodeToString(raw))
		found[name+" HEX"] = bytes.ToUpper(found[name+" hex"])
		for shift := range 3 { // base64 of a longer text, at each alignment
			encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), raw...))
			found[name+" base64 "+string(rune('0'+shift))] = []byte(encoded[4 : len(encoded)-4])
		}
	}
	return found
}

// search reads every file below dir and returns what it found where.
func search(t *testing.T, dir, text string) (hits []string) {
	t.Helper()
	ok(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		for name, form := range forms(text) {
			if bytes.Contains(content, form) {
				hits = append(hits, name+" in "+filepath.Base(path))
			}
		}
		return err
	}))
	return hits
}

func TestP4_NoSecretInFilesLogsOrErrors(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	f := &fixture{keys: newKeys(t), dir: filepath.Join(t.TempDir(), "log")}
	o := f.options()
	o.Log = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	st, err := Open(o)
	ok(t, err)
	f.Store = st
	ctx := t.Context()
	applied := f.pend(t, 1, canary)
	ok(t, f.BeginAttempt(ctx, applied, "d"))
	ok(t, f.MarkApplied(ctx, applied, nil))
	pending := f.pend(t, 2, canary)
	f.intend(t, 3, canary)
	ok(t, f.PutDomain(ctx, Domain{Name: "corp.example"}, map[string]secret.Bytes{CredAPIKey: secret.New([]byte(canary))}))
	if _, err := f.Secret(applied, f.opener); !errors.Is(err, ErrNotFound) {
		t.Errorf("password of an applied change: %v, want ErrNotFound", err)
	}
	stranger := newKeys(t)
	_, err = f.Secret(pending, stranger.opener)
	if !errors.Is(err, secret.ErrCorrupt) {
		t.Errorf("opened with another key: %v, want ErrCorrupt", err)
	}
	sayings := err.Error()

	for _, moment := range []string{"open", "closed"} {
		if hits := search(t, f.dir, canary); len(hits) > 0 {
			t.Errorf("store %s: secret found: %v", moment, hits)
		}
		// The search must be able to find what is there.
		if hits := search(t, f.dir, "CN=app,DC=corp,DC=example"); len(hits) == 0 {
			t.Errorf("store %s: not even the actor's name was found", moment)
		}
		ok(t, f.Close())
	}
	for name, form := range forms(canary) {
		if bytes.Contains(logged.Bytes(), form) || bytes.Contains([]byte(sayings), form) {
			t.Errorf("secret logged or in an error as %s", name)
		}
	}
	if !contains(logged.String(), "database") {
		t.Error("nothing was logged at debug level: the search proves nothing")
	}
}

// TestP1_SealedInItsPlace puts the sealed password of one change in the place
// of another's.
func TestP1_SealedInItsPlace(t *testing.T) {
	f := newStore(t)
	a, b := f.pend(t, 1, "of one"), f.pend(t, 2, "of two")
	ok(t, f.submit(t.Context(), func(batch *batch) error {
		sealed, err := getBytes(batch.txn, keySeq(prefixSecret, a))
		batch.set(keySeq(prefixSecret, b), sealed)
		return err
	}))
	if password, err := f.Secret(b, f.opener); !errors.Is(err, secret.ErrCorrupt) {
		t.Errorf("moved password: %q, %v, want ErrCorrupt", password.Expose(), err)
	}
	c := change(1)
	c.Seq = 1
	for name, spoil := range map[string]func(*identity.Change){
		"number": func(c *identity.Change) { c.Seq++ }, "direction": func(c *identity.Change) { c.Direction = identity.Sync },
		"domain":  func(c *identity.Change) { c.Account.Domain = "x" },
		"account": func(c *identity.Change) { c.Account.GUID[3]++ },
	} {
		other := c
		spoil(&other)
		if bytes.Equal(secretAAD(c), secretAAD(other)) {
			t.Errorf("the seal does not bind the %s", name)
		}
	}
}
