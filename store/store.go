package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

var (
	// ErrLocked: another process has the store open.
	ErrLocked = errors.New("store is in use by another process")
	// ErrNotFound: there is no such thing in the store.
	ErrNotFound = errors.New("not found")
	// ErrState: the change is not in a state in which that can be done.
	ErrState = errors.New("not possible in this state")
	// ErrLinkConflict: the AD account or the JumpCloud user is linked to
	// another one.
	ErrLinkConflict = errors.New("linked to another account")
	// ErrCorrupt: what was read is not what was written.
	ErrCorrupt = errors.New("store is damaged")
	// ErrSchema: the store was written by a newer version.
	ErrSchema = errors.New("unknown store schema")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrFailed: a write to disk failed. What is on disk is whole, what is in
	// memory is not sure to be; nothing more is written until the store is
	// opened again.
	ErrFailed = errors.New("store has failed and must be opened again")
)

// schemaVersion counts incompatible changes of the keys or values. Version 1
// had no chain, no head and no mark.
const schemaVersion = 2

// Options describes a store.
type Options struct {
	// Dir holds the database and nothing else; it is made with mode 0700 if
	// it is missing. Empty with InMemory.
	Dir string
	// InMemory keeps everything in memory, for tests.
	InMemory bool
	// Mark is the file of the high-water mark; empty: Dir with ".mark" at its
	// end, beside the database and not in it.
	Mark string
	// Sealer seals passwords and credentials.
	Sealer *secret.Sealer
	// LogKey authenticates what is stored. InMemory can do without.
	LogKey *secret.LogKey
	Log    *slog.Logger
	// Retention is how long records are kept; 0: for ever. See Prune.
	Retention time.Duration
	// Now is the clock of the records; nil means time.Now.
	Now func() time.Time

	free func(dir *os.File) (uint64, error) // for tests
}

// Store is an open store. It is safe for concurrent use.
type Store struct {
	db     *badger.DB
	sealer *secret.Sealer
	log    *slog.Logger
	now    func() time.Time
	lock   *os.File // dirgate.lock, held while open; nil in memory
	dir    *os.File // the directory itself, to sync it; nil in memory
	commit func(*badger.Txn) error
	free   func(dir *os.File) (uint64, error) // room on the disk, in bytes

	chain    chain
	head     head      // of the last transaction; the appender's
	markFile *markFile // nil in memory
	markPath string    // empty in memory
	keptPath string    // of the copy of the registrations; empty: none

	// Where registrations are read while the store is damaged: see distrust.
	// Guarded by closing.
	kept   *badger.DB // nil: in db
	unread bool       // nowhere

	retention time.Duration // 0: for ever
	mark      atomic.Pointer[mark]
	// damage is what was found when the store was opened; nil: nothing.
	damage atomic.Pointer[Report]

	// sealing is held for reading from the sealing of a credential until it is
	// stored, and for writing while keys are exchanged.
	sealing sync.RWMutex
	// sealed is set by a password that is sealed to the newest epoch; at the
	// start, when there may be one.
	sealed atomic.Bool

	// closing is held for reading by everything that uses db or queue, and
	// for writing by Close alone.
	closing  sync.RWMutex
	closed   bool // guarded by closing
	queue    chan *request
	appended chan struct{} // closed when the appender has ended

	failOnce sync.Once
	failed   chan struct{} // closed after failure was set
	failure  error         // written once, before failed is closed

	work     work
	watchers watchers
}

// Open opens the store in o.Dir, or makes it. An error wraps [ErrLocked] when
// another process has it open, [ErrSchema] when it was written by a newer
// version, [secret.ErrWrongKey] when it was written with another master key,
// and [ErrCorrupt] when the database cannot be opened at all and no copy of the
// registrations lies beside it.
//
// A store that is not what was written is returned all the same, so that binds
// are served: registrations are read where they are what was written, in the
// database or in their copy. [Store.Damage] then tells, and whatever writes is refused with an
// error that wraps ErrCorrupt, until [Store.AcceptLoss].
func Open(o Options) (*Store, error) { return open(o, nil) }

