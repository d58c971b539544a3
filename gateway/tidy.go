package gateway

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// tidier decides when memory is given back to the system. What sessions used
// before they came to rest is garbage, but while nothing happens nothing
// collects it: the runtime would keep it for two minutes, and most of it for
// much longer.
type tidier struct {
	rested atomic.Int64 // sessions that came to rest since the last time

	mu   sync.Mutex
	last time.Time // guarded by mu
}

// A collection looks at all of memory. So there is one only when a quarter of
// the sessions came to rest, and not more than one in tidyPause.
const (
	tidyEvery  = 10 * time.Second // looked for
	tidyPause  = 20 * time.Second
	tidyRested = 256 // sessions at least
)

// isDue reports whether it is time, and counts anew if so.
func (t *tidier) isDue(now time.Time, sessions int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rested.Load() < int64(max(tidyRested, sessions/4)) || now.Sub(t.last) < tidyPause {
		return false
	}
	t.rested.Store(0)
	t.last = now
	return true
}

// tidyUp gives memory back until the server closes.
func (s *Server) tidyUp() {
	defer s.running.Done()
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			if s.tidier.isDue(now, s.sessionCount()) {
				debug.FreeOSMemory()
			}
		case <-s.done:
			return
		}
	}
}

func (s *Server) sessionCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}
