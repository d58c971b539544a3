package store

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// at sets the store's clock.
func (f *fixture) at(days int) time.Time {
	now := start.AddDate(0, 0, days)
	f.now = func() time.Time { return now }
	return now
}

// TestL4_Retention removes what is old: the log stays a chain from a known
// point, and what is still open keeps its records.
func TestL4_Retention(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	for i := range byte(120) { // several transactions of pruning
		seq := f.pend(t, i, "old")
		f.apply(t, seq)
	}
	f.at(50)
	late := f.pend(t, 200, "pending")
	f.at(60)
	recent := f.pend(t, 201, "recent")
	f.apply(t, recent)
	cut := f.at(55)

	removed, err := f.Prune(ctx, cut)
	ok(t, err)
	if removed != int64(late)-1 {
		t.Errorf("%d records removed, want the %d before the pending change", removed, late-1)
	}
	for _, moment := range []string{"pruned", "opened again"} {
		r := f.verified(t)
		if r.First != late {
			t.Errorf("%s: the log begins at %d, want %d", moment, r.First, late)
		}
		entries, err := f.List(ListOptions{})
		ok(t, err)
		if len(entries) != 2 || entries[0].Seq != late || entries[1].Seq != recent {
			t.Errorf("%s: changes %v, want %d and %d", moment, entries, late, recent)
		}
		records, err := f.Records(0, 1)
		ok(t, err)
		if records[0].Seq != late {
			t.Errorf("%s: the first record is %d", moment, records[0].Seq)
		}
		if password, err := f.Secret(late, f.opener); err != nil || string(password.Expose()) != "pending" {
			t.Errorf("%s: password of the pending change: %q, %v", moment, password.Expose(), err)
		}
		f.reopen(t)
	}
	// A further change of an account whose newest one is gone.
	f.at(100)
	f.pend(t, 1, "new")
	f.apply(t, late)
	removed, err = f.Prune(ctx, f.now())
	ok(t, err)
	if removed == 0 {
		t.Error("nothing was removed after the pending change ended")
	}
	f.verified(t)
	var backup bytes.Buffer
	_, err = f.Backup(ctx, &backup, f.keys.dir, false)
	ok(t, err)
	f.restored(t, backup.Bytes()).verified(t)
}

// TestL4_RetentionOfDeadLetters: one that nobody retried is discarded, and its
// password deleted.
func TestL4_RetentionOfDeadLetters(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	dead := f.pend(t, 1, "dead")
	ok(t, f.BeginAttempt(ctx, dead, "date"))
	ok(t, f.MarkDead(ctx, dead, "short"))
	f.pend(t, 2, "pending")
	cut := f.at(10)
	_, err := f.Prune(ctx, cut)
	ok(t, err)
	if got := f.status(t, dead); got != identity.StatusDiscarded {
		t.Errorf("an old dead letter is %s", got)
	}
	f.verified(t)
}

// TestL4_RunPrunes: Run removes what is older than the retention.
func TestL4_RunPrunes(t *testing.T) {
	k := newKeys(t)
	synctest.Test(t, func(t *testing.T) {
		o := (&fixture{keys: k}).options()
		o.InMemory, o.Now, o.Retention = true, nil, time.Hour
		st, err := Open(o)
		ok(t, err)
		f := &fixture{Store: st, keys: k}
		f.apply(t, f.pend(t, 1, "old"))
		ended := make(chan error)
		ctx, stop := context.WithCancel(t.Context())
		go func() { ended <- st.Run(ctx) }()
		time.Sleep(2 * time.Hour)
		f.pend(t, 2, "new")
		synctest.Wait()
		if records, err := f.Records(0, 1); err != nil || records[0].Seq < 4 {
			t.Errorf("first record %+v, %v", records, err)
		}
		stop()
		ok(t, <-ended)
		ok(t, st.Close())
	})
}
