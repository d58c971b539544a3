package secret

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMasterKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	if err := CreateMasterKey(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	key, err := ReadMasterKey(path)
	if err != nil || len(key.Expose()) != masterKeySize {
		t.Fatalf("read: %d bytes, %v", len(key.Expose()), err)
	}
	if err := CreateMasterKey(path); !errors.Is(err, fs.ErrExist) || !errors.Is(err, ErrMasterKey) {
		t.Errorf("create again: %v, want fs.ErrExist", err)
	}
	if again, err := ReadMasterKey(path); err != nil || !again.Equal(key) {
		t.Errorf("the key changed: %v", err)
	}
	other := filepath.Join(t.TempDir(), "master.key")
	if err := CreateMasterKey(other); err != nil {
		t.Fatal(err)
	}
	if second, err := ReadMasterKey(other); err != nil || second.Equal(key) {
		t.Errorf("two master keys are the same, or %v", err)
	}
}

func TestReadMasterKeyRefuses(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.key")
	if err := CreateMasterKey(good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	body := strings.TrimSpace(strings.TrimPrefix(string(text), masterKeyPrefix))
	for _, row := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"missing", func(string) error { return nil }, "dirgate init"},
		{"group may read", func(p string) error { return errors.Join(os.WriteFile(p, text, 0o600), os.Chmod(p, 0o640)) }, "chmod 0600"},
		{"others may write", func(p string) error { return errors.Join(os.WriteFile(p, text, 0o600), os.Chmod(p, 0o602)) }, "chmod 0600"},
		{"link to a loose file", func(p string) error {
			loose := p + ".loose"
			return errors.Join(os.WriteFile(loose, text, 0o600), os.Chmod(loose, 0o644), os.Symlink(loose, p))
		}, "chmod 0600"},
		{"directory", func(p string) error { return os.Mkdir(p, 0o700) }, "not a regular file"},
		{"empty", func(p string) error { return os.WriteFile(p, nil, 0o600) }, "does not begin with"},
		{"other kind of file", func(p string) error { return os.WriteFile(p, []byte(publicKeyPrefix+body), 0o600) }, "does not begin with"},
		{"cut off", func(p string) error { return os.WriteFile(p, text[:len(text)-8], 0o600) }, "32 bytes in base64"},
		{"too long", func(p string) error { return os.WriteFile(p, []byte(masterKeyPrefix+body+body), 0o600) }, "32 bytes in base64"},
		{"huge", func(p string) error { return os.WriteFile(p, make([]byte, maxKeyFile+1), 0o600) }, "larger than"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "master.key")
			if err := row.make(path); err != nil {
				t.Fatal(err)
			}
			_, err := ReadMasterKey(path)
			if !errors.Is(err, ErrMasterKey) || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want it to name the file and say %q", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), body[:12]) {
				t.Error("the error shows the key")
			}
		})
	}
	t.Run("link to a private file", func(t *testing.T) {
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(good, link); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadMasterKey(link); err != nil {
			t.Error(err)
		}
	})
	t.Run("of another user", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("SKIPPED: only root can give a file away")
		}
		path := filepath.Join(t.TempDir(), "master.key")
		if err := errors.Join(os.WriteFile(path, text, 0o600), os.Chown(path, 12345, -1)); err != nil {
			t.Fatal(err)
		}
		_, err := ReadMasterKey(path)
		if err == nil || !strings.Contains(err.Error(), "sudo -u '#12345'") || strings.Contains(err.Error(), "chown") {
			t.Errorf("got %v, want a refusal", err)
		}
	})
}
