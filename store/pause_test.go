package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// TestPause: a pause is durable, of one direction of one domain, and keeps its
// time when it is repeated.
func TestPause(t *testing.T) {
	f := newStore(t)
	paused := func(domain string, d identity.Direction) (Pause, bool) {
		t.Helper()
		p, is, err := f.Paused(domain, d)
		ok(t, err)
		return p, is
	}
	if _, is := paused("corp.example", identity.Import); is {
		t.Error("paused from the beginning")
	}
	woken, cancel := f.Watch()
	defer cancel()
	ok(t, f.SetPaused(t.Context(), "Corp.Example", identity.Import, true, "ann"))
	first, _ := paused("corp.example", identity.Import)
	ok(t, f.SetPaused(t.Context(), "corp.example", identity.Import, true, "bob"))
	f.reopen(t)
	p, is := paused("CORP.example", identity.Import)
	if !is || p.Who != "ann" || !p.At.Equal(first.At) || p.At.IsZero() {
		t.Errorf("paused: %v %+v, want ann's of %s", is, p, first.At)
	}
	if _, is := paused("corp.example", identity.Sync); is {
		t.Error("the other direction is paused too")
	}
	if _, is := paused("other.example", identity.Import); is {
		t.Error("another domain is paused too")
	}
	<-woken
	ok(t, f.SetPaused(t.Context(), "corp.example", identity.Import, false, "ann"))
	if _, is := paused("corp.example", identity.Import); is {
		t.Error("still paused after it was resumed")
	}
	if err := f.SetPaused(t.Context(), "corp.example", "both", true, ""); err == nil {
		t.Error("a direction that is none was paused")
	}
}

// TestL3_PauseSurvivesLoss: when a loss is accepted what a person had paused
// stays paused, and what was not does not become so, whatever was lost.
func TestL3_PauseSurvivesLoss(t *testing.T) {
	t.Parallel()
	key := []byte(prefixCursor + pauseName("corp.example", identity.Import))
	other := []byte(prefixCursor + pauseName("corp.example", identity.Sync))
	remove := func(key []byte) func(*badger.Txn) error {
		return func(txn *badger.Txn) error { return txn.Delete(key) }
	}
	set := func(key []byte, value string) func(*badger.Txn) error {
		return func(txn *badger.Txn) error { return txn.Set(key, []byte(value)) }
	}
	for _, test := range []struct {
		name   string
		alter  func(*badger.Txn) error
		noCopy bool
		who    string // the beginning
	}{
		{"a record", remove(keySeq(prefixLog, 2)), false, "ann"},
		{"a record and the copy", remove(keySeq(prefixLog, 2)), true, "ann"},
		{"the pause", remove(key), false, "ann"},
		{"the pause, ended by a forger", set(key, ""), false, "ann"},
		{"the pause and the copy", set(key, "no JSON"), true, "unreadable"},
		{"another pause, by a forger", set(other, `{"at":"2026-01-01T00:00:00Z"}`), false, "ann"},
		{"the head", remove([]byte(keyHead)), false, "ann"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newStore(t)
			f.pend(t, 1, "some password")
			ok(t, f.SetCursor(t.Context(), "dirsync", []byte("x")))
			ok(t, f.SetPaused(t.Context(), "corp.example", identity.Import, true, "ann"))
			if test.noCopy {
				ok(t, os.Remove(f.dir+".domains"))
			}
			f.spoil(t, test.alter)
			f.survives(t, test.who)
		})
	}
	t.Run("the end of the database", func(t *testing.T) {
		f := newStore(t)
		f.pend(t, 1, "some password")
		ok(t, f.SetCursor(t.Context(), "dirsync", []byte("x")))
		ok(t, f.Close())
		old := filepath.Join(t.TempDir(), "old")
		ok(t, os.CopyFS(old, os.DirFS(f.dir)))
		f.Store = nil
		f.reopen(t)
		ok(t, f.SetPaused(t.Context(), "corp.example", identity.Import, true, "ann"))
		ok(t, f.Close())
		ok(t, errors.Join(os.RemoveAll(f.dir), os.CopyFS(f.dir, os.DirFS(old))))
		f.Store = nil
		f.reopen(t)
		f.survives(t, "ann")
	})
}

// survives accepts a loss and looks at what is paused, before and after the
// store is opened again.
func (f *fixture) survives(t *testing.T, who string) {
	t.Helper()
	_, err := f.AcceptLoss(t.Context(), "a test")
	ok(t, err)
	for range 2 {
		if p, paused, err := f.Paused("corp.example", identity.Import); err != nil || !paused || !strings.HasPrefix(p.Who, who) {
			t.Errorf("paused: %v, %+v, %v; want it so by %s", paused, p, err, who)
		}
		if _, paused, err := f.Paused("corp.example", identity.Sync); err != nil || paused {
			t.Errorf("the other direction: %v, %v; want it not paused", paused, err)
		}
		if _, err := f.Cursor("dirsync"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a cursor: %v, want it forgotten", err)
		}
		f.verified(t)
		f.reopen(t)
	}
	ok(t, f.SetPaused(t.Context(), "corp.example", identity.Import, false, "ann"))
}
