package ad

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// TestI2_Wait: a change wakes the reader, one from before it watched as well,
// and nothing does not.
func TestI2_Wait(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		w := d.world(t)
		r := w.newReader(MethodDirSync, func(c *ReaderConfig) { c.Interval = time.Hour })
		m := w.mirror(r)
		w.addUser("before", w.people)
		w.must("wait", r.Wait(t.Context(), m.cursor)) // the hour is not waited for
		settle := func(what string) {
			t.Helper()
			for range 20 { // what comes of the test's own logons
				_, err := m.update(t.Context())
				w.must(what, err)
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				err = r.Wait(ctx, m.cursor)
				cancel()
				if errors.Is(err, context.DeadlineExceeded) {
					return
				}
				w.must(what, err)
			}
			t.Fatalf("%s: it is woken again and again", what)
		}
		settle("create")
		for what, change := range map[string]func(){
			"modify": func() { w.replace(w.dn("u1"), "title", "Boss") },
			"delete": func() { w.delete(w.dn("u2")) },
			"join":   func() { w.modify(w.dn("deep"), 0, "member", w.dn("u3")) },
		} {
			change()
			w.must(what, r.Wait(t.Context(), m.cursor))
			changes, err := m.update(t.Context())
			if err != nil || len(changes) == 0 {
				t.Errorf("%s: woken, and found %d changes, %v", what, len(changes), err)
			}
			settle(what)
		}
	})
}

// TestI2_WaitWithoutNotifications: what cannot be watched is polled.
func TestI2_WaitWithoutNotifications(t *testing.T) {
	d := simulated(t)
	w := d.world(t)
	r := w.newReader(MethodDirSync, func(c *ReaderConfig) { c.Interval = 50 * time.Millisecond })
	m := w.mirror(r)
	dials := &switchable{to: d.dial}
	r.client.cfg.DCs = dials
	for r.watch == nil {
		w.must("wait", r.Wait(t.Context(), m.cursor))
	}
	dials.set(failing{})
	d.sim.DropConnections()
	<-r.watch.ended
	began := time.Now()
	w.must("wait with a lost connection", r.Wait(t.Context(), m.cursor))
	if waited := time.Since(began); waited < r.interval {
		t.Errorf("waited %v, want the interval of %v", waited, r.interval)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Wait(ctx, m.cursor); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	dials.set(d.dial)
	d.connect(t)
	w.addUser("later", w.people)
	r.interval = time.Hour
	w.must("wait again", r.Wait(t.Context(), m.cursor))
}

// TestI2_WaitFollowsTheCursor: what another controller notifies of is of no
// use.
func TestI2_WaitFollowsTheCursor(t *testing.T) {
	d := simulated(t)
	w := d.world(t)
	r := w.newReader(MethodDirSync, func(c *ReaderConfig) { c.Interval = 50 * time.Millisecond })
	m := w.mirror(r)
	for r.watch == nil {
		w.must("wait", r.Wait(t.Context(), m.cursor))
	}
	const other = "dc2.corp.example.test"
	d.sim.SetHost(other)
	m = w.mirror(r)
	for try := 0; r.watch == nil || r.watch.host != other; try++ {
		if try > 20 {
			t.Fatal("it goes on watching the other controller")
		}
		w.must("wait", r.Wait(t.Context(), m.cursor))
	}
	_, err := r.Changes(t.Context(), m.cursor)
	w.must("changes", err)
	d.sim.SetHost("dc1.corp.example.test")
	_, err = r.Changes(t.Context(), m.cursor)
	wantReason(t, "another controller", err, other)
}

// TestI2_AccountRefused: a wrong password is tried once, not again and again.
func TestI2_AccountRefused(t *testing.T) {
	d := simulated(t)
	w := d.world(t)
	m := w.mirror(w.newReader(MethodAuto))
	r := w.newReader(MethodAuto, func(c *ReaderConfig) {
		c.Password, c.Interval = secret.New([]byte("Wr0ng.Word")), 10*time.Millisecond
	})
	if _, err := r.Snapshot(t.Context()); !errors.Is(err, ErrAccountRefused) {
		t.Errorf("got %v, want ErrAccountRefused", err)
	}
	w.must("wait", r.Wait(t.Context(), m.cursor))
	if got := w.attribute(d.reader, "badPwdCount"); got != "2" {
		t.Errorf("badPwdCount is %s, want 2 of two calls", got)
	}
}

// TestFindAdminsGroup: by sAMAccountName, and none is no error.
func TestFindAdminsGroup(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		w := d.world(t)
		r := w.newReader(MethodAuto)
		want := w.guid(w.dn(adminsGroup))
		w.move(w.dn(adminsGroup), "CN=other", "OU=Groups,"+w.base)
		if got, err := r.FindAdminsGroup(t.Context()); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
		w.delete("CN=other,OU=Groups," + w.base)
		if got, err := r.FindAdminsGroup(t.Context()); err != nil || got != (identity.GUID{}) {
			t.Errorf("deleted: got %s, %v, want none", got, err)
		}
	})
}
