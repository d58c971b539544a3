// Package dc reaches the domain controllers of one domain.
//
// A [Set] is the list of controllers that may serve a domain, in order of
// preference, and [Set.Dial] gives a verified TLS connection to one of them.
// Only ldaps URLs are accepted: passwords travel on every connection, and
// StartTLS has a clear-text beginning that a man in the middle can strip.
//
// The server certificate is always verified against the host of the URL
// (RFC 4513 section 3.1.3: subjectAltName, never the common name).
//
// The package opens sockets but speaks no LDAP: what travels on a connection
// is its owner's business.
package dc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// DefaultDialTimeout bounds TCP connect and TLS handshake with one
// controller. A controller in the same site answers in milliseconds; a client
// waiting for its bind should not wait for a dead one.
const DefaultDialTimeout = 5 * time.Second

// defaultPort is LDAP over TLS; SRV records give 389 and are not used here.
const defaultPort = "636"

// ErrUnreachable is wrapped by every error of Dial: no controller could be
// reached, so nothing was sent to any.
var ErrUnreachable = errors.New("no domain controller can be reached")

// Config describes a Set.
type Config struct {
	// URLs are ldaps://host[:port], in order of preference. At least one.
	URLs []string
	// TLS is the client configuration without ServerName, which is set per
	// controller. It must verify (see certs.Client).
	TLS *tls.Config
	// DialTimeout is per controller; zero means DefaultDialTimeout.
	DialTimeout time.Duration
	// Observe, when set, is told the result of every attempt: the health of
	// a controller as this process sees it.
	Observe func(controller string, up bool)
}

// Set is the controllers of one domain. It is safe for concurrent use.
type Set struct {
	controllers []controller
	timeout     time.Duration
	observe     func(string, bool)
}

type controller struct {
	url  string // as configured, the name in logs and metrics
	addr string // host:port
	tls  *tls.Config
}

// New checks cfg; it connects to nothing.
func New(cfg Config) (*Set, error) {
	if len(cfg.URLs) == 0 {
		return nil, errors.New("no domain controller given: want at least one ldaps:// URL")
	}
	if cfg.TLS == nil {
		return nil, errors.New("domain controllers: no TLS configuration")
	}
	s := &Set{timeout: cfg.DialTimeout, observe: cfg.Observe}
	if s.timeout <= 0 {
		s.timeout = DefaultDialTimeout
	}
	if s.observe == nil {
		s.observe = func(string, bool) {}
	}
	for _, raw := range cfg.URLs {
		addr, host, err := Address(raw)
		if err != nil {
			return nil, err
		}
		conf := cfg.TLS.Clone()
		conf.ServerName = host
		s.controllers = append(s.controllers, controller{url: raw, addr: addr, tls: conf})
	}
	return s, nil
}

// Address gives the host:port to dial and the host name to verify for an
// ldaps URL.
func Address(raw string) (addr, host string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", fmt.Errorf("domain controller URL %q: %w", raw, err)
	}
	if !strings.EqualFold(u.Scheme, "ldaps") {
		return "", "", fmt.Errorf("domain controller URL %q: want ldaps://host[:port]; passwords never travel in clear text", raw)
	}
	if u.Hostname() == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.User != nil {
		return "", "", fmt.Errorf("domain controller URL %q: want just ldaps://host[:port]", raw)
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return net.JoinHostPort(u.Hostname(), port), u.Hostname(), nil
}

// Dial connects to the first controller that answers, in the order of the
// list, and completes the TLS handshake. The error wraps ErrUnreachable and
// says of every controller why it failed.
func (s *Set) Dial(ctx context.Context) (*tls.Conn, string, error) {
	var failures []error
	for _, c := range s.controllers {
		conn, err := s.dialOne(ctx, c)
		if err == nil {
			s.observe(c.url, true)
			return conn, c.url, nil
		}
		if ctx.Err() == nil {
			s.observe(c.url, false)
		}
		failures = append(failures, fmt.Errorf("%s: %w", c.url, err))
	}
	return nil, "", fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(failures...))
}

func (s *Set) dialOne(ctx context.Context, c controller) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	d := tls.Dialer{Config: c.tls}
	conn, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, err
	}
	return conn.(*tls.Conn), nil
}

// Names lists the controllers as they are named in logs and metrics.
func (s *Set) Names() []string {
	names := make([]string, len(s.controllers))
	for i, c := range s.controllers {
		names[i] = c.url
	}
	return names
}
