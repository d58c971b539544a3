package reconcile

import (
	"context"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
)

// counting is a Reader that counts how often everything is read.
type counting struct {
	Reader
	snapshots *int
}

func (c *counting) Snapshot(ctx context.Context) (ad.Snapshot, error) {
	*c.snapshots++
	return c.Reader.Snapshot(ctx)
}

// TestFullOverRestarts: everything is compared once every FullEvery, however
// often the process is made anew, and the status tells when that was.
func TestFullOverRestarts(t *testing.T) {
	w := newWorld(t)
	w.hire("ann")
	w.pass()
	first := w.clock.now()
	snapshots := 0
	last := func() time.Time {
		t.Helper()
		w.im = w.make()
		w.im.cfg.Reader = &counting{Reader: w.im.cfg.Reader, snapshots: &snapshots}
		w.ok(w.im.Cycle(t.Context()))
		w.im.passed(nil)
		all, err := w.im.Status()
		w.ok(err)
		if next := all[0].NextFull; !next.Equal(all[0].LastFull.Add(6 * time.Hour)) {
			t.Errorf("the next compare is due at %v after one at %v", next, all[0].LastFull)
		}
		return all[0].LastFull
	}
	for range 5 {
		w.clock.add(time.Hour)
		if at := last(); !at.Equal(first) || snapshots != 0 {
			t.Fatalf("%d compares, the last one at %v, want none after %v", snapshots, at, first)
		}
	}
	w.clock.add(time.Hour)
	if at := last(); !at.Equal(w.clock.now()) || snapshots != 1 {
		t.Errorf("after six hours: %d compares, the last one at %v", snapshots, at)
	}
	w.clock.add(-48 * time.Hour) // it was wrong before
	if last(); snapshots != 2 {
		t.Errorf("with a time of the last compare that is to come: %d compares", snapshots)
	}
	at, err := LastFull(w.store, w.domain.Name)
	if err != nil || !at.Equal(w.clock.now()) {
		t.Errorf("stored is %v, %v", at, err)
	}
}
