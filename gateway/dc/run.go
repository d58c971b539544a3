package dc

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Run watches the controllers and keeps the list up to date with DNS until ctx
// ends; it then returns nil, with all its connections closed. It must not run
// twice at a time.
func (s *Set) Run(ctx context.Context) error {
	s.mu.Lock()
	already := s.running
	s.running = true
	s.mu.Unlock()
	if already {
		return errors.New("watch domain controllers: already running")
	}
	defer func() {
		s.mu.Lock()
		s.running = false
		s.mu.Unlock()
	}()

	watching := make(map[*controller]context.CancelFunc)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		s.rewatch(ctx, watching, &watchers)
		next, stop := s.nextLookup()
		select {
		case <-ctx.Done():
			stop()
			return nil
		case <-s.changed:
		case <-next:
			_ = s.refresh(ctx) // kept for Lookup and for Dial, which needs it
		}
		stop()
	}
}

// rewatch starts a watcher for each controller that has none, and ends those
// of controllers no longer listed.
func (s *Set) rewatch(ctx context.Context, watching map[*controller]context.CancelFunc, watchers *sync.WaitGroup) {
	s.mu.Lock()
	list := s.list // never changed in place
	s.mu.Unlock()
	listed := make(map[*controller]bool, len(list))
	for _, c := range list {
		listed[c] = true
		if watching[c] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		watching[c] = cancel
		watchers.Go(func() { s.watch(ctx, c) })
	}
	for c, cancel := range watching {
		if !listed[c] {
			cancel()
			delete(watching, c)
		}
	}
}

// watch reads the health of one controller until ctx ends.
func (s *Set) watch(ctx context.Context, c *controller) {
	var l *link
	for {
		l = s.check(ctx, c, l)
		s.pause(ctx, c, l)
		if ctx.Err() != nil {
			break
		}
	}
	if l != nil {
		l.close(true)
	}
}

// check does one health read, over l if it is a connection that still lives.
// It returns the connection for the next; nil if the read failed.
func (s *Set) check(ctx context.Context, c *controller, l *link) *link {
	started := time.Now()
	if l != nil {
		root, err := l.ask(ctx, s.cfg.HealthTimeout)
		if err == nil || !l.broken() {
			return s.settle(ctx, c, l, started, root, err)
		}
		// Controllers close idle connections, and all of them when they stop:
		// a new one tells which it was.
		l.close(false)
	}
	conn, err := s.dialOne(ctx, c, min(2*s.cfg.HealthTimeout, s.cfg.DialTimeout))
	if err != nil {
		return s.settle(ctx, c, nil, started, rootDSE{}, err)
	}
	l = newLink(conn)
	started = time.Now()
	root, err := l.ask(ctx, s.cfg.HealthTimeout)
	return s.settle(ctx, c, l, started, root, err)
}

// settle notes the result of a health read.
func (s *Set) settle(ctx context.Context, c *controller, l *link, started time.Time, root rootDSE, err error) *link {
	switch {
	case err == nil:
		s.read(c, started, root, time.Since(started))
		return l
	case ctx.Err() != nil:
		return l // not the controller's fault
	}
	s.failed(c, err)
	if l != nil {
		l.close(errors.Is(err, errNotSynchronized))
	}
	return nil
}

// pause waits until the next health read is due. The end of a connection is a
// reason to look at once, unless the controller ended it as soon as it was
// made: then it would be looked at all the time.
func (s *Set) pause(ctx context.Context, c *controller, l *link) {
	var ended <-chan struct{}
	if l != nil && time.Since(l.made) >= s.cfg.HealthInterval {
		ended = l.done
	}
	for {
		timer := time.NewTimer(s.untilRead(c))
		select {
		case <-ctx.Done():
		case <-ended:
		case <-timer.C:
		case <-c.wake: // it left rotation: the pause is another one now
			timer.Stop()
			continue
		}
		timer.Stop()
		return
	}
}

func (s *Set) untilRead(c *controller) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.state.up {
		return s.cfg.HealthInterval
	}
	return time.Until(c.state.retryAt)
}