// open lets tests wrap the commit of a transaction.
func open(o Options, wrap func(commit func(*badger.Txn) error) func(*badger.Txn) error) (_ *Store, err error) {
	if o.Sealer == nil || o.Log == nil || (o.LogKey == nil && !o.InMemory) {
		return nil, errors.New("open store: sealer, log key and log are required")
	}
	if (o.Dir == "") != o.InMemory {
		return nil, errors.New("open store: want either a directory or in-memory")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Mark == "" {
		o.Mark = o.Dir + ".mark"
	}
	if o.InMemory {
		o.Mark = ""
	}
	if o.LogKey == nil {
		if o.LogKey, err = secret.NewLogKey(secret.Random()); err != nil {
			return nil, err
		}
	}
	s := &Store{
		retention: o.Retention,
		sealer:    o.Sealer, log: o.Log, now: o.Now, chain: chain{key: o.LogKey}, markPath: o.Mark,
		queue:    make(chan *request, maxGroup),
		appended: make(chan struct{}),
		failed:   make(chan struct{}),
	}
	if !o.InMemory {
		s.keptPath = o.Dir + ".domains"
	}
	if s.free = o.free; s.free == nil {
		s.free = freeOn
	}
	s.commit = s.commitAndSync
	if wrap != nil {
		s.commit = wrap(s.commit)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open store %s: %w", o.Dir, err), s.release())
		}
	}()
	if !o.InMemory {
		if err := s.acquire(o.Dir); err != nil {
			return nil, err
		}
	}
	if err = s.roomToOpen(); err == nil {
		s.db, err = openBadger(badgerOptions(o))
	}
	switch {
	case err == nil:
		err = s.load(o)
	case !o.InMemory:
		err = s.openKept(o, err)
	}
	if err != nil {
		return nil, err
	}
	s.sealed.Store(s.head.Last > s.head.Base)
	go s.appendLoop()
	return s, nil
}

// lockName is a file of our own that is locked while the store is open, and
// names the process. Badger locks the directory too, but its error cannot be
// told from others.
const lockName = "dirgate.lock"

func (s *Store) acquire(dir string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if s.lock, err = lockFile(filepath.Join(dir, lockName)); err != nil {
		return err
	}
	if err := removeUnborn(dir); err != nil {
		return err
	}
	s.dir, err = os.Open(dir)
	return err
}

// release closes what Open opened.
func (s *Store) release() error {
	var errs []error
	for _, db := range []*badger.DB{s.db, s.kept} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	errs = append(errs, s.markFile.close())
	for _, f := range []*os.File{s.dir, s.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// collectEvery is how often Run looks for garbage in Badger's value log.
const collectEvery = 10 * time.Minute

// Run does background work until ctx ends; it then returns nil. It returns an
// error that wraps [ErrFailed] as soon as a write to disk has failed: the
// store must be closed and opened again, which a daemon does by ending.
func (s *Store) Run(ctx context.Context) error {
	ticker := time.NewTicker(collectEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.failed:
			return s.failure
		case <-ticker.C:
			s.tidy(ctx)
		}
	}
}

// tidy removes what is old and what is garbage.
func (s *Store) tidy(ctx context.Context) {
	if s.retention > 0 && s.Damage() == nil {
		removed, err := s.Prune(ctx, s.now().Add(-s.retention))
		if err != nil && ctx.Err() == nil {
			s.log.Warn("records are kept longer than they should be", "err", err)
		}
		if removed > 0 {
			s.log.Info("old records were removed", "records", removed)
		}
	}
	if err := s.collect(); err != nil {
		s.log.Warn("store garbage collection", "err", err)
	}
}

// collect rewrites value log files that are at least half garbage.
func (s *Store) collect() error {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed || s.dir == nil {
		return nil
	}
	for {
		err := s.db.RunValueLogGC(0.5)
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Close ends the appender, after what is queued, and closes the database. End
// Run and every other user first. A second Close does nothing.
func (s *Store) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.queue)
	<-s.appended
	if err := s.release(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// fail makes the store refuse every further write.
func (s *Store) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = fmt.Errorf("%w: %w", ErrFailed, err)
		s.log.Error("store cannot write; restart once the cause is mended", "err", err)
		close(s.failed)
	})
}

// view runs a read-only transaction.
func (s *Store) view(read func(txn *badger.Txn) error) error {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return ErrClosed
	}
	if r := s.damage.Load(); r != nil && r.has(FindingDatabase) {
		return s.damaged() // an empty answer would be a lie
	}
	return s.db.View(read)
}

// get decodes the value of key into v, or wraps ErrNotFound.
func get(txn *badger.Txn, key []byte, v any) error {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	return item.Value(func(value []byte) error { return decode(value, v) })
}

// getBytes copies the value of key, or wraps ErrNotFound.
func getBytes(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

// scan calls fn for the items below prefix from start on (nil: the first, or
// the last when it goes backwards) until fn returns false or an error.
func scan(txn *badger.Txn, prefix, start []byte, backwards bool, fn func(*badger.Item) (bool, error)) error {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, Reverse: backwards})
	defer it.Close()
	if start == nil {
		start = prefix
		if backwards {
			start = append(append([]byte(nil), prefix...), 0xFF)
		}
	}
	for it.Seek(start); it.ValidForPrefix(prefix); it.Next() {
		if more, err := fn(it.Item()); err != nil || !more {
			return err
		}
	}
	return nil
}

func getEntry(txn *badger.Txn, seq identity.Seq) (e identity.Entry, err error) {
	if err := get(txn, keySeq(prefixState, seq), &e); err != nil {
		return e, fmt.Errorf("change %d: %w", seq, err)
	}
	return e, nil
}
