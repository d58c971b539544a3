package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// A backup is one line, the prefix and a BackupHeader in JSON; then the keys
// of one snapshot of the database and, with names below fileName, the files of
// the key directory; then a tag over all of it. Key and value have their sizes
// before them, in 4 bytes each; endOfBackup in the place of a key's size comes
// before the tag.
//
// It holds what the disk holds: sealed passwords that wait to be applied,
// sealed credentials, and the private keys of their epochs, wrapped under the
// master key. The master key is not in it. Who has both can open what was
// pending when it was made, even after the keys were destroyed here: keep them
// apart, and delete backups that are no longer needed. Without passwords, it
// opens nothing but credentials, and what was pending is lost with the store.
const (
	backupPrefix = "dirgate-backup-1 "
	backupFile   = "file/keys/"
	endOfBackup  = 0xFFFFFFFF
	// maxBackupItem bounds a key or a value, in bytes.
	maxBackupItem = 8 << 20
)

// BackupHeader begins a backup.
type BackupHeader struct {
	Store   []byte       `json:"store"` // id of the store
	At      time.Time    `json:"at"`
	Last    identity.Seq `json:"last"` // the last record in it
	Without bool         `json:"withoutPasswords,omitempty"`
}

// Backup writes a consistent copy of the store and of the sealing keys in
// keyDir to w, while the store is in use.
func (s *Store) Backup(ctx context.Context, w io.Writer, keyDir string, withoutPasswords bool) (BackupHeader, error) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return BackupHeader{}, ErrClosed
	}
	if err := s.damaged(); err != nil {
		return BackupHeader{}, fmt.Errorf("backup: %w", err)
	}
	// The keys must be those of the snapshot.
	s.sealing.RLock()
	txn := s.db.NewTransaction(false)
	files, err := readKeyFiles(keyDir)
	s.sealing.RUnlock()
	defer txn.Discard()
	if err != nil {
		return BackupHeader{}, fmt.Errorf("backup: %w", err)
	}
	h, _, err := s.getHead(txn)
	if err != nil {
		return BackupHeader{}, fmt.Errorf("backup: %w", err)
	}
	header := BackupHeader{Store: h.Store, At: s.now().UTC().Round(0), Last: h.Last, Without: withoutPasswords}
	out := &backupWriter{out: bufio.NewWriter(w), sum: sha256.New()}
	if err := s.writeBackup(ctx, out, txn, header, files); err != nil {
		return header, fmt.Errorf("backup: %w", err)
	}
	return header, nil
}

func (s *Store) writeBackup(ctx context.Context, out *backupWriter, txn *badger.Txn, header BackupHeader, files map[string][]byte) error {
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	out.write(append(append([]byte(backupPrefix), text...), '\n'))
	err = scan(txn, nil, []byte{0}, false, func(item *badger.Item) (bool, error) {
		key := item.KeyCopy(nil)
		if header.Without && bytes.HasPrefix(key, []byte(prefixSecret)) {
			return true, ctx.Err()
		}
		value, err := item.ValueCopy(nil)
		out.item(key, value)
		return true, errors.Join(err, out.err, ctx.Err())
	})
	if err != nil {
		return err
	}
	for name, content := range files {
		out.item([]byte(backupFile+name), content)
	}
	out.write(binary.BigEndian.AppendUint32(nil, endOfBackup))
	own := s.chain.key.Tag("dirgate backup 1", out.sum.Sum(nil))
	out.write(own[:])
	return errors.Join(out.err, out.out.Flush())
}

type backupWriter struct {
	out *bufio.Writer
	sum hash.Hash
	err error // the first
}

func (w *backupWriter) write(b []byte) {
	if w.err != nil {
		return
	}
	w.sum.Write(b)
	_, w.err = w.out.Write(b)
}

func (w *backupWriter) item(key, value []byte) {
	for _, part := range [][]byte{key, value} {
		w.write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		w.write(part)
	}
}

