package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// Mirror is what Active Directory was last seen to have of a domain.
type Mirror struct {
	Users  map[identity.GUID]*identity.User
	Groups map[identity.GUID]identity.Group
}

const (
	mirrorUser  = 'u'
	mirrorGroup = 'g'
)

func keyMirror(domain string, kind byte, guid identity.GUID) []byte {
	key := append([]byte(prefixMirror+domain), 0, kind)
	return append(key, guid[:]...)
}

// Mirror reads the mirror of a domain whole: some kilobytes for each user.
func (s *Store) Mirror(domain string) (Mirror, error) {
	m := Mirror{Users: make(map[identity.GUID]*identity.User), Groups: make(map[identity.GUID]identity.Group)}
	prefix := append([]byte(prefixMirror+strings.ToLower(domain)), 0)
	err := s.view(func(txn *badger.Txn) error {
		return scan(txn, prefix, nil, false, func(item *badger.Item) (bool, error) {
			return true, item.Value(func(value []byte) error { return m.add(item.Key()[len(prefix):], value) })
		})
	})
	if err != nil {
		return Mirror{}, fmt.Errorf("mirror of %s: %w", domain, err)
	}
	return m, nil
}

func (m *Mirror) add(name, value []byte) error {
	if len(name) != 1+len(identity.GUID{}) {
		return fmt.Errorf("key of %d bytes: %w", len(name), ErrCorrupt)
	}
	guid := identity.GUID(name[1:])
	if name[0] == mirrorGroup {
		var g identity.Group
		err := decode(value, &g)
		m.Groups[guid] = g
		return err
	}
	u := new(identity.User)
	m.Users[guid] = u
	return decode(value, u)
}

// MirrorUser returns an account as the mirror has it, or wraps ErrNotFound.
func (s *Store) MirrorUser(domain string, guid identity.GUID) (u identity.User, err error) {
	err = s.getValue("mirror of account "+guid.String(), keyMirror(strings.ToLower(domain), mirrorUser, guid), &u)
	return u, err
}

// MirrorGroup returns a group as the mirror has it, or wraps ErrNotFound.
func (s *Store) MirrorGroup(domain string, guid identity.GUID) (g identity.Group, err error) {
	err = s.getValue("mirror of group "+guid.String(), keyMirror(strings.ToLower(domain), mirrorGroup, guid), &g)
	return g, err
}

// NewestState returns the newest change of state of direction import of an
// account or group, or wraps ErrNotFound: retention may have removed it.
func (s *Store) NewestState(domain string, guid identity.GUID) (e identity.Entry, err error) {
	return s.newestState(guid.String(), identity.Change{Kind: identity.UserChange, Direction: identity.Import,
		Account: identity.Account{Domain: strings.ToLower(domain), GUID: guid}})
}

// NewestCloudState returns the newest change of state of direction sync of a
// JumpCloud user or group, as kind says, or wraps ErrNotFound.
func (s *Store) NewestCloudState(domain string, kind identity.ChangeKind, id string) (identity.Entry, error) {
	return s.newestState(id, identity.Change{Kind: kind, Direction: identity.Sync, CloudID: id,
		Account: identity.Account{Domain: strings.ToLower(domain)}})
}

func (s *Store) newestState(name string, c identity.Change) (e identity.Entry, err error) {
	err = s.view(func(txn *badger.Txn) error {
		var seq identity.Seq
		if err := get(txn, keyNewest(c), &seq); err != nil {
			return err
		}
		e, err = getEntry(txn, seq)
		return err
	})
	if err != nil {
		return identity.Entry{}, fmt.Errorf("newest change of state of %s: %w", name, err)
	}
	return e, nil
}

// deleteIf leaves no tombstone where nothing is.
func (b *batch) deleteIf(key []byte) {
	switch _, err := getBytes(b.txn, key); {
	case err == nil:
		b.delete(key)
	case !errors.Is(err, ErrNotFound) && b.err == nil:
		b.err = err
	}
}
