package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// Bounds of how many records Story looks at, for one change and in all. Those
// of other changes lie between: 10,000 users that are imported at once have
// 40,000.
const (
	storyStep  = 100_000
	storyLimit = 400_000
)

// Story returns the records of changes, by the number of the change, in their
// order; whole tells whether there can be no more of them. It reads the log
// from each change's intent to its end, and keeps only what it returns.
// A record that is not as it was written is an error that wraps [ErrCorrupt].
func (s *Store) Story(entries []identity.Entry) (records map[identity.Seq][]Record, whole bool, err error) {
	records, whole = make(map[identity.Seq][]Record), true
	left := storyLimit
	err = s.view(func(txn *badger.Txn) error {
		for _, e := range entries {
			own, seen, ended, err := s.recordsOf(txn, e, min(storyStep, left))
			if err != nil {
				return err
			}
			records[e.Seq], whole = own, whole && ended
			left -= seen
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("story of changes: %w", err)
	}
	return records, whole, nil
}

// recordsOf reads the records of one change, looking at no more than limit.
func (s *Store) recordsOf(txn *badger.Txn, e identity.Entry, limit int) (own []Record, seen int, ended bool, err error) {
	mark := fmt.Appendf(nil, `"change":%d`, e.Seq)
	ended = true
	err = scan(txn, []byte(prefixLog), keySeq(prefixLog, e.Seq), false, func(item *badger.Item) (bool, error) {
		if seen >= limit {
			ended = false
			return false, nil
		}
		seen++
		var r Record
		err := item.Value(func(value []byte) (err error) {
			if !mentions(value, mark) {
				return nil
			}
			r, _, err = s.chain.open(seqOf(item.Key()), value)
			return err
		})
		if err != nil {
			return false, fmt.Errorf("record %d: %w", seqOf(item.Key()), err)
		}
		if r.Change != e.Seq {
			return true, nil
		}
		own = append(own, r)
		return !r.last(e), nil
	})
	return own, seen, ended, err
}

// mentions reports whether a stored record has the mark as one of its fields.
// Within a string its quotes would be escaped.
func mentions(value, mark []byte) bool {
	at := bytes.Index(value, mark)
	if at < 0 || at+len(mark) >= len(value) {
		return false
	}
	after := value[at+len(mark)]
	return after == ',' || after == '}'
}

// last reports whether a record brought a change to the end at which it is.
func (r Record) last(e identity.Entry) bool {
	ends := map[identity.Status]RecordType{
		identity.StatusApplied: RecordApplied, identity.StatusRefused: RecordRefused,
		identity.StatusDiscarded: RecordDiscarded, identity.StatusSuperseded: RecordSuperseded,
	}
	if !e.Landed.IsZero() {
		return r.Type == RecordLanded
	}
	return ends[e.Status] == r.Type && r.At.Equal(e.Since) && e.Evidence == ""
}

// EachMirrored calls fn for the accounts and groups of a domain as the mirror
// has them, one after the other; one of the two is nil.
func (s *Store) EachMirrored(domain string, fn func(*identity.User, *identity.Group)) error {
	prefix := append([]byte(prefixMirror+strings.ToLower(domain)), 0)
	err := s.view(func(txn *badger.Txn) error {
		return scan(txn, prefix, nil, false, func(item *badger.Item) (bool, error) {
			var m = Mirror{Users: make(map[identity.GUID]*identity.User, 1), Groups: make(map[identity.GUID]identity.Group, 1)}
			err := item.Value(func(value []byte) error { return m.add(item.Key()[len(prefix):], value) })
			for _, u := range m.Users {
				fn(u, nil)
			}
			for _, g := range m.Groups {
				fn(nil, &g)
			}
			return true, err
		})
	})
	if err != nil {
		return fmt.Errorf("mirror of %s: %w", domain, err)
	}
	return nil
}

// findLimit is how many changes Newest looks at.
const findLimit = 500_000

// Newest returns the newest change of a domain that fits, among the newest
// 500,000, or wraps ErrNotFound.
func (s *Store) Newest(domain string, fits func(identity.Entry) bool) (found identity.Entry, err error) {
	err = s.view(func(txn *badger.Txn) error {
		seen := 0
		err := scan(txn, []byte(prefixState), nil, true, func(item *badger.Item) (bool, error) {
			var e identity.Entry
			if err := item.Value(func(value []byte) error { return decode(value, &e) }); err != nil {
				return false, err
			}
			if strings.EqualFold(e.Account.Domain, domain) && fits(e) {
				found = e
				return false, nil
			}
			seen++
			return seen < findLimit, nil
		})
		if err == nil && found.Seq == 0 {
			err = ErrNotFound
		}
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("newest change: %w", err)
	}
	return found, err
}

// AppendState records a change of state that a person asks for: that an
// account or a group is to be compared. It is pending at once.
func (s *Store) AppendState(ctx context.Context, c identity.Change) (seq identity.Seq, err error) {
	err = checkChange(&c)
	if err == nil && !c.Kind.IsState() {
		err = fmt.Errorf("kind %q is not one of state", c.Kind)
	}
	if err == nil {
		err = s.submit(ctx, func(b *batch) error {
			e, err := b.begin(c, nil)
			if err == nil {
				seq = e.Seq
				err = b.accept(e, Record{Type: RecordAccepted})
			}
			return err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("append change of %q: %w", c.Account.SAM, err)
	}
	return seq, nil
}
