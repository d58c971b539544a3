package gateway

import (
	"strings"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
)

// passwdModify is a Password Modify request; nil fields are absent.
func passwdModify(id int32, user, from, to []byte) []byte {
	return ldapwire.AppendExtendedRequest(nil, id, ldapwire.OIDPasswordModify, ldapwire.AppendPasswdModifyValue(nil, user, from, to), true)
}

func filter(name, value string) string {
	return string(ldapwire.AppendEqualityFilter(nil, name, []byte(value)))
}

func TestG4_PasswordModify(t *testing.T) {
	text := func(s string) []byte { return []byte(s) }
	partition := func(netbios string) string {
		return string(ldapwire.AppendAndFilter(nil, text(filter("nETBIOSName", netbios)), text(filter("nCName", baseDN))))
	}
	names := map[string]int{
		filter("userPrincipalName", "a.l@other.test"): 1,
		filter("sAMAccountName", "alice"):             1,
		filter("sAMAccountName", "*"):                 1,
		filter("sAMAccountName", "twins"):             2,
		partition("CORP"):                             1,
	}
	const self = "<SID=" + aliceSID + ">"
	for _, tt := range []struct {
		name           string
		user, from, to []byte
		sent           string // empty: refused with code
		kind           identity.ChangeKind
		code           ldapwire.ResultCode
	}{
		{"one's own, with the old one", nil, text("Old-1"), text("Neü-1"), self + `; delete unicodePwd "Old-1"; add unicodePwd "Neü-1"`, identity.PasswordChange, 0},
		{"one's own, without", nil, nil, text("Neü-1"), self + `; replace unicodePwd "Neü-1"`, identity.PasswordReset, 0},
		{"by DN", text(aliceDN), nil, text("Neü-1"), aliceDN + `; replace unicodePwd "Neü-1"`, identity.PasswordReset, 0},
		{"by GUID", text("<GUID=" + aliceGUID.String() + ">"), nil, text("Neü-1"), "<GUID=" + aliceGUID.String() + `>; replace unicodePwd "Neü-1"`, identity.PasswordReset, 0},
		{"another's, with the old one", text("alice"), text("Old-1"), text("Neü-1"), aliceDN + `; delete unicodePwd "Old-1"; add unicodePwd "Neü-1"`, identity.PasswordChange, 0},
		{"by UPN", text("a.l@other.test"), nil, text("Neü-1"), aliceDN + `; replace unicodePwd "Neü-1"`, identity.PasswordReset, 0},
		{"by the UPN that all have", text("alice@CORP.example.test"), nil, text("Neü-1"), aliceDN + `; replace unicodePwd "Neü-1"`, identity.PasswordReset, 0},
		{"by NetBIOS name", text(`CORP\alice`), nil, text("Neü-1"), aliceDN + `; replace unicodePwd "Neü-1"`, identity.PasswordReset, 0},
		{"by a name that looks like a filter", text("*"), nil, text("Neü-1"), aliceDN + `; replace unicodePwd "Neü-1"`, identity.PasswordReset, 0},
		{"an old password like a hash", nil, text("{x}Old-1"), text("Neü-1"), self + `; delete unicodePwd "{x}Old-1"; add unicodePwd "Neü-1"`, identity.PasswordChange, 0},

		{"unknown", text("nobody"), nil, text("Neü-1"), "", "", ldapwire.ResultNoSuchObject},
		{"unknown UPN", text("alice@elsewhere.test"), nil, text("Neü-1"), "", "", ldapwire.ResultNoSuchObject},
		{"of another domain", text(`OTHER\alice`), nil, text("Neü-1"), "", "", ldapwire.ResultNoSuchObject},
		{"ambiguous", text("twins"), nil, text("Neü-1"), "", "", ldapwire.ResultUnwillingToPerform},
		{"nobody", text(""), nil, text("Neü-1"), "", "", ldapwire.ResultNoSuchObject},
		{"a name without end", text(strings.Repeat("x", 5000)), nil, text("Neü-1"), "", "", ldapwire.ResultNoSuchObject},
		{"a hash", nil, nil, text("{SSHA}x"), "", "", ldapwire.ResultUnwillingToPerform},
		{"NUL", nil, nil, text("a\x00"), "", "", ldapwire.ResultUnwillingToPerform},
		{"not UTF-8", nil, nil, text("\xff"), "", "", ldapwire.ResultUnwillingToPerform},
		{"empty", nil, nil, text(""), "", "", ldapwire.ResultConstraintViolation},
		{"an empty old one", nil, text(""), text("Neü-1"), "", "", ldapwire.ResultConstraintViolation},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := directory{names: names}
			r, _ := newRig(t, d.serve)
			c := r.dial()
			c.bind(1)
			c.send(passwdModify(2, tt.user, tt.from, tt.to))
			c.wantResult(ldapwire.OpExtendedResponse, 2, tt.code)
			if tt.sent == "" {
				if n, _ := d.counts(); n != 0 || r.recorder.count() != 0 {
					t.Errorf("%d writes reached the DC, %d were recorded, want none", n, r.recorder.count())
				}
				c.bind(3) // the session goes on
				return
			}
			if got := attrs(t, d.write(t)); got != tt.sent {
				t.Errorf("the DC got %s\nwant %s", got, tt.sent)
			}
			want := identity.Change{Kind: tt.kind, DC: "scripted", Direction: identity.Import, Actor: "CN=alice", PwdLastSet: 134000000000000000,
				Account: identity.Account{Domain: "corp.example.test", GUID: aliceGUID, DN: aliceDN, SAM: "alice"}}
			if got := r.recorder.intents[0]; got != want || r.recorder.passwords[0] != "Neü-1" || r.recorder.outcome(1) != identity.OutcomeAccepted {
				t.Errorf("recorded %+v, %s, with %q\nwant %+v", got, r.recorder.outcome(1), r.recorder.passwords[0], want)
			}
		})
	}
}

