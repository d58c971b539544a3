package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// Capturer records password changes durably. The store implements it.
type Capturer interface {
	// AppendIntent returns once the change and its sealed password are on
	// disk. An error means that nothing was recorded.
	AppendIntent(ctx context.Context, change identity.Change, password secret.Bytes) (identity.Seq, error)
	// Settle records how the DC answered, synced to disk on return.
	Settle(ctx context.Context, seq identity.Seq, outcome identity.Outcome, reason string) error
	// SettleAccount records that the DC accepted the change, and which account
	// it was made on: that of an intent without objectGUID was not there yet.
	SettleAccount(ctx context.Context, seq identity.Seq, account identity.Account, reason string) error
}

// Dialer gives new connections to a domain controller; *dc.Set implements
// it. The string names the controller for logs.
type Dialer interface {
	Dial(ctx context.Context) (*tls.Conn, string, error)
}

// Domain is one registered AD domain as the gateway needs it.
type Domain struct {
	Name    string // DNS name, lower case
	NetBIOS string // empty: not known
	BaseDN  string // of its entries; empty: made of Name
	DCs     Dialer
	Capture bool // false: passwords are validated and never captured
	// Foreign is a directory that is no AD, such as JumpCloud's LDAP. Only
	// binds of DNs below BaseDN go there; nothing is translated, and no change
	// of a password captured.
	Foreign bool
	// Of is the registered domain whose users a Foreign directory has, if the
	// passwords that are right there are to be recorded for that domain, where
	// Capture is set too; empty: they are not.
	Of string
}

// learns: passwords that binds prove are wanted.
func (d *Domain) learns() bool { return d.Capture && (!d.Foreign || d.Of != "") }

// Config describes a Server. Zero durations and sizes mean the defaults.
type Config struct {
	// TLS is the listener's configuration; required.
	TLS *tls.Config
	// AllowPlaintextBind lets clients of ServeStartTLS bind and work without
	// TLS, their passwords for everybody on the way to read. Even then no
	// password can be written.
	AllowPlaintextBind bool
	// Domains gives those that sessions can bind in; none when none is
	// registered. The first that is not Foreign is the default, for names that
	// do not say which. It is asked at every bind and must be quick. A domain
	// keeps its pointer until its registration changes.
	Domains func() []*Domain
	// Resolve finds the one account of a mail address, in a domain named by DNS
	// name, and a name that it can bind with; empty: use the name as it is, in
	// the domain it is for. It is asked before a bind with a name that has an
	// @, so it must remember its answers and keep its time short. May be nil.
	Resolve func(ctx context.Context, name string) (domain, bindName string)
	// Capture records password changes; required.
	Capture Capturer
	// Binds takes passwords that binds proved; nil: binds teach nothing.
	Binds BindRecorder
	// OldPasswordPeriod is how long after a change the domains accept the
	// password before it: their OldPasswordAllowedPeriod, or a longer time.
	OldPasswordPeriod time.Duration
	// NoPasswordTranslation refuses userPassword and RFC 3062, instead of
	// translating them to the unicodePwd that AD wants.
	NoPasswordTranslation bool
	// RelaySASL passes SASL binds on, but EXTERNAL, instead of refusing them.
	// Sessions bound so cannot set passwords in domains with Capture, and
	// within a security layer nothing is seen at all.
	RelaySASL bool
	// LockoutGuard answers repetitions of refused passwords without the DC and
	// keeps different ones below the domain's lockout threshold (rule G7).
	LockoutGuard bool
	// Shared is the guard's memory, and the order of password changes, where
	// others have part in them; nil: the Server has its own.
	Shared *Shared
	// Reconnect moves a session to another DC connection when its own is lost.
	// For that the password of its newest bind is kept in memory.
	Reconnect bool
	// Metrics counts; required (see NewMetrics).
	Metrics *Metrics
	// Log receives events; required.
	Log *slog.Logger

	// MaxMessage bounds one LDAP message in bytes once the session has bound;
	// before that MaxMessageUnbound holds. Answers of the DC are not bounded
	// by it (MaxAnswer).
	MaxMessage        int
	MaxMessageUnbound int
	// UnboundMemory bounds, in bytes, what all sessions that have not bound hold
	// together of messages received in part, beyond 4 KiB each. One that would
	// exceed it is disconnected with busy; a bind is smaller than 4 KiB.
	UnboundMemory int
	// MaxAnswer bounds one message of the DC in bytes.
	MaxAnswer int
	// MaxConnections bounds client sessions; more are closed at once.
	MaxConnections int
	// MaxPerAddress bounds the sessions of one client address, so that one
	// host cannot take all; zero means half of MaxConnections.
	MaxPerAddress int
	// TrustedProxies are the load balancers that must name the client in a
	// PROXY protocol header of version 2, with which every connection from
	// there begins. From other addresses such a header is noise.
	TrustedProxies []netip.Prefix
	// MaxOutstanding bounds the requests of one session that are not yet
	// answered; reading stops until one is.
	MaxOutstanding int
	// PoolSize is how many DC connections are kept warm for the next session;
	// negative: none.
	PoolSize int
	// MaxHandshakes bounds TLS handshakes in progress, so that a login storm
	// does not starve the established sessions.
	MaxHandshakes int

	HandshakeTimeout time.Duration // TLS handshake with a client
	IdleTimeout      time.Duration // a session without any message
	UnboundTimeout   time.Duration // the same, before its first successful bind
	BindTimeout      time.Duration // waiting for the DC's answer to a bind
	DrainTimeout     time.Duration // a bind waiting for outstanding operations
	RoomTimeout      time.Duration // a request waiting for one of MaxOutstanding to be answered
	CaptureTimeout   time.Duration // waiting for the DC's answer to a password change
	RecordTimeout    time.Duration // writing an intent or outcome to disk
	WriteTimeout     time.Duration // a client that does not read

	quiet time.Duration // a session gives its buffers back after this; for tests

	now func() time.Time // of the lockout guard; nil: time.Now
}

