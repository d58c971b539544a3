package secret

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// masterKeySize is the size of a master key in bytes.
const masterKeySize = 32

// masterKeyPrefix begins a master key file, so that no other kind of file is
// taken for one, and names the version of its format.
const masterKeyPrefix = "dirgate-master-key-1:"

// maxKeyFile bounds what is read of a key file, in bytes; all kinds are
// smaller than 300.
const maxKeyFile = 4096

// ErrMasterKey is wrapped by every error about a master key file.
var ErrMasterKey = errors.New("master key")

// CreateMasterKey writes a new random master key to path with mode 0600 and
// syncs it. It never replaces a file: that would make every sealed secret
// unreadable.
func CreateMasterKey(path string) (err error) {
	key := make([]byte, masterKeySize)
	defer clear(key)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("create %w %s: %w", ErrMasterKey, path, err)
	}
	text := base64.StdEncoding.AppendEncode([]byte(masterKeyPrefix), key)
	text = append(text, '\n')
	defer clear(text)

	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create %w %s: the file exists and is not replaced: without it what it sealed cannot be read; move it away first if that is meant: %w", ErrMasterKey, path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("create %w: %w", ErrMasterKey, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path) // ours, and of no use half-written
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("create %w %s: %w", ErrMasterKey, path, err)
	}
	return nil
}

// ReadMasterKey reads a master key. It refuses a file that others than its
// owner may read or write, or that belongs to someone else than root or the
// caller; of a symbolic link, what it leads to counts.
func ReadMasterKey(path string) (Bytes, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Bytes{}, fmt.Errorf("read %w %s: no such file; restore it from its backup, or run `dirgate init` on a new installation: %w", ErrMasterKey, path, fs.ErrNotExist)
	}
	if err != nil {
		return Bytes{}, fmt.Errorf("read %w: %w", ErrMasterKey, err)
	}
	defer f.Close()
	if err := private(f); err != nil {
		return Bytes{}, fmt.Errorf("read %w %s: %w", ErrMasterKey, path, err)
	}
	text, err := readKeyFile(f)
	if err != nil {
		return Bytes{}, fmt.Errorf("read %w %s: %w", ErrMasterKey, path, err)
	}
	defer clear(text)
	key, err := parseMasterKey(text)
	if err != nil {
		return Bytes{}, fmt.Errorf("read %w %s: %w; restore it from its backup", ErrMasterKey, path, err)
	}
	return key, nil
}

func parseMasterKey(text []byte) (Bytes, error) {
	body, ok := cutPrefix(text, masterKeyPrefix)
	if !ok {
		return Bytes{}, fmt.Errorf("the file does not begin with %q", masterKeyPrefix)
	}
	key := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	n, err := base64.StdEncoding.Strict().Decode(key, body)
	if err != nil || n != masterKeySize {
		clear(key)
		// The decoder's error would quote nothing secret, but says no more.
		return Bytes{}, fmt.Errorf("want %d bytes in base64 after %q", masterKeySize, masterKeyPrefix)
	}
	return Take(key[:n:n]), nil
}

// private refuses an open file that is not the caller's (or root's) alone.
// It looks at the descriptor, so the file cannot be exchanged in between.
func private(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("mode %04o lets others read or write it; run `chmod 0600 %s`", mode, f.Name())
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return notOurs(f.Name(), stat.Uid, os.Geteuid())
	}
	return nil
}

// notOurs never advises root to take the file: it belongs to the user that the
// daemon runs as, who could not read it any more.
func notOurs(name string, owner uint32, euid int) error {
	if euid == 0 {
		return fmt.Errorf("it belongs to uid %d, and this process runs as root; run it as that user: sudo -u '#%d' COMMAND", owner, owner)
	}
	return fmt.Errorf("it belongs to uid %d, and this process runs as uid %d; run it as that user, or `chown %d %s`", owner, euid, euid, name)
}

// readKeyFile reads a small text file without its final line ending.
func readKeyFile(f *os.File) ([]byte, error) {
	text := make([]byte, maxKeyFile)
	n := 0
	for n < len(text) {
		m, err := f.Read(text[n:])
		n += m
		if err == io.EOF {
			break
		}
		if err != nil {
			clear(text)
			return nil, err
		}
	}
	if n == len(text) {
		clear(text)
		return nil, fmt.Errorf("larger than any key file (%d bytes)", maxKeyFile)
	}
	for n > 0 && strings.IndexByte("\r\n", text[n-1]) >= 0 {
		n--
	}
	return text[:n], nil
}

func cutPrefix(text []byte, prefix string) ([]byte, bool) {
	if len(text) < len(prefix) || string(text[:len(prefix)]) != prefix {
		return nil, false
	}
	return text[len(prefix):], true
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
