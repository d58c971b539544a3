package dc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A mode is how a fake controller behaves.
type mode string

const (
	well      mode = "well"
	refuses   mode = "refuses connections"
	vanished  mode = "does not answer the connect"
	mute      mode = "hangs after accept"
	deaf      mode = "hangs after the handshake"
	stranger  mode = "has the wrong certificate"
	cuts      mode = "closes in the middle of the answer"
	unsynced  mode = "is not synchronised"
	busy      mode = "is busy"
	garbled   mode = "answers with garbage"
	floods    mode = "sends entries without end"
	empty     mode = "answers without an entry"
	readsOnly mode = "is read-only"
	hangsUp   mode = "closes after each answer"
	slow      mode = "takes the stagger's time to connect"
)

// network is controllers that share a clock with the test, by host:port.
type network struct {
	t  *testing.T
	ca *certstest.CA

	mu    sync.Mutex
	dcs   map[string]*fakeDC
	dials []string // addresses, in order
}

// fakeDC is a controller in memory.
type fakeDC struct {
	right, wrong *tls.Config

	mu    sync.Mutex
	mode  mode
	conns []net.Conn
	reads int // health reads it saw
}

// newNetwork makes controllers a.test, b.test... on port 636.
func newNetwork(t *testing.T, hosts ...string) *network {
	n := &network{t: t, ca: certstest.New(t), dcs: make(map[string]*fakeDC)}
	for _, host := range hosts {
		n.add(host)
	}
	return n
}

func (n *network) add(host string) {
	d := &fakeDC{mode: well, right: n.ca.Server(host), wrong: n.ca.Server("other.test")}
	d.right.SessionTicketsDisabled, d.wrong.SessionTicketsDisabled = true, true
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dcs[host+":636"] = d
}

// set makes a Set on the network; urls are hosts.
func (n *network) set(cfg Config, hosts ...string) *Set {
	n.t.Helper()
	cfg.TLS = n.ca.Client("")
	for _, host := range hosts {
		cfg.URLs = append(cfg.URLs, "ldaps://"+host)
	}
	s, err := New(cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	s.dial = n.dial
	return s
}

// run runs the Set for the rest of the test, or until stop.
func (n *network) run(s *Set) (stop func()) {
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("Run: %v", err)
		}
	}
}

func (n *network) dc(host string) *fakeDC {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dcs[host+":636"]
}

// dialled returns the addresses dialled since the last call.
func (n *network) dialled() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	dials := n.dials
	n.dials = nil
	return dials
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	d := n.dcs[addr]
	n.dials = append(n.dials, addr)
	n.mu.Unlock()
	switch {
	case d == nil || d.is() == refuses:
		return nil, errors.New("connection refused")
	case d.is() == vanished:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if d.is() == slow {
		time.Sleep(stagger)
	}
	client, server := net.Pipe()
	d.mu.Lock()
	d.conns = append(d.conns, server)
	d.mu.Unlock()
	go d.serve(server)
	return client, nil
}

func (d *fakeDC) is() mode {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mode
}

// becomes changes the mode, also for connections that exist. One that refuses
// closes those, as the kernel does for a process that died.
func (d *fakeDC) becomes(m mode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mode = m
	if m == refuses {
		d.hangUp()
	}
}

// hangUp closes the connections; the caller holds mu.
func (d *fakeDC) hangUp() {
	for _, conn := range d.conns {
		_ = conn.Close()
	}
	d.conns = nil
}

func (d *fakeDC) serve(raw net.Conn) {
	defer raw.Close()
	conf := d.right
	switch d.is() {
	case mute:
		_, _ = io.Copy(io.Discard, raw)
		return
	case stranger:
		conf = d.wrong
	}
	conn := tls.Server(raw, conf)
	in := ldapwire.NewReader(conn, 0)
	for {
		msg, err := in.Next()
		if err != nil || msg.Op != ldapwire.OpSearchRequest {
			return
		}
		d.mu.Lock()
		d.reads++
		d.mu.Unlock()
		if !d.answer(conn, msg.ID) {
			return
		}
	}
}

// answer answers a health read; false: the connection ends.
func (d *fakeDC) answer(conn net.Conn, id int32) bool {
	entry := func(sync string, caps ...string) []byte {
		values := [][]byte{[]byte("1.2.840.113556.1.4.800")}
		for _, c := range caps {
			values = append(values, []byte(c))
		}
		return ldapwire.AppendSearchEntry(nil, id, "", []ldapwire.AttributeValues{
			{Type: "IsSynchronized", Values: [][]byte{[]byte(sync)}}, {Type: "supportedCapabilities", Values: values},
		})
	}
	done := func(frame []byte, code ldapwire.ResultCode) []byte {
		return ldapwire.AppendSearchDone(frame, id, code, "", "")
	}
	var frame []byte
	switch d.is() {
	case mute, deaf, vanished:
		_, _ = io.Copy(io.Discard, conn)
		return false
	case cuts:
		_, _ = conn.Write(entry("TRUE")[:20])
		return false
	case garbled:
		_, err := conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		return err == nil
	case floods:
		for {
			if _, err := conn.Write(entry("TRUE")); err != nil {
				return false
			}
			time.Sleep(time.Millisecond) // of the bubble's clock, which else stands still
		}
	case unsynced:
		frame = done(entry("FALSE"), ldapwire.ResultSuccess)
	case busy:
		frame = done(nil, ldapwire.ResultBusy)
	case empty:
		frame = done(nil, ldapwire.ResultSuccess)
	case readsOnly:
		frame = done(entry("TRUE", capabilityReadOnly), ldapwire.ResultSuccess)
	default:
		frame = done(entry("TRUE"), ldapwire.ResultSuccess)
	}
	_, err := conn.Write(frame)
	return err == nil && d.is() != hangsUp
}

// events is what Observe and Forget were told, with the time.
type events struct {
	mu   sync.Mutex
	list []event
}

type event struct {
	what string // "a.test up"
	at   time.Time
}

func (e *events) note(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event{what, time.Now()})
}

func (e *events) observe(controller string, up bool) {
	e.note(fmt.Sprintf("%s %s", controller[len("ldaps://"):], map[bool]string{true: "up", false: "down"}[up]))
}

// take returns the events since the last call.
func (e *events) take() []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

func names(list []event) []string {
	var what []string
	for _, ev := range list {
		what = append(what, ev.what)
	}
	return what
}

// wantDial dials and checks who answered, and how long it took by the bubble's
// clock.
func wantDial(t *testing.T, s *Set, host string, took time.Duration) {
	t.Helper()
	begin := time.Now()
	conn, name, err := s.Dial(t.Context())
	if err != nil {
		t.Errorf("Dial: %v, want %s", err, host)
		return
	}
	_ = conn.NetConn().Close()
	if name != "ldaps://"+host {
		t.Errorf("Dial gave %s, want %s", name, host)
	}
	if got := conn.ConnectionState().ServerName; got != host {
		t.Errorf("the certificate was verified for %q, want %q", got, host)
	}
	if got := time.Since(begin); got != took {
		t.Errorf("Dial took %v, want %v", got, took)
	}
}

func wantEqual(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// runs runs a Set for the rest of the test, by the real clock.
func runs(t *testing.T, s *Set) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// fail makes a controller fail, as a dial or a health read would.
func fail(s *Set, name string, err error) {
	s.mu.Lock()
	i := slices.IndexFunc(s.list, func(c *controller) bool { return c.name == name })
	c := s.list[i]
	s.mu.Unlock()
	s.failed(c, err)
}