func readKeyFiles(dir string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	paths, err := filepath.Glob(filepath.Join(dir, "epoch-*"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if ext := filepath.Ext(path); ext != ".key" && ext != ".pub" {
			continue // a key that is being destroyed
		}
		if files[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Restore makes the store described by o, and the sealing keys in keyDir, from
// a backup. Neither may be there yet. The end of the backup tells that it is
// whole and was made with the same master key; before that nothing is put in
// its place.
//
// A restored store is an older one by its nature: it gets a mark of its own, a
// record that says so, and its pending changes are dead letters that a person
// must look at, for newer passwords may have been set since.
func Restore(ctx context.Context, r io.Reader, o Options, keyDir string) (BackupHeader, error) {
	header, err := restore(ctx, r, o, keyDir)
	if err != nil {
		return header, fmt.Errorf("restore %s: %w", o.Dir, err)
	}
	return header, nil
}

func restore(ctx context.Context, r io.Reader, o Options, keyDir string) (header BackupHeader, err error) {
	if o.Mark == "" {
		o.Mark = o.Dir + ".mark"
	}
	for _, path := range []string{o.Dir, o.Mark, filepath.Join(keyDir, "epoch-*")} {
		found, err := filepath.Glob(path)
		if err != nil || len(found) > 0 {
			return header, errors.Join(err, fmt.Errorf("%s exists and is not overwritten; move the data directory away first: %w", path, os.ErrExist))
		}
	}
	tmp := o.Dir + ".restoring"
	if err := os.RemoveAll(tmp); err != nil { // of a restore that was cut short
		return header, err
	}
	files := make(map[string][]byte)
	in := &backupReader{in: bufio.NewReader(r), sum: sha256.New()}
	final := o
	o.Dir = tmp
	if header, err = fillBackup(ctx, in, o, files); err != nil {
		return header, errors.Join(err, os.RemoveAll(tmp))
	}
	if err := checkRestored(o, header); err != nil {
		return header, errors.Join(err, os.RemoveAll(tmp), os.RemoveAll(o.Mark))
	}
	if err := writeKeyFiles(keyDir, files); err != nil {
		return header, err
	}
	if err := os.Rename(tmp, final.Dir); err != nil {
		return header, err
	}
	return header, syncDir(filepath.Dir(final.Dir))
}

// fillBackup writes the items of a backup into a new database.
func fillBackup(ctx context.Context, in *backupReader, o Options, files map[string][]byte) (header BackupHeader, err error) {
	line, err := in.line()
	if err != nil {
		return header, err
	}
	text, found := bytes.CutPrefix(line, []byte(backupPrefix))
	if !found || json.Unmarshal(text, &header) != nil {
		return header, fmt.Errorf("this is no backup of dirgate: %w", ErrCorrupt)
	}
	db, err := openBadger(badgerOptions(o))
	if err != nil {
		return header, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	writes := db.NewWriteBatch()
	defer writes.Cancel()
	for {
		key, value, err := in.item()
		if err != nil {
			return header, err
		}
		if key == nil {
			break
		}
		if name, isFile := strings.CutPrefix(string(key), backupFile); isFile {
			files[filepath.Base(name)] = value
			continue
		}
		if err := errors.Join(writes.Set(key, value), ctx.Err()); err != nil {
			return header, err
		}
	}
	if err := in.end(o.LogKey); err != nil {
		return header, err
	}
	return header, writes.Flush()
}

// checkRestored checks that the database is what its head says, and makes it a
// store of its own.
func checkRestored(o Options, header BackupHeader) (err error) {
	s := &Store{
		sealer: o.Sealer, log: o.Log, now: o.Now, chain: chain{key: o.LogKey, id: header.Store}, markPath: o.Mark,
		failed: make(chan struct{}),
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.commit = s.commitAndSync
	if s.db, err = openBadger(badgerOptions(o)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.release()) }()
	if s.dir, err = os.Open(o.Dir); err != nil {
		return err
	}
	var h head
	var own tag
	err = s.db.View(func(txn *badger.Txn) (err error) {
		h, own, err = s.getHead(txn)
		return err
	})
	if err != nil {
		return err
	}
	report, err := s.examine(mark{Store: h.Store, Counter: h.Counter, Last: h.Last, Tip: h.Tip, Head: own}, nil, false)
	if err != nil {
		return err
	}
	for _, f := range report.Findings {
		if !header.Without || f.Kind != FindingValues || !report.wrong[kindOf([]byte(prefixSecret))] {
			return fmt.Errorf("the backup is damaged: %s: %w", f, ErrCorrupt)
		}
	}
	if s.markFile, err = openMark(o.Mark, true); err != nil {
		return err
	}
	h.Hold = h.Last
	return s.adopt(h, Record{Type: RecordRestored, Reason: fmt.Sprintf("restored from the backup of %s, which ends at record %d", header.At.Format(time.RFC3339), header.Last)})
}

func writeKeyFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, content := range files {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

type backupReader struct {
	in  *bufio.Reader
	sum hash.Hash
}

var errCutShort = fmt.Errorf("the backup is cut short: %w", ErrCorrupt)

func (r *backupReader) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if err != nil {
		return nil, errCutShort
	}
	r.sum.Write(line)
	return bytes.Clone(line), nil
}

func (r *backupReader) size() (uint32, error) {
	var size [4]byte
	if _, err := io.ReadFull(r.in, size[:]); err != nil {
		return 0, errCutShort
	}
	r.sum.Write(size[:])
	return binary.BigEndian.Uint32(size[:]), nil
}

// item returns the next key and its value; a nil key at the end.
func (r *backupReader) item() (key, value []byte, err error) {
	parts := [2][]byte{}
	for i := range parts {
		size, err := r.size()
		if err != nil {
			return nil, nil, err
		}
		if i == 0 && size == endOfBackup {
			return nil, nil, nil
		}
		if size > maxBackupItem || (i == 0 && size == 0) {
			return nil, nil, fmt.Errorf("the backup is damaged: an item of %d bytes: %w", size, ErrCorrupt)
		}
		parts[i] = make([]byte, size)
		if _, err := io.ReadFull(r.in, parts[i]); err != nil {
			return nil, nil, errCutShort
		}
		r.sum.Write(parts[i])
	}
	return parts[0], parts[1], nil
}

// end checks the tag.
func (r *backupReader) end(key *secret.LogKey) error {
	want := key.Tag("dirgate backup 1", r.sum.Sum(nil))
	var got tag
	if _, err := io.ReadFull(r.in, got[:]); err != nil {
		return errCutShort
	}
	if got != want {
		return fmt.Errorf("the backup is damaged, or was made with another master key: %w", ErrCorrupt)
	}
	return nil
}
