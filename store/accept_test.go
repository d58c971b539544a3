package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// spoil closes the store, alters its database, and opens it again.
func (f *fixture) spoil(t *testing.T, alter func(txn *badger.Txn) error) {
	t.Helper()
	ok(t, f.Close())
	db, err := badger.Open(badgerOptions(f.options()))
	ok(t, err)
	ok(t, db.Update(alter))
	ok(t, db.Close())
	f.Store = nil
	f.reopen(t)
}

// refusesWrites checks that a damaged store records nothing, says why and what
// to do, and can still be read.
func (f *fixture) refusesWrites(t *testing.T) {
	t.Helper()
	if f.Damage() == nil {
		t.Fatal("the damage was not found")
	}
	_, err := f.AppendIntent(t.Context(), change(9), secret.New([]byte("pw")))
	if !errors.Is(err, ErrCorrupt) || !contains(err.Error(), "changelog verify") || !contains(err.Error(), f.Damage().Findings[0].String()) {
		t.Errorf("append to a damaged store: %v, want ErrCorrupt with the first finding and the way back", err)
	}
	if err := f.BeginAttempt(t.Context(), 1, "date"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an attempt on a damaged store: %v", err)
	}
	if r, err := f.Verify(); err != nil || r.OK() {
		t.Errorf("verify: %+v, %v", r, err)
	}
}

// TestL3_AcceptLoss damages a store in many ways, and lets it go on.
func TestL3_AcceptLoss(t *testing.T) {
	t.Parallel()
	remove := func(seqs ...identity.Seq) func(*badger.Txn) error {
		return func(txn *badger.Txn) error {
			for _, seq := range seqs {
				ok(t, txn.Delete(keySeq(prefixLog, seq)))
			}
			return nil
		}
	}
	for _, test := range []struct {
		name  string
		alter func(txn *badger.Txn) error
		want  string // in the summary
		bad   int64
	}{
		{"first record", remove(1), "record 1 missing", 1},
		{"records in the middle", remove(4, 5, 6), "records 4 to 6 (3) missing", 3},
		{"last record", remove(10), "record 10 missing", 1},
		{"everything", func(txn *badger.Txn) error {
			return scan(txn, nil, []byte{0}, false, func(item *badger.Item) (bool, error) { return true, txn.Delete(item.KeyCopy(nil)) })
		}, "head", 10},
		{"an altered record", func(txn *badger.Txn) error {
			value, err := getBytes(txn, keySeq(prefixLog, 3))
			ok(t, err)
			return txn.Set(keySeq(prefixLog, 3), []byte(strings.Replace(string(value), "CN=app", "CN=apx", 1)))
		}, "record 3 altered (it reads: intent, 2026-03-01T08:00:00Z)", 1},
		{"two records exchanged", func(txn *badger.Txn) error {
			a, err := getBytes(txn, keySeq(prefixLog, 3))
			ok(t, err)
			b, err := getBytes(txn, keySeq(prefixLog, 5))
			ok(t, err)
			return errors.Join(txn.Set(keySeq(prefixLog, 3), b), txn.Set(keySeq(prefixLog, 5), a))
		}, "record 3 altered", 2},
		{"a state", func(txn *badger.Txn) error { return txn.Delete(keySeq(prefixState, 3)) }, "states of changes: 4, and 5 were written", 0},
		{"the index of open changes", func(txn *badger.Txn) error { return txn.Delete(keyOpen(identity.StatusPending, 3)) }, "index entries of open changes", 0},
		{"a sealed password", func(txn *badger.Txn) error { return txn.Delete(keySeq(prefixSecret, 3)) }, "sealed passwords", 0},
		{"the head", func(txn *badger.Txn) error { return txn.Delete([]byte(keyHead)) }, "head", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newStore(t)
			ctx := t.Context()
			for i := range byte(5) {
				f.pend(t, i+1, fmt.Sprint("password ", i+1))
			}
			f.spoil(t, test.alter)
			f.refusesWrites(t)
			if r := f.Damage(); !contains(r.Summary(), test.want) || r.BadRecords != test.bad || r.Last != 10 {
				t.Errorf("%s\nwant %q and %d bad records of 10", r.Summary(), test.want, test.bad)
			}
			_, err := f.AcceptLoss(ctx, "a test")
			ok(t, err)
			if stats, _ := f.Stats(); len(stats.Pending) != 0 {
				t.Errorf("%v are still pending, and could be older than what was lost", stats.Pending)
			}
			for _, moment := range []string{"accepted", "opened again"} {
				r := f.verified(t)
				if r.Lost != test.bad {
					t.Errorf("%s: %d records stand for others, want %d", moment, r.Lost, test.bad)
				}
				records, err := f.Records(0, 0)
				ok(t, err)
				if last := records[len(records)-1]; last.Seq < 11 {
					t.Errorf("%s: the log ends at %d", moment, last.Seq)
				}
				f.reopen(t)
			}
			if seq := f.pend(t, 9, "after"); seq < 12 {
				t.Errorf("number %d was given out twice", seq)
			}
			f.verified(t)
			if _, err := f.AcceptLoss(ctx, "a test"); !errors.Is(err, ErrState) {
				t.Errorf("accept a loss of nothing: %v", err)
			}
		})
	}
}

