package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// Hold keeps a pending change of state from being applied until a person has
// approved it: a guard of that class says why (rule I8). Others go on; a newer
// change of the account supersedes it. An approved change is not held again:
// the error wraps [ErrState], as it does for a password.
func (s *Store) Hold(ctx context.Context, seq identity.Seq, class, reason string) error {
	if err := checkName("class", class); err != nil {
		return fmt.Errorf("hold change %d: %w", seq, err)
	}
	return s.record(ctx, "hold", seq, Record{Type: RecordHeld, Class: class, Reason: reason})
}

// Approve lets a held change pass; who says who approved it, and why.
func (s *Store) Approve(ctx context.Context, seq identity.Seq, who string) error {
	return s.record(ctx, "approve", seq, Record{Type: RecordApproved, Reason: who})
}

// Reject discards a held change. One that is not held (any more) is an error
// that wraps [ErrState]: what is pending may have been approved meanwhile.
func (s *Store) Reject(ctx context.Context, seq identity.Seq, reason string) error {
	return s.transition(ctx, "reject", seq, func(b *batch, e identity.Entry) error {
		if e.Status != identity.StatusHeld && e.Status != identity.StatusDiscarded {
			return fmt.Errorf("it is %s: %w", e.Status, ErrState)
		}
		_, err := b.record(e, Record{Type: RecordDiscarded, Reason: reason})
		return err
	})
}

// HeldOptions selects held changes.
type HeldOptions struct {
	Domain, Class string       // empty: of all
	After         identity.Seq // begin behind this one
	Limit         int          // zero means 100; at most 1000
}

// Held returns held changes in the order of their numbers; fewer than the
// limit means that there are no more.
func (s *Store) Held(d identity.Direction, o HeldOptions) (found []identity.Entry, err error) {
	limit := pageSize(o.Limit)
	for len(found) < limit {
		entries, err := s.openEntries(listKey{identity.StatusHeld, d}, limit, o.After)
		if err != nil {
			return nil, fmt.Errorf("list held changes: %w", err)
		}
		for _, e := range entries {
			o.After = e.Seq
			if (o.Domain == "" || strings.EqualFold(o.Domain, e.Account.Domain)) && (o.Class == "" || o.Class == e.Class) && len(found) < limit {
				found = append(found, e)
			}
		}
		if len(entries) < limit {
			break
		}
	}
	return found, nil
}
