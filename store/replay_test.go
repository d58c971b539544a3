package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// TestL1_StatesAreTheSumOfTheLog makes random histories and checks that
// replaying the log alone gives every state key, that secrets are where they
// should be and nowhere else, and that the index and the memory of open
// changes agree with the states, before and after opening again.
func TestL1_StatesAreTheSumOfTheLog(t *testing.T) {
	t.Parallel()
	for seed := range uint64(histories) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			f := newStore(t)
			r := rand.New(rand.NewPCG(seed, 1))
			for range 250 {
				f.randomStep(t, r)
			}
			before := f.check(t)
			f.reopen(t)
			if after := f.check(t); !slices.Equal(before, after) {
				t.Errorf("states changed when the store was opened again:\n%v\n%v", before, after)
			}
		})
	}
}

func (f *fixture) randomStep(t *testing.T, r *rand.Rand) {
	ctx := t.Context()
	stats, err := f.Stats()
	ok(t, err)
	seq := identity.Seq(r.Uint64N(uint64(stats.LastSeq)+1)) + 1
	user := func() string { return fmt.Sprint("u", r.IntN(4)+1) }
	steps := []func() error{
		func() error { f.intend(t, byte(r.IntN(4)+1), "pw"); return nil },
		func() error { f.intend(t, byte(r.IntN(4)+1), "pw"); return nil },
		func() error { return f.Settle(ctx, seq, identity.OutcomeAccepted, "") },
		func() error { return f.Settle(ctx, seq, identity.OutcomeAccepted, "") },
		func() error { f.intendUnknown(t, "pw"); return nil },
		func() error {
			return f.SettleAccount(ctx, seq, identity.Account{GUID: guid(byte(r.IntN(4) + 1)), DN: "CN=found"}, "")
		},
		func() error { return f.Settle(ctx, seq, identity.OutcomeRefused, "52e") },
		func() error { return f.Settle(ctx, seq, identity.OutcomeUnknown, "cut") },
		func() error { return f.BeginProbe(ctx, seq) },
		func() error { return f.BeginAttempt(ctx, seq, "date") },
		func() error { return f.BeginAttempt(ctx, seq, "date") },
		func() error { return f.MarkApplied(ctx, seq, nil) },
		func() error { return f.Defer(ctx, seq, start, "busy") },
		func() error { return f.DeferUnknown(ctx, seq, start, "eof") },
		func() error { return f.Postpone(ctx, seq, start, "down") },
		func() error { return f.MarkDead(ctx, seq, "short") },
		func() error { return f.Retry(ctx, seq) },
		func() error { return f.Discard(ctx, seq, "no") },
		func() error {
			return f.AppendImport(ctx, "corp.example", ImportBatch{CursorName: "ad", Changes: []identity.Change{stateChange(byte(r.IntN(4) + 1))}})
		},
		func() error {
			held := HeldChange{stateChange(byte(r.IntN(4) + 1)), "removals", "too many"}
			return f.AppendImport(ctx, "corp.example", ImportBatch{CursorName: "ad", Held: []HeldChange{held}})
		},
		func() error {
			return f.AppendSync(ctx, "corp.example", SyncBatch{Changes: []identity.Change{cloudChange(user())}})
		},
		func() error {
			held := HeldChange{cloudChange(user()), "disables", "too many"}
			return f.AppendSync(ctx, "corp.example", SyncBatch{CursorName: "jc", Held: []HeldChange{held}})
		},
		func() error {
			_, err := f.AppendIntent(ctx, syncChange(user()), secret.New([]byte("pw")))
			return err
		},
		func() error { f.pendSync(t, user(), "pw"); return nil },
		func() error {
			return f.IdentifyAccount(ctx, seq, identity.Account{GUID: guid(byte(r.IntN(4) + 1)), DN: "CN=made"})
		},
		func() error {
			n := r.IntN(4) + 1
			return f.PutLink(ctx, identity.Link{Domain: "corp.example", GUID: guid(byte(n)), JumpCloudID: fmt.Sprint("u", n)})
		},
		func() error { return f.Hold(ctx, seq, "removals", "too many") },
		func() error { return f.Approve(ctx, seq, "admin") },
		func() error { return f.Reject(ctx, seq, "no") },
	}
	if err := steps[r.IntN(len(steps))](); err != nil && !errors.Is(err, ErrState) && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
}

