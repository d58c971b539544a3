package dc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	// lookupTimeout bounds one lookup; a client may wait for it.
	lookupTimeout = 3 * time.Second
	// lookupRetry is the time to the next lookup after one that failed, if
	// that is earlier; lookupGap is the least time between two.
	lookupRetry = 5 * time.Second
	lookupGap   = time.Second
	// maxDiscovered is how many names are used of those in DNS.
	maxDiscovered = 16
)

// lookupState is guarded by Set.mu.
type lookupState struct {
	good  time.Time // when the list came from DNS
	tried time.Time
	err   error // of the newest lookup
}

// failed reports whether the newest lookup gave no list. One that did may have
// an err to tell all the same.
func (l lookupState) failed() bool { return !l.good.Equal(l.tried) }

// Lookup returns when DNS last gave the list of controllers (the zero time:
// never), and what was wrong with the newest lookup. Both are zero without
// Config.Discover.
func (s *Set) Lookup() (good time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookup.good, s.lookup.err
}

// lookupDue returns when the next lookup is due. The caller holds mu.
func (s *Set) lookupDue() time.Time {
	if s.lookup.tried.IsZero() {
		return time.Time{}
	}
	if s.lookup.failed() {
		return s.lookup.tried.Add(min(lookupRetry, s.cfg.LookupInterval))
	}
	return s.lookup.tried.Add(s.cfg.LookupInterval)
}

