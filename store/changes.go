package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// AppendIntent records that a change is about to be sent to the side it is
// made on, and seals its password. Both are on disk when it returns the number
// of the change; Seq and At of c are assigned. The caller keeps password, and
// must not wipe it before AppendIntent has returned.
func (s *Store) AppendIntent(ctx context.Context, c identity.Change, password secret.Bytes) (identity.Seq, error) {
	if err := checkChange(&c); err != nil {
		return 0, fmt.Errorf("append intent: %w", err)
	}
	var seq identity.Seq
	err := s.submit(ctx, func(b *batch) error {
		e, err := b.intend(c, password)
		seq = e.Seq
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("append intent: %w", err)
	}
	return seq, nil
}

// intend stages the intent of a change and its sealed password.
func (b *batch) intend(change identity.Change, password secret.Bytes) (identity.Entry, error) {
	if err := b.store.room(); err != nil {
		return identity.Entry{}, err
	}
	change.Seq, change.At = b.last+1, b.at
	sealed, err := b.store.sealer.Seal(password, secretAAD(change))
	if err != nil {
		return identity.Entry{}, err
	}
	b.store.sealed.Store(true)
	digest := sha256.Sum256(sealed)
	e, err := b.begin(change, digest[:])
	if err != nil {
		return identity.Entry{}, err
	}
	b.set(keySeq(prefixSecret, e.Seq), sealed)
	return e, nil
}

// begin stages the intent of a change.
func (b *batch) begin(change identity.Change, sealed []byte) (identity.Entry, error) {
	e, err := b.record(identity.Entry{}, Record{Type: RecordIntent, Intent: &change, Sealed: sealed})
	if err != nil {
		return identity.Entry{}, err
	}
	for _, key := range accountKeys(e.Change) {
		b.set(key, nil)
	}
	return e, nil
}

func checkChange(c *identity.Change) error {
	c.Account.Domain = strings.ToLower(c.Account.Domain)
	c.Actor = clip(c.Actor, maxReason)
	switch {
	case c.Direction != identity.Import && c.Direction != identity.Sync:
		return fmt.Errorf("direction %q: want %s or %s", c.Direction, identity.Import, identity.Sync)
	case c.Kind == "":
		return errors.New("the change has no kind")
	case (c.Direction == identity.Sync) != (c.CloudID != ""):
		return fmt.Errorf("JumpCloud id %q: want one for direction %s, and for no other", c.CloudID, identity.Sync)
	case len(c.CloudID) > maxCloudID:
		return fmt.Errorf("the JumpCloud id is longer than %d bytes", maxCloudID)
	case c.CloudID == "" && c.Account.GUID.IsZero() && c.Account.DN == "":
		return errors.New("the account has neither objectGUID nor DN")
	case len(c.Account.DN) > maxName || len(c.Account.SAM) > maxName:
		return fmt.Errorf("a name of the account is longer than %d bytes", maxName)
	}
	return checkName("domain", c.Account.Domain)
}

// checkName refuses what would not be unique as part of a key.
func checkName(what, name string) error {
	if name == "" || len(name) > 255 || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%s %q: want 1 to 255 bytes without NUL", what, name)
	}
	return nil
}

// Settle records how the side where the change was made answered.
//
// Accepted makes an unsettled change pending. In the same transaction older
// pending and dead changes of the account in that direction are superseded
// and their passwords deleted: they are no longer true. Where both directions
// replicate, so are those of the user that is linked with the account (see
// twins.go). A change that is
// accepted after a newer one was is superseded itself. Refused deletes the
// password. Unknown leaves the change unsettled, with the reason.
//
// Settling again in the same way does nothing; in another way it is an error
// that wraps [ErrState].
func (s *Store) Settle(ctx context.Context, seq identity.Seq, outcome identity.Outcome, reason string) error {
	types := map[identity.Outcome]RecordType{
		identity.OutcomeAccepted: RecordAccepted, identity.OutcomeRefused: RecordRefused, identity.OutcomeUnknown: RecordUnknown,
	}
	record, ok := types[outcome]
	if !ok {
		return fmt.Errorf("settle change %d: outcome %q is not known", seq, outcome)
	}
	return s.transition(ctx, "settle", seq, func(b *batch, e identity.Entry) error {
		if outcome == identity.OutcomeAccepted {
			return b.accept(e, Record{Type: RecordAccepted, Reason: reason})
		}
		_, err := b.record(e, Record{Type: record, Reason: reason})
		return err
	})
}

