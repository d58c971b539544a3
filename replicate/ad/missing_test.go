package ad

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestI2_UnseenDeletion: an account that may not see deleted objects is woken
// by a deletion all the same, long before the interval, and by nothing when
// nothing was written.
func TestI2_UnseenDeletion(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		w := d.world(t)
		r := w.newReader(MethodAuto, func(c *ReaderConfig) { c.Account, c.Interval = d.lowly, time.Hour })
		m := w.mirror(r)
		quiet := func(what string) {
			t.Helper()
			for range 20 { // what comes of the test's own logons
				if _, err := m.update(t.Context()); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*lookEvery)
				err := r.Wait(ctx, m.cursor)
				cancel()
				if errors.Is(err, context.DeadlineExceeded) {
					return
				}
				w.must(what, err)
			}
			t.Fatalf("%s: it is woken again and again", what)
		}
		quiet("before")
		guid := w.guid(w.dn("u2"))
		w.delete(w.dn("u2"))
		for _, known := m.users[guid]; known; _, known = m.users[guid] {
			w.must("wait", r.Wait(t.Context(), m.cursor)) // not for an hour
			b, err := r.Changes(t.Context(), m.cursor)
			w.must("changes", err)
			if m.cursor = b.Cursor; !b.Look {
				continue // too soon after the look before
			}
			_, err = m.update(t.Context())
			w.must("look", err)
		}
		b, err := r.Changes(t.Context(), m.cursor)
		w.must("changes", err)
		if !b.DeletionsUnseen || b.Look {
			t.Errorf("right after a look: unseen %v, look again %v", b.DeletionsUnseen, b.Look)
		}
		quiet("after")
	})
}

// TestLookPace: listing everything takes up no more than its share of the time,
// and nothing is asked for without need.
func TestLookPace(t *testing.T) {
	began := time.Now()
	for cost, want := range map[time.Duration]time.Duration{0: lookEvery, time.Millisecond: lookEvery, 100 * time.Millisecond: 1900 * time.Millisecond, 3 * time.Second: 57 * time.Second} {
		ended := began.Add(cost)
		if got := nextLook(began, ended).Sub(ended); got != want {
			t.Errorf("after a listing that took %v: %v, want %v", cost, got, want)
		}
	}
	past, future := began.Add(-time.Second), began.Add(time.Hour)
	for _, tt := range []struct {
		l    looked
		host string
		usn  uint64
		want bool
	}{
		{looked{blind: true, host: "dc1", usn: 7, next: past}, "dc1", 8, true},
		{looked{blind: true, host: "dc1", usn: 7, next: past}, "dc1", 7, false},
		{looked{blind: true, host: "dc1", usn: 7, next: past}, "dc2", 7, true},
		{looked{blind: true, host: "dc1", usn: 7, next: future}, "dc1", 8, false},
		{looked{host: "dc1", usn: 7, next: past}, "dc1", 8, false},
	} {
		if got := tt.l.due(tt.host, tt.usn); got != tt.want {
			t.Errorf("%+v, %s at %d: %v, want %v", tt.l, tt.host, tt.usn, got, tt.want)
		}
	}
}
