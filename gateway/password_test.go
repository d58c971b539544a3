package gateway

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
)

func quoted(t *testing.T, password string) []byte {
	t.Helper()
	b, err := ldapwire.AppendUnicodePwd(nil, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func changePassword(t *testing.T, id int32, from, to string) []byte {
	t.Helper()
	return ldapwire.AppendModifyRequest(nil, id, aliceDN,
		ldapwire.Mod{Op: ldapwire.ModDelete, Type: "unicodePwd", Values: [][]byte{quoted(t, from)}},
		ldapwire.Mod{Op: ldapwire.ModAdd, Type: "unicodePwd", Values: [][]byte{quoted(t, to)}})
}

// TestG5_IntentBeforeDCOutcomeBeforeClient holds the order that durability
// rests on.
func TestG5_IntentBeforeDCOutcomeBeforeClient(t *testing.T) {
	steps := make(chan string, 10)
	request := changePassword(t, 2, "Old-1", "Neu-2-Pässwörd😀")

	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			if msg.Op == ldapwire.OpModifyRequest {
				if !bytes.Equal(msg.Raw, request) {
					t.Errorf("the DC got %x, want %x", msg.Raw, request)
				}
				steps <- "dc"
			}
			p.send(plainAnswer(msg))
		}
	}, func(c *Config) {
		rec := c.Capture.(*recorder)
		rec.onIntent = func() { steps <- "intent" }
		rec.onSettle = func() { steps <- "outcome" }
	})

	c := r.dial()
	c.bind(1)
	c.send(request)
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
	steps <- "client"
	for _, want := range []string{"intent", "dc", "outcome", "client"} {
		if got := receive(t, steps, want); got != want {
			t.Fatalf("got step %q, want %q", got, want)
		}
	}
	rec := r.recorder
	want := identity.Change{Kind: identity.PasswordChange, DC: "scripted", Direction: identity.Import, Actor: "CN=alice", PwdLastSet: 134000000000000000,
		Account: identity.Account{Domain: "corp.example.test", GUID: aliceGUID, DN: aliceDN, SAM: "alice"}}
	if rec.intents[0] != want {
		t.Errorf("recorded %+v, want %+v", rec.intents[0], want)
	}
	if rec.passwords[0] != "Neu-2-Pässwörd😀" {
		t.Errorf("recorded another password than the one sent")
	}
	if o := rec.outcome(1); o != identity.OutcomeAccepted {
		t.Errorf("outcome %s, want accepted", o)
	}
}

