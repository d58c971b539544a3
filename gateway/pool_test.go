package gateway

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// identities is a DC that, like AD, keeps the identity of the last successful
// bind on a connection, and answers a Compare with it.
func identities(t *testing.T) func(*peer) {
	return func(p *peer) {
		who := ""
		for msg := range p.requests() {
			switch msg.Op {
			case ldapwire.OpBindRequest:
				req, err := ldapwire.ParseBindRequest(msg.Body)
				if err != nil {
					t.Error(err)
					return
				}
				if string(req.Name) == "CN=wrong" {
					p.send(ldapwire.AppendResult(nil, msg.ID, ldapwire.OpBindResponse, ldapwire.ResultInvalidCredentials, "", ""))
					continue
				}
				who = string(req.Name)
				p.send(plainAnswer(msg))
			case ldapwire.OpCompareRequest:
				p.send(ldapwire.AppendResult(nil, msg.ID, ldapwire.OpCompareResponse, ldapwire.ResultCompareFalse, "", who))
			case ldapwire.OpSearchRequest: // never answered
			default:
				p.send(plainAnswer(msg))
			}
		}
	}
}

// whoami asks the DC who the session is.
func (p *peer) whoami(id int32) string {
	p.tb.Helper()
	p.send(ldapwire.AppendCompareRequest(nil, id, aliceDN, "cn", []byte("x")))
	return string(p.wantResult(ldapwire.OpCompareResponse, id, ldapwire.ResultCompareFalse).Diagnostic)
}

// leave unbinds and waits until the session is over.
func (r *rig) leave(c *peer) {
	r.tb.Helper()
	c.send(ldapwire.AppendUnbindRequest(nil, 99))
	c.wantEnd()
	receiveUntil(r.tb, func() bool { return len(r.server.snapshot()) == 0 })
}

// leave2 does the same for two sessions at once.
func (r *rig) leave2(a, b *peer) {
	r.tb.Helper()
	a.send(ldapwire.AppendUnbindRequest(nil, 99))
	b.send(ldapwire.AppendUnbindRequest(nil, 99))
	receiveUntil(r.tb, func() bool { return len(r.server.snapshot()) == 0 })
}

// TestG2_PooledConnectionIsAnonymous: the next session gets the connection of
// the one before, and nothing of its identity.
func TestG2_PooledConnectionIsAnonymous(t *testing.T) {
	r, dc := newRig(t, identities(t))
	for range 5 {
		c := r.dial()
		if who := c.whoami(1); who != "" {
			t.Fatalf("a new session is %q at the DC", who)
		}
		c.bind(2)
		if who := c.whoami(3); who != "CN=alice" {
			t.Fatalf("after the bind it is %q", who)
		}
		r.leave(c)
	}
	if n := dc.accepted(); n != 1 {
		t.Errorf("the DC had %d connections, want 1: the pool was not used", n)
	}
}

func TestG2_NotPooled(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*peer)
	}{
		{"after a failed bind", func(c *peer) {
			c.send(ldapwire.AppendBindRequest(nil, 5, "CN=wrong", []byte("x")))
			c.wantResult(ldapwire.OpBindResponse, 5, ldapwire.ResultInvalidCredentials)
		}},
		{"with a request outstanding", func(c *peer) {
			c.send(ldapwire.AppendSearchRequest(nil, 5, ldapwire.SearchParams{}))
			c.whoami(6)
		}},
		{"with an abandoned request that may still be answered", func(c *peer) {
			c.send(ldapwire.AppendSearchRequest(nil, 5, ldapwire.SearchParams{}), ldapwire.AppendAbandonRequest(nil, 6, 5))
			c.whoami(7)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := newRig(t, identities(t))
			c := r.dial()
			c.bind(1)
			tt.spoil(c)
			r.leave(c)
			if n := r.server.pool.len(); n != 0 {
				t.Errorf("%d connections were kept, want none", n)
			}
		})
	}
	t.Run("when the DC does not become anonymous", func(t *testing.T) {
		r, _ := newRig(t, func(p *peer) {
			for msg := range p.requests() {
				code := ldapwire.ResultSuccess
				if msg.ID == ldapwire.MaxMessageID {
					code = ldapwire.ResultInappropriateAuthentication
				}
				p.send(ldapwire.AppendResult(nil, msg.ID, msg.Op.Response(), code, "", ""))
			}
		})
		c := r.dial()
		c.bind(1)
		r.leave(c)
		if n := r.server.pool.len(); n != 0 {
			t.Errorf("%d connections were kept, want none", n)
		}
	})
	t.Run("when it is switched off", func(t *testing.T) {
		r, dc := newRig(t, identities(t), func(c *Config) { c.PoolSize = -1 })
		for range 2 {
			c := r.dial()
			c.bind(1)
			r.leave(c)
		}
		if n := dc.accepted(); n != 2 {
			t.Errorf("the DC had %d connections, want 2", n)
		}
	})
}

