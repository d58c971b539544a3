package dc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const second = DefaultHealthInterval + DefaultHealthTimeout

// A controller that is watched fails in every way, at every moment between two
// health reads.
func TestG9_LeavesWithinASecond(t *testing.T) {
	tests := []struct {
		mode mode
		most time.Duration
		why  string
	}{
		{refuses, 0, "connection refused"},
		{vanished, second, "did not answer"},
		{mute, second, "did not answer"},
		{deaf, second, "did not answer"},
		{floods, second, "did not answer"},
		{cuts, DefaultHealthInterval, "unexpected EOF"},
		{garbled, DefaultHealthInterval, "malformed"},
		{unsynced, DefaultHealthInterval, "not finished its first synchronisation"},
		{busy, DefaultHealthInterval, "busy"},
		{empty, DefaultHealthInterval, "without a root DSE"},
	}
	for _, test := range tests {
		for _, moment := range []time.Duration{1, DefaultHealthInterval / 2, DefaultHealthInterval - 1} {
			t.Run(fmt.Sprint(test.mode, " after ", moment), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					leaveAndReturn(t, test.mode, moment, test.most, test.why)
				})
			})
		}
	}
}

func leaveAndReturn(t *testing.T, m mode, moment, most time.Duration, why string) {
	n := newNetwork(t, "a.test", "b.test")
	var seen events
	s := n.set(Config{Observe: seen.observe}, "a.test", "b.test")
	defer n.run(s)()
	time.Sleep(10*DefaultHealthInterval + moment)
	wantDial(t, s, "a.test", 0)
	if up := names(seen.take()); len(up) != 2 {
		t.Fatalf("observed %q at first, want both up", up)
	}

	n.dc("a.test").becomes(m)
	failed := time.Now()
	time.Sleep(most)
	synctest.Wait()
	left := seen.take()
	if len(left) != 1 || left[0].what != "a.test down" {
		t.Fatalf("observed %q within %v, want only a.test down", names(left), most)
	}
	t.Logf("left after %v", left[0].at.Sub(failed))
	wantDial(t, s, "b.test", 0)
	st := s.Healthy()[0]
	if st.Up || !st.Since.Equal(left[0].at) || st.LastErr == nil || !strings.Contains(st.LastErr.Error(), why) {
		t.Errorf("status %+v, want down since then, because %q", st, why)
	}

	time.Sleep(time.Minute)
	wantEqual(t, "observed while it stays so", names(seen.take()), nil)
	n.dc("a.test").becomes(well)
	healed := time.Now()
	time.Sleep(maxRetry + 2*DefaultHealthTimeout)
	synctest.Wait()
	back := seen.take()
	if len(back) != 1 || back[0].what != "a.test up" {
		t.Fatalf("observed %q after it was well again, want a.test up", names(back))
	}
	t.Logf("returned after %v", back[0].at.Sub(healed))
	wantDial(t, s, "a.test", 0)
}

// A controller that closes idle connections, as Windows does after 15 minutes,
// stays in rotation.
func TestG9_ClosedIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.test")
		var seen events
		s := n.set(Config{Observe: seen.observe}, "a.test")
		defer n.run(s)()
		for range 20 {
			time.Sleep(3*DefaultHealthInterval + time.Millisecond)
			d := n.dc("a.test")
			d.mu.Lock()
			d.hangUp()
			d.mu.Unlock()
		}
		synctest.Wait()
		wantEqual(t, "observed", names(seen.take()), []string{"a.test up"})
	})
}

// A controller that is down is not hammered, one that is up costs two reads
// a second over one connection.
func TestG9_ReadsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.test", "b.test")
		s := n.set(Config{}, "a.test", "b.test")
		n.dc("b.test").becomes(refuses)
		defer n.run(s)()
		time.Sleep(time.Minute - time.Millisecond)
		synctest.Wait()
		dials := map[string]int{}
		for _, addr := range n.dialled() {
			dials[addr]++
		}
		if reads := n.dc("a.test").reads; reads != 120 || dials["a.test:636"] != 1 {
			t.Errorf("the good one: %d reads over %d connections, want 120 over 1", reads, dials["a.test:636"])
		}
		// 0, 0.25, 0.75, 1.75, 3.75, 7.75 s, then every 5 s.
		if got := dials["b.test:636"]; got != 16 {
			t.Errorf("the bad one: %d dials in a minute, want 16", got)
		}
	})
}

