package gateway

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
)

func relaySASL(c *Config) { c.RelaySASL = true }

// saslDC negotiates by a script: the answer to each token. It keeps what it is
// sent, and after success goes on with spoken.
type saslDC struct {
	answers map[string][]byte // by token: of the answer what follows the ID
	asked   chan []byte       // each frame that is no bind, unbind or known token
	binds   chan []byte       // each frame of a SASL bind
	spoken  func(*peer)       // after a token that was answered with success
	simple  chan struct{}     // a value for each simple bind with a name
}

func newSASLDC() *saslDC {
	return &saslDC{answers: map[string][]byte{}, asked: make(chan []byte, 100), binds: make(chan []byte, 100), simple: make(chan struct{}, 100)}
}

func (d *saslDC) serve(p *peer) {
	for msg := range p.requests() {
		if msg.Op != ldapwire.OpBindRequest {
			d.asked <- msg.Raw
			p.send(plainAnswer(msg))
			continue
		}
		req, err := ldapwire.ParseBindRequest(msg.Body)
		if err != nil {
			p.tb.Error(err)
			return
		}
		if req.Auth != ldapwire.AuthSASL {
			if len(req.Name) > 0 {
				d.simple <- struct{}{}
			}
			p.send(plainAnswer(msg))
			continue
		}
		d.binds <- msg.Raw
		code, creds := ldapwire.ResultSuccess, []byte(nil)
		switch token := req.Credentials(msg.Body); string(token.Expose()) {
		case "first":
			code, creds = ldapwire.ResultSaslBindInProgress, []byte{} // empty, not absent
		case "second":
			code, creds = ldapwire.ResultSaslBindInProgress, []byte("challenge")
		case "wrong":
			code = ldapwire.ResultInvalidCredentials
		}
		p.send(ldapwire.AppendBindResponse(nil, msg.ID, code, "", "text", creds))
		if code == ldapwire.ResultSuccess && d.spoken != nil {
			d.spoken(p)
			return
		}
	}
}

// sasl makes one step of a bind and returns the DC's answer.
func (p *peer) sasl(id int32, mechanism, token string, code ldapwire.ResultCode) ldapwire.Message {
	p.tb.Helper()
	p.send(ldapwire.AppendSASLBindRequest(nil, id, "", mechanism, []byte(token)))
	msg := p.want(ldapwire.OpBindResponse)
	if res, err := ldapwire.ParseResult(msg.Body); err != nil || res.Code != code || msg.ID != id {
		p.tb.Fatalf("%s %q: got %s %s, %v; want %s", mechanism, token, msg, res.Code, err, code)
	}
	return msg
}

