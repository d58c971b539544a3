package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// TestG9_OwnPasswordChanged: a session that changed its own password is bound
// with the new one at its next DC, and any other with that of its bind.
func TestG9_OwnPasswordChanged(t *testing.T) {
	const bobDN = "CN=bob,OU=People,DC=corp,DC=example,DC=test"
	reset := func(dn string) []byte {
		return ldapwire.AppendModifyRequest(nil, 2, dn, ldapwire.Mod{Op: ldapwire.ModReplace, Type: "unicodePwd", Values: [][]byte{quoted(t, "Neu-2")}})
	}
	plain := ldapwire.AppendModifyRequest(nil, 2, aliceDN, modOf(ldapwire.ModReplace, "userPassword", "Neu-2"))
	uncaptured := func(r *rig) { r.server.cfg.Domains()[0].Capture = false }
	for _, tt := range []struct {
		name    string
		request []byte
		code    ldapwire.ResultCode
		guard   bool
		prepare func(*rig)
		want    string
	}{
		{"change", changePassword(t, 2, "Secret-1", "Neu-2"), ldapwire.ResultSuccess, false, nil, "Neu-2"},
		{"change with the guard", changePassword(t, 2, "Secret-1", "Neu-2"), ldapwire.ResultSuccess, true, nil, "Neu-2"},
		{"reset", reset(aliceDN), ldapwire.ResultSuccess, false, nil, "Neu-2"},
		{"refused", changePassword(t, 2, "Secret-1", "Neu-2"), ldapwire.ResultConstraintViolation, false, nil, "Secret-1"},
		{"another's", reset(bobDN), ldapwire.ResultSuccess, false, nil, "Secret-1"},
		{"not captured", changePassword(t, 2, "Secret-1", "Neu-2"), ldapwire.ResultSuccess, true, uncaptured, "Neu-2"},
		{"not captured, and translated", plain, ldapwire.ResultSuccess, false, uncaptured, "Neu-2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, dcs := newPairRig(t, func(c *Config) { c.LockoutGuard = tt.guard })
			if tt.prepare != nil {
				tt.prepare(r)
			}
			alice := newTeachingDC(24 * time.Hour)
			dcs.a.answer = func(msg ldapwire.Message) []byte {
				switch msg.Op {
				case ldapwire.OpModifyRequest:
					return ldapwire.AppendResult(nil, msg.ID, ldapwire.OpModifyResponse, tt.code, "", "")
				case ldapwire.OpSearchRequest:
					if req, err := ldapwire.ParseSearchRequest(msg.Body); err == nil && strings.EqualFold(string(req.BaseDN), bobDN) {
						frame := ldapwire.AppendSearchEntry(nil, msg.ID, bobDN, []ldapwire.AttributeValues{{Type: "objectGUID", Values: [][]byte{[]byte("another's GUID..")}}})
						return ldapwire.AppendSearchDone(frame, msg.ID, ldapwire.ResultSuccess, "", "")
					}
					return alice.search(msg)
				}
				return plainAnswer(msg)
			}
			c := r.dial()
			c.bind(1)
			c.send(tt.request)
			c.wantResult(ldapwire.OpModifyResponse, 2, tt.code)
			c.wantSilence(3) // so that what follows the change is over
			dcs.kill(r)
			c.wantSilence(4)
			dcs.b.wantOps(t, ldapwire.OpBindRequest, ldapwire.OpCompareRequest)
			again := dcs.b.asked[0]
			req, err := ldapwire.ParseBindRequest(again.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(req.Password(again.Body).Expose()); got != tt.want || string(req.Name) != "CN=alice" {
				t.Errorf("bound again as %s with %q, want %q", req.Name, got, tt.want)
			}
		})
	}
}

// TestG9_LostAfterChange: when the DC is lost before it said whose password was
// changed, a change is taken for one of the session's own, and the old password
// is not tried elsewhere.
func TestG9_LostAfterChange(t *testing.T) {
	r, dcs := newPairRig(t)
	dcs.a.answer = func(msg ldapwire.Message) []byte {
		if msg.Op == ldapwire.OpModifyRequest {
			dcs.a.lose = ldapwire.OpSearchRequest // on this one connection
		}
		return plainAnswer(msg)
	}
	c := r.dial()
	c.bind(1)
	dcs.dialled.Store(dcs.b)
	c.send(changePassword(t, 2, "Secret-1", "Neu-2"))
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
	c.wantNotice(ldapwire.ResultUnavailable)
	dcs.b.wantOps(t)
}
