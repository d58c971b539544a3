package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// plainRig is a gateway whose clients begin in clear.
func plainRig(tb testing.TB, serve func(*peer), change ...func(*Config)) (*rig, *scriptedDC, string) {
	tb.Helper()
	r, dc := newRig(tb, serve, change...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.server.ServeStartTLS(l) }()
	tb.Cleanup(func() {
		if err := r.server.Close(); err != nil {
			tb.Error("close:", err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			tb.Errorf("ServeStartTLS returned %v, want ErrServerClosed", err)
		}
	})
	return r, dc, l.Addr().String()
}

func dialClear(tb testing.TB, addr string) *peer {
	tb.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return newPeer(tb, conn)
}

func startTLSRequest(id int32) []byte {
	return ldapwire.AppendExtendedRequest(nil, id, ldapwire.OIDStartTLS, nil, false)
}

// upgrade makes p a client within TLS.
func (r *rig) upgrade(p *peer, id int32) *peer {
	r.tb.Helper()
	p.send(startTLSRequest(id))
	msg := p.want(ldapwire.OpExtendedResponse)
	res, err := ldapwire.ParseExtendedResponse(msg.Body)
	if err != nil || msg.ID != id || res.Code != ldapwire.ResultSuccess || string(res.Name) != ldapwire.OIDStartTLS {
		r.tb.Fatalf("StartTLS: got %s, %s %q, %v; want success and its OID", msg, res.Code, res.Name, err)
	}
	_ = p.conn.SetDeadline(time.Now().Add(patience))
	tc := tls.Client(p.conn, r.ca.Client("127.0.0.1"))
	if err := tc.Handshake(); err != nil {
		r.tb.Fatal("handshake:", err)
	}
	return newPeer(r.tb, tc)
}

// countingDC answers everything and counts what must not reach it.
type countingDC struct{ binds, others atomic.Int32 }

func (c *countingDC) serve(p *peer) {
	for msg := range p.requests() {
		switch {
		case msg.Op == ldapwire.OpBindRequest:
			if req, err := ldapwire.ParseBindRequest(msg.Body); err != nil || !req.PasswordEmpty() {
				c.binds.Add(1)
			}
		case !isRootDSE(msg):
			c.others.Add(1)
		}
		p.send(plainAnswer(msg))
	}
}

func TestG2_StartTLS(t *testing.T) {
	r, _, addr := plainRig(t, answerAll)
	c := dialClear(t, addr)
	c.send(ldapwire.AppendSearchRequest(nil, 1, ldapwire.SearchParams{Scope: ldapwire.ScopeBase}))
	c.want(ldapwire.OpSearchResultEntry)
	c.wantResult(ldapwire.OpSearchResultDone, 1, ldapwire.ResultSuccess)
	c = r.upgrade(c, 2)
	c.bind(1)
	c.send(changePassword(t, 2, "old", "New.Pass1"))
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
	c.send(startTLSRequest(3))
	c.wantResult(ldapwire.OpExtendedResponse, 3, ldapwire.ResultOperationsError)
	c.bind(4)
}

func TestG2_BeforeStartTLS(t *testing.T) {
	dc := &countingDC{}
	r, _, addr := plainRig(t, dc.serve)
	c := dialClear(t, addr)
	refused := func(frame []byte, op ldapwire.Op, code ldapwire.ResultCode) {
		t.Helper()
		c.send(frame)
		c.wantResult(op, 7, code)
	}
	refused(ldapwire.AppendBindRequest(nil, 7, "CN=alice", []byte("Secret-1")), ldapwire.OpBindResponse, ldapwire.ResultConfidentialityRequired)
	refused(ldapwire.AppendBindRequest(nil, 7, "CN=alice", nil), ldapwire.OpBindResponse, ldapwire.ResultUnwillingToPerform)
	refused(ldapwire.AppendSASLBindRequest(nil, 7, "", "EXTERNAL", nil), ldapwire.OpBindResponse, ldapwire.ResultAuthMethodNotSupported)
	refused(ldapwire.AppendSearchRequest(nil, 7, ldapwire.SearchParams{BaseDN: aliceDN, Scope: ldapwire.ScopeBase}), ldapwire.OpSearchResultDone, ldapwire.ResultConfidentialityRequired)
	refused(ldapwire.AppendSearchRequest(nil, 7, ldapwire.SearchParams{Scope: ldapwire.ScopeSubtree}), ldapwire.OpSearchResultDone, ldapwire.ResultConfidentialityRequired)
	refused(changePassword(t, 7, "old", "New.Pass1"), ldapwire.OpModifyResponse, ldapwire.ResultConfidentialityRequired)
	refused(ldapwire.AppendDelRequest(nil, 7, aliceDN), ldapwire.OpDelResponse, ldapwire.ResultConfidentialityRequired)
	refused(ldapwire.AppendExtendedRequest(nil, 7, ldapwire.OIDWhoAmI, nil, false), ldapwire.OpExtendedResponse, ldapwire.ResultConfidentialityRequired)
	refused(ldapwire.AppendExtendedRequest(nil, 7, ldapwire.OIDStartTLS, nil, true), ldapwire.OpExtendedResponse, ldapwire.ResultProtocolError)
	if b, o := dc.binds.Load(), dc.others.Load(); b+o != 0 {
		t.Errorf("%d binds and %d other requests reached the DC, want none", b, o)
	}
	// What gives nothing away is served.
	c.send(ldapwire.AppendBindRequest(nil, 8, "", nil))
	c.wantResult(ldapwire.OpBindResponse, 8, ldapwire.ResultSuccess)
	c.send(ldapwire.AppendAbandonRequest(nil, 9, 5), ldapwire.AppendSearchRequest(nil, 10, ldapwire.SearchParams{Scope: ldapwire.ScopeBase}))
	c.want(ldapwire.OpSearchResultEntry)
	c.wantResult(ldapwire.OpSearchResultDone, 10, ldapwire.ResultSuccess)
	r.upgrade(c, 11).bind(1)
}

// TestG2_StartTLSInjection: bytes that somebody on the way put behind StartTLS
// are not taken for the client's, whether they came with it or later.
func TestG2_StartTLSInjection(t *testing.T) {
	injected := ldapwire.AppendBindRequest(nil, 2, "CN=mallory", []byte("Secret-1"))
	t.Run("in the same segment", func(t *testing.T) {
		for name, behind := range map[string][]byte{
			"a bind": injected, "part of one": injected[:5], "another StartTLS": startTLSRequest(2),
			"a ClientHello": []byte("\x16\x03\x01\x00\x05hello"),
		} {
			t.Run(name, func(t *testing.T) {
				dc := &countingDC{}
				_, _, addr := plainRig(t, dc.serve)
				c := dialClear(t, addr)
				c.send(startTLSRequest(1), behind)
				c.wantEnd()
				if n := dc.binds.Load(); n != 0 {
					t.Errorf("%d binds reached the DC, want none", n)
				}
			})
		}
	})
	t.Run("before the handshake", func(t *testing.T) {
		dc := &countingDC{}
		_, _, addr := plainRig(t, dc.serve)
		c := dialClear(t, addr)
		c.send(startTLSRequest(1))
		c.wantResult(ldapwire.OpExtendedResponse, 1, ldapwire.ResultSuccess)
		c.send(injected)
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
		if b, err := io.ReadAll(c.conn); err != nil && !isReset(err) || len(b) > 0 && b[0] != 0x15 {
			t.Errorf("got % x, %v; want a TLS alert at most, and the end", b, err)
		}
		if n := dc.binds.Load(); n != 0 {
			t.Errorf("%d binds reached the DC, want none", n)
		}
	})
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

func TestG2_StartTLSWhileOutstanding(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	r, _, addr := plainRig(t, func(p *peer) {
		for msg := range p.requests() {
			if msg.ID == 5 {
				arrived <- struct{}{}
				<-answer
			}
			p.send(plainAnswer(msg))
		}
	})
	c := dialClear(t, addr)
	c.send(ldapwire.AppendSearchRequest(nil, 5, ldapwire.SearchParams{Scope: ldapwire.ScopeBase}))
	receive(t, arrived, "the search")
	c.send(startTLSRequest(6))
	c.wantResult(ldapwire.OpExtendedResponse, 6, ldapwire.ResultOperationsError)
	close(answer)
	c.want(ldapwire.OpSearchResultEntry)
	c.wantResult(ldapwire.OpSearchResultDone, 5, ldapwire.ResultSuccess)
	// The answer counts as outstanding until it was passed on, which a client
	// cannot see: it asks again.
	for id := int32(7); ; id++ {
		c.send(startTLSRequest(id))
		msg := c.want(ldapwire.OpExtendedResponse)
		if res, err := ldapwire.ParseExtendedResponse(msg.Body); err == nil && res.Code == ldapwire.ResultSuccess {
			break
		} else if id > 1000 {
			t.Fatal("StartTLS is refused for ever")
		}
	}
	tc := tls.Client(c.conn, r.ca.Client("127.0.0.1"))
	newPeer(t, tc).bind(1)
}

// TestG2_PlaintextBindAllowed: what the configuration lets through in clear,
// and that nothing of it survives StartTLS.
func TestG2_PlaintextBindAllowed(t *testing.T) {
	dc := &countingDC{}
	r, scripted, addr := plainRig(t, dc.serve, func(c *Config) { c.AllowPlaintextBind = true; c.PoolSize = -1 })
	c := dialClear(t, addr)
	c.bind(1)
	c.send(ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{BaseDN: aliceDN}))
	c.want(ldapwire.OpSearchResultEntry)
	c.wantResult(ldapwire.OpSearchResultDone, 2, ldapwire.ResultSuccess)
	before := dc.others.Load()
	password := [][]byte{[]byte("x")}
	for _, tt := range []struct {
		name  string
		frame []byte
		op    ldapwire.Op
	}{
		{"unicodePwd", changePassword(t, 3, "old", "New.Pass1"), ldapwire.OpModifyResponse},
		{"unicodePwd by OID", ldapwire.AppendModifyRequest(nil, 3, aliceDN, ldapwire.Mod{Op: ldapwire.ModReplace, Type: "1.2.840.113556.1.4.90", Values: password}), ldapwire.OpModifyResponse},
		{"userPassword behind another", ldapwire.AppendModifyRequest(nil, 3, aliceDN,
			ldapwire.Mod{Op: ldapwire.ModReplace, Type: "description", Values: password},
			ldapwire.Mod{Op: ldapwire.ModReplace, Type: "USERPASSWORD;x", Values: password}), ldapwire.OpModifyResponse},
		{"add", ldapwire.AppendAddRequest(nil, 3, aliceDN, []ldapwire.AttributeValues{{Type: "cn", Values: password}, {Type: "unicodePwd", Values: password}}), ldapwire.OpAddResponse},
		{"compare", ldapwire.AppendCompareRequest(nil, 3, aliceDN, "userPassword", []byte("x")), ldapwire.OpCompareResponse},
		{"password modify", ldapwire.AppendExtendedRequest(nil, 3, ldapwire.OIDPasswordModify, nil, false), ldapwire.OpExtendedResponse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.send(tt.frame)
			c.wantResult(tt.op, 3, ldapwire.ResultConfidentialityRequired)
		})
	}
	if n := dc.others.Load() - before; n != 0 {
		t.Errorf("%d password writes reached the DC, want none", n)
	}
	if n := r.recorder.count(); n != 0 {
		t.Errorf("%d changes recorded, want none", n)
	}
	within := r.upgrade(c, 4)
	within.send(changePassword(t, 5, "old", "New.Pass1"))
	within.wantResult(ldapwire.OpModifyResponse, 5, ldapwire.ResultOperationsError) // nobody is bound
	within.bind(6)
	if n := scripted.accepted(); n != 2 {
		t.Errorf("%d DC connections, want 2: one in clear, another within TLS", n)
	}
}

// TestG2_StartTLSShutdown: a client that got its answer and begins no
// handshake does not hold the server up.
func TestG2_StartTLSShutdown(t *testing.T) {
	r, _, addr := plainRig(t, answerAll, func(c *Config) { c.HandshakeTimeout = time.Hour })
	c := dialClear(t, addr)
	c.send(startTLSRequest(1))
	c.wantResult(ldapwire.OpExtendedResponse, 1, ldapwire.ResultSuccess)
	if err := r.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	c.wantEnd()
}

func TestG8_StartTLSHandshakeDeadline(t *testing.T) {
	_, _, addr := plainRig(t, answerAll, func(c *Config) { c.HandshakeTimeout = 50 * time.Millisecond })
	c := dialClear(t, addr)
	c.send(startTLSRequest(1))
	c.wantResult(ldapwire.OpExtendedResponse, 1, ldapwire.ResultSuccess)
	c.wantEnd()
}
