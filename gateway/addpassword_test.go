package gateway

import (
	"strings"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
)

func TestG4_Add(t *testing.T) {
	attr := attrOf
	q := func(password string) string { return string(quoted(t, password)) }
	for _, tt := range []struct {
		name       string
		attrs      []ldapwire.AttributeValues
		sent       string
		mustChange bool
		code       ldapwire.ResultCode
	}{
		{"quoted", []ldapwire.AttributeValues{attr("objectClass", "user"), attr("UNICODEPWD;x", q("Neü-1"))}, `with objectClass user; with UNICODEPWD;x `, false, 0},
		{"the last value wins", []ldapwire.AttributeValues{attr("unicodePwd", q("a"), q("b")), attr("unicodePwd", q("Neü-1"))}, `with unicodePwd "a" "b"; with unicodePwd "Neü-1"`, false, 0},
		{"plain", []ldapwire.AttributeValues{attr("userPassword", "Neü-1"), attr("objectClass", "top", "user"), attr("pwdLastSet", "0")},
			`with unicodePwd "Neü-1"; with objectClass top user; with pwdLastSet 0`, true, 0},
		{"hash", []ldapwire.AttributeValues{attr("userPassword", "{MD5}x")}, "", false, ldapwire.ResultUnwillingToPerform},
		{"two values", []ldapwire.AttributeValues{attr("userPassword", "a", "b")}, "", false, ldapwire.ResultConstraintViolation},
		{"both", []ldapwire.AttributeValues{attr("userPassword", "a"), attr("unicodePwd", q("a"))}, "", false, ldapwire.ResultUnwillingToPerform},
		{"unquoted", []ldapwire.AttributeValues{attr("unicodePwd", "abcd")}, "", false, ldapwire.ResultUnwillingToPerform},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d directory
			r, _ := newRig(t, d.serve)
			c := r.dial()
			c.bind(1)
			c.send(ldapwire.AppendAddRequest(nil, 2, aliceDN, tt.attrs))
			c.wantResult(ldapwire.OpAddResponse, 2, tt.code)
			if tt.sent == "" {
				if n, _ := d.counts(); n != 0 || r.recorder.count() != 0 {
					t.Errorf("%d writes reached the DC, %d were recorded", n, r.recorder.count())
				}
				return
			}
			if got := attrs(t, d.write(t)); !strings.HasPrefix(got, aliceDN+"; "+tt.sent) {
				t.Errorf("the DC got %s\nwant %s", got, tt.sent)
			}
			want := identity.Change{Kind: identity.PasswordAdd, DC: "scripted", Direction: identity.Import, Actor: "CN=alice", MustChange: tt.mustChange,
				Account: identity.Account{Domain: "corp.example.test", DN: aliceDN}}
			if got := r.recorder.intents[0]; got != want || r.recorder.passwords[0] != "Neü-1" {
				t.Errorf("recorded %+v with %q\nwant %+v", got, r.recorder.passwords[0], want)
			}
			found := identity.Account{Domain: "corp.example.test", GUID: aliceGUID, DN: aliceDN, SAM: "alice"}
			if got := r.recorder.accounts[1]; got != found || r.recorder.outcome(1) != identity.OutcomeAccepted {
				t.Errorf("settled as %+v, %s, want %+v, accepted", got, r.recorder.outcome(1), found)
			}
		})
	}
	t.Run("without a password", func(t *testing.T) {
		var d directory
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.send(ldapwire.AppendAddRequest(nil, 2, aliceDN, []ldapwire.AttributeValues{attr("objectClass", "user")}))
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultSuccess)
		if r.recorder.count() != 0 {
			t.Error("an Add without a password was recorded")
		}
	})
}

// TestG4_AddOutcomes: what is not known about a new account is said.
func TestG4_AddOutcomes(t *testing.T) {
	request := ldapwire.AppendAddRequest(nil, 2, aliceDN, []ldapwire.AttributeValues{{Type: "unicodePwd", Values: [][]byte{quoted(t, "Neü-1")}}})
	result := func(code ldapwire.ResultCode) func(ldapwire.Message) []byte {
		return func(msg ldapwire.Message) []byte {
			return ldapwire.AppendResult(nil, msg.ID, msg.Op.Response(), code, "", "00000524: exists")
		}
	}
	t.Run("refused", func(t *testing.T) {
		d := directory{answer: result(ldapwire.ResultEntryAlreadyExists)}
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultEntryAlreadyExists)
		if o := r.recorder.outcome(1); o != identity.OutcomeRefused || r.recorder.reasons[1] != "entryAlreadyExists: 00000524: exists" {
			t.Errorf("outcome %q, %q", o, r.recorder.reasons[1])
		}
	})
	t.Run("accepted and hidden", func(t *testing.T) {
		d := directory{hidden: true}
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultSuccess)
		if _, known := r.recorder.accounts[1]; known || r.recorder.outcome(1) != identity.OutcomeAccepted || !strings.Contains(r.recorder.reasons[1], "objectGUID") {
			t.Errorf("outcome %q, %q, account %v", r.recorder.outcome(1), r.recorder.reasons[1], r.recorder.accounts[1])
		}
		c.bind(3)
	})
	t.Run("accepted, and the DC is gone", func(t *testing.T) {
		r, _ := newRig(t, func(p *peer) {
			for {
				msg, err := p.read()
				if err != nil || msg.Op == ldapwire.OpSearchRequest {
					return
				}
				p.send(plainAnswer(msg))
			}
		})
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultSuccess)
		c.wantNotice(ldapwire.ResultUnavailable)
		if o := r.recorder.outcome(1); o != identity.OutcomeAccepted {
			t.Errorf("outcome %q, want accepted", o)
		}
	})
	t.Run("accepted, and the DC says no more", func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		r, _ := newRig(t, func(p *peer) {
			for {
				msg, err := p.read()
				if err != nil {
					return
				}
				if msg.Op == ldapwire.OpSearchRequest {
					<-release
					return
				}
				p.send(plainAnswer(msg))
			}
		}, func(c *Config) { c.BindTimeout = 1e9 })
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultSuccess)
		c.wantNotice(ldapwire.ResultUnavailable)
		if o := r.recorder.outcome(1); o != identity.OutcomeAccepted || !strings.Contains(r.recorder.reasons[1], "objectGUID") {
			t.Errorf("outcome %q, %q, want accepted, and why the account is not known", o, r.recorder.reasons[1])
		}
	})
	t.Run("unanswered", func(t *testing.T) {
		d := directory{answer: func(ldapwire.Message) []byte { return nil }}
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultUnavailable)
		c.wantNotice(ldapwire.ResultUnavailable)
		if o := r.recorder.outcome(1); o != identity.OutcomeUnknown {
			t.Errorf("outcome %q, want unknown", o)
		}
	})
	t.Run("answered with something else", func(t *testing.T) {
		d := directory{answer: func(msg ldapwire.Message) []byte {
			return ldapwire.AppendResult(nil, msg.ID, ldapwire.OpModifyResponse, ldapwire.ResultSuccess, "", "")
		}}
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultUnavailable)
		if o := r.recorder.outcome(1); o != identity.OutcomeUnknown {
			t.Errorf("outcome %q, want unknown", o)
		}
	})
}
