package portal

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/dirgate/dirgate/delegate"
)

// How long sessions last. A password portal is visited for minutes.
const (
	sessionIdle     = 10 * time.Minute
	sessionLife     = time.Hour
	sessionMustLife = 10 * time.Minute // of one that may only change the password
)

// Bounds of what is kept in memory.
const (
	maxSessions        = 20_000
	maxSessionsPerUser = 8
)

// session is what is remembered of a browser in which somebody has signed in.
type session struct {
	user delegate.User
	name string // what the Directory is asked by
	// must is why the user may only change the password, and is not signed in:
	// Expired or MustChange; else empty.
	must delegate.Reason
	csrf string
	note *note // to be shown once

	born, seen time.Time
}

// owner is the same for all sessions of an account.
func (s session) owner() string {
	switch {
	case !s.user.GUID.IsZero():
		return s.user.GUID.String()
	case s.user.JumpCloudID != "":
		return s.user.JumpCloudID
	}
	return s.name
}

// is reports whether a user is the session's.
func (s session) is(u delegate.User) bool {
	return session{user: u, name: s.name}.owner() == s.owner()
}

func (s session) over(now time.Time) bool {
	life := sessionLife
	if s.must != "" {
		life = sessionMustLife
	}
	return now.Sub(s.seen) >= sessionIdle || now.Sub(s.born) >= life
}

// handle is the hash of a session's identifier: whoever reads the memory of
// the process, or a copy of it, cannot take a session over.
type handle [sha256.Size]byte

func handleOf(id string) handle { return sha256.Sum256([]byte(id)) }

// sessions are the open ones. They are in memory only: a restart signs
// everybody out.
type sessions struct {
	now func() time.Time

	mu   sync.Mutex
	open map[handle]*session // guarded by mu
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, open: make(map[handle]*session)}
}

// start opens a session under a new identifier, of at least 128 random bits,
// and ends the one that the browser had.
func (l *sessions) start(old string, s session) (id string) {
	id, s.csrf = rand.Text(), rand.Text()
	s.born = l.now()
	s.seen = s.born
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, handleOf(old))
	l.makeRoom(s)
	l.open[handleOf(id)] = &s
	return id
}

// makeRoom ends what is over, and the oldest sessions of an account that has
// too many, or of all. l.mu is held.
func (l *sessions) makeRoom(s session) {
	var own int
	var oldestOwn, oldest handle
	for h, other := range l.open {
		if other.over(s.born) {
			delete(l.open, h)
			continue
		}
		if first := l.open[oldest]; first == nil || other.seen.Before(first.seen) {
			oldest = h
		}
		if other.owner() != s.owner() {
			continue
		}
		own++
		if first := l.open[oldestOwn]; first == nil || other.seen.Before(first.seen) {
			oldestOwn = h
		}
	}
	if own >= maxSessionsPerUser {
		delete(l.open, oldestOwn)
	}
	if len(l.open) >= maxSessions {
		delete(l.open, oldest)
	}
}

// find gives an open session, which is in use from now on.
func (l *sessions) find(id string) (session, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := handleOf(id)
	s := l.open[h]
	if s == nil {
		return session{}, false
	}
	now := l.now()
	if s.over(now) {
		delete(l.open, h)
		return session{}, false
	}
	s.seen = now
	return *s, true
}

// leave puts a note for the next page.
func (l *sessions) leave(id string, n note) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.open[handleOf(id)]; s != nil {
		s.note = &n
	}
}

// take gives the note, once.
func (l *sessions) take(id string) *note {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.open[handleOf(id)]
	if s == nil {
		return nil
	}
	n := s.note
	s.note = nil
	return n
}

func (l *sessions) end(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, handleOf(id))
}

// endAllOf ends every session of an account: its password was changed.
func (l *sessions) endAllOf(owner string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for h, s := range l.open {
		if s.owner() == owner {
			delete(l.open, h)
		}
	}
}