func TestG4_Forms(t *testing.T) {
	old, first, last := quoted(t, "Old-1"), quoted(t, "First-1"), quoted(t, "Last-1")
	mod := func(op ldapwire.ModOp, typ string, values ...[]byte) ldapwire.Mod {
		return ldapwire.Mod{Op: op, Type: typ, Values: values}
	}
	replace, add, del := ldapwire.ModReplace, ldapwire.ModAdd, ldapwire.ModDelete
	tests := []struct {
		name       string
		mods       []ldapwire.Mod
		kind       identity.ChangeKind
		password   string // empty: not captured
		mustChange bool
		code       ldapwire.ResultCode // of the gateway's refusal
	}{
		{"change", []ldapwire.Mod{mod(del, "unicodePwd", old), mod(add, "unicodePwd", last)}, identity.PasswordChange, "Last-1", false, 0},
		{"change, add first", []ldapwire.Mod{mod(add, "unicodePwd", last), mod(del, "unicodePwd", old)}, identity.PasswordChange, "Last-1", false, 0},
		{"reset", []ldapwire.Mod{mod(replace, "unicodePwd", last)}, identity.PasswordReset, "Last-1", false, 0},
		{"reset by delete without a value", []ldapwire.Mod{mod(del, "unicodePwd"), mod(add, "unicodePwd", last)}, identity.PasswordReset, "Last-1", false, 0},
		{"the last value wins", []ldapwire.Mod{mod(replace, "unicodePwd", first, last)}, identity.PasswordReset, "Last-1", false, 0},
		{"the last replace wins", []ldapwire.Mod{mod(replace, "unicodePwd", first), mod(replace, "unicodePwd", last)}, identity.PasswordReset, "Last-1", false, 0},
		{"any case, an option", []ldapwire.Mod{mod(replace, "UNICODEPWD;x-y", last)}, identity.PasswordReset, "Last-1", false, 0},
		{"OID", []ldapwire.Mod{mod(replace, "1.2.840.113556.1.4.90", last)}, identity.PasswordReset, "Last-1", false, 0},
		{"among others", []ldapwire.Mod{mod(replace, "description", []byte("x")), mod(replace, "unicodePwd", last), mod(del, "title")}, identity.PasswordReset, "Last-1", false, 0},
		{"temporary", []ldapwire.Mod{mod(replace, "unicodePwd", last), mod(replace, "pwdLastSet", []byte("0"))}, identity.PasswordReset, "Last-1", true, 0},
		{"not temporary", []ldapwire.Mod{mod(replace, "unicodePwd", last), mod(replace, "pwdLastSet", []byte("-1"))}, identity.PasswordReset, "Last-1", false, 0},
		{"delete alone sets nothing", []ldapwire.Mod{mod(del, "unicodePwd", old)}, "", "", false, ldapwire.ResultSuccess},
		{"replace without a value sets nothing", []ldapwire.Mod{mod(replace, "unicodePwd")}, "", "", false, ldapwire.ResultSuccess},

		{"NUL", []ldapwire.Mod{mod(replace, "unicodePwd", []byte("\"\x00a\x00\x00\x00\"\x00"))}, "", "", false, ldapwire.ResultUnwillingToPerform},
		{"lone surrogate", []ldapwire.Mod{mod(replace, "unicodePwd", []byte("\"\x00\x00\xd8\"\x00"))}, "", "", false, ldapwire.ResultUnwillingToPerform},
		{"without quotes", []ldapwire.Mod{mod(replace, "unicodePwd", []byte("a\x00b\x00c\x00"))}, "", "", false, ldapwire.ResultUnwillingToPerform},
		{"UTF-8", []ldapwire.Mod{mod(replace, "unicodePwd", []byte(`"abc"`))}, "", "", false, ldapwire.ResultUnwillingToPerform},
		{"too long", []ldapwire.Mod{mod(replace, "unicodePwd", quoted(t, strings.Repeat("x", 4096)))}, "", "", false, ldapwire.ResultConstraintViolation},
		{"a published userPassword may be removed", []ldapwire.Mod{mod(del, "userPassword")}, "", "", false, ldapwire.ResultSuccess},
		{"empty", []ldapwire.Mod{mod(replace, "unicodePwd", []byte("\"\x00\"\x00"))}, "", "", false, ldapwire.ResultConstraintViolation},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := newRig(t, answerAll)
			c := r.dial()
			c.bind(1)
			c.send(ldapwire.AppendModifyRequest(nil, 2, aliceDN, tt.mods...))
			c.wantResult(ldapwire.OpModifyResponse, 2, tt.code)
			if tt.password == "" {
				if n := r.recorder.count(); n != 0 {
					t.Fatalf("%d changes recorded, want none", n)
				}
				return
			}
			if n := r.recorder.count(); n != 1 {
				t.Fatalf("%d changes recorded, want 1", n)
			}
			got := r.recorder.intents[0]
			if got.Kind != tt.kind || got.MustChange != tt.mustChange || r.recorder.passwords[0] != tt.password {
				t.Errorf("got %s, must change %v, password %q; want %s, %v, %q", got.Kind, got.MustChange, r.recorder.passwords[0], tt.kind, tt.mustChange, tt.password)
			}
		})
	}
}

// refuseModify is a DC that refuses password changes in AD's words.
func refuseModify(p *peer) {
	for msg := range p.requests() {
		if msg.Op == ldapwire.OpModifyRequest {
			p.send(ldapwire.AppendResult(nil, msg.ID, ldapwire.OpModifyResponse, ldapwire.ResultConstraintViolation, "", "0000052D: AtrErr: DSID-03191083"))
			continue
		}
		p.send(plainAnswer(msg))
	}
}

func TestG5_Refused(t *testing.T) {
	r, _ := newRig(t, refuseModify)
	c := r.dial()
	c.bind(1)
	c.send(changePassword(t, 2, "a", "b"))
	res := c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultConstraintViolation)
	if code, ok := ldapwire.Win32Code(res.Diagnostic); !ok || code != 0x52d {
		t.Errorf("diagnostic %q, want AD's own", res.Diagnostic)
	}
	if o := r.recorder.outcome(1); o != identity.OutcomeRefused {
		t.Errorf("outcome %q, want refused", o)
	}
	if want := "constraintViolation: 0000052D: AtrErr: DSID-03191083"; r.recorder.reasons[1] != want {
		t.Errorf("reason %q, want %q", r.recorder.reasons[1], want)
	}
}

func TestG5_NotRecordedIsNotSent(t *testing.T) {
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			if msg.Op == ldapwire.OpModifyRequest {
				t.Error("the change reached the DC")
			}
			p.send(plainAnswer(msg))
		}
	}, func(c *Config) { c.Capture.(*recorder).fail = errors.New("disk full") })
	c := r.dial()
	c.bind(1)
	c.send(changePassword(t, 2, "a", "b"))
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultUnavailable)
	c.bind(3) // binds go on
}

// TestG5_Unanswered: a change that was sent and not answered is unknown, and
// the client is told the truth.
func TestG5_Unanswered(t *testing.T) {
	r, dc := newRig(t, func(p *peer) {
		for {
			msg, err := p.read()
			if err != nil || msg.Op == ldapwire.OpModifyRequest {
				return
			}
			p.send(plainAnswer(msg))
		}
	})
	c := r.dial()
	c.bind(1)
	c.send(changePassword(t, 2, "a", "b"))
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultUnavailable)
	c.wantNotice(ldapwire.ResultUnavailable)
	if o := r.recorder.outcome(1); o != identity.OutcomeUnknown || r.recorder.reasons[1] == "" {
		t.Errorf("outcome %q %q, want unknown with a reason", o, r.recorder.reasons[1])
	}
	if n := dc.accepted(); n != 1 {
		t.Errorf("the DC had %d connections, want 1: nothing may be sent twice", n)
	}
}

