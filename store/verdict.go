package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// Verdict is what a plan last said about an account or group, of which
// something is to be done, or of which nothing can be done. Who is as he
// should be has none, unless a conflict of two edits is to be remembered.
type Verdict struct {
	Direction identity.Direction `json:"direction"`
	// GUID is the object in AD; zero in direction sync for a JumpCloud user or
	// group that has none, which CloudID names then.
	GUID    identity.GUID `json:"guid,omitzero"`
	CloudID string        `json:"cloudId,omitempty"`
	Name    string        `json:"name,omitempty"` // for people
	// Group: CloudID is a JumpCloud group's.
	Group bool `json:"group,omitempty"`
	// Since is when the verdict became this one.
	Since time.Time `json:"since"`
	// Actions are what is to be done, in words, in their order.
	Actions []string `json:"actions,omitempty"`
	Skip    string   `json:"skip,omitempty"` // why nothing is done
	Note    string   `json:"note,omitempty"` // what of it cannot be done
	// Won says which of two edits was kept when both sides had changed; it is
	// remembered when all else is done.
	Won   string    `json:"won,omitempty"`
	WonAt time.Time `json:"wonAt,omitzero"`
}

// Bounds of what is stored of a verdict: words in bytes, and actions.
const (
	maxVerdictWords   = 512
	maxVerdictActions = 16
)

// IsEmpty reports whether there is nothing to remember.
func (v Verdict) IsEmpty() bool {
	return len(v.Actions) == 0 && v.Skip == "" && v.Note == "" && v.Won == ""
}

func keyVerdict(domain string, v Verdict) []byte {
	key := append([]byte(prefixVerdict+domain), 0, directionByte(v.Direction))
	if v.GUID.IsZero() {
		return append(append(key, 'c'), v.CloudID...)
	}
	return append(append(key, 'g'), v.GUID[:]...)
}

// Bounded is v as it is stored.
func (v Verdict) Bounded() Verdict {
	v.Skip, v.Note, v.Won, v.Name = clip(v.Skip, maxVerdictWords), clip(v.Note, maxVerdictWords), clip(v.Won, maxVerdictWords), clip(v.Name, maxVerdictWords)
	var actions []string
	for n, a := range v.Actions {
		if n == maxVerdictActions {
			actions = append(actions, fmt.Sprintf("and %d more", len(v.Actions)-n))
			break
		}
		actions = append(actions, clip(a, maxVerdictWords))
	}
	v.Actions = actions
	return v
}

// verdict stages one verdict; an empty one is taken away.
func (p *partition) verdict(domain string, v Verdict) {
	key := keyVerdict(domain, v)
	if v.IsEmpty() {
		p.add(len(key), func(b *batch) { b.deleteIf(key) })
		return
	}
	p.value(key, v.Bounded())
}

func checkVerdict(v Verdict) error {
	switch {
	case v.Direction != identity.Import && v.Direction != identity.Sync:
		return fmt.Errorf("verdict about %q: direction %q", v.Name, v.Direction)
	case v.GUID.IsZero():
		return checkName("JumpCloud id of a verdict", v.CloudID)
	}
	return nil
}

// PutVerdicts stores verdicts; each replaces that of the same object and
// direction, and an empty one takes it away.
func (s *Store) PutVerdicts(ctx context.Context, domain string, verdicts []Verdict) error {
	domain = strings.ToLower(domain)
	err := checkName("domain", domain)
	var p partition
	for _, v := range verdicts {
		if err == nil {
			err = checkVerdict(v)
		}
		p.verdict(domain, v)
	}
	if err == nil {
		err = p.err
	}
	for _, part := range p.parts {
		if err != nil {
			break
		}
		err = s.submit(ctx, func(b *batch) error {
			for _, step := range part {
				step(b)
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("put verdicts of %q: %w", domain, err)
	}
	return nil
}

// EachVerdict calls fn for the verdicts of a domain, one after the other.
func (s *Store) EachVerdict(domain string, fn func(Verdict)) error {
	prefix := append([]byte(prefixVerdict+strings.ToLower(domain)), 0)
	err := s.view(func(txn *badger.Txn) error {
		return scan(txn, prefix, nil, false, func(item *badger.Item) (bool, error) {
			var v Verdict
			if err := item.Value(func(value []byte) error { return decode(value, &v) }); err != nil {
				return false, err
			}
			fn(v)
			return true, nil
		})
	})
	if err != nil {
		return fmt.Errorf("verdicts of %q: %w", domain, err)
	}
	return nil
}

// Verdict returns the verdict about an object, which is named by its
// objectGUID, or by its JumpCloud id when that is zero. The error wraps
// [ErrNotFound] when there is none.
func (s *Store) Verdict(domain string, d identity.Direction, guid identity.GUID, cloudID string) (v Verdict, err error) {
	key := keyVerdict(strings.ToLower(domain), Verdict{Direction: d, GUID: guid, CloudID: cloudID})
	err = s.getValue("verdict", key, &v)
	return v, err
}
