package plan

import (
	"strings"
	"testing"
	"time"

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
		{"linked to somebody else", PasswordCase{AD: &alice, Candidates: []identity.User{jc("j1", "alice", "alice@corp.example")}, Taken: map[string]bool{"j1": true}}, DeadLetter, "", false, "linked to another AD account: if that is gone, run `dirgate user unlink j1`"},
		{"no mail and no UPN", PasswordCase{AD: with(func(u *identity.User) { u.Mail, u.UPN = "", "" })}, DeadLetter, "", false, "no mail address"},
		{"the linked user is gone", PasswordCase{AD: &alice, Link: link}, DeadLetter, "", false, "run `dirgate user unlink Alice`, then run `dirgate changelog retry 7`"},

		{"not found once may be a controller's delay", PasswordCase{Link: link}, Wait, "", false, "not found"},
		{"not found for long keeps the password", PasswordCase{Link: link, Doubt: DoubtLimit}, DeadLetter, "", false, "`dirgate changelog discard 7`"},
		{"I1 privileged, even when linked", PasswordCase{AD: with(func(u *identity.User) { u.Privileged = true }), Link: link, Linked: &identity.User{ID: "j1"}}, Discard, "", false, "adminCount=1"},
		{"I1 a computer", PasswordCase{AD: with(func(u *identity.User) { u.Computer = true })}, Discard, "", false, "not a person's account"},
		{"dirgate's own account, even when linked", PasswordCase{AD: &alice, Settings: Settings{ImportAccount: "alice@corp.local"}, Link: link, Linked: &identity.User{ID: "j1"}}, Discard, "", false, "service account"},
		{"I1 out of scope once may be a controller's delay", PasswordCase{AD: with(func(u *identity.User) { u.InScope = false }), Link: link, Linked: &identity.User{ID: "j1"}}, Wait, "", false, "scope"},
		{"I1 out of scope, nearly long enough", PasswordCase{AD: with(func(u *identity.User) { u.InScope = false }), Doubt: DoubtLimit - 1}, Wait, "", false, "scope"},
		{"I1 out of scope for long", PasswordCase{AD: with(func(u *identity.User) { u.InScope = false }), Doubt: DoubtLimit, Link: link, Linked: &identity.User{ID: "j1"}}, Discard, "", false, "scope group"},
		{"unbound in JumpCloud just now", PasswordCase{AD: &alice, Link: link, Linked: &identity.User{ID: "j1"}, Resting: true}, Wait, "", false, "unbound from the AD object"},
		{"unbound in JumpCloud for long", PasswordCase{AD: &alice, Link: link, Linked: &identity.User{ID: "j1"}, Resting: true, Doubt: DoubtLimit}, Discard, "", false, "unbound from the AD object"},
		{"P2 a newer one was applied", PasswordCase{AD: &alice, Link: &identity.Link{JumpCloudID: "j1", PasswordSeq: 8}, Linked: &identity.User{ID: "j1"}}, Discard, "", false, "stale"},
		{"P2 an older one was applied", PasswordCase{AD: &alice, Link: &identity.Link{JumpCloudID: "j1", PasswordSeq: 6}, Linked: &identity.User{ID: "j1"}}, SetPassword, "j1", false, "linked"},
		{"a temporary password", PasswordCase{Change: identity.Change{MustChange: true}, AD: &alice, Link: link, Linked: &identity.User{ID: "j1"}}, Discard, "", false, "temporary password (must change at next logon)"},
		{"a temporary password, set in two steps", PasswordCase{AD: with(func(u *identity.User) { u.MustChange = true }), Link: link, Linked: &identity.User{ID: "j1"}}, Wait, "", false, "at next logon"},
		{"a temporary password, nearly long enough", PasswordCase{AD: with(func(u *identity.User) { u.MustChange = true }), Doubt: DoubtLimit - 1}, Wait, "", false, "at next logon"},
		{"a temporary password for long", PasswordCase{AD: with(func(u *identity.User) { u.MustChange = true }), Doubt: DoubtLimit, Link: link, Linked: &identity.User{ID: "j1"}}, Discard, "", false, "temporary password (must change at next logon)"},
		{"nobody knows whose it is", PasswordCase{Change: identity.Change{Account: identity.Account{DN: "CN=Alice"}}, AD: &alice, Link: link, Linked: &identity.User{ID: "j1"}}, DeadLetter, "", false, "could not be read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.c.Change == (identity.Change{}) {
				tt.c.Change = identity.Change{Seq: 7, Account: identity.Account{GUID: identity.GUID{1}}}
			}
			d := Password(tt.c)
			if d.Verb != tt.verb || d.UserID != tt.user || d.Join != tt.join || !strings.Contains(d.Reason, tt.reason) {
				t.Errorf("got %+v, want %s of %q, join %v, with reason %q", d, tt.verb, tt.user, tt.join, tt.reason)
			}
		})
	}
}

