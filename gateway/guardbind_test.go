package gateway

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// guardedDC knows one account and says who is bound; it counts the binds.
type guardedDC struct {
	password atomic.Pointer[string]
	binds    atomic.Int32
	whoami   atomic.Int32 // searches of the root DSE
}

func newGuardedDC(password string) *guardedDC {
	dc := &guardedDC{}
	dc.password.Store(&password)
	return dc
}

func (dc *guardedDC) serve(p *peer) {
	for msg := range p.requests() {
		p.send(dc.answer(msg))
	}
}

func (dc *guardedDC) answer(msg ldapwire.Message) []byte {
	switch msg.Op {
	case ldapwire.OpBindRequest:
		req, err := ldapwire.ParseBindRequest(msg.Body)
		if err != nil || len(req.Name) == 0 {
			return plainAnswer(msg)
		}
		dc.binds.Add(1)
		password := req.Password(msg.Body)
		defer password.Wipe()
		if string(password.Expose()) != *dc.password.Load() {
			return ldapwire.AppendResult(nil, msg.ID, ldapwire.OpBindResponse, ldapwire.ResultInvalidCredentials, "", string(diagnostic("52e")))
		}
	case ldapwire.OpSearchRequest:
		return dc.search(msg)
	}
	return plainAnswer(msg)
}

func (dc *guardedDC) search(msg ldapwire.Message) []byte {
	req, err := ldapwire.ParseSearchRequest(msg.Body)
	if err != nil {
		return ldapwire.AppendSearchDone(nil, msg.ID, ldapwire.ResultProtocolError, "", "")
	}
	one := func(v string) [][]byte { return [][]byte{[]byte(v)} }
	var attrs []ldapwire.AttributeValues
	switch base := string(req.BaseDN); base {
	case "":
		dc.whoami.Add(1)
		sid := []byte{1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0x50, 4, 0, 0}
		attrs = []ldapwire.AttributeValues{{Type: "tokenGroups", Values: [][]byte{sid}}, {Type: "defaultNamingContext", Values: one("DC=corp,DC=example,DC=test")}}
	case "<SID=S-1-5-21-1-2-3-1104>":
		attrs = []ldapwire.AttributeValues{
			{Type: "objectGUID", Values: [][]byte{aliceGUID[:]}}, {Type: "sAMAccountName", Values: one("alice")},
			{Type: "sAMAccountType", Values: one("805306368")}, {Type: "userPrincipalName", Values: one("alice.liddell@example.test")},
		}
	case "DC=corp,DC=example,DC=test":
		attrs = []ldapwire.AttributeValues{{Type: "lockoutThreshold", Values: one("3")}, {Type: "lockOutObservationWindow", Values: one("-18000000000")}}
	default:
		return plainAnswer(msg)
	}
	frame := ldapwire.AppendSearchEntry(nil, msg.ID, aliceDN, attrs)
	return ldapwire.AppendSearchDone(frame, msg.ID, ldapwire.ResultSuccess, "", "")
}

func guarded(c *Config) { c.LockoutGuard = true }

// tryBind binds and returns the result.
func (p *peer) tryBind(id int32, name, password string) ldapwire.Result {
	p.tb.Helper()
	p.send(ldapwire.AppendBindRequest(nil, id, name, []byte(password)))
	msg := p.want(ldapwire.OpBindResponse)
	res, err := ldapwire.ParseResult(msg.Body)
	if err != nil || msg.ID != id {
		p.tb.Fatalf("got message %d (%v), want the answer to %d", msg.ID, err, id)
	}
	return res
}

func TestG7_Session(t *testing.T) {
	dc := newGuardedDC("Secret-1")
	r, conns := newRig(t, dc.serve, guarded)
	c := r.dial()
	if res := c.tryBind(1, "alice", "Secret-1"); res.Code != ldapwire.ResultSuccess {
		t.Fatal(res.Code)
	}
	first := c.tryBind(2, aliceDN, "stale") // a form of the name that the DC told
	before := conns.accepted()
	for i := range int32(200) {
		d := r.dial()
		res := d.tryBind(3+i, "alice@corp.example.test", "stale")
		if res.Code != first.Code || string(res.Diagnostic) != string(first.Diagnostic) {
			t.Fatalf("got %s %q, want the DC's own answer, %s %q", res.Code, res.Diagnostic, first.Code, first.Diagnostic)
		}
		_ = d.conn.Close()
	}
	if n := dc.binds.Load(); n != 2 {
		t.Errorf("the DC saw %d binds, want 2", n)
	}
	if n := conns.accepted(); n != before {
		t.Errorf("the DC had %d connections, want %d: none for what it is not asked", n, before)
	}
	// The domain locks after 3: with one refused and one kept back, no more.
	if res := c.tryBind(4, "alice", "other"); res.Code != ldapwire.ResultInvalidCredentials {
		t.Error(res.Code)
	}
	if n := dc.binds.Load(); n != 2 {
		t.Errorf("the DC saw %d binds, want 2: another could lock the account", n)
	}
	if res := c.tryBind(5, "alice.liddell@example.test", "Secret-1"); res.Code != ldapwire.ResultSuccess {
		t.Errorf("the right password: %s", res.Code)
	}
	if n := dc.whoami.Load(); n != 1 {
		t.Errorf("the DC was asked %d times who is bound, want once", n)
	}
}

