package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
)

// node is a DC that keeps what it was asked. With lose set it ends each
// connection when a request of that operation has come, after saying what
// before says; with mute it says nothing to it.
type node struct {
	*scriptedDC
	lose, mute ldapwire.Op
	before     func(ldapwire.Message) []byte
	bindCode   ldapwire.ResultCode
	answer     func(ldapwire.Message) []byte // to other requests; nil: plainAnswer
	end        chan struct{}                 // ends the connections that wait for a request, when closed

	mu    sync.Mutex
	asked []ldapwire.Message // guarded by mu
}

func newNode(t testing.TB, ca *certstest.CA) *node {
	n := &node{end: make(chan struct{})}
	n.scriptedDC = newScriptedDC(t, ca, n.serve)
	return n
}

func (n *node) serve(p *peer) {
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-n.end:
			_ = p.conn.Close()
		case <-over:
		}
	}()
	for msg := range p.requests() {
		n.mu.Lock()
		n.asked = append(n.asked, msg)
		n.mu.Unlock()
		switch {
		case msg.Op == n.lose:
			if n.before != nil {
				p.send(n.before(msg))
			}
			return
		case msg.Op == n.mute:
		case msg.Op == ldapwire.OpBindRequest:
			p.send(ldapwire.AppendResult(nil, msg.ID, ldapwire.OpBindResponse, n.bindCode, "", "80090308: LdapErr: DSID-0C090000, comment: AcceptSecurityContext error, data 52e, v0000"))
		case n.answer != nil:
			p.send(n.answer(msg))
		default:
			p.send(plainAnswer(msg))
		}
	}
}

func (n *node) ops() (ops []ldapwire.Op) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, msg := range n.asked {
		ops = append(ops, msg.Op)
	}
	return ops
}

func (n *node) wantOps(t *testing.T, want ...ldapwire.Op) {
	t.Helper()
	if got := n.ops(); !slices.Equal(got, want) {
		t.Errorf("the DC was asked %v, want %v", got, want)
	}
}

// pair is two DCs of one domain, of which one is dialled, or none.
type pair struct {
	a, b    *node
	dialled atomic.Pointer[node]
	out     atomic.Pointer[dc.Outage]
}

func (p *pair) Dial(ctx context.Context) (*tls.Conn, string, error) {
	n := p.dialled.Load()
	if n == nil {
		return nil, "", errors.New("all are down")
	}
	conn, _, err := n.scriptedDC.Dial(ctx)
	return conn, map[*node]string{p.a: "a", p.b: "b"}[n], err
}

func (p *pair) Outages() []dc.Outage {
	if o := p.out.Load(); o != nil {
		return []dc.Outage{*o}
	}
	return nil
}

// newPairRig is a gateway before two DCs, with sessions that are moved.
func newPairRig(t *testing.T, change ...func(*Config)) (*rig, *pair) {
	t.Helper()
	ca := certstest.New(t)
	p := &pair{a: newNode(t, ca), b: newNode(t, ca)}
	p.dialled.Store(p.a)
	change = append([]func(*Config){func(c *Config) { c.Reconnect = true }}, change...)
	return newRigFor(t, ca, &Domain{Name: "corp.example.test", DCs: p, Capture: true}, change...), p
}

// kill ends the first DC, and waits until all sessions know. From now on the
// second is dialled.
func (p *pair) kill(r *rig) {
	r.tb.Helper()
	p.dialled.Store(p.b)
	close(p.a.end)
	receiveUntil(r.tb, func() bool {
		return !slices.ContainsFunc(r.server.snapshot(), func(s *session) bool { return s.upNow.Load() != nil })
	})
}

func compare(id int32) []byte {
	return ldapwire.AppendCompareRequest(nil, id, aliceDN, "cn", []byte("x"))
}

// wantSilence makes sure that the session has nothing more to say before the
// answer to a request of its own.
func (p *peer) wantSilence(id int32) {
	p.tb.Helper()
	p.send(compare(id))
	p.wantResult(ldapwire.OpCompareResponse, id, ldapwire.ResultSuccess)
}

