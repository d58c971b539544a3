package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"

	"github.com/dgraph-io/badger/v4"
)

// load makes a new store, brings an old one up to date, or checks that this
// one holds what it was last said to hold.
func (s *Store) load(o Options) error {
	m, markErr := s.openMark(o)
	if markErr != nil && !errors.Is(markErr, errNoMark) && !errors.Is(markErr, errMarkDamaged) {
		return markErr
	}
	schema, err := s.schema()
	if err != nil {
		return err
	}
	acknowledged := m.Counter > 0 || errors.Is(markErr, errMarkDamaged)
	switch {
	case schema == 0 && !acknowledged && s.isEmpty():
		return s.create(o)
	case schema == 1 && !acknowledged:
		return s.migrate(o, m)
	}
	report, err := s.examine(m, markErr, false)
	if err != nil {
		return err
	}
	if !report.OK() {
		s.setDamage(&report)
		s.distrust(&report, o)
		// What is open may be wrong, and nothing is done with it.
		s.work.last = max(s.head.Last, m.Last)
		return nil
	}
	s.mark.Store(&m)
	if err := s.loadWork(); err != nil {
		return err
	}
	s.keep()
	return s.hold()
}

// openMark opens and reads the mark.
func (s *Store) openMark(o Options) (m mark, err error) {
	if o.InMemory {
		return mark{}, errNoMark
	}
	if s.markFile, err = openMark(o.Mark, false); err != nil {
		return mark{}, err
	}
	m, err = s.markFile.read(s.chain.key)
	s.chain.id = m.Store
	return m, err
}

// schema returns the version of what is in the database; 0 when it says
// nothing.
func (s *Store) schema() (version int, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		text, err := getBytes(txn, []byte(keySchema))
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if version, err = strconv.Atoi(string(text)); err != nil || version < 1 {
			return fmt.Errorf("schema version %q: %w", text, ErrCorrupt)
		}
		return nil
	})
	if version > schemaVersion {
		return version, fmt.Errorf("schema version %d, and this program knows %d; run the version of dirgate that wrote it, or a newer one: %w", version, schemaVersion, ErrSchema)
	}
	return version, err
}

func (s *Store) isEmpty() bool {
	empty := true
	_ = s.db.View(func(txn *badger.Txn) error {
		return scan(txn, nil, []byte{0}, false, func(*badger.Item) (bool, error) {
			empty = false
			return false, nil
		})
	})
	return empty
}

// create begins a new store. The mark comes first: a crash in between leaves
// one that says that nothing was acknowledged.
func (s *Store) create(o Options) error {
	if err := s.newIdentity(o); err != nil {
		return err
	}
	return s.firstHead(nil)
}

// newIdentity gives the store its id and writes the first mark.
func (s *Store) newIdentity(o Options) (err error) {
	s.chain.id = make([]byte, 16)
	_, _ = rand.Read(s.chain.id) // never fails: crypto/rand ends the process instead
	if o.InMemory {
		return nil
	}
	if s.markFile != nil {
		if err := s.markFile.close(); err != nil {
			return err
		}
	}
	if s.markFile, err = openMark(o.Mark, true); err != nil {
		return fmt.Errorf("make high-water mark: %w", err)
	}
	return s.markFile.write(s.chain.key, mark{Store: s.chain.id})
}

// firstHead writes schema version and head in one transaction; fill may
// complete the head.
func (s *Store) firstHead(fill func(*head) error) error {
	s.head = head{Schema: schemaVersion, Store: s.chain.id, Tip: s.chain.start(), BaseTip: s.chain.start()}
	if fill != nil {
		if err := fill(&s.head); err != nil {
			return err
		}
	}
	b := s.newBatch()
	defer b.txn.Discard()
	b.set([]byte(keySchema), []byte(strconv.Itoa(schemaVersion)))
	if b.err != nil {
		return b.err
	}
	if err := b.commit(); err != nil {
		return err
	}
	return s.loadWork()
}

// getHead reads the head of a transaction's snapshot. It is the store's word
// for itself: that it is the newest, the mark tells.
func (s *Store) getHead(txn *badger.Txn) (h head, own tag, err error) {
	value, err := getBytes(txn, []byte(keyHead))
	if err == nil {
		h, own, err = s.chain.openHead(value)
	}
	if err != nil {
		return h, own, fmt.Errorf("head of the store: %w", err)
	}
	return h, own, nil
}

// setDamage makes the store refuse whatever writes, and says why.
func (s *Store) setDamage(r *Report) {
	s.damage.Store(r)
	for _, f := range r.Findings {
		s.log.Error(r.What()+": nothing is recorded or replicated", "finding", f.String())
	}
	s.log.Error("the change log needs a person", "do", "run `dirgate changelog verify`; "+r.WayBack())
}

// Damage returns what is wrong with the store, or nil.
func (s *Store) Damage() *Report { return s.damage.Load() }

// What says in a few words what is wrong.
func (r *Report) What() string {
	if r.System {
		return "the change log cannot be opened"
	}
	return "the change log is damaged"
}

// WayBack is what to do about a damaged store.
func (r *Report) WayBack() string {
	if r.System {
		return "mend that and restart the daemon: nothing says that the files are damaged"
	}
	if r.has(FindingDatabase) {
		return "stop the daemon, move the data directory away and restore a backup with `dirgate restore`; without one, move only the files whose names begin with that of the store away, and register the domains again: what was pending is lost then"
	}
	return "stop the daemon, move the data directory away and restore a backup with `dirgate restore`, or go on without what is lost with `dirgate changelog verify --accept-loss`"
}

// damaged is the error of writes to a damaged store.
func (s *Store) damaged() error {
	r := s.damage.Load()
	if r == nil {
		return nil
	}
	kind := ErrCorrupt
	if r.System {
		kind = ErrFailed
	}
	return fmt.Errorf("%s (%s); %s: %w", r.What(), r.Summary(), r.WayBack(), kind)
}
