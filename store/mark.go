package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"golang.org/x/sys/unix"
)

// mark is the high-water mark: what the database held when a caller was last
// told that its write is on disk. It lies in a file outside the database, so
// that a database that lost its end, or is an older copy, is found out.
type mark struct {
	Store   []byte       `json:"store"`
	Counter uint64       `json:"counter"` // of transactions; 0: nothing was acknowledged yet
	Last    identity.Seq `json:"last"`
	Tip     tag          `json:"tip"`
	Head    tag          `json:"head"`
}

// The file has two slots, written in turn, so that one cut short by a power
// failure leaves the one before. A slot is the prefix, the mark in JSON with a
// line feed, 32 bytes of HMAC over that, 8 of SHA-256 over both, which tell a
// damaged slot from another master key, and zeroes up to its size. It is never longer or shorter, so a sync of it costs no
// change of metadata.
const (
	markPrefix = "dirgate-mark-1 "
	slotSize   = 4096 // one page and one sector of today's disks
	slotSum    = 8
)

var (
	errNoMark      = errors.New("the high-water mark is missing")
	errMarkDamaged = errors.New("the high-water mark is damaged")
)

// markFile is an open mark; nil in memory.
type markFile struct{ f *os.File }

// openMark opens the mark, or makes it when create is set.
func openMark(path string, create bool) (*markFile, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoMark
	}
	if err != nil {
		return nil, err
	}
	if !create {
		return &markFile{f}, nil
	}
	_, err = f.WriteAt(make([]byte, 2*slotSize), 0)
	if err == nil {
		err = f.Truncate(2 * slotSize)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &markFile{f}, nil
}

// write stores m and returns when it is on disk.
func (f *markFile) write(key *secret.LogKey, m mark) error {
	if f == nil {
		return nil
	}
	slot, err := encodeMark(key, m)
	if err != nil {
		return err
	}
	if _, err := f.f.WriteAt(slot, int64(m.Counter%2)*slotSize); err != nil {
		return fmt.Errorf("write high-water mark: %w", err)
	}
	for {
		err := unix.Fdatasync(int(f.f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("sync high-water mark: %w", err)
		}
	}
}

// read returns the newer of the two slots. An error wraps errMarkDamaged when
// neither can be read, and secret.ErrWrongKey when they are sound and made
// with another master key. One slot is allowed to be damaged: see slotSize.
func (f *markFile) read(key *secret.LogKey) (newest mark, err error) {
	content := make([]byte, 2*slotSize)
	if n, err := f.f.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		return mark{}, fmt.Errorf("read high-water mark: %w", err)
	} else if content = content[:n]; len(content) < 2*slotSize {
		return mark{}, fmt.Errorf("%w: its file has %d bytes, want %d", errMarkDamaged, n, 2*slotSize)
	}
	found := false
	failures := make([]error, 0, 2)
	for i := range 2 {
		m, err := decodeMark(key, content[i*slotSize:(i+1)*slotSize])
		switch {
		case err != nil:
			failures = append(failures, fmt.Errorf("slot %d: %w", i+1, err))
		case !found || m.Counter > newest.Counter:
			newest, found = m, true
		}
	}
	if found {
		return newest, nil
	}
	for _, err := range failures {
		if errors.Is(err, secret.ErrWrongKey) {
			return mark{}, err
		}
	}
	return mark{}, fmt.Errorf("%w: %w", errMarkDamaged, errors.Join(failures...))
}

func (f *markFile) close() error {
	if f == nil {
		return nil
	}
	return f.f.Close()
}

func encodeMark(key *secret.LogKey, m mark) ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	slot := append(make([]byte, 0, slotSize), markPrefix...)
	slot = append(append(slot, body...), '\n')
	own := key.Tag("dirgate mark 1", slot)
	slot = append(slot, own[:]...)
	sum := sha256.Sum256(slot)
	slot = append(slot, sum[:slotSum]...)
	if len(slot) > slotSize {
		return nil, fmt.Errorf("high-water mark of %d bytes, want at most %d", len(slot), slotSize)
	}
	return slot[:slotSize], nil
}

func decodeMark(key *secret.LogKey, slot []byte) (m mark, err error) {
	end := bytes.IndexByte(slot, '\n') + 1
	if !bytes.HasPrefix(slot, []byte(markPrefix)) || end == 0 || end+slotSum+secret.TagSize > len(slot) {
		return m, errors.New("no mark")
	}
	tagged := end + secret.TagSize
	sum := sha256.Sum256(slot[:tagged])
	if !bytes.Equal(slot[tagged:tagged+slotSum], sum[:slotSum]) {
		return m, errors.New("its checksum does not match")
	}
	if own := key.Tag("dirgate mark 1", slot[:end]); !bytes.Equal(slot[end:tagged], own[:]) {
		return m, fmt.Errorf("the high-water mark was made with another master key; check master_key_file: %w", secret.ErrWrongKey)
	}
	if err := json.Unmarshal(slot[len(markPrefix):end], &m); err != nil {
		return m, err
	}
	return m, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
