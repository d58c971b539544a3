package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

var (
	// ErrOpenChange: the account has a password change that is unsettled, pending or
	// dead, and what a bind proved may be older than that.
	ErrOpenChange = errors.New("another change of the account is not done")
	// ErrInSync: the other side has the password of that pwdLastSet, or a newer
	// one.
	ErrInSync = errors.New("the other side has that password")
)

// provenSkew is how far the clocks of this host and of the domain controllers
// may be apart: as far as Kerberos allows by default (RFC 4120 section 1.6).
const provenSkew = 5 * time.Minute

// AppendProven records a password that needs no answer any more, because a bind
// proved it: the change is pending when its number is returned. c.PwdLastSet is
// that of the password.
//
// It never gets in the way of a change that somebody made: in the transaction
// that would append it, it is refused with an error that wraps [ErrOpenChange]
// while the account has an open change of either direction, and with one that
// wraps [ErrInSync] when the account's link says that the other side was given
// that password, or one that was set later. Nothing is sealed or written then.
func (s *Store) AppendProven(ctx context.Context, c identity.Change, password secret.Bytes) (identity.Seq, error) {
	if err := checkProven(&c); err != nil {
		return 0, fmt.Errorf("append proven password: %w", err)
	}
	var seq identity.Seq
	err := s.submit(ctx, func(b *batch) error {
		if err := refuseProven(b.txn, c); err != nil {
			return err
		}
		e, err := b.intend(c, password)
		if err != nil {
			return err
		}
		seq = e.Seq
		b.must(e, b.accept(e, Record{Type: RecordAccepted})) // the intent is staged
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("append proven password: %w", err)
	}
	return seq, nil
}

// CheckProven tells, without writing, whether [Store.AppendProven] would refuse
// a change now; nil: it would not.
func (s *Store) CheckProven(c identity.Change) error {
	if err := checkProven(&c); err != nil {
		return fmt.Errorf("check proven password: %w", err)
	}
	return s.view(func(txn *badger.Txn) error { return refuseProven(txn, c) })
}

func checkProven(c *identity.Change) error {
	if err := checkChange(c); err != nil {
		return err
	}
	if c.Kind != identity.PasswordBind || c.Account.GUID.IsZero() || c.PwdLastSet <= 0 || c.MustChange {
		return fmt.Errorf("want a change of kind %s with objectGUID and pwdLastSet", identity.PasswordBind)
	}
	return nil
}

func refuseProven(txn *badger.Txn, c identity.Change) error {
	var link identity.Link
	err := get(txn, keyLink(c.Account.Domain, c.Account.GUID), &link)
	switch {
	case err == nil && linkHas(link, c.PwdLastSet):
		return ErrInSync
	case err != nil && !errors.Is(err, ErrNotFound):
		return fmt.Errorf("link of account %s: %w", c.Account.GUID, err)
	}
	prefix := append([]byte(prefixAccount), accountKey(c.Account.GUID, "")...)
	return scan(txn, prefix, nil, true, func(item *badger.Item) (bool, error) {
		seq := seqOf(item.Key())
		e, err := getEntry(txn, seq)
		if err != nil {
			return false, err
		}
		if isOpen(e.Status) && !e.Kind.IsState() {
			return false, fmt.Errorf("change %d is %s: %w", seq, e.Status, ErrOpenChange)
		}
		return true, nil
	})
}

// linkHas reports whether the other side was given the password that AD set at
// set, or a later one. Where the link does not know when its password was set,
// that was at the latest when it was given.
func linkHas(link identity.Link, set int64) bool {
	switch {
	case link.PasswordSeq == 0:
		return false
	case link.PasswordSet != 0:
		return set <= link.PasswordSet
	}
	return !identity.FileTime(set).After(link.PasswordAt.Add(provenSkew))
}
