package store

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// Results of next in the table: a status, or one of these.
const (
	same  = identity.Status("no change")
	wrong = identity.Status("ErrState")
)

// entryIn is an entry of a status. flying tells whether a write to the other
// side is under way.
func entryIn(s identity.Status, flying bool) identity.Entry {
	if s == "" {
		return identity.Entry{}
	}
	e := identity.Entry{Change: change(1), Status: s, Attempts: 2, NextTry: start.Add(time.Hour), Reason: "before", Since: start}
	e.Seq = 7
	if flying {
		e.Evidence = "2026-03-01"
	}
	return e
}

func TestNext(t *testing.T) {
	statuses := []identity.Status{"", identity.StatusUnsettled, identity.StatusPending, identity.StatusApplied,
		identity.StatusRefused, identity.StatusSuperseded, identity.StatusDead, identity.StatusDiscarded}
	const (
		unsettled  = identity.StatusUnsettled
		pending    = identity.StatusPending
		applied    = identity.StatusApplied
		refused    = identity.StatusRefused
		superseded = identity.StatusSuperseded
		dead       = identity.StatusDead
		discarded  = identity.StatusDiscarded
	)
	table := []struct {
		event  RecordType
		flying bool
		want   [8]identity.Status // in the order of statuses
	}{
		//                       ""         unsettled  pending     applied  refused  superseded  dead        discarded
		{RecordIntent, false, [8]identity.Status{unsettled, wrong, wrong, wrong, wrong, wrong, wrong, wrong}},
		{RecordAccepted, false, [8]identity.Status{wrong, pending, same, same, wrong, same, same, same}},
		{RecordRefused, false, [8]identity.Status{wrong, refused, wrong, wrong, same, wrong, wrong, same}},
		{RecordUnknown, false, [8]identity.Status{wrong, unsettled, wrong, wrong, wrong, wrong, wrong, same}},
		{RecordProbe, false, [8]identity.Status{wrong, unsettled, wrong, wrong, wrong, wrong, wrong, wrong}},
		{RecordAttempt, false, [8]identity.Status{wrong, wrong, pending, wrong, wrong, wrong, wrong, wrong}},
		{RecordAttempt, true, [8]identity.Status{wrong, wrong, pending, wrong, wrong, wrong, wrong, wrong}},
		{RecordApplied, false, [8]identity.Status{wrong, wrong, applied, same, wrong, same, wrong, same}},
		{RecordApplied, true, [8]identity.Status{wrong, wrong, applied, same, wrong, superseded, wrong, discarded}},
		{RecordLanded, false, [8]identity.Status{wrong, wrong, wrong, wrong, wrong, same, wrong, same}},
		{RecordLanded, true, [8]identity.Status{wrong, wrong, wrong, wrong, wrong, superseded, wrong, discarded}},
		{RecordDeferred, false, [8]identity.Status{wrong, wrong, pending, wrong, wrong, same, wrong, same}},
		{RecordDeferred, true, [8]identity.Status{wrong, wrong, pending, wrong, wrong, superseded, wrong, discarded}},
		{RecordUnanswered, false, [8]identity.Status{wrong, wrong, wrong, wrong, wrong, same, wrong, same}},
		{RecordUnanswered, true, [8]identity.Status{wrong, wrong, pending, wrong, wrong, same, wrong, same}},
		{RecordPostponed, true, [8]identity.Status{wrong, wrong, pending, wrong, wrong, same, wrong, same}},
		{RecordDead, false, [8]identity.Status{wrong, wrong, dead, wrong, wrong, same, same, same}},
		{RecordDead, true, [8]identity.Status{wrong, wrong, dead, wrong, wrong, superseded, same, discarded}},
		{RecordRetried, false, [8]identity.Status{wrong, wrong, pending, wrong, wrong, wrong, pending, wrong}},
		{RecordDiscarded, false, [8]identity.Status{wrong, discarded, discarded, wrong, wrong, same, discarded, same}},
		{RecordSuperseded, false, [8]identity.Status{wrong, wrong, superseded, wrong, wrong, wrong, superseded, wrong}},
		{RecordAccount, false, [8]identity.Status{wrong, wrong, wrong, wrong, wrong, wrong, wrong, wrong}}, // import knows its account
		{"nonsense", false, [8]identity.Status{wrong, wrong, wrong, wrong, wrong, wrong, wrong, wrong}},
	}
	for _, row := range table {
		for i, status := range statuses {
			t.Run(fmt.Sprintf("%s of %s in flight %v", row.event, status, row.flying), func(t *testing.T) {
				before := entryIn(status, row.flying)
				record := Record{Seq: 9, At: start.Add(time.Minute), Type: row.event, Change: 7, Reason: "after", Evidence: "2026-03-02", By: 8}
				if row.event == RecordIntent {
					c := change(1)
					c.Seq = 9
					record.Intent = &c
				}
				after, err := next(before, record)
				got := after.Status
				switch {
				case errors.Is(err, ErrState):
					got = wrong
				case errors.Is(err, errSame):
					got = same
				case err != nil:
					t.Fatal(err)
				}
				if got != row.want[i] {
					t.Fatalf("status %q (%v), want %q", got, err, row.want[i])
				}
				if err == nil && (after.Since == record.At) != (after.Status != status) {
					t.Errorf("since %v after %s became %s", after.Since, status, after.Status)
				}
			})
		}
	}
}

