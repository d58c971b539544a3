package gateway

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// TestG1_RareAnswers: answers that neither Samba nor the embedded AD gives pass
// byte for byte, and in order: referrals, limits, the outcomes of Cancel (RFC
// 3909), intermediate responses, result codes and fields of later versions.
func TestG1_RareAnswers(t *testing.T) {
	el := func(tag byte, contents ...[]byte) []byte {
		all := bytes.Join(contents, nil)
		if len(all) > 127 {
			return append([]byte{tag, 0x81, byte(len(all))}, all...)
		}
		return append([]byte{tag, byte(len(all))}, all...)
	}
	text := func(tag byte, s string) []byte { return el(tag, []byte(s)) }
	// answer is a response with a result and what follows it.
	answer := func(op ldapwire.Op, code byte, more ...[]byte) []byte {
		result := append([][]byte{{0x0a, 1, code}, text(4, "DC=corp"), text(4, "diagnostic")}, more...)
		return el(0x30, []byte{2, 1, 7}, el(byte(op), result...))
	}
	referral := el(0xa3, text(4, "ldap://dc2.corp.example.test/DC=corp??sub"), text(4, "ldaps://dc3.corp.example.test/"))
	entry := ldapwire.AppendSearchEntry(nil, 7, aliceDN, []ldapwire.AttributeValues{{Type: "objectGUID", Values: [][]byte{aliceGUID[:], {}}}})
	search := ldapwire.AppendSearchRequest(nil, 7, ldapwire.SearchParams{BaseDN: aliceDN, SizeLimit: 1, TimeLimit: 1})
	cancel := ldapwire.AppendExtendedRequest(nil, 7, ldapwire.OIDCancel, el(0x30, []byte{2, 1, 3}), true)
	compare := ldapwire.AppendCompareRequest(nil, 7, aliceDN, "cn", []byte("x"))
	for name, tt := range map[string]struct {
		ask    []byte
		answer [][]byte
	}{
		"referral of a search":       {search, [][]byte{answer(ldapwire.OpSearchResultDone, 10, referral)}},
		"referral of a compare":      {compare, [][]byte{answer(ldapwire.OpCompareResponse, 10, referral)}},
		"referral of a delete":       {ldapwire.AppendDelRequest(nil, 7, aliceDN), [][]byte{answer(ldapwire.OpDelResponse, 10, referral)}},
		"references between entries": {search, [][]byte{entry, el(0x30, []byte{2, 1, 7}, el(0x73, text(4, "ldap://a/"), text(4, "ldap://b/"))), entry, answer(ldapwire.OpSearchResultDone, 0)}},
		"size limit":                 {search, [][]byte{entry, entry, answer(ldapwire.OpSearchResultDone, 4)}},
		"time limit":                 {search, [][]byte{entry, answer(ldapwire.OpSearchResultDone, 3)}},
		"administrative limit":       {search, [][]byte{answer(ldapwire.OpSearchResultDone, 11)}},
		"cancelled":                  {cancel, [][]byte{answer(ldapwire.OpExtendedResponse, 0)}},
		"cancel of nothing":          {cancel, [][]byte{answer(ldapwire.OpExtendedResponse, 119)}},
		"cancel, too late":           {cancel, [][]byte{answer(ldapwire.OpExtendedResponse, 120)}},
		"search that was cancelled":  {search, [][]byte{entry, answer(ldapwire.OpSearchResultDone, 118)}},
		"intermediate responses":     {search, [][]byte{el(0x30, []byte{2, 1, 7}, el(0x79, text(0x80, "1.2.3"), text(0x81, "x"))), entry, el(0x30, []byte{2, 1, 7}, el(0x79)), answer(ldapwire.OpSearchResultDone, 0)}},
		"unknown result and field":   {compare, [][]byte{answer(ldapwire.OpCompareResponse, 99, text(0x9e, "later"))}},
		"controls of an entry": {search, [][]byte{el(0x30, []byte{2, 1, 7}, el(0x64, text(4, aliceDN), el(0x30)), el(0xa0, el(0x30, text(4, "1.2.3"), text(4, "\x00\xff")))),
			answer(ldapwire.OpSearchResultDone, 0)}},
		"unsolicited, before the answer": {compare, [][]byte{el(0x30, []byte{2, 1, 0}, el(0x78, []byte{0x0a, 1, 0}, text(4, ""), text(4, ""), text(0x8a, "1.2.3.4"))),
			answer(ldapwire.OpCompareResponse, 6)}},
		"lengths as Windows writes them": {compare, [][]byte{{0x30, 0x84, 0, 0, 0, 16, 2, 1, 7, 0x6f, 0x84, 0, 0, 0, 7, 0x0a, 1, 6, 4, 0, 4, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newRig(t, func(p *peer) {
				msg, err := p.read()
				if err != nil {
					return
				}
				if !bytes.Equal(msg.Raw, tt.ask) {
					t.Errorf("the DC got %x, want %x", msg.Raw, tt.ask)
				}
				p.send(tt.answer...)
				_, _ = p.read()
			})
			c := r.dial()
			c.send(tt.ask)
			for i, want := range tt.answer {
				if msg, err := c.read(); err != nil || !bytes.Equal(msg.Raw, want) {
					t.Fatalf("message %d: got %x, %v; want %x", i, msg.Raw, err, want)
				}
			}
		})
	}
}

// TestG9_SASLSessionIsNotMoved: nobody can make its bind again, and the simple
// bind before it was somebody else's.
func TestG9_SASLSessionIsNotMoved(t *testing.T) {
	d := newSASLDC()
	var conns atomic.Int32
	r, _ := newRig(t, func(p *peer) { conns.Add(1); d.serve(p) }, relaySASL, func(c *Config) { c.Reconnect = true })
	d.spoken = func(p *peer) { _, _ = p.read() } // and ends
	c := r.dial()
	c.bind(1)
	c.sasl(2, "GSS-SPNEGO", "right", ldapwire.ResultSuccess)
	c.send(ldapwire.AppendCompareRequest(nil, 3, aliceDN, "cn", []byte("x")))
	c.wantResult(ldapwire.OpCompareResponse, 3, ldapwire.ResultUnavailable)
	c.wantNotice(ldapwire.ResultUnavailable)
	if n := conns.Load(); n != 1 || len(d.simple) != 1 {
		t.Errorf("%d DC connections and %d simple binds, want 1 and 1", n, len(d.simple))
	}
}
