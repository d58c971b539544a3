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
	// suspect are IDs of abandoned requests whose answer may still come (RFC
	// 4511 section 4.11 promises neither an answer nor its absence). A relayed
	// request may use such an ID again: its answers pass, whatever they are. An
	// exchange may not: a late answer would be taken for its own. Guarded by mu.
	suspect map[int32]struct{}
	// flooded: there were too many to remember; every ID is suspect. Guarded by mu.
	flooded bool
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
	bind   *bindWait // a bind; nil for others
	// rewrite gives what the client gets in place of a message; nil: itself.
	rewrite func(ldapwire.Message) []byte
	// copy is the request, to be sent again if the DC is lost; see repeat.
	copy repeat
	// late: it was abandoned, and its answer may still come.
	late bool
}

// maxSuspect bounds what a session can make the gateway remember.
const maxSuspect = 1024

func newFlight() flight {
	return flight{landed: make(chan struct{}, 1)}
}

// add enters a request; false when its message ID is in use (RFC 4511 section
// 4.1.1.1 forbids that, and two answers would share one key).
func (f *flight) add(id int32, r request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, used := f.pending[id]; used {
		return false
	}
	f.enter(id, r)
	return true
}

// enter is given the lock. The tables are made when there is something in them,
// and given back at rest.
func (f *flight) enter(id int32, r request) {
	if f.pending == nil {
		f.pending = make(map[int32]request)
	}
	f.pending[id] = r
}

// rest gives the table back if it is empty.
func (f *flight) rest() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending) == 0 {
		f.pending = nil
	}
}

// addExchange enters a request whose answer the gateway acts on. The error is
// one of the two below.
func (f *flight) addExchange(id int32, r request) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, used := f.pending[id]; used {
		return errIDInUse
	}
	if _, late := f.suspect[id]; late || f.flooded {
		return errIDSuspect
	}
	f.enter(id, r)
	return nil
}

// addOwn enters a request of the gateway's own under an ID that nothing else
// can be answered under. The client loop is busy with that request until it
// is answered, so the client cannot begin to use the ID meanwhile.
func (f *flight) addOwn(r request) (int32, error) {
	for id := int32(ldapwire.MaxMessageID); ; id-- {
		switch err := f.addExchange(id, r); err {
		case nil:
			return id, nil
		case errIDSuspect:
			if f.isFlooded() {
				return 0, err
			}
		}
	}
}

func (f *flight) isFlooded() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flooded
}

// abandon takes a request out that may be answered or not.
func (f *flight) abandon(id int32) {
	f.mu.Lock()
	if r, known := f.pending[id]; known {
		r.copy.release()
		delete(f.pending, id)
		if f.suspect == nil {
			f.suspect = make(map[int32]struct{})
		}
		f.suspect[id] = struct{}{}
		f.flooded = f.flooded || len(f.suspect) > maxSuspect
	}
	f.mu.Unlock()
	f.signal()
}

// find looks up the request that a message of the DC answers. When the
// message is the final one its ID is free from here on, and the caller owes
// a call of landedOne once it has passed the message on.
func (f *flight) find(id int32, final bool) (request, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.pending[id]
	switch {
	case ok && final:
		delete(f.pending, id)
		f.landing++
		r.copy.release()
		r.copy = repeat{}
	case ok && r.copy.frame != nil: // a part of the answer: the rest cannot be asked for
		r.copy.release()
		r.copy = repeat{}
		f.enter(id, r)
	case !ok:
		_, r.late = f.suspect[id]
		r.late = r.late || f.flooded
		if final {
			delete(f.suspect, id) // the late answer: there is only one
		}
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

// remove takes a request out that was not sent.
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
	clear(f.suspect)
	f.flooded = false
	f.mu.Unlock()
	f.signal()
}

// isClean: nothing is outstanding, and nothing abandoned can be answered any
// more.
func (f *flight) isClean() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pending) == 0 && f.landing == 0 && len(f.suspect) == 0 && !f.flooded
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