// nextLookup gives a timer for Run; nil if there is nothing to look up.
func (s *Set) nextLookup() (next <-chan time.Time, stop func() bool) {
	if s.cfg.Discover == "" {
		return nil, func() bool { return true }
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	timer := time.NewTimer(time.Until(s.lookupDue()))
	return timer.C, timer.Stop
}

// freshen looks up before dialling if there is nothing to dial, or if it is
// due and Run does not see to that. The error says why there is nothing.
func (s *Set) freshen(ctx context.Context) error {
	if s.cfg.Discover == "" {
		return nil
	}
	s.mu.Lock()
	empty := len(s.list) == 0
	due := empty || !s.running && !time.Now().Before(s.lookupDue())
	s.mu.Unlock()
	if !due {
		return nil
	}
	if err := s.refresh(ctx); empty {
		return err
	}
	return nil
}

// refresh brings the list up to date with DNS, unless that was tried within
// lookupGap, also by others while this waits. The error says why there is no
// newer list.
func (s *Set) refresh(ctx context.Context) error {
	select {
	case s.lookups <- struct{}{}:
		defer func() { <-s.lookups }()
	case <-ctx.Done():
		return fmt.Errorf("look up the controllers of %s: %w", s.cfg.Discover, ctx.Err())
	}
	s.mu.Lock()
	state := s.lookup
	s.mu.Unlock()
	if !state.tried.IsZero() && time.Since(state.tried) < lookupGap {
		if state.failed() {
			return state.err
		}
		return nil
	}
	found, err := s.resolve(ctx)
	if ctx.Err() != nil && len(found) == 0 {
		return err // the caller left; DNS is not to blame
	}
	s.mu.Lock()
	s.lookup.tried, s.lookup.err = time.Now(), err
	if len(found) > 0 {
		s.lookup.good = s.lookup.tried
		s.replace(found)
		err = nil
	}
	s.mu.Unlock()
	s.tell()
	return err
}

// A target is a controller that DNS names.
type target struct {
	host string // canonical
	place
}

// resolve asks DNS. It may return targets and an error: the list is good, and
// yet something should be mended.
func (s *Set) resolve(ctx context.Context) ([]target, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var found []target
	var siteErr error
	if s.cfg.Site != "" {
		found, siteErr = s.records(ctx, groupSite, s.cfg.Site+"._sites.dc._msdcs."+s.cfg.Discover)
		if siteErr != nil && !isNotFound(siteErr) && s.hasDiscovered() {
			return nil, siteErr
		}
	}
	domain, err := s.records(ctx, groupDomain, "dc._msdcs."+s.cfg.Discover)
	switch {
	case err != nil && !(isNotFound(err) && len(found) > 0):
		return nil, errors.Join(siteErr, err)
	case isNotFound(siteErr):
		siteErr = fmt.Errorf("no domain controllers in the site: check its name: %w", siteErr)
	}
	return s.choose(append(found, domain...), siteErr)
}

// records reads one SRV name, with _ldap._tcp before it.
func (s *Set) records(ctx context.Context, group int, name string) ([]target, error) {
	// The dot keeps search domains out.
	_, srvs, err := s.cfg.Resolver.LookupSRV(ctx, "ldap", "tcp", name+".")
	if err != nil && len(srvs) == 0 { // with records, some of them were invalid
		return nil, fmt.Errorf("look up _ldap._tcp.%s: %w", name, err)
	}
	targets := make([]target, 0, len(srvs))
	for _, srv := range srvs {
		if host := canonical(srv.Target); host != "" { // "." says: no service (RFC 2782)
			targets = append(targets, target{host, place{group, int(srv.Priority), int(srv.Weight)}})
		}
	}
	return targets, nil
}

func isNotFound(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

// choose takes the targets that may be used: once each, within the allowed
// domains, and not too many. Of equals those already in use stay.
func (s *Set) choose(found []target, complaint error) ([]target, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := func(t target) int {
		if s.find(net.JoinHostPort(t.host, defaultPort)) != nil {
			return 0
		}
		return 1
	}
	for i := range found { // so that not all installations take the same
		j := i + s.intN(len(found)-i)
		found[i], found[j] = found[j], found[i]
	}
	slices.SortStableFunc(found, func(a, b target) int {
		return cmp.Or(a.compare(b.place), cmp.Compare(kept(a), kept(b)))
	})
	var chosen []target
	for _, t := range found {
		switch {
		case slices.ContainsFunc(chosen, func(c target) bool { return c.host == t.host }):
		case !s.allowed(t.host):
			complaint = errors.Join(complaint, fmt.Errorf("DNS names %s as a controller of %s, which does not lie in %s: not used",
				t.host, s.cfg.Discover, strings.Join(s.cfg.Within, ", ")))
		case len(chosen) < maxDiscovered:
			chosen = append(chosen, t)
		}
	}
	if len(chosen) == 0 && complaint == nil {
		complaint = fmt.Errorf("DNS names no controllers of %s", s.cfg.Discover)
	}
	slices.SortFunc(chosen, func(a, b target) int { return cmp.Or(a.compare(b.place), cmp.Compare(a.host, b.host)) })
	return chosen, complaint
}

func (s *Set) allowed(host string) bool {
	return slices.ContainsFunc(s.cfg.Within, func(domain string) bool { return strings.HasSuffix(host, "."+domain) })
}

func (s *Set) hasDiscovered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.list, func(c *controller) bool { return c.place.group != groupURLs })
}

// replace makes the list of the URLs and the targets. Controllers that stay
// keep what is known of them. The caller holds mu, and calls tell after.
func (s *Set) replace(targets []target) {
	var list []*controller
	for _, c := range s.list {
		if c.place.group == groupURLs {
			list = append(list, c)
		}
	}
	for _, t := range targets {
		addr := net.JoinHostPort(t.host, defaultPort)
		c := s.find(addr)
		switch {
		case c == nil:
			c = s.controller("ldaps://"+t.host, addr, t.host, t.place)
		case c.place.group == groupURLs:
			continue // listed already
		}
		c.place = t.place
		list = append(list, c)
	}
	for _, c := range s.list {
		if !slices.Contains(list, c) {
			c.gone = true
			name := c.name
			s.events = append(s.events, func() { s.cfg.Forget(name) })
		}
	}
	s.list = list
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