// TestG9_IdleSessionMoves: a client whose DC dies while it is idle notices
// nothing. Another DC is not bothered before there is something to ask, and
// then gets the bind as the first one had it.
func TestG9_IdleSessionMoves(t *testing.T) {
	r, dcs := newPairRig(t)
	c := r.dial()
	if res := c.tryBind(1, "alice", "Secret-1"); res.Code != ldapwire.ResultSuccess {
		t.Fatal(res.Code)
	}
	dcs.kill(r)
	if n := dcs.b.accepted(); n != 0 {
		t.Errorf("the other DC had %d connections while the client was idle, want none", n)
	}
	c.wantSilence(2)
	dcs.b.wantOps(t, ldapwire.OpBindRequest, ldapwire.OpCompareRequest)
	first, err := ldapwire.ParseBindRequest(dcs.a.asked[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ldapwire.ParseBindRequest(dcs.b.asked[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	if string(again.Name) != "alice@corp.example.test" || string(first.Name) != string(again.Name) ||
		string(again.Password(dcs.b.asked[0].Body).Expose()) != "Secret-1" {
		t.Errorf("bound again as %q, first as %q", again.Name, first.Name)
	}
	c.send(ldapwire.AppendDelRequest(nil, 3, aliceDN)) // a write goes to the new DC
	c.wantResult(ldapwire.OpDelResponse, 3, ldapwire.ResultSuccess)
}

// TestG9_AnonymousSessionMoves: without an identity there is nothing to bind.
func TestG9_AnonymousSessionMoves(t *testing.T) {
	r, dcs := newPairRig(t)
	c := r.dial()
	c.wantSilence(1)
	dcs.kill(r)
	c.wantSilence(2)
	dcs.b.wantOps(t, ldapwire.OpCompareRequest)
}

// TestG9_LostRequests: what was outstanding when the DC died is answered, by
// another DC or by the gateway, and the session goes on.
func TestG9_LostRequests(t *testing.T) {
	search := func(controls ...ldapwire.Control) []byte {
		frame := ldapwire.AppendSearchRequest(nil, 7, ldapwire.SearchParams{BaseDN: aliceDN, Scope: ldapwire.ScopeBase})
		if len(controls) == 0 {
			return frame
		}
		msg, err := ldapwire.ParseMessage(frame)
		if err != nil {
			t.Fatal(err)
		}
		return ldapwire.AppendWithControls(nil, msg, controls...)
	}
	control := func(oid, value string) ldapwire.Control {
		return ldapwire.Control{OID: []byte(oid), Criticality: true, Value: []byte(value), HasValue: value != ""}
	}
	entry := func(msg ldapwire.Message) []byte { return ldapwire.AppendSearchEntry(nil, msg.ID, aliceDN, nil) }
	tests := []struct {
		name    string
		request []byte
		before  func(ldapwire.Message) []byte
		repeats bool
	}{
		{"search", search(), nil, true},
		{"search of a first page", search(control(ldapwire.OIDControlPagedResults, "\x30\x05\x02\x01\x0a\x04\x00")), nil, true},
		{"search of deleted objects", search(control(ldapwire.OIDControlShowDeleted, "")), nil, true},
		{"compare", compare(7), nil, true},
		{"search of a second page", search(control(ldapwire.OIDControlPagedResults, "\x30\x08\x02\x01\x0a\x04\x03\x01\x04\x00")), nil, false},
		{"change notification", search(control(ldapwire.OIDControlNotification, "")), nil, false},
		{"DirSync", search(control(ldapwire.OIDControlDirSync, "\x30\x08\x02\x01\x00\x02\x01\x00\x04\x00")), nil, false},
		{"unknown control", search(control("1.2.3", "")), nil, false},
		{"search with a part of its answer", search(), entry, false},
		{"search larger than what is kept", ldapwire.AppendSearchRequest(nil, 7, ldapwire.SearchParams{BaseDN: strings.Repeat("x", longestRepeat)}), nil, false},
		{"modify", ldapwire.AppendModifyRequest(nil, 7, aliceDN, ldapwire.Mod{Op: ldapwire.ModReplace, Type: "description", Values: [][]byte{[]byte("a")}}), nil, false},
		{"add", ldapwire.AppendAddRequest(nil, 7, aliceDN, nil), nil, false},
		{"delete", ldapwire.AppendDelRequest(nil, 7, aliceDN), nil, false},
		{"modify DN", raw(7, ldapwire.OpModifyDNRequest, []byte{4, 2, 'd', 'n', 4, 4, 'c', 'n', '=', 'x', 1, 1, 0xff}), nil, false},
		{"extended", ldapwire.AppendExtendedRequest(nil, 7, ldapwire.OIDWhoAmI, nil, false), nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, dcs := newPairRig(t)
			msg, err := ldapwire.ParseMessage(tt.request)
			if err != nil {
				t.Fatal(err)
			}
			dcs.a.lose, dcs.a.before = msg.Op, tt.before
			c := r.dial()
			c.bind(1)
			dcs.dialled.Store(dcs.b)
			c.send(tt.request)
			if tt.before != nil {
				c.want(ldapwire.OpSearchResultEntry)
			}
			if tt.repeats {
				if msg.Op == ldapwire.OpSearchRequest {
					c.want(ldapwire.OpSearchResultEntry)
				}
				c.wantResult(msg.Op.Response(), 7, ldapwire.ResultSuccess)
				dcs.b.wantOps(t, ldapwire.OpBindRequest, msg.Op)
			} else {
				res := c.wantResult(msg.Op.Response(), 7, ldapwire.ResultUnavailable)
				if !strings.Contains(string(res.Diagnostic), "connection was lost") {
					t.Errorf("the client is told %q", res.Diagnostic)
				}
				if slices.Contains(dcs.b.ops(), msg.Op) {
					t.Error("the request was sent to another DC")
				}
			}
			c.wantSilence(8)
		})
	}
}

// TestG9_RepeatedOnce: a request under which each DC breaks down is not tried
// on all of them.
func TestG9_RepeatedOnce(t *testing.T) {
	r, dcs := newPairRig(t)
	dcs.a.lose, dcs.b.lose = ldapwire.OpSearchRequest, ldapwire.OpSearchRequest
	c := r.dial()
	c.bind(1)
	dcs.dialled.Store(dcs.b)
	c.send(ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{BaseDN: aliceDN}))
	c.wantResult(ldapwire.OpSearchResultDone, 2, ldapwire.ResultUnavailable)
	c.wantSilence(3)
	dcs.b.wantOps(t, ldapwire.OpBindRequest, ldapwire.OpSearchRequest, ldapwire.OpBindRequest, ldapwire.OpCompareRequest)
}

// TestG9_Pipelined: of many requests outstanding at once each is answered,
// once.
func TestG9_Pipelined(t *testing.T) {
	r, dcs := newPairRig(t)
	dcs.a.lose = ldapwire.OpDelRequest
	dcs.a.mute = ldapwire.OpCompareRequest
	c := r.dial()
	c.bind(1)
	dcs.dialled.Store(dcs.b)
	const n = 100
	var all []byte
	for id := int32(2); id < n; id++ {
		all = append(all, compare(id)...)
	}
	c.send(append(all, ldapwire.AppendDelRequest(nil, n, aliceDN)...))
	got := map[int32]ldapwire.ResultCode{}
	for range n - 1 {
		msg, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		res, err := ldapwire.ParseResult(msg.Body)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got[msg.ID]; twice {
			t.Errorf("message %d was answered twice", msg.ID)
		}
		got[msg.ID] = res.Code
	}
	for id := int32(2); id < n; id++ {
		if code, ok := got[id]; !ok || code != ldapwire.ResultSuccess {
			t.Errorf("compare %d: %v, %s", id, ok, code)
		}
	}
	if got[n] != ldapwire.ResultUnavailable {
		t.Errorf("the delete was answered with %s, want unavailable", got[n])
	}
	c.wantSilence(n + 1)
}

// TestG9_NoticeIsNotPassedOn: a DC that says goodbye is like one that dies.
func TestG9_NoticeIsNotPassedOn(t *testing.T) {
	r, dcs := newPairRig(t)
	dcs.a.lose = ldapwire.OpCompareRequest
	dcs.a.before = func(ldapwire.Message) []byte {
		return ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultBusy, "going down")
	}
	c := r.dial()
	c.bind(1)
	dcs.dialled.Store(dcs.b)
	c.wantSilence(2)
}

// TestG9_AnswerBeforeTheEnd: what a DC says before it goes is passed on at once,
// and does not wait for more to be said.
func TestG9_AnswerBeforeTheEnd(t *testing.T) {
	r, dcs := newPairRig(t)
	dcs.a.lose = ldapwire.OpCompareRequest
	dcs.a.before = func(msg ldapwire.Message) []byte { // in one piece: no read waits between the two
		return append(plainAnswer(msg), ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultBusy, "going down")...)
	}
	c := r.dial()
	c.bind(1)
	dcs.dialled.Store(dcs.b)
	c.wantSilence(2)
	dcs.b.wantOps(t)
	c.wantSilence(3)
}

