package store

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Cursor returns what SetCursor stored under name, or wraps ErrNotFound.
func (s *Store) Cursor(name string) (value []byte, err error) {
	err = s.view(func(txn *badger.Txn) error {
		value, err = getBytes(txn, []byte(prefixCursor+name))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cursor %q: %w", name, err)
	}
	return value, nil
}

// SetCursor stores how far a reader has come, synced when it returns. The
// value has at most 256 KiB.
func (s *Store) SetCursor(ctx context.Context, name string, value []byte) error {
	err := checkCursor(name, value)
	if err == nil {
		err = s.submit(ctx, func(b *batch) error {
			b.set([]byte(prefixCursor+name), append([]byte(nil), value...))
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("set cursor %q: %w", name, err)
	}
	return nil
}

func checkCursor(name string, value []byte) error {
	if len(value) > maxCursor {
		return fmt.Errorf("cursor of %d bytes, and at most %d are stored", len(value), maxCursor)
	}
	return checkName("name of cursor", name)
}