// A controller that answers and closes is well, and not looked at all the time.
func TestG9_ClosesAfterAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.test")
		var seen events
		s := n.set(Config{Observe: seen.observe}, "a.test")
		n.dc("a.test").becomes(hangsUp)
		defer n.run(s)()
		time.Sleep(time.Minute - time.Millisecond)
		synctest.Wait()
		wantEqual(t, "observed", names(seen.take()), []string{"a.test up"})
		if dials := len(n.dialled()); dials != 120 {
			t.Errorf("%d dials in a minute, want 120", dials)
		}
	})
}

func TestG9_ComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.test", "b.test")
		var seen events
		var s *Set
		s = n.set(Config{Observe: func(c string, up bool) {
			s.Healthy() // a callback may ask
			seen.observe(c, up)
		}}, "a.test", "b.test")
		defer n.run(s)()
		seen.take()

		if out := s.Outages(); out != nil {
			t.Errorf("outages %+v, want none", out)
		}
		// Its root DSE is well all the time, so it comes back; the more often
		// it fails, the later.
		for _, pause := range []time.Duration{firstRetry, 2 * firstRetry, 4 * firstRetry, 8 * firstRetry} {
			died := errors.New("it died")
			fail(s, "ldaps://a.test", died)
			fail(s, "ldaps://a.test", died) // again: no more news
			failed := time.Now()
			if out := s.Outages(); len(out) != 1 || out[0] != (Outage{"ldaps://a.test", failed, true}) {
				t.Errorf("outages %+v, want a.test's since now, with others", out)
			}
			wantDial(t, s, "b.test", 0)
			if st := s.Healthy()[0]; st.Up || !errors.Is(st.LastErr, died) {
				t.Errorf("status %+v, want down because it died", st)
			}
			time.Sleep(pause)
			synctest.Wait()
			list := seen.take()
			wantEqual(t, "observed", names(list), []string{"a.test down", "a.test up"})
			if len(list) == 2 && list[1].at.Sub(failed) != pause {
				t.Errorf("back after %v, want %v", list[1].at.Sub(failed), pause)
			}
			wantDial(t, s, "a.test", 0)
		}
		time.Sleep(stableAfter)
		fail(s, "ldaps://a.test", errors.New("it died"))
		time.Sleep(firstRetry)
		synctest.Wait()
		wantEqual(t, "observed after it was stable", names(seen.take()), []string{"a.test down", "a.test up"})
	})
}

// With all out of rotation, Dial tries all the same, and first the one that
// was well last. A handshake brings none of them back.
func TestG9_AllOutNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.test", "b.test", "c.test")
		s := n.set(Config{}, "a.test", "b.test", "c.test")
		defer n.run(s)()
		for _, host := range []string{"a.test", "c.test", "b.test"} {
			time.Sleep(10 * time.Second)
			n.dc(host).becomes(deaf)
		}
		time.Sleep(10 * time.Second)
		wantDial(t, s, "b.test", 0)
		n.dc("b.test").becomes(refuses)
		wantDial(t, s, "c.test", 0)
		for _, st := range s.Healthy() {
			if st.Up {
				t.Errorf("%s is up, want down", st.Name)
			}
		}
	})
}

