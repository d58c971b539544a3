package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/gateway/netwait"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must come.
const patience = 10 * time.Second

// scriptedDC is a domain controller that does what a test says: serve is run
// for each connection and speaks raw messages.
type scriptedDC struct {
	tb    testing.TB
	l     net.Listener
	tls   *tls.Config
	serve func(*peer)

	mu    sync.Mutex
	conns int // accepted so far; guarded by mu
	wg    sync.WaitGroup
}

func newScriptedDC(tb testing.TB, ca *certstest.CA, serve func(*peer)) *scriptedDC {
	tb.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", ca.Server("127.0.0.1"))
	if err != nil {
		tb.Fatal(err)
	}
	dc := &scriptedDC{tb: tb, l: l, serve: serve}
	dc.tls = ca.Client("127.0.0.1")
	dc.wg.Add(1)
	go dc.accept()
	tb.Cleanup(func() {
		_ = l.Close()
		dc.wg.Wait()
	})
	return dc
}

func (dc *scriptedDC) accept() {
	defer dc.wg.Done()
	for {
		conn, err := dc.l.Accept()
		if err != nil {
			return
		}
		dc.mu.Lock()
		dc.conns++
		dc.mu.Unlock()
		dc.wg.Add(1)
		go func() {
			defer dc.wg.Done()
			defer conn.Close()
			dc.serve(newPeer(dc.tb, conn))
		}()
	}
}

func (dc *scriptedDC) accepted() int {
	dc.mu.Lock()
	defer dc.mu.Unlock()
	return dc.conns
}

// Dial makes the DC a Dialer.
func (dc *scriptedDC) Dial(ctx context.Context) (*tls.Conn, string, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", dc.l.Addr().String())
	if err != nil {
		return nil, "", err
	}
	conn := tls.Client(netwait.New(raw), dc.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, "", err
	}
	return conn, "scripted", nil
}

// peer speaks raw LDAP messages, as client or as DC.
type peer struct {
	tb   testing.TB
	conn net.Conn
	in   *ldapwire.Reader
}

func newPeer(tb testing.TB, conn net.Conn) *peer {
	return &peer{tb: tb, conn: conn, in: ldapwire.NewReader(conn, 0)}
}

// read returns the next message, copied; an error at the end of the stream.
func (p *peer) read() (ldapwire.Message, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	msg, err := p.in.Next()
	if err != nil {
		return ldapwire.Message{}, err
	}
	return ldapwire.ParseMessage(bytes.Clone(msg.Raw))
}

// requests are those of a client, until it unbinds or ends.
func (p *peer) requests() iter.Seq[ldapwire.Message] {
	return func(yield func(ldapwire.Message) bool) {
		for {
			msg, err := p.read()
			if err != nil || msg.Op == ldapwire.OpUnbindRequest || !yield(msg) {
				return
			}
		}
	}
}

// want reads the next message, which must come.
func (p *peer) want(op ldapwire.Op) ldapwire.Message {
	p.tb.Helper()
	msg, err := p.read()
	if err != nil {
		p.tb.Fatalf("want a %s, got: %v", op, err)
	}
	if msg.Op != op {
		p.tb.Fatalf("got %s, want a %s", msg, op)
	}
	return msg
}

func (p *peer) wantResult(op ldapwire.Op, id int32, code ldapwire.ResultCode) ldapwire.Result {
	p.tb.Helper()
	msg := p.want(op)
	res, err := ldapwire.ParseResult(msg.Body)
	if err != nil {
		p.tb.Fatal(err)
	}
	if msg.ID != id || res.Code != code {
		p.tb.Fatalf("got message %d: %s %q, want message %d: %s", msg.ID, res.Code, res.Diagnostic, id, code)
	}
	return res
}

// wantEnd expects the connection to be closed, without another message.
func (p *peer) wantEnd() {
	p.tb.Helper()
	if msg, err := p.read(); err == nil {
		p.tb.Fatalf("got %s, want the end of the connection", msg)
	} else if !errors.Is(err, io.EOF) {
		p.tb.Fatalf("got %v, want the end of the connection", err)
	}
}

func (p *peer) wantNotice(code ldapwire.ResultCode) {
	p.tb.Helper()
	msg := p.want(ldapwire.OpExtendedResponse)
	res, err := ldapwire.ParseExtendedResponse(msg.Body)
	if err != nil || msg.ID != 0 || string(res.Name) != ldapwire.OIDNoticeOfDisconnection || res.Code != code {
		p.tb.Fatalf("got %s %s, want a notice of disconnection with %s", msg, res.Code, code)
	}
	p.wantEnd()
}

func (p *peer) send(frames ...[]byte) {
	p.tb.Helper()
	if _, err := p.conn.Write(bytes.Join(frames, nil)); err != nil {
		p.tb.Error("send:", err)
	}
}

// bind binds successfully.
func (p *peer) bind(id int32) {
	p.tb.Helper()
	p.send(ldapwire.AppendBindRequest(nil, id, "CN=alice", []byte("Secret-1")))
	p.wantResult(ldapwire.OpBindResponse, id, ldapwire.ResultSuccess)
}

// answerAll is a DC that says success to everything, and finds one account.
func answerAll(p *peer) {
	for msg := range p.requests() {
		p.send(plainAnswer(msg))
	}
}

