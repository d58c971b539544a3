package gateway

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// TestG2_BoundAccount: what a DC says about the session is believed only when
// it names a user, and a domain's policy only when it makes sense.
func TestG2_BoundAccount(t *testing.T) {
	for _, tt := range []struct {
		name      string
		replace   [2]string // in the DC's answers, of equal length
		known     bool
		threshold int
	}{
		{"a user", [2]string{}, true, 3},
		{"a group", [2]string{"805306368", "268435456"}, false, 5},
		{"another value of sAMAccountType", [2]string{"805306368", "80530636x"}, false, 5},
		{"no SID", [2]string{"tokenGroups", "tokenGroupz"}, false, 5},
		{"no domain", [2]string{"defaultNamingContext", "defaultNamingContexz"}, false, 5},
		{"no policy", [2]string{"lockoutThreshold", "lockoutThreshole"}, true, 5},
		{"a negative threshold", [2]string{"lockoutThreshold1\x03\x04\x013", "lockoutThreshold1\x03\x04\x01-"}, true, 5},
		{"a window of the wrong sign", [2]string{"-18000000000", "018000000000"}, true, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dc := newGuardedDC("Secret-1")
			r, _ := newRig(t, func(p *peer) {
				for msg := range p.requests() {
					frame := dc.answer(msg)
					if tt.replace[0] != "" {
						frame = bytes.ReplaceAll(frame, []byte(tt.replace[0]), []byte(tt.replace[1]))
					}
					p.send(frame)
				}
			}, guarded)
			c := r.dial()
			for i := range int32(2) { // the answer to the second comes after what the first led to
				if res := c.tryBind(1+i, "alice", "Secret-1"); res.Code != ldapwire.ResultSuccess {
					t.Fatal(res.Code)
				}
			}
			g := r.server.guard
			g.mu.Lock()
			defer g.mu.Unlock()
			s := g.names[nameKey(guardDomain, "alice")]
			if s.known != tt.known || (g.names[nameKey(guardDomain, aliceDN)] == s) != tt.known {
				t.Errorf("known %v with names %q, want %v", s.known, s.keys, tt.known)
			}
			if p := g.policy(guardDomain); p.threshold != tt.threshold || p.window != 30*time.Minute {
				t.Errorf("policy %+v, want a threshold of %d in 30 minutes", p, tt.threshold)
			}
		})
	}
}

// TestG2_BoundAccountLost: the DC goes away while it is asked who is bound.
// The client has its answer, and is told that the session is over.
func TestG2_BoundAccountLost(t *testing.T) {
	r, _ := newRig(t, func(p *peer) {
		msg := p.want(ldapwire.OpBindRequest)
		p.send(plainAnswer(msg))
		p.want(ldapwire.OpSearchRequest)
		_ = p.conn.Close()
	}, guarded)
	c := r.dial()
	if res := c.tryBind(1, "alice", "Secret-1"); res.Code != ldapwire.ResultSuccess {
		t.Fatal(res.Code)
	}
	c.wantNotice(ldapwire.ResultUnavailable)
}

func TestFromInterval(t *testing.T) {
	for n, want := range map[int64]time.Duration{
		-18_000_000_000: 30 * time.Minute, 0: 0, -1: 100, 10: -1000,
		math.MinInt64: math.MaxInt64 / 2, -math.MaxInt64 / 10: math.MaxInt64 / 2,
	} {
		if got := fromInterval(n); got != want {
			t.Errorf("%d: got %v, want %v", n, got, want)
		}
	}
}
