package gateway

import (
	"errors"
	"net/netip"
	"time"
)

// Limits are what can change while a Server serves; see the fields of Config
// with the same names. Zero values mean what they mean there.
type Limits struct {
	MaxMessage         int
	MaxConnections     int
	MaxPerAddress      int
	IdleTimeout        time.Duration
	TrustedProxies     []netip.Prefix
	AllowPlaintextBind bool

	maxUnbound int
}

// SetLimits changes the limits of sessions that begin from now on. Those that
// exist keep theirs, and are not ended when there are more of them than the new
// limits allow.
func (s *Server) SetLimits(l Limits) error {
	l, err := l.complete(s.cfg.MaxMessageUnbound)
	if err != nil {
		return err
	}
	s.limits.Store(&l)
	return nil
}

// complete checks the limits and fills in the defaults.
func (l Limits) complete(maxUnbound int) (Limits, error) {
	if l.MaxMessage < 0 || l.MaxConnections < 0 || l.MaxPerAddress < 0 || l.IdleTimeout < 0 {
		return l, errors.New("gateway limits: one is negative")
	}
	if l.MaxMessage == 0 {
		l.MaxMessage = DefaultMaxMessage
	}
	if l.MaxConnections == 0 {
		l.MaxConnections = DefaultMaxConnections
	}
	if l.MaxPerAddress == 0 {
		l.MaxPerAddress = max(1, l.MaxConnections/2)
	}
	if l.IdleTimeout == 0 {
		l.IdleTimeout = DefaultIdleTimeout
	}
	l.maxUnbound = min(maxUnbound, l.MaxMessage)
	return l, nil
}

// limits are those that a new Server begins with.
func (c *Config) limits() Limits {
	return Limits{
		MaxMessage: c.MaxMessage, MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxPerAddress,
		IdleTimeout: c.IdleTimeout, TrustedProxies: c.TrustedProxies, AllowPlaintextBind: c.AllowPlaintextBind,
	}
}
