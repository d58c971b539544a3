package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// pruneStep is how many records are removed in one transaction, so that
// captures wait for a moment at most.
const pruneStep = 200

// Prune removes the records from before a time, and what is known of changes
// that ended before it, and returns how many records it removed. Dead letters
// and held changes that have waited since before it are discarded, with their
// passwords; a
// change that is pending or unsettled stays, and so does every record after
// its intent, however old.
//
// The head keeps the number and tag of the last record that is gone, so what
// is left is still a chain from a known point.
func (s *Store) Prune(ctx context.Context, before time.Time) (removed int64, err error) {
	if err := s.discardOld(ctx, before); err != nil {
		return 0, fmt.Errorf("prune log: %w", err)
	}
	for {
		var n int64
		err := s.submit(ctx, func(b *batch) (err error) {
			n, err = b.prune(before)
			return err
		})
		if err != nil {
			return removed, fmt.Errorf("prune log: %w", err)
		}
		removed += n
		if n == 0 {
			return removed, nil
		}
	}
}

// discardOld ends the dead letters that nobody retried, and the held changes
// that nobody approved, for so long.
func (s *Store) discardOld(ctx context.Context, before time.Time) error {
	for _, d := range []identity.Direction{identity.Import, identity.Sync} {
		err := errors.Join(s.discardAll(ctx, listKey{identity.StatusDead, d}, before, "nobody retried it since "),
			s.discardAll(ctx, listKey{identity.StatusHeld, d}, before, "nobody approved it since "))
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) discardAll(ctx context.Context, list listKey, before time.Time, why string) error {
	for after := identity.Seq(0); ; {
		entries, err := s.openEntries(list, 100, after)
		if err != nil {
			return err
		}
		for _, e := range entries {
			after = e.Seq
			if !e.Since.Before(before) {
				continue
			}
			if err := s.Discard(ctx, e.Seq, why+e.Since.Format(time.DateOnly)); err != nil && !errors.Is(err, ErrState) {
				return err
			}
		}
		if len(entries) < 100 {
			return nil
		}
	}
}

// prune stages the removal of the oldest records.
func (b *batch) prune(before time.Time) (int64, error) {
	gone, err := b.oldest(before)
	if err != nil || len(gone) == 0 {
		return 0, err
	}
	cut := gone[len(gone)-1]
	for _, g := range gone {
		if err := b.forgetChange(g.record.Change, before); err != nil {
			return 0, err
		}
		b.delete(keySeq(prefixLog, g.record.Seq))
	}
	b.head.Base, b.head.BaseTip = cut.record.Seq, cut.frame.tag
	return int64(len(gone)), nil
}

type pruned struct {
	record Record
	frame  frame
}

// oldest reads the records that may go: from before the time, before the first
// intent whose outcome is open, and never the last one.
func (b *batch) oldest(before time.Time) (gone []pruned, err error) {
	end := min(b.store.work.firstOpen(), b.last)
	expect := b.head.Base + 1
	err = scan(b.txn, []byte(prefixLog), keySeq(prefixLog, expect), false, func(item *badger.Item) (bool, error) {
		value, err := item.ValueCopy(nil)
		if err != nil {
			return false, err
		}
		r, f, err := b.store.chain.open(seqOf(item.Key()), value)
		if err != nil {
			return false, fmt.Errorf("record %d: %w", seqOf(item.Key()), err)
		}
		if !r.fills(expect) {
			return false, fmt.Errorf("record %d is missing: %w", expect, ErrCorrupt)
		}
		if r.Seq >= end || !r.At.Before(before) {
			return false, nil
		}
		expect = r.Seq + 1
		gone = append(gone, pruned{r, f})
		return len(gone) < pruneStep, nil
	})
	return gone, err
}

// forgetChange removes what is known of a change that ended before a time;
// nothing more can be recorded about it. It is called for each of its records,
// so at the latest the one that ended it takes the state along.
func (b *batch) forgetChange(seq identity.Seq, before time.Time) error {
	e, err := getEntry(b.txn, seq)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if isOpen(e.Status) || e.Evidence != "" || !e.Since.Before(before) {
		return nil
	}
	b.delete(keySeq(prefixState, seq))
	for _, key := range accountKeys(e.Change) {
		b.delete(key)
	}
	return nil
}
