package plan

import (
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// TestG6_OvertakenBind: a password that a bind proved is given up when AD has
// another by now; what the account's own change set is not judged by that.
func TestG6_OvertakenBind(t *testing.T) {
	link := &identity.Link{JumpCloudID: "j1", Username: "alice"}
	for _, tt := range []struct {
		name string
		kind identity.ChangeKind
		now  int64
		verb Verb
	}{
		{"the same", identity.PasswordBind, 100, SetPassword},
		{"changed since", identity.PasswordBind, 101, Discard},
		{"a controller that lags behind", identity.PasswordBind, 99, SetPassword},
		{"not readable", identity.PasswordBind, 0, SetPassword},
		{"a change moves it", identity.PasswordChange, 101, SetPassword},
	} {
		got := Password(PasswordCase{
			Change: identity.Change{Seq: 7, Kind: tt.kind, PwdLastSet: 100, Account: identity.Account{GUID: identity.GUID{1}}},
			AD:     &identity.User{Username: "alice", InScope: true, PwdLastSet: tt.now},
			Link:   link, Linked: &identity.User{ID: "j1"},
		})
		if got.Verb != tt.verb || tt.verb == Discard && !strings.Contains(got.Reason, "changed in AD after") {
			t.Errorf("%s: got %s (%s), want %s", tt.name, got.Verb, got.Reason, tt.verb)
		}
	}
}
