package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// SupervisorConfig describes a Supervisor.
type SupervisorConfig struct {
	Store *store.Store
	// Make makes the Reconciler of a registered domain, and what ends it.
	Make func(store.Domain) (r *Reconciler, end func(), err error)
	// NoImport and NoSync: such a direction runs nowhere here.
	NoImport, NoSync bool
	Log              *slog.Logger
	Now              func() time.Time
}

// Supervisor runs a Reconciler for every registered domain whose use case has
// work for one. Registrations that are made, changed or removed are followed;
// one that no Reconciler can be made for is tried again, and does not concern
// the others.
type Supervisor struct {
	cfg   SupervisorConfig
	asked chan struct{} // holds one: look at the registrations

	mu      sync.Mutex
	members map[string]*supervised // by domain name; guarded by mu
	changed map[string]bool        // registrations to begin anew with; guarded by mu
	waiting []chan struct{}        // closed once the registrations were looked at; guarded by mu
	ended   bool                   // guarded by mu
}

// supervised is a domain that is reconciled, or should be.
type supervised struct {
	domain store.Domain
	im     *Reconciler // nil: none could be made
	stop   func()      // ends and waits; nil without im
	ended  chan struct{}

	err      error // why there is none
	since    time.Time
	failures int
	retry    time.Time
}

// NewSupervisor checks cfg.
func NewSupervisor(cfg SupervisorConfig) (*Supervisor, error) {
	if cfg.Store == nil || cfg.Make == nil || cfg.Log == nil || cfg.Now == nil {
		return nil, errors.New("supervisor config: store, maker, log and clock are required")
	}
	return &Supervisor{cfg: cfg, asked: make(chan struct{}, 1), members: make(map[string]*supervised), changed: make(map[string]bool)}, nil
}

// Changed tells that the registration of a domain was made, changed or
// removed, or that its Reconciler is to be made anew for another reason.
func (s *Supervisor) Changed(domain string) {
	s.mu.Lock()
	s.changed[strings.ToLower(domain)] = true
	s.mu.Unlock()
	s.poke()
}

// Restart makes all of them anew.
func (s *Supervisor) Restart() {
	s.mu.Lock()
	for name := range s.members {
		s.changed[name] = true
	}
	s.mu.Unlock()
	s.poke()
}

func (s *Supervisor) poke() {
	select {
	case s.asked <- struct{}{}:
	default:
	}
}

// lookAgain is how soon registrations are read again that could not be read.
const lookAgain = 5 * time.Second

// Run works until ctx ends and everything that it started has ended; it then
// returns nil.
func (s *Supervisor) Run(ctx context.Context) error {
	defer s.end()
	for ctx.Err() == nil {
		s.mu.Lock()
		waiting := s.waiting
		s.waiting = nil
		s.mu.Unlock()
		next := s.follow(ctx)
		for _, w := range waiting {
			close(w)
		}
		s.sleep(ctx, next)
	}
	return nil
}

func (s *Supervisor) sleep(ctx context.Context, until time.Time) {
	var alarm <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(max(0, until.Sub(s.cfg.Now())))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-ctx.Done():
	case <-s.asked:
	case <-alarm:
	}
}

func (s *Supervisor) end() {
	s.mu.Lock()
	members := slices.Collect(maps.Values(s.members))
	clear(s.members)
	s.ended = true
	for _, w := range s.waiting {
		close(w)
	}
	s.waiting = nil
	s.mu.Unlock()
	for _, m := range members {
		m.end()
	}
}

func (m *supervised) end() {
	if m.stop != nil {
		m.stop()
	}
}

// follow brings what runs in line with the registrations, and says when to
// look again (zero: when something changes).
func (s *Supervisor) follow(ctx context.Context) (next time.Time) {
	all, err := s.cfg.Store.Domains()
	if err != nil {
		s.cfg.Log.Error("read the registered domains", "err", err, "retry_in", lookAgain)
		return s.cfg.Now().Add(lookAgain)
	}
	wanted := make(map[string]store.Domain)
	for _, d := range all {
		if len(s.directions(d)) > 0 {
			wanted[d.Name] = d
		}
	}
	for _, m := range s.takeOut(wanted) {
		m.end()
		s.cfg.Log.Info("replication stopped", "domain", m.domain.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if m := s.start(ctx, wanted[name]); m.im == nil {
			next = earlier(next, m.retry)
		}
	}
	return next
}

// takeOut removes the members that are not wanted any more, or not as they
// are.
func (s *Supervisor) takeOut(wanted map[string]store.Domain) (out []*supervised) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, m := range s.members {
		d, is := wanted[name]
		if is && !s.changed[name] && reflect.DeepEqual(d, m.domain) && (m.im == nil || !m.over()) {
			continue
		}
		delete(s.members, name)
		out = append(out, m)
	}
	clear(s.changed)
	return out
}