func TestG4_GeneratedPassword(t *testing.T) {
	for name, from := range map[string][]byte{"reset": nil, "change": []byte("Old-1")} {
		t.Run(name, func(t *testing.T) {
			var d directory
			r, _ := newRig(t, d.serve)
			c := r.dial()
			c.bind(1)
			c.send(passwdModify(2, []byte(aliceDN), from, nil))
			msg := c.want(ldapwire.OpExtendedResponse)
			res, err := ldapwire.ParseExtendedResponse(msg.Body)
			if err != nil || res.Code != ldapwire.ResultSuccess || res.HasName {
				t.Fatalf("got %v, %v", res, err)
			}
			generated, ok, err := ldapwire.ParsePasswdModifyResponse(res.Value)
			if err != nil || !ok {
				t.Fatalf("no password in the answer: %v", err)
			}
			password := string(generated.Expose())
			if r.recorder.passwords[0] != password || !strings.HasSuffix(attrs(t, d.write(t)), ` unicodePwd "`+password+`"`) {
				t.Errorf("the client, the DC and the log got different passwords")
			}
		})
	}
}

// TestG4_GeneratedPasswordRefused: what was not set is not told.
func TestG4_GeneratedPasswordRefused(t *testing.T) {
	d := directory{answer: func(msg ldapwire.Message) []byte {
		return ldapwire.AppendResult(nil, msg.ID, msg.Op.Response(), ldapwire.ResultConstraintViolation, "", "0000052D: AtrErr")
	}}
	r, _ := newRig(t, d.serve)
	c := r.dial()
	c.bind(1)
	c.send(passwdModify(2, nil, nil, nil))
	res, err := ldapwire.ParseExtendedResponse(c.want(ldapwire.OpExtendedResponse).Body)
	if err != nil || res.Code != ldapwire.ResultConstraintViolation || string(res.Diagnostic) != "0000052D: AtrErr" || res.HasValue {
		t.Errorf("got %v (%q), %v, want AD's own refusal and no password", res, res.Diagnostic, err)
	}
	if o := r.recorder.outcome(1); o != identity.OutcomeRefused {
		t.Errorf("outcome %q, want refused", o)
	}
}

func TestG4_PasswordModifyBadRequests(t *testing.T) {
	var d directory
	r, _ := newRig(t, d.serve)
	c := r.dial()
	c.send(passwdModify(1, []byte(aliceDN), []byte("Old-1"), []byte("Neü-1")))
	c.wantResult(ldapwire.OpExtendedResponse, 1, ldapwire.ResultOperationsError)
	c.bind(2)
	for i, value := range [][]byte{{}, {0x30, 0x05, 0x81}, {0x30, 0x04, 0x82, 0, 0x81, 0}, {0x30, 0, 0}} {
		id := int32(3 + i)
		c.send(ldapwire.AppendExtendedRequest(nil, id, ldapwire.OIDPasswordModify, value, true))
		c.wantResult(ldapwire.OpExtendedResponse, id, ldapwire.ResultProtocolError)
	}
	if n, _ := d.counts(); n != 0 {
		t.Errorf("%d writes reached the DC", n)
	}
	// Without a value it is: generate one for me.
	c.send(ldapwire.AppendExtendedRequest(nil, 20, ldapwire.OIDPasswordModify, nil, false))
	c.wantResult(ldapwire.OpExtendedResponse, 20, ldapwire.ResultSuccess)
	if n, _ := d.counts(); n != 1 {
		t.Errorf("%d writes reached the DC, want 1", n)
	}
}

// TestG4_PasswordModifyLost: a DC that vanishes before the write, and one that
// vanishes with it.
func TestG4_PasswordModifyLost(t *testing.T) {
	t.Run("before", func(t *testing.T) {
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
		c.send(passwdModify(2, nil, []byte("Old-1"), []byte("Neü-1")))
		c.wantResult(ldapwire.OpExtendedResponse, 2, ldapwire.ResultUnavailable)
		c.wantNotice(ldapwire.ResultUnavailable)
		if n := r.recorder.count(); n != 0 {
			t.Errorf("%d changes recorded, want none", n)
		}
	})
	t.Run("with it", func(t *testing.T) {
		d := directory{answer: func(ldapwire.Message) []byte { return nil }}
		r, dc := newRig(t, d.serve)
		c := r.dial()
		c.bind(1)
		c.send(passwdModify(2, nil, []byte("Old-1"), []byte("Neü-1")))
		c.wantResult(ldapwire.OpExtendedResponse, 2, ldapwire.ResultUnavailable)
		c.wantNotice(ldapwire.ResultUnavailable)
		if o := r.recorder.outcome(1); o != identity.OutcomeUnknown {
			t.Errorf("outcome %q, want unknown", o)
		}
		if n := dc.accepted(); n != 1 {
			t.Errorf("the DC had %d connections, want 1: nothing may be sent twice", n)
		}
	})
}

// TestG4_NotSaidWhoIsBound: nobody's password is changed by guess.
func TestG4_NotSaidWhoIsBound(t *testing.T) {
	r, _ := newRig(t, answerAll) // its root DSE has no tokenGroups
	c := r.dial()
	c.bind(1)
	c.send(passwdModify(2, nil, []byte("Old-1"), []byte("Neü-1")))
	c.wantResult(ldapwire.OpExtendedResponse, 2, ldapwire.ResultUnwillingToPerform)
	if n := r.recorder.count(); n != 0 {
		t.Errorf("%d changes recorded, want none", n)
	}
}
