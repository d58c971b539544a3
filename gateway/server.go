package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/gateway/netwait"
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("gateway: server closed")

// Server accepts client sessions and relays them. The zero value is not
// usable; see New.
type Server struct {
	cfg        Config
	tls        *tls.Config
	handshakes chan struct{} // one slot per handshake in progress
	nextID     atomic.Uint64
	turns      *turns
	guard      *guard   // nil: off
	lessons    *lessons // nil: off
	pool       pool
	limits     atomic.Pointer[Limits] // of new sessions
	tidier     tidier
	strangers  *ldapwire.Budget // of sessions that have not bound

	mu        sync.Mutex
	listeners map[net.Listener]struct{} // guarded by mu
	sessions  map[*session]struct{}     // guarded by mu
	clients   map[string]int            // sessions by client address; guarded by mu
	closing   bool                      // guarded by mu
	done      chan struct{}             // closed when closing turns true
	running   sync.WaitGroup            // sessions
	watching  sync.Once                 // watch was begun
}

// New checks cfg and fills in its defaults.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:        cfg,
		pool:       pool{size: cfg.PoolSize, age: DefaultPoolAge},
		tls:        withSlots(cfg.TLS),
		handshakes: make(chan struct{}, cfg.MaxHandshakes),
		listeners:  make(map[net.Listener]struct{}),
		sessions:   make(map[*session]struct{}),
		clients:    make(map[string]int),
		done:       make(chan struct{}),
		strangers:  ldapwire.NewBudget(int64(cfg.UnboundMemory)),
	}
	if err := s.SetLimits(cfg.limits()); err != nil {
		return nil, err
	}
	marks := newMarker()
	if cfg.Shared == nil {
		cfg.Shared = newShared(cfg.now)
	}
	s.turns = cfg.Shared.turns
	if cfg.LockoutGuard {
		s.guard = cfg.Shared.guard
		marks = s.guard.marker // the marks of its attempts serve both
	}
	if cfg.Binds != nil {
		s.lessons = newLessons(&cfg, marks)
	}
	return s, nil
}

// Serve accepts LDAPS sessions on l, a plain TCP listener, until Shutdown or
// Close; it then returns ErrServerClosed. Temporary errors of Accept, such as
// no free file descriptors, are retried with a growing pause.
func (s *Server) Serve(l net.Listener) error { return s.accept(l, false) }

// ServeStartTLS is Serve for clients that begin in clear and ask for TLS with
// StartTLS (RFC 4511 section 4.14). Before that only the root DSE can be read;
// see also Config.AllowPlaintextBind.
func (s *Server) ServeStartTLS(l net.Listener) error { return s.accept(l, true) }

func (s *Server) accept(l net.Listener, inClear bool) error {
	if !s.addListener(l) {
		_ = l.Close()
		return ErrServerClosed
	}
	defer s.removeListener(l)
	go func() {
		defer s.running.Done()
		s.pool.run(s.done)
	}()
	go s.tidyUp()
	s.watching.Do(func() { s.running.Go(func() { s.watch(s.done) }) })
	const firstPause, longestPause = 5 * time.Millisecond, time.Second
	pause := firstPause
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = firstPause
			s.start(conn, inClear)
			continue
		}
		if s.isClosing() {
			return ErrServerClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		s.cfg.Log.Warn("accept refused", "err", err, "retry_in", pause)
		select {
		case <-time.After(pause):
		case <-s.done:
			return ErrServerClosed
		}
		pause = min(2*pause, longestPause)
	}
}

// start runs a session in its own goroutine, unless a limit forbids it.
func (s *Server) start(conn net.Conn, inClear bool) {
	sess := newSession(s, s.nextID.Add(1), conn)
	sess.inClear = inClear
	s.mu.Lock()
	full := len(s.sessions) >= sess.limits.MaxConnections || !sess.behind && s.clients[sess.address] >= sess.limits.MaxPerAddress
	if s.closing || full {
		s.mu.Unlock()
		if full {
			s.cfg.Metrics.refusedConnections.Inc()
		}
		_ = conn.Close()
		return
	}
	s.sessions[sess] = struct{}{}
	if !sess.behind { // else once the load balancer said who it is
		sess.counted = true
		s.clients[sess.address]++
	}
	s.running.Add(1)
	s.mu.Unlock()
	s.cfg.Metrics.connections.Inc()
	go s.begin(sess)
}