// Defaults of Config.
const (
	DefaultMaxMessage        = ldapwire.DefaultMaxMessage
	DefaultMaxMessageUnbound = ldapwire.DefaultMaxMessageUnbound
	DefaultUnboundMemory     = 64 << 20
	DefaultMaxAnswer         = 64 << 20
	DefaultMaxConnections    = 10_000
	DefaultMaxOutstanding    = 256
	DefaultMaxHandshakes     = 256
	DefaultHandshakeTimeout  = 10 * time.Second
	DefaultIdleTimeout       = 15 * time.Minute // MaxConnIdleTime of AD
	DefaultUnboundTimeout    = 2 * time.Minute  // InitRecvTimeout of AD
	DefaultBindTimeout       = 30 * time.Second
	DefaultDrainTimeout      = 10 * time.Second
	DefaultRoomTimeout       = 10 * time.Second
	// A DC can hold a password reset for a minute while it runs filters and
	// writes through to the PDC emulator; giving up earlier only makes more
	// unknown outcomes.
	DefaultCaptureTimeout = 2 * time.Minute
	DefaultRecordTimeout  = 10 * time.Second
	// DefaultOldPasswordPeriod is that of AD and of Samba.
	DefaultOldPasswordPeriod = time.Hour
	DefaultWriteTimeout      = time.Minute

	defaultQuiet = 4 * time.Second
)

func (c *Config) validate() error {
	if c.now == nil {
		c.now = time.Now
	}
	for name, missing := range map[string]bool{
		"TLS": c.TLS == nil, "Domains": c.Domains == nil, "Capture": c.Capture == nil,
		"Metrics": c.Metrics == nil, "Log": c.Log == nil,
	} {
		if missing {
			return fmt.Errorf("gateway config: %s is required", name)
		}
	}
	for _, d := range []struct {
		value *int
		def   int
	}{
		{&c.MaxMessage, DefaultMaxMessage}, {&c.MaxMessageUnbound, DefaultMaxMessageUnbound},
		{&c.UnboundMemory, DefaultUnboundMemory}, {&c.MaxAnswer, DefaultMaxAnswer}, {&c.MaxConnections, DefaultMaxConnections},
		{&c.MaxPerAddress, 0}, {&c.MaxOutstanding, DefaultMaxOutstanding}, {&c.MaxHandshakes, DefaultMaxHandshakes},
	} {
		if *d.value < 0 {
			return errors.New("gateway config: a limit is negative")
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	switch {
	case c.PoolSize == 0:
		c.PoolSize = DefaultPoolSize
	case c.PoolSize < 0:
		c.PoolSize = 0
	}
	if c.MaxPerAddress == 0 {
		c.MaxPerAddress = max(1, c.MaxConnections/2)
	}
	c.MaxMessageUnbound = min(c.MaxMessageUnbound, c.MaxMessage)
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&c.HandshakeTimeout, DefaultHandshakeTimeout}, {&c.IdleTimeout, DefaultIdleTimeout},
		{&c.UnboundTimeout, DefaultUnboundTimeout},
		{&c.BindTimeout, DefaultBindTimeout}, {&c.DrainTimeout, DefaultDrainTimeout}, {&c.RoomTimeout, DefaultRoomTimeout},
		{&c.CaptureTimeout, DefaultCaptureTimeout}, {&c.RecordTimeout, DefaultRecordTimeout},
		{&c.WriteTimeout, DefaultWriteTimeout}, {&c.quiet, defaultQuiet}, {&c.OldPasswordPeriod, DefaultOldPasswordPeriod},
	} {
		if *d.value < 0 {
			return errors.New("gateway config: a timeout is negative")
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	return nil
}
