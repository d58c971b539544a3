package gateway

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
)

var victimGUID = identity.GUID{0xee, 0xee, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

const victimDN = "CN=victim,OU=People,DC=corp,DC=example,DC=test"

// TestG4_AbandonedSearchIsNotTheTarget: a client searches for somebody else
// under the ID that the gateway would use itself, abandons the search (which
// the DC, as Samba, answers all the same), and changes its own password. The
// change must be recorded for the client and nobody else.
func TestG4_AbandonedSearchIsNotTheTarget(t *testing.T) {
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			if msg.Op == ldapwire.OpSearchRequest {
				if s, err := ldapwire.ParseSearchRequest(msg.Body); err == nil && string(s.BaseDN) == victimDN {
					f := ldapwire.AppendSearchEntry(nil, msg.ID, victimDN, []ldapwire.AttributeValues{{Type: "objectGUID", Values: [][]byte{victimGUID[:]}}})
					p.send(ldapwire.AppendSearchDone(f, msg.ID, ldapwire.ResultSuccess, "", ""))
					continue
				}
			}
			p.send(plainAnswer(msg))
		}
	})
	c := r.dial()
	c.bind(1)
	const id = ldapwire.MaxMessageID
	c.send(
		ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{BaseDN: victimDN, Attributes: []string{"objectGUID"}}),
		ldapwire.AppendAbandonRequest(nil, 3, id),
		changePassword(t, 4, "old", "Attacker.Knows1"),
	)
	receive(t, r.recorder.settled, "the outcome")
	if got := r.recorder.intents[0].Account.GUID; got != aliceGUID {
		t.Errorf("recorded for %s, want %s", got, aliceGUID)
	}
}

// TestG4_LateAnswerIsNotTheOutcome: the ID of an abandoned request is used
// again for a password write. The late success of the first must not be taken
// for the second's.
func TestG4_LateAnswerIsNotTheOutcome(t *testing.T) {
	r, _ := newRig(t, func(p *peer) {
		var late []byte
		for msg := range p.requests() {
			if msg.Op != ldapwire.OpModifyRequest {
				p.send(plainAnswer(msg))
				continue
			}
			req, _ := ldapwire.ParseModifyRequest(msg.Body)
			if mod, _ := req.Next(); string(mod.Type) == "description" {
				late = plainAnswer(msg)
				continue
			}
			p.send(late, ldapwire.AppendResult(nil, msg.ID, ldapwire.OpModifyResponse, ldapwire.ResultInsufficientAccessRights, "", "no"))
		}
	})
	c := r.dial()
	c.bind(1)
	c.send(
		ldapwire.AppendModifyRequest(nil, 5, aliceDN, ldapwire.Mod{Op: ldapwire.ModReplace, Type: "description", Values: [][]byte{[]byte("x")}}),
		ldapwire.AppendAbandonRequest(nil, 3, 5),
		changePassword(t, 5, "old", "Attacker.Knows1"),
	)
	c.wantResult(ldapwire.OpModifyResponse, 5, ldapwire.ResultBusy)
	if n := r.recorder.count(); n != 0 {
		t.Errorf("%d changes recorded, want none", n)
	}
	// Another ID is not suspect, and a bind gets a connection without suspicion.
	c.bind(5)
	c.send(changePassword(t, 5, "old", "New.Pass1"))
	c.wantResult(ldapwire.OpModifyResponse, 5, ldapwire.ResultInsufficientAccessRights)
	if o := r.recorder.outcome(1); o != identity.OutcomeRefused {
		t.Errorf("outcome %q, want refused", o)
	}
}

// TestG8_AbandonFlood: what is remembered of abandoned requests is bounded,
// and what can no longer be told apart is refused.
func TestG8_AbandonFlood(t *testing.T) {
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			if msg.Op != ldapwire.OpSearchRequest {
				p.send(plainAnswer(msg))
			}
		}
	})
	c := r.dial()
	c.bind(1)
	var all []byte
	for id := int32(10); id < 10+4*maxSuspect; id += 2 {
		all = ldapwire.AppendSearchRequest(all, id, ldapwire.SearchParams{})
		all = ldapwire.AppendAbandonRequest(all, id+1, id)
	}
	c.send(all, changePassword(t, 3, "a", "b"))
	c.wantResult(ldapwire.OpModifyResponse, 3, ldapwire.ResultBusy)
	c.bind(4)
}

func TestG4_MessageIDZero(t *testing.T) {
	for name, frame := range map[string][]byte{
		"change": changePassword(t, 0, "a", "b"),
		"bind":   ldapwire.AppendBindRequest(nil, 0, "CN=alice", []byte("x")),
		"search": ldapwire.AppendSearchRequest(nil, 0, ldapwire.SearchParams{}),
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newRig(t, answerAll)
			c := r.dial()
			c.bind(1)
			c.send(frame)
			c.wantNotice(ldapwire.ResultProtocolError)
			if n := r.recorder.count(); n != 0 {
				t.Errorf("%d changes recorded, want none", n)
			}
		})
	}
}

