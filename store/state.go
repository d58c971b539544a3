package store

import (
	"errors"
	"fmt"

	"github.com/dirgate/dirgate/store/identity"
)

// errSame says that a record would change nothing: it is not written, and the
// caller is told that all is well. This is what makes the methods idempotent.
var errSame = errors.New("no change")

// next is the whole life of a change: what it is after a record. It is pure,
// so replaying a log gives the same states again. Its error is errSame or
// wraps ErrState; the record is not written then.
//
//	             accepted           applied
//	unsettled ------------> pending --------> applied
//	   |  |  refused          |  ^
//	   |  +-------> refused   |  | retried
//	   |                dead  v  |
//	   |                      dead
//	   | discarded            |
//	   +--------------------> discarded (from pending, dead and held too)
//
// A pending change of state can be held, and is pending again when it was
// approved. Pending, dead and held changes become superseded by a newer
// accepted one of the same class: passwords by passwords, of a linked account
// also by those of the other direction, states by states of their own. What
// was in flight at that moment may still end: that is recorded, and the
// status stays.
func next(e identity.Entry, r Record) (identity.Entry, error) {
	before := e.Status
	var err error
	switch r.Type {
	case RecordIntent:
		err = begin(&e, r)
	case RecordAccepted, RecordRefused, RecordUnknown:
		err = settle(&e, r)
	case RecordProbe:
		err = probe(&e, r)
	case RecordAttempt, RecordApplied, RecordDeferred, RecordUnanswered, RecordPostponed, RecordDead:
		err = other(&e, r)
	case RecordLanded:
		err = landed(&e, r)
	case RecordRetried, RecordDiscarded, RecordSuperseded:
		err = decide(&e, r)
	case RecordHeld, RecordApproved:
		err = guard(&e, r)
	case RecordAccount:
		err = identify(&e, r)
	default:
		err = fmt.Errorf("record of type %q: %w", r.Type, ErrState)
	}
	if err != nil {
		return identity.Entry{}, err
	}
	if e.Status != before {
		e.Since = r.At
	}
	return e, nil
}

// hasSecret reports whether the password of a change of that status still has
// a use. The store deletes it in the transaction that ends this.
func hasSecret(s identity.Status) bool {
	return s == identity.StatusUnsettled || s == identity.StatusPending || s == identity.StatusDead
}

func begin(e *identity.Entry, r Record) error {
	if e.Status != "" || r.Intent == nil {
		return refuse(*e, r)
	}
	*e = identity.Entry{Change: *r.Intent, Status: identity.StatusUnsettled}
	return nil
}

// settle is the answer of the side where the change was made.
func settle(e *identity.Entry, r Record) error {
	switch {
	case e.Status == identity.StatusDiscarded:
		// A person decided first; the answer makes no difference any more.
		return errSame
	case e.Status == identity.StatusUnsettled:
	case r.Type == RecordRefused && e.Status == identity.StatusRefused:
		return errSame
	case r.Type == RecordAccepted && e.Status != identity.StatusRefused && e.Status != "":
		return errSame // whatever became of it, it was accepted
	default:
		return refuse(*e, r)
	}
	switch r.Type {
	case RecordAccepted:
		e.Status, e.Reason = identity.StatusPending, ""
		if r.Account != nil && e.Account.GUID.IsZero() {
			e.Account = *r.Account
		}
	case RecordRefused:
		e.Status, e.Reason = identity.StatusRefused, r.Reason
	case RecordUnknown:
		if e.Reason == r.Reason {
			return errSame
		}
		e.Reason = r.Reason
	}
	return nil
}

// probe is a look for the answer that was not seen.
func probe(e *identity.Entry, r Record) error {
	if e.Status != identity.StatusUnsettled {
		return refuse(*e, r)
	}
	e.Probes++
	return nil
}

