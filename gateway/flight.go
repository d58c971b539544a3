package gateway

import (
	"sync"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// flight is the table of requests that were sent to the DC and not yet
// answered for good. The client loop adds, the answer loop takes.
type flight struct {
	mu      sync.Mutex
	pending map[int32]request // guarded by mu
	// landing counts final answers that are being passed on. Their message IDs
	// are free already, because the client may use one again as soon as it has
	// the answer; but nothing may overtake them. Guarded by mu.
	landing int
	// landed has a value whenever pending shrank since the client loop last
	// looked; the client loop is the only receiver.
	landed chan struct{}
}

// request is one entry of the table.
type request struct {
	op ldapwire.Op
	at time.Time
	// answer takes every message of an exchange; nil for a relayed request.
	answer chan<- []byte
}

func newFlight() flight {
	return flight{pending: make(map[int32]request), landed: make(chan struct{}, 1)}
}

// add enters a request; false when its message ID is in use (RFC 4511 section
// 4.1.1.1 forbids that, and two answers would share one key).
func (f *flight) add(id int32, r request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, used := f.pending[id]; used {
		return false
	}
	f.pending[id] = r
	return true
}

// addOwn enters a request of the gateway's own under an ID that the client
// does not use now. The client loop is busy with that request until it is
// answered, so the client cannot begin to use the ID meanwhile.
func (f *flight) addOwn(r request) int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := int32(ldapwire.MaxMessageID)
	for {
		if _, used := f.pending[id]; !used {
			f.pending[id] = r
			return id
		}
		id--
	}
}

// find looks up the request that a message of the DC answers. When the
// message is the final one its ID is free from here on, and the caller owes
// a call of landedOne once it has passed the message on.
func (f *flight) find(id int32, final bool) (request, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.pending[id]
	if ok && final {
		delete(f.pending, id)
		f.landing++
	}
	return r, ok
}

// landedOne says that a final answer was passed on.
func (f *flight) landedOne() {
	f.mu.Lock()
	f.landing--
	f.mu.Unlock()
	f.signal()
}

// remove takes a request out that will not be answered: abandoned, or given
// up.
func (f *flight) remove(id int32) {
	f.mu.Lock()
	delete(f.pending, id)
	f.mu.Unlock()
	f.signal()
}

// clear forgets all requests; their DC connection is gone.
func (f *flight) clear() {
	f.mu.Lock()
	clear(f.pending)
	f.mu.Unlock()
	f.signal()
}

func (f *flight) has(id int32) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, used := f.pending[id]
	return used
}

// len counts the requests whose answer has not been passed on.
func (f *flight) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pending) + f.landing
}

func (f *flight) signal() {
	select {
	case f.landed <- struct{}{}:
	default:
	}
}
