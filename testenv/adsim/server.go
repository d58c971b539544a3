package adsim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/dirgate/dirgate/store/secret"
)

// Config is how to serve a domain.
type Config struct {
	Addr             string      // to listen on; 127.0.0.1:0 if empty
	TLS              *tls.Config // required: AD takes no password in clear
	Domain           string      // corp.example.test if empty
	Policy           Policy
	OldPasswordGrace time.Duration    // how long the previous password binds: 60 minutes on Windows
	AdminPassword    secret.Bytes     // the administrator cannot bind without one; the caller keeps it
	Now              func() time.Time // time.Now if nil
	Log              *slog.Logger     // nothing is logged if nil
}

// A Server serves a Directory over LDAPS.
type Server struct {
	*Directory

	tls   *tls.Config
	log   *slog.Logger
	addr  string
	inner *inner

	faults faults
	closed chan struct{}
	tasks  sync.WaitGroup // accept loops and sessions

	mu       sync.Mutex // guards what follows
	listener net.Listener
	conns    map[net.Conn]struct{}
}

// Times that bound what a client can make the server wait for.
const (
	handshakeTimeout = 10 * time.Second
	idleTimeout      = 15 * time.Minute // MaxConnIdleTime
	writeTimeout     = 30 * time.Second
)

// Start serves a new domain until Close.
func Start(c Config) (*Server, error) {
	if c.TLS == nil {
		return nil, errors.New("start the AD simulator: it needs a TLS configuration with a certificate")
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.Domain == "" {
		c.Domain = "corp.example.test"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		Directory: NewDirectory(DirectoryConfig{Domain: c.Domain, Policy: c.Policy, OldPasswordGrace: c.OldPasswordGrace, AdminPassword: c.AdminPassword, Now: c.Now}),
		tls:       c.TLS, log: c.Log, closed: make(chan struct{}), conns: make(map[net.Conn]struct{}),
	}
	listener, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("start the AD simulator: %w", err)
	}
	s.addr = listener.Addr().String()
	if s.inner, err = startInner(s.Directory); err != nil {
		return nil, fmt.Errorf("start the AD simulator: %w", errors.Join(err, listener.Close()))
	}
	s.serve(listener)
	return s, nil
}

// Addr is the address it listens on.
func (s *Server) Addr() string { return s.addr }

// URL is ldaps:// with the address.
func (s *Server) URL() string { return "ldaps://" + s.addr }

// Close ends all connections and waits for everything the server started.
func (s *Server) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		return nil
	default:
	}
	close(s.closed)
	var err error
	if s.listener != nil {
		err = s.listener.Close()
	}
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.tasks.Wait()
	return errors.Join(err, s.inner.close())
}

// RefuseConnections closes the listener, so that clients find the port closed,
// or opens it again on the same address. Connections there are stay.
func (s *Server) RefuseConnections(refuse bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refuse == (s.listener == nil) {
		return nil
	}
	if refuse {
		err := s.listener.Close()
		s.listener = nil
		return err
	}
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("listen again: %w", err)
	}
	s.serveLocked(listener)
	return nil
}

// DropConnections closes every connection there is.
func (s *Server) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

func (s *Server) serve(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serveLocked(l)
}

func (s *Server) serveLocked(l net.Listener) {
	select {
	case <-s.closed:
		_ = l.Close()
		return
	default:
	}
	s.listener = l
	s.tasks.Go(func() { s.accept(l) })
}

// accept hands connections to sessions until the listener is closed. Running
// out of descriptors is no reason to stop.
func (s *Server) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("cannot accept a connection", "err", err)
			select {
			case <-s.closed:
				return
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		if !s.track(conn) {
			_ = conn.Close()
			return
		}
		s.tasks.Go(func() {
			defer s.untrack(conn)
			s.handshake(conn)
		})
	}
}

func (s *Server) track(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return false
	default:
		s.conns[c] = struct{}{}
		return true
	}
}

func (s *Server) untrack(c net.Conn) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) handshake(raw net.Conn) {
	conn := tls.Server(raw, s.tls)
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		s.log.Debug("TLS handshake", "remote", raw.RemoteAddr().String(), "err", err)
		return
	}
	newSession(s, conn).run()
}
