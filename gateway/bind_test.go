package gateway

import (
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

func TestG2_RefusedBinds(t *testing.T) {
	v2 := ldapwire.AppendBindRequest(nil, 5, "CN=alice", []byte("x"))
	for i := range v2 {
		if v2[i] == 0x60 { // the version follows the operation's header: 60 LL 02 01 03
			v2[i+4] = 2
			break
		}
	}
	tests := []struct {
		name  string
		frame []byte
		code  ldapwire.ResultCode
	}{
		{"name without a password", ldapwire.AppendBindRequest(nil, 5, "CN=alice", nil), ldapwire.ResultUnwillingToPerform},
		{"NUL in the password", ldapwire.AppendBindRequest(nil, 5, "CN=alice", []byte("Secret-1\x00junk")), ldapwire.ResultInvalidCredentials},
		{"version 2", v2, ldapwire.ResultProtocolError},
		{"SASL", ldapwire.AppendSASLBindRequest(nil, 5, "", "PLAIN", []byte("x")), ldapwire.ResultAuthMethodNotSupported},
		{"malformed", raw(5, ldapwire.OpBindRequest, []byte{2, 1, 3}), ldapwire.ResultProtocolError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			binds := make(chan int32, 10)
			r, dc := newRig(t, func(p *peer) {
				for msg := range p.requests() {
					if msg.Op == ldapwire.OpBindRequest {
						binds <- msg.ID
					}
					p.send(plainAnswer(msg))
				}
			})
			c := r.dial()
			c.bind(1)
			receive(t, binds, "the first bind")
			c.send(tt.frame)
			c.wantResult(ldapwire.OpBindResponse, 5, tt.code)
			// The identity of the first bind must be gone: a new DC connection,
			// and no second bind on either.
			c.send(ldapwire.AppendCompareRequest(nil, 6, aliceDN, "cn", []byte("x")))
			c.wantResult(ldapwire.OpCompareResponse, 6, ldapwire.ResultSuccess)
			if n := dc.accepted(); n != 2 {
				t.Errorf("the DC had %d connections, want 2", n)
			}
			if len(binds) != 0 {
				t.Error("the refused bind reached the DC")
			}
		})
	}
}

// TestG2_FailedBindLeavesAnonymous plays a DC that, like AD, keeps the
// earlier identity on a connection after a failed bind.
func TestG2_FailedBindLeavesAnonymous(t *testing.T) {
	r, dc := newRig(t, func(p *peer) {
		bound := false
		for msg := range p.requests() {
			code := ldapwire.ResultSuccess
			switch {
			case msg.Op == ldapwire.OpBindRequest && msg.ID == 2:
				code = ldapwire.ResultInvalidCredentials
			case msg.Op == ldapwire.OpBindRequest:
				bound = true
			case !bound:
				code = ldapwire.ResultOperationsError
			}
			p.send(ldapwire.AppendResult(nil, msg.ID, msg.Op.Response(), code, "",
				"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v4563\x00"))
		}
	})
	c := r.dial()
	c.bind(1)
	c.send(ldapwire.AppendBindRequest(nil, 2, "CN=alice", []byte("wrong")))
	res := c.wantResult(ldapwire.OpBindResponse, 2, ldapwire.ResultInvalidCredentials)
	if sub, ok := ldapwire.SubCode(res.Diagnostic); !ok || sub != 0x52e {
		t.Errorf("diagnostic %q, want AD's own with data 52e", res.Diagnostic)
	}
	c.send(ldapwire.AppendDelRequest(nil, 3, aliceDN))
	c.wantResult(ldapwire.OpDelResponse, 3, ldapwire.ResultOperationsError)
	if n := dc.accepted(); n != 2 {
		t.Errorf("the DC had %d connections, want 2: the first may not be used again", n)
	}
}

