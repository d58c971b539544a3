package replicate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// crossWorld lets a test do things while the engine writes a password.
type crossWorld struct {
	*world
	direct *jumpcloud.Client // what users ask
	// hook is called right before and right after a password arrives, and answers
	// whether it shall get lost: the request before, the answer after.
	hook   func(to identity.Side, arrived bool) (lost bool)
	writes []identity.Side
	last   int // number of the last password
}

func newCrossWorld(t *testing.T) *crossWorld {
	w := &crossWorld{world: syncing(t), hook: func(identity.Side, bool) bool { return false }}
	w.direct = w.peers.JumpCloud
	writer := w.peers.Writer
	w.connect(func(_ *ad.Config, jc *jumpcloud.Config) {
		jc.HTTP = &http.Client{Transport: hookedTransport{w, jc.HTTP.Transport}}
		jc.Timeout = time.Minute // the hook has time
	})
	w.peers.Writer = hookedWriter{w, writer}
	return w
}

var errLost = errors.New("injected: connection reset")

type hookedTransport struct {
	w *crossWorld
	http.RoundTripper
}

func (h hookedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/password") {
		return h.RoundTripper.RoundTrip(r)
	}
	if h.w.hook(identity.JumpCloud, false) {
		return nil, errLost
	}
	h.w.writes = append(h.w.writes, identity.JumpCloud)
	res, err := h.RoundTripper.RoundTrip(r)
	if err == nil && h.w.hook(identity.JumpCloud, true) {
		_ = res.Body.Close()
		return nil, errLost
	}
	return res, err
}

type hookedWriter struct {
	w *crossWorld
	PasswordWriter
}

func (h hookedWriter) SetPassword(ctx context.Context, guid identity.GUID, password secret.Bytes) (identity.User, error) {
	lost := fmt.Errorf("%w: %w", ad.ErrUnknown, errLost)
	if h.w.hook(identity.AD, false) {
		return identity.User{}, lost
	}
	h.w.writes = append(h.w.writes, identity.AD)
	u, err := h.PasswordWriter.SetPassword(ctx, guid, password)
	if err == nil && h.w.hook(identity.AD, true) {
		return identity.User{}, lost
	}
	return u, err
}

// userChange is a change that somebody makes at a side.
type userChange struct {
	seq      identity.Seq
	password string
}

// begin makes a change at a side, whose answer is not recorded yet; made: the
// side takes it.
func (w *crossWorld) begin(at identity.Side, made bool) userChange {
	w.t.Helper()
	w.clock.add(time.Second)
	w.last++
	c := userChange{password: fmt.Sprintf("Crossing.%d", w.last)}
	if at == identity.AD {
		c.seq = w.intend(w.alice, c.password)
	} else {
		c.seq = w.changing(c.password)
	}
	w.clock.add(time.Second)
	switch {
	case !made:
	case at == identity.AD:
		w.resetAtDC(w.alice.DN, c.password)
	default:
		w.ok(w.direct.SetPassword(w.t.Context(), w.id, secret.New([]byte(c.password))))
	}
	return c
}

func (w *crossWorld) end(c userChange, outcome identity.Outcome) {
	w.t.Helper()
	w.clock.add(time.Second)
	w.settle(c.seq, outcome)
}

func (w *crossWorld) change(at identity.Side) userChange {
	w.t.Helper()
	c := w.begin(at, true)
	w.end(c, identity.OutcomeAccepted)
	return c
}

// converge works until nothing is pending.
func (w *crossWorld) converge() {
	w.t.Helper()
	for range 60 {
		w.step()
		stats, err := w.store.Stats()
		w.ok(err)
		if stats.Pending[identity.Import]+stats.Pending[identity.Sync]+stats.Unsettled[identity.Import]+stats.Unsettled[identity.Sync] == 0 {
			return
		}
		w.clock.add(6 * time.Minute)
	}
	w.t.Fatal("something is still pending")
}

// wantBoth proves a password on both sides, when AD does not accept the one
// before any more.
func (w *crossWorld) wantBoth(c userChange, what string) {
	w.t.Helper()
	w.clock.add(2 * time.Hour)
	if inAD, inCloud := w.acceptedInAD(c.password), w.accepts("alice", c.password); !inAD || !inCloud {
		w.t.Fatalf("%s: change %d is in AD: %t, at JumpCloud: %t", what, c.seq, inAD, inCloud)
	}
}

func other(side identity.Side) identity.Side {
	if side == identity.AD {
		return identity.JumpCloud
	}
	return identity.AD
}

