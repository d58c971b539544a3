package store

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestL3_Room: the limit is where it is said to be.
func TestL3_Room(t *testing.T) {
	for free, ok := range map[uint64]bool{0: false, reserve - 1: false, reserve: true, 1 << 40: true} {
		err := enough(free, reserve, "/var/lib/dirgate", "a change")
		if (err == nil) != ok || (err != nil && !(errors.Is(err, ErrFull) && strings.Contains(err.Error(), "/var/lib/dirgate"))) {
			t.Errorf("%d bytes free: got %v, want room: %t", free, err, ok)
		}
	}
	f := newStore(t)
	if err := f.Room(); err != nil {
		t.Error("on this machine:", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Room(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: got %v, want ErrClosed", err)
	}
}

// TestL3_FullAtTheStart: Badger is not opened where it could end the process,
// binds are served, and with room again all is there.
func TestL3_FullAtTheStart(t *testing.T) {
	f, d := registered(t)
	ok(t, f.Close())
	o := f.options()
	o.free = func(*os.File) (uint64, error) { return toOpen - 1, nil }
	st, err := Open(o)
	ok(t, err)
	full := &fixture{Store: st, keys: f.keys, dir: f.dir}
	full.serves(t, d)
	if r := st.Damage(); r == nil || !r.System || !strings.Contains(r.Summary(), "not enough room") || !strings.Contains(r.WayBack(), "restart") {
		t.Errorf("damage %+v, want that there is no room", r)
	}
	if _, err := st.List(ListOptions{}); !errors.Is(err, ErrFailed) || strings.Contains(err.Error(), "damaged (") {
		t.Errorf("list: %v, want ErrFailed, and neither an empty log nor one called damaged", err)
	}
	ok(t, st.Close())
	f.Store = nil
	f.reopen(t)
	f.verified(t)
}
