package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// moment is one at which the daemon can be killed.
type moment string

// Moments of a capture, of an apply, and of settling by evidence. "Lost":
// what the daemon sent does not arrive; "made": it takes effect after the
// daemon's death.
const (
	captureReads     moment = "capture: reads the target"
	captureLost      moment = "capture: asks the DC, lost"
	captureMade      moment = "capture: asks the DC, made"
	captureAnswered  moment = "capture: DC has answered, not received"
	captureDelivered moment = "capture: DC's answer is received"
	captureTold      moment = "capture: the client is answered"

	applyReadsAD   moment = "apply: reads the account"
	applyReads     moment = "apply: reads the user"
	applyLost      moment = "apply: asks JumpCloud, lost"
	applyMade      moment = "apply: asks JumpCloud, made"
	applyAnswered  moment = "apply: JumpCloud has answered, not received"
	applyDelivered moment = "apply: JumpCloud's answer is received"

	settleReads     moment = "settle: reads the account"
	settleBinds     moment = "settle: tries the password, lost"
	settleAnswered  moment = "settle: DC has answered, not received"
	settleDelivered moment = "settle: DC's answer is received"

	anyTime moment = "at any time"
)

var atPeers = []moment{captureReads, captureLost, captureMade, captureAnswered, captureDelivered, captureTold,
	applyReadsAD, applyReads, applyLost, applyMade, applyAnswered, applyDelivered}

var whileSettling = []moment{settleReads, settleBinds, settleAnswered, settleDelivered}

// trap kills the daemon at a moment, once.
type trap struct {
	mu   sync.Mutex
	at   moment        // guarded by mu; empty: it is not set
	skip int           // how often the moment passes before; guarded by mu
	kill func()        // guarded by mu
	hit  chan struct{} // closed when it has killed; guarded by mu
}

func (k *trap) set(at moment, skip int, kill func()) <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at, k.skip, k.kill, k.hit = at, skip, kill, make(chan struct{})
	return k.hit
}

func (k *trap) unset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at = ""
}

// reached kills the daemon if this is the moment, and reports whether it did.
func (k *trap) reached(at moment) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at == "" || k.at != at {
		return false
	}
	if k.skip > 0 {
		k.skip--
		return false
	}
	k.kill()
	k.at = ""
	close(k.hit)
	return true
}

// dcPeer stands before a domain controller: it ends TLS on both sides and
// reads what passes.
type dcPeer struct {
	listener net.Listener
	to       string // host:port
	conf     *tls.Config
	service  string // the bind name of the replicator
	book     *book
	trap     *trap
	busy     atomic.Int64 // changes that the DC works on
	// lastChange is the connection that brought the last change, as
	// "daemon's->ours".
	lastChange atomic.Value
	tasks      sync.WaitGroup
}

func newDCPeer(t *testing.T, ca *certstest.CA, to string, conf *tls.Config, service string, b *book, k *trap) *dcPeer {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", ca.Server("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	p := &dcPeer{listener: l, to: to, conf: conf, service: service, book: b, trap: k}
	p.tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.tasks.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.tasks.Wait()
	})
	return p
}

func (p *dcPeer) url() string { return "ldaps://" + p.listener.Addr().String() }

// passage is one connection through a dcPeer.
type passage struct {
	*dcPeer
	daemon, dc net.Conn

	mu    sync.Mutex
	bound string          // the name of the last bind; guarded by mu
	asked map[int32]asked // what the DC is to answer; guarded by mu
}

type asked struct{ dn, password string }

func (p *dcPeer) serve(daemon net.Conn) {
	defer daemon.Close()
	dc, err := tls.Dial("tcp", p.to, p.conf)
	if err != nil {
		return
	}
	s := &passage{dcPeer: p, daemon: daemon, dc: dc, asked: make(map[int32]asked)}
	var answers sync.WaitGroup
	answers.Go(s.answers)
	s.requests()
	// The daemon is gone. What the DC was asked it still answers, for the book.
	for until := time.Now().Add(patience); s.open() && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
	}
	_ = dc.Close()
	answers.Wait()
}

func (s *passage) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked) > 0
}

func (s *passage) requests() {
	in := ldapwire.NewReader(s.daemon, 1<<20)
	for {
		msg, err := in.Next()
		if err != nil {
			return
		}
		if !s.forward(msg) {
			continue
		}
		if _, err := s.dc.Write(msg.Raw); err != nil {
			return
		}
	}
}

// forward reads a request, and reports whether it is to arrive.
func (s *passage) forward(msg ldapwire.Message) bool {
	s.mu.Lock()
	bound := s.bound
	s.mu.Unlock()
	switch msg.Op {
	case ldapwire.OpBindRequest:
		req, err := ldapwire.ParseBindRequest(msg.Body)
		if err != nil {
			return true
		}
		s.mu.Lock()
		s.bound = string(req.Name)
		s.mu.Unlock()
		return string(req.Name) == s.service || !s.trap.reached(settleBinds)
	case ldapwire.OpSearchRequest:
		switch bound {
		case "":
			return true
		case s.service:
			return !s.trap.reached(applyReadsAD) && !s.trap.reached(settleReads)
		}
		return !s.trap.reached(captureReads)
	case ldapwire.OpModifyRequest:
		change, ok := readChange(msg.Body)
		if !ok {
			return true
		}
		if s.trap.reached(captureLost) {
			return false
		}
		s.mu.Lock()
		s.asked[msg.ID] = change
		s.mu.Unlock()
		s.busy.Add(1)
		s.lastChange.Store(s.daemon.RemoteAddr().String() + "->" + s.daemon.LocalAddr().String())
		s.trap.reached(captureMade)
	}
	return true
}

