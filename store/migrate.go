package store

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// migrate brings a store of schema 1, which had no chain, to this schema: it
// gives each record its tags, and binds the passwords that are still sealed to
// their intents. It takes what it finds for true: nothing tells whether it was
// altered before. Killed in the middle, it begins anew with the same id, and
// writes the same.
func (s *Store) migrate(o Options, m mark) error {
	if len(m.Store) == 0 {
		if err := s.newIdentity(o); err != nil {
			return err
		}
	}
	s.log.Info("bringing the store to a new format", "from_schema", 1, "to_schema", schemaVersion)
	err := s.firstHead(func(h *head) error {
		if err := s.chainRecords(h); err != nil {
			return err
		}
		return s.db.View(func(txn *badger.Txn) (err error) {
			h.Tallies, err = s.tallies(txn, &Report{})
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("migrate from schema 1: %w", err)
	}
	s.log.Info("the store has the new format", "records", s.head.Last)
	return nil
}

// chainRecords rewrites the log, and completes h with its end.
func (s *Store) chainRecords(h *head) error {
	writes := s.db.NewWriteBatch()
	defer writes.Cancel()
	err := s.db.View(func(txn *badger.Txn) error {
		return scan(txn, []byte(prefixLog), nil, false, func(item *badger.Item) (bool, error) {
			value, err := item.ValueCopy(nil)
			if err != nil {
				return false, err
			}
			r, err := readAny(value)
			if err != nil {
				return false, fmt.Errorf("record %d: %w", seqOf(item.Key()), err)
			}
			if want := h.Last + 1; r.Seq != want || seqOf(item.Key()) != want {
				return false, fmt.Errorf("record %d is missing; run the version of dirgate that wrote the store, and its `changelog tail`: %w", want, ErrCorrupt)
			}
			if err := bindSecret(txn, &r); err != nil {
				return false, err
			}
			framed, own, err := s.chain.seal(r, h.Tip)
			if err != nil {
				return false, err
			}
			h.Last, h.Tip = r.Seq, own
			return true, writes.Set(item.KeyCopy(nil), framed)
		})
	})
	if err != nil {
		return err
	}
	return writes.Flush()
}

// readAny reads a record in the old format, or in the new one when a
// migration was cut short.
func readAny(value []byte) (r Record, err error) {
	if len(value) > 0 && value[0] == sealedVersion {
		r, _, err = readFrame(value)
		return r, err
	}
	err = decode(value, &r)
	return r, err
}

// bindSecret notes in an intent which sealed password is its own.
func bindSecret(txn *badger.Txn, r *Record) error {
	if r.Type != RecordIntent {
		return nil
	}
	sealed, err := getBytes(txn, keySeq(prefixSecret, identity.Seq(r.Seq)))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	digest := sha256.Sum256(sealed)
	r.Sealed = digest[:]
	return nil
}