// TestG7_RefusedIsAnonymous: an answer from memory ends the identity of the
// session, as the DC's own would.
func TestG7_RefusedIsAnonymous(t *testing.T) {
	dc := newGuardedDC("Secret-1")
	r, conns := newRig(t, dc.serve, guarded)
	c := r.dial()
	c.tryBind(1, "alice", "stale")
	c.tryBind(2, "alice", "Secret-1")
	before := conns.accepted()
	if res := c.tryBind(3, "alice", "stale"); res.Code != ldapwire.ResultInvalidCredentials {
		t.Fatal(res.Code)
	}
	c.send(ldapwire.AppendCompareRequest(nil, 4, aliceDN, "cn", []byte("x")))
	c.wantResult(ldapwire.OpCompareResponse, 4, ldapwire.ResultSuccess)
	if n := conns.accepted(); n != before+1 {
		t.Errorf("%d connections to the DC, want %d: the bound one may not be used again", n, before+1)
	}
	if n := dc.binds.Load(); n != 2 {
		t.Errorf("the DC saw %d binds, want 2", n)
	}
}

// TestG7_ManySessions: sessions that bind at once with one right password all
// succeed, and with one wrong password cost the account one refusal.
func TestG7_ManySessions(t *testing.T) {
	dc := newGuardedDC("Secret-1")
	r, _ := newRig(t, dc.serve, guarded)
	for _, tt := range []struct {
		password string
		want     ldapwire.ResultCode
		binds    int32
	}{{"stale", ldapwire.ResultInvalidCredentials, 1}, {"Secret-1", ldapwire.ResultSuccess, 40}} {
		dc.binds.Store(0)
		var clients []*peer
		for range 40 {
			c := r.dial()
			c.send(ldapwire.AppendBindRequest(nil, 1, "alice", []byte(tt.password)))
			clients = append(clients, c)
		}
		for _, c := range clients {
			c.wantResult(ldapwire.OpBindResponse, 1, tt.want)
		}
		if n := dc.binds.Load(); n != tt.binds {
			t.Errorf("%s: the DC saw %d binds, want %d", tt.password, n, tt.binds)
		}
	}
}

// TestG7_CapturedChange: a password change through the gateway makes the new
// password the right one, whatever was said about it before.
func TestG7_CapturedChange(t *testing.T) {
	dc := newGuardedDC("Secret-1")
	r, _ := newRig(t, dc.serve, guarded)
	c := r.dial()
	c.tryBind(1, "alice", "Secret-2")
	c.tryBind(2, "alice", "Secret-1")
	c.send(changeRequest(t, 3, aliceDN, "Secret-1", "Secret-2"))
	c.wantResult(ldapwire.OpModifyResponse, 3, ldapwire.ResultSuccess)
	changed := "Secret-2"
	dc.password.Store(&changed)
	dc.binds.Store(0)
	for i := range int32(100) {
		if res := r.dial().tryBind(1+i, "alice", "Secret-1"); res.Code != ldapwire.ResultInvalidCredentials {
			t.Fatal(res.Code)
		}
	}
	if n := dc.binds.Load(); n != 1 {
		t.Errorf("the DC saw %d binds with the old password, want 1", n)
	}
	if res := c.tryBind(5, "alice", "Secret-2"); res.Code != ldapwire.ResultSuccess {
		t.Errorf("the new password: %s %s", res.Code, res.Diagnostic)
	}
}

