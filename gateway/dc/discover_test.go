package dc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var _ Resolver = (*net.Resolver)(nil)

const (
	domainName = "_ldap._tcp.dc._msdcs.corp.test."
	siteName   = "_ldap._tcp.Paris._sites.dc._msdcs.corp.test."
)

// zone is a Resolver; a name without records is not found.
type zone struct {
	mu      sync.Mutex
	records map[string][]*net.SRV
	err     error // of all lookups
	siteErr error // of lookups of the site
	hangs   bool
	invalid bool // some records were, as the resolver says beside the others
	asked   []string
}

func (z *zone) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	z.mu.Lock()
	invalid := z.invalid
	z.mu.Unlock()
	name = "_" + service + "._" + proto + "." + name
	z.mu.Lock()
	z.asked = append(z.asked, name)
	records, err, hangs := slices.Clone(z.records[name]), z.err, z.hangs
	if strings.Contains(name, "_sites") {
		err = errors.Join(err, z.siteErr)
	}
	z.mu.Unlock()
	switch {
	case hangs:
		<-ctx.Done()
		return "", nil, &net.DNSError{Err: "timeout", Name: name, IsTimeout: true}
	case err != nil:
		return "", nil, err
	case len(records) == 0:
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	if invalid {
		err = &net.DNSError{Err: "DNS response contained records which contain invalid names", Name: name}
	}
	return name, records, err
}

// put replaces the records of a name; nil hosts remove them. Hosts are "host"
// or "host priority weight".
func (z *zone) put(name string, hosts ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.records == nil {
		z.records = make(map[string][]*net.SRV)
	}
	z.records[name] = nil
	for _, h := range hosts {
		srv := &net.SRV{Port: 389}
		_, _ = fmt.Sscan(h, &srv.Target, &srv.Priority, &srv.Weight)
		z.records[name] = append(z.records[name], srv)
	}
}

func (z *zone) fail(err error, hangs bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.err, z.hangs = err, hangs
}

func (z *zone) questions() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	asked := z.asked
	z.asked = nil
	return asked
}

func TestG9_DiscoverOrder(t *testing.T) {
	tests := []struct {
		name         string
		urls         []string
		site         string
		within       []string
		inSite, inDC []string
		want         []string
		complaint    string
	}{
		{"domain alone", nil, "", nil, nil, []string{"B.corp.test. 1 0", "a.corp.test. 0 0"}, []string{"a.corp.test", "b.corp.test"}, ""},
		{"site first", nil, "Paris", nil, []string{"p.corp.test. 9 0"}, []string{"a.corp.test. 0 0", "p.corp.test. 0 0"},
			[]string{"p.corp.test", "a.corp.test"}, ""},
		{"site unknown", nil, "Paris", nil, nil, []string{"a.corp.test. 0 0"}, []string{"a.corp.test"}, "check its name"},
		{"URLs first", []string{"ldaps://x.test", "ldaps://b.corp.test"}, "", nil, nil, []string{"a.corp.test. 0 0", "b.corp.test. 0 0"},
			[]string{"x.test", "b.corp.test", "a.corp.test"}, ""},
		{"outside", nil, "", nil, nil, []string{"a.corp.test. 0 0", "evil.test. 0 0", "evilcorp.test. 0 0"}, []string{"a.corp.test"}, "evilcorp.test as a controller"},
		{"disjoint names", nil, "", []string{"hosts.test."}, nil, []string{"a.hosts.test. 0 0"}, []string{"a.hosts.test"}, ""},
		{"no service", nil, "", nil, nil, []string{". 0 0"}, nil, "names no controllers"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			z := new(zone)
			z.put(domainName, test.inDC...)
			z.put(siteName, test.inSite...)
			n := newNetwork(t)
			s := n.set(Config{URLs: test.urls, Discover: "Corp.Test.", Site: test.site, Within: test.within, Resolver: z})
			if _, _, err := s.Dial(t.Context()); !errors.Is(err, ErrUnreachable) {
				t.Errorf("got %v, want ErrUnreachable: nobody is there", err)
			}
			var got []string
			for _, name := range s.Names() {
				got = append(got, strings.TrimPrefix(name, "ldaps://"))
			}
			wantEqual(t, "controllers", got, test.want)
			var dialled []string
			for _, host := range test.want {
				dialled = append(dialled, host+":636")
			}
			wantEqual(t, "dialled", n.dialled(), dialled)
			questions := []string{domainName}
			if test.site != "" {
				questions = []string{siteName, domainName}
			}
			wantEqual(t, "asked", z.questions(), questions)
			_, err := s.Lookup()
			if test.complaint == "" && err != nil || test.complaint != "" && (err == nil || !strings.Contains(err.Error(), test.complaint)) {
				t.Errorf("complaint %v, want %q", err, test.complaint)
			}
		})
	}
}