func readChange(body []byte) (asked, bool) {
	req, err := ldapwire.ParseModifyRequest(body)
	if err != nil {
		return asked{}, false
	}
	for mod, ok := req.Next(); ok; mod, ok = req.Next() {
		if mod.Op == ldapwire.ModDelete || !ldapwire.IsAttr(mod.Type, ldapwire.AttrUnicodePwd) {
			continue
		}
		for v, ok := mod.Values.Next(); ok; {
			password, err := ldapwire.DecodeUnicodePwd(v)
			return asked{string(req.DN), string(password.Expose())}, err == nil
		}
	}
	return asked{}, false
}

func (s *passage) answers() {
	defer s.daemon.Close()
	in := ldapwire.NewReader(s.dc, 64<<20)
	for {
		msg, err := in.Next()
		if err != nil {
			break
		}
		before, after := s.answered(msg)
		if s.trap.reached(before) {
			continue
		}
		_, _ = s.daemon.Write(msg.Raw) // when the daemon is gone the rest is still read
		s.trap.reached(after)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy.Add(-int64(len(s.asked)))
	clear(s.asked)
}

// answered writes an answer into the book and names the moments before and
// after it is passed on.
func (s *passage) answered(msg ldapwire.Message) (before, after moment) {
	s.mu.Lock()
	change, ok := s.asked[msg.ID]
	delete(s.asked, msg.ID)
	bound := s.bound
	s.mu.Unlock()
	switch {
	case ok && msg.Op == ldapwire.OpModifyResponse:
		res, err := ldapwire.ParseResult(msg.Body)
		s.book.answeredByDC(change.dn, change.password, err == nil && res.Code == ldapwire.ResultSuccess)
		s.busy.Add(-1)
		return captureAnswered, captureDelivered
	case msg.Op == ldapwire.OpBindResponse && bound != s.service:
		return settleAnswered, settleDelivered
	}
	return "", ""
}

// cloudPeer stands before JumpCloud's API.
type cloudPeer struct {
	server *http.Server
	addr   string
	to     string
	client *http.Client
	book   *book
	trap   *trap
	busy   atomic.Int64 // writes that JumpCloud works on
}

func newCloudPeer(t *testing.T, c cloud, b *book, k *trap) *cloudPeer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cloudPeer{addr: l.Addr().String(), to: c.URL(), book: b, trap: k,
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: c.ca.Client("127.0.0.1"), MaxIdleConnsPerHost: 16}}}
	p.server = &http.Server{Handler: p, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: c.ca.Server("127.0.0.1"), ReadHeaderTimeout: patience}
	var served sync.WaitGroup
	served.Go(func() { _ = p.server.ServeTLS(l, "", "") })
	t.Cleanup(func() {
		_ = p.server.Close()
		served.Wait()
		p.client.CloseIdleConnections()
	})
	return p
}

func (p *cloudPeer) url() string { return "https://" + p.addr }

func (p *cloudPeer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	id, isWrite := strings.CutPrefix(r.URL.Path, "/api/systemusers/")
	id, isPassword := strings.CutSuffix(id, "/password")
	isWrite = isWrite && isPassword && r.Method == http.MethodPost
	if isWrite && p.trap.reached(applyLost) || !isWrite && p.trap.reached(applyReads) {
		panic(http.ErrAbortHandler)
	}
	if isWrite {
		p.busy.Add(1)
		p.trap.reached(applyMade)
	}
	res, answer, err := p.ask(r, body)
	if isWrite {
		var in struct{ Password string }
		if err == nil && json.Unmarshal(body, &in) == nil {
			p.book.answeredByJumpCloud(id, in.Password, res.StatusCode)
		}
		p.busy.Add(-1)
	}
	if err != nil || isWrite && p.trap.reached(applyAnswered) {
		panic(http.ErrAbortHandler)
	}
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(answer) // the daemon may be gone
	_ = http.NewResponseController(w).Flush()
	if isWrite {
		p.trap.reached(applyDelivered)
	}
}

// ask passes a request on, whatever becomes of the daemon.
func (p *cloudPeer) ask(r *http.Request, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, p.to+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header = r.Header.Clone()
	res, err := p.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	answer, err := io.ReadAll(res.Body)
	return res, answer, errors.Join(err, res.Body.Close())
}

// historyPolicy makes JumpCloud refuse every password that the user has had,
// so that a second write of one shows.
func historyPolicy() jcsim.PasswordPolicy {
	return jcsim.PasswordPolicy{EnableMaxHistory: true, MaxHistory: 1 << 20}
}
