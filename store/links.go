package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// PutLink stores a link, or brings its names and password up to date. An AD
// account or a JumpCloud user that is linked to another one already is an
// error that wraps [ErrLinkConflict].
func (s *Store) PutLink(ctx context.Context, link identity.Link) error {
	err := s.submit(ctx, func(b *batch) error {
		checked, err := checkLink(b.txn, link)
		if err != nil {
			return err
		}
		b.putLink(checked)
		return nil
	})
	if err != nil {
		return fmt.Errorf("put link: %w", err)
	}
	return nil
}

// ChangeLink brings a stored link up to date in one transaction, so that what
// others store there in the same moment stays. The error wraps [ErrNotFound]
// when there is none. change may be called more than once.
func (s *Store) ChangeLink(ctx context.Context, domain string, guid identity.GUID, change func(*identity.Link)) error {
	domain = strings.ToLower(domain)
	err := s.submit(ctx, func(b *batch) error {
		var link identity.Link
		if err := get(b.txn, keyLink(domain, guid), &link); err != nil {
			return err
		}
		id := link.JumpCloudID
		change(&link)
		if link.Domain != domain || link.GUID != guid || link.JumpCloudID != id {
			return fmt.Errorf("it would be that of another pair: %w", ErrLinkConflict)
		}
		b.putLink(link)
		return nil
	})
	if err != nil {
		return fmt.Errorf("change link of account %s: %w", guid, err)
	}
	return nil
}

// keepImported takes from the stored link what the import keeps there: whoever
// stores the link of a password may have read it before.
func keepImported(txn *badger.Txn, link *identity.Link) error {
	var old identity.Link
	err := get(txn, keyLink(link.Domain, link.GUID), &old)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	link.SuspendedByUs, link.SudoGiven, link.ExpiredFor = old.SuspendedByUs, old.SudoGiven, old.ExpiredFor
	link.How, link.PasswordAuthority, link.Delegation = old.How, old.PasswordAuthority, old.Delegation
	return err
}

// checkLink refuses a link that is not one to one. It keeps the newer of two
// password numbers: answers may come in another order than the requests went.
func checkLink(txn *badger.Txn, link identity.Link) (identity.Link, error) {
	link.Domain = strings.ToLower(link.Domain)
	if err := checkName("domain", link.Domain); err != nil {
		return link, err
	}
	if err := checkName("JumpCloud id", link.JumpCloudID); err != nil {
		return link, err
	}
	if link.GUID.IsZero() {
		return link, errors.New("the link has no objectGUID")
	}
	var old identity.Link
	switch err := get(txn, keyLink(link.Domain, link.GUID), &old); {
	case err == nil && old.JumpCloudID != link.JumpCloudID:
		return link, fmt.Errorf("account %s is linked to JumpCloud user %s: %w", link.GUID, old.JumpCloudID, ErrLinkConflict)
	case err == nil && old.PasswordSeq > link.PasswordSeq:
		link.PasswordSeq, link.PasswordAt, link.PasswordSet = old.PasswordSeq, old.PasswordAt, old.PasswordSet
	case err != nil && !errors.Is(err, ErrNotFound):
		return link, err
	}
	switch name, err := getBytes(txn, []byte(prefixLinkID+link.JumpCloudID)); {
	case err == nil && string(name) != string(linkName(link.Domain, link.GUID)):
		return link, fmt.Errorf("JumpCloud user %s is linked to another account: %w", link.JumpCloudID, ErrLinkConflict)
	case err != nil && !errors.Is(err, ErrNotFound):
		return link, err
	}
	return link, nil
}

func (b *batch) putLink(link identity.Link) {
	b.setValue(keyLink(link.Domain, link.GUID), link)
	b.set([]byte(prefixLinkID+link.JumpCloudID), linkName(link.Domain, link.GUID))
}

// RemoveLink ends a link; the next change of the account is paired anew. The
// error wraps [ErrNotFound] when there is none.
func (s *Store) RemoveLink(ctx context.Context, domain string, guid identity.GUID) error {
	domain = strings.ToLower(domain)
	err := s.submit(ctx, func(b *batch) error {
		var link identity.Link
		if err := get(b.txn, keyLink(domain, guid), &link); err != nil {
			return err
		}
		b.delete(keyLink(domain, guid))
		b.delete([]byte(prefixLinkID + link.JumpCloudID))
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove link of account %s: %w", guid, err)
	}
	return nil
}

// LinkByGUID returns the link of an AD account, or wraps ErrNotFound.
func (s *Store) LinkByGUID(domain string, guid identity.GUID) (link identity.Link, err error) {
	err = s.getValue("link of account "+guid.String(), keyLink(strings.ToLower(domain), guid), &link)
	return link, err
}

// LinkByJumpCloudID returns the link of a JumpCloud user, or wraps
// ErrNotFound.
func (s *Store) LinkByJumpCloudID(id string) (link identity.Link, err error) {
	err = s.view(func(txn *badger.Txn) error {
		name, err := getBytes(txn, []byte(prefixLinkID+id))
		if err != nil {
			return err
		}
		return get(txn, append([]byte(prefixLink), name...), &link)
	})
	if err != nil {
		return link, fmt.Errorf("link of JumpCloud user %s: %w", id, err)
	}
	return link, nil
}

// Links returns the links of a domain, in the order of their objectGUIDs.
func (s *Store) Links(domain string) (links []identity.Link, err error) {
	prefix := append([]byte(prefixLink+strings.ToLower(domain)), 0)
	err = s.view(func(txn *badger.Txn) error {
		return scan(txn, prefix, nil, false, func(item *badger.Item) (bool, error) {
			var link identity.Link
			err := item.Value(func(value []byte) error { return decode(value, &link) })
			links = append(links, link)
			return true, err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("links of %s: %w", domain, err)
	}
	return links, nil
}

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
	err := checkName("name", name)
	if err == nil && len(value) > maxCursor {
		err = fmt.Errorf("%d bytes, and at most %d are stored", len(value), maxCursor)
	}
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
