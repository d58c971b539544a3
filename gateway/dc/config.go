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

// Defaults. See [Config].
const (
	// DefaultDialTimeout bounds TCP connect and TLS handshake with one
	// controller. A controller in the same site answers in milliseconds; a
	// client waiting for its bind should not wait for a dead one.
	DefaultDialTimeout = 5 * time.Second
	// DefaultHealthInterval and DefaultHealthTimeout add up to the second
	// within which a controller that hangs leaves rotation. Twice a second is
	// little: the read needs no new connection, and a Samba controller answers
	// it in about 1 ms. The timeout leaves room for a controller on the far
	// side of the earth.
	DefaultHealthInterval = 500 * time.Millisecond
	DefaultHealthTimeout  = 500 * time.Millisecond
	// DefaultLookupInterval stands for the records' time to live, which the
	// standard resolver does not tell; Windows registers them with 600 s.
	DefaultLookupInterval = time.Minute
)

// defaultPort is LDAP over TLS; SRV records give 389 and are not used here.
const defaultPort = "636"

// A Resolver looks up SRV records; *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Config describes a Set. URLs or Discover is needed; with both, the URLs come
// first.
type Config struct {
	// URLs are ldaps://host[:port], in order of preference. Of two with the
	// same host and port the first counts.
	URLs []string

	// Discover is a domain in DNS whose controllers are used. Empty: only
	// URLs are.
	Discover string
	// Site is the Active Directory site whose controllers are preferred.
	Site string
	// Within are the DNS domains that the names of discovered controllers may
	// lie in, at any depth. Empty: Discover. Needed only where controllers are
	// named outside their domain (a disjoint namespace).
	Within []string
	// Resolver is asked; nil means net.DefaultResolver. A *net.Resolver also
	// finds the addresses of the hosts.
	Resolver Resolver
	// LookupInterval is the time between lookups; zero means
	// DefaultLookupInterval.
	LookupInterval time.Duration

	// TLS is the client configuration without ServerName, which is set per
	// controller. It must verify (see certs.Client).
	TLS *tls.Config
	// DialTimeout is per controller; zero means DefaultDialTimeout.
	DialTimeout time.Duration

	// HealthInterval is the time between two health reads of a controller that
	// is well; zero means DefaultHealthInterval.
	HealthInterval time.Duration
	// HealthTimeout bounds one health read; zero means DefaultHealthTimeout.
	// Connect and handshake before the first may take twice as long.
	HealthTimeout time.Duration

	// Observe, when set, is told when a controller enters (up) or leaves
	// rotation, and the first result of each. It may call the Set.
	Observe func(controller string, up bool)
	// ObserveRequest, when set, is told how long each answered health read took.
	ObserveRequest func(controller string, seconds float64)
	// Forget, when set, is told when DNS no longer names a controller.
	Forget func(controller string)
}

// withDefaults checks cfg and fills in what is left out.
func (cfg Config) withDefaults() (Config, error) {
	if len(cfg.URLs) == 0 && cfg.Discover == "" {
		return cfg, errors.New("no domain controller given: want at least one ldaps:// URL, or a domain to discover")
	}
	if cfg.TLS == nil {
		return cfg, errors.New("domain controllers: no TLS configuration")
	}
	if cfg.Discover == "" && (cfg.Site != "" || len(cfg.Within) > 0) {
		return cfg, errors.New("domain controllers: a site or name limit is given, but no domain to discover")
	}
	names := append([]string{cfg.Discover, cfg.Site}, cfg.Within...)
	for _, name := range names {
		if strings.ContainsAny(name, " /:@*") || strings.HasPrefix(name, ".") {
			return cfg, fmt.Errorf("domain controllers: %q is not a name in DNS, such as corp.example.com", name)
		}
	}
	cfg.Discover = canonical(cfg.Discover)
	cfg.Site = strings.TrimSuffix(cfg.Site, ".")
	within := cfg.Within
	if len(within) == 0 {
		within = []string{cfg.Discover}
	}
	cfg.Within = nil
	for _, name := range within {
		cfg.Within = append(cfg.Within, canonical(name))
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	for _, d := range []struct {
		value *time.Duration
		zero  time.Duration
	}{
		{&cfg.DialTimeout, DefaultDialTimeout},
		{&cfg.HealthInterval, DefaultHealthInterval},
		{&cfg.HealthTimeout, DefaultHealthTimeout},
		{&cfg.LookupInterval, DefaultLookupInterval},
	} {
		if *d.value <= 0 {
			*d.value = d.zero
		}
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, bool) {}
	}
	if cfg.ObserveRequest == nil {
		cfg.ObserveRequest = func(string, float64) {}
	}
	if cfg.Forget == nil {
		cfg.Forget = func(string) {}
	}
	return cfg, nil
}

// canonical gives a DNS name in lower case and without the root's dot.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

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
