package store

import (
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// TestOpenCounts: they are those of one domain and direction, follow what
// happens, and are the same in a later process, whose index of open changes
// does not tell domains; each change is read once for it.
func TestOpenCounts(t *testing.T) {
	f := newStore(t)
	f.learn(t, ImportBatch{Cursor: []byte("c1"), Changes: []identity.Change{stateChange(1), stateChange(2)},
		Held: []HeldChange{{stateChange(3), "removals", "too many"}}})
	other := stateChange(4)
	other.Account.Domain = "other.example"
	ok(t, f.AppendImport(t.Context(), "other.example", ImportBatch{CursorName: "ad/other", Cursor: []byte("c"), Changes: []identity.Change{other}}))
	ok(t, f.MarkDead(t.Context(), f.newestOf(t, 2).Seq, "refused"))
	want := func(when string) {
		t.Helper()
		c, err := f.OpenCounts("CORP.example", identity.Import)
		ok(t, err)
		if c.Pending != 1 || c.Held != 1 || c.Dead != 1 || !c.Oldest.Equal(f.newestOf(t, 1).At) {
			t.Errorf("%s: %+v", when, c)
		}
		if c, err := f.OpenCounts("corp.example", identity.Sync); err != nil || c != (OpenCounts{}) {
			t.Errorf("%s: %+v of the other direction, %v", when, c, err)
		}
		if c, err := f.OpenCounts("other.example", identity.Import); err != nil || c.Pending != 1 || c.Held+c.Dead != 0 {
			t.Errorf("%s: %+v of the other domain, %v", when, c, err)
		}
		if left := f.work.unnamed(listKey{identity.StatusPending, identity.Import}); len(left) > 0 {
			t.Errorf("%s: %v are read again and again", when, left)
		}
	}
	want("in the same process")
	f.reopen(t)
	want("in a later one")
	ok(t, f.MarkApplied(t.Context(), f.newestOf(t, 1).Seq, nil))
	c, err := f.OpenCounts("corp.example", identity.Import)
	ok(t, err)
	if c.Pending != 0 || !c.Oldest.IsZero() {
		t.Errorf("after it was applied: %+v", c)
	}
	ok(t, f.Close())
	if _, err := f.OpenCounts("corp.example", identity.Import); err == nil {
		t.Error("a closed store counts")
	}
}