func plainAnswer(msg ldapwire.Message) []byte {
	switch msg.Op {
	case ldapwire.OpAbandonRequest:
		return nil
	case ldapwire.OpSearchRequest:
		frame := ldapwire.AppendSearchEntry(nil, msg.ID, aliceDN, []ldapwire.AttributeValues{
			{Type: "objectGUID", Values: [][]byte{aliceGUID[:]}},
			{Type: "sAMAccountName", Values: [][]byte{[]byte("alice")}},
			{Type: "pwdLastSet", Values: [][]byte{[]byte("134000000000000000")}},
		})
		return ldapwire.AppendSearchDone(frame, msg.ID, ldapwire.ResultSuccess, "", "")
	}
	return ldapwire.AppendResult(nil, msg.ID, msg.Op.Response(), ldapwire.ResultSuccess, "", "")
}

const aliceDN = "CN=alice,OU=People,DC=corp,DC=example,DC=test"

var aliceGUID = identity.GUID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// recorder is a Capturer that remembers what it was told.
type recorder struct {
	mu        sync.Mutex
	intents   []identity.Change // guarded by mu
	passwords []string          // guarded by mu; what a test may see
	outcomes  map[identity.Seq]identity.Outcome
	reasons   map[identity.Seq]string
	accounts  map[identity.Seq]identity.Account // of SettleAccount
	fail      error                             // of AppendIntent
	settled   chan struct{}                     // a value per Settle
	onIntent  func()
	onSettle  func()
}

func newRecorder() *recorder {
	return &recorder{outcomes: map[identity.Seq]identity.Outcome{}, reasons: map[identity.Seq]string{}, accounts: map[identity.Seq]identity.Account{}, settled: make(chan struct{}, 16)}
}

func (r *recorder) AppendIntent(_ context.Context, c identity.Change, password secret.Bytes) (identity.Seq, error) {
	if r.onIntent != nil {
		r.onIntent()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return 0, r.fail
	}
	r.intents = append(r.intents, c)
	r.passwords = append(r.passwords, string(password.Expose()))
	return identity.Seq(len(r.intents)), nil
}

func (r *recorder) Settle(_ context.Context, seq identity.Seq, o identity.Outcome, reason string) error {
	if r.onSettle != nil {
		r.onSettle()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[seq], r.reasons[seq] = o, reason
	r.settled <- struct{}{}
	return nil
}

func (r *recorder) SettleAccount(ctx context.Context, seq identity.Seq, account identity.Account, reason string) error {
	r.mu.Lock()
	r.accounts[seq] = account
	r.mu.Unlock()
	return r.Settle(ctx, seq, identity.OutcomeAccepted, reason)
}

func (r *recorder) outcome(seq identity.Seq) identity.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcomes[seq]
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.intents)
}

// rig is a gateway in front of a scripted DC.
type rig struct {
	tb       testing.TB
	server   *Server
	addr     string
	ca       *certstest.CA
	recorder *recorder
	registry *prometheus.Registry
	done     chan error
}

func newRig(tb testing.TB, serve func(*peer), change ...func(*Config)) (*rig, *scriptedDC) {
	tb.Helper()
	ca := certstest.New(tb)
	dc := newScriptedDC(tb, ca, serve)
	return newRigFor(tb, ca, &Domain{Name: "corp.example.test", DCs: dc, Capture: true}, change...), dc
}

func newRigFor(tb testing.TB, ca *certstest.CA, domain *Domain, change ...func(*Config)) *rig {
	tb.Helper()
	r := &rig{tb: tb, ca: ca, recorder: newRecorder(), registry: prometheus.NewRegistry(), done: make(chan error, 1)}
	cfg := Config{
		TLS:     ca.Server("127.0.0.1"),
		Domains: func() []*Domain { return just(domain) },
		Capture: r.recorder,
		Metrics: NewMetrics(r.registry),
		Log:     slog.New(slog.NewTextHandler(testWriter{tb}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if r.server, err = New(cfg); err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r.addr = l.Addr().String()
	go func() { r.done <- r.server.Serve(l) }()
	tb.Cleanup(func() {
		if err := r.server.Close(); err != nil {
			tb.Error("close:", err)
		}
		if err := <-r.done; !errors.Is(err, ErrServerClosed) {
			tb.Errorf("Serve returned %v, want ErrServerClosed", err)
		}
	})
	return r
}

// just is the list of one domain, or of none.
func just(domain *Domain) []*Domain {
	if domain == nil {
		return nil
	}
	return []*Domain{domain}
}

func (r *rig) dial() *peer {
	r.tb.Helper()
	conn, err := tls.Dial("tcp", r.addr, r.ca.Client("127.0.0.1"))
	if err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(func() { _ = conn.Close() })
	return newPeer(r.tb, conn)
}

// testWriter sends a log to the test's own.
type testWriter struct{ tb testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.tb.Logf("%s", bytes.TrimRight(b, "\n"))
	return len(b), nil
}

func receive[T any](tb testing.TB, ch <-chan T, what string) T {
	tb.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		tb.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// receiveUntil waits for a state of the server that nothing announces.
func receiveUntil(tb testing.TB, ok func() bool) {
	tb.Helper()
	for until := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(until) {
			tb.Fatal("it did not become true")
		}
	}
}