// TestG9_AllDown: while no DC can be reached requests are answered with
// unavailable, and the session is itself again when one can.
func TestG9_AllDown(t *testing.T) {
	r, dcs := newPairRig(t)
	dcs.a.lose = ldapwire.OpCompareRequest
	c := r.dial()
	c.bind(1)
	dcs.dialled.Store(nil)
	for id := int32(2); id < 5; id++ {
		c.send(compare(id))
		c.wantResult(ldapwire.OpCompareResponse, id, ldapwire.ResultUnavailable)
	}
	dcs.dialled.Store(dcs.b)
	c.wantSilence(6)
	dcs.b.wantOps(t, ldapwire.OpBindRequest, ldapwire.OpCompareRequest)
}

// TestG9_RefusedAgain: when the password is not right any more, the session
// ends; the bind is not tried again, and of many sessions one asks the DC.
func TestG9_RefusedAgain(t *testing.T) {
	r, dcs := newPairRig(t, guarded)
	dcs.b.bindCode = ldapwire.ResultInvalidCredentials
	clients := []*peer{r.dial(), r.dial(), r.dial()}
	for _, c := range clients {
		c.bind(1)
	}
	dcs.kill(r)
	for _, c := range clients {
		c.send(compare(2))
		c.wantResult(ldapwire.OpCompareResponse, 2, ldapwire.ResultUnavailable)
		c.wantNotice(ldapwire.ResultUnavailable)
	}
	dcs.b.wantOps(t, ldapwire.OpBindRequest)
}

