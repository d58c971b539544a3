package dc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
)

func TestNewRefuses(t *testing.T) {
	good := &tls.Config{}
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"nothing", Config{TLS: good}, "no domain controller given"},
		{"no TLS", Config{URLs: []string{"ldaps://a.test"}}, "no TLS configuration"},
		{"clear text", Config{TLS: good, URLs: []string{"ldap://a.test"}}, "never travel in clear text"},
		{"path", Config{TLS: good, URLs: []string{"ldaps://a.test/dc=corp"}}, "want just ldaps://host"},
		{"no host", Config{TLS: good, URLs: []string{"ldaps://:636"}}, "want just ldaps://host"},
		{"not a URL", Config{TLS: good, URLs: []string{"ldaps://a.test:x"}}, "domain controller URL"},
		{"domain is a URL", Config{TLS: good, Discover: "ldaps://corp.test"}, "not a name in DNS"},
		{"wildcard", Config{TLS: good, Discover: "corp.test", Within: []string{"*.test"}}, "not a name in DNS"},
		{"site alone", Config{TLS: good, URLs: []string{"ldaps://a.test"}, Site: "Paris"}, "no domain to discover"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(test.cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestAddress(t *testing.T) {
	tests := []struct{ url, addr, host string }{
		{"ldaps://dc1.corp.test", "dc1.corp.test:636", "dc1.corp.test"},
		{"LDAPS://dc1.corp.test:3269/", "dc1.corp.test:3269", "dc1.corp.test"},
		{"ldaps://[2001:db8::1]", "[2001:db8::1]:636", "2001:db8::1"},
	}
	for _, test := range tests {
		addr, host, err := Address(test.url)
		if err != nil || addr != test.addr || host != test.host {
			t.Errorf("Address(%s) = %q, %q, %v, want %q, %q", test.url, addr, host, err, test.addr, test.host)
		}
	}
}

func TestSameAddressCountsOnce(t *testing.T) {
	s, err := New(Config{TLS: &tls.Config{}, URLs: []string{"ldaps://a.test", "ldaps://b.test", "ldaps://A.test:636"}})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Names", s.Names(), []string{"ldaps://a.test", "ldaps://b.test"})
}

// Without Run, the first of two controllers fails in every way a dial can see.
func TestG9_DialGoesOn(t *testing.T) {
	tests := []struct {
		mode mode
		took time.Duration
		down bool // it is known to be down, not only slow
	}{
		{well, 0, false},
		{refuses, 0, true},
		{stranger, 0, true},
		{vanished, stagger, false},
		{mute, stagger, false},
	}
	for _, test := range tests {
		t.Run(string(test.mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, "a.test", "b.test")
				var seen events
				s := n.set(Config{Observe: seen.observe}, "a.test", "b.test")
				n.dc("a.test").becomes(test.mode)
				if test.mode == well {
					wantDial(t, s, "a.test", 0)
					wantEqual(t, "observed", names(seen.take()), []string{"a.test up"})
					return
				}
				wantDial(t, s, "b.test", test.took)
				wantDial(t, s, "b.test", 0) // it is not waited for again
				want := []string{"b.test up"}
				if test.down {
					want = []string{"a.test down", "b.test up"}
				}
				wantEqual(t, "observed", names(seen.take()), want)

				// One Dial tries it again after a while; then it is well.
				n.dc("a.test").becomes(well)
				time.Sleep(avoidFor)
				wantDial(t, s, "a.test", 0)
			})
		})
	}
}

// Without Run, a controller out of rotation is tried by one Dial at a time.
func TestG9_OneTrialAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.test", "b.test")
		s := n.set(Config{}, "a.test", "b.test")
		fail(s, "ldaps://a.test", errors.New("it died"))
		n.dc("a.test").becomes(mute)
		wantDial(t, s, "b.test", 0)
		time.Sleep(firstRetry)
		done := make(chan struct{})
		go func() {
			defer close(done)
			wantDial(t, s, "b.test", stagger)
		}()
		synctest.Wait()
		wantDial(t, s, "b.test", 0)
		<-done
	})
}

// A Dial that finds all controllers hanging still ends in seconds, whatever
// their number, having tried as many as the time allows.
func TestG9_AllHang(t *testing.T) {
	for _, test := range []struct {
		count, tried int
		took         time.Duration
	}{
		{1, 1, DefaultDialTimeout},
		{3, 3, DefaultDialTimeout + 2*stagger},
		{16, 16, DefaultDialTimeout + 15*stagger},
		{60, 60, DefaultDialTimeout + 59*(DefaultDialTimeout/60)},
	} {
		t.Run(fmt.Sprint(test.count), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var hosts []string
				for i := range test.count {
					hosts = append(hosts, fmt.Sprintf("dc%d.test", i))
				}
				n := newNetwork(t, hosts...)
				for _, host := range hosts {
					n.dc(host).becomes(vanished)
				}
				s := n.set(Config{}, hosts...)
				begin := time.Now()
				_, _, err := s.Dial(t.Context())
				if !errors.Is(err, ErrUnreachable) {
					t.Fatalf("got %v, want ErrUnreachable", err)
				}
				if took := time.Since(begin); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				if tried := len(n.dialled()); tried != test.tried {
					t.Errorf("tried %d controllers, want %d", tried, test.tried)
				}
				for _, host := range hosts {
					if !strings.Contains(err.Error(), "ldaps://"+host+": ") {
						t.Errorf("the error does not name %s", host)
					}
				}
			})
		})
	}
}

// A caller who leaves says nothing about the controller.
func TestG9_CallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.test", "b.test")
		var seen events
		s := n.set(Config{Observe: seen.observe}, "a.test", "b.test")
		n.dc("a.test").becomes(mute)
		n.dc("b.test").becomes(vanished)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if _, _, err := s.Dial(ctx); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ErrUnreachable and the deadline", err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
		cancel()
		n.dialled()
		if _, _, err := s.Dial(ctx); !errors.Is(err, ErrUnreachable) {
			t.Errorf("after the end: got %v, want ErrUnreachable", err)
		}
		wantEqual(t, "dialled after the end", n.dialled(), nil)
		wantEqual(t, "observed", names(seen.take()), nil)
	})
}

// Of two that complete at the same moment one is closed: a connection left open
// keeps its server's goroutine, which fails the bubble.
func TestG9_DeadHeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "a.test", "b.test")
		n.dc("a.test").becomes(slow)
		wins := map[string]int{}
		for range 50 {
			s := n.set(Config{}, "a.test", "b.test")
			conn, name, err := s.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.NetConn().Close()
			wins[name]++
		}
		t.Logf("wins: %v", wins)
	})
}

// The losers of a race are gone when Dial returns: their sockets are closed,
// and goleak finds no goroutine.
func TestG9_LosersAreClosed(t *testing.T) {
	ca := certstest.New(t)
	slow, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	good, err := tls.Listen("tcp", "127.0.0.1:0", ca.Server("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := good.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.(*tls.Conn).Handshake()
		_, _ = conn.Read(make([]byte, 1))
	}()

	s, err := New(Config{URLs: []string{"ldaps://" + slow.Addr().String(), "ldaps://" + good.Addr().String()}, TLS: ca.Client("")})
	if err != nil {
		t.Fatal(err)
	}
	conn, name, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := "ldaps://" + good.Addr().String(); name != want {
		t.Errorf("Dial gave %s, want %s", name, want)
	}
	loser, err := slow.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer loser.Close()
	_ = loser.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 4096)
	for err == nil {
		_, err = loser.Read(buf)
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Error("the loser's connection is still open")
	}
	_ = conn.Close()
	<-served
}
