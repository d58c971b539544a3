package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

func keyGroupLink(domain string, guid identity.GUID) []byte {
	return append([]byte(prefixGroupLink), linkName(domain, guid)...)
}

// PutGroupLink stores a link of groups, or brings its names and agreed members
// up to date. An AD group or a JumpCloud group that is linked to another one
// already is an error that wraps [ErrLinkConflict].
func (s *Store) PutGroupLink(ctx context.Context, link identity.GroupLink) error {
	link.Domain = strings.ToLower(link.Domain)
	err := errors.Join(checkName("domain", link.Domain), checkName("JumpCloud id", link.GroupID))
	if err == nil && link.GUID.IsZero() {
		err = errors.New("the link has no objectGUID")
	}
	if err == nil {
		err = s.submit(ctx, func(b *batch) error {
			if err := checkGroupLink(b.txn, link); err != nil {
				return err
			}
			b.setValue(keyGroupLink(link.Domain, link.GUID), link)
			b.set([]byte(prefixGroupLinkID+link.GroupID), linkName(link.Domain, link.GUID))
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("put link of group: %w", err)
	}
	return nil
}

// checkGroupLink refuses a link that is not one to one.
func checkGroupLink(txn *badger.Txn, link identity.GroupLink) error {
	var old identity.GroupLink
	switch err := get(txn, keyGroupLink(link.Domain, link.GUID), &old); {
	case err == nil && old.GroupID != link.GroupID:
		return fmt.Errorf("group %s is linked to JumpCloud group %s: %w", link.GUID, old.GroupID, ErrLinkConflict)
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	switch name, err := getBytes(txn, []byte(prefixGroupLinkID+link.GroupID)); {
	case err == nil && string(name) != string(linkName(link.Domain, link.GUID)):
		return fmt.Errorf("JumpCloud group %s is linked to another group: %w", link.GroupID, ErrLinkConflict)
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	return nil
}

// RemoveGroupLink ends a link. The error wraps [ErrNotFound] when there is
// none.
func (s *Store) RemoveGroupLink(ctx context.Context, domain string, guid identity.GUID) error {
	domain = strings.ToLower(domain)
	err := s.submit(ctx, func(b *batch) error {
		var link identity.GroupLink
		if err := get(b.txn, keyGroupLink(domain, guid), &link); err != nil {
			return err
		}
		b.delete(keyGroupLink(domain, guid))
		b.delete([]byte(prefixGroupLinkID + link.GroupID))
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove link of group %s: %w", guid, err)
	}
	return nil
}

// GroupLink returns the link of an AD group, or wraps ErrNotFound.
func (s *Store) GroupLink(domain string, guid identity.GUID) (link identity.GroupLink, err error) {
	err = s.getValue("link of group "+guid.String(), keyGroupLink(strings.ToLower(domain), guid), &link)
	return link, err
}

// GroupLinks returns the links of a domain's groups, in the order of their
// objectGUIDs.
func (s *Store) GroupLinks(domain string) (links []identity.GroupLink, err error) {
	prefix := append([]byte(prefixGroupLink+strings.ToLower(domain)), 0)
	err = s.view(func(txn *badger.Txn) error {
		return scan(txn, prefix, nil, false, func(item *badger.Item) (bool, error) {
			var link identity.GroupLink
			err := item.Value(func(value []byte) error { return decode(value, &link) })
			links = append(links, link)
			return true, err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("links of groups of %s: %w", domain, err)
	}
	return links, nil
}