// other is what happens between us and the other side.
func other(e *identity.Entry, r Record) error {
	switch e.Status {
	case identity.StatusPending:
	case identity.StatusSuperseded, identity.StatusDiscarded:
		return land(e, r)
	case identity.StatusApplied:
		if r.Type == RecordApplied {
			return errSame
		}
		return refuse(*e, r)
	case identity.StatusDead:
		if r.Type == RecordDead {
			return errSame
		}
		return refuse(*e, r)
	default:
		return refuse(*e, r)
	}
	switch r.Type {
	case RecordAttempt:
		e.Attempts++
		e.Evidence, e.NextTry = r.Evidence, r.NextTry
	case RecordApplied:
		e.Status, e.Reason, e.Evidence, e.NextTry = identity.StatusApplied, "", "", r.NextTry
	case RecordDeferred:
		e.Reason, e.Evidence, e.NextTry = r.Reason, "", r.NextTry
	case RecordUnanswered:
		if e.Evidence == "" {
			return fmt.Errorf("change %d: no attempt was begun: %w", e.Seq, ErrState)
		}
		e.Reason, e.NextTry = r.Reason, r.NextTry
	case RecordPostponed:
		e.Attempts++
		e.Reason, e.NextTry = r.Reason, r.NextTry
	case RecordDead:
		e.Status, e.Reason, e.Evidence, e.NextTry = identity.StatusDead, r.Reason, "", r.NextTry
	}
	return nil
}

// land ends an attempt whose change was superseded or discarded meanwhile.
func land(e *identity.Entry, r Record) error {
	switch {
	case r.Type == RecordAttempt:
		return refuse(*e, r)
	case e.Evidence == "" || r.Type == RecordPostponed || r.Type == RecordUnanswered:
		return errSame
	}
	e.Evidence = ""
	return nil
}

// landed is land of a password that the other side took. It tells when, because
// a newer password may have been set there before.
func landed(e *identity.Entry, r Record) error {
	switch {
	case e.Status != identity.StatusSuperseded && e.Status != identity.StatusDiscarded:
		return refuse(*e, r)
	case e.Evidence == "":
		return errSame
	}
	e.Evidence, e.Landed = "", r.At
	return nil
}

// decide is what a person, or a newer change, decides.
func decide(e *identity.Entry, r Record) error {
	switch {
	case r.Type == RecordRetried && e.Status == identity.StatusDead:
		e.Status, e.Attempts, e.NextTry = identity.StatusPending, 0, r.NextTry
	case r.Type == RecordRetried && e.Status == identity.StatusPending:
		if e.NextTry.IsZero() {
			return errSame
		}
		e.NextTry = r.NextTry
	case r.Type == RecordDiscarded && isOpen(e.Status):
		e.Status, e.Reason, e.NextTry = identity.StatusDiscarded, r.Reason, r.NextTry
	case r.Type == RecordDiscarded && (e.Status == identity.StatusDiscarded || e.Status == identity.StatusSuperseded):
		return errSame
	case r.Type == RecordSuperseded && isOpen(e.Status) && e.Status != identity.StatusUnsettled:
		e.Status, e.NextTry = identity.StatusSuperseded, r.NextTry
		e.Reason = fmt.Sprintf("change %d of the same account is newer", r.By)
	default:
		return refuse(*e, r)
	}
	return nil
}

// guard is what a safety threshold holds back, and a person lets pass.
func guard(e *identity.Entry, r Record) error {
	switch {
	case !e.Kind.IsState():
		return refuse(*e, r)
	case r.Type == RecordHeld && e.Status == identity.StatusPending && !e.Approved:
		e.Status, e.Class, e.Reason, e.NextTry = identity.StatusHeld, r.Class, r.Reason, r.NextTry
	case r.Type == RecordHeld && e.Status == identity.StatusHeld && e.Class == r.Class:
		return errSame
	case r.Type == RecordApproved && e.Status == identity.StatusHeld:
		e.Status, e.Approved, e.Attempts, e.Reason = identity.StatusPending, true, 0, r.Reason
	case r.Type == RecordApproved && e.Approved:
		return errSame
	default:
		return refuse(*e, r)
	}
	return nil
}

// identify fills in the AD account of a change that is known by JumpCloud's
// id; what became of the change makes no difference.
func identify(e *identity.Entry, r Record) error {
	switch {
	case e.CloudID == "" || r.Account == nil || r.Account.GUID.IsZero():
		return refuse(*e, r)
	case e.Account.GUID == r.Account.GUID:
		return errSame
	case !e.Account.GUID.IsZero():
		return fmt.Errorf("change %d is about account %s: %w", e.Seq, e.Account.GUID, ErrState)
	}
	e.Account = *r.Account
	return nil
}

func refuse(e identity.Entry, r Record) error {
	if e.Status == "" {
		return fmt.Errorf("record %q of change %d that does not exist: %w", r.Type, r.Change, ErrState)
	}
	return fmt.Errorf("record %q of change %d, which is %s: %w", r.Type, e.Seq, e.Status, ErrState)
}
