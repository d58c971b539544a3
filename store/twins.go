package store

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// Passwords of a linked pair. A password change of the AD account travels to
// JumpCloud, one of the JumpCloud user to AD, and applied side by side they
// would be exchanged instead of made equal. So of both directions together only
// the newest accepted password may be applied (rule P2). Newest is, as within
// one direction, the one whose intent came last; which of two that were under
// way at the same time that is does not matter, as long as both sides end with
// it.
//
// A direction that the domain's use case does not replicate ends nothing of
// the other: its passwords are given up by whoever applies changes, and would
// take the other's with them.

// twins are what the other direction has open for a change's pair.
type twins struct {
	newest identity.Seq // accepted; 0: none
	entry  identity.Entry
	// endsOurs: a newer one of theirs ends ours; endsTheirs the other way round.
	endsOurs, endsTheirs bool
}

// twinsOf looks for the newest password of the other direction.
func (b *batch) twinsOf(c identity.Change) (t twins, err error) {
	if c.Kind.IsState() {
		return t, nil
	}
	link, err := linkOf(b.txn, c)
	if errors.Is(err, ErrNotFound) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	other := passwordOf(link, identity.Sync)
	if c.Direction == identity.Sync {
		other = passwordOf(link, identity.Import)
	}
	if t.newest, t.entry, err = newestOf(b.txn, keyNewest(other)); err != nil || t.newest == 0 {
		return t, err
	}
	if t.endsTheirs, err = replicates(b.txn, c.Account.Domain, c.Direction); err == nil && stands(t.entry) {
		t.endsOurs, err = replicates(b.txn, c.Account.Domain, other.Direction)
	}
	return t, err
}

// passwordOf is a password change of a pair in a direction, as far as
// [keyNewest] needs it.
func passwordOf(link identity.Link, d identity.Direction) identity.Change {
	c := identity.Change{Direction: d, Account: identity.Account{Domain: link.Domain, GUID: link.GUID}}
	if d == identity.Sync {
		c.CloudID = link.JumpCloudID
	}
	return c
}

// linkOf is the link of the account or user that a change is about.
func linkOf(txn *badger.Txn, c identity.Change) (link identity.Link, err error) {
	if c.CloudID == "" {
		return userLinks.get(txn, c.Account.Domain, c.Account.GUID)
	}
	if link, err = userLinks.find(txn, c.CloudID); err == nil && link.Domain != c.Account.Domain {
		err = ErrNotFound // it is another domain's
	}
	return link, err
}

// stands reports whether an accepted password still counts: one that somebody
// gave up does not.
func stands(e identity.Entry) bool { return e.Status != identity.StatusDiscarded }

// replicates reports whether changes of a domain travel in a direction; of one
// that is not registered they may.
func replicates(txn *badger.Txn, domain string, d identity.Direction) (bool, error) {
	var registered Domain
	err := get(txn, []byte(prefixDomain+domain), &registered)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && registered.UseCase == "":
		return true, nil
	case err != nil:
		return false, fmt.Errorf("registration of %q: %w", domain, err)
	case d == identity.Sync:
		return identity.UseCase(registered.UseCase).Syncs(), nil
	}
	return identity.UseCase(registered.UseCase).Imports(), nil
}

// join keeps the rule for two that are linked only now.
func (b *batch) join(link identity.Link) {
	if err := b.joinPasswords(link); err != nil && b.err == nil {
		b.err = fmt.Errorf("passwords of account %s and JumpCloud user %s: %w", link.GUID, link.JumpCloudID, err)
	}
}

func (b *batch) joinPasswords(link identity.Link) error {
	importSeq, imported, err := newestOf(b.txn, keyNewest(passwordOf(link, identity.Import)))
	if err != nil {
		return err
	}
	syncSeq, synced, err := newestOf(b.txn, keyNewest(passwordOf(link, identity.Sync)))
	if err != nil || importSeq == 0 || syncSeq == 0 {
		return err
	}
	older, newer, by, direction := imported, synced, syncSeq, identity.Sync
	if syncSeq < importSeq {
		older, newer, by, direction = synced, imported, importSeq, identity.Import
	}
	ends, err := replicates(b.txn, link.Domain, direction)
	if err != nil || !ends || !stands(newer) || !isOpen(older.Status) {
		return err
	}
	_, err = b.record(older, Record{Type: RecordSuperseded, By: by})
	return err
}

// Passwords returns the passwords of a change's pair in both directions, newest
// first. What retention removed is missing.
func (s *Store) Passwords(c identity.Change) (entries []identity.Entry, err error) {
	err = s.view(func(txn *badger.Txn) error {
		subjects := [][]byte{subjectKey(c)}
		link, err := linkOf(txn, c)
		switch {
		case err == nil:
			subjects = [][]byte{accountKey(link.GUID, ""), cloudKey(link.JumpCloudID)}
		case !errors.Is(err, ErrNotFound):
			return fmt.Errorf("link: %w", err)
		}
		found := make(map[identity.Seq]identity.Entry)
		for _, subject := range subjects {
			err := scan(txn, append([]byte(prefixAccount), subject...), nil, true, func(item *badger.Item) (bool, error) {
				e, err := getEntry(txn, seqOf(item.Key()))
				if err == nil && !e.Kind.IsState() && e.Account.Domain == c.Account.Domain {
					found[e.Seq] = e
				}
				return true, err
			})
			if err != nil {
				return err
			}
		}
		entries = slices.SortedFunc(maps.Values(found), func(a, b identity.Entry) int { return cmp.Compare(b.Seq, a.Seq) })
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("passwords of the pair of change %d: %w", c.Seq, err)
	}
	return entries, nil
}