// TestG9_NothingToBindWith: a bind that failed or was replaced leaves nothing
// that a later loss could bring back.
func TestG9_NothingToBindWith(t *testing.T) {
	r, dcs := newPairRig(t)
	c := r.dial()
	c.bind(1)
	c.send(ldapwire.AppendBindRequest(nil, 2, "CN=alice", nil)) // refused: no password
	c.wantResult(ldapwire.OpBindResponse, 2, ldapwire.ResultUnwillingToPerform)
	c.wantSilence(3)
	dcs.kill(r)
	c.wantSilence(4)
	dcs.b.wantOps(t, ldapwire.OpCompareRequest)
}

// TestG9_SilentController: a DC that hangs keeps its connections; those that
// wait for it are moved when it has left rotation.
func TestG9_SilentController(t *testing.T) {
	r, dcs := newPairRig(t)
	dcs.a.mute = ldapwire.OpCompareRequest
	c := r.dial()
	c.bind(1)
	c.send(compare(2))
	receiveUntil(t, func() bool { return slices.Contains(dcs.a.ops(), ldapwire.OpCompareRequest) })
	dcs.dialled.Store(dcs.b)
	dcs.out.Store(&dc.Outage{Controller: "a", Since: time.Now().Add(-alonePatience / 2), Others: true})
	c.wantResult(ldapwire.OpCompareResponse, 2, ldapwire.ResultSuccess)
	dcs.b.wantOps(t, ldapwire.OpBindRequest, ldapwire.OpCompareRequest)
}

// TestG9_SilentAlone: where there is no other DC in rotation, a fit of the
// only one is waited out for longer.
func TestG9_SilentAlone(t *testing.T) {
	r, dcs := newPairRig(t)
	dcs.a.mute = ldapwire.OpCompareRequest
	c := r.dial()
	c.bind(1)
	c.send(compare(2))
	receiveUntil(t, func() bool { return slices.Contains(dcs.a.ops(), ldapwire.OpCompareRequest) })
	s, now := r.onlySession(), time.Now()
	up := s.upNow.Load()
	dcs.out.Store(&dc.Outage{Controller: "a", Since: now})
	for range 3 {
		r.server.giveUpSilent(now.Add(alonePatience - time.Second))
	}
	if up.silent.Load() {
		t.Error("it was given up early")
	}
	dcs.dialled.Store(dcs.b)
	for range 2 { // of which the first only notes what was heard
		r.server.giveUpSilent(now.Add(alonePatience))
	}
	c.wantResult(ldapwire.OpCompareResponse, 2, ldapwire.ResultSuccess)
}