// TestP2_Crossing: a password that is on its way while a newer one is set where
// it goes does not outlive it, whatever of the two is seen first.
func TestP2_Crossing(t *testing.T) {
	const accepted = identity.OutcomeAccepted
	for name, run := range map[string]func(w *crossWorld, from identity.Side) (newest userChange, writes int){
		"set and accepted before the older arrives": func(w *crossWorld, from identity.Side) (n userChange, _ int) {
			w.change(from)
			w.once(false, false, func() { n = w.change(other(from)) })
			w.step()
			return n, 3
		},
		"set before, accepted after the older has arrived": func(w *crossWorld, from identity.Side) (n userChange, _ int) {
			w.change(from)
			w.once(false, false, func() { n = w.begin(other(from), true) })
			w.step()
			w.end(n, accepted)
			return n, 3
		},
		"accepted after the older has arrived, whose answer is lost": func(w *crossWorld, from identity.Side) (n userChange, _ int) {
			w.change(from)
			w.once(false, true, func() { n = w.begin(other(from), true) })
			w.step()
			w.end(n, accepted)
			return n, 3
		},
		"set after the older was done": func(w *crossWorld, from identity.Side) (userChange, int) {
			w.change(from)
			w.step()
			return w.change(other(from)), 2
		},
		"an older one of the other side is still being set": func(w *crossWorld, from identity.Side) (userChange, int) {
			late := w.begin(other(from), false)
			n := w.change(from)
			w.step() // it must not be written yet
			if len(w.writes) > 0 {
				w.t.Errorf("written to %v while a change was being made", w.writes)
			}
			if e := w.want(n.seq, identity.StatusPending, late.seq.String()); !strings.Contains(e.Reason, "is being made") {
				w.t.Errorf("the reason is %q", e.Reason)
			}
			w.take(other(from), late)
			w.end(late, accepted)
			return n, 1
		},
		"one that never gets an answer holds up for ten minutes": func(w *crossWorld, from identity.Side) (userChange, int) {
			late := w.begin(other(from), false)
			w.settle(late.seq, identity.OutcomeUnknown)
			return w.change(from), 1
		},
		"a third one at the newer's side while it is given back": func(w *crossWorld, from identity.Side) (n userChange, _ int) {
			w.change(from)
			w.once(false, false, func() { w.change(other(from)) })
			w.onBack(other(from), func() { n = w.begin(other(from), true) })
			w.step()
			w.step()
			w.end(n, accepted)
			return n, 6 // each of the second and the third to both, and once more the second's way back
		},
		"a third one at the newer's side, accepted while it is given back": func(w *crossWorld, from identity.Side) (n userChange, _ int) {
			w.change(from)
			w.once(false, false, func() { w.change(other(from)) })
			w.onBack(other(from), func() { n = w.change(other(from)) })
			w.step()
			w.step()
			return n, 5 // the first, and each of the second and the third to both sides
		},
	} {
		for _, from := range []identity.Side{identity.AD, identity.JumpCloud} {
			t.Run(name+", from "+string(from), func(t *testing.T) {
				w := newCrossWorld(t)
				newest, writes := run(w, from)
				w.converge()
				w.wantBoth(newest, name)
				w.want(newest.seq, identity.StatusApplied, "")
				if len(w.writes) != writes {
					t.Errorf("written to %v, want %d writes", w.writes, writes)
				}
			})
		}
	}
}

// take makes a begun change at its side.
func (w *crossWorld) take(at identity.Side, c userChange) {
	w.t.Helper()
	if at == identity.AD {
		w.resetAtDC(w.alice.DN, c.password)
		return
	}
	w.ok(w.direct.SetPassword(w.t.Context(), w.id, secret.New([]byte(c.password))))
}

// once does something at the next write, before or after it arrives, and may
// lose its answer.
func (w *crossWorld) once(after, lose bool, do func()) {
	done := false
	w.hook = func(_ identity.Side, arrived bool) bool {
		if arrived == after && !done {
			done = true
			do()
		}
		if arrived && lose {
			lose = false
			return true
		}
		return false
	}
}

// onBack does something before the second write to a side arrives, beside what
// the hook does.
func (w *crossWorld) onBack(to identity.Side, do func()) {
	before, seen := w.hook, 0
	w.hook = func(side identity.Side, arrived bool) bool {
		lost := before(side, arrived)
		if side == to && !arrived {
			if seen++; seen == 2 {
				do()
			}
		}
		return lost
	}
}

