package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
)

func FuzzIsFirstPage(f *testing.F) {
	for _, seed := range []string{"\x30\x05\x02\x01\x0a\x04\x00", "\x30\x84\x00\x00\x00\x05\x02\x01\x0a\x04\x00", "\x30\x84\x00\x00\x00\x01\x02"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if isFirstPage(value) && !bytes.HasSuffix(value, []byte{4, 0}) && !bytes.HasSuffix(value, []byte{4, 0x84, 0, 0, 0, 0}) {
			t.Errorf("%x is taken for a first page, and has a cookie", value)
		}
	})
}

// breakable is a connection whose writes fail from some time on.
type breakable struct {
	net.Conn
	broken *atomic.Bool
}

func (c breakable) Write(b []byte) (int, error) {
	if c.broken.Load() {
		return 0, errors.New("broken")
	}
	return c.Conn.Write(b)
}

// breaking dials a DC that cannot be written to once broken is set.
type breaking struct {
	*scriptedDC
	broken atomic.Bool
}

func (d *breaking) Dial(ctx context.Context) (*tls.Conn, string, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", d.l.Addr().String())
	if err != nil {
		return nil, "", err
	}
	conn := tls.Client(breakable{raw, &d.broken}, d.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, "", err
	}
	return conn, "breaking", nil
}

// TestG9_BreaksWhileMoving: when the second DC is lost too, while requests are
// sent to it again, each of them is answered: those that were sent to it, and
// those that were not.
func TestG9_BreaksWhileMoving(t *testing.T) {
	ca := certstest.New(t)
	dcs := &breaking{}
	var binds, compares atomic.Int32
	const requests = 8
	dcs.scriptedDC = newScriptedDC(t, ca, func(p *peer) {
		for msg := range p.requests() {
			if msg.Op == ldapwire.OpCompareRequest {
				if compares.Add(1) == requests {
					return
				}
				continue
			}
			if binds.Add(1) == 2 {
				dcs.broken.Store(true)
			}
			p.send(plainAnswer(msg))
		}
	})
	r := newRigFor(t, ca, &Domain{Name: "corp.example.test", DCs: dcs, Capture: true}, func(c *Config) { c.Reconnect = true })
	c := r.dial()
	c.bind(1)
	var all []byte
	for id := range int32(requests) { // more than the gateway gathers before it writes
		all = append(all, ldapwire.AppendCompareRequest(nil, 2+id, aliceDN, "cn", bytes.Repeat([]byte{'x'}, gather/(requests-2)))...)
	}
	c.send(all)
	answered := map[int32]bool{}
	for range requests {
		msg := c.want(ldapwire.OpCompareResponse)
		if res, err := ldapwire.ParseResult(msg.Body); err != nil || res.Code != ldapwire.ResultUnavailable || answered[msg.ID] {
			t.Errorf("message %d was answered with %s (%v), twice: %t; want unavailable, once", msg.ID, res.Code, err, answered[msg.ID])
		}
		answered[msg.ID] = true
	}
}
