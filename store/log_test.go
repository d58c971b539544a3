package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

func TestLockedByAnother(t *testing.T) {
	f := newStore(t)
	st, err := Open(f.options())
	if !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: %v, %v, want ErrLocked", st, err)
	}
	if want := fmt.Sprintf("(pid %d)", os.Getpid()); !contains(err.Error(), want) {
		t.Errorf("error %q does not name the holder %s", err, want)
	}
	f.pend(t, 1, "the first goes on")
	f.reopen(t)
}

// TestG5_GroupCommit holds the commit of one intent back until fifty others
// wait, then counts transactions.
func TestG5_GroupCommit(t *testing.T) {
	k := newKeys(t)
	synctest.Test(t, func(t *testing.T) {
		o := (&fixture{keys: k}).options()
		o.InMemory = true
		commits, free := 0, make(chan struct{})
		st, err := open(o, func(commit func(*badger.Txn) error) func(*badger.Txn) error {
			return func(txn *badger.Txn) error {
				if commits++; commits == 2 { // the first writes the schema
					<-free
				}
				return commit(txn)
			}
		})
		ok(t, err)
		f := &fixture{Store: st}

		const writers = 50
		var group sync.WaitGroup
		seqs := make([]identity.Seq, writers+1)
		add := func(i int) {
			group.Go(func() {
				seq, err := f.AppendIntent(context.Background(), change(byte(i)), secret.New([]byte("pw")))
				if err != nil {
					t.Error(err)
				}
				seqs[i] = seq
			})
		}
		add(writers)
		synctest.Wait()
		for i := range writers {
			add(i)
		}
		synctest.Wait()
		close(free)
		group.Wait()
		if commits != 3 {
			t.Errorf("%d transactions for the schema, one intent and %d waiting ones, want 3", commits, writers)
		}
		slices.Sort(seqs)
		for i, seq := range seqs {
			if want := identity.Seq(i + 1); seq != want {
				t.Fatalf("numbers given: %v", seqs)
			}
		}
		f.check(t)
		ok(t, st.Close())
	})
}

