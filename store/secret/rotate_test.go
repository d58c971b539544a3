package secret

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func newEpochs(t *testing.T) (dir string, master Bytes) {
	t.Helper()
	dir, master = filepath.Join(t.TempDir(), "keys"), Random()
	if err := EnsureKeys(dir, master); err != nil {
		t.Fatal(err)
	}
	return dir, master
}

// TestP1_Epochs creates and destroys epochs, and looks for what is left of a
// private key in the directory.
func TestP1_Epochs(t *testing.T) {
	dir, master := newEpochs(t)
	if _, err := CreateEpoch(dir, Random()); !errors.Is(err, ErrWrongKey) {
		t.Errorf("create an epoch with another master key: %v, want ErrWrongKey", err)
	}
	for want := uint32(2); want <= 3; want++ {
		if epoch, err := CreateEpoch(dir, master); err != nil || epoch != want {
			t.Fatalf("epoch %d, %v, want %d", epoch, err, want)
		}
	}
	opener, err := OpenOpener(dir, master)
	if err != nil {
		t.Fatal(err)
	}
	// A second name keeps the file: destruction must reach what is in it.
	held := filepath.Join(t.TempDir(), "held")
	if err := os.Link(epochFile(dir, 1, "key"), held); err != nil {
		t.Fatal(err)
	}
	if err := DestroyEpoch(dir, 1); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(held); err != nil || len(bytes.Trim(content, "\x00")) > 0 {
		t.Errorf("the private key was not overwritten: %q, %v", content, err)
	}
	if err := DestroyEpoch(dir, 1); err != nil {
		t.Errorf("destroy it again: %v", err)
	}
	if epochs, err := Epochs(dir); err != nil || !slices.Equal(epochs, []uint32{2, 3}) {
		t.Errorf("epochs %v, %v, want 2 and 3", epochs, err)
	}
	if err := DestroyEpoch(dir, 3); !errors.Is(err, ErrNoEpoch) {
		t.Errorf("destroy the newest: %v, want ErrNoEpoch", err)
	}
	if epoch, err := CreateEpoch(dir, master); err != nil || epoch != 4 {
		t.Errorf("epoch %d, %v, want 4", epoch, err)
	}
	sealer, err := OpenSealer(dir)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealer.Seal(New([]byte("pw")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if epoch, known := EpochOf(sealed); !known || epoch != 4 {
		t.Errorf("EpochOf: %d, %t", epoch, known)
	}
	if _, err := opener.Open(sealed, nil); !errors.Is(err, ErrNoEpoch) {
		t.Errorf("open with old keys: %v", err)
	}
	if err := opener.Reload(dir, Random()); !errors.Is(err, ErrWrongKey) {
		t.Errorf("reload with another master key: %v", err)
	}
	if err := opener.Reload(dir, master); err != nil {
		t.Fatal(err)
	}
	if plain, err := opener.Open(sealed, nil); err != nil || string(plain.Expose()) != "pw" {
		t.Errorf("after Reload: %q, %v", plain.Expose(), err)
	}
	opener.Forget(4)
	if _, err := opener.Open(sealed, nil); !errors.Is(err, ErrNoEpoch) {
		t.Errorf("after Forget: %v", err)
	}
}

// TestP4_LogKey prints a log key in every way.
func TestP4_LogKey(t *testing.T) {
	key, err := NewLogKey(Random())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewLogKey(New([]byte("short"))); !errors.Is(err, ErrWrongKey) {
		t.Errorf("a short master key: %v", err)
	}
	raw := key.key.Expose()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{key, *key, struct{ k *LogKey }{key}, []any{key}} {
			text := fmt.Sprintf(verb, v)
			if bytes.Contains([]byte(text), []byte(hex.EncodeToString(raw[:4]))) || bytes.Contains([]byte(text), fmt.Appendf(nil, "%d %d %d", raw[0], raw[1], raw[2])) {
				t.Errorf("%s tells the key: %s", verb, text)
			}
		}
	}
	a := key.Tag("use", []byte("ab"), []byte("c"))
	for name, other := range map[string][TagSize]byte{
		"another division": key.Tag("use", []byte("a"), []byte("bc")), "another use": key.Tag("usf", []byte("ab"), []byte("c")), "one part": key.Tag("use", []byte("abc")),
	} {
		if a == other {
			t.Errorf("%s gives the same tag", name)
		}
	}
}
