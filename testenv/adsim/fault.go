package adsim

import (
	"slices"
	"sync"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// A FaultKind is a way to misbehave.
type FaultKind int

// Kinds of faults.
const (
	// Hang leaves the request alone until the fault is removed, then serves it.
	Hang FaultKind = iota
	// DropBefore closes the connection instead of serving the request.
	DropBefore
	// DropAfter serves the request, sends the first Bytes bytes of the
	// answer, and closes the connection: the client cannot tell whether a
	// write took place.
	DropAfter
	// Answer sends Code and Text, and does not serve the request.
	Answer
)

// A Fault is what happens to requests of an operation.
type Fault struct {
	Kind  FaultKind
	Op    ldapwire.Op // 0 is any request
	Skip  int         // how many requests it lets pass before
	Times int         // how many requests it meets; 0 is all
	Bytes int         // for DropAfter
	Code  ldapwire.ResultCode
	Text  string

	over chan struct{}
}

type faults struct {
	mu     sync.Mutex
	active []*Fault
}

// Inject adds a fault. remove takes it away, and lets hanging requests go on;
// it may be called more than once. Of several faults the first one added counts.
func (s *Server) Inject(f Fault) (remove func()) {
	f.over = make(chan struct{})
	s.faults.mu.Lock()
	s.faults.active = append(s.faults.active, &f)
	s.faults.mu.Unlock()
	return sync.OnceFunc(func() {
		s.faults.remove(&f)
		close(f.over)
	})
}

func (fs *faults) remove(f *Fault) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.active = slices.DeleteFunc(fs.active, func(g *Fault) bool { return g == f })
}

// take finds the fault that a request meets.
func (fs *faults) take(op ldapwire.Op) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i, f := range fs.active {
		if f.Op != 0 && f.Op != op {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				fs.active = slices.Delete(fs.active, i, i+1)
			}
		}
		return f
	}
	return nil
}
