package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// Pause says that a person has stopped a direction of a domain from being
// applied. What changes meanwhile is recorded, and waits.
type Pause struct {
	At  time.Time `json:"at"`
	Who string    `json:"who,omitempty"`
}

// A pause is kept as a cursor: like one it says where replication stands, and
// outlives the domain's registration. Unlike one it is a person's order, which
// nothing tells again: it has a copy beside the database, and survives the
// acceptance of a loss.
const pausePrefix = "paused/"

func pauseName(domain string, d identity.Direction) string {
	return pausePrefix + string(d) + "/" + strings.ToLower(domain)
}

// isPause reports whether a key is that of a pause.
func isPause(key []byte) bool { return bytes.HasPrefix(key, []byte(prefixCursor+pausePrefix)) }

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

// mendPauses leaves pauses as they are, or as the copy has them where those in
// the database are not what was written. One that cannot be read goes on as a
// pause: whose it was is lost, that there was one is not.
func (s *Store) mendPauses(r *Report, txn *badger.Txn, writes *badger.WriteBatch, who string) error {
	if r.doubts(prefixCursor) || r.has(FindingStale) {
		if kept, err := s.readKept(); err == nil {
			err := wipe(txn, writes, prefixCursor+pausePrefix)
			for _, item := range kept.Items {
				if isPause(item.Key) {
					err = errors.Join(err, writes.Set(item.Key, item.Value))
				}
			}
			return err
		}
	}
	return scan(txn, []byte(prefixCursor+pausePrefix), nil, false, func(item *badger.Item) (bool, error) {
		value, err := item.ValueCopy(nil)
		var p Pause
		if err == nil && (len(value) == 0 || json.Unmarshal(value, &p) == nil) {
			return true, nil
		}
		if value, err = json.Marshal(Pause{At: s.now(), Who: "unreadable; kept when the loss was accepted by " + who}); err != nil {
			return false, err
		}
		return true, writes.Set(item.KeyCopy(nil), value)
	})
}
