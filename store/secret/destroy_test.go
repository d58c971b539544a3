package secret

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"
)

// twoEpochs makes keys of epochs 1 and 2.
func twoEpochs(t *testing.T) (dir string, master Bytes) {
	t.Helper()
	dir, master = t.TempDir(), Random()
	if err := EnsureKeys(dir, master); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateEpoch(dir, master); err != nil {
		t.Fatal(err)
	}
	return dir, master
}

// TestP1_DestructionCutShort: killed at any step of a destruction, the process
// starts again, and destroys the key then.
func TestP1_DestructionCutShort(t *testing.T) {
	for name, cut := range map[string]func(key, gone string) error{
		"before":      func(key, gone string) error { return nil },
		"renamed":     os.Rename,
		"overwritten": func(key, gone string) error { return errors.Join(os.Rename(key, gone), overwrite(gone)) },
		"removed":     func(key, gone string) error { return os.Remove(key) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, master := twoEpochs(t)
			key, gone := epochFile(dir, 1, "key"), epochFile(dir, 1, "gone")
			same := epochFile(t.TempDir(), 1, "same") // the file by another name
			if err := os.Link(key, same); err != nil {
				t.Fatal(err)
			}
			if err := cut(key, gone); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenOpener(dir, master); err != nil {
				t.Fatal("cut short:", err)
			}
			if err := DestroyEpoch(dir, 1); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{key, gone, epochFile(dir, 1, "pub")} {
				if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is left: %v", path, err)
				}
			}
			content, err := os.ReadFile(same)
			if err != nil || (name != "removed" && len(bytes.Trim(content, "\x00")) != 0) {
				t.Errorf("the private key was not overwritten: %v", err)
			}
			if _, err := OpenOpener(dir, master); err != nil {
				t.Error("afterwards:", err)
			}
		})
	}
}

// TestP1_KeyIsNotOverwrittenInPlace: a key keeps its name only as long as it
// is whole.
func TestP1_KeyIsNotOverwrittenInPlace(t *testing.T) {
	dir, master := twoEpochs(t)
	if err := os.Mkdir(epochFile(dir, 1, "gone"), 0o700); err != nil { // no key can get that name
		t.Fatal(err)
	}
	if err := DestroyEpoch(dir, 1); err == nil {
		t.Error("destroyed, though the key could not be put aside")
	}
	o, err := OpenOpener(dir, master)
	if err != nil {
		t.Fatal("the key was overwritten under its own name:", err)
	}
	if o.private[1] == nil {
		t.Error("the key is gone")
	}
}
