package gateway

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// TestG8_VanishedClient: a session that waits for a silent DC, and so does not
// read, ends with its client. No time of its own would end it here.
func TestG8_VanishedClient(t *testing.T) {
	const outstanding = 4
	searches := func(c *peer, n int32) {
		for id := range n {
			c.send(attackSearch(id + 2))
		}
	}
	reset := func(c *peer) {
		tcp := c.conn.(*tls.Conn).NetConn().(*net.TCPConn)
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
	closed := func(c *peer) { _ = c.conn.Close() }
	for name, tt := range map[string]struct {
		ask  func(*peer)
		wait int // for so many outstanding
		end  func(*peer)
	}{
		"closed with all outstanding": {func(c *peer) { searches(c, 2*outstanding) }, outstanding, closed},
		"reset with all outstanding":  {func(c *peer) { searches(c, 2*outstanding) }, outstanding, reset},
		"half closed": {func(c *peer) { searches(c, 2*outstanding) }, outstanding, func(c *peer) {
			_ = c.conn.(*tls.Conn).CloseWrite()
			_ = c.conn.(*tls.Conn).NetConn().(*net.TCPConn).CloseWrite()
		}},
		"closed while a bind must wait": {func(c *peer) {
			searches(c, 1)
			c.send(ldapwire.AppendBindRequest(nil, 9, "CN=alice", []byte("Secret-1")))
		}, 1, closed},
	} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			dc := &countingDC{}
			r, _ := newRig(t, func(p *peer) {
				defer func() { <-release }() // it neither answers nor ends
				for msg, err := p.read(); err == nil && msg.Op != ldapwire.OpUnbindRequest; msg, err = p.read() {
					if msg.Op == ldapwire.OpBindRequest {
						dc.binds.Add(1)
						p.send(plainAnswer(msg))
					}
				}
			}, func(c *Config) {
				c.MaxOutstanding, c.PoolSize = outstanding, -1
				c.IdleTimeout, c.DrainTimeout = time.Hour, time.Hour
			})
			t.Cleanup(func() { close(release) })
			c := r.dial()
			c.bind(1)
			tt.ask(c)
			receiveUntil(t, func() bool { return r.server.outstanding() == tt.wait })
			tt.end(c)
			receiveUntil(t, func() bool { return r.server.sessionCount() == 0 })
			if n := dc.binds.Load(); n != 1 {
				t.Errorf("%d binds reached the DC, want 1", n)
			}
		})
	}
}

// TestG8_CrowdedSession: with more sent than the gateway's side of the network
// holds, the end of the client is behind what is not read yet. What waits for
// room too long is answered, and so read.
func TestG8_CrowdedSession(t *testing.T) {
	release := make(chan struct{})
	r, _ := newRig(t, func(p *peer) {
		defer func() { <-release }()
		for msg, err := p.read(); err == nil && msg.Op != ldapwire.OpUnbindRequest; msg, err = p.read() {
			if msg.Op == ldapwire.OpBindRequest {
				p.send(plainAnswer(msg))
			}
		}
	}, func(c *Config) {
		c.MaxOutstanding, c.PoolSize = 4, -1
		c.IdleTimeout, c.DrainTimeout, c.RoomTimeout = time.Hour, time.Hour, 20*time.Millisecond
	})
	t.Cleanup(func() { close(release) })
	c := r.dial()
	c.bind(1)
	for id := range int32(6) {
		c.send(attackSearch(id + 2))
	}
	for id := range int32(2) {
		c.wantResult(ldapwire.OpSearchResultDone, id+6, ldapwire.ResultBusy)
	}
	if n := r.server.outstanding(); n != 4 {
		t.Errorf("%d requests are outstanding, want the 4 that were there", n)
	}
	var more []byte
	for id := range int32(100_000) {
		more = append(more, attackSearch(id+8)...)
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(time.Second)) // nobody reads the answers, so it does not all leave
	_, _ = c.conn.Write(more)
	_ = c.conn.Close()
	receiveUntil(t, func() bool { return r.server.sessionCount() == 0 })
}
