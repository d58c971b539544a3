package dc

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// ErrUnreachable is wrapped by every error of Dial: no controller could be
// reached, so nothing was sent to any.
var ErrUnreachable = errors.New("no domain controller can be reached")

// Set is the controllers of one domain. It is safe for concurrent use.
type Set struct {
	cfg  Config // with defaults
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	intN func(n int) int
	// stagger is the constant, but for tests on machines that are slow.
	stagger time.Duration

	lookups chan struct{} // holds a token while a lookup runs
	changed chan struct{} // tells Run that the list differs

	mu      sync.Mutex
	list    []*controller // by place
	running bool          // Run is
	lookup  lookupState

	events  []func() // to be told, in order
	telling bool     // somebody is at it
}

// A controller is a member of a Set as long as the Set lists it.
type controller struct {
	name string // the URL as configured, or of the host that DNS named
	addr string // host:port
	tls  *tls.Config
	wake chan struct{} // tells the watcher that the controller left rotation

	// Guarded by Set.mu.
	place place
	state state
	gone  bool // no longer listed
}

// New checks cfg; it connects to nothing and looks nothing up.
func New(cfg Config) (*Set, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	dialer := new(net.Dialer)
	if r, ok := cfg.Resolver.(*net.Resolver); ok {
		dialer.Resolver = r // which knows the hosts, too
	}
	s := &Set{
		cfg: cfg, dial: dialer.DialContext, intN: rand.IntN, stagger: stagger,
		lookups: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
	for i, raw := range cfg.URLs {
		addr, host, err := Address(raw)
		if err != nil {
			return nil, err
		}
		if s.find(addr) == nil {
			s.list = append(s.list, s.controller(raw, addr, host, place{group: groupURLs, priority: i}))
		}
	}
	return s, nil
}

func (s *Set) controller(name, addr, host string, at place) *controller {
	conf := s.cfg.TLS.Clone()
	conf.ServerName = host
	return &controller{name: name, addr: addr, tls: conf, place: at, wake: make(chan struct{}, 1)}
}

// find returns the listed controller with the address, in any case; nil if
// there is none. The caller holds mu, or is alone.
func (s *Set) find(addr string) *controller {
	i := slices.IndexFunc(s.list, func(c *controller) bool { return canonical(c.addr) == canonical(addr) })
	if i < 0 {
		return nil
	}
	return s.list[i]
}

// Names lists the controllers as they are named in logs and metrics.
func (s *Set) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, len(s.list))
	for i, c := range s.list {
		names[i] = c.name
	}
	return names
}

// Status is what is known of a controller.
type Status struct {
	Name string
	// Up: it is well, as far as known. False also before the first result,
	// when Since is zero; it is in rotation then all the same.
	Up    bool
	Since time.Time // of Up; the zero time when nothing is known
	// LastErr is why it is out of rotation, or was last; nil if it never was.
	LastErr error
	// ReadOnly: it said so in the newest health read (RODC). Without Run it is
	// never known.
	ReadOnly bool
	RTT      time.Duration // of the newest health read; 0 if there was none
}

// Healthy says of all controllers how they are, in the order of the
// configuration, then of DNS.
func (s *Set) Healthy() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, len(s.list))
	for i, c := range s.list {
		st := c.state
		all[i] = Status{Name: c.name, Up: st.up, Since: st.since, LastErr: st.err, ReadOnly: st.readOnly, RTT: st.rtt}
	}
	return all
}

// ReadOnly reports whether the controller is known to be read-only: writes
// there end in a referral.
func (s *Set) ReadOnly(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.list, func(c *controller) bool { return c.name == name && c.state.readOnly })
}

// InRotation reports whether nothing is known against a controller. One that
// is not listed (any more) is not in rotation.
func (s *Set) InRotation(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.list, func(c *controller) bool { return c.name == name && (c.state.up || !c.state.known) })
}

// An Outage is a controller that is out of rotation.
type Outage struct {
	Controller string
	Since      time.Time
	Others     bool // there are some in rotation
}

// Outages lists the controllers that are out of rotation; nil, without any
// cost, while there is none.
func (s *Set) Outages() (out []Outage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.list {
		if c.state.known && !c.state.up {
			out = append(out, Outage{Controller: c.name, Since: c.state.since})
		}
	}
	for i := range out {
		out[i].Others = len(out) < len(s.list)
	}
	return out
}

// failed notes that a controller failed now.
func (s *Set) failed(c *controller, err error) {
	s.mu.Lock()
	changed := c.state.failed(time.Now(), err)
	if changed {
		s.observe(c)
		select {
		case c.wake <- struct{}{}:
		default: // it will see this failure, too
		}
	}
	s.mu.Unlock()
	s.tell()
}

// dialled notes that a connection was made by something that began at started.
// While Run reads the controllers' health a handshake does not bring one back:
// a controller whose directory hangs can still shake hands.
func (s *Set) dialled(c *controller, started time.Time) {
	s.mu.Lock()
	if !s.running || !c.state.known || c.state.up {
		if c.state.succeeded(started, time.Now()) {
			s.observe(c)
		}
	}
	s.mu.Unlock()
	s.tell()
}

// read notes what a health read that began at started, and took rtt, found.
func (s *Set) read(c *controller, started time.Time, root rootDSE, rtt time.Duration) {
	s.mu.Lock()
	c.state.rtt, c.state.readOnly = rtt, root.readOnly
	if c.state.succeeded(started, time.Now()) {
		s.observe(c)
	}
	s.mu.Unlock()
	s.tell()
	s.cfg.ObserveRequest(c.name, rtt.Seconds())
}

// observe queues the state of a controller for Observe. The caller holds mu,
// and calls tell when it no longer does.
func (s *Set) observe(c *controller) {
	if c.gone {
		return
	}
	name, up := c.name, c.state.up
	s.events = append(s.events, func() { s.cfg.Observe(name, up) })
}

// tell calls back what is queued: in order, one at a time, and without the
// lock. What is queued meanwhile is told by whoever is at it already.
func (s *Set) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.telling {
		return
	}
	s.telling = true
	for len(s.events) > 0 {
		event := s.events[0]
		s.events = s.events[1:]
		s.mu.Unlock()
		event()
		s.mu.Lock()
	}
	s.telling = false
}