// TestG5_WithdrawnRequest ends the context of an intent that waits behind a
// commit: it must not be written, and its password not be read any more.
func TestG5_WithdrawnRequest(t *testing.T) {
	k := newKeys(t)
	synctest.Test(t, func(t *testing.T) {
		o := (&fixture{keys: k}).options()
		o.InMemory = true
		commits, free := 0, make(chan struct{})
		st, err := open(o, func(commit func(*badger.Txn) error) func(*badger.Txn) error {
			return func(txn *badger.Txn) error {
				if commits++; commits == 2 {
					<-free
				}
				return commit(txn)
			}
		})
		ok(t, err)
		f := &fixture{Store: st}
		ctx, cancel := context.WithCancel(context.Background())
		var group sync.WaitGroup
		var firstErr, secondErr error
		group.Go(func() { _, firstErr = f.AppendIntent(ctx, change(1), secret.New([]byte("one"))) })
		synctest.Wait()
		group.Go(func() { _, secondErr = f.AppendIntent(ctx, change(2), secret.New([]byte("two"))) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(free)
		group.Wait()
		if firstErr != nil {
			t.Errorf("the one that was being written: %v, want its success told", firstErr)
		}
		if !errors.Is(secondErr, context.Canceled) {
			t.Errorf("the one that waited: %v", secondErr)
		}
		if stats, _ := f.Stats(); stats.LastSeq != 1 {
			t.Errorf("last number %d, want 1", stats.LastSeq)
		}
		ok(t, st.Close())
	})
}

func TestConcurrentAppendsAreGapless(t *testing.T) {
	t.Parallel()
	f := newStore(t)
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			for range 4 {
				seq, err := f.AppendIntent(context.Background(), change(byte(i)), secret.New([]byte("pw")))
				if err == nil {
					err = f.Settle(context.Background(), seq, identity.OutcomeAccepted, "")
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	f.check(t)
	stats, err := f.Stats()
	ok(t, err)
	// 200 intents, 200 acceptances, and all but the last of each account superseded
	if stats.LastSeq != 550 || stats.Pending[identity.Import] != 50 {
		t.Errorf("last number %d with %d pending, want 550 with 50", stats.LastSeq, stats.Pending[identity.Import])
	}
}

func TestP2_NewerSupersedes(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	dead := f.pend(t, 1, "dead")
	ok(t, f.BeginAttempt(ctx, dead, "d"))
	ok(t, f.MarkDead(ctx, dead, "too short"))
	other := f.pend(t, 2, "of another account")
	late := f.intend(t, 1, "accepted late")
	refused := f.intend(t, 1, "refused")
	ok(t, f.Settle(ctx, refused, identity.OutcomeRefused, "52d"))
	newest := f.pend(t, 1, "newest")
	ok(t, f.Settle(ctx, late, identity.OutcomeAccepted, ""))

	for seq, want := range map[identity.Seq]identity.Status{
		dead: identity.StatusSuperseded, other: identity.StatusPending, late: identity.StatusSuperseded,
		refused: identity.StatusRefused, newest: identity.StatusPending,
	} {
		if got := f.status(t, seq); got != want {
			t.Errorf("change %d is %s, want %s", seq, got, want)
		}
		_, err := f.Secret(seq, f.opener)
		if kept := err == nil; kept != (want == identity.StatusPending) {
			t.Errorf("password of change %d, which is %s: %v", seq, want, err)
		}
	}
	if err := f.Retry(ctx, dead); !errors.Is(err, ErrState) {
		t.Errorf("retry of a superseded change: %v, want ErrState", err)
	}
}

func TestSupersededInFlight(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	first := f.pend(t, 1, "first")
	ok(t, f.BeginAttempt(ctx, first, "d"))
	second := f.pend(t, 1, "second")
	ok(t, f.MarkApplied(ctx, second, &identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "a", PasswordSeq: second}))
	ok(t, f.MarkApplied(ctx, first, &identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "a", PasswordSeq: first}))
	if got := f.status(t, first); got != identity.StatusSuperseded {
		t.Errorf("the older change is %s, want superseded", got)
	}
	link, err := f.LinkByGUID("corp.example", guid(1))
	ok(t, err)
	if link.PasswordSeq != second {
		t.Errorf("the link names password %d, want the newer %d", link.PasswordSeq, second)
	}
	before, _ := f.Stats()
	ok(t, f.MarkApplied(ctx, first, nil))
	if after, _ := f.Stats(); after.LastSeq != before.LastSeq {
		t.Errorf("saying it twice wrote a record")
	}
}

func TestSettleTwice(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	seq := f.pend(t, 1, "pw")
	before, _ := f.Stats()
	ok(t, f.Settle(ctx, seq, identity.OutcomeAccepted, ""))
	if after, _ := f.Stats(); after.LastSeq != before.LastSeq {
		t.Errorf("settling twice wrote a record")
	}
	for _, outcome := range []identity.Outcome{identity.OutcomeRefused, identity.OutcomeUnknown} {
		if err := f.Settle(ctx, seq, outcome, ""); !errors.Is(err, ErrState) {
			t.Errorf("settle an accepted change as %s: %v, want ErrState", outcome, err)
		}
	}
	if err := f.Settle(ctx, 99, identity.OutcomeAccepted, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("settle a change that is not there: %v, want ErrNotFound", err)
	}
	if err := f.Settle(ctx, 2, identity.OutcomeAccepted, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("settle a record that is not an intent: %v, want ErrNotFound", err)
	}
}

func TestDeadLetterAndRetry(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	seq := f.pend(t, 1, "pw")
	ok(t, f.BeginAttempt(ctx, seq, "d"))
	ok(t, f.MarkDead(ctx, seq, "too short"))
	f.reopen(t)
	if pending, err := f.Pending(identity.Import, 10, 0); err != nil || len(pending) != 0 {
		t.Errorf("pending: %v, %v, want none", pending, err)
	}
	ok(t, f.Retry(ctx, seq))
	pending, err := f.Pending(identity.Import, 10, 0)
	if err != nil || len(pending) != 1 || pending[0].Seq != seq || pending[0].Attempts != 0 {
		t.Fatalf("pending after retry: %v, %v", pending, err)
	}
	password, err := f.Secret(seq, f.opener)
	ok(t, err)
	if string(password.Expose()) != "pw" {
		t.Errorf("the password did not survive the dead letter")
	}
	ok(t, f.Discard(ctx, seq, "asked"))
	if _, err := f.Secret(seq, f.opener); !errors.Is(err, ErrNotFound) {
		t.Errorf("password of a discarded change: %v, want ErrNotFound", err)
	}
}

func TestL1_EvidenceSurvives(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	seq := f.pend(t, 1, "pw")
	if err := f.BeginAttempt(ctx, seq, ""); err == nil {
		t.Error("an attempt without evidence was begun")
	}
	if err := f.DeferUnknown(ctx, seq, start, "eof"); !errors.Is(err, ErrState) {
		t.Errorf("an unanswered attempt that was not begun: %v, want ErrState", err)
	}
	ok(t, f.BeginAttempt(ctx, seq, "2026-01-01"))
	f.reopen(t) // as after a kill between the attempt and its answer
	ok(t, f.Postpone(ctx, seq, start.Add(time.Hour), "AD is down"))
	ok(t, f.DeferUnknown(ctx, seq, start.Add(time.Hour), "eof"))
	e, err := f.Entry(seq)
	ok(t, err)
	if e.Evidence != "2026-01-01" || e.Attempts != 2 || !e.NextTry.Equal(start.Add(time.Hour)) || e.Reason != "eof" {
		t.Errorf("entry %+v", e)
	}
	ok(t, f.Defer(ctx, seq, start, "503"))
	if e, _ := f.Entry(seq); e.Evidence != "" {
		t.Errorf("evidence %q after an attempt without effect", e.Evidence)
	}
}

// TestL3_CopyOfOpenStore copies the files of a store while it is open, as a
// kill would leave them, and opens the copy.
func TestL3_CopyOfOpenStore(t *testing.T) {
	f := newStore(t)
	for i := range byte(20) {
		f.pend(t, i, fmt.Sprint("password ", i))
	}
	killed := &fixture{keys: f.keys, dir: filepath.Join(t.TempDir(), "copy")}
	f.copyTo(t, killed.dir)
	killed.reopen(t)
	killed.check(t)
	pending, err := killed.Pending(identity.Import, 100, 0)
	ok(t, err)
	if len(pending) != 20 {
		t.Fatalf("%d pending in the copy, want 20", len(pending))
	}
	for i, e := range pending {
		password, err := killed.Secret(e.Seq, f.opener)
		ok(t, err)
		if got, want := string(password.Expose()), fmt.Sprint("password ", i); got != want {
			t.Errorf("password of change %d: got %q, want %q", e.Seq, got, want)
		}
	}
}

func TestFailedCommit(t *testing.T) {
	f := &fixture{keys: newKeys(t), dir: filepath.Join(t.TempDir(), "log")}
	var broken atomic.Bool
	st, err := open(f.options(), func(commit func(*badger.Txn) error) func(*badger.Txn) error {
		return func(txn *badger.Txn) error {
			if broken.Load() {
				return io.ErrShortWrite
			}
			return commit(txn)
		}
	})
	ok(t, err)
	f.Store = st
	seq := f.pend(t, 1, "kept")
	ran := make(chan error, 1)
	go func() { ran <- st.Run(t.Context()) }()

	broken.Store(true)
	if _, err := f.AppendIntent(t.Context(), change(2), secret.New([]byte("lost"))); !errors.Is(err, ErrFailed) || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("append on a broken disk: %v", err)
	}
	broken.Store(false)
	if err := f.MarkDead(t.Context(), seq, "x"); !errors.Is(err, ErrFailed) {
		t.Errorf("write after a failed one: %v, want ErrFailed", err)
	}
	if err := <-ran; !errors.Is(err, ErrFailed) {
		t.Errorf("Run returned %v, want ErrFailed", err)
	}
	if got := f.status(t, seq); got != identity.StatusPending {
		t.Errorf("reading what was written before: %s", got)
	}
	ok(t, st.Close())
	f.Store = nil
	f.reopen(t)
	f.check(t)
	if got := f.pend(t, 2, "again"); got != 3 {
		t.Errorf("the number after a failure is %d, want 3", got)
	}
}

func TestClosed(t *testing.T) {
	f := newStore(t)
	seq := f.pend(t, 1, "pw")
	ok(t, f.Close())
	if _, err := f.Entry(seq); !errors.Is(err, ErrClosed) {
		t.Errorf("read: %v, want ErrClosed", err)
	}
	if _, err := f.AppendIntent(t.Context(), change(1), secret.Bytes{}); !errors.Is(err, ErrClosed) {
		t.Errorf("write: %v, want ErrClosed", err)
	}
	if _, err := f.Pending(identity.Import, 1, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("pending: %v, want ErrClosed", err)
	}
	if _, err := f.Stats(); !errors.Is(err, ErrClosed) {
		t.Errorf("stats: %v, want ErrClosed", err)
	}
	ok(t, f.Close())
}

func TestRunEndsWithItsContext(t *testing.T) {
	f := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- f.Run(ctx) }()
	cancel()
	if err := <-ran; err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	ok(t, f.collect())
}