// TestG5_Settle: pwdLastSet first, then a bind; never a guess, and nothing is
// destroyed for what may be a delay.
func TestG5_Settle(t *testing.T) {
	made := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	units := func(at time.Time) int64 { return (at.Unix() + 11_644_473_600) * 10_000_000 }
	was := units(made.Add(-90 * 24 * time.Hour))
	const limit, soon, late = 10 * time.Minute, time.Minute, 11 * time.Minute
	set := func(after time.Duration) *identity.User {
		return &identity.User{PwdLastSet: units(made.Add(after)), DC: "dc1"}
	}
	same, zero := &identity.User{PwdLastSet: was, DC: "dc1"}, &identity.User{DC: "dc1"}
	other := &identity.User{PwdLastSet: was, DC: "dc2"}
	change := identity.Change{At: made, PwdLastSet: was, DC: "dc1"}
	mustChange, unread, nobody := change, change, change
	mustChange.MustChange, unread.PwdLastSet, nobody.DC = true, 0, ""
	const unknown, refused, accepted = identity.OutcomeUnknown, identity.OutcomeRefused, identity.OutcomeAccepted
	tests := []struct {
		name    string
		change  identity.Change
		ad      *identity.User
		age     time.Duration
		probes  int
		bind    BindVerdict
		outcome identity.Outcome
		try     bool
	}{
		{"account not found", change, nil, 23 * time.Hour, 0, "", unknown, false},
		{"account not found for a day", change, nil, 25 * time.Hour, 0, "", refused, false},
		{"not moved, but the DC may still be at it", change, same, soon, 0, "", unknown, false},
		{"not moved on the DC that was asked", change, same, late, 0, "", refused, false},
		{"not moved on another DC", change, other, 3 * time.Hour, 0, "", unknown, false},
		{"not moved on another DC, for long", change, other, 5 * time.Hour, 0, "", refused, false},
		{"not moved, and nobody knows which DC was asked", nobody, same, 3 * time.Hour, 0, "", unknown, false},
		{"moved", change, set(soon), soon, 0, "", unknown, true},
		{"moved, and one bind was made", change, set(soon), soon, 1, "", unknown, false},
		{"moved, and one more is made once it is old", change, set(soon), late, 1, "", unknown, true},
		{"moved, and both were made", change, set(soon), late, 2, "", unknown, false},
		{"moved, and a day later", change, set(soon), 25 * time.Hour, 2, "", unknown, true},
		{"moved and proved", change, set(soon), soon, 0, BindProved, accepted, false},
		{"moved and disproved while the DC may still be at it", change, set(soon), soon, 0, BindDisproved, unknown, false},
		{"moved and disproved", change, set(soon), late, 1, BindDisproved, refused, false},
		{"moved, locked out", change, set(soon), late, 0, BindUndecided, unknown, false},
		{"moved before, by the DC's clock", change, set(-4 * time.Minute), soon, 0, "", unknown, true},
		{"moved later, by another change: the previous password is accepted too", change, set(30 * time.Minute), 31 * time.Minute, 0, "", unknown, false},
		{"and a proof of that hour is none", change, set(30 * time.Minute), 94 * time.Minute, 0, BindProved, unknown, false},
		{"moved later, and the hour is over", change, set(30 * time.Minute), 96 * time.Minute, 0, "", unknown, true},
		{"moved later, the hour is over, proved", change, set(30 * time.Minute), 96 * time.Minute, 0, BindProved, accepted, false},
		{"pwdLastSet was not readable, and is old", unread, same, soon, 0, "", unknown, true},
		{"must change sets pwdLastSet to zero, perhaps again", mustChange, zero, late, 0, "", unknown, false},
		{"must change, and the hour is over", mustChange, zero, 80 * time.Minute, 0, "", unknown, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Settle(identity.Entry{Change: tt.change, Probes: tt.probes},
				Evidence{AD: tt.ad, Now: made.Add(tt.age), AnswerLimit: limit, Bind: tt.bind, BindReason: "why"})
			if got.Outcome != tt.outcome || got.TryBind != tt.try || got.Reason == "" {
				t.Errorf("got %+v, want %s, bind %v, with a reason", got, tt.outcome, tt.try)
			}
		})
	}
}

func TestMade(t *testing.T) {
	guid := identity.GUID{1, 15: 2}
	if got, made := Made(newID(guid)); !made || got != guid {
		t.Errorf("got %v, %v", got, made)
	}
	for _, id := range []string{"", "64b0c0ffee64b0c0ffee0001", "new:", "new:x"} {
		if got, made := Made(id); made {
			t.Errorf("%q: got %v", id, got)
		}
	}
}