// TestL3_OlderCopy puts an older copy of the whole database in the place of
// the present one; the mark lies outside and tells.
func TestL3_OlderCopy(t *testing.T) {
	f := newStore(t)
	first := f.pend(t, 1, "old")
	ok(t, f.Close())
	old := filepath.Join(t.TempDir(), "old")
	ok(t, os.CopyFS(old, os.DirFS(f.dir)))
	f.Store = nil
	f.reopen(t)
	f.pend(t, 1, "new")
	ok(t, f.SetCursor(t.Context(), "dirsync", []byte("x")))
	ok(t, f.Close())
	ok(t, os.RemoveAll(f.dir))
	ok(t, os.CopyFS(f.dir, os.DirFS(old)))
	f.Store = nil
	f.reopen(t)
	f.refusesWrites(t)
	if got := f.Damage().Findings[0]; got.From != 3 || got.Through != 5 {
		t.Errorf("%v, want records 3 to 5 missing", got)
	}
	_, err := f.AcceptLoss(t.Context(), "a test")
	ok(t, err)
	f.verified(t)
	// The old password must not come back by itself.
	if e, err := f.Entry(first); err != nil || e.Status != identity.StatusDead || e.Reason != heldReason {
		t.Errorf("change %d: %+v, %v, want it held", first, e, err)
	}
}

// TestL3_TakenBackWithoutRecords takes back a transaction that wrote no
// record.
func TestL3_TakenBackWithoutRecords(t *testing.T) {
	f := newStore(t)
	f.pend(t, 1, "pw")
	f.copyTo(t, f.dir+"-old")
	ok(t, f.SetCursor(t.Context(), "dirsync", []byte("x")))
	f.copyMark(t, f.dir+"-old")
	old := &fixture{keys: f.keys, dir: f.dir + "-old"}
	old.reopen(t)
	old.refusesWrites(t)
	if got := old.Damage().Findings[0].Kind; got != FindingStale {
		t.Errorf("%v, want %s", old.Damage().Findings, FindingStale)
	}
}

// TestL3_Mark damages the mark alone.
func TestL3_Mark(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"zeroed":  func(path string) error { return os.WriteFile(path, make([]byte, 2*slotSize), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newStore(t)
			f.everything(t)
			ok(t, f.Close())
			ok(t, spoil(f.dir+".mark"))
			f.Store = nil
			f.reopen(t)
			f.refusesWrites(t)
			r, err := f.AcceptLoss(t.Context(), "a test")
			ok(t, err)
			if r.BadRecords != 0 || r.Findings[0].Kind != FindingMark {
				t.Errorf("%+v, want the mark alone", r)
			}
			f.reopen(t)
			f.verified(t)
		})
	}
}

// TestL3_MarkCutShort leaves one slot of the mark half written, as a power
// failure does: nothing was acknowledged by it, and nothing is wrong.
func TestL3_MarkCutShort(t *testing.T) {
	f := newStore(t)
	seq := f.pend(t, 1, "pw")
	for slot := range int64(2) {
		g := &fixture{keys: f.keys, dir: filepath.Join(t.TempDir(), "copy")}
		f.copyTo(t, g.dir)
		mark, err := os.OpenFile(g.dir+".mark", os.O_RDWR, 0)
		ok(t, err)
		_, err = mark.WriteAt(make([]byte, 512), slot*slotSize+100)
		ok(t, errors.Join(err, mark.Close()))
		g.reopen(t)
		g.verified(t)
		if g.status(t, seq) != identity.StatusPending {
			t.Errorf("change %d is %s", seq, g.status(t, seq))
		}
	}
}

// TestL3_WrongMasterKey opens a store with the key of another.
func TestL3_WrongMasterKey(t *testing.T) {
	f := newStore(t)
	f.pend(t, 1, "pw")
	ok(t, f.Close())
	o := f.options()
	o.LogKey = newKeys(t).logKey
	st, err := Open(o)
	if !errors.Is(err, secret.ErrWrongKey) || !contains(fmt.Sprint(err), "master_key_file") {
		t.Errorf("%v, %v, want ErrWrongKey and what to look at", st, err)
	}
	f.Store = nil
	f.reopen(t)
	f.verified(t)
}

// TestP1_ForgedPassword seals another password for the place of the recorded
// one: that takes the public key alone.
func TestP1_ForgedPassword(t *testing.T) {
	f := newStore(t)
	seq := f.pend(t, 1, "the recorded one")
	e, err := f.Entry(seq)
	ok(t, err)
	forged, err := f.keys.sealer.Seal(secret.New([]byte("of an intruder")), secretAAD(e.Change))
	ok(t, err)
	ok(t, f.submit(t.Context(), func(b *batch) error {
		b.set(keySeq(prefixSecret, seq), forged)
		return nil
	}))
	if password, err := f.Secret(seq, f.opener); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%q, %v, want ErrCorrupt", password.Expose(), err)
	}
}
