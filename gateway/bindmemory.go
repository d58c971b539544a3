package gateway

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// lessons is what the server remembers of binds that could teach a password:
// which need not be looked at, as keyed fingerprints and in memory only, and
// how many are being recorded.
//
// A password that was recorded, or that JumpCloud has, is not looked at again
// for the length of Config.OldPasswordPeriod. That delays nothing: if the account gets it anew
// meanwhile, a bind is no proof of it before that time is over anyway.
type lessons struct {
	recorder BindRecorder
	marks    *marker
	now      func() time.Time
	minAge   time.Duration // of a password, for a bind to prove it
	settled  time.Duration // for which nothing new is to be learnt

	waiting, working chan struct{} // a value for each being recorded
	ctx              context.Context
	stop             context.CancelFunc

	mu sync.Mutex
	// known says when a password of a name is to be looked at again. The older
	// half is forgotten when there are too many; guarded by mu.
	known, older map[fingerprint]time.Time
}

const (
	maxKnown = 32_768 // fingerprints in each half, 40 bytes each
	// maxLessons is how many passwords wait in memory to be recorded, at most;
	// of more the next bind of each is taken.
	maxLessons = 256
	// lessonWorkers is how many are recorded at a time: each may ask AD and
	// JumpCloud whether it is wanted.
	lessonWorkers = 4
	// lessonTime bounds the recording of one.
	lessonTime = 30 * time.Second
	// lessonClaim is for how long a password that is being looked at is left
	// alone, and one where that failed.
	lessonClaim = time.Minute
	// proofMargin is added to OldPasswordPeriod: controllers of a domain may
	// have clocks that far apart (RFC 4120 section 1.6).
	proofMargin = 5 * time.Minute
)

func newLessons(cfg *Config, marks *marker) *lessons {
	l := &lessons{
		recorder: cfg.Binds, marks: marks, now: cfg.now,
		minAge: cfg.OldPasswordPeriod + proofMargin, settled: cfg.OldPasswordPeriod,
		waiting: make(chan struct{}, maxLessons), working: make(chan struct{}, lessonWorkers),
		known: make(map[fingerprint]time.Time),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// fingerprint tells the passwords of one name from those of another; key is
// made by nameKey.
func (*lessons) fingerprint(key string, m mark) fingerprint {
	sum := sha256.Sum256(append(m[:len(m):len(m)], key...))
	return fingerprint(sum[:len(fingerprint{})])
}

// isKnown reports whether nothing is to be learnt from a password now.
func (l *lessons) isKnown(print fingerprint) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.knows(print)
}

// knows is isKnown; the caller holds mu.
func (l *lessons) knows(print fingerprint) bool {
	until, ok := l.known[print]
	if !ok {
		until, ok = l.older[print]
	}
	return ok && l.now().Before(until)
}

// claim is given to one of those who would look at a password at the same time.
func (l *lessons) claim(print fingerprint) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.knows(print) {
		return false
	}
	l.put(print, lessonClaim)
	return true
}

// leave lets a password alone for a while.
func (l *lessons) leave(print fingerprint, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(print, d)
}

// put is leave; the caller holds mu.
func (l *lessons) put(print fingerprint, d time.Duration) {
	if _, ok := l.known[print]; !ok && len(l.known) >= maxKnown {
		l.older, l.known = l.known, make(map[fingerprint]time.Time)
	}
	l.known[print] = l.now().Add(d)
}