// events reads dirgate_gateway_sasl_total.
func (r *rig) events(event string) float64 {
	r.tb.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "dirgate_gateway_sasl_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == event {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// TestG1_SASLSteps: every step of a bind and its answer pass as they are, with
// the difference between empty and absent credentials, and the session is the
// DC's to judge afterwards.
func TestG1_SASLSteps(t *testing.T) {
	d := newSASLDC()
	r, dc := newRig(t, d.serve, relaySASL)
	c := r.dial()
	for i, step := range []struct {
		token []byte
		want  []byte
	}{
		{[]byte("first"), ldapwire.AppendBindResponse(nil, 1, ldapwire.ResultSaslBindInProgress, "", "text", []byte{})},
		{[]byte("second"), ldapwire.AppendBindResponse(nil, 2, ldapwire.ResultSaslBindInProgress, "", "text", []byte("challenge"))},
		{[]byte{}, ldapwire.AppendBindResponse(nil, 3, ldapwire.ResultSuccess, "", "text", nil)},
		{nil, ldapwire.AppendBindResponse(nil, 4, ldapwire.ResultSuccess, "", "text", nil)},
	} {
		frame := ldapwire.AppendSASLBindRequest(nil, int32(i+1), "ignored", "GSS-SPNEGO", step.token)
		c.send(frame)
		if got := c.want(ldapwire.OpBindResponse); !bytes.Equal(got.Raw, step.want) {
			t.Errorf("step %d: the client got %x, want %x", i, got.Raw, step.want)
		}
		if got := receive(t, d.binds, "the step"); !bytes.Equal(got, frame) {
			t.Errorf("step %d: the DC got %x, want %x", i, got, frame)
		}
	}
	search := ldapwire.AppendSearchRequest(nil, 5, ldapwire.SearchParams{BaseDN: aliceDN})
	c.send(search)
	c.want(ldapwire.OpSearchResultEntry)
	c.wantResult(ldapwire.OpSearchResultDone, 5, ldapwire.ResultSuccess)
	if got := receive(t, d.asked, "the search"); !bytes.Equal(got, search) {
		t.Errorf("the DC got %x, want %x", got, search)
	}
	// Messages before the bind are small, after it they may be large.
	c.send(ldapwire.AppendCompareRequest(nil, 6, aliceDN, "cn", make([]byte, DefaultMaxMessageUnbound+1)))
	c.wantResult(ldapwire.OpCompareResponse, 6, ldapwire.ResultSuccess)
	if n := r.events("accepted"); n != 2 || dc.accepted() != 1 {
		t.Errorf("%v binds counted on %d connections, want 2 on 1", n, dc.accepted())
	}
	// Its connection is for nobody else.
	c.send(ldapwire.AppendUnbindRequest(nil, 7))
	c.wantEnd()
	r.dial().bind(1)
	if dc.accepted() != 2 {
		t.Errorf("%d DC connections, want 2", dc.accepted())
	}
}

// TestG1_SASLIsNotCapturable: a session bound by SASL sets no password, in any
// form, and a simple bind on it makes it like others.
func TestG1_SASLIsNotCapturable(t *testing.T) {
	d := newSASLDC()
	r, _ := newRig(t, d.serve, relaySASL)
	c := r.dial()
	c.sasl(1, "GSS-SPNEGO", "right", ldapwire.ResultSuccess)
	c.send(changePassword(t, 2, "Old-1", "New-Password2"))
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultUnwillingToPerform)
	c.send(ldapwire.AppendModifyRequest(nil, 3, aliceDN, modOf(ldapwire.ModReplace, "userPassword", "New-Password2")))
	c.wantResult(ldapwire.OpModifyResponse, 3, ldapwire.ResultUnwillingToPerform)
	c.send(ldapwire.AppendExtendedRequest(nil, 4, ldapwire.OIDPasswordModify, nil, false))
	c.wantResult(ldapwire.OpExtendedResponse, 4, ldapwire.ResultUnwillingToPerform)
	c.send(ldapwire.AppendAddRequest(nil, 5, "CN=new,"+baseDN, []ldapwire.AttributeValues{{Type: "unicodePwd", Values: [][]byte{quoted(t, "New-Password2")}}}))
	c.wantResult(ldapwire.OpAddResponse, 5, ldapwire.ResultUnwillingToPerform)
	if n := r.events("write_refused"); n != 4 || len(d.asked) != 0 || r.recorder.count() != 0 {
		t.Errorf("%v writes counted, %d sent, %d recorded; want 4, none, none", n, len(d.asked), r.recorder.count())
	}
	c.send(ldapwire.AppendModifyRequest(nil, 6, aliceDN, modOf(ldapwire.ModReplace, "description", "x")))
	c.wantResult(ldapwire.OpModifyResponse, 6, ldapwire.ResultSuccess)
	c.bind(7)
	c.send(changePassword(t, 8, "Old-1", "New-Password2"))
	c.wantResult(ldapwire.OpModifyResponse, 8, ldapwire.ResultSuccess)
	if r.recorder.count() != 1 {
		t.Errorf("%d changes recorded after a simple bind, want 1", r.recorder.count())
	}
}

