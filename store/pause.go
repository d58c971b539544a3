package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// Pause says that a person has stopped a direction of a domain from being
// applied. What changes meanwhile is recorded, and waits.
type Pause struct {
	At  time.Time `json:"at"`
	Who string    `json:"who,omitempty"`
}

// pauseName is the cursor that a pause is kept as: like a cursor it says where
// replication stands, and outlives the domain's registration.
func pauseName(domain string, d identity.Direction) string {
	return "paused/" + string(d) + "/" + strings.ToLower(domain)
}

// SetPaused pauses a direction of a domain, or ends that, durably. Watchers
// are woken. A pause that is repeated keeps its time.
func (s *Store) SetPaused(ctx context.Context, domain string, d identity.Direction, paused bool, who string) error {
	if d != identity.Import && d != identity.Sync {
		return fmt.Errorf("pause %s: no direction %q", domain, d)
	}
	_, already, err := s.Paused(domain, d)
	if err != nil || already == paused {
		return err
	}
	var value []byte // empty: not paused
	if paused {
		if value, err = json.Marshal(Pause{At: s.now(), Who: who}); err != nil {
			return err
		}
	}
	return s.SetCursor(ctx, pauseName(domain, d), value)
}

// Paused says whether a direction of a domain is paused.
func (s *Store) Paused(domain string, d identity.Direction) (p Pause, paused bool, err error) {
	value, err := s.Cursor(pauseName(domain, d))
	if errors.Is(err, ErrNotFound) || err == nil && len(value) == 0 {
		return Pause{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(value, &p)
	}
	if err != nil {
		return Pause{}, false, fmt.Errorf("pause of %s: %w", domain, err)
	}
	return p, true, nil
}
