package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirgate/dirgate/store"
)

// fullName is where the store keeps when everything was compared last.
func fullName(domain string) string { return "full/" + domain }

// LastFull is when a pass that compared everything of a domain began last,
// whichever process made it; zero: none is known.
func LastFull(st *store.Store, domain string) (at time.Time, err error) {
	value, err := st.Cursor(fullName(domain))
	if errors.Is(err, store.ErrNotFound) {
		return at, nil
	}
	if err == nil {
		err = at.UnmarshalText(value)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("when %s was compared last: %w", domain, err)
	}
	return at, nil
}

// compared notes that a pass which began at a time compared everything. It is
// stored: a daemon that is restarted more often than FullEvery would otherwise
// never do so again.
func (i *Reconciler) compared(ctx context.Context, at time.Time) error {
	at = at.UTC().Round(0)
	value, err := at.MarshalText()
	if err == nil {
		err = i.cfg.Store.SetCursor(ctx, fullName(i.settings.Domain), value)
	}
	if err != nil {
		return fmt.Errorf("keep when everything was compared: %w", err)
	}
	i.full, i.fullAt = false, at
	return nil
}

// fullDue: it is time to compare everything. A time to come is of a clock that
// was wrong.
func (i *Reconciler) fullDue(now time.Time) bool {
	return i.fullAt.IsZero() || now.Sub(i.fullAt) >= i.cfg.FullEvery || i.fullAt.After(now)
}
