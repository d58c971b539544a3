package delegate

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway"
	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/prometheus/client_golang/prometheus"
)

// stubDC is a controller that knows one account and has fast bind: the bare
// minimum, so that a measurement is of the Validator.
type stubDC struct {
	listener net.Listener
	tls      *tls.Config
	served   sync.WaitGroup
	noFast   atomic.Bool // it says that it has fast bind, and refuses it
	pso      atomic.Bool // alice has a Password Settings Object
	hidden   atomic.Bool // it may not be read

	conns, fastBinds, plainBinds atomic.Int64 // served so far; binds of the account alone
}

const strictPSO = "CN=Strict,CN=Password Settings Container,CN=System,DC=corp"

func newStubDC(tb testing.TB, ca *certstest.CA) *stubDC {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	d := &stubDC{listener: l, tls: ca.Server("127.0.0.1")}
	d.served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.conns.Add(1)
			d.served.Go(func() { d.serve(tls.Server(c, d.tls)) })
		}
	})
	return d
}

func (d *stubDC) close() {
	_ = d.listener.Close()
	d.served.Wait()
}

func (d *stubDC) serve(c *tls.Conn) {
	defer c.Close()
	in, fast := ldapwire.NewReader(c, 1<<20), false
	for {
		msg, err := in.Next()
		if err != nil {
			return
		}
		if _, err := c.Write(d.answer(msg, &fast)); err != nil {
			return
		}
	}
}

func (d *stubDC) answer(msg ldapwire.Message, fast *bool) []byte {
	switch msg.Op {
	case ldapwire.OpBindRequest:
		req, _ := ldapwire.ParseBindRequest(msg.Body)
		password := req.Password(msg.Body)
		defer password.Wipe()
		if string(req.Name) != serviceAccount {
			if *fast {
				d.fastBinds.Add(1)
			} else {
				d.plainBinds.Add(1)
			}
		}
		if string(password.Expose()) == right {
			return ldapwire.AppendBindResponse(nil, msg.ID, 0, "", "", nil)
		}
		return ldapwire.AppendBindResponse(nil, msg.ID, ldapwire.ResultInvalidCredentials, "", wrongPassword, nil)
	case ldapwire.OpExtendedRequest:
		code := ldapwire.ResultSuccess
		if *fast = !d.noFast.Load(); !*fast {
			code = ldapwire.ResultProtocolError
		}
		return ldapwire.AppendExtendedResponse(nil, msg.ID, code, "", "", "", nil, false)
	case ldapwire.OpSearchRequest:
		req, _ := ldapwire.ParseSearchRequest(msg.Body)
		entry := []ldapwire.AttributeValues{{Type: "supportedExtension", Values: [][]byte{[]byte(ldapwire.OIDFastBind)}},
			{Type: "lockoutThreshold", Values: [][]byte{[]byte("0")}}}
		if req.Scope == ldapwire.ScopeSubtree {
			entry = []ldapwire.AttributeValues{{Type: "objectGUID", Values: [][]byte{slices.Repeat([]byte{1}, 16)}}, {Type: "sAMAccountName", Values: [][]byte{[]byte("alice")}},
				{Type: "pwdLastSet", Values: [][]byte{[]byte("134000000000000000")}}}
			if d.pso.Load() {
				entry = append(entry, ldapwire.AttributeValues{Type: "msDS-ResultantPSO", Values: [][]byte{[]byte(strictPSO)}})
			}
		}
		if string(req.BaseDN) == strictPSO {
			if d.hidden.Load() {
				return ldapwire.AppendSearchDone(nil, msg.ID, ldapwire.ResultNoSuchObject, "", "")
			}
			entry = []ldapwire.AttributeValues{{Type: "msDS-LockoutThreshold", Values: [][]byte{[]byte("3")}},
				{Type: "msDS-LockoutObservationWindow", Values: [][]byte{[]byte("-18000000000")}}} // 30 minutes
		}
		return ldapwire.AppendSearchDone(ldapwire.AppendSearchEntry(nil, msg.ID, "CN=alice,DC=corp", entry), msg.ID, 0, "", "")
	}
	return ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultProtocolError, "")
}

func newStubbed(tb testing.TB) (*Validator, *stubDC) {
	tb.Helper()
	ca := certstest.New(tb)
	d := newStubDC(tb, ca)
	tb.Cleanup(d.close)
	set, err := dc.New(dc.Config{URLs: []string{"ldaps://" + d.listener.Addr().String()}, TLS: ca.Client("")})
	if err != nil {
		tb.Fatal(err)
	}
	domain := &Domain{Name: "corp", BaseDN: "DC=corp", UseCase: identity.UseAD, DCs: set, Account: serviceAccount,
		Password: func() (secret.Bytes, error) { return pw(right), nil }}
	v, err := New(Config{Domains: func() []*Domain { return []*Domain{domain} }, Cloud: &fakeCloud{}, Guard: gateway.NewShared(),
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.NewTextHandler(io.Discard, nil)), RefusalTime: time.Millisecond, Idle: 64})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(v.Close)
	return v, d
}

// TestFastBind: a connection in that mode serves one bind after the other, and
// none after a failure; a controller that refuses it gets binds of their own.
func TestFastBind(t *testing.T) {
	v, d := newStubbed(t)
	try := func(password, want string) {
		t.Helper()
		if got := short(v.Validate(t.Context(), "alice", pw(password), "192.0.2.1")); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for range 5 {
		try(right, "accepted ad")
	}
	if c, f, p := d.conns.Load(), d.fastBinds.Load(), d.plainBinds.Load(); c != 2 || f != 5 || p != 0 {
		t.Errorf("%d connections, %d fast binds and %d others; want 2, 5, 0", c, f, p)
	}
	try("wrong", "refused bad_credentials")
	try(right, "accepted ad")
	if c, f := d.conns.Load(), d.fastBinds.Load(); c != 3 || f != 7 {
		t.Errorf("after a failure: %d connections, %d fast binds; want 3, 7", c, f)
	}
	d.noFast.Store(true)
	try("wrong again", "refused bad_credentials") // ends the kept connection
	try(right, "accepted ad")
	if p := d.plainBinds.Load(); p != 1 {
		t.Errorf("%d binds of their own, want 1", p)
	}
}

// TestG7_OwnThreshold: an account with a Password Settings Object is guarded by
// that one's threshold; the domain's is none.
func TestG7_OwnThreshold(t *testing.T) {
	v, d := newStubbed(t)
	reached := func() int64 {
		before := d.fastBinds.Load()
		for i := range 6 {
			v.Validate(t.Context(), "alice", pw("wrong"+strconv.Itoa(i)+strconv.FormatBool(d.pso.Load())), "")
		}
		return d.fastBinds.Load() - before
	}
	if n := reached(); n != 6 {
		t.Errorf("without a threshold %d of 6 wrong passwords reached the controller", n)
	}
	v, d = newStubbed(t)
	d.pso.Store(true)
	if n := reached(); n != 2 {
		t.Errorf("with a threshold of 3 %d wrong passwords reached the controller, want 2", n)
	}
	v, d = newStubbed(t)
	d.pso.Store(true)
	d.hidden.Store(true)
	if n := reached(); n != guessedThreshold-1 {
		t.Errorf("with a threshold that is hidden %d wrong passwords reached the controller, want %d", n, guessedThreshold-1)
	}
}
