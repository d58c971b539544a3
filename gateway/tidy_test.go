package gateway

import (
	"testing"
	"time"
)

func TestTidier(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name             string
		rested, sessions int
		since            time.Duration
		want             bool
	}{
		{"few", tidyRested - 1, 0, time.Hour, false},
		{"enough", tidyRested, 4 * tidyRested, time.Hour, true},
		{"less than a quarter", tidyRested, 4*tidyRested + 4, time.Hour, false},
		{"too soon", 5000, 5000, tidyPause - 1, false},
		{"after the pause", 5000, 5000, tidyPause, true},
	} {
		td := tidier{last: now.Add(-tt.since)}
		td.rested.Store(int64(tt.rested))
		if got := td.isDue(now, tt.sessions); got != tt.want {
			t.Errorf("%s: due %v, want %v", tt.name, got, tt.want)
		}
		if tt.want && td.isDue(now.Add(time.Hour), tt.sessions) {
			t.Errorf("%s: due again, and nothing came to rest since", tt.name)
		}
	}
}

// TestSessionsAtRest: a session at rest gives back what a request needed, and
// works when it is woken, again and again.
func TestSessionsAtRest(t *testing.T) {
	r, _ := newRig(t, answerAll, func(c *Config) { c.quiet = 20 * time.Millisecond })
	c := r.dial()
	for i := range int32(3) {
		c.bind(1 + i)
		sess := r.onlySession()
		receiveUntil(t, func() bool {
			sess.flight.mu.Lock()
			defer sess.flight.mu.Unlock()
			return sess.flight.pending == nil
		})
	}
	if n := r.server.tidier.rested.Load(); n < 3 {
		t.Errorf("%d sessions came to rest, want 3", n)
	}
}
