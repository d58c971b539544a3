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
	// ErrOpenChange: the account, or the user that is linked with it, has a
	// password change that is unsettled, pending or dead, and what a bind proved
	// may be older than that.
	ErrOpenChange = errors.New("another change of the account is not done")
	// ErrInSync: the other side has the password of that pwdLastSet, or a newer
	// one.
	ErrInSync = errors.New("the other side has that password")
)

// provenSkew is how far the clocks of this host and of the domain controllers
// may be apart: as far as Kerberos allows by default (RFC 4120 section 1.6).
const provenSkew = 5 * time.Minute

// AppendProven records a password that needs no answer any more, because a bind
// proved it: the change is pending when its number is returned. Of a bind to a
// DC (direction import) c.PwdLastSet is that of the password; of one to
// JumpCloud's LDAP (direction sync) c.PasswordDate is the user's password_date,
// read after the bind.
//
// It never gets in the way of a change that somebody made: in the transaction
// that would append it, it is refused with an error that wraps [ErrOpenChange]
// while the account, or the user that is linked with it, has an open password
// of either direction (but for one made at JumpCloud whose answer was not seen,
// if this one is newer), and with one that wraps [ErrInSync] when the link says
// that both sides had that password, or one that was set later. So a password
// that was written to a side does not come back from it (rule P2: echo).
// Nothing is sealed or written then.
func (s *Store) AppendProven(ctx context.Context, c identity.Change, password secret.Bytes) (identity.Seq, error) {
	if err := checkProven(&c); err != nil {
		return 0, fmt.Errorf("append proven password: %w", err)
	}
	var seq identity.Seq
	err := s.submit(ctx, func(b *batch) error {
		if err := refuseProven(b.txn, c, b.at); err != nil {
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
	return s.view(func(txn *badger.Txn) error { return refuseProven(txn, c, s.now()) })
}

func checkProven(c *identity.Change) error {
	if err := checkChange(c); err != nil {
		return err
	}
	switch {
	case c.Kind != identity.PasswordBind || c.MustChange:
		return fmt.Errorf("want a change of kind %s that must not be changed again", identity.PasswordBind)
	case c.Direction == identity.Sync && c.PasswordDate.IsZero():
		return errors.New("want JumpCloud's password_date of the password")
	case c.Direction == identity.Import && (c.Account.GUID.IsZero() || c.PwdLastSet <= 0):
		return errors.New("want objectGUID and pwdLastSet")
	}
	return nil
}

func refuseProven(txn *badger.Txn, c identity.Change, now time.Time) error {
	subjects := [][]byte{subjectKey(c)}
	link, err := linkOf(txn, c)
	switch {
	case err == nil && linkHas(link, c):
		return ErrInSync
	case err == nil:
		subjects = [][]byte{accountKey(link.GUID, ""), cloudKey(link.JumpCloudID)}
	case !errors.Is(err, ErrNotFound):
		return fmt.Errorf("link: %w", err)
	}
	for _, subject := range subjects {
		if err := refuseOpen(txn, subject, c, now); err != nil {
			return err
		}
	}
	return nil
}

// refuseOpen looks for an open password among the changes of an account or of
// a JumpCloud user.
func refuseOpen(txn *badger.Txn, subject []byte, c identity.Change, now time.Time) error {
	return scan(txn, append([]byte(prefixAccount), subject...), nil, true, func(item *badger.Item) (bool, error) {
		seq := seqOf(item.Key())
		e, err := getEntry(txn, seq)
		if err != nil {
			return false, err
		}
		if isOpen(e.Status) && !e.Kind.IsState() && !outlived(e, c, now) {
			return false, fmt.Errorf("change %d is %s: %w", seq, e.Status, ErrOpenChange)
		}
		return true, nil
	})
}

// answered is after how long a request to JumpCloud is not on its way any more.
const answered = 15 * time.Minute

// outlived reports whether what a bind proved is newer than a change at
// JumpCloud whose answer was not seen. Such a change may stay open: where
// JumpCloud's LDAP is not named nobody can tell what became of it. What
// JumpCloud's LDAP accepts is the user's password in any case; a password of AD
// must have been set after the change.
func outlived(e identity.Entry, c identity.Change, now time.Time) bool {
	if e.Status != identity.StatusUnsettled || e.Direction != identity.Sync || now.Sub(e.At) < answered {
		return false
	}
	return c.Direction == identity.Sync || identity.FileTime(c.PwdLastSet).After(e.At.Add(answered))
}

// linkHas reports whether both sides had the password that a bind proved, or
// one that was set later. Where the link does not know when a side set its
// password, that was at the latest when it was given.
func linkHas(link identity.Link, c identity.Change) bool {
	latest := link.PasswordAt.Add(provenSkew)
	switch {
	case link.PasswordSeq == 0:
		return false
	case c.Direction == identity.Sync && !link.PasswordDate.IsZero():
		return !c.PasswordDate.After(link.PasswordDate)
	case c.Direction == identity.Sync:
		return !c.PasswordDate.After(latest)
	case link.PasswordSet != 0:
		return c.PwdLastSet <= link.PasswordSet
	}
	return !identity.FileTime(c.PwdLastSet).After(latest)
}