// TestG7_WrongOldPassword: a wrong old password in a change counts as one in a
// bind does, for whomever it is tried.
func TestG7_WrongOldPassword(t *testing.T) {
	dc := newGuardedDC("Secret-1")
	var changes atomic.Int32
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			frame := dc.answer(msg)
			if old, ok := oldPassword(msg.Raw); ok {
				changes.Add(1)
				if string(old.Expose()) != *dc.password.Load() {
					frame = ldapwire.AppendResult(nil, msg.ID, ldapwire.OpModifyResponse, ldapwire.ResultConstraintViolation, "",
						"00000056: AtrErr: DSID-03191083, #1:\n\t0: 00000056: DSID-03191083, problem 1005 (CONSTRAINT_ATT_TYPE)")
				}
			}
			p.send(frame)
		}
	}, guarded)
	c := r.dial()
	c.tryBind(1, "alice", "Secret-1") // the domain locks after 3
	change := func(id int32, old string) ldapwire.Result {
		t.Helper()
		c.send(changeRequest(t, id, aliceDN, old, "Secret-2"))
		msg := c.want(ldapwire.OpModifyResponse)
		res, err := ldapwire.ParseResult(msg.Body)
		if err != nil || msg.ID != id {
			t.Fatalf("got message %d (%v), want the answer to %d", msg.ID, err, id)
		}
		return res
	}
	for i := range int32(20) {
		if res := change(10+i, "wrong"); res.Code != ldapwire.ResultConstraintViolation {
			t.Fatal(res.Code)
		}
	}
	if res := change(30, "wrong too"); res.Code != ldapwire.ResultConstraintViolation {
		t.Error(res.Code)
	}
	if n := changes.Load(); n != 1 || r.recorder.count() != 1 {
		t.Errorf("the DC saw %d changes, and %d were recorded, want 1: another could lock the account", n, r.recorder.count())
	}
	binds := dc.binds.Load()
	if res := r.dial().tryBind(1, "alice", "wrong"); res.Code != ldapwire.ResultInvalidCredentials || dc.binds.Load() != binds {
		t.Errorf("a bind with it: %s, %d more at the DC", res.Code, dc.binds.Load()-binds)
	}
	if res := change(31, "Secret-1"); res.Code != ldapwire.ResultSuccess {
		t.Errorf("the right old password: %s %s", res.Code, res.Diagnostic)
	}
}

// TestG7_UnknownIdentity: a DC that does not say who is bound is not asked
// again for each bind, and the guard works by the name.
func TestG7_UnknownIdentity(t *testing.T) {
	asked := make(chan struct{}, 100)
	dc := newGuardedDC("Secret-1")
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			if msg.Op == ldapwire.OpSearchRequest {
				asked <- struct{}{}
				p.send(ldapwire.AppendSearchDone(nil, msg.ID, ldapwire.ResultOperationsError, "", ""))
				continue
			}
			p.send(dc.answer(msg))
		}
	}, guarded)
	c := r.dial()
	for i := range int32(10) {
		if res := c.tryBind(1+i, "alice", "Secret-1"); res.Code != ldapwire.ResultSuccess {
			t.Fatal(res.Code)
		}
	}
	c.tryBind(20, "alice", "stale")
	c.tryBind(21, "alice", "stale")
	if n := dc.binds.Load(); n != 11 || len(asked) != 1 {
		t.Errorf("the DC saw %d binds and %d questions, want 11 and 1", n, len(asked))
	}
}

// TestG7_WaitEnds: a bind that waits for another with the same name is
// answered when that one takes too long, and the session goes on.
func TestG7_WaitEnds(t *testing.T) {
	started, release := make(chan struct{}, 2), make(chan struct{})
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			started <- struct{}{}
			<-release
			p.send(plainAnswer(msg))
		}
	}, guarded, func(c *Config) { c.BindTimeout = 200 * time.Millisecond })
	defer close(release)
	first, second := r.dial(), r.dial()
	first.send(ldapwire.AppendBindRequest(nil, 1, "alice", []byte("x")))
	receive(t, started, "the first bind")
	second.send(ldapwire.AppendBindRequest(nil, 1, "alice", []byte("x")))
	first.wantResult(ldapwire.OpBindResponse, 1, ldapwire.ResultUnavailable)
	msg := second.want(ldapwire.OpBindResponse)
	res, err := ldapwire.ParseResult(msg.Body)
	if err != nil || (res.Code != ldapwire.ResultBusy && res.Code != ldapwire.ResultUnavailable) {
		t.Errorf("got %s, %v, want busy or unavailable", res.Code, err)
	}
}

// TestG7_NotCapturedChange: wrong old passwords are held back in a domain whose
// passwords are not captured, too.
func TestG7_NotCapturedChange(t *testing.T) {
	var changes atomic.Int32
	ca := certstest.New(t)
	dc := newScriptedDC(t, ca, func(p *peer) {
		for msg := range p.requests() {
			frame := plainAnswer(msg)
			if msg.Op == ldapwire.OpModifyRequest {
				changes.Add(1)
				frame = ldapwire.AppendResult(nil, msg.ID, ldapwire.OpModifyResponse, ldapwire.ResultConstraintViolation, "", "00000056: AtrErr: DSID-03191083")
			}
			p.send(frame)
		}
	})
	r := newRigFor(t, ca, &Domain{Name: guardDomain, DCs: dc}, guarded)
	c := r.dial()
	c.bind(1)
	for i := range int32(20) {
		c.send(changeRequest(t, 10+i, aliceDN, "guess"+string('a'+i), "Secret-2"))
		c.wantResult(ldapwire.OpModifyResponse, 10+i, ldapwire.ResultConstraintViolation)
	}
	if n, want := changes.Load(), int32(assumedPolicy.threshold-1); n != want {
		t.Errorf("the DC saw %d wrong old passwords, want %d", n, want)
	}
	if n := r.recorder.count(); n != 0 {
		t.Errorf("%d changes recorded, want none", n)
	}
}
