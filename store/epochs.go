package store

import (
	"bytes"
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/secret"
)

// Keys says where the sealing keys are, and gives access to them.
type Keys struct {
	Dir    string
	Master secret.Bytes // wraps the private keys; the caller wipes it
	Opener *secret.Opener
}

// RotateKeys begins a new epoch: what is sealed from now on is sealed to it,
// and credentials are sealed again. Then it destroys the epochs that have no
// more use, like [Store.DestroyUnusedKeys]. Passwords that wait to be applied
// keep their epoch until they are.
func (s *Store) RotateKeys(ctx context.Context, k Keys) (epoch uint32, destroyed []uint32, err error) {
	s.sealing.Lock()
	defer s.sealing.Unlock()
	if err := s.damaged(); err != nil {
		return 0, nil, fmt.Errorf("rotate keys: %w", err)
	}
	if epoch, err = secret.CreateEpoch(k.Dir, k.Master); err != nil {
		return 0, nil, fmt.Errorf("rotate keys: %w", err)
	}
	sealer, err := secret.OpenSealer(k.Dir)
	if err != nil {
		return epoch, nil, fmt.Errorf("rotate keys: %w", err)
	}
	// The opener must know the epoch before anything is sealed to it.
	if err := k.Opener.Reload(k.Dir, k.Master); err != nil {
		return epoch, nil, fmt.Errorf("rotate keys: %w", err)
	}
	err = s.submit(ctx, func(b *batch) error {
		s.sealer = sealer // read by the appender, and under sealing
		s.sealed.Store(false)
		return b.reseal(k.Opener)
	})
	if err != nil {
		return epoch, nil, fmt.Errorf("rotate keys: %w", err)
	}
	destroyed, err = s.destroyUnused(ctx, k)
	return epoch, destroyed, err
}

// reseal seals the credentials of all domains to the newest epoch.
func (b *batch) reseal(opener *secret.Opener) error {
	sealed := make(map[string][]byte)
	err := scan(b.txn, []byte(prefixCredential), nil, false, func(item *badger.Item) (bool, error) {
		old, err := item.ValueCopy(nil)
		if err != nil {
			return false, err
		}
		domain, name, _ := cutCredential(item.Key())
		plain, err := opener.Open(old, credentialAAD(domain, name))
		if err != nil {
			return false, fmt.Errorf("credential %s of %q: %w", name, domain, err)
		}
		defer plain.Wipe()
		sealed[string(item.KeyCopy(nil))], err = b.store.sealer.Seal(plain, credentialAAD(domain, name))
		return true, err
	})
	if err != nil {
		return err
	}
	for key, value := range sealed {
		b.set([]byte(key), value)
	}
	return nil
}

// SealedToNewest reports whether a password may have been sealed to the newest
// epoch: only then has another one a use.
func (s *Store) SealedToNewest() bool { return s.sealed.Load() }

// DestroyUnusedKeys destroys the keys of every epoch but the newest to which
// nothing is sealed any more, and returns their numbers. From then on what was
// sealed to them cannot be opened, whoever holds old files of the database and
// the master key.
func (s *Store) DestroyUnusedKeys(ctx context.Context, k Keys) ([]uint32, error) {
	s.sealing.Lock()
	defer s.sealing.Unlock()
	return s.destroyUnused(ctx, k)
}

// destroyUnused runs in the appender, so that nothing is sealed meanwhile, and
// with sealing held, so that no credential is on its way.
func (s *Store) destroyUnused(ctx context.Context, k Keys) (destroyed []uint32, err error) {
	err = s.submit(ctx, func(*batch) error {
		used, err := s.epochsInUse()
		if err != nil {
			return err
		}
		epochs, err := secret.Epochs(k.Dir)
		if err != nil {
			return err
		}
		for _, epoch := range epochs {
			if epoch >= s.sealer.Epoch() || used[epoch] {
				continue
			}
			if err := secret.DestroyEpoch(k.Dir, epoch); err != nil {
				return err
			}
			k.Opener.Forget(epoch)
			destroyed = append(destroyed, epoch)
		}
		return nil
	})
	if err != nil {
		return destroyed, fmt.Errorf("destroy unused keys: %w", err)
	}
	return destroyed, nil
}

// epochsInUse reads to which epochs something is sealed, in what is on disk: a
// deletion that is not yet there may never be. What cannot be read, or is not
// there, is an error: no key is destroyed on a guess.
func (s *Store) epochsInUse() (used map[uint32]bool, err error) {
	used = make(map[uint32]bool)
	err = s.db.View(func(txn *badger.Txn) error {
		for i, prefix := range kinds {
			if prefix != prefixSecret && prefix != prefixCredential {
				continue
			}
			n := int64(0)
			err := scan(txn, []byte(prefix), nil, false, func(item *badger.Item) (bool, error) {
				n++
				return true, item.Value(func(value []byte) error {
					epoch, known := secret.EpochOf(value)
					if !known {
						return fmt.Errorf("sealed value %q: %w", item.Key(), ErrCorrupt)
					}
					used[epoch] = true
					return nil
				})
			})
			if err == nil && n != s.head.Tallies[i].N {
				err = fmt.Errorf("%s: %d, and %d were written: %w", nouns[i], n, s.head.Tallies[i].N, ErrCorrupt)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return used, err
}

// cutCredential undoes keyCredential.
func cutCredential(key []byte) (domain, name string, ok bool) {
	d, n, ok := bytes.Cut(key[len(prefixCredential):], []byte{0})
	return string(d), string(n), ok
}