// IdentifyAccount records which AD account a change of direction sync is about,
// where the intent could not know: one that sync has made or taken over. From
// then on the change is listed with the others of that account. The domain of
// the intent holds. One that is known to be about another account is an error
// that wraps [ErrState].
func (s *Store) IdentifyAccount(ctx context.Context, seq identity.Seq, account identity.Account) error {
	if account.GUID.IsZero() || len(account.DN) > maxName || len(account.SAM) > maxName {
		return fmt.Errorf("identify account of change %d: want an objectGUID and names of at most %d bytes", seq, maxName)
	}
	return s.transition(ctx, "identify account of", seq, func(b *batch, e identity.Entry) error {
		account.Domain = e.Account.Domain
		known, err := b.record(e, Record{Type: RecordAccount, Account: &account})
		if err == nil {
			b.reindex(e.Change, known.Change)
		}
		return err
	})
}

// SettleAccount records that a change was accepted, like [Store.Settle], and
// which account it was made on, where the intent could not know: an account
// that was created with the password. From then on the change is one of that
// account, in its order with the others. When the intent knew the objectGUID
// that one holds, and so does the domain of the intent in any case.
func (s *Store) SettleAccount(ctx context.Context, seq identity.Seq, account identity.Account, reason string) error {
	if account.GUID.IsZero() || len(account.DN) > maxName || len(account.SAM) > maxName {
		return fmt.Errorf("settle change %d: want an account with objectGUID and names of at most %d bytes", seq, maxName)
	}
	return s.transition(ctx, "settle", seq, func(b *batch, e identity.Entry) error {
		r := Record{Type: RecordAccepted, Reason: reason}
		if e.Account.GUID.IsZero() {
			account.Domain = e.Account.Domain
			r.Account = &account
		}
		return b.accept(e, r)
	})
}

// accept makes a change pending and keeps the rule that of each account and
// direction only the newest accepted password, and only the newest accepted
// change of state, is pending, dead or held.
func (b *batch) accept(e identity.Entry, r Record) error {
	change := e.Change
	if r.Account != nil {
		change.Account = *r.Account
	}
	key := keyNewest(change)
	newest, other, err := newestOf(b.txn, key)
	if err != nil {
		return err
	}
	twins, err := b.twinsOf(change)
	if err != nil {
		return err
	}
	accepted, err := b.record(e, r)
	if err != nil {
		return err
	}
	if r.Account != nil {
		b.reindex(e.Change, accepted.Change)
	}
	by := newest
	if twins.endsOurs {
		by = max(by, twins.newest)
	}
	if by > e.Seq {
		b.must(b.record(accepted, Record{Type: RecordSuperseded, By: by}))
	}
	if newest > e.Seq {
		return nil
	}
	if isOpen(other.Status) {
		b.must(b.record(other, Record{Type: RecordSuperseded, By: e.Seq}))
	}
	if twins.endsTheirs && twins.newest < e.Seq && isOpen(twins.entry.Status) {
		b.must(b.record(twins.entry, Record{Type: RecordSuperseded, By: e.Seq}))
	}
	b.setValue(key, e.Seq)
	return nil
}

// newestOf reads what a key below prefixNewest names; zero: there was none. The
// entry is empty where retention removed it.
func newestOf(txn *badger.Txn, key []byte) (seq identity.Seq, e identity.Entry, err error) {
	if err = get(txn, key, &seq); err == nil {
		e, err = getEntry(txn, seq)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, e, fmt.Errorf("newest change of the account: %w", err)
	}
	return seq, e, nil
}

// reindex moves a change in the index of accounts.
func (b *batch) reindex(from, to identity.Change) {
	for _, key := range accountKeys(from) {
		b.delete(key)
	}
	for _, key := range accountKeys(to) {
		b.set(key, nil)
	}
}

// BeginProbe records that a bind with the new password is about to tell
// whether an unsettled change was accepted. It is on disk before the bind, so
// that a process that dies and starts again and again does not use up the
// account's lockout budget. An error that wraps [ErrState] means that the
// change was settled meanwhile.
func (s *Store) BeginProbe(ctx context.Context, seq identity.Seq) error {
	return s.record(ctx, "begin probe of", seq, Record{Type: RecordProbe})
}

