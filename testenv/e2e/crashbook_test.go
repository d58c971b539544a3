package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// book is what both sides really did, written down by the peers that stand
// before them: no log of dirgate's own is believed.
type book struct {
	mu    sync.Mutex
	byDN  map[string]*page // guarded by mu
	byID  map[string]*page // by JumpCloud id; guarded by mu
	wrong []string         // violations that cannot be seen later; guarded by mu
}

// page is one account's.
type page struct {
	name, dn, id string
	// accepted are the passwords that the DC accepted, in its order; the first
	// is the one the account began with.
	accepted []string
	refused  int      // changes that the DC refused
	written  []string // passwords that JumpCloud accepted, in its order
}

func newBook() *book {
	return &book{byDN: make(map[string]*page), byID: make(map[string]*page)}
}

func (b *book) open(name, dn, id, password string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &page{name: name, dn: dn, id: id, accepted: []string{password}}
	b.byDN[strings.ToLower(dn)], b.byID[id] = p, p
}

// wrongf notes a violation.
func (b *book) wrongf(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrongLocked(format, args...)
}

func (b *book) wrongLocked(format string, args ...any) {
	b.wrong = append(b.wrong, fmt.Sprintf(format, args...))
}

// answeredByDC writes down what the DC answered to a change.
func (b *book) answeredByDC(dn, password string, accepted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.byDN[strings.ToLower(dn)]
	switch {
	case p == nil:
		b.wrongLocked("a change of %s was sent, which nobody asked for", dn)
	case !accepted:
		p.refused++
	case slices.Contains(p.accepted, password):
		b.wrongLocked("%s: one change was sent to the DC twice", p.name)
	default:
		p.accepted = append(p.accepted, password)
	}
}

// answeredByJumpCloud writes down what JumpCloud answered to a write.
func (b *book) answeredByJumpCloud(id, password string, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.byID[id]
	if p == nil {
		b.wrongLocked("a password was written to user %s, who has no pair", id)
		return
	}
	n := slices.Index(p.accepted, password)
	switch {
	case n < 0:
		b.wrongLocked("%s: JumpCloud was sent a password that the DC never accepted", p.name)
	case status == 429 || status >= 500: // not now
	case status != 200:
		b.wrongLocked("%s: JumpCloud answered %d to password %d", p.name, status, n)
	case slices.Contains(p.written, password):
		b.wrongLocked("%s: password %d was applied twice", p.name, n)
	case len(p.written) > 0 && n < slices.Index(p.accepted, p.written[len(p.written)-1]):
		b.wrongLocked("%s: password %d was applied after a newer one", p.name, n)
	default:
		p.written = append(p.written, password)
	}
}

func (b *book) isAccepted(dn, password string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.byDN[strings.ToLower(dn)].accepted, password)
}

// present is the password that the DC has.
func (b *book) present(dn string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	accepted := b.byDN[strings.ToLower(dn)].accepted
	return accepted[len(accepted)-1]
}

// behind names an account whose newest password JumpCloud does not have,
// those apart.
func (b *book) behind(apart map[string]bool) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for dn, p := range b.byDN {
		if !apart[dn] && len(p.accepted) > 1 && (len(p.written) == 0 || p.written[len(p.written)-1] != p.accepted[len(p.accepted)-1]) {
			return p.name, true
		}
	}
	return "", false
}

func (b *book) violations() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.wrong)
}

func (b *book) pages() []page {
	b.mu.Lock()
	defer b.mu.Unlock()
	var pages []page
	for _, p := range b.byDN {
		c := *p
		c.accepted, c.written = slices.Clone(p.accepted), slices.Clone(p.written)
		pages = append(pages, c)
	}
	return pages
}

// replay is the change log as `changelog tail` printed it, put together by
// rules of its own.
type replay struct {
	last    identity.Seq
	changes map[identity.Seq]*replayed
	states  map[identity.Seq]bool // changes of the import, which are not judged
	wrong   []string
	types   []store.RecordType // of records 1 to last
}

type replayed struct {
	dn                string
	kind              identity.ChangeKind
	accepted, refused bool
	end               store.RecordType // the record that ended it; empty: it is open
	attempts, probes  int
	applied           bool
}

func newReplay() *replay {
	return &replay{changes: make(map[identity.Seq]*replayed), states: make(map[identity.Seq]bool)}
}

