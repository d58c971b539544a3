package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// TestNextHeld is the rest of TestNext: changes of state, that can be held.
func TestNextHeld(t *testing.T) {
	const (
		pending, held       = identity.StatusPending, identity.StatusHeld
		dead, discarded     = identity.StatusDead, identity.StatusDiscarded
		superseded, applied = identity.StatusSuperseded, identity.StatusApplied
		unsettled           = identity.StatusUnsettled
	)
	table := []struct {
		event  RecordType
		before identity.Status
		want   identity.Status
	}{
		{RecordHeld, pending, held}, {RecordHeld, held, same}, {RecordHeld, unsettled, wrong}, {RecordHeld, dead, wrong},
		{RecordHeld, applied, wrong}, {RecordHeld, superseded, wrong}, {RecordHeld, discarded, wrong}, {RecordHeld, "", wrong},
		{RecordApproved, held, pending}, {RecordApproved, pending, wrong}, {RecordApproved, dead, wrong}, {RecordApproved, superseded, wrong},
		{RecordApproved, discarded, wrong}, {RecordApproved, "", wrong},
		{RecordDiscarded, held, discarded}, {RecordSuperseded, held, superseded}, {RecordAccepted, held, same},
		{RecordAttempt, held, wrong}, {RecordApplied, held, wrong}, {RecordDead, held, wrong}, {RecordRetried, held, wrong},
		{RecordPostponed, held, wrong}, {RecordDeferred, held, wrong}, {RecordUnanswered, held, wrong}, {RecordProbe, held, wrong},
		{RecordRefused, held, wrong}, {RecordUnknown, held, wrong}, {RecordIntent, held, wrong},
	}
	for _, row := range table {
		t.Run(fmt.Sprintf("%s of %q", row.event, row.before), func(t *testing.T) {
			before := entryIn(row.before, false)
			if row.before != "" {
				before.Kind, before.Class = identity.UserChange, "removals"
			}
			after, err := next(before, Record{Seq: 9, At: start, Type: row.event, Change: 7, Class: "removals", By: 8})
			got := after.Status
			if errors.Is(err, ErrState) {
				got = wrong
			} else if errors.Is(err, errSame) {
				got = same
			}
			if got != row.want {
				t.Errorf("status %q (%v), want %q", got, err, row.want)
			}
		})
	}
	password := entryIn(pending, false)
	if _, err := next(password, Record{Type: RecordHeld, Class: "removals"}); !errors.Is(err, ErrState) {
		t.Errorf("holding a password: %v", err)
	}
}

// TestI8_Held: a held change waits for a person across restarts, blocks nobody,
// and once approved is not held again.
func TestI8_Held(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	f.learn(t, ImportBatch{
		Changes: []identity.Change{stateChange(1), stateChange(4)},
		Held:    []HeldChange{{stateChange(2), "removals", "21 at once"}, {stateChange(3), "suspensions", "30 at once"}},
	})
	one, two, three := f.newestOf(t, 1).Seq, f.newestOf(t, 2).Seq, f.newestOf(t, 3).Seq
	f.reopen(t)
	list := func(o HeldOptions) (seqs []identity.Seq) {
		t.Helper()
		entries, err := f.Held(identity.Import, o)
		ok(t, err)
		for _, e := range entries {
			seqs = append(seqs, e.Seq)
		}
		return seqs
	}
	for _, row := range []struct {
		o    HeldOptions
		want []identity.Seq
	}{
		{HeldOptions{}, []identity.Seq{two, three}},
		{HeldOptions{Class: "removals"}, []identity.Seq{two}},
		{HeldOptions{Domain: "CORP.example", Class: "suspensions"}, []identity.Seq{three}},
		{HeldOptions{Domain: "other"}, nil},
		{HeldOptions{After: two}, []identity.Seq{three}},
		{HeldOptions{Limit: 1}, []identity.Seq{two}},
	} {
		if got := list(row.o); !slices.Equal(got, row.want) {
			t.Errorf("held %+v: %v, want %v", row.o, got, row.want)
		}
	}
	if stats, err := f.Stats(); err != nil || stats.Held[identity.Import] != 2 || stats.Pending[identity.Import] != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
	ok(t, f.Approve(ctx, two, "admin on the console"))
	ok(t, f.Approve(ctx, two, "again"))
	if e, err := f.Entry(two); err != nil || e.Status != identity.StatusPending || !e.Approved || e.Class != "removals" {
		t.Errorf("approved: %+v, %v", e, err)
	}
	if err := f.Hold(ctx, two, "removals", "21 at once"); !errors.Is(err, ErrState) {
		t.Errorf("held again: %v", err)
	}
	if err := f.Reject(ctx, one, "no"); !errors.Is(err, ErrState) {
		t.Errorf("reject of what is not held: %v", err)
	}
	ok(t, f.Reject(ctx, three, "they stay"))
	ok(t, f.Reject(ctx, three, "they stay"))
	ok(t, f.Hold(ctx, one, "groups", "6 at once"))
	if err := f.Hold(ctx, one, "", "6 at once"); err == nil {
		t.Error("held without a class")
	}
	f.reopen(t)
	f.check(t)
	if got := list(HeldOptions{}); !slices.Equal(got, []identity.Seq{one}) {
		t.Errorf("held at last: %v", got)
	}
	if report, err := f.Verify(); err != nil || !report.OK() {
		t.Errorf("verify: %+v, %v", report, err)
	}
}
