package plan

import (
	"strings"
	"testing"
	"time"

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

// TestP2_OvertakenChange: AD tells that a pending password is an old one, also
// when the store has forgotten what came after it.
func TestP2_OvertakenChange(t *testing.T) {
	since := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	units := func(at time.Time) int64 { return (at.Unix() + 11_644_473_600) * 10_000_000 }
	for _, tt := range []struct {
		name  string
		since time.Time
		set   int64
		verb  Verb
	}{
		{"set by the change", since, units(since), SetPassword},
		{"set a moment later by another clock", since, units(since.Add(30 * time.Minute)), SetPassword},
		{"set again", since, units(since.Add(2 * time.Hour)), DeadLetter},
		{"set again and retried", since.Add(3 * time.Hour), units(since.Add(2 * time.Hour)), SetPassword},
		{"not readable", since, 0, SetPassword},
		{"acceptance not known", time.Time{}, units(since), SetPassword},
	} {
		got := Password(PasswordCase{
			Change: identity.Change{Seq: 7, Kind: identity.PasswordChange, Account: identity.Account{GUID: identity.GUID{1}}},
			Since:  tt.since,
			AD:     &identity.User{Username: "alice", InScope: true, PwdLastSet: tt.set},
			Link:   &identity.Link{JumpCloudID: "j1", Username: "alice"}, Linked: &identity.User{ID: "j1"},
		})
		if got.Verb != tt.verb || tt.verb == DeadLetter && !strings.Contains(got.Reason, "changelog discard 7") {
			t.Errorf("%s: got %s (%s), want %s", tt.name, got.Verb, got.Reason, tt.verb)
		}
	}
}