// BeginAttempt records that a pending change is about to be written to the
// other side, and what was read there just before: the evidence by which an
// attempt that ends without an answer is judged. It must not be empty. An
// error that wraps [ErrState] means that the change is no longer pending: do
// not write.
func (s *Store) BeginAttempt(ctx context.Context, seq identity.Seq, evidence string) error {
	if evidence == "" || len(evidence) > maxEvidence {
		return fmt.Errorf("begin attempt of change %d: want evidence of 1 to %d bytes", seq, maxEvidence)
	}
	return s.record(ctx, "begin attempt of", seq, Record{Type: RecordAttempt, Evidence: evidence})
}

// MarkApplied records that the other side has the change, stores link (unless
// nil) and deletes the password. What a stored link keeps beside the password
// and the username stays as it is ([Store.ChangeLink]). Of a change that was superseded or discarded
// meanwhile the log says so and the status stays. When the link conflicts
// with another the error wraps [ErrLinkConflict] and nothing is recorded.
func (s *Store) MarkApplied(ctx context.Context, seq identity.Seq, link *identity.Link) error {
	return s.transition(ctx, "mark applied", seq, func(b *batch, e identity.Entry) error {
		done := Record{Type: RecordApplied}
		if !e.Kind.IsState() && (e.Status == identity.StatusSuperseded || e.Status == identity.StatusDiscarded) {
			done.Type = RecordLanded
		}
		if link == nil {
			_, err := b.record(e, done)
			return err
		}
		given, stored, err := checkLink(b.txn, *link)
		if err != nil {
			return err
		}
		if stored != nil {
			given = withPassword(*stored, given)
		}
		if _, err = b.record(e, done); err != nil {
			return err
		}
		b.putLink(given, stored == nil)
		return nil
	})
}

// Defer records that an attempt ended without effect and when the next may
// begin. The evidence is cleared: call it only when it is certain that the
// write was not carried out, and [Store.Postpone] when none was sent.
func (s *Store) Defer(ctx context.Context, seq identity.Seq, next time.Time, reason string) error {
	return s.record(ctx, "defer", seq, Record{Type: RecordDeferred, NextTry: next.UTC().Round(0), Reason: reason})
}

// DeferUnknown records that an attempt was sent and not answered. The
// evidence is kept for the next attempt to judge by.
func (s *Store) DeferUnknown(ctx context.Context, seq identity.Seq, next time.Time, reason string) error {
	return s.record(ctx, "defer", seq, Record{Type: RecordUnanswered, NextTry: next.UTC().Round(0), Reason: reason})
}

// Postpone records that a change could not even be sent now. It counts as an
// attempt, and leaves the evidence of an earlier one as it is.
func (s *Store) Postpone(ctx context.Context, seq identity.Seq, next time.Time, reason string) error {
	return s.record(ctx, "postpone", seq, Record{Type: RecordPostponed, NextTry: next.UTC().Round(0), Reason: reason})
}

// MarkDead records that the other side refused the change for good. The
// password is kept, for [Store.Retry].
func (s *Store) MarkDead(ctx context.Context, seq identity.Seq, reason string) error {
	return s.record(ctx, "mark dead", seq, Record{Type: RecordDead, Reason: reason})
}

// Retry makes a dead change pending again, and a pending one due now.
func (s *Store) Retry(ctx context.Context, seq identity.Seq) error {
	return s.record(ctx, "retry", seq, Record{Type: RecordRetried})
}

// Discard gives a change up and deletes its password. A superseded one is
// given up already.
func (s *Store) Discard(ctx context.Context, seq identity.Seq, reason string) error {
	return s.record(ctx, "discard", seq, Record{Type: RecordDiscarded, Reason: reason})
}

// record appends one record about a change.
func (s *Store) record(ctx context.Context, doing string, seq identity.Seq, r Record) error {
	return s.transition(ctx, doing, seq, func(b *batch, e identity.Entry) error {
		_, err := b.record(e, r)
		return err
	})
}

// transition has the appender do something to a change, and takes "no change"
// for success.
func (s *Store) transition(ctx context.Context, doing string, seq identity.Seq, do func(*batch, identity.Entry) error) error {
	err := s.submit(ctx, func(b *batch) error {
		e, err := getEntry(b.txn, seq)
		if err != nil {
			return err
		}
		return do(b, e)
	})
	if err != nil && !errors.Is(err, errSame) {
		return fmt.Errorf("%s change %d: %w", doing, seq, err)
	}
	return nil
}
