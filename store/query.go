package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// maxPage bounds every list, so that no caller holds the whole log in memory.
const maxPage = 1000

func pageSize(limit int) int {
	if limit <= 0 {
		return 100
	}
	return min(limit, maxPage)
}

// Entry returns a change with its present state; the error wraps ErrNotFound
// when seq is not that of an intent.
func (s *Store) Entry(seq identity.Seq) (e identity.Entry, err error) {
	err = s.view(func(txn *badger.Txn) error {
		e, err = getEntry(txn, seq)
		return err
	})
	return e, err
}

// Pending returns pending changes in the order of their numbers, those after
// a number only; fewer than limit (at most 1000) means that there are no
// more. An account has at most one pending password of a direction, one of
// both when it is linked and both replicate, and one pending change of state
// of each direction.
func (s *Store) Pending(d identity.Direction, limit int, after identity.Seq) ([]identity.Entry, error) {
	return s.openEntries(listKey{identity.StatusPending, d}, pageSize(limit), after)
}

// Unsettled returns unsettled changes of both directions in the order of
// their numbers, those after a number only; fewer than limit (at most 1000)
// means that there are no more.
func (s *Store) Unsettled(limit int, after identity.Seq) ([]identity.Entry, error) {
	limit = pageSize(limit)
	imports, err := s.openEntries(listKey{identity.StatusUnsettled, identity.Import}, limit, after)
	if err != nil {
		return nil, err
	}
	syncs, err := s.openEntries(listKey{identity.StatusUnsettled, identity.Sync}, limit, after)
	if err != nil {
		return nil, err
	}
	all := append(imports, syncs...)
	slices.SortFunc(all, func(a, b identity.Entry) int { return openItem{seq: a.Seq}.compare(b.Seq) })
	return all[:min(limit, len(all))], nil
}

// openEntries reads the entries of a work list. The list may have moved on in
// between, so each entry's own status decides.
func (s *Store) openEntries(key listKey, limit int, after identity.Seq) (entries []identity.Entry, err error) {
	for len(entries) < limit {
		seqs := s.work.after(key, after, limit-len(entries))
		if len(seqs) == 0 {
			return entries, s.view(func(*badger.Txn) error { return nil })
		}
		after = seqs[len(seqs)-1]
		err := s.view(func(txn *badger.Txn) error {
			for _, seq := range seqs {
				e, err := getEntry(txn, seq)
				if err != nil {
					return err
				}
				if e.Status == key.status {
					entries = append(entries, e)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// ListOptions selects changes.
type ListOptions struct {
	After   identity.Seq      // begin behind this one; zero: at the end where the list begins
	Limit   int               // zero means 100; at most 1000
	Status  []identity.Status // any of these; none means all
	Account *identity.GUID    // of this AD account only, in either direction
	CloudID string            // of direction sync and of this JumpCloud user or group only
	Domain  string            // of this domain only
	Newest  bool              // newest first, instead of oldest first
}

// List returns changes with their present state.
func (s *Store) List(o ListOptions) (entries []identity.Entry, err error) {
	prefix := []byte(prefixState)
	if o.Account != nil {
		prefix = append([]byte(prefixAccount), accountKey(*o.Account, "")...)
	} else if o.CloudID != "" {
		prefix = append([]byte(prefixAccount), cloudKey(o.CloudID)...)
	}
	var start []byte
	switch {
	case o.After != 0 && o.Newest:
		start = keySeq(string(prefix), o.After-1)
	case o.After != 0:
		start = keySeq(string(prefix), o.After+1)
	}
	limit := pageSize(o.Limit)
	err = s.view(func(txn *badger.Txn) error {
		return scan(txn, prefix, start, o.Newest, func(item *badger.Item) (bool, error) {
			e, err := getEntry(txn, seqOf(item.Key()))
			if err != nil {
				return false, err
			}
			if o.match(e) {
				entries = append(entries, e)
			}
			return len(entries) < limit, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list changes: %w", err)
	}
	return entries, nil
}

func (o ListOptions) match(e identity.Entry) bool {
	return (len(o.Status) == 0 || slices.Contains(o.Status, e.Status)) &&
		(o.CloudID == "" || o.CloudID == e.CloudID) &&
		(o.Domain == "" || strings.EqualFold(o.Domain, e.Account.Domain))
}

// Records returns records of the log with numbers greater than after, in
// order; limit zero means 100, and at most 1000 are returned. What retention
// has removed is stepped over; a record that is missing otherwise, or is not
// as it was written, is an error that wraps [ErrCorrupt].
func (s *Store) Records(after identity.Seq, limit int) (records []Record, err error) {
	limit = pageSize(limit)
	err = s.view(func(txn *badger.Txn) error {
		h, _, err := s.getHead(txn)
		if err != nil {
			return err
		}
		after = max(after, h.Base)
		return scan(txn, []byte(prefixLog), keySeq(prefixLog, after+1), false, func(item *badger.Item) (bool, error) {
			var r Record
			err := item.Value(func(value []byte) (err error) {
				r, _, err = s.chain.open(seqOf(item.Key()), value)
				return err
			})
			if err != nil {
				return false, fmt.Errorf("record %d: %w", seqOf(item.Key()), err)
			}
			if want := after + 1; !r.fills(want) {
				return false, fmt.Errorf("record %d is missing: %w", want, ErrCorrupt)
			}
			after = r.Seq
			records = append(records, r)
			return len(records) < limit, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return records, nil
}

// Secret opens the password of a change; the caller wipes it. The error wraps
// [ErrNotFound] when the change has none (any more), and the errors of package
// secret when it cannot be opened.
func (s *Store) Secret(seq identity.Seq, opener *secret.Opener) (secret.Bytes, error) {
	var sealed, digest []byte
	var change identity.Change
	err := s.view(func(txn *badger.Txn) (err error) {
		if change, digest, err = s.getSealedFor(txn, seq); err != nil {
			return err
		}
		sealed, err = getBytes(txn, keySeq(prefixSecret, seq))
		return err
	})
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("password of change %d: %w", seq, err)
	}
	password, err := opener.Open(sealed, secretAAD(change))
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("password of change %d: %w", seq, err)
	}
	if sum := sha256.Sum256(sealed); len(digest) > 0 && !bytes.Equal(sum[:], digest) {
		password.Wipe()
		return secret.Bytes{}, fmt.Errorf("password of change %d: it is not the one that was recorded: %w", seq, ErrCorrupt)
	}
	return password, nil
}

// getSealedFor returns the change as it was when its password was sealed, and
// the digest of the sealed form. The account is the present state's, so that a
// password opens for that account and no other; only when the intent knew no
// objectGUID is it the intent's.
func (s *Store) getSealedFor(txn *badger.Txn, seq identity.Seq) (identity.Change, []byte, error) {
	e, err := getEntry(txn, seq)
	if err != nil {
		return identity.Change{}, nil, err
	}
	value, err := getBytes(txn, keySeq(prefixLog, seq))
	if err != nil {
		return identity.Change{}, nil, fmt.Errorf("intent: %w", err)
	}
	r, _, err := s.chain.open(seq, value)
	if err != nil {
		return identity.Change{}, nil, fmt.Errorf("intent: %w", err)
	}
	if r.Intent != nil && r.Intent.Account.GUID.IsZero() {
		e.Account = r.Intent.Account
	}
	return e.Change, r.Sealed, nil
}

// getValue reads one value that is no registration.
func (s *Store) getValue(what string, key []byte, v any) error {
	err := s.view(func(txn *badger.Txn) error { return get(txn, key, v) })
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return err
}
