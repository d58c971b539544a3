package ad

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
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
		first := w.newReader(MethodAuto, func(c *ReaderConfig) { c.Account, c.Interval = d.lowly, time.Hour })
		before := w.mirror(first)
		w.delete(w.dn("u1"))
		w.must("wait after a complete read", first.Wait(t.Context(), before.cursor)) // not for an hour
		quiet("before")
		guid := w.guid(w.dn("u2"))
		w.delete(w.dn("u2"))
		for _, known := m.users[guid]; known; _, known = m.users[guid] {
			w.must("wait", r.Wait(t.Context(), m.cursor)) // not for an hour
			b, err := r.Changes(t.Context(), m.cursor)
			w.must("changes", err)
			if m.cursor = b.Cursor; !b.Look {
				continue // woken by what was written before
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

// TestSeesDeleted: who may see deleted objects, and who may not.
func TestSeesDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		w := d.world(t)
		for account, want := range map[string]bool{d.lowly: false, d.reader: true} {
			c, err := New(Config{DCs: d.dial, Account: account, Password: d.password})
			w.must("client", err)
			sees, err := c.SeesDeleted(t.Context(), w.base)
			c.Close()
			if w.must("ask", err); sees != want {
				t.Errorf("%s sees deleted objects: %v", account, sees)
			}
		}
	})
	if grant := ShowDeleted("DC=corp,DC=example", "svc@corp.example"); grant[1] != `dsacls "CN=Deleted Objects,DC=corp,DC=example" /G "svc@corp.example:LCRP"` {
		t.Errorf("the command is %s", grant[1])
	}
}

// TestDeleted: the object of a deletion is found by who may see it, and there
// is none of what is there, or never was.
func TestDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		w := d.world(t)
		here, gone := w.guid(w.addUser("here", w.people)), w.guid(w.addUser("gone", w.people))
		w.delete(w.dn("gone"))
		for _, tt := range []struct {
			what, account  string
			guid           identity.GUID
			deleted, known bool
		}{
			{"deleted", d.reader, gone, true, true},
			{"there", d.reader, here, false, true},
			{"never was", d.reader, identity.GUID{1, 2, 3}, false, true},
			{"deleted, out of sight", d.lowly, gone, false, false},
		} {
			c, err := New(Config{DCs: d.dial, Account: tt.account, Password: d.password})
			w.must("client", err)
			deleted, known, err := c.Deleted(t.Context(), w.base, tt.guid)
			c.Close()
			if w.must(tt.what, err); deleted != tt.deleted || known != tt.known {
				t.Errorf("%s: deleted %v, known %v", tt.what, deleted, known)
			}
		}
	})
}

// TestLookPace: listing everything takes up no more than its share of the time,
// and nothing is listed for writes that were shown.
func TestLookPace(t *testing.T) {
	now := time.Now()
	l := looked{blind: true}
	if l.due(now) {
		t.Error("due before anything was read")
	}
	l.wrote("dc1", 100, 100, 0)
	if !l.due(now) {
		t.Error("not due after the first read of a controller: what came before is not known")
	}
	l.done(now, now)
	for _, tt := range []struct {
		what       string
		host       string
		since, usn uint64
		shown      int
		want       bool
	}{
		{"nothing", "dc1", 100, 100, 0, false},
		{"a write that was shown", "dc1", 100, 101, 1, false},
		{"one of two was shown", "dc1", 101, 103, 1, true},
		{"another controller", "dc2", 103, 103, 0, true},
	} {
		l.wrote(tt.host, tt.since, tt.usn, tt.shown)
		if got := l.due(now); got != tt.want {
			t.Errorf("%s: due %v", tt.what, got)
		}
		l.done(now, now)
	}
	if (&looked{hidden: true}).due(now) {
		t.Error("an account that sees deletions need not look")
	}

	// A listing takes 2 s, and there is always something to list for.
	var listed, longest time.Duration
	began, last := now, now
	for now.Sub(began) < time.Hour {
		if l.hidden = true; l.due(now) {
			l.done(now, now.Add(2*time.Second))
			now = now.Add(2 * time.Second)
			listed += 2 * time.Second
			longest, last = max(longest, now.Sub(last)), now
			continue
		}
		now = now.Add(lookEvery)
	}
	if most := time.Hour/lookShare + lookBurst + 2*time.Second; listed > most || listed < time.Hour/lookShare || longest > 45*time.Second {
		t.Errorf("in an hour everything was listed for %v, want at most %v; the longest time without was %v", listed, most, longest)
	}
}