// TestP2_CrossingHistories: random histories of changes on both sides, which the
// sides take, refuse and answer at any moment of the engine's writes, whose
// requests and answers get lost: both sides end with the newest accepted
// password.
func TestP2_CrossingHistories(t *testing.T) {
	w := newCrossWorld(t)
	histories := 24
	if testing.Short() {
		histories = 6
	}
	crossed := 0
	for seed := range histories {
		crossed += w.history(rand.New(rand.NewPCG(uint64(seed), 7)), seed)
	}
	if crossed == 0 {
		t.Error("no password was ever given back: the histories do not cross")
	}
}

func (w *crossWorld) history(r *rand.Rand, seed int) (givenBack int) {
	w.t.Helper()
	type open struct {
		userChange
		takes, taken bool // its side
	}
	under := map[identity.Side]*open{}
	var newest userChange
	left := 8
	act := func() {
		side := []identity.Side{identity.AD, identity.JumpCloud}[r.IntN(2)]
		c := under[side]
		switch {
		case c == nil && left > 0:
			left--
			under[side] = &open{userChange: w.begin(side, false), takes: r.IntN(4) > 0}
		case c != nil && c.takes && !c.taken:
			c.taken = true
			w.take(side, c.userChange)
		case c != nil && c.taken:
			delete(under, side)
			w.end(c.userChange, identity.OutcomeAccepted)
			if c.seq > newest.seq {
				newest = c.userChange
			}
		case c != nil:
			delete(under, side)
			w.end(c.userChange, identity.OutcomeRefused)
		}
	}
	w.hook = func(identity.Side, bool) bool {
		w.clock.add(time.Second)
		for r.IntN(2) == 0 {
			act()
		}
		return r.IntN(6) == 0
	}
	for range 30 {
		if r.IntN(2) == 0 {
			act()
		} else {
			w.step()
		}
		if r.IntN(8) == 0 {
			w.engine = w.newEngine()
		}
		w.clock.add(time.Duration(r.IntN(8)) * time.Second) // nothing is answered after ten minutes
	}
	w.hook = func(identity.Side, bool) bool { return false }
	for len(under) > 0 {
		act()
	}
	w.converge()
	if newest.seq != 0 {
		w.wantBoth(newest, fmt.Sprintf("history %d", seed))
	}
	all, err := w.store.Passwords(identity.Change{Direction: identity.Import, Account: w.alice})
	w.ok(err)
	for _, e := range all {
		if !e.Landed.IsZero() {
			givenBack++
		}
	}
	return givenBack
}

// TestP2_CrossingRefusedBack: a password that its own side refuses to take again,
// and that a third one ended meanwhile, has still arrived late on the other side.
func TestP2_CrossingRefusedBack(t *testing.T) {
	w := newCrossWorld(t)
	var third userChange
	w.change(identity.JumpCloud)
	w.once(false, false, func() { w.change(identity.AD) })
	w.step()
	w.once(false, false, func() { third = w.begin(identity.JumpCloud, true) })
	writer := w.peers.Writer
	w.peers.Writer = refusingWriter{writer, func() { w.end(third, identity.OutcomeAccepted) }}
	w.step()
	w.peers.Writer = writer
	w.converge()
	w.wantBoth(third, "refused on the way back")
}

// refusingWriter has no right to set passwords, and does something meanwhile.
type refusingWriter struct {
	PasswordWriter
	do func()
}

func (r refusingWriter) SetPassword(context.Context, identity.GUID, secret.Bytes) (identity.User, error) {
	r.do()
	return identity.User{}, fmt.Errorf("injected: %w", ad.ErrRights)
}

// TestP2_CrossingPaused: a password is not written back to a side for which
// writing is paused, until it is resumed.
func TestP2_CrossingPaused(t *testing.T) {
	for own, back := range map[identity.Side]identity.Direction{identity.AD: identity.Sync, identity.JumpCloud: identity.Import} {
		t.Run(string(back), func(t *testing.T) {
			w := newCrossWorld(t)
			var newest userChange
			w.change(other(own))
			w.once(false, false, func() { newest = w.change(own) })
			w.step()
			w.ok(w.store.SetPaused(t.Context(), domainName, back, true, "admin"))
			for range 3 {
				w.step()
				w.clock.add(6 * time.Minute)
			}
			if len(w.writes) != 2 {
				t.Fatalf("written to %v while %s is paused", w.writes, back)
			}
			w.want(newest.seq, identity.StatusPending, "paused")
			w.ok(w.store.SetPaused(t.Context(), domainName, back, false, "admin"))
			w.converge()
			w.wantBoth(newest, "resumed")
		})
	}
}