// TestG9_PooledConnectionDied: one that the DC closed meanwhile is not used.
func TestG9_PooledConnectionDied(t *testing.T) {
	drop := make(chan struct{})
	r, dc := newRig(t, func(p *peer) {
		answered := make(chan struct{})
		go func() {
			select {
			case <-drop:
				_ = p.conn.Close()
			case <-answered:
			}
		}()
		identities(t)(p)
		close(answered)
	})
	c := r.dial()
	c.bind(1)
	r.leave(c)
	if n := r.server.pool.len(); n != 1 {
		t.Fatalf("%d connections were kept, want 1", n)
	}
	drop <- struct{}{}
	receiveUntil(t, func() bool { return !r.server.pool.idle[0].isAlive() })
	next := r.dial()
	next.bind(1)
	if n := dc.accepted(); n != 2 {
		t.Errorf("the DC had %d connections, want 2", n)
	}
}

func TestPoolExpires(t *testing.T) {
	r, dc := newRig(t, identities(t))
	c := r.dial()
	c.bind(1)
	r.leave(c)
	r.server.pool.expire(time.Now().Add(DefaultPoolAge / 2))
	if n := r.server.pool.len(); n != 1 {
		t.Errorf("%d connections are kept after half the time, want 1", n)
	}
	r.server.pool.expire(time.Now().Add(2 * DefaultPoolAge))
	if n := r.server.pool.len(); n != 0 {
		t.Errorf("%d connections are kept after the time, want none", n)
	}
	r.dial().bind(1)
	if n := dc.accepted(); n != 2 {
		t.Errorf("the DC had %d connections, want 2", n)
	}
}

// TestG2_PoolUnderLoad: many sessions at once, each under its own name, never
// meet another's identity.
func TestG2_PoolUnderLoad(t *testing.T) {
	r, dc := newRig(t, identities(t))
	const sessions, rounds = 8, 20
	done := make(chan error, sessions)
	for i := range sessions {
		name := "CN=user" + string(rune('a'+i))
		go func() {
			for range rounds {
				c := r.dial()
				if who := c.whoami(1); who != "" {
					t.Errorf("a new session is %q", who)
				}
				c.send(ldapwire.AppendBindRequest(nil, 2, name, []byte("x")))
				c.wantResult(ldapwire.OpBindResponse, 2, ldapwire.ResultSuccess)
				if who := c.whoami(3); who != name {
					t.Errorf("%s is %q", name, who)
				}
				c.send(ldapwire.AppendUnbindRequest(nil, 4))
				c.wantEnd()
			}
			done <- nil
		}()
	}
	for range sessions {
		receive(t, done, "the end of the sessions")
	}
	t.Logf("%d logins over %d DC connections", sessions*rounds, dc.accepted())
	if n := dc.accepted(); n > sessions*rounds/2 {
		t.Errorf("%d DC connections for %d logins: the pool is hardly used", n, sessions*rounds)
	}
}