func (m *supervised) over() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// start makes and starts the Reconciler of a domain, unless it runs.
func (s *Supervisor) start(ctx context.Context, d store.Domain) *supervised {
	s.mu.Lock()
	m := s.members[d.Name]
	s.mu.Unlock()
	now := s.cfg.Now()
	if m != nil && (m.im != nil || m.retry.After(now)) {
		return m
	}
	next := &supervised{domain: d, since: now}
	im, end, err := s.cfg.Make(d)
	if err != nil {
		if m != nil {
			next.failures, next.since = m.failures+1, m.since
		}
		next.err, next.retry = err, now.Add(pause(next.failures))
		s.cfg.Log.Error("replication cannot be started", "domain", d.Name, "err", err, "retry_at", next.retry)
	} else {
		next.run(ctx, im, end, s.poke)
		s.cfg.Log.Info("replication started", "domain", d.Name)
	}
	s.mu.Lock()
	s.members[d.Name] = next
	s.mu.Unlock()
	return next
}

// run starts im; poke is called when it ends.
func (m *supervised) run(ctx context.Context, im *Reconciler, end, poke func()) {
	ctx, cancel := context.WithCancel(ctx)
	m.im, m.ended = im, make(chan struct{})
	go func() { // waited for by stop
		defer poke()
		defer close(m.ended)
		defer end()
		_ = im.Run(ctx) // it has no error: what fails it tries again
	}()
	m.stop = func() {
		cancel()
		<-m.ended
	}
}

// settled waits until the registrations as they are now have been followed;
// before Run, for that too.
func (s *Supervisor) settled(ctx context.Context) error {
	w := make(chan struct{})
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return ErrStopped
	}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	s.poke()
	select {
	case <-w:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// passTries is how often a pass is asked for that ended with its Reconciler.
const passTries = 3

// Pass asks a domain's Reconciler for a pass, as [Reconciler.Pass] does. When
// that one is made anew meanwhile, the next one is asked.
func (s *Supervisor) Pass(ctx context.Context, domain string, full bool) error {
	var err error
	for range passTries {
		if err := s.settled(ctx); err != nil {
			return fmt.Errorf("replication of %s: %w", domain, err)
		}
		s.mu.Lock()
		m := s.members[strings.ToLower(domain)]
		s.mu.Unlock()
		switch {
		case m == nil && err != nil:
			return fmt.Errorf("replication of %s: %w", domain, err)
		case m == nil:
			return fmt.Errorf("replication of %s: its use case has no direction that runs here; see `dirgate domain show %s`", domain, domain)
		case m.im == nil:
			return fmt.Errorf("replication of %s: it cannot be started: %w", domain, m.err)
		}
		if err = m.im.Pass(ctx, full); !errors.Is(err, ErrStopped) {
			break
		}
	}
	if errors.Is(err, ErrStopped) || errors.Is(err, ErrPaused) {
		return fmt.Errorf("replication of %s: %w", domain, err)
	}
	return err
}

// Status says where the domains stand, by name.
func (s *Supervisor) Status() (all []Status, err error) {
	s.mu.Lock()
	members := maps.Clone(s.members)
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(members)) {
		m := members[name]
		if m.im != nil {
			here, err := m.im.Status()
			if err != nil {
				return nil, err
			}
			all = append(all, here...)
			continue
		}
		for _, d := range s.directions(m.domain) {
			st := Status{Domain: name, Direction: d, State: Waiting, Since: m.since, Why: m.err.Error()}
			if err := st.LookIn(s.cfg.Store); err != nil {
				return nil, err
			}
			all = append(all, st)
		}
	}
	return all, nil
}

// Runs reports whether a direction runs here at all.
func (s *Supervisor) Runs(d identity.Direction) bool {
	return d == identity.Import && !s.cfg.NoImport || d == identity.Sync && !s.cfg.NoSync
}

// directions are those of a domain that run here.
func (s *Supervisor) directions(d store.Domain) (all []identity.Direction) {
	use := identity.UseCase(d.UseCase)
	if use.Imports() && s.Runs(identity.Import) {
		all = append(all, identity.Import)
	}
	if use.Syncs() && s.Runs(identity.Sync) {
		all = append(all, identity.Sync)
	}
	return all
}
