package store

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// PutLink stores a link, or brings its names and password up to date. What it
// does not set (false, zero or nil) stays as it is stored: others keep that
// there, and [Store.ChangeLink] takes it back. An AD account or a JumpCloud
// user that is linked to another one already is an error that wraps
// [ErrLinkConflict].
//
// With a new link, the older of what is open of the two accounts' passwords is
// superseded by the newer.
func (s *Store) PutLink(ctx context.Context, link identity.Link) error {
	err := s.submit(ctx, func(b *batch) error {
		given, stored, err := checkLink(b.txn, link)
		if err != nil {
			return err
		}
		if stored != nil {
			given = withAll(*stored, given)
		}
		b.putLink(given, stored == nil)
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
	return userLinks.change(ctx, s, domain, guid, change)
}

// checkLink is [pairs.check] with the domain in lower case.
func checkLink(txn *badger.Txn, link identity.Link) (given identity.Link, stored *identity.Link, err error) {
	link.Domain = strings.ToLower(link.Domain)
	stored, err = userLinks.check(txn, link)
	return link, stored, err
}

// withPassword takes from the given link its password and its names alone: who
// made it may have read the stored one before others changed it. Of two
// passwords the newer is kept: answers may come in another order than the
// requests went.
func withPassword(stored, given identity.Link) identity.Link {
	stored.Username = cmp.Or(given.Username, stored.Username)
	if stored.At.IsZero() {
		stored.At = given.At
	}
	if given.PasswordSeq >= stored.PasswordSeq {
		stored.PasswordSeq, stored.PasswordAt = given.PasswordSeq, given.PasswordAt
		stored.PasswordSet, stored.PasswordDate = given.PasswordSet, given.PasswordDate
	}
	return stored
}

// withAll takes from the given link whatever it sets.
func withAll(stored, given identity.Link) identity.Link {
	now := withPassword(stored, given)
	now.SuspendedByUs = stored.SuspendedByUs || given.SuspendedByUs
	now.SudoGiven = stored.SudoGiven || given.SudoGiven
	now.DisabledByUs = stored.DisabledByUs || given.DisabledByUs
	now.MadeInAD = stored.MadeInAD || given.MadeInAD
	if !given.ExpiredFor.IsZero() {
		now.ExpiredFor = given.ExpiredFor
	}
	if given.Agreed != nil {
		now.Agreed = given.Agreed
	}
	return now
}

// putLink stages a link; joined: the two were not linked before.
func (b *batch) putLink(link identity.Link, joined bool) {
	userLinks.put(b, link)
	if joined {
		b.join(link)
	}
}

// RemoveLink ends a link; the next change of the account is paired anew. The
// error wraps [ErrNotFound] when there is none.
func (s *Store) RemoveLink(ctx context.Context, domain string, guid identity.GUID) error {
	return userLinks.remove(ctx, s, domain, guid)
}

// LinkByGUID returns the link of an AD account, or wraps ErrNotFound.
func (s *Store) LinkByGUID(domain string, guid identity.GUID) (identity.Link, error) {
	return userLinks.byGUID(s, domain, guid)
}

// LinkByJumpCloudID returns the link of a JumpCloud user, or wraps
// ErrNotFound.
func (s *Store) LinkByJumpCloudID(id string) (identity.Link, error) { return userLinks.byID(s, id) }

// Links returns the links of a domain, in the order of their objectGUIDs.
func (s *Store) Links(domain string) ([]identity.Link, error) { return userLinks.all(s, domain) }

// PutGroupLink stores a link of groups, in the place of what is stored of the
// pair. An AD group or a JumpCloud group that is linked to another one already
// is an error that wraps [ErrLinkConflict].
func (s *Store) PutGroupLink(ctx context.Context, link identity.GroupLink) error {
	link.Domain = strings.ToLower(link.Domain)
	err := s.submit(ctx, func(b *batch) error {
		if _, err := groupLinks.check(b.txn, link); err != nil {
			return err
		}
		groupLinks.put(b, link)
		return nil
	})
	if err != nil {
		return fmt.Errorf("put link of group: %w", err)
	}
	return nil
}

// ChangeGroupLink brings a stored link of groups up to date, as
// [Store.ChangeLink] does one of users.
func (s *Store) ChangeGroupLink(ctx context.Context, domain string, guid identity.GUID, change func(*identity.GroupLink)) error {
	return groupLinks.change(ctx, s, domain, guid, change)
}

// RemoveGroupLink ends a link. The error wraps [ErrNotFound] when there is
// none.
func (s *Store) RemoveGroupLink(ctx context.Context, domain string, guid identity.GUID) error {
	return groupLinks.remove(ctx, s, domain, guid)
}

// GroupLink returns the link of an AD group, or wraps ErrNotFound.
func (s *Store) GroupLink(domain string, guid identity.GUID) (identity.GroupLink, error) {
	return groupLinks.byGUID(s, domain, guid)
}

// GroupLinkByJumpCloudID returns the link of a JumpCloud group, or wraps
// ErrNotFound.
func (s *Store) GroupLinkByJumpCloudID(id string) (identity.GroupLink, error) {
	return groupLinks.byID(s, id)
}

// GroupLinks returns the links of a domain's groups, in the order of their
// objectGUIDs.
func (s *Store) GroupLinks(domain string) ([]identity.GroupLink, error) {
	return groupLinks.all(s, domain)
}