// With Run, the list follows DNS, and a failed lookup changes nothing.
func TestG9_DiscoverFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.corp.test", "b.corp.test", "c.corp.test")
		z := new(zone)
		z.put(domainName, "a.corp.test. 0 0", "b.corp.test. 1 0")
		var seen events
		s := n.set(Config{Discover: "corp.test", Resolver: z, Observe: seen.observe,
			Forget: func(c string) { seen.note(c[len("ldaps://"):] + " forgotten") }})
		defer n.run(s)()
		wantDial(t, s, "a.corp.test", 0)
		got := names(seen.take())
		slices.Sort(got)
		wantEqual(t, "observed", got, []string{"a.corp.test up", "b.corp.test up"})
		first, _ := s.Lookup()

		for _, outage := range []func(){
			func() { z.fail(errors.New("SERVFAIL"), false) },
			func() { z.fail(nil, true) },
			func() { z.fail(nil, false); z.put(domainName) },
		} {
			outage()
			time.Sleep(DefaultLookupInterval + lookupTimeout)
			synctest.Wait()
			good, err := s.Lookup()
			if err == nil || !good.Equal(first) {
				t.Errorf("last good lookup %v, error %v, want %v and an error", good, err, first)
			}
			wantEqual(t, "controllers", s.Names(), []string{"ldaps://a.corp.test", "ldaps://b.corp.test"})
			wantDial(t, s, "a.corp.test", 0)
		}

		z.put(domainName, "c.corp.test. 0 0", "b.corp.test. 1 0")
		time.Sleep(lookupRetry)
		synctest.Wait()
		got = names(seen.take())
		slices.Sort(got)
		wantEqual(t, "observed", got, []string{"a.corp.test forgotten", "c.corp.test up"})
		wantDial(t, s, "c.corp.test", 0)
		if _, err := s.Lookup(); err != nil {
			t.Errorf("after a good lookup: %v, want no error", err)
		}

		// Nobody watches what is not listed.
		before := n.dc("a.corp.test").reads
		time.Sleep(10 * second)
		if reads := n.dc("a.corp.test").reads; reads != before {
			t.Errorf("%d health reads of a controller that is not listed", reads-before)
		}
	})
}

// Without Run, Dial looks up when it must: at first, when due, and when all
// that it knows have failed.
func TestG9_DialLooksUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.corp.test", "b.corp.test")
		z := new(zone)
		z.put(domainName, "a.corp.test. 0 0")
		s := n.set(Config{Discover: "corp.test", Resolver: z})
		wantDial(t, s, "a.corp.test", 0)
		wantDial(t, s, "a.corp.test", 0)
		wantEqual(t, "asked at first", z.questions(), []string{domainName})
		time.Sleep(DefaultLookupInterval)
		wantDial(t, s, "a.corp.test", 0)
		wantEqual(t, "asked when due", z.questions(), []string{domainName})

		time.Sleep(lookupGap)
		z.put(domainName, "a.corp.test. 0 0", "b.corp.test. 1 0")
		n.dc("a.corp.test").becomes(refuses)
		n.dialled()
		wantDial(t, s, "b.corp.test", 0)
		wantEqual(t, "asked when all failed", z.questions(), []string{domainName})
		wantEqual(t, "dialled", n.dialled(), []string{"a.corp.test:636", "b.corp.test:636"})
	})
}

func TestG9_FirstLookupFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.corp.test")
		z := new(zone)
		z.fail(nil, true)
		s := n.set(Config{Discover: "corp.test", Resolver: z})
		defer n.run(s)()
		begin := time.Now()
		_, _, err := s.Dial(t.Context())
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "look up _ldap._tcp.dc._msdcs.corp.test") {
			t.Errorf("got %v, want ErrUnreachable and the lookup", err)
		}
		if took := time.Since(begin); took > lookupTimeout {
			t.Errorf("took %v, want at most %v", took, lookupTimeout)
		}
		z.fail(nil, false)
		z.put(domainName, "a.corp.test. 0 0")
		time.Sleep(lookupRetry)
		wantDial(t, s, "a.corp.test", 0)
	})
}