// entryOfSync is a change of a JumpCloud user without an AD account.
func entryOfSync(s identity.Status) identity.Entry {
	e := entryIn(s, false)
	e.Change = syncChange("u1")
	return e
}

func TestNextFields(t *testing.T) {
	flying, resting := entryIn(identity.StatusPending, true), entryIn(identity.StatusPending, false)
	later := start.Add(2 * time.Hour)
	table := []struct {
		name   string
		before identity.Entry
		record Record
		want   func(*identity.Entry)
	}{
		{"an attempt is counted, with its evidence", resting, Record{Type: RecordAttempt, Evidence: "d"},
			func(e *identity.Entry) { e.Attempts, e.Evidence, e.NextTry = 3, "d", time.Time{} }},
		{"a deferred attempt leaves no evidence", flying, Record{Type: RecordDeferred, Reason: "503", NextTry: later},
			func(e *identity.Entry) { e.Evidence, e.Reason, e.NextTry = "", "503", later }},
		{"an unanswered attempt leaves its evidence", flying, Record{Type: RecordUnanswered, Reason: "eof", NextTry: later},
			func(e *identity.Entry) { e.Reason, e.NextTry = "eof", later }},
		{"postponing leaves the evidence and counts", flying, Record{Type: RecordPostponed, Reason: "down", NextTry: later},
			func(e *identity.Entry) { e.Attempts, e.Reason, e.NextTry = 3, "down", later }},
		{"an unknown outcome leaves its reason", entryIn(identity.StatusUnsettled, false), Record{Type: RecordUnknown, Reason: "cut"},
			func(e *identity.Entry) { e.Reason = "cut" }},
		{"a probe is counted", entryIn(identity.StatusUnsettled, false), Record{Type: RecordProbe},
			func(e *identity.Entry) { e.Probes = 1 }},
		{"a dead change may be tried from the beginning", entryIn(identity.StatusDead, false), Record{Type: RecordRetried, At: later},
			func(e *identity.Entry) {
				e.Status, e.Attempts, e.NextTry, e.Since = identity.StatusPending, 0, time.Time{}, later
			}},
		{"an attempt in flight outlives its being superseded", flying, Record{Type: RecordSuperseded, By: 12, At: later},
			func(e *identity.Entry) {
				e.Status, e.NextTry, e.Since = identity.StatusSuperseded, time.Time{}, later
				e.Reason = "change 12 of the same account is newer"
			}},
		{"an account becomes known", entryOfSync(identity.StatusApplied), Record{Type: RecordAccount, Account: &identity.Account{GUID: guid(3), DN: "CN=n"}, At: later},
			func(e *identity.Entry) { e.Account = identity.Account{GUID: guid(3), DN: "CN=n"} }},
		{"a dead change says why, and nothing is in flight", flying, Record{Type: RecordDead, Reason: "too short", At: later},
			func(e *identity.Entry) {
				e.Status, e.Reason, e.Evidence, e.NextTry, e.Since = identity.StatusDead, "too short", "", time.Time{}, later
			}},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			got, err := next(row.before, row.record)
			ok(t, err)
			want := row.before
			row.want(&want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
	pending := entryIn(identity.StatusPending, false)
	pending.NextTry = time.Time{}
	if _, err := next(pending, Record{Type: RecordRetried}); !errors.Is(err, errSame) {
		t.Errorf("retry of a change that is due: %v, want no change", err)
	}
	unsettled := entryIn(identity.StatusUnsettled, false)
	if _, err := next(unsettled, Record{Type: RecordUnknown, Reason: unsettled.Reason}); !errors.Is(err, errSame) {
		t.Errorf("unknown for the same reason: %v, want no change", err)
	}
}
