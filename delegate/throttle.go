package delegate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// SetThrottle replaces the bounds of refusals while the Validator runs. What was
// refused counts.
func (v *Validator) SetThrottle(t Throttle) {
	t = t.withDefaults()
	v.clients.set(t.PerClient, t.PerClientEvery)
	v.users.set(t.PerUser, t.PerUserEvery)
}

// limiter is a token bucket for each key: a refusal takes a token, and nothing
// else does. What is on its way may become a refusal, so no more is let on its
// way than there are tokens; the rest waits for an answer, and is sent away only
// when there is no token left and nothing on its way that may leave one.
type limiter struct {
	now func() time.Time

	mu      sync.Mutex
	burst   float64            // guarded by mu
	every   time.Duration      // guarded by mu
	buckets map[string]*bucket // guarded by mu
}

type bucket struct {
	tokens  float64
	at      time.Time     // when there were as many
	onWay   int           // on their way
	waiting int           // for one of them
	changed chan struct{} // closed when one is answered; nil: nobody waits
}

// maxBuckets bounds the keys that are remembered.
const maxBuckets = 65_536

func newLimiter(burst int, every time.Duration, now func() time.Time) *limiter {
	return &limiter{burst: float64(burst), every: every, now: now, buckets: make(map[string]*bucket)}
}

// set replaces the bounds; the refusals that a bucket holds stay.
func (l *limiter) set(burst int, every time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, b := range l.buckets {
		b.tokens, b.at = l.level(b, now)+float64(burst)-l.burst, now
	}
	l.burst, l.every = float64(burst), every
}

// level is how many tokens a bucket has; the caller holds mu.
func (l *limiter) level(b *bucket, now time.Time) float64 {
	return min(l.burst, b.tokens+float64(now.Sub(b.at))/float64(l.every))
}

// errBusy: others of the same key were not answered in time.
var errBusy = errors.New("other sign-ins of the same account or client are not answered yet")

// take lets a sign-in go ahead, which must be given back with done, or says how
// long to wait until one may be refused again. The error wraps errBusy, and
// comes when ctx ends before that is known.
func (l *limiter) take(ctx context.Context, key string) (wait time.Duration, ok bool, err error) {
	for {
		l.mu.Lock()
		now := l.now()
		b := l.buckets[key]
		if b == nil {
			if len(l.buckets) >= maxBuckets {
				l.sweep(now)
			}
			b = &bucket{tokens: l.burst, at: now}
			l.buckets[key] = b
		}
		level := l.level(b, now)
		switch {
		case level >= float64(b.onWay)+1:
			b.onWay++
			l.mu.Unlock()
			return 0, true, nil
		case b.onWay == 0:
			l.mu.Unlock()
			return time.Duration((1-level)*float64(l.every)) + time.Millisecond, false, nil
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.waiting++
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", errBusy, context.Cause(ctx))
		}
		l.mu.Lock()
		b.waiting--
		l.mu.Unlock()
		if err != nil {
			return 0, false, err
		}
	}
}

// done is called with the answer to what take let go.
func (l *limiter) done(key string, refused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, now := l.buckets[key], l.now()
	b.onWay--
	if refused {
		b.tokens, b.at = l.level(b, now)-1, now
	}
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	if l.idle(b, now) {
		delete(l.buckets, key)
	}
}

// idle: the bucket says nothing that a new one would not.
func (l *limiter) idle(b *bucket, now time.Time) bool {
	return b.onWay == 0 && b.waiting == 0 && l.level(b, now) >= l.burst
}

// sweep makes room: full buckets go, and if there are none, any half of those
// that nothing is on its way of.
func (l *limiter) sweep(now time.Time) {
	for key, b := range l.buckets {
		if l.idle(b, now) {
			delete(l.buckets, key)
		}
	}
	for key, b := range l.buckets {
		if len(l.buckets) <= maxBuckets/2 {
			return
		}
		if b.onWay == 0 && b.waiting == 0 {
			delete(l.buckets, key)
		}
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