// begin opens a session and leaves the rest to another goroutine, as live does.
func (s *Server) begin(sess *session) {
	if sess.open() {
		go s.live(sess)
		return
	}
	s.end(sess)
}

// live runs a session until it ends or comes to rest. A stack that a handshake
// or a request needed is not held meanwhile: another goroutine, whose stack is
// small, waits and goes on.
func (s *Server) live(sess *session) {
	if sess.run() {
		go func() {
			sess.waitAtRest()
			s.live(sess)
		}()
		return
	}
	s.end(sess)
}

func (s *Server) end(sess *session) {
	defer s.running.Done()
	defer s.forget(sess)
	sess.close()
}

func (s *Server) forget(sess *session) {
	s.cfg.Metrics.connections.Dec()
	s.mu.Lock()
	delete(s.sessions, sess)
	if sess.counted {
		if s.clients[sess.address]--; s.clients[sess.address] == 0 {
			delete(s.clients, sess.address)
		}
	}
	s.mu.Unlock()
}

// handshake completes TLS with a client, bounded in time and, from the
// client's first message on, in number: a client that says nothing holds
// nobody else up.
func (s *Server) handshake(conn net.Conn) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.HandshakeTimeout)
	defer cancel()
	slot := &handshakeSlot{slots: s.handshakes, done: s.done}
	defer slot.release()
	tc := tls.Server(netwait.New(conn), s.tls)
	if err := tc.HandshakeContext(context.WithValue(ctx, slotKey{}, slot)); err != nil {
		return nil, err
	}
	return tc, nil
}

// handshakeSlot is the right to do the costly part of a handshake.
type handshakeSlot struct {
	slots chan struct{}
	done  <-chan struct{}
	held  bool
}

type slotKey struct{}

// take runs within the handshake, once the ClientHello is there.
func (h *handshakeSlot) take(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		h.held = true
		return nil
	case <-ctx.Done():
		return errors.New("too many TLS handshakes in progress")
	case <-h.done:
		return ErrServerClosed
	}
}

func (h *handshakeSlot) release() {
	if h.held {
		<-h.slots
	}
}

// withSlots makes a listener's configuration ask for a slot.
func withSlots(conf *tls.Config) *tls.Config {
	conf = conf.Clone()
	next := conf.GetConfigForClient
	conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if err := hello.Context().Value(slotKey{}).(*handshakeSlot).take(hello.Context()); err != nil {
			return nil, err
		}
		if next != nil {
			return next(hello)
		}
		return nil, nil
	}
	return conf
}

// Shutdown stops accepting, lets every session finish the requests it has
// outstanding, sends each a Notice of Disconnection (RFC 4511 section 4.4.1)
// and waits for all of them. When ctx ends first, the rest is closed hard and
// ctx's error returned; a password change whose answer was still awaited is
// then recorded as unknown.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	for _, sess := range s.snapshot() {
		sess.drain()
	}
	finished := make(chan struct{})
	go func() {
		s.running.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
		for _, sess := range s.snapshot() {
			sess.kill()
		}
		<-finished
		return ctx.Err()
	}
}

// Close ends every session at once.
func (s *Server) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.closing = true
		close(s.done)
		if s.lessons != nil {
			s.lessons.stop()
		}
	}
	for l := range s.listeners {
		_ = l.Close()
	}
}

func (s *Server) snapshot() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*session, 0, len(s.sessions))
	for sess := range s.sessions {
		all = append(all, sess)
	}
	return all
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.listeners[l] = struct{}{}
	s.running.Add(2) // the pool's tidying and tidyUp, which Serve begins
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	_ = l.Close()
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}