// TestG5_SilentDuringPasswordChange: a password change keeps its own time: the
// outcome is worth waiting for.
func TestG5_SilentDuringPasswordChange(t *testing.T) {
	r, dcs := newPairRig(t, func(c *Config) { c.CaptureTimeout = time.Second })
	dcs.a.mute = ldapwire.OpModifyRequest
	c := r.dial()
	c.bind(1)
	c.send(changePassword(t, 2, "a", "b"))
	receiveUntil(t, func() bool { return slices.Contains(dcs.a.ops(), ldapwire.OpModifyRequest) })
	s, now := r.onlySession(), time.Now()
	up := s.upNow.Load()
	dcs.out.Store(&dc.Outage{Controller: "a", Since: now, Others: true})
	for range 3 {
		r.server.giveUpSilent(now.Add(time.Hour))
	}
	if up.silent.Load() {
		t.Error("the connection was given up")
	}
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultUnavailable)
	c.wantNotice(ldapwire.ResultUnavailable)
	if o := r.recorder.outcome(1); o != identity.OutcomeUnknown {
		t.Errorf("outcome %q, want unknown", o)
	}
	dcs.b.wantOps(t)
}

// onlySession is the one session of the server.
func (r *rig) onlySession() *session {
	r.tb.Helper()
	all := r.server.snapshot()
	if len(all) != 1 {
		r.tb.Fatalf("%d sessions, want 1", len(all))
	}
	return all[0]
}

func TestKeptBind(t *testing.T) {
	for name, frame := range map[string][]byte{
		"without controls": ldapwire.AppendBindRequest(nil, 5, "alice", []byte("Secret-1")),
		"with":             raw(5, ldapwire.OpBindRequest, []byte{2, 1, 3, 4, 1, 'a', 0x80, 1, 'p'}, 0xa0, 0x0a, 0x30, 0x08, 0x04, 0x03, '1', '.', '2', 0x01, 0x01, 0xff),
	} {
		t.Run(name, func(t *testing.T) {
			msg, err := ldapwire.ParseMessage(frame)
			if err != nil {
				t.Fatal(err)
			}
			var k keptBind
			k.keep(msg)
			again, err := ldapwire.ParseMessage(k.frame(9))
			if err != nil || again.ID != 9 || string(again.Body) != string(msg.Body) || string(again.Controls) != string(msg.Controls) {
				t.Errorf("got %v, %v; want the bind under another ID", again, err)
			}
			held := k.bytes.Expose()
			k.wipe()
			if !k.isEmpty() || strings.Trim(string(held), "\x00") != "" {
				t.Error("the password outlives its wiping")
			}
		})
	}
}

func TestIsFirstPage(t *testing.T) {
	for value, want := range map[string]bool{
		"\x30\x05\x02\x01\x0a\x04\x00":                                 true,
		"\x30\x06\x02\x02\x03\xe8\x04\x00":                             true,
		"\x30\x84\x00\x00\x00\x05\x02\x01\x0a\x04\x00":                 true,
		"\x30\x84\x00\x00\x00\x09\x02\x01\x0a\x04\x84\x00\x00\x00\x00": true,
		"\x30\x08\x02\x01\x0a\x04\x03\x01\x04\x00":                     false,
		"\x30\x84\x00\x00\x00\x08\x02\x01\x0a\x04\x03\x01\x04\x00":     false,
		"\x30\x08\x02\x04\x0a\x04\x00\x00\x04\x00":                     true,
		"\x30\x05\x02\x7f\x0a\x04\x00":                                 false,
		"\x30\x05\x04\x00":                                             false,
		"\x30\x84\x00\x00\x00\x01\x02":                                 false, // shorter than it says
		"\x30\x84\x00\x00\x00\x03\x02\x01\x0a":                         false,
		"":                                                             false,
	} {
		if got := isFirstPage([]byte(value)); got != want {
			t.Errorf("%x: got %t, want %t", value, got, want)
		}
	}
}