// TestG1_SASLWritesPassWithoutCapture: where nothing is captured nothing can
// get out of step.
func TestG1_SASLWritesPassWithoutCapture(t *testing.T) {
	d, ca := newSASLDC(), certstest.New(t)
	r := newRigFor(t, ca, &Domain{Name: "corp.example.test", DCs: newScriptedDC(t, ca, d.serve)}, relaySASL)
	c := r.dial()
	c.sasl(1, "GSSAPI", "right", ldapwire.ResultSuccess)
	change := changePassword(t, 2, "Old-1", "New-Password2")
	c.send(change)
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
	if got := receive(t, d.asked, "the change"); !bytes.Equal(got, change) {
		t.Errorf("the DC got %x, want %x", got, change)
	}
}

// TestG2_SASLBindsAlone: a bind ends the identity before it, nothing runs
// between its steps, and what is not finished or failed costs the connection.
func TestG2_SASLBindsAlone(t *testing.T) {
	search := func(id int32) []byte {
		return ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{BaseDN: aliceDN})
	}
	for name, tt := range map[string]struct {
		then  func(*peer)
		conns int // DC connections after it and a simple bind
	}{
		"another operation": {func(c *peer) {
			c.send(search(3))
			c.wantResult(ldapwire.OpSearchResultDone, 3, ldapwire.ResultOperationsError)
		}, 2},
		"another mechanism": {func(c *peer) { c.sasl(3, "DIGEST-MD5", "first", ldapwire.ResultSaslBindInProgress) }, 3},
		"a simple bind":     {func(c *peer) { c.bind(3) }, 2},
		"a failed end":      {func(c *peer) { c.sasl(3, "GSSAPI", "wrong", ldapwire.ResultInvalidCredentials) }, 2},
		"no mechanism":      {func(c *peer) { c.sasl(3, "", "x", ldapwire.ResultAuthMethodNotSupported) }, 2},
		"an abandon, which is nothing": {func(c *peer) {
			c.send(ldapwire.AppendAbandonRequest(nil, 9, 2))
			c.sasl(3, "GSSAPI", "second", ldapwire.ResultSaslBindInProgress)
		}, 2},
		"the next step": {func(c *peer) { c.sasl(3, "GSSAPI", "right", ldapwire.ResultSuccess) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := newSASLDC()
			r, dc := newRig(t, d.serve, relaySASL, func(c *Config) { c.PoolSize = -1 })
			c := r.dial()
			c.bind(1)
			c.sasl(2, "GSSAPI", "first", ldapwire.ResultSaslBindInProgress)
			tt.then(c)
			if len(d.asked) != 0 {
				t.Error("the DC was asked between two steps")
			}
			c.bind(4)
			if dc.accepted() != tt.conns {
				t.Errorf("%d DC connections, want %d", dc.accepted(), tt.conns)
			}
			c.send(changePassword(t, 5, "Old-1", "New-Password2"))
			c.wantResult(ldapwire.OpModifyResponse, 5, ldapwire.ResultSuccess)
		})
	}
	t.Run("a password between the steps", func(t *testing.T) {
		d := newSASLDC()
		r, _ := newRig(t, d.serve, relaySASL)
		c := r.dial()
		c.bind(1)
		c.sasl(2, "GSSAPI", "first", ldapwire.ResultSaslBindInProgress)
		c.send(changePassword(t, 3, "Old-1", "New-Password2"))
		c.wantResult(ldapwire.OpModifyResponse, 3, ldapwire.ResultOperationsError)
		c.send(changePassword(t, 4, "Old-1", "New-Password2")) // anonymous, on another connection
		c.wantResult(ldapwire.OpModifyResponse, 4, ldapwire.ResultOperationsError)
		if len(d.asked) != 0 || r.recorder.count() != 0 {
			t.Errorf("%d requests sent, %d changes recorded; want none", len(d.asked), r.recorder.count())
		}
	})
}