// A site that cannot be looked up is no reason to leave it, nor to start
// without any controller.
func TestG9_SiteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "p.corp.test", "a.corp.test")
		z := &zone{siteErr: errors.New("SERVFAIL")}
		z.put(siteName, "p.corp.test. 0 0")
		z.put(domainName, "a.corp.test. 0 0")
		s := n.set(Config{Discover: "corp.test", Site: "Paris", Resolver: z})
		setErr := func(err error) {
			z.mu.Lock()
			defer z.mu.Unlock()
			z.siteErr = err
		}
		wantDial(t, s, "a.corp.test", 0)
		setErr(nil)
		time.Sleep(DefaultLookupInterval)
		wantDial(t, s, "p.corp.test", 0)
		setErr(errors.New("SERVFAIL"))
		time.Sleep(DefaultLookupInterval)
		wantDial(t, s, "p.corp.test", 0)
		if _, err := s.Lookup(); err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
			t.Errorf("complaint %v, want SERVFAIL", err)
		}
	})
}

// Records that the resolver refuses do not spoil the others.
func TestG9_SomeRecordsInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.corp.test")
		z := &zone{invalid: true}
		z.put(domainName, "a.corp.test. 0 0")
		wantDial(t, n.set(Config{Discover: "corp.test", Resolver: z}), "a.corp.test", 0)
	})
}

// A connection to a controller that DNS forgot meanwhile is good, but no news.
func TestG9_ForgottenWhileDialling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.corp.test", "b.corp.test")
		z := new(zone)
		z.put(domainName, "a.corp.test. 0 0")
		var seen events
		s := n.set(Config{Discover: "corp.test", Resolver: z, Observe: seen.observe,
			Forget: func(c string) { seen.note(c[len("ldaps://"):] + " forgotten") }})
		n.dc("a.corp.test").becomes(slow)
		done := make(chan struct{})
		go func() {
			defer close(done)
			wantDial(t, s, "a.corp.test", stagger)
		}()
		synctest.Wait()
		s.mu.Lock()
		s.replace([]target{{host: "b.corp.test"}})
		s.mu.Unlock()
		<-done
		wantEqual(t, "observed", names(seen.take()), []string{"a.corp.test forgotten"})
	})
}

// A domain of hundreds is not watched whole, and what is used stays in use.
func TestG9_DiscoverIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := new(zone)
		hosts := []string{"near.corp.test. 0 1"}
		for i := range 300 {
			hosts = append(hosts, fmt.Sprintf("dc%d.corp.test. 1 100", i))
		}
		z.put(domainName, hosts...)
		n := newNetwork(t, "near.corp.test")
		s := n.set(Config{Discover: "corp.test", Resolver: z})
		wantDial(t, s, "near.corp.test", 0)
		first := s.Names()
		if len(first) != maxDiscovered || first[0] != "ldaps://near.corp.test" {
			t.Errorf("%d controllers, the first is %s, want %d and near.corp.test", len(first), first[0], maxDiscovered)
		}
		for range 3 {
			time.Sleep(DefaultLookupInterval)
			wantDial(t, s, "near.corp.test", 0)
			wantEqual(t, "controllers", s.Names(), first)
		}
		if asked := z.questions(); len(asked) != 4 {
			t.Errorf("asked %d times, want 4", len(asked))
		}
	})
}

// RFC 2782: by priority, then in proportion to the weights.
func TestWeighted(t *testing.T) {
	list := []*controller{
		{name: "backup", place: place{groupDomain, 5, 100}},
		{name: "three", place: place{groupDomain, 0, 30}},
		{name: "none", place: place{groupDomain, 0, 0}},
		{name: "one", place: place{groupDomain, 0, 10}},
		{name: "site", place: place{groupSite, 9, 0}},
		{name: "url", place: place{groupURLs, 3, 0}},
	}
	const rounds = 20000
	random := rand.New(rand.NewPCG(1, 2))
	first := map[string]int{}
	for range rounds {
		order := weighted(list, random.IntN)
		if len(order) != len(list) || order[0].name != "url" || order[1].name != "site" || order[5].name != "backup" {
			t.Fatalf("order %v: groups or priorities are mixed", order)
		}
		first[order[2].name]++
	}
	for name, share := range map[string]float64{"none": 1. / 41, "three": 30. / 41, "one": 10. / 41} {
		if got := float64(first[name]) / rounds; got < share-.02 || got > share+.02 {
			t.Errorf("%s is first in %.3f of all orders, want %.3f", name, got, share)
		}
	}
}
