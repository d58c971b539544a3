package delegate

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

func TestLimiter(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	l := newLimiter(2, time.Minute, func() time.Time { return now })
	take := func(key string, want bool) {
		t.Helper()
		if wait, ok, err := l.take(t.Context(), key); err != nil || ok != want || !ok && (wait <= 0 || wait > time.Minute+time.Millisecond) {
			t.Errorf("take %s: %v, %v, %v", key, wait, ok, err)
		}
	}
	refused := func(key string) { take(key, true); l.done(key, true) }
	for range 5 {
		take("a", true)
		l.done("a", false)
	}
	if len(l.buckets) != 0 {
		t.Errorf("%d keys are remembered although nothing was refused", len(l.buckets))
	}
	refused("a")
	refused("a")
	take("a", false)
	refused("b")
	now = now.Add(time.Minute)
	refused("a")
	take("a", false)
	take("kept", true)
	for i := range maxBuckets + 10 {
		refused(strconv.Itoa(i))
	}
	if len(l.buckets) > maxBuckets {
		t.Errorf("%d keys are remembered", len(l.buckets))
	}
	l.done("kept", true) // on its way, it was not forgotten
}

// TestThrottle_Memory: what is remembered of a name that is nobody's has a length
// that does not depend on it.
func TestThrottle_Memory(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"nobody", "CN=" + strings.Repeat("x", MaxDN-100) + "," + w.domain.BaseDN} {
		w.want(name, "Wrong.Pass1", "refused bad_credentials")
	}
	for key := range w.users.buckets {
		if len(key) > 64 {
			t.Errorf("a key of %d bytes", len(key))
		}
	}
	if n := len(w.users.buckets); n != 2 {
		t.Errorf("%d keys are remembered, want 2", n)
	}
}

// TestLimiter_AtOnce: no more is let on its way than may be refused; the rest
// waits, and goes ahead or is sent away by what the answers are.
func TestLimiter_AtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(2, time.Hour, time.Now)
		for range 2 {
			if _, ok, err := l.take(t.Context(), "a"); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		var mu sync.Mutex
		var went, sent int
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				_, ok, err := l.take(t.Context(), "a")
				mu.Lock()
				defer mu.Unlock()
				if ok {
					went++
				} else if err == nil {
					sent++
				}
			})
		}
		count := func(wantWent, wantSent int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if went != wantWent || sent != wantSent {
				t.Errorf("%d went ahead and %d were sent away, want %d and %d", went, sent, wantWent, wantSent)
			}
		}
		count(0, 0)
		l.done("a", false) // right: one more may go
		count(1, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, ok, err := l.take(ctx, "a"); ok || !errors.Is(err, errBusy) {
			t.Errorf("out of time: %v, %v", ok, err)
		}
		l.done("a", true)
		count(1, 0)
		l.done("a", true)
		count(1, 2)
		all.Wait()
	})
}

// TestThrottle_RightAtOnce: an account may sign in from many sides at once.
func TestThrottle_RightAtOnce(t *testing.T) {
	v, _ := newStubbed(t)
	var all sync.WaitGroup
	for range 3 * DefaultPerUser {
		all.Go(func() {
			for range 3 {
				if got := short(v.Validate(t.Context(), "alice", pw(right), "192.0.2.1")); got != "accepted ad" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	all.Wait()
}

// TestSetThrottle: other bounds hold at once, and what was refused counts.
func TestSetThrottle(t *testing.T) {
	v, _ := newStubbed(t)
	ask := func(password, want string) {
		t.Helper()
		if got := short(v.Validate(t.Context(), "alice", pw(password), "192.0.2.1")); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	ask("wrong1", "refused bad_credentials")
	ask("wrong2", "refused bad_credentials")
	v.SetThrottle(Throttle{PerUser: 3})
	ask("wrong3", "refused bad_credentials")
	ask(right, "undecided throttled")
	v.SetThrottle(Throttle{PerUser: 4})
	ask(right, "accepted ad")
}

// TestThrottle_Strangers: who uses up what an account may be refused keeps
// nobody out of a network that its right password came from, and no guess is
// free there.
func TestThrottle_Strangers(t *testing.T) {
	v, _ := newStubbed(t)
	ask := func(client, password, want string) {
		t.Helper()
		if got := short(v.Validate(t.Context(), "alice", pw(password), client)); got != want {
			t.Errorf("from %s: got %q, want %q", client, got, want)
		}
	}
	const home, stranger = "2001:db8:1:2::3", "203.0.113.9"
	ask(home, right, "accepted ad")
	for i := range DefaultPerUser {
		ask(stranger, "wrong"+strconv.Itoa(i), "refused bad_credentials")
	}
	ask(stranger, right, "undecided throttled")
	ask("198.51.100.1", right, "undecided throttled")
	ask("2001:db8:1:2::4", right, "accepted ad")
	for i := range DefaultPerUser {
		ask(home, "guess"+strconv.Itoa(i), "refused bad_credentials")
	}
	ask(home, right, "undecided throttled")
}

// TestThrottle_Repeated: a wrong password that is known to be wrong uses up
// nothing of the account's, whose owner may have a phone with an old one.
func TestThrottle_Repeated(t *testing.T) {
	for name, set := range map[string]func(*world){
		"AD's":            func(w *world) { w.domain.UseCase = identity.UseAD },
		"delegated to AD": func(w *world) { w.inCloud("alice", func(u *CloudUser) { u.DelegatedToAD = true }) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, set)
			for range DefaultPerUser + 5 {
				w.want("alice", "Old.Pass1", "refused bad_credentials")
				w.want("nobody", "Old.Pass1", "refused bad_credentials")
			}
			if got := w.ask("alice", right); !strings.HasPrefix(got, "accepted") {
				t.Errorf("the right password: %q", got)
			}
		})
	}
}

func TestFamiliar(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	f := newFamiliar(func() time.Time { return now })
	f.came("alice", "home")
	if a, b, c := f.key("alice", "home"), f.key("alice", "away"), f.key("bob", "home"); a == "alice" || b != "alice" || c != "bob" {
		t.Errorf("keys %q, %q, %q", a, b, c)
	}
	now = now.Add(familiarFor)
	if got := f.key("alice", "home"); got != "alice" {
		t.Errorf("after %s without a sign-in the key is %q", familiarFor, got)
	}
	for i := range maxFamiliar + 10 {
		f.came("alice", strconv.Itoa(i))
	}
	if n := len(f.last); n > maxFamiliar {
		t.Errorf("%d networks are remembered", n)
	}
}