// TestG1_SASLNeverRelayed: what a DC must not be asked, whatever the setting.
func TestG1_SASLNeverRelayed(t *testing.T) {
	d := newSASLDC()
	r, dc, clear := plainRig(t, d.serve, relaySASL, func(c *Config) { c.AllowPlaintextBind = true })
	c := r.dial()
	c.sasl(1, "EXTERNAL", "", ldapwire.ResultAuthMethodNotSupported)
	c.sasl(2, "external", "x", ldapwire.ResultAuthMethodNotSupported)
	c.sasl(3, "", "x", ldapwire.ResultAuthMethodNotSupported)
	v2 := ldapwire.AppendSASLBindRequest(nil, 4, "", "GSSAPI", []byte("right"))
	c.send(bytes.Replace(v2, []byte{2, 1, 3}, []byte{2, 1, 2}, 1))
	c.wantResult(ldapwire.OpBindResponse, 4, ldapwire.ResultProtocolError)
	plain := dialClear(t, clear)
	plain.sasl(1, "GSSAPI", "right", ldapwire.ResultConfidentialityRequired)
	if dc.accepted() != 0 {
		t.Errorf("%d DC connections, want none", dc.accepted())
	}
	r.upgrade(plain, 2).sasl(3, "GSSAPI", "right", ldapwire.ResultSuccess)
}

// TestG9_SASLUnanswered: the client is told, and the session goes on.
func TestG9_SASLUnanswered(t *testing.T) {
	var first atomic.Bool
	d := newSASLDC()
	r, _ := newRig(t, func(p *peer) {
		if first.CompareAndSwap(false, true) {
			_, _ = p.read()
			return
		}
		d.serve(p)
	}, relaySASL)
	c := r.dial()
	c.sasl(1, "GSSAPI", "right", ldapwire.ResultUnavailable)
	c.sasl(2, "GSSAPI", "right", ldapwire.ResultSuccess)
	if r.events("undecided") != 1 || r.events("accepted") != 1 {
		t.Errorf("counted %v undecided and %v accepted, want one each", r.events("undecided"), r.events("accepted"))
	}
}

// TestG1_RootDSEOffersWhatIsRelayed: mechanisms pass, but for EXTERNAL, and only
// where a bind by them would.
func TestG1_RootDSEOffersWhatIsRelayed(t *testing.T) {
	var has atomic.Pointer[ldapwire.AttributeValues]
	r, _, clear := plainRig(t, func(p *peer) {
		for msg := range p.requests() {
			p.send(ldapwire.AppendSearchEntry(nil, msg.ID, "", []ldapwire.AttributeValues{attrOf("dnsHostName", "dc1"), *has.Load()}),
				ldapwire.AppendSearchDone(nil, msg.ID, 0, "", ""))
		}
	}, relaySASL)
	secure, plain := r.dial(), dialClear(t, clear)
	id := int32(1)
	for _, tt := range []struct {
		has, want ldapwire.AttributeValues
	}{
		{attrOf("supportedSASLMechanisms", "GSSAPI", "EXTERNAL", "DIGEST-MD5"), attrOf("supportedSASLMechanisms", "GSSAPI", "DIGEST-MD5")},
		{attrOf("supportedSASLMechanisms", "GSSAPI"), attrOf("supportedSASLMechanisms", "GSSAPI")},
		{attrOf("supportedSASLMechanisms", "EXTERNAL"), ldapwire.AttributeValues{}},
	} {
		has.Store(&tt.has)
		want := "dnsHostName=dc1"
		if tt.want.Type != "" {
			want += " " + entryText(t, mustParse(t, ldapwire.AppendSearchEntry(nil, 1, "", []ldapwire.AttributeValues{tt.want})))
		}
		for c, want := range map[*peer]string{secure: want, plain: "dnsHostName=dc1"} {
			c.send(ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{}))
			if got := entryText(t, c.want(ldapwire.OpSearchResultEntry)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			c.wantResult(ldapwire.OpSearchResultDone, id, ldapwire.ResultSuccess)
		}
		id++
	}
}

func mustParse(t *testing.T, frame []byte) ldapwire.Message {
	t.Helper()
	msg, err := ldapwire.ParseMessage(frame)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}
