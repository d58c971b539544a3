package gateway

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dirgate/dirgate/store/identity"
)

// turns lets one password change of an account at a time through, from its
// intent to its outcome, whatever session it comes from. Otherwise two could
// be made by the DC in another order than they were recorded in, and the
// wrong one would be taken for the newest.
type turns struct {
	ended atomic.Uint64 // turns given on: what was read before may be stale

	mu    sync.Mutex
	queue map[string]*turn // by account; guarded by mu
}

type turn struct {
	free chan struct{} // holds one value while nobody has the turn
	want int           // sessions that have it or wait for it; guarded by turns.mu
}

func newTurns() *turns { return &turns{queue: make(map[string]*turn)} }

// turnKey is the account, or its DN while the GUID is not known.
func turnKey(a identity.Account) string {
	if a.GUID.IsZero() {
		return strings.ToLower(strings.TrimSpace(a.DN))
	}
	return a.GUID.String()
}

// take waits for the turn of an account; done gives it on. The error is
// ctx's.
func (t *turns) take(ctx context.Context, key string) (done func(), err error) {
	t.mu.Lock()
	mine := t.queue[key]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		t.queue[key] = mine
	}
	mine.want++
	t.mu.Unlock()
	select {
	case <-mine.free:
		return func() {
			t.ended.Add(1)
			mine.free <- struct{}{}
			t.leave(key, mine)
		}, nil
	case <-ctx.Done():
		t.leave(key, mine)
		return nil, ctx.Err()
	}
}

func (t *turns) leave(key string, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.want--; mine.want == 0 {
		delete(t.queue, key)
	}
}

// len is how many accounts are being changed.
func (t *turns) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue)
}