// TestG4_VanishedClient: neither a client that hangs up nor an Abandon stops
// the DC's answer from being recorded.
func TestG4_VanishedClient(t *testing.T) {
	for name, leave := range map[string]func(*peer){
		"hangs up": func(c *peer) { _ = c.conn.Close() },
		"abandons": func(c *peer) { c.send(ldapwire.AppendAbandonRequest(nil, 3, 2)) },
	} {
		t.Run(name, func(t *testing.T) {
			got, release := make(chan struct{}), make(chan struct{})
			r, _ := newRig(t, func(p *peer) {
				for msg := range p.requests() {
					if msg.Op == ldapwire.OpModifyRequest {
						close(got)
						<-release
					}
					p.send(plainAnswer(msg))
				}
			})
			c := r.dial()
			c.bind(1)
			c.send(changePassword(t, 2, "a", "b"))
			receive(t, got, "the change")
			leave(c)
			close(release)
			receive(t, r.recorder.settled, "the outcome")
			if o := r.recorder.outcome(1); o != identity.OutcomeAccepted {
				t.Errorf("outcome %q, want accepted", o)
			}
		})
	}
}

// TestG5_HardStop: a server that is stopped hard while an answer is owed
// records unknown, not nothing.
func TestG5_HardStop(t *testing.T) {
	got := make(chan struct{})
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			if msg.Op == ldapwire.OpModifyRequest {
				close(got)
				continue
			}
			p.send(plainAnswer(msg))
		}
	})
	c := r.dial()
	c.bind(1)
	c.send(changePassword(t, 2, "a", "b"))
	receive(t, got, "the change")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = r.server.Shutdown(ctx)
	if o := r.recorder.outcome(1); o != identity.OutcomeUnknown {
		t.Errorf("outcome %q, want unknown", o)
	}
}

func TestG4_NotCaptured(t *testing.T) {
	t.Run("anonymous", func(t *testing.T) {
		r, dc := newRig(t, answerAll)
		c := r.dial()
		c.send(changePassword(t, 2, "a", "b"))
		c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultOperationsError)
		if n := r.recorder.count() + dc.accepted(); n != 0 {
			t.Errorf("a stranger's change was recorded or sent")
		}
	})
	t.Run("validate only", func(t *testing.T) {
		ca := certstest.New(t)
		r := newRigFor(t, ca, &Domain{Name: "corp.example.test", DCs: newScriptedDC(t, ca, answerAll)})
		c := r.dial()
		c.bind(1)
		c.send(changePassword(t, 2, "a", "b"))
		c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
		if n := r.recorder.count(); n != 0 {
			t.Errorf("%d changes recorded, want none", n)
		}
	})
	t.Run("unreadable target is recorded by its DN", func(t *testing.T) {
		r, _ := newRig(t, func(p *peer) {
			for msg := range p.requests() {
				if msg.Op == ldapwire.OpSearchRequest {
					p.send(ldapwire.AppendSearchDone(nil, msg.ID, ldapwire.ResultNoSuchObject, "", ""))
					continue
				}
				p.send(plainAnswer(msg))
			}
		})
		c := r.dial()
		c.bind(1)
		c.send(changePassword(t, 2, "a", "b"))
		c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
		if a := r.recorder.intents[0].Account; !a.GUID.IsZero() || a.DN != aliceDN {
			t.Errorf("recorded %+v, want the DN alone", a)
		}
	})
}

// TestG5_OneChangeOfAnAccountAtATime: the order of the log is the order of
// the DC, whichever sessions the changes come from.
func TestG5_OneChangeOfAnAccountAtATime(t *testing.T) {
	working := make(chan struct{}, 2)
	release := make(chan struct{})
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			if msg.Op == ldapwire.OpModifyRequest {
				working <- struct{}{}
				<-release
			}
			p.send(plainAnswer(msg))
		}
	}, func(c *Config) { c.BindTimeout = 100e6 })
	first, second := r.dial(), r.dial()
	first.bind(1)
	second.bind(1)
	first.send(changePassword(t, 2, "a", "b"))
	receive(t, working, "the first change")
	second.send(changePassword(t, 2, "a", "c"))
	second.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultBusy)
	if n := r.recorder.count(); n != 1 {
		t.Errorf("%d changes recorded while the first was not finished, want 1", n)
	}
	close(release)
	first.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
	second.send(changePassword(t, 3, "a", "c"))
	second.wantResult(ldapwire.OpModifyResponse, 3, ldapwire.ResultSuccess)
	receiveUntil(t, func() bool { return r.server.turns.len() == 0 })
}