// TestG2_BindRunsAlone: a bind waits for what is outstanding, and nothing
// sent behind it is processed before it is answered.
func TestG2_BindRunsAlone(t *testing.T) {
	seen, release := make(chan ldapwire.Op, 10), make(chan struct{}, 2)
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			seen <- msg.Op
			if msg.Op != ldapwire.OpDelRequest {
				select {
				case <-release:
				case <-t.Context().Done(): // the test has failed
				}
			}
			p.send(plainAnswer(msg))
		}
	})
	c := r.dial()
	c.send(ldapwire.AppendCompareRequest(nil, 1, aliceDN, "cn", []byte("x")),
		ldapwire.AppendBindRequest(nil, 2, "CN=alice", []byte("x")),
		ldapwire.AppendDelRequest(nil, 3, aliceDN))
	for _, step := range []struct{ sees, answers ldapwire.Op }{
		{ldapwire.OpCompareRequest, ldapwire.OpCompareResponse}, {ldapwire.OpBindRequest, ldapwire.OpBindResponse}} {
		if op := receive(t, seen, "a request"); op != step.sees {
			t.Fatalf("the DC got %s, want %s", op, step.sees)
		}
		if len(seen) != 0 {
			t.Fatalf("the DC got %s while %s was outstanding", <-seen, step.sees)
		}
		release <- struct{}{}
		c.want(step.answers)
	}
	c.wantResult(ldapwire.OpDelResponse, 3, ldapwire.ResultSuccess)
}

// TestG2_BindDropsEndlessSearch: a change notification never ends by itself
// and must not keep a bind waiting for ever.
func TestG2_BindDropsEndlessSearch(t *testing.T) {
	r, dc := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			if msg.Op != ldapwire.OpSearchRequest {
				p.send(plainAnswer(msg))
			}
		}
	}, func(c *Config) { c.DrainTimeout = 20e6 })
	c := r.dial()
	c.bind(1)
	c.send(ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{}))
	c.bind(3)
	if n := dc.accepted(); n != 2 {
		t.Errorf("the DC had %d connections, want 2", n)
	}
}

func TestG2_AbandonedRequestIsNotWaitedFor(t *testing.T) {
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			if msg.Op != ldapwire.OpSearchRequest {
				p.send(plainAnswer(msg))
			}
		}
	})
	c := r.dial()
	c.send(ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{}), ldapwire.AppendAbandonRequest(nil, 3, 2))
	c.bind(4)
}

func TestReason(t *testing.T) {
	diag := func(sub string) []byte {
		return []byte("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data " + sub + ", v4563\x00")
	}
	tests := []struct {
		name            string
		code            ldapwire.ResultCode
		diag            []byte
		verdict, reason string
	}{
		{"accepted", ldapwire.ResultSuccess, nil, "accepted", "ok"},
		{"no such user", ldapwire.ResultInvalidCredentials, diag("525"), "refused", "no_such_user"},
		{"wrong password", ldapwire.ResultInvalidCredentials, diag("52e"), "refused", "bad_credentials"},
		{"logon hours", ldapwire.ResultInvalidCredentials, diag("530"), "refused", "not_permitted_now"},
		{"workstation", ldapwire.ResultInvalidCredentials, diag("531"), "refused", "not_permitted_now"},
		{"expired", ldapwire.ResultInvalidCredentials, diag("532"), "refused", "expired"},
		{"disabled", ldapwire.ResultInvalidCredentials, diag("533"), "refused", "disabled"},
		{"account expired", ldapwire.ResultInvalidCredentials, diag("701"), "refused", "account_expired"},
		{"must change", ldapwire.ResultInvalidCredentials, diag("773"), "refused", "must_change"},
		{"locked out", ldapwire.ResultInvalidCredentials, diag("775"), "refused", "locked_out"},

		// A refusal that cannot be explained is still a refusal.
		{"no diagnostic", ldapwire.ResultInvalidCredentials, nil, "refused", "unknown"},
		{"unlisted sub-code", ldapwire.ResultInvalidCredentials, diag("9999"), "refused", "unknown"},
		{"not ready", ldapwire.ResultUnavailable, diag("52e"), "undecided", "dc_unavailable"},
		{"refused by form", ldapwire.ResultUnwillingToPerform, nil, "refused", "not_permitted"},
		{"anything else", ldapwire.ResultOther, nil, "undecided", "other"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if v, r := Reason(tt.code, tt.diag); v != tt.verdict || r != tt.reason {
				t.Errorf("Reason(%s, %q) = %s, %s; want %s, %s", tt.code, tt.diag, v, r, tt.verdict, tt.reason)
			}
		})
	}
}