func TestWatch(t *testing.T) {
	f := newStore(t)
	woken, cancel := f.Watch()
	f.pend(t, 1, "a")
	f.pend(t, 2, "b")
	<-woken
	select {
	case <-woken:
		t.Error("wake-ups do not coalesce")
	default:
	}
	cancel()
	f.pend(t, 3, "c")
	select {
	case <-woken:
		t.Error("woken after cancel")
	default:
	}
}

func TestNewerSchema(t *testing.T) {
	f := newStore(t)
	ok(t, f.db.Update(func(txn *badger.Txn) error { return txn.Set([]byte(keySchema), []byte("3")) }))
	ok(t, f.Close())
	if st, err := Open(f.options()); !errors.Is(err, ErrSchema) {
		t.Errorf("open a newer schema: %v, %v, want ErrSchema", st, err)
	}
}

func TestInMemory(t *testing.T) {
	o := (&fixture{keys: newKeys(t)}).options()
	o.InMemory = true
	st, err := Open(o)
	ok(t, err)
	f := &fixture{Store: st}
	f.pend(t, 1, "pw")
	f.check(t)
	ok(t, st.Close())
}

func TestTooLargeAGroupIsDivided(t *testing.T) {
	t.Parallel()
	f := newStore(t)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			if err := f.SetCursor(context.Background(), fmt.Sprint("cursor ", i), make([]byte, maxCursor)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i := range 20 {
		value, err := f.Cursor(fmt.Sprint("cursor ", i))
		if err != nil || len(value) != maxCursor {
			t.Errorf("cursor %d: %d bytes, %v", i, len(value), err)
		}
	}
}