// check compares everything that is derived with the log, and returns the
// states as text.
func (f *fixture) check(t *testing.T) (states []string) {
	t.Helper()
	replayed := f.replay(t)
	open := make(map[listKey]int)
	pending, pairs, indexed := make(map[string]int), make(map[string]int), 0
	ok(t, f.view(func(txn *badger.Txn) error {
		return scan(txn, []byte(prefixState), nil, false, func(item *badger.Item) (bool, error) {
			e, err := getEntry(txn, seqOf(item.Key()))
			ok(t, err)
			got, want := asJSON(t, e), asJSON(t, replayed[e.Seq])
			if got != want {
				t.Errorf("state  %s\nreplay %s", got, want)
			}
			states = append(states, got)
			delete(replayed, e.Seq)
			if _, err := getBytes(txn, keySeq(prefixSecret, e.Seq)); (err == nil) != (hasSecret(e.Status) && !e.Kind.IsState()) {
				t.Errorf("secret of change %d, which is %s: %v", e.Seq, e.Status, err)
			}
			if isOpen(e.Status) {
				open[listKey{e.Status, e.Direction}]++
				if _, err := getBytes(txn, keyOpen(e.Status, e.Seq)); err != nil {
					t.Errorf("index of change %d, which is %s: %v", e.Seq, e.Status, err)
				}
			}
			for _, key := range accountKeys(e.Change) {
				if _, err := getBytes(txn, key); err != nil {
					t.Errorf("index of accounts, change %d: %v", e.Seq, err)
				}
				indexed++
			}
			if e.Status != identity.StatusUnsettled && isOpen(e.Status) {
				pending[string(keyNewest(e.Change))]++
				if link, err := linkOf(txn, e.Change); err == nil && !e.Kind.IsState() && bothWays(t, txn) {
					pairs[link.JumpCloudID]++
				}
			}
			return true, nil
		})
	}))
	if len(replayed) > 0 {
		t.Errorf("changes in the log without a state: %v", replayed)
	}
	for id, n := range pairs {
		if n > 1 {
			t.Errorf("P2: user %s and its account have %d open passwords", id, n)
		}
	}
	ok(t, f.view(func(txn *badger.Txn) error {
		return scan(txn, []byte(prefixAccount), nil, false, func(*badger.Item) (bool, error) { indexed--; return true, nil })
	}))
	if indexed != 0 {
		t.Errorf("the index of accounts lacks %d keys", indexed)
	}
	for account, n := range pending {
		if n > 1 {
			t.Errorf("P2: account %q has %d changes of one class that are pending, dead or held", account, n)
		}
	}
	f.checkLists(t, open)
	return states
}

func bothWays(t *testing.T, txn *badger.Txn) bool {
	t.Helper()
	imports, err := replicates(txn, "corp.example", identity.Import)
	ok(t, err)
	syncs, err := replicates(txn, "corp.example", identity.Sync)
	ok(t, err)
	return imports && syncs
}

func (f *fixture) checkLists(t *testing.T, open map[listKey]int) {
	t.Helper()
	stats, err := f.Stats()
	ok(t, err)
	for status, counts := range map[identity.Status]map[identity.Direction]int{
		identity.StatusUnsettled: stats.Unsettled, identity.StatusPending: stats.Pending, identity.StatusDead: stats.Dead,
		identity.StatusHeld: stats.Held,
	} {
		for _, d := range []identity.Direction{identity.Import, identity.Sync} {
			if got, want := counts[d], open[listKey{status, d}]; got != want {
				t.Errorf("%d %s of %s in memory, %d on disk", got, status, d, want)
			}
		}
	}
	keys := 0
	ok(t, f.view(func(txn *badger.Txn) error {
		return scan(txn, []byte(prefixOpen), nil, false, func(*badger.Item) (bool, error) { keys++; return true, nil })
	}))
	want := 0
	for _, n := range open {
		want += n
	}
	if keys != want {
		t.Errorf("%d keys in the index of open changes, want %d", keys, want)
	}
}

// replay builds the states from the log alone, and checks that it has no gap.
func (f *fixture) replay(t *testing.T) map[identity.Seq]identity.Entry {
	t.Helper()
	states := make(map[identity.Seq]identity.Entry)
	var after identity.Seq
	for {
		records, err := f.Records(after, 100)
		ok(t, err)
		for _, r := range records {
			after++
			if r.Seq != after {
				t.Fatalf("record %d follows %d", r.Seq, after-1)
			}
			if r.Change == 0 {
				continue // about no change
			}
			e, err := next(states[r.Change], r)
			if err != nil {
				t.Fatalf("replay of record %d: %v", r.Seq, err)
			}
			states[r.Change] = e
		}
		if len(records) < 100 {
			break
		}
	}
	stats, err := f.Stats()
	ok(t, err)
	if stats.LastSeq != after {
		t.Errorf("last sequence number %d, the log ends at %d", stats.LastSeq, after)
	}
	return states
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	ok(t, err)
	return string(text)
}

func TestRecordsFindsAGap(t *testing.T) {
	f := newStore(t)
	f.pend(t, 1, "one")
	f.pend(t, 2, "two")
	ok(t, f.db.Update(func(txn *badger.Txn) error { return txn.Delete(keySeq(prefixLog, 3)) }))
	if records, err := f.Records(0, 10); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a log without its third record read as %d records, %v", len(records), err)
	}
}

func TestSubmitCancelled(t *testing.T) {
	f := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.AppendIntent(ctx, change(1), secret.New([]byte("pw"))); !errors.Is(err, context.Canceled) {
		t.Errorf("append in a cancelled context: %v", err)
	}
	if stats, _ := f.Stats(); stats.LastSeq != 0 {
		t.Errorf("it was written all the same: last number %d", stats.LastSeq)
	}
}
