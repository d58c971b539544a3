package dc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dirgate/dirgate/gateway/netwait"
)

// stagger is how long Dial gives a controller before it tries the next beside
// it: longer than TCP connect and handshake take across an ocean, short enough
// for nobody to notice.
const stagger = 300 * time.Millisecond

var errReadOnly = errors.New("is a read-only domain controller")

// Dial gives a connection, with its TLS handshake completed, to a controller,
// and the controller's name. Controllers in rotation are tried first, and
// among these the writable ones; a failing one costs the time to its refusal,
// at most 300 ms. The error wraps ErrUnreachable and says of every controller
// why it failed. It comes within twice the DialTimeout, or when ctx ends.
func (s *Set) Dial(ctx context.Context) (*tls.Conn, string, error) {
	return s.dialAny(ctx, false)
}

// DialWritable is Dial for who means to write: controllers known to be
// read-only are not tried.
func (s *Set) DialWritable(ctx context.Context) (*tls.Conn, string, error) {
	return s.dialAny(ctx, true)
}

func (s *Set) dialAny(ctx context.Context, writable bool) (*tls.Conn, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.DialTimeout)
	defer cancel()
	lookupErr := s.freshen(ctx)
	order, failures := s.order(writable)
	conn, name, errs := s.race(ctx, order)
	if conn != nil {
		return conn, name, nil
	}
	failures = append(failures, errs...)

	// Perhaps DNS knows better by now. Controllers that were tried just now
	// are not tried again.
	if s.cfg.Discover != "" && lookupErr == nil && ctx.Err() == nil {
		lookupErr = s.refresh(ctx)
		more, _ := s.order(writable)
		more = slices.DeleteFunc(more, func(c *controller) bool { return slices.Contains(order, c) })
		conn, name, errs = s.race(ctx, more)
		if conn != nil {
			return conn, name, nil
		}
		failures = append(failures, errs...)
	}
	if lookupErr != nil {
		failures = append(failures, lookupErr)
	}
	if len(failures) == 0 {
		failures = append(failures, context.Cause(ctx))
	}
	return nil, "", fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(failures...))
}

// order gives the controllers in the order to try, and why the others are not.
func (s *Set) order(writable bool) (order []*controller, left []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	order = weighted(s.list, s.intN)
	if writable {
		order = slices.DeleteFunc(order, func(c *controller) bool {
			if c.state.readOnly {
				left = append(left, fmt.Errorf("%s: %w", c.name, errReadOnly))
			}
			return c.state.readOnly
		})
	}
	sortByClass(order, time.Now(), !s.running)
	return order, left
}

// An attempt is one try to connect.
type attempt struct {
	c       *controller
	started time.Time
	conn    *tls.Conn
	err     error
}

// race tries the controllers in turn: the next when the one before failed, or
// did not answer within stagger. All attempts have ended when it returns.
func (s *Set) race(ctx context.Context, order []*controller) (*tls.Conn, string, []error) {
	raceCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt)
	var running []attempt
	var failures []error

	// So that even the last of very many has its DialTimeout.
	pause := min(s.stagger, s.cfg.DialTimeout/time.Duration(max(1, len(order))))
	next := time.NewTimer(pause)
	begin := func() {
		a := s.begin(order[0])
		order, running = order[1:], append(running, a)
		go func() { results <- s.connect(raceCtx, a) }()
		next.Reset(pause)
	}
	if len(order) > 0 && ctx.Err() == nil {
		begin()
	}
	defer next.Stop()
	for len(running) > 0 || len(order) > 0 && ctx.Err() == nil {
		var due <-chan time.Time
		if len(order) > 0 {
			due = next.C
		}
		done := ctx.Done()
		if ctx.Err() != nil {
			due, done = nil, nil // only wait for what runs
		}
		select {
		case <-due:
			begin()
		case <-done:
		case a := <-results:
			running = slices.DeleteFunc(running, func(r attempt) bool { return r.c == a.c })
			if a.err == nil {
				cancel()
				s.won(a, running, results)
				return a.conn, a.c.name, nil
			}
			failures = append(failures, fmt.Errorf("%s: %w", a.c.name, a.err))
			if ctx.Err() == nil {
				s.failed(a.c, a.err)
			}
			next.Reset(0)
		}
	}
	return nil, "", failures
}

// begin notes that a controller is being tried, so that others who dial leave
// one alone that failed before.
func (s *Set) begin(c *controller) attempt {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.state.known && !c.state.up {
		c.state.trialUntil = now.Add(s.cfg.DialTimeout)
	}
	return attempt{c: c, started: now}
}

func (s *Set) connect(ctx context.Context, a attempt) attempt {
	a.conn, a.err = s.dialOne(ctx, a.c, s.cfg.DialTimeout)
	return a
}

// won waits for the losers of a race, who were cancelled, and closes what they
// brought. Who had more time than the winner gets is avoided for a while.
func (s *Set) won(winner attempt, losers []attempt, results <-chan attempt) {
	s.dialled(winner.c, winner.started)
	for range losers {
		if a := <-results; a.conn != nil {
			_ = a.conn.NetConn().Close()
		}
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range losers {
		if l.started.Before(winner.started) {
			l.c.state.avoidUntil = now.Add(avoidFor)
		}
	}
}

// dialOne connects to a controller and completes the handshake.
func (s *Set) dialOne(ctx context.Context, c *controller, timeout time.Duration) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	raw, err := s.dial(ctx, "tcp", c.addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(netwait.New(raw), c.tls) // its owner may want to know when it waits
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return conn, nil
}
