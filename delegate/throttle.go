package delegate

import (
	"net/netip"
	"sync"
	"time"
)

// limiter is a token bucket for each key: a refusal takes a token. What is on
// its way takes one too, so that many at once do not get past it.
type limiter struct {
	burst float64
	every time.Duration
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket // guarded by mu
}

type bucket struct {
	tokens float64
	at     time.Time
}

// maxBuckets bounds the keys that are remembered.
const maxBuckets = 65_536

func newLimiter(burst int, every time.Duration, now func() time.Time) *limiter {
	return &limiter{burst: float64(burst), every: every, now: now, buckets: make(map[string]bucket)}
}

func (l *limiter) level(key string, now time.Time) float64 {
	b, ok := l.buckets[key]
	if !ok {
		return l.burst
	}
	return min(l.burst, b.tokens+float64(now.Sub(b.at))/float64(l.every))
}

// take takes a token, or says how long to wait for one.
func (l *limiter) take(key string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	level := l.level(key, now)
	if level < 1 {
		return time.Duration((1-level)*float64(l.every)) + time.Millisecond, false
	}
	if _, known := l.buckets[key]; !known && len(l.buckets) >= maxBuckets {
		l.sweep(now)
	}
	l.buckets[key] = bucket{tokens: level - 1, at: now}
	return 0, true
}

// back gives a token back: nothing was refused.
func (l *limiter) back(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	level := l.level(key, now) + 1
	if level >= l.burst {
		delete(l.buckets, key)
		return
	}
	l.buckets[key] = bucket{tokens: level, at: now}
}

// sweep makes room: full buckets go, and if there are none, any half.
func (l *limiter) sweep(now time.Time) {
	for key := range l.buckets {
		if l.level(key, now) >= l.burst {
			delete(l.buckets, key)
		}
	}
	for key := range l.buckets {
		if len(l.buckets) <= maxBuckets/2 {
			return
		}
		delete(l.buckets, key)
	}
}

// clientKey is the client's network: one host usually has a whole IPv6 /64.
func clientKey(client string) string {
	ip, err := netip.ParseAddr(client)
	if err != nil {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits)
	return prefix.String()
}