func TestG9_ReadOnlyLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "ro.test", "rw.test")
		s := n.set(Config{}, "ro.test", "rw.test")
		n.dc("ro.test").becomes(readsOnly)
		defer n.run(s)()
		if !s.ReadOnly("ldaps://ro.test") || s.ReadOnly("ldaps://rw.test") || s.ReadOnly("ldaps://nobody.test") {
			t.Errorf("ReadOnly is wrong, status %+v", s.Healthy())
		}
		wantDial(t, s, "rw.test", 0)
		n.dc("rw.test").becomes(refuses)
		synctest.Wait()
		time.Sleep(second)
		n.dialled()
		wantDial(t, s, "ro.test", 0)
		wantEqual(t, "dialled", n.dialled(), []string{"ro.test:636"})

		_, _, err := s.DialWritable(t.Context())
		if !errors.Is(err, ErrUnreachable) || !errors.Is(err, errReadOnly) {
			t.Errorf("DialWritable: got %v, want ErrUnreachable, one being read-only", err)
		}
		wantEqual(t, "dialled to write", n.dialled(), []string{"rw.test:636"})
		n.dc("rw.test").becomes(well)
		conn, name, err := s.DialWritable(t.Context())
		if err != nil || name != "ldaps://rw.test" {
			t.Fatalf("DialWritable: %s, %v, want rw.test", name, err)
		}
		_ = conn.NetConn().Close()
	})
}

func TestHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.test", "b.test")
		requests := make(map[string]int)
		s := n.set(Config{ObserveRequest: func(c string, seconds float64) {
			if seconds < 0 || seconds > 1 {
				t.Errorf("a health read took %v s", seconds)
			}
			requests[c]++
		}}, "a.test")
		for _, st := range s.Healthy() {
			if st.Up || !st.Since.IsZero() || st.LastErr != nil {
				t.Errorf("before anything: %+v, want nothing known", st)
			}
		}
		begin := time.Now()
		stop := n.run(s)
		time.Sleep(second)
		if err := s.Run(t.Context()); err == nil {
			t.Error("a second Run is not refused")
		}
		stop()
		if st := s.Healthy()[0]; !st.Up || !st.Since.Equal(begin) || st.LastErr != nil {
			t.Errorf("after a second: %+v, want up since the beginning", st)
		}
		if got := requests["ldaps://a.test"]; got < 2 || got > 3 {
			t.Errorf("%d health reads observed in a second, want 2 or 3", got)
		}
		n.run(s)() // it may run again
	})
}

func TestStateIgnoresStaleSuccess(t *testing.T) {
	now := time.Now()
	var st state
	if !st.succeeded(now, now) {
		t.Error("the first success is no change")
	}
	if !st.failed(now.Add(2), errors.New("x")) {
		t.Error("the failure is no change")
	}
	if st.succeeded(now.Add(1), now.Add(3)) || st.up {
		t.Error("what began before the failure brought it back")
	}
	if !st.succeeded(now.Add(3), now.Add(4)) {
		t.Error("what began after the failure did not bring it back")
	}
}

func TestRetryDelay(t *testing.T) {
	var got []time.Duration
	for failures := range 8 {
		got = append(got, retryDelay(failures+1)/time.Millisecond)
	}
	if want := []time.Duration{250, 500, 1000, 2000, 4000, 5000, 5000, 5000}; !slices.Equal(got, want) {
		t.Errorf("got %v ms, want %v", got, want)
	}
}

// The end of Run during a health read says nothing about the controller.
func TestG9_RunEndsInARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.test", "b.test")
		var seen events
		s := n.set(Config{Observe: seen.observe}, "a.test", "b.test")
		n.dc("b.test").becomes(mute) // in a handshake
		stop := n.run(s)
		n.dc("a.test").becomes(deaf)
		time.Sleep(DefaultHealthInterval + DefaultHealthTimeout/2) // in a read
		begin := time.Now()
		stop()
		if took := time.Since(begin); took > DefaultHealthTimeout {
			t.Errorf("Run took %v to end, want at most %v", took, DefaultHealthTimeout)
		}
		wantEqual(t, "observed", names(seen.take()), []string{"a.test up"})
	})
}

// Changes are told one at a time and in order, also one that Observe causes.
func TestObserveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.test")
		var seen events
		var s *Set
		s = n.set(Config{Observe: func(c string, up bool) {
			seen.note(fmt.Sprint("begin ", up))
			if up {
				fail(s, c, errors.New("it died"))
			}
			seen.note(fmt.Sprint("end ", up))
		}}, "a.test")
		wantDial(t, s, "a.test", 0)
		wantEqual(t, "observed", names(seen.take()), []string{"begin true", "end true", "begin false", "end false"})
	})
}
