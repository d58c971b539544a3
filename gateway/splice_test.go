package gateway

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/prometheus/client_golang/prometheus"
)

// layered begins a security layer on a new session: both ends of it.
func layered(t *testing.T, change ...func(*Config)) (r *rig, client, controller *peer) {
	t.Helper()
	d := newSASLDC()
	spoken, over := make(chan *peer, 1), make(chan struct{})
	d.spoken = func(p *peer) {
		spoken <- p
		<-over
	}
	r, _ = newRig(t, d.serve, append([]func(*Config){relaySASL}, change...)...)
	t.Cleanup(func() { close(over) })
	client = r.dial()
	client.sasl(1, "GSSAPI", "first", ldapwire.ResultSaslBindInProgress)
	client.sasl(2, "GSSAPI", "right", ldapwire.ResultSuccess)
	return r, client, receive(t, spoken, "the end of the bind")
}

// layeredInBubble is layered within a bubble of synctest, whose time no busy
// machine can take away: the idle time ends when it does, and not before.
func layeredInBubble(t *testing.T, idle time.Duration) (client, controller *peer) {
	t.Helper()
	d, ca := newSASLDC(), certstest.New(t)
	spoken, over := make(chan *peer, 1), make(chan struct{})
	d.spoken = func(p *peer) {
		spoken <- p
		<-over
	}
	dc := &pipeDC{tb: t, server: ca.Server("127.0.0.1"), client: ca.Client("127.0.0.1"), serve: d.serve}
	dc.server.SessionTicketsDisabled = true // written when nobody need be reading
	srv, err := New(Config{
		TLS: dc.server, Capture: newRecorder(), Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
		Domains:   func() []*Domain { return just(&Domain{Name: "corp.example.test", DCs: dc, Capture: true}) },
		RelaySASL: true, IdleTimeout: idle, PoolSize: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := net.Pipe()
	var running sync.WaitGroup
	running.Go(func() {
		if err := runPiped(srv, theirs); !errors.Is(err, errBye) {
			t.Errorf("the session ended with %v", err)
		}
	})
	t.Cleanup(func() {
		_ = mine.Close()
		close(over)
		running.Wait()
		dc.wg.Wait()
	})
	client = newPeer(t, mine)
	client.sasl(1, "GSSAPI", "right", ldapwire.ResultSuccess)
	return client, receive(t, spoken, "the end of the bind")
}

// wantIdleEnd: both sides end when nothing has passed for the idle time.
func wantIdleEnd(t *testing.T, c, dc *peer, idle time.Duration) {
	t.Helper()
	start := time.Now()
	c.wantOver()
	dc.wantOver()
	if took := time.Since(start); took != idle {
		t.Errorf("the session ended after %s of silence, want %s", took, idle)
	}
}

// wantOctets reads exactly these.
func (p *peer) wantOctets(want []byte) {
	p.tb.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(want))
	n := copy(got, p.in.TakeRest())
	if _, err := io.ReadFull(p.conn, got[n:]); err != nil || !bytes.Equal(got, want) {
		p.tb.Errorf("%d octets, %v; want %d, the same", len(got), err, len(want))
	}
}

// wantOver reads until the end, of whatever kind.
func (p *peer) wantOver() {
	p.tb.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := p.conn.Read(make([]byte, 1)); n > 0 || err == nil || isTimeout(err) {
		p.tb.Errorf("got %d octets, %v; want the end", n, err)
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// wrapped is a buffer of a security layer (RFC 4422 section 3.7).
func wrapped(size int) []byte {
	b := make([]byte, 4+size)
	_, _ = rand.Read(b)
	copy(b, []byte{0, byte(size >> 16), byte(size >> 8), byte(size)})
	return b
}

// TestG1_SecurityLayerIsSpliced: octets pass both ways, whatever they are, and
// nothing of them is taken for a request.
func TestG1_SecurityLayerIsSpliced(t *testing.T) {
	r, c, dc := layered(t)
	for _, size := range []int{1, 100, 70_000, 3 << 20} {
		ask, answer := wrapped(size), wrapped(size+1)
		sent := make(chan struct{})
		go func() { defer close(sent); c.send(ask); dc.send(answer) }()
		dc.wantOctets(ask)
		c.wantOctets(answer)
		<-sent
	}
	// What looks like a password change is not one.
	c.send(changePassword(t, 7, "Old-1", "New-Password2"))
	dc.wantOctets(changePassword(t, 7, "Old-1", "New-Password2"))
	if r.recorder.count() != 0 || r.events("spliced") != 1 {
		t.Errorf("%d changes recorded, %v sessions counted; want none, one", r.recorder.count(), r.events("spliced"))
	}
	_ = dc.conn.Close()
	c.wantOver()
}

// TestG1_ControllerSpeaksFirst: what a DC says in the layer before the client
// does reaches it once the client has.
func TestG1_ControllerSpeaksFirst(t *testing.T) {
	_, c, dc := layered(t)
	word, first := wrapped(30), wrapped(10)
	dc.send(word)
	c.send(first)
	dc.wantOctets(first)
	c.wantOctets(word)
	_ = c.conn.Close()
	dc.wantOver()
}

// TestG1_NoSecurityLayer: where none was agreed on, requests go on as before,
// and the DC's words as well.
func TestG1_NoSecurityLayer(t *testing.T) {
	_, c, dc := layered(t)
	search := ldapwire.AppendSearchRequest(nil, 5, ldapwire.SearchParams{BaseDN: aliceDN})
	c.send(search)
	if msg := dc.want(ldapwire.OpSearchRequest); !bytes.Equal(msg.Raw, search) {
		t.Errorf("the DC got %x, want %x", msg.Raw, search)
	}
	dc.send(ldapwire.AppendSearchDone(nil, 5, ldapwire.ResultSuccess, "", ""))
	c.wantResult(ldapwire.OpSearchResultDone, 5, ldapwire.ResultSuccess)
	c.send(wrapped(10)) // too late: a layer begins right after the bind
	c.wantNotice(ldapwire.ResultProtocolError)
}

// TestG1_NoLayerByMechanism: one that has no layers cannot make the gateway
// look away.
func TestG1_NoLayerByMechanism(t *testing.T) {
	r, _ := newRig(t, newSASLDC().serve, relaySASL)
	c := r.dial()
	c.sasl(1, "PLAIN", "right", ldapwire.ResultSuccess)
	c.send(wrapped(10))
	c.wantNotice(ldapwire.ResultProtocolError)
	other := r.dial()
	other.sasl(1, "GSSAPI", "right", ldapwire.ResultSuccess)
	other.send([]byte("GET / HTTP/1.1\r\n\r\n"))
	other.wantNotice(ldapwire.ResultProtocolError)
}

// TestG8_SplicedSessionEnds: the idle time holds, and the server can stop.
func TestG8_SplicedSessionEnds(t *testing.T) {
	begin := func(c, dc *peer) {
		b := wrapped(10)
		c.send(b)
		dc.wantOctets(b)
	}
	const idle = 5 * time.Second
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, dc := layeredInBubble(t, idle)
			begin(c, dc)
			wantIdleEnd(t, c, dc, idle)
		})
	})
	for name, speaks := range map[string]func(c, dc *peer) (from, to *peer){
		"busy in one direction":   func(c, dc *peer) (*peer, *peer) { return dc, c },
		"busy in the other alone": func(c, dc *peer) (*peer, *peer) { return c, dc },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, dc := layeredInBubble(t, idle)
				begin(c, dc)
				from, to := speaks(c, dc)
				for range 40 { // four times the idle time
					time.Sleep(idle / 10)
					b := wrapped(5)
					from.send(b)
					to.wantOctets(b)
				}
				begin(c, dc)
				wantIdleEnd(t, c, dc, idle)
			})
		})
	}
	t.Run("shutdown", func(t *testing.T) {
		r, c, dc := layered(t)
		begin(c, dc)
		if err := r.server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		c.wantOver()
		dc.wantOver()
	})
	t.Run("close, with a client that does not read", func(t *testing.T) {
		r, c, dc := layered(t)
		begin(c, dc)
		stuck := make(chan struct{})
		go func() {
			defer close(stuck)
			_ = dc.conn.SetWriteDeadline(time.Now().Add(patience))
			for {
				if _, err := dc.conn.Write(wrapped(60_000)); err != nil {
					return
				}
			}
		}()
		c.wantOctets(nil)
		if err := r.server.Close(); err != nil {
			t.Error(err)
		}
		receive(t, stuck, "the end of the DC's writes")
	})
}
