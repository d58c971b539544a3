package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/renameio/v2"
)

// Registrations and their sealed credentials are kept a second time, in a file
// beside the database: binds are served by them when the database cannot be
// opened, or when what it says of them is not what was written. A forged one
// would send every bind, and the password in it, to a server of the forger's.
//
// The file is the prefix, keptItems in JSON with a line feed, and 32 bytes of
// HMAC over that. It is written after the transaction that it copies, so a
// crash may leave it one behind, and opening the store brings it up to date.
// An older file in its place cannot be told from that.
const keptPrefix = "dirgate-domains-1 "

type keptItems struct {
	Store []byte     `json:"store"`
	Items []keptItem `json:"items"`
}

type keptItem struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

// isKept reports whether a key belongs to the copy.
func isKept(key []byte) bool {
	return bytes.HasPrefix(key, []byte(prefixDomain)) || bytes.HasPrefix(key, []byte(prefixCredential)) || isPause(key)
}

// errNoRegistrations: those in a damaged database are not trusted, and there
// is no good copy of them.
var errNoRegistrations = fmt.Errorf("the registrations are damaged, and so is their copy beside the store: restore a backup with `dirgate restore`, or run `dirgate changelog verify --accept-loss` and register the domains again: %w", ErrCorrupt)

// keep brings the copy up to date. That it failed is logged and no more: the
// transaction is on disk.
func (s *Store) keep() {
	if s.keptPath == "" {
		return
	}
	content, err := s.keptContent()
	if err == nil {
		if old, err := os.ReadFile(s.keptPath); err == nil && bytes.Equal(old, content) {
			return
		}
		err = renameio.WriteFile(s.keptPath, content, 0o600)
	}
	if err == nil {
		err = syncDir(filepath.Dir(s.keptPath))
	}
	if err != nil {
		s.log.Warn("the registrations have no copy outside the database: were that damaged, binds could not be served", "file", s.keptPath, "err", err)
	}
}

func (s *Store) keptContent() ([]byte, error) {
	kept := keptItems{Store: s.chain.id}
	err := s.db.View(func(txn *badger.Txn) error {
		for _, prefix := range []string{prefixDomain, prefixCredential, prefixCursor + pausePrefix} {
			err := scan(txn, []byte(prefix), nil, false, func(item *badger.Item) (bool, error) {
				value, err := item.ValueCopy(nil)
				kept.Items = append(kept.Items, keptItem{item.KeyCopy(nil), value})
				return true, err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(kept)
	if err != nil {
		return nil, err
	}
	content := append(append([]byte(keptPrefix), body...), '\n')
	own := s.chain.key.Tag("dirgate domains 1", content)
	return append(content, own[:]...), nil
}

// readKept reads the copy, and checks that this store wrote it.
func (s *Store) readKept() (kept keptItems, err error) {
	content, err := os.ReadFile(s.keptPath)
	if err != nil {
		return kept, err
	}
	body, own := content[:max(0, len(content)-len(tag{}))], content[max(0, len(content)-len(tag{})):]
	if want := s.chain.key.Tag("dirgate domains 1", body); !bytes.HasPrefix(body, []byte(keptPrefix)) || !bytes.Equal(own, want[:]) {
		return kept, fmt.Errorf("%s: its tag does not match: %w", s.keptPath, ErrCorrupt)
	}
	if err := json.Unmarshal(body[len(keptPrefix):], &kept); err != nil {
		return kept, fmt.Errorf("%s: %w: %w", s.keptPath, err, ErrCorrupt)
	}
	if len(s.chain.id) > 0 && !bytes.Equal(kept.Store, s.chain.id) {
		return kept, fmt.Errorf("%s: it is of another store: %w", s.keptPath, ErrCorrupt)
	}
	return kept, nil
}

// openKept takes the copy in the place of a database that cannot be opened.
func (s *Store) openKept(o Options, cause error) error {
	m, err := s.openMark(o)
	if err != nil && !errors.Is(err, errNoMark) && !errors.Is(err, errMarkDamaged) {
		return err
	}
	kept, err := s.readKept()
	if err == nil {
		s.db, err = keptDB(kept, o)
	}
	system := !errors.Is(cause, ErrCorrupt)
	if err != nil && system {
		return cause
	}
	if err != nil {
		return fmt.Errorf("%w; restore the last backup with `dirgate restore` (and binds cannot be served meanwhile: %w)", cause, err)
	}
	s.work.last = m.Last
	s.setDamage(&Report{Last: m.Last, System: system, Findings: []Finding{{Kind: FindingDatabase, Detail: "it cannot be opened: " + cause.Error()}}})
	return nil
}

// keptDB is a database in memory that holds a copy.
func keptDB(kept keptItems, o Options) (*badger.DB, error) {
	db, err := openBadger(badgerOptions(Options{InMemory: true, Log: o.Log}))
	if err != nil {
		return nil, err
	}
	writes := db.NewWriteBatch()
	defer writes.Cancel()
	for _, item := range kept.Items {
		err = errors.Join(err, writes.Set(item.Key, item.Value))
	}
	if err = errors.Join(err, writes.Flush()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// distrust decides where the registrations of a damaged database are read:
// there as well, when they are what was written.
func (s *Store) distrust(r *Report, o Options) {
	wrong := r.wrongRegistrations()
	if !wrong && !r.has(FindingStale) {
		return
	}
	kept, err := s.readKept()
	if err == nil {
		s.kept, err = keptDB(kept, o)
	}
	if err == nil {
		return
	}
	if s.unread = wrong; wrong { // an older database is what was written, once
		s.log.Error("the registrations are damaged too, and binds cannot be served", "copy", err)
	}
}

// wrongRegistrations reports whether registrations or credentials are not what
// was written, or nothing tells.
func (r *Report) wrongRegistrations() bool { return r.doubts(prefixDomain, prefixCredential) }

// doubts reports whether anything of these kinds is not what was written, or
// nothing tells.
func (r *Report) doubts(prefixes ...string) bool {
	for i, prefix := range kinds {
		if r.wrong[i] && slices.Contains(prefixes, prefix) {
			return true
		}
	}
	return r.has(FindingHead)
}

func (r *Report) has(kind FindingKind) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == kind })
}

// viewDomains reads registrations, from where they can be trusted.
func (s *Store) viewDomains(read func(txn *badger.Txn) error) error {
	s.closing.RLock()
	defer s.closing.RUnlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.unread:
		return errNoRegistrations
	case s.kept != nil:
		return s.kept.View(read)
	}
	return s.db.View(read)
}

// reinstate writes the copy in the place of registrations that are not what was
// written; without a copy they are removed, and domains must be registered
// again.
func (s *Store) reinstate(writes *badger.WriteBatch) error {
	err := s.db.View(func(txn *badger.Txn) error {
		return errors.Join(wipe(txn, writes, prefixDomain), wipe(txn, writes, prefixCredential))
	})
	if err != nil || s.kept == nil {
		return err
	}
	return s.kept.View(func(txn *badger.Txn) error {
		return scan(txn, nil, []byte{0}, false, func(item *badger.Item) (bool, error) {
			if isPause(item.Key()) {
				return true, nil // mendPauses has decided about those
			}
			value, err := item.ValueCopy(nil)
			if err != nil {
				return false, err
			}
			return true, writes.Set(item.KeyCopy(nil), value)
		})
	})
}
