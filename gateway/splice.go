package gateway

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// A splice copies octets both ways, of a session within a SASL security layer.
// They mean nothing here: no limit but those of time and of one buffer for each
// direction holds, and the end comes without a notice, which could only be said
// within the layer.
type splice struct {
	s    *session
	last atomic.Int64 // when something passed, in nanoseconds since 1970
	over atomic.Bool  // the DC's side has ended
}

// spliceLayered passes everything on until one side ends, the session is idle
// for too long, or the server stops.
func (s *session) spliceLayered() error {
	up := s.up
	s.log.Info("security layer begun: from here on nothing is seen, no password captured", "dc", up.name)
	s.srv.cfg.Metrics.sasl.WithLabelValues("spliced").Inc()
	p := &splice{s: s}
	p.touch()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.copy(up.conn, up.in.TakeRest(), s.out)
		p.over.Store(true)
		s.wake()
	}()
	p.copy(s.client, s.in.TakeRest(), up.out)
	_ = s.client.Close() // also ends a write to it
	s.dropUpstream(false)
	<-ended
	return errBye
}

// copy passes on what was received already, then what from says, until there is
// no more, or no reason.
func (p *splice) copy(from net.Conn, received []byte, to *frameWriter) {
	if len(received) > 0 && to.write(received, true) != nil {
		return
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := (*buf)[:gather]
	defer clear(b)
	for {
		_ = from.SetReadDeadline(p.idleAt())
		if p.isOver() { // whoever wants the end says so first, then moves the deadline
			return
		}
		n, err := from.Read(b)
		if n > 0 {
			p.touch()
			if to.write(b[:n], true) != nil {
				return
			}
		}
		waited := errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil && !waited || waited && !time.Now().Before(p.idleAt()) {
			return
		}
	}
}

func (p *splice) touch()            { p.last.Store(time.Now().UnixNano()) }
func (p *splice) idleAt() time.Time { return time.Unix(0, p.last.Load()).Add(p.s.limits.IdleTimeout) }
func (p *splice) isOver() bool {
	return p.over.Load() || p.s.draining.Load() || p.s.ctx.Err() != nil
}
