package plan

import (
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

func TestPassword(t *testing.T) {
	alice := identity.User{Side: identity.AD, Username: "Alice", Mail: "alice@corp.example", UPN: "alice@corp.local", InScope: true}
	with := func(change func(*identity.User)) *identity.User {
		u := alice
		change(&u)
		return &u
	}
	jc := func(id, name, mail string) identity.User {
		return identity.User{Side: identity.JumpCloud, ID: id, Username: name, Mail: mail}
	}
	link := &identity.Link{JumpCloudID: "j1", Username: "alice"}
	tests := []struct {
		name   string
		c      PasswordCase
		verb   Verb
		user   string
		join   bool
		reason string // a part of it
	}{
		{"I3 joined by username and mail", PasswordCase{AD: &alice, Candidates: []identity.User{jc("j1", "alice", "ALICE@corp.example")}}, SetPassword, "j1", true, "username and mail"},
		{"I3 the UPN stands in for a missing mail", PasswordCase{AD: with(func(u *identity.User) { u.Mail = "" }), Candidates: []identity.User{jc("j1", "alice", "alice@corp.local")}}, SetPassword, "j1", true, ""},
		{"I3 a link needs neither name nor mail", PasswordCase{AD: with(func(u *identity.User) { u.Username, u.Mail = "new.name", "" }), Link: link, Linked: &identity.User{ID: "j1"}}, SetPassword, "j1", false, "linked"},
		{"I3 found among others", PasswordCase{AD: &alice, Candidates: []identity.User{jc("j0", "alice", "other@corp.example"), jc("j1", "alice", "alice@corp.example")}}, SetPassword, "j1", true, ""},

		{"the same name alone is another person", PasswordCase{AD: &alice, Candidates: []identity.User{jc("j1", "alice", "other@corp.example")}}, DeadLetter, "", false, `user j1 has that username but mail "other@corp.example"`},
		{"the same mail alone is another person", PasswordCase{AD: &alice, Candidates: []identity.User{jc("j1", "bob", "alice@corp.example")}}, DeadLetter, "", false, `user j1 has that mail but username "bob"`},
		{"nobody", PasswordCase{AD: &alice}, DeadLetter, "", false, `no JumpCloud user has username "Alice"`},
		{"two at once", PasswordCase{AD: &alice, Candidates: []identity.User{jc("j1", "alice", "alice@corp.example"), jc("j2", "ALICE", "alice@corp.example")}}, DeadLetter, "", false, "two JumpCloud users"},
		{"linked to somebody else", PasswordCase{AD: &alice, Candidates: []identity.User{jc("j1", "alice", "alice@corp.example")}, Taken: map[string]bool{"j1": true}}, DeadLetter, "", false, "linked to another AD account"},
		{"no mail and no UPN", PasswordCase{AD: with(func(u *identity.User) { u.Mail, u.UPN = "", "" })}, DeadLetter, "", false, "no mail address"},
		{"the linked user is gone", PasswordCase{AD: &alice, Link: link}, DeadLetter, "", false, "no longer exists"},

		{"I1 the account is gone", PasswordCase{Link: link}, Discard, "", false, "no longer exists"},
		{"I1 privileged, even when linked", PasswordCase{AD: with(func(u *identity.User) { u.Privileged = true }), Link: link, Linked: &identity.User{ID: "j1"}}, Discard, "", false, "adminCount=1"},
		{"I1 out of scope", PasswordCase{AD: with(func(u *identity.User) { u.InScope = false }), Link: link, Linked: &identity.User{ID: "j1"}}, Discard, "", false, "scope group"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Password(tt.c)
			if d.Verb != tt.verb || d.UserID != tt.user || d.Join != tt.join || !strings.Contains(d.Reason, tt.reason) {
				t.Errorf("got %+v, want %s of %q, join %v, with reason %q", d, tt.verb, tt.user, tt.join, tt.reason)
			}
		})
	}
}

// TestG5_Settle: pwdLastSet first, then one bind; never a guess.
func TestG5_Settle(t *testing.T) {
	const was = 134000000000000000
	change := identity.Change{PwdLastSet: was}
	same, moved := &identity.User{PwdLastSet: was}, &identity.User{PwdLastSet: was + 1}
	tests := []struct {
		name    string
		change  identity.Change
		e       Evidence
		outcome identity.Outcome
		bind    bool
	}{
		{"account gone", change, Evidence{Old: true}, identity.OutcomeRefused, false},
		{"not moved, but the DC may still be at it", change, Evidence{AD: same}, identity.OutcomeUnknown, false},
		{"not moved for long", change, Evidence{AD: same, Old: true}, identity.OutcomeRefused, false},
		{"moved", change, Evidence{AD: moved}, identity.OutcomeUnknown, true},
		{"moved and proved", change, Evidence{AD: moved, Bind: BindProved}, identity.OutcomeAccepted, false},
		{"moved by somebody else", change, Evidence{AD: moved, Bind: BindDisproved}, identity.OutcomeRefused, false},
		{"moved, locked out", change, Evidence{AD: moved, Bind: BindUndecided}, identity.OutcomeUnknown, false},
		{"pwdLastSet was not readable", identity.Change{}, Evidence{AD: moved, Old: true}, identity.OutcomeUnknown, true},
		{"must change sets pwdLastSet to zero, perhaps again", identity.Change{PwdLastSet: was, MustChange: true}, Evidence{AD: same, Old: true}, identity.OutcomeUnknown, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Settle(tt.change, tt.e)
			if got.Outcome != tt.outcome || got.TryBind != tt.bind || got.Reason == "" {
				t.Errorf("got %+v, want %s, bind %v, with a reason", got, tt.outcome, tt.bind)
			}
		})
	}
}