func (r *replay) add(rec store.Record) {
	if rec.Seq != r.last+1 {
		r.wrong = append(r.wrong, fmt.Sprintf("record %d follows record %d", rec.Seq, r.last))
	}
	r.last = rec.Seq
	r.types = append(r.types, rec.Type)
	if rec.Type == store.RecordIntent && rec.Intent.Kind.IsState() {
		r.states[rec.Seq] = true
		return
	}
	if r.states[rec.Change] {
		return
	}
	if rec.Type == store.RecordIntent {
		r.changes[rec.Seq] = &replayed{dn: rec.Intent.Account.DN, kind: rec.Intent.Kind}
		return
	}
	c := r.changes[rec.Change]
	if c == nil {
		if rec.Change != 0 {
			r.wrong = append(r.wrong, fmt.Sprintf("record %d (%s) is about change %d, which has no intent", rec.Seq, rec.Type, rec.Change))
		}
		return
	}
	switch rec.Type {
	case store.RecordAccepted:
		c.accepted = true
	case store.RecordRefused:
		c.refused, c.end = true, rec.Type
	case store.RecordAttempt:
		c.attempts++
	case store.RecordProbe:
		c.probes++
	case store.RecordApplied:
		c.applied = true
		if c.end == "" {
			c.end = rec.Type
		}
	case store.RecordSuperseded, store.RecordDiscarded, store.RecordDead:
		c.end = rec.Type
	case store.RecordRetried:
		c.end = ""
	}
}

// lastOf is the type of the last record after the one of that number; empty:
// there is none.
func (r *replay) lastOf(after identity.Seq) store.RecordType {
	if r.last <= after {
		return ""
	}
	return r.types[len(r.types)-1]
}

// probing lists the accounts with a change that a bind was made for and that
// is not settled.
func (r *replay) probing() map[string]bool {
	dns := make(map[string]bool)
	for _, c := range r.changes {
		if c.probes > 0 && !c.accepted && c.end == "" {
			dns[strings.ToLower(c.dn)] = true
		}
	}
	return dns
}

// unlike compares the log with what both sides did: every change the DC
// accepted is in it as accepted and came to an end, and nothing else is.
func (r *replay) unlike(pages []page) []string {
	wrong := slices.Clone(r.wrong)
	type count struct{ accepted, applied, cut, open, probed int }
	counts := make(map[string]*count)
	for seq, c := range r.changes {
		n := counts[strings.ToLower(c.dn)]
		if n == nil {
			n = new(count)
			counts[strings.ToLower(c.dn)] = n
		}
		switch {
		case c.accepted && c.refused:
			wrong = append(wrong, fmt.Sprintf("change %d is accepted and refused", seq))
		case c.accepted && c.kind == identity.PasswordBind: // nobody asked for it
		case c.accepted:
			n.accepted++
		case c.attempts > 0 || c.applied:
			wrong = append(wrong, fmt.Sprintf("change %d was applied and never accepted", seq))
		case c.probes > 0:
			n.probed++
		}
		if c.end == store.RecordDead || c.end == store.RecordDiscarded {
			wrong = append(wrong, fmt.Sprintf("change %d of %s ended as %s", seq, c.dn, c.end))
		}
		switch {
		case c.applied:
			n.applied++
		case c.end == store.RecordSuperseded && c.attempts > 0:
			n.cut++ // while it was being written
		}
		if c.accepted && c.end == "" {
			n.open++
		}
	}
	for _, p := range pages {
		n := counts[strings.ToLower(p.dn)]
		if n == nil {
			n = new(count)
		}
		// A change whose only bind the kill met waits ten minutes for another.
		if missing := len(p.accepted) - 1 - n.accepted; missing < 0 || missing > n.probed {
			wrong = append(wrong, fmt.Sprintf("%s: the DC accepted %d changes, the log has %d accepted", p.name, len(p.accepted)-1, n.accepted))
		}
		if n.open > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %d accepted changes have not come to an end", p.name, n.open))
		}
		if extra := len(p.written) - n.applied; extra < 0 || extra > n.cut {
			wrong = append(wrong, fmt.Sprintf("%s: JumpCloud accepted %d passwords, the log has %d applied", p.name, len(p.written), n.applied))
		}
	}
	return wrong
}
