package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

func (f *fixture) keyring() Keys { return Keys{Dir: f.keys.dir, Master: f.master, Opener: f.opener} }

func (f *fixture) rotate(t *testing.T) (uint32, []uint32) {
	t.Helper()
	epoch, destroyed, err := f.RotateKeys(t.Context(), f.keyring())
	ok(t, err)
	return epoch, destroyed
}

func (f *fixture) apply(t *testing.T, seq identity.Seq) {
	t.Helper()
	ok(t, f.BeginAttempt(t.Context(), seq, "date"))
	ok(t, f.MarkApplied(t.Context(), seq, nil))
}

// thief tries every place of every file below dir as a sealed secret, with
// every key below keyDir and the master key, in the name of a change.
func thief(t *testing.T, dir, keyDir string, master secret.Bytes, c identity.Change) (found []string) {
	t.Helper()
	opener, err := secret.OpenOpener(keyDir, master)
	ok(t, err)
	const size = 53 + 64
	ok(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		for i := 0; i+size <= len(content); i++ {
			if epoch, known := secret.EpochOf(content[i:]); !known || epoch == 0 || epoch > 9 {
				continue
			}
			if plain, err := opener.Open(content[i:i+size], secretAAD(c)); err == nil {
				found = append(found, string(plain.Expose()))
			}
		}
		return err
	}))
	return found
}

// TestP1_AppliedPasswordIsGone: from a full copy of the disk, Badger's old
// files among it, and the master key, nobody opens a password that was applied
// and whose epoch is over. One that is pending survives a restart.
func TestP1_AppliedPasswordIsGone(t *testing.T) {
	t.Parallel()
	f := newStore(t)
	ok(t, f.PutDomain(t.Context(), Domain{Name: "corp.example"}, map[string]secret.Bytes{CredAPIKey: secret.New([]byte("key"))}))
	first, second := f.pend(t, 1, "the first"), f.pend(t, 2, "the second")
	steal := func(seq identity.Seq) []string {
		t.Helper()
		e, err := f.Entry(seq)
		ok(t, err)
		dir := filepath.Join(t.TempDir(), "disk")
		f.copyTo(t, dir)
		keyDir := filepath.Join(t.TempDir(), "keys")
		ok(t, os.CopyFS(keyDir, os.DirFS(f.keys.dir)))
		return thief(t, dir, keyDir, f.master, e.Change)
	}
	f.apply(t, first)
	if found := steal(first); !slices.Contains(found, "the first") {
		t.Fatalf("the thief finds %q before the key is destroyed: the search proves nothing", found)
	}
	if epoch, destroyed := f.rotate(t); epoch != 2 || len(destroyed) != 0 {
		t.Errorf("epoch %d, destroyed %v, with a pending password in epoch 1", epoch, destroyed)
	}
	third := f.pend(t, 3, "the third")
	f.apply(t, second)
	destroyed, err := f.DestroyUnusedKeys(t.Context(), f.keyring())
	ok(t, err)
	if !slices.Equal(destroyed, []uint32{1}) {
		t.Errorf("destroyed %v, want epoch 1", destroyed)
	}
	for _, seq := range []identity.Seq{first, second} {
		if found := steal(seq); len(found) > 0 {
			t.Errorf("password of change %d was recovered: %q", seq, found)
		}
	}
	if found := steal(third); !slices.Contains(found, "the third") {
		t.Errorf("the thief finds %q, want the pending one", found)
	}
	f.keys.opener, err = secret.OpenOpener(f.keys.dir, f.master)
	ok(t, err)
	f.keys.sealer, err = secret.OpenSealer(f.keys.dir)
	ok(t, err)
	f.reopen(t)
	password, err := f.Secret(third, f.opener)
	if err != nil || string(password.Expose()) != "the third" {
		t.Errorf("pending password after a restart: %q, %v", password.Expose(), err)
	}
	key, err := f.Credential("corp.example", CredAPIKey, f.opener)
	if err != nil || string(key.Expose()) != "key" {
		t.Errorf("credential after its epoch was destroyed: %q, %v", key.Expose(), err)
	}
	f.verified(t)
}

// TestP1_ThreeGenerations: passwords of three epochs open, before and after a
// restart, and the keys of an epoch live as long as one of its passwords.
func TestP1_ThreeGenerations(t *testing.T) {
	f := newStore(t)
	var seqs []identity.Seq
	for i, word := range []string{"one", "two", "three"} {
		if i > 0 {
			f.rotate(t)
		}
		seqs = append(seqs, f.pend(t, byte(i+1), word))
	}
	var err error
	for range 2 {
		for i, word := range []string{"one", "two", "three"} {
			password, err := f.Secret(seqs[i], f.opener)
			if err != nil || string(password.Expose()) != word {
				t.Errorf("password of generation %d: %q, %v", i+1, password.Expose(), err)
			}
		}
		f.keys.opener, err = secret.OpenOpener(f.keys.dir, f.master)
		ok(t, err)
		f.keys.sealer, err = secret.OpenSealer(f.keys.dir)
		ok(t, err)
		f.reopen(t)
	}
	f.apply(t, seqs[1])
	destroyed, err := f.DestroyUnusedKeys(t.Context(), f.keyring())
	ok(t, err)
	if !slices.Equal(destroyed, []uint32{2}) {
		t.Errorf("destroyed %v, want the second alone", destroyed)
	}
	if _, err := f.Secret(seqs[0], f.opener); err != nil {
		t.Errorf("the first generation: %v", err)
	}
	other := newKeys(t)
	if _, _, err := f.RotateKeys(t.Context(), Keys{Dir: f.keys.dir, Master: other.master, Opener: f.opener}); !errors.Is(err, secret.ErrWrongKey) {
		t.Errorf("rotate with another master key: %v, want ErrWrongKey", err)
	}
}

// TestP1_KeyIsNotDestroyedOnAGuess: with a sealed password that cannot be read
// or found no key is destroyed.
func TestP1_KeyIsNotDestroyedOnAGuess(t *testing.T) {
	f := newStore(t)
	f.pend(t, 1, "one")
	f.rotate(t)
	f.head.Tallies[kindOf([]byte(prefixSecret))].N++ // as when a block of a table cannot be read
	if destroyed, err := f.DestroyUnusedKeys(t.Context(), f.keyring()); !errors.Is(err, ErrCorrupt) || len(destroyed) > 0 {
		t.Errorf("destroyed %v, %v, want ErrCorrupt", destroyed, err)
	}
	if err := secret.DestroyEpoch(f.keys.dir, 2); !errors.Is(err, secret.ErrNoEpoch) {
		t.Errorf("destroy the newest epoch: %v", err)
	}
}
