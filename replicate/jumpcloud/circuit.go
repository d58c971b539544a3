package jumpcloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// strikes is how many failures in a row mean that JumpCloud is away, and
	// not that one request met with an accident.
	strikes = 5
	// longestProbe bounds the time between two requests that find out whether
	// it is back, unless JumpCloud itself asked for more.
	longestProbe = 15 * time.Second
)

// errAway is the cause of a request that was not sent because of an outage.
var errAway = errors.New("JumpCloud is away")

// circuit keeps requests from a JumpCloud that does not answer: after several
// failures in a row one request is let through from time to time, and the
// others are refused here until one was answered. It is shared by a client
// and those made of it by Once.
type circuit struct {
	log *slog.Logger

	mu       sync.Mutex
	failures int           // in a row; guarded by mu
	since    time.Time     // of the first of them; guarded by mu
	last     error         // guarded by mu
	heard    time.Time     // when it answered last; guarded by mu
	probes   int           // sent since it is away; guarded by mu
	next     time.Time     // when one request may pass; guarded by mu
	back     chan struct{} // closed when JumpCloud is back; nil: it is not away; guarded by mu
}

// Outage says that JumpCloud is away, and what was seen of it last.
type Outage struct {
	Since time.Time
	Err   error
	// Retry is when the next request may be sent.
	Retry time.Time
}

// Outage reports whether JumpCloud is away: several requests in a row had no
// answer, or 429, 5xx or 401.
func (c *Client) Outage() (Outage, bool) {
	c.circuit.mu.Lock()
	defer c.circuit.mu.Unlock()
	return Outage{Since: c.circuit.since, Err: c.circuit.last, Retry: c.circuit.next}, c.circuit.back != nil
}

// Heard is when JumpCloud last answered with what was asked for, or with a
// refusal of the request's own; zero: not yet.
func (c *Client) Heard() time.Time {
	c.circuit.mu.Lock()
	defer c.circuit.mu.Unlock()
	return c.circuit.heard
}

// Away reports that a request was not sent because JumpCloud is away: there is
// nothing to count against what the request was for.
func Away(err error) bool { return is(err, func(e *apiError) bool { return e.away }) }

// Await returns when JumpCloud is not away (any more), or with ctx's error. It
// asks from time to time; so several may wait, and other requests may be made.
func (c *Client) Await(ctx context.Context) error {
	for {
		back, next := c.circuit.waiting()
		if back == nil {
			return nil
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-back:
			timer.Stop()
			return nil
		case <-timer.C:
			// What comes of it the circuit has seen. Another caller's request
			// may have gone first; then the time is a later one.
			_ = c.probe(ctx)
		}
	}
}

// probe asks for something small that every key may read.
func (c *Client) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, longestProbe)
	defer cancel()
	return c.do(ctx, call{method: http.MethodGet, path: "/api/organizations", query: url.Values{"limit": {"1"}}})
}

func (c *circuit) waiting() (back <-chan struct{}, next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.back, c.next
}

// enter refuses a request while JumpCloud is away, unless it is the probe that
// finds out. Another may go after a while, whatever becomes of this one.
func (c *circuit) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back == nil {
		return nil
	}
	now := time.Now()
	if wait := c.next.Sub(now); wait > 0 {
		return fmt.Errorf("%w since %s; it is asked again within %s; last: %w", errAway, c.since.UTC().Format(time.RFC3339), wait.Round(time.Second), c.last)
	}
	c.next = now.Add(c.pause())
	c.probes++
	return nil
}

// pause is the time until the next probe: doubling from a second, of which a
// random half is waited, so that several installations do not ask together.
func (c *circuit) pause() time.Duration {
	full := longestProbe
	if c.probes < 4 {
		full = time.Second << c.probes
	}
	return full/2 + rand.N(full/2)
}

// leave takes in how a request ended that enter let through. What ended for
// the caller's reasons says nothing about JumpCloud.
func (c *circuit) leave(ctx context.Context, err error) {
	e, ok := errors.AsType[*apiError](err)
	switch {
	case err == nil, ok && e.code != 0 && !e.ofOutage():
		c.answered()
	case ok && e.ofOutage() && ctx.Err() == nil:
		c.failed(e)
	}
}

// ofOutage: such an answer, or none, is what every request would get.
func (e *apiError) ofOutage() bool {
	switch {
	case e.code == 0:
		return e.stage == unknown || e.again && !e.queued
	case e.code >= 500, e.code == http.StatusTooManyRequests, e.code == http.StatusUnauthorized:
		return true
	}
	return false
}

func (c *circuit) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back != nil {
		c.log.Info("JumpCloud is back", "away_for", time.Since(c.since).Round(time.Second))
		close(c.back)
		c.back = nil
	}
	c.failures, c.probes, c.last, c.heard = 0, 0, nil, time.Now()
}

func (c *circuit) failed(e *apiError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.failures == 0 {
		c.since = now
	}
	c.failures++
	c.last = e
	if c.back == nil && c.failures >= strikes {
		c.back = make(chan struct{})
		c.next = now.Add(c.pause())
		c.log.Warn("JumpCloud is away: one request from time to time finds out when it is back, the others wait",
			"failures", c.failures, "err", e)
	}
	if told := now.Add(e.retryAfter); c.back != nil && told.After(c.next) {
		c.next = told
	}
}
