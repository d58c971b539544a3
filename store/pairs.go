package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// pairs keeps the links of one kind of object, each of which pairs one of AD
// with one of JumpCloud. All that is read and written of them goes through it.
type pairs[L any] struct {
	object, cloud string // what is paired, to people
	links, ids    string // prefixes of the links, and of their index by JumpCloud's id
	of            func(L) pair
}

// pair is what makes a link.
type pair struct {
	domain string // lower case
	guid   identity.GUID
	id     string // JumpCloud's
}

func (p pair) name() []byte { return linkName(p.domain, p.guid) }

var userLinks = pairs[identity.Link]{
	object: "account", cloud: "JumpCloud user", links: prefixLink, ids: prefixLinkID,
	of: func(l identity.Link) pair { return pair{l.Domain, l.GUID, l.JumpCloudID} },
}

var groupLinks = pairs[identity.GroupLink]{
	object: "group", cloud: "JumpCloud group", links: prefixGroupLink, ids: prefixGroupLinkID,
	of: func(l identity.GroupLink) pair { return pair{l.Domain, l.GUID, l.GroupID} },
}

func (p pairs[L]) key(domain string, guid identity.GUID) []byte {
	return append([]byte(p.links), linkName(domain, guid)...)
}

// get reads the link of an AD object, or wraps ErrNotFound.
func (p pairs[L]) get(txn *badger.Txn, domain string, guid identity.GUID) (link L, err error) {
	return link, get(txn, p.key(domain, guid), &link)
}

// find reads the link of a JumpCloud object, or wraps ErrNotFound.
func (p pairs[L]) find(txn *badger.Txn, id string) (link L, err error) {
	name, err := getBytes(txn, []byte(p.ids+id))
	if err != nil {
		return link, err
	}
	return link, get(txn, append([]byte(p.links), name...), &link)
}

// check refuses a link that is not one to one, and returns the stored one of
// the same pair; nil: there is none.
func (p pairs[L]) check(txn *badger.Txn, link L) (stored *L, err error) {
	is := p.of(link)
	if err := errors.Join(checkName("domain", is.domain), checkName("JumpCloud id", is.id)); err != nil {
		return nil, err
	}
	if is.guid.IsZero() {
		return nil, errors.New("the link has no objectGUID")
	}
	switch old, err := p.get(txn, is.domain, is.guid); {
	case err == nil && p.of(old).id != is.id:
		return nil, fmt.Errorf("%s %s is linked to %s %s: %w", p.object, is.guid, p.cloud, p.of(old).id, ErrLinkConflict)
	case err == nil:
		stored = &old
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	switch name, err := getBytes(txn, []byte(p.ids+is.id)); {
	case err == nil && string(name) != string(is.name()):
		return nil, fmt.Errorf("%s %s is linked to another %s: %w", p.cloud, is.id, p.object, ErrLinkConflict)
	case err != nil && !errors.Is(err, ErrNotFound):
		return nil, err
	}
	return stored, nil
}

func (p pairs[L]) put(b *batch, link L) {
	is := p.of(link)
	b.setValue(p.key(is.domain, is.guid), link)
	b.set([]byte(p.ids+is.id), is.name())
}

// change brings a stored link up to date in one transaction.
func (p pairs[L]) change(ctx context.Context, s *Store, domain string, guid identity.GUID, change func(*L)) error {
	domain = strings.ToLower(domain)
	err := s.submit(ctx, func(b *batch) error {
		link, err := p.get(b.txn, domain, guid)
		if err != nil {
			return err
		}
		was := p.of(link)
		if change(&link); p.of(link) != was {
			return fmt.Errorf("it would be that of another pair: %w", ErrLinkConflict)
		}
		p.put(b, link)
		return nil
	})
	if err != nil {
		return fmt.Errorf("change link of %s %s: %w", p.object, guid, err)
	}
	return nil
}

func (p pairs[L]) remove(ctx context.Context, s *Store, domain string, guid identity.GUID) error {
	domain = strings.ToLower(domain)
	err := s.submit(ctx, func(b *batch) error {
		link, err := p.get(b.txn, domain, guid)
		if err != nil {
			return err
		}
		b.delete(p.key(domain, guid))
		b.delete([]byte(p.ids + p.of(link).id))
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove link of %s %s: %w", p.object, guid, err)
	}
	return nil
}

func (p pairs[L]) byGUID(s *Store, domain string, guid identity.GUID) (link L, err error) {
	err = s.getValue("link of "+p.object+" "+guid.String(), p.key(strings.ToLower(domain), guid), &link)
	return link, err
}

func (p pairs[L]) byID(s *Store, id string) (link L, err error) {
	err = s.view(func(txn *badger.Txn) error {
		link, err = p.find(txn, id)
		return err
	})
	if err != nil {
		return link, fmt.Errorf("link of %s %s: %w", p.cloud, id, err)
	}
	return link, nil
}

// all returns the links of a domain, in the order of their objectGUIDs.
func (p pairs[L]) all(s *Store, domain string) (links []L, err error) {
	prefix := append([]byte(p.links+strings.ToLower(domain)), 0)
	err = s.view(func(txn *badger.Txn) error {
		return scan(txn, prefix, nil, false, func(item *badger.Item) (bool, error) {
			var link L
			err := item.Value(func(value []byte) error { return decode(value, &link) })
			links = append(links, link)
			return true, err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("links of %ss of %s: %w", p.object, domain, err)
	}
	return links, nil
}
