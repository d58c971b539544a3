package store

import (
	"testing"

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