// TestG4_TargetNotRead: the DC's answer about the target must be one entry,
// or a clear no; else nothing is recorded and nothing sent.
func TestG4_TargetNotRead(t *testing.T) {
	entry := func(id int32, guid identity.GUID) []byte {
		return ldapwire.AppendSearchEntry(nil, id, aliceDN, []ldapwire.AttributeValues{{Type: "objectGUID", Values: [][]byte{guid[:]}}})
	}
	done := func(id int32, code ldapwire.ResultCode) []byte {
		return ldapwire.AppendSearchDone(nil, id, code, "", "")
	}
	tests := []struct {
		name   string
		answer func(id int32) []byte
	}{
		{"busy", func(id int32) []byte { return done(id, ldapwire.ResultBusy) }},
		{"time limit after the entry", func(id int32) []byte {
			return append(entry(id, aliceGUID), done(id, ldapwire.ResultTimeLimitExceeded)...)
		}},
		{"two entries", func(id int32) []byte {
			return bytes.Join([][]byte{entry(id, aliceGUID), entry(id, victimGUID), done(id, ldapwire.ResultSuccess)}, nil)
		}},
		{"an entry without a GUID", func(id int32) []byte {
			return append(ldapwire.AppendSearchEntry(nil, id, aliceDN, nil), done(id, ldapwire.ResultSuccess)...)
		}},
		{"another operation's answer", func(id int32) []byte {
			return ldapwire.AppendResult(nil, id, ldapwire.OpDelResponse, ldapwire.ResultSuccess, "", "")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := newRig(t, func(p *peer) {
				for msg := range p.requests() {
					switch msg.Op {
					case ldapwire.OpModifyRequest:
						t.Error("the change reached the DC")
					case ldapwire.OpSearchRequest:
						p.send(tt.answer(msg.ID))
					default:
						p.send(plainAnswer(msg))
					}
				}
			})
			c := r.dial()
			c.bind(1)
			c.send(changePassword(t, 2, "a", "b"))
			c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultBusy)
			if n := r.recorder.count(); n != 0 {
				t.Errorf("%d changes recorded, want none", n)
			}
			c.bind(3)
		})
	}
}

// TestG5_TargetIsReadWithinTheTurn: a session that had to wait records what
// the account was like after the other change, not before.
func TestG5_TargetIsReadWithinTheTurn(t *testing.T) {
	lastSet := make(chan string, 10)
	for _, v := range []string{"100", "100", "200"} { // first session; second before and after its turn
		lastSet <- v
	}
	working, release, reads := make(chan struct{}, 2), make(chan struct{}), make(chan struct{}, 10)
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			switch msg.Op {
			case ldapwire.OpModifyRequest:
				working <- struct{}{}
				<-release
				p.send(plainAnswer(msg))
			case ldapwire.OpSearchRequest:
				f := ldapwire.AppendSearchEntry(nil, msg.ID, aliceDN, []ldapwire.AttributeValues{
					{Type: "objectGUID", Values: [][]byte{aliceGUID[:]}}, {Type: "pwdLastSet", Values: [][]byte{[]byte(<-lastSet)}}})
				p.send(ldapwire.AppendSearchDone(f, msg.ID, ldapwire.ResultSuccess, "", ""))
				reads <- struct{}{}
			default:
				p.send(plainAnswer(msg))
			}
		}
	})
	first, second := r.dial(), r.dial()
	first.bind(1)
	second.bind(1)
	first.send(changePassword(t, 2, "a", "b"))
	receive(t, working, "the first change")
	second.send(changePassword(t, 2, "b", "c"))
	receive(t, reads, "the first session's reading of the target")
	receive(t, reads, "the second session's")
	close(release)
	first.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
	second.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
	if got := r.recorder.intents[1].PwdLastSet; got != 200 {
		t.Errorf("the second intent has pwdLastSet %d, want 200", got)
	}
}

// TestG8_SilentHandshakes: clients that connect and say nothing take no
// handshake slot away from those that speak.
func TestG8_SilentHandshakes(t *testing.T) {
	r, _ := newRig(t, answerAll, func(c *Config) { c.MaxHandshakes = 2 })
	for range 20 {
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	r.dial().bind(1)
}

func TestG8_PerAddress(t *testing.T) {
	r, _ := newRig(t, answerAll, func(c *Config) { c.MaxPerAddress = 2 })
	a, b := r.dial(), r.dial()
	a.bind(1)
	b.bind(1)
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("a third connection was not closed")
	}
	_ = a.conn.Close()
	receiveUntil(t, func() bool {
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = conn.Read(make([]byte, 1))
		ne, ok := err.(net.Error)
		return ok && ne.Timeout() // open, and waiting for the handshake
	})
}

func TestG8_Strangers(t *testing.T) {
	r, _ := newRig(t, answerAll, func(c *Config) { c.UnboundTimeout = 50 * time.Millisecond })
	r.dial().wantNotice(ldapwire.ResultUnavailable)
}

// TestShutdownHungDC: a DC that stops reading does not hold a hard stop up.
func TestShutdownHungDC(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	r, _ := newRig(t, func(p *peer) {
		for {
			msg, err := p.read()
			if err != nil {
				return
			}
			if msg.Op == ldapwire.OpSearchRequest {
				<-block
				return
			}
			p.send(plainAnswer(msg))
		}
	}, func(c *Config) { c.WriteTimeout = time.Hour; c.MaxOutstanding = 1 << 20 })
	c := r.dial()
	c.bind(1)
	base := string(bytes.Repeat([]byte("x"), 200<<10))
	// Once a write of the client does not end, every buffer on the way is full
	// and the session stuck in a write to the DC.
	_ = c.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	var err error
	for id := int32(10); err == nil; id++ {
		_, err = c.conn.Write(ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{BaseDN: base}))
	}
	if r.server.outstanding() == 0 {
		t.Fatalf("the session is not stuck: %v", err)
	}
	start := time.Now()
	if err := r.server.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("closed in %s", time.Since(start))
	_ = c.conn.Close()
}
