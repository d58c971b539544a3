package store

import (
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// OpenCounts says how many changes of one direction of a domain are open.
type OpenCounts struct {
	Pending int       `json:"pending"`
	Held    int       `json:"held"`
	Dead    int       `json:"dead"`
	Oldest  time.Time `json:"oldestPending,omitzero"` // when it was made
}

// OpenCounts is answered from memory, but for the changes of an earlier process,
// of which each is read once: who shows progress asks several times in a second.
func (s *Store) OpenCounts(domain string, d identity.Direction) (c OpenCounts, err error) {
	for _, status := range []identity.Status{identity.StatusPending, identity.StatusHeld, identity.StatusDead} {
		key := listKey{status, d}
		if err := s.nameOpen(key); err != nil {
			return c, fmt.Errorf("count open changes: %w", err)
		}
		n, oldest := s.work.count(key, domain)
		switch status {
		case identity.StatusPending:
			c.Pending, c.Oldest = n, oldest
		case identity.StatusHeld:
			c.Held = n
		default:
			c.Dead = n
		}
	}
	return c, nil
}

// nameOpen learns which domains a list's changes are of.
func (s *Store) nameOpen(key listKey) error {
	seqs := s.work.unnamed(key)
	return s.view(func(txn *badger.Txn) error {
		for _, seq := range seqs {
			e, err := getEntry(txn, seq)
			if err != nil {
				return err
			}
			s.work.name(key, seq, e.Account.Domain)
		}
		return nil
	})
}
