package ad

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/jimlambrt/gldap"
)

// slowDC answers searches in the order in which a test lets it.
type slowDC struct {
	addr  string
	tls   *tls.Config
	dials atomic.Int32
	asked chan string              // base of a search that arrived
	let   map[string]chan struct{} // closed to have a base's search answered
}

func (d *slowDC) Dial(ctx context.Context) (*tls.Conn, string, error) {
	d.dials.Add(1)
	conn, err := (&tls.Dialer{Config: d.tls}).DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, "", err
	}
	return conn.(*tls.Conn), "slow", nil
}

func newSlowDC(t *testing.T, bases ...string) *slowDC {
	t.Helper()
	ca := certstest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &slowDC{addr: l.Addr().String(), tls: ca.Client("127.0.0.1"), asked: make(chan string, 10), let: make(map[string]chan struct{})}
	_ = l.Close() // gldap listens by itself
	for _, base := range bases {
		d.let[base] = make(chan struct{})
	}
	server, err := gldap.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	mux, err := gldap.NewMux()
	if err != nil {
		t.Fatal(err)
	}
	bind := func(w *gldap.ResponseWriter, r *gldap.Request) {
		_ = w.Write(r.NewBindResponse(gldap.WithResponseCode(gldap.ResultSuccess)))
	}
	search := func(w *gldap.ResponseWriter, r *gldap.Request) {
		m, err := r.GetSearchMessage()
		if err != nil {
			return
		}
		d.asked <- m.BaseDN
		<-d.let[m.BaseDN]
		_ = w.Write(r.NewSearchDoneResponse(gldap.WithResponseCode(gldap.ResultSuccess)))
	}
	if err := errors.Join(mux.Bind(bind), mux.Search(search), server.Router(mux)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Run(d.addr, gldap.WithTLSConfig(ca.Server("127.0.0.1")))
	}()
	t.Cleanup(func() {
		_ = server.Stop()
		<-ended
	})
	for until := time.Now().Add(10 * time.Second); !server.Ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the server does not begin")
		}
	}
	return d
}

// TestOverrun: a search whose time is over ends without disturbing another on
// the same connection, and the next one does not wait behind it.
func TestOverrun(t *testing.T) {
	const slow, other, next = "DC=slow", "DC=other", "DC=next"
	d := newSlowDC(t, slow, other, next)
	c, err := New(Config{DCs: d, Account: "CN=import", Password: secret.New([]byte("Secret-1")), Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	find := func(ctx context.Context, base string) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := c.BindName(ctx, base, "corp.example.test", "alice@example.test")
			done <- err
		}()
		if got := <-d.asked; got != base {
			t.Errorf("the DC was asked for %s, want %s", got, base)
		}
		return done
	}
	ctx, cancel := context.WithCancel(t.Context())
	overran := find(ctx, slow)
	disturbed := find(t.Context(), other)
	if n := d.dials.Load(); n != 1 {
		t.Fatalf("%d connections, want 1 for both", n)
	}
	cancel()
	// What comes now is on a connection of its own, with the first still open.
	close(d.let[next])
	for until := time.Now().Add(10 * time.Second); c.current() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the connection of the search that overran gets new ones")
		}
	}
	if err := <-find(t.Context(), next); err != nil {
		t.Errorf("the next search: %v", err)
	}
	if n := d.dials.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	close(d.let[other])
	if err := <-disturbed; err != nil {
		t.Errorf("the other search: %v", err)
	}
	if err := <-overran; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("the search that overran: %v, want that it was cancelled", err)
	}
	close(d.let[slow])
}

func (c *Client) current() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}