// TestG10_AtRest: a session that gave its buffers back goes on as if nothing
// had been, whichever side speaks next or ends.
func TestG10_AtRest(t *testing.T) {
	restless := func(c *Config) { c.quiet = 5 * time.Millisecond }
	pause := func() { // many times the quiet time
		timer := time.NewTimer(60 * time.Millisecond)
		<-timer.C
	}
	t.Run("the client speaks", func(t *testing.T) {
		r, dc := newRig(t, identities(t), restless)
		c := r.dial()
		for id := int32(1); id < 10; id += 2 {
			c.bind(id)
			pause()
			if who := c.whoami(id + 1); who != "CN=alice" {
				t.Fatalf("it is %q at the DC", who)
			}
			pause()
		}
		r.leave(c)
		next := r.dial()
		next.bind(1)
		if n := dc.accepted(); n != 1 {
			t.Errorf("the DC had %d connections, want 1", n)
		}
	})
	t.Run("the DC speaks, then ends", func(t *testing.T) {
		speak := make(chan struct{})
		r, _ := newRig(t, func(p *peer) {
			if msg, err := p.read(); err == nil {
				p.send(plainAnswer(msg))
				_, _ = p.read() // the search
				<-speak
				p.send(ldapwire.AppendSearchEntry(nil, 7, aliceDN, nil))
				<-speak
			}
		}, restless)
		c := r.dial()
		c.bind(1)
		c.send(ldapwire.AppendSearchRequest(nil, 7, ldapwire.SearchParams{BaseDN: aliceDN}))
		pause()
		speak <- struct{}{}
		c.want(ldapwire.OpSearchResultEntry)
		pause()
		close(speak)
		c.wantNotice(ldapwire.ResultUnavailable)
	})
	t.Run("the server stops", func(t *testing.T) {
		r, _ := newRig(t, identities(t), restless)
		c := r.dial()
		c.bind(1)
		pause()
		if err := r.server.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.wantNotice(ldapwire.ResultUnavailable)
	})
	t.Run("nobody ever speaks", func(t *testing.T) {
		r, _ := newRig(t, identities(t), restless, func(c *Config) { c.IdleTimeout = 100 * time.Millisecond })
		c := r.dial()
		c.bind(1)
		c.wantNotice(ldapwire.ResultUnavailable)
	})
	t.Run("half a message", func(t *testing.T) {
		r, _ := newRig(t, identities(t), restless)
		c := r.dial()
		c.bind(1)
		frame := ldapwire.AppendCompareRequest(nil, 2, aliceDN, "cn", []byte("x"))
		c.send(frame[:5])
		pause()
		c.send(frame[5:])
		c.wantResult(ldapwire.OpCompareResponse, 2, ldapwire.ResultCompareFalse)
	})
}

// rotating is a DC that says whether it is in rotation.
type rotating struct {
	*scriptedDC
	in *atomic.Bool
}

func (r rotating) InRotation(string) bool { return r.in.Load() }

// TestG9_PoolAvoidsFailedControllers: a hanging controller keeps its
// connections open; the pool does not hand them out.
func TestG9_PoolAvoidsFailedControllers(t *testing.T) {
	ca := certstest.New(t)
	dc := rotating{newScriptedDC(t, ca, identities(t)), new(atomic.Bool)}
	dc.in.Store(true)
	r := newRigFor(t, ca, &Domain{Name: "corp.example.test", DCs: dc})
	c := r.dial()
	c.bind(1)
	r.leave(c)
	dc.in.Store(false)
	r.dial().bind(1)
	if n := dc.accepted(); n != 2 {
		t.Errorf("the DC had %d connections, want 2", n)
	}
}

// TestG9_UnansweredBindEmptiesThePool: what one session found out, the next
// does not have to.
func TestG9_UnansweredBindEmptiesThePool(t *testing.T) {
	var hang atomic.Bool
	r, dc := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			if !hang.Load() {
				p.send(plainAnswer(msg))
			}
		}
	}, func(c *Config) { c.BindTimeout = 500 * time.Millisecond })
	a, b := r.dial(), r.dial()
	a.bind(1)
	b.bind(1)
	r.leave2(a, b)
	if n := r.server.pool.len(); n != 2 {
		t.Fatalf("%d connections were kept, want 2", n)
	}
	hang.Store(true)
	c := r.dial()
	c.send(ldapwire.AppendBindRequest(nil, 1, "CN=alice", []byte("x")))
	c.wantResult(ldapwire.OpBindResponse, 1, ldapwire.ResultUnavailable)
	if n := r.server.pool.len(); n != 0 {
		t.Errorf("%d connections are kept, want none", n)
	}
	hang.Store(false)
	c.bind(2)
	if n := dc.accepted(); n != 3 {
		t.Errorf("the DC had %d connections, want 3", n)
	}
}

// TestG1_NothingStaysBehindAtRest: an answer that comes just as the quiet time
// ends is passed on all the same.
func TestG1_NothingStaysBehindAtRest(t *testing.T) {
	const quiet = 3 * time.Millisecond
	r, _ := newRig(t, func(p *peer) {
		for n := time.Duration(0); ; n++ {
			msg, err := p.read()
			if err != nil || msg.Op == ldapwire.OpUnbindRequest {
				return
			}
			// A DC that takes about as long, a little more or less each time.
			until := time.Now().Add(quiet + (n%20-10)*20*time.Microsecond)
			for time.Now().Before(until) {
				runtime.Gosched()
			}
			p.send(plainAnswer(msg))
		}
	}, func(c *Config) { c.quiet = quiet })
	c := r.dial()
	c.bind(1)
	for id := int32(2); id < 1000; id++ {
		c.send(ldapwire.AppendCompareRequest(nil, id, aliceDN, "cn", []byte("x")))
		c.wantResult(ldapwire.OpCompareResponse, id, ldapwire.ResultSuccess)
	}
}
