package secret

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newMaster(t testing.TB) Bytes {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master.key")
	if err := CreateMasterKey(path); err != nil {
		t.Fatal(err)
	}
	key, err := ReadMasterKey(path)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newKeys(t testing.TB) (dir string, master Bytes, sealer *Sealer, opener *Opener) {
	t.Helper()
	dir, master = filepath.Join(t.TempDir(), "keys"), newMaster(t)
	if err := EnsureKeys(dir, master); err != nil {
		t.Fatal(err)
	}
	sealer, opener = pair(t, dir, master)
	return dir, master, sealer, opener
}

func pair(t testing.TB, dir string, master Bytes) (*Sealer, *Opener) {
	t.Helper()
	sealer, err := OpenSealer(dir)
	if err != nil {
		t.Fatal(err)
	}
	opener, err := OpenOpener(dir, master)
	if err != nil {
		t.Fatal(err)
	}
	return sealer, opener
}

func seal(t testing.TB, s *Sealer, plain string, aad string) []byte {
	t.Helper()
	sealed, err := s.Seal(New([]byte(plain)), []byte(aad))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSealOpen(t *testing.T) {
	_, _, sealer, opener := newKeys(t)
	sizes := make(map[int]int)
	for _, n := range []int{0, 1, 8, 62, 63, 64, 127, 128, MaxSize} {
		plain := strings.Repeat("\x00\x80", n)[:n] // what padding is made of
		sealed := seal(t, sealer, plain, "place")
		got, err := opener.Open(sealed, []byte("place"))
		if err != nil || string(got.Expose()) != plain {
			t.Errorf("%d bytes: got %d bytes, %v", n, len(got.Expose()), err)
		}
		sizes[n] = len(sealed)
	}
	if sizes[0] != sizes[63] || sizes[64] != sizes[127] || sizes[63] == sizes[64] {
		t.Errorf("sizes %v: want one for each step of 64 bytes", sizes)
	}
	if want := 1 + 4 + 32 + 64 + 16; sizes[0] != want {
		t.Errorf("smallest sealed secret has %d bytes, want %d", sizes[0], want)
	}
	if bytes.Equal(seal(t, sealer, "x", ""), seal(t, sealer, "x", "")) {
		t.Error("the same secret sealed twice looks the same")
	}
	if _, err := sealer.Seal(Take(make([]byte, MaxSize+1)), nil); err == nil {
		t.Error("a secret over the limit was sealed")
	}
}

func TestOpenRefusesWhatWasAltered(t *testing.T) {
	_, _, sealer, opener := newKeys(t)
	sealed := seal(t, sealer, "password", "place")
	for i := range sealed {
		for _, bit := range []byte{0x01, 0x80} {
			altered := bytes.Clone(sealed)
			altered[i] ^= bit
			want := ErrCorrupt
			if i >= 1 && i < headerSize {
				want = ErrNoEpoch // there is no such epoch
			}
			// The top bit of an X25519 coordinate is masked (RFC 7748
			// section 5), but the encapsulated key itself is hashed into the
			// shared secret (RFC 9180 section 4.1).
			if got, err := opener.Open(altered, []byte("place")); !errors.Is(err, want) {
				t.Errorf("byte %d altered: opened as %q, %v, want %v", i, got.Expose(), err, want)
			}
		}
	}
	for n := range sealed {
		if _, err := opener.Open(sealed[:n], []byte("place")); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v, want ErrCorrupt", n, err)
		}
	}
	for _, aad := range []string{"", "plac", "place ", "Place"} {
		if _, err := opener.Open(sealed, []byte(aad)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("opened in place %q: %v, want ErrCorrupt", aad, err)
		}
	}
}

func TestP1_ThreeEpochs(t *testing.T) {
	dir, master, first, _ := newKeys(t)
	sealed := [][]byte{seal(t, first, "password 1", "")}
	for epoch := uint32(2); epoch <= 3; epoch++ {
		if err := createEpoch(dir, epoch, master); err != nil {
			t.Fatal(err)
		}
		sealer, _ := pair(t, dir, master)
		if sealer.Epoch() != epoch {
			t.Errorf("seals to epoch %d, want %d", sealer.Epoch(), epoch)
		}
		sealed = append(sealed, seal(t, sealer, "password "+string('0'+rune(epoch)), ""))
	}
	_, opener := pair(t, dir, master)
	for i, s := range sealed {
		got, err := opener.Open(s, nil)
		if want := "password " + string('1'+rune(i)); err != nil || string(got.Expose()) != want {
			t.Errorf("epoch %d: got %q, %v, want %q", i+1, got.Expose(), err, want)
		}
	}
	// A secret moved to another epoch's number does not open.
	moved := bytes.Clone(sealed[0])
	moved[4] = 2
	if _, err := opener.Open(moved, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("secret with another epoch's number: %v, want ErrCorrupt", err)
	}
	// Without its private key an epoch is lost, and only that.
	if err := os.Remove(epochFile(dir, 1, "key")); err != nil {
		t.Fatal(err)
	}
	_, opener = pair(t, dir, master)
	if _, err := opener.Open(sealed[0], nil); !errors.Is(err, ErrNoEpoch) {
		t.Errorf("secret of a destroyed epoch: %v, want ErrNoEpoch", err)
	}
	if _, err := opener.Open(sealed[2], nil); err != nil {
		t.Errorf("secret of another epoch: %v", err)
	}
}

func TestEnsureKeys(t *testing.T) {
	dir, master, sealer, _ := newKeys(t)
	sealed := seal(t, sealer, "password", "")
	if err := EnsureKeys(dir, master); err != nil {
		t.Fatal(err)
	}
	_, opener := pair(t, dir, master)
	if _, err := opener.Open(sealed, nil); err != nil {
		t.Errorf("ensuring keys replaced them: %v", err)
	}
	if err := EnsureKeys(dir, newMaster(t)); !errors.Is(err, ErrWrongKey) {
		t.Errorf("with another master key: %v, want ErrWrongKey", err)
	}
	for ext, want := range map[string]fs.FileMode{"key": 0o600, "pub": 0o600} {
		if info, err := os.Stat(epochFile(dir, 1, ext)); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of the .%s file: %v, %v", ext, info, err)
		}
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 2 {
		t.Errorf("files in the key directory: %v, %v, want 2", names, err)
	}
	// Killed after the private and before the public file: nothing was sealed yet.
	if err := os.Remove(epochFile(dir, 1, "pub")); err != nil {
		t.Fatal(err)
	}
	if err := EnsureKeys(dir, master); err != nil {
		t.Fatal(err)
	}
	sealer, opener = pair(t, dir, master)
	if _, err := opener.Open(seal(t, sealer, "x", ""), nil); err != nil {
		t.Errorf("a half-made epoch was not made anew: %v", err)
	}
}

// TestKeyFilesWrongOrDamaged: a wrong master key and a damaged file call for
// different help, so they must not be confused.
func TestKeyFilesWrongOrDamaged(t *testing.T) {
	dir, master, _, _ := newKeys(t)
	if _, err := OpenOpener(dir, newMaster(t)); !errors.Is(err, ErrWrongKey) || errors.Is(err, ErrCorrupt) {
		t.Errorf("another master key: %v, want ErrWrongKey", err)
	}
	if _, err := OpenOpener(dir, New([]byte("short"))); !errors.Is(err, ErrWrongKey) {
		t.Errorf("a master key that is too short: %v, want ErrWrongKey", err)
	}
	for _, ext := range []string{"key", "pub"} {
		path := epochFile(dir, 1, ext)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(whole) - 1 { // the last is the line ending
			altered := bytes.Clone(whole)
			altered[i] ^= 0x04
			if err := os.WriteFile(path, altered, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenOpener(dir, master); !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrWrongKey) {
				t.Errorf(".%s file, byte %d altered: %v, want ErrCorrupt", ext, i, err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other, _, _, _ := newKeys(t)
	swapped, err := os.ReadFile(epochFile(other, 1, "pub"))
	if err == nil {
		err = os.WriteFile(epochFile(dir, 1, "pub"), swapped, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenOpener(dir, master); !errors.Is(err, ErrCorrupt) {
		t.Errorf("public key of another pair: %v, want ErrCorrupt", err)
	}
}

func TestNoKeys(t *testing.T) {
	empty := t.TempDir()
	if _, err := OpenSealer(empty); !errors.Is(err, ErrNoEpoch) || !strings.Contains(err.Error(), "dirgate init") {
		t.Errorf("sealer without keys: %v, want ErrNoEpoch and what to do", err)
	}
	if _, err := OpenOpener(empty, newMaster(t)); !errors.Is(err, ErrNoEpoch) {
		t.Errorf("opener without keys: %v, want ErrNoEpoch", err)
	}
	if _, err := OpenSealer(filepath.Join(empty, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sealer without a directory: %v, want fs.ErrNotExist", err)
	}
}

func TestP1_SealerNeedsNoPrivateKey(t *testing.T) {
	dir, _, _, opener := newKeys(t)
	public := filepath.Join(t.TempDir(), "public")
	text, err := os.ReadFile(epochFile(dir, 1, "pub"))
	if err == nil {
		err = errors.Join(os.Mkdir(public, 0o700), os.WriteFile(epochFile(public, 1, "pub"), text, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := OpenSealer(public)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := opener.Open(seal(t, sealer, "password", "p"), []byte("p")); err != nil || string(got.Expose()) != "password" {
		t.Errorf("got %q, %v", got.Expose(), err)
	}
}

func FuzzOpen(f *testing.F) {
	_, _, sealer, opener := newKeys(f)
	aad := []byte("place")
	known := make(map[string]bool)
	for _, plain := range []string{"", "password", strings.Repeat("x", 64)} {
		sealed := seal(f, sealer, plain, "place")
		known[string(sealed)] = true
		f.Add(sealed)
		f.Add(sealed[:len(sealed)-1])
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		got, err := opener.Open(sealed, aad)
		if err == nil && !known[string(sealed)] {
			t.Fatalf("opened %x, which was never sealed, as %q", sealed, got.Expose())
		}
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNoEpoch) {
			t.Fatalf("error of no known kind: %v", err)
		}
	})
}

func FuzzUnpad(f *testing.F) {
	f.Add([]byte("password"))
	f.Add(bytes.Repeat([]byte{padMark, 0}, 40))
	f.Fuzz(func(t *testing.T, plain []byte) {
		padded := pad(plain)
		if len(padded)%padStep != 0 || len(padded) > len(plain)+padStep {
			t.Fatalf("%d bytes padded to %d", len(plain), len(padded))
		}
		if got, ok := unpad(padded); !ok || !bytes.Equal(got, plain) {
			t.Fatalf("unpad(pad(%x)) = %x, %v", plain, got, ok)
		}
		if got, ok := unpad(plain); ok && len(plain)%padStep == 0 && !bytes.Equal(pad(got), plain) {
			t.Fatalf("%x has two paddings", plain)
		}
	})
}

// TestHeaderIsAuthenticated gives two epochs one key pair, so that only the
// seal itself can tell that the epoch was exchanged.
func TestHeaderIsAuthenticated(t *testing.T) {
	_, _, sealer, opener := newKeys(t)
	opener.private[2] = opener.private[1]
	sealed := seal(t, sealer, "password", "place")
	sealed[4] = 2
	if got, err := opener.Open(sealed, []byte("place")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opened as %q, %v, want ErrCorrupt", got.Expose(), err)
	}
}
