package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

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
	// Verdicts are those that are not what they were.
	Verdicts []Verdict
	// Sync is what was learnt of JumpCloud at the same time.
	Sync SyncBatch
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
	if err == nil {
		err = s.appendParts(ctx, parts)
	}
	if err != nil {
		return fmt.Errorf("append import of %q: %w", domain, err)
	}
	return nil
}

func (s *Store) appendParts(ctx context.Context, parts [][]step) error {
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
			return err
		}
	}
	return nil
}

// SyncBatch is what the reader of JumpCloud learnt of a domain at once.
type SyncBatch struct {
	// Cursor says how far the reader has come, under the name CursorName; an
	// empty name: it has none.
	CursorName string
	Cursor     []byte
	// Changes are the changes of state that follow, known by CloudID. Seq, At,
	// Direction and the domain are assigned. They are pending at once, those of
	// Held are held.
	Changes []identity.Change
	Held    []HeldChange
	// Verdicts are those that are not what they were.
	Verdicts []Verdict
}

// AppendSync records changes of state of JumpCloud's users and groups and
// moves the cursor of their reader, as [Store.AppendImport] does for AD: in one
// transaction, or in several of which the first removes the cursor and the
// last one sets it.
func (s *Store) AppendSync(ctx context.Context, domain string, in SyncBatch) error {
	domain = strings.ToLower(domain)
	parts, err := in.parts(domain)
	if err == nil {
		err = s.appendParts(ctx, parts)
	}
	if err != nil {
		return fmt.Errorf("append sync of %q: %w", domain, err)
	}
	return nil
}

func (in *SyncBatch) parts(domain string) ([][]step, error) {
	if err := errors.Join(checkName("domain", domain), in.check()); err != nil {
		return nil, err
	}
	p := partition{domain: domain}
	in.add(&p)
	return p.parts, p.err
}

func (in *SyncBatch) check() error {
	err := checkBatch(in.Changes, in.Held, in.Verdicts)
	if in.CursorName != "" {
		err = errors.Join(err, checkCursor(in.CursorName, in.Cursor))
	}
	return err
}

func (in *SyncBatch) add(p *partition) {
	p.direction = identity.Sync
	p.changes(in.Changes, in.Held)
	for _, v := range in.Verdicts {
		p.verdict(p.domain, v)
	}
	if in.CursorName != "" {
		p.cursor(in.CursorName, in.Cursor)
	}
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
	p := partition{domain: domain, direction: identity.Import}
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
	p.changes(in.Changes, in.Held)
	for _, v := range in.Verdicts {
		p.verdict(domain, v)
	}
	in.Sync.add(&p)
	p.cursor(in.CursorName, in.Cursor)
	return p.parts, p.err
}

func (in *ImportBatch) check(domain string) error {
	err := errors.Join(checkName("domain", domain), checkCursor(in.CursorName, in.Cursor), checkBatch(in.Changes, in.Held, in.Verdicts), in.Sync.check())
	for _, c := range in.Changes {
		err = errors.Join(err, checkImported(c))
	}
	for _, h := range in.Held {
		err = errors.Join(err, checkImported(h.Change))
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

func checkImported(c identity.Change) error {
	if c.Account.GUID.IsZero() {
		return fmt.Errorf("change of %q: want an objectGUID", c.Account.DN)
	}
	return nil
}

// checkBatch checks what batches of both directions have.
func checkBatch(changes []identity.Change, held []HeldChange, verdicts []Verdict) (err error) {
	for _, h := range held {
		changes = append(changes[:len(changes):len(changes)], h.Change)
		err = errors.Join(err, checkName("class", h.Class))
	}
	for _, c := range changes {
		if !c.Kind.IsState() {
			err = errors.Join(err, fmt.Errorf("change of %q: want a kind of state, not %q", c.Account.DN+c.CloudID, c.Kind))
		}
	}
	for _, v := range verdicts {
		err = errors.Join(err, checkVerdict(v))
	}
	return err
}

// partition divides steps into transactions.
type partition struct {
	domain    string
	direction identity.Direction

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

func (p *partition) changes(changes []identity.Change, held []HeldChange) {
	for _, c := range changes {
		p.change(HeldChange{Change: c})
	}
	for _, h := range held {
		p.change(h)
	}
}

// cursor comes last. Several transactions begin with its removal.
func (p *partition) cursor(name string, value []byte) {
	key := []byte(prefixCursor + name)
	p.add(len(value), func(b *batch) { b.set(key, append([]byte(nil), value...)) })
	if len(p.parts) > 1 {
		p.parts[0] = append([]step{func(b *batch) { b.deleteIf(key) }}, p.parts[0]...)
	}
}

// changeCost is what a change takes beside its own words, which are written
// four times: intent and states.
const changeCost = 2 << 10

func (p *partition) change(h HeldChange) {
	h.Change.Direction, h.Change.Account.Domain = p.direction, p.domain
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
