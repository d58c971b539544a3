package delegate

import (
	"sync"
	"time"
)

// familiar remembers from which clients' networks an account's right password
// came. Refusals there are counted apart from those elsewhere: else a stranger
// could use up what the account may be refused, and keep its owner out.
type familiar struct {
	now func() time.Time

	mu   sync.Mutex
	last map[familiarKey]time.Time // guarded by mu
}

type familiarKey struct{ user, client string }

const (
	familiarFor = 30 * 24 * time.Hour
	maxFamiliar = 65_536
)

func newFamiliar(now func() time.Time) familiar {
	return familiar{now: now, last: make(map[familiarKey]time.Time)}
}

// key is what the throttle counts refusals of user by, that come from client.
func (f *familiar) key(user, client string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at, ok := f.last[familiarKey{user, client}]; ok && f.now().Sub(at) < familiarFor {
		return user + "\x00" + client
	}
	return user
}

// came remembers that the right password came from client.
func (f *familiar) came(user, client string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k, now := familiarKey{user, client}, f.now()
	if _, ok := f.last[k]; !ok && len(f.last) >= maxFamiliar {
		f.makeRoom(now)
	}
	f.last[k] = now
}

// makeRoom forgets what is old, and if nothing is, any half. f.mu is held.
func (f *familiar) makeRoom(now time.Time) {
	for k, at := range f.last {
		if now.Sub(at) >= familiarFor {
			delete(f.last, k)
		}
	}
	for k := range f.last {
		if len(f.last) <= maxFamiliar/2 {
			return
		}
		delete(f.last, k)
	}
}
