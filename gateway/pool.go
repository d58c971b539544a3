package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/gateway/netwait"
)

// pool keeps DC connections that a session has left for the next one. Opening
// one costs a DC the private-key half of a TLS handshake and the gateway more
// CPU than everything else in a login together.
//
// A connection is only kept when it certainly carries nobody's identity and
// nobody's answers: an anonymous bind on it has succeeded, with nothing
// outstanding and nothing abandoned before it (rule G2). One on which a bind
// failed or a write was interrupted never gets here, nor one that saw SASL.
type pool struct {
	size int           // connections kept at most
	age  time.Duration // a connection is kept idle for this long

	mu     sync.Mutex
	idle   []*upstream // oldest first; guarded by mu
	closed bool        // guarded by mu
}

// Sizes and times of the pool.
const (
	DefaultPoolSize = 64
	// DefaultPoolAge is far below MaxConnIdleTime of AD (15 minutes), and below
	// the idle time of common firewalls.
	DefaultPoolAge = time.Minute
)

// take returns the connection of a domain that was left last, or nil.
func (p *pool) take(domain *Domain) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.idle) - 1; i >= 0; i-- {
		up := p.idle[i]
		if up.domain != domain {
			continue
		}
		p.idle = append(p.idle[:i], p.idle[i+1:]...)
		if time.Since(up.since) < p.age && up.inRotation() && up.isAlive() {
			return up
		}
		_ = up.conn.Close()
	}
	return nil
}

// rotation is a Dialer that watches its controllers; *dc.Set is one.
type rotation interface {
	InRotation(controller string) bool
}

// inRotation: a controller that hangs keeps its connections open.
func (u *upstream) inRotation() bool {
	r, ok := u.domain.DCs.(rotation)
	return !ok || r.InRotation(u.name)
}

// discard closes the connections of a controller that did not answer.
func (p *pool) discard(domain *Domain, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(up *upstream) bool {
		gone := up.domain == domain && up.name == name
		if gone {
			_ = up.conn.Close()
		}
		return gone
	})
}

// isAlive: still open, and silent. A controller that closed it, or announced
// that it will, has sent something.
func (u *upstream) isAlive() bool {
	c, ok := u.conn.NetConn().(*netwait.Conn)
	return ok && u.in.Buffered() == 0 && c.Alive()
}

// put keeps a connection, or closes it when there are enough.
func (p *pool) put(up *upstream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	up.since = time.Now()
	if p.closed || p.size == 0 {
		_ = up.conn.Close()
		return
	}
	if len(p.idle) >= p.size {
		_ = p.idle[0].conn.Close()
		p.idle = p.idle[1:]
	}
	p.idle = append(p.idle, up)
}

// expire closes what has been idle for too long.
func (p *pool) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 && now.Sub(p.idle[0].since) >= p.age {
		_ = p.idle[0].conn.Close()
		p.idle = p.idle[1:]
	}
}

// run expires connections until done is closed, then closes all.
func (p *pool) run(done <-chan struct{}) {
	tick := time.NewTicker(p.age / 4)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			p.expire(now)
		case <-done:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.closed = true
			for _, up := range p.idle {
				_ = up.conn.Close()
			}
			p.idle = nil
			return
		}
	}
}

// len is how many connections are kept.
func (p *pool) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// cleanTime bounds the anonymous bind of a session that is over.
const cleanTime = 5 * time.Second

// leaveUpstream gives the DC connection to the pool, if it is clean, or drops
// it. The session is over: its client is gone.
func (s *session) leaveUpstream() {
	if s.up == nil {
		return
	}
	if s.srv.pool.size == 0 || s.up.sasl.seen || s.ctx.Err() != nil || s.draining.Load() || !s.flight.isClean() || !s.makeAnonymous() || !s.park() {
		s.dropUpstream(true)
		return
	}
	up := s.up
	s.up = nil
	s.upNow.Store(nil)
	s.toDC.forget()
	s.srv.pool.put(up)
}

// makeAnonymous makes the DC forget who was bound; false: it did not say so.
func (s *session) makeAnonymous() bool {
	ctx, cancel := context.WithTimeout(s.ctx, cleanTime)
	defer cancel()
	answers := make(chan []byte, 1)
	id, err := s.flight.addOwn(request{op: ldapwire.OpBindRequest, answer: answers})
	if err != nil {
		return false
	}
	msg, err := s.exchange(ctx, id, answers, ldapwire.AppendBindRequest(nil, id, "", nil), func(ldapwire.Message) {})
	if err != nil || msg.Op != ldapwire.OpBindResponse {
		return false
	}
	res, err := ldapwire.ParseResult(msg.Body)
	return err == nil && res.Code == ldapwire.ResultSuccess && s.flight.isClean()
}

// park ends the answer loop without ending the connection; false: something
// came in, so that it is not silent.
func (s *session) park() bool {
	up := s.up
	up.parked.Store(true)
	_ = up.conn.SetReadDeadline(time.Unix(1, 0))
	<-up.ended
	up.parked.Store(false)
	if up.isGone() || up.in.Buffered() > 0 {
		return false
	}
	if c, ok := up.conn.NetConn().(*netwait.Conn); ok {
		c.OnWait(nil)
	}
	return up.conn.SetReadDeadline(time.Time{}) == nil
}
