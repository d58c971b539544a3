package store

import (
	"context"
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

// NewestState returns the newest change of state of an account or group, or
// wraps ErrNotFound: retention may have removed it.
func (s *Store) NewestState(domain string, guid identity.GUID) (e identity.Entry, err error) {
	key := keyNewest(identity.Change{Kind: identity.UserChange, Direction: identity.Import,
		Account: identity.Account{Domain: strings.ToLower(domain), GUID: guid}})
	err = s.view(func(txn *badger.Txn) error {
		var seq identity.Seq
		if err := get(txn, key, &seq); err != nil {
			return err
		}
		e, err = getEntry(txn, seq)
		return err
	})
	if err != nil {
		return identity.Entry{}, fmt.Errorf("newest change of state of %s: %w", guid, err)
	}
	return e, nil
}

// ImportBatch is what a reader of a domain learnt at once.
type ImportBatch struct {
	// Users and Groups are put into the mirror, Gone are taken out of it.
	Users  []identity.User
	Groups []identity.Group
	Gone   []identity.GUID
	// Cursor says how far the reader has come, under the name CursorName.
	CursorName string
	Cursor     []byte
	// Changes are the changes of state that follow; Seq, At, Direction and the
	// domain are assigned. They are pending at once, those of Held are held.
	Changes []identity.Change
	Held    []HeldChange
}

// HeldChange is a change that a guard holds from the beginning.
type HeldChange struct {
	Change        identity.Change
	Class, Reason string
}

// AppendImport brings the mirror of a domain up to date, records the changes
// that follow from it and moves the cursor, all in one transaction (rule L1).
//
// What does not fit into one (some hundred objects) goes into several. The
// first of them removes the cursor and the last one sets it: a reader that
// finds none has to compare everything with JumpCloud, and not only with the
// mirror, so whatever was cut short is found again. Changes follow after the
// mirror, so that who applies one finds what it is about.
func (s *Store) AppendImport(ctx context.Context, domain string, in ImportBatch) error {
	domain = strings.ToLower(domain)
	parts, err := in.parts(domain)
	if err != nil {
		return fmt.Errorf("append import of %q: %w", domain, err)
	}
	for _, part := range parts {
		err := s.submit(ctx, func(b *batch) error {
			if err := b.store.room(); err != nil {
				return err
			}
			for _, step := range part {
				step(b)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("append import of %q: %w", domain, err)
		}
	}
	return nil
}

// importPart bounds a transaction, in bytes as partition reckons them: Badger
// takes some 1.2 MB with the memtables that we give it.
const importPart = 256 << 10

// step stages one thing; what fails fails the batch.
type step func(*batch)

func (in *ImportBatch) parts(domain string) ([][]step, error) {
	if err := in.check(domain); err != nil {
		return nil, err
	}
	var p partition
	for _, u := range in.Users {
		p.value(keyMirror(domain, mirrorUser, u.GUID), u)
	}
	for _, g := range in.Groups {
		p.value(keyMirror(domain, mirrorGroup, g.GUID), g)
	}
	for _, guid := range in.Gone {
		p.add(200, func(b *batch) {
			b.deleteIf(keyMirror(domain, mirrorUser, guid))
			b.deleteIf(keyMirror(domain, mirrorGroup, guid))
		})
	}
	for _, c := range in.Changes {
		p.change(domain, HeldChange{Change: c})
	}
	for _, h := range in.Held {
		p.change(domain, h)
	}
	cursor := []byte(prefixCursor + in.CursorName)
	p.add(len(in.Cursor), func(b *batch) { b.set(cursor, append([]byte(nil), in.Cursor...)) })
	if len(p.parts) > 1 {
		p.parts[0] = append([]step{func(b *batch) { b.deleteIf(cursor) }}, p.parts[0]...)
	}
	return p.parts, p.err
}

func (in *ImportBatch) check(domain string) error {
	err := errors.Join(checkName("domain", domain), checkName("name of cursor", in.CursorName))
	if len(in.Cursor) > maxCursor {
		err = errors.Join(err, fmt.Errorf("cursor of %d bytes, and at most %d are stored", len(in.Cursor), maxCursor))
	}
	check := func(c identity.Change) {
		if !c.Kind.IsState() || c.Account.GUID.IsZero() {
			err = errors.Join(err, fmt.Errorf("change of %q: want a kind of state, not %q, and an objectGUID", c.Account.DN, c.Kind))
		}
	}
	for _, c := range in.Changes {
		check(c)
	}
	for _, h := range in.Held {
		check(h.Change)
		err = errors.Join(err, checkName("class", h.Class))
	}
	for _, u := range in.Users {
		if u.GUID.IsZero() {
			err = errors.Join(err, fmt.Errorf("user %q has no objectGUID", u.DN))
		}
	}
	for _, g := range in.Groups {
		if g.GUID.IsZero() {
			err = errors.Join(err, fmt.Errorf("group %q has no objectGUID", g.DN))
		}
	}
	return err
}

// partition divides steps into transactions.
type partition struct {
	parts [][]step
	size  int // of the last part
	err   error
}

func (p *partition) add(size int, s step) {
	if len(p.parts) == 0 || p.size+size > importPart {
		p.parts, p.size = append(p.parts, nil), 0
	}
	last := len(p.parts) - 1
	p.parts[last] = append(p.parts[last], s)
	p.size += size
}

func (p *partition) value(key []byte, v any) {
	value, err := encode(v)
	if err != nil {
		p.err = errors.Join(p.err, err)
		return
	}
	p.add(len(key)+len(value), func(b *batch) { b.set(key, value) })
}

// changeCost is what a change takes beside its own words, which are written
// four times: intent and states.
const changeCost = 2 << 10

func (p *partition) change(domain string, h HeldChange) {
	h.Change.Direction, h.Change.Account.Domain = identity.Import, domain
	if err := checkChange(&h.Change); err != nil {
		p.err = errors.Join(p.err, err)
		return
	}
	words := len(h.Change.Account.DN) + len(h.Change.Account.SAM) + len(h.Change.Actor)
	p.add(changeCost+4*words, func(b *batch) {
		e, err := b.begin(h.Change, nil)
		if err == nil {
			err = b.accept(e, Record{Type: RecordAccepted})
		}
		if err == nil && h.Class != "" {
			if e, err = getEntry(b.txn, e.Seq); err == nil {
				_, err = b.record(e, Record{Type: RecordHeld, Class: h.Class, Reason: h.Reason})
			}
		}
		b.must(e, err)
	})
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
