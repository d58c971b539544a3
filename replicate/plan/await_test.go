package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// TestP2_AwaitsUser: a password waits where the import is to make the user,
// and is a dead letter with the import's own reason where it makes none.
func TestP2_AwaitsUser(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	base := identity.User{Side: identity.AD, GUID: identity.GUID{1}, Username: "alice", Mail: "alice@corp.example", First: "Alice", Last: "A", InScope: true}
	link := &identity.Link{GUID: base.GUID, JumpCloudID: "j1", Username: "alice"}
	near := []identity.User{{ID: "j2", Username: "alice", Mail: "other@corp.example"}}
	same := []identity.User{{ID: "j3", Username: "alice", Mail: "alice@corp.example"}}
	tests := []struct {
		name   string
		use    identity.UseCase
		change func(*PasswordCase)
		verb   Verb
		reason string
	}{
		{"nobody yet", identity.UseAD, nil, Wait, awaitsUser},
		{"nobody yet, two-way", identity.UseTwoWay, nil, Wait, awaitsUser},
		{"waits for days", identity.UseAD, func(c *PasswordCase) { c.Doubt = 72 * time.Hour }, Wait, awaitsUser},
		{"nothing is imported", identity.UseJumpCloud, nil, DeadLetter, "no JumpCloud user has username"},
		{"not registered", "", nil, DeadLetter, "no JumpCloud user has username"},
		{"I1 no surname", identity.UseAD, func(c *PasswordCase) { c.AD.Last = "" }, DeadLetter, noUser + "JumpCloud needs a first and a last name"},
		{"I1 no mail", identity.UseAD, func(c *PasswordCase) { c.AD.Mail = "" }, DeadLetter, noUser + "no mail address"},
		{"disabled", identity.UseAD, func(c *PasswordCase) { c.AD.Disabled = true }, DeadLetter, noUser + "disabled in AD"},
		{"expired", identity.UseAD, func(c *PasswordCase) { c.AD.AccountExpires = now.Add(-1) }, DeadLetter, noUser + "expired in AD"},
		{"another has the name", identity.UseAD, func(c *PasswordCase) { c.Candidates = near }, DeadLetter, noUser + "JumpCloud user j2 has username"},
		{"two accounts ask for it", identity.UseAD, func(c *PasswordCase) { c.Rival = "mail is that of bob too" }, DeadLetter, noUser + "mail is that of bob too"},
		{"an old account's user", identity.UseAD, func(c *PasswordCase) { c.Candidates, c.Taken = same, map[string]bool{"j3": true} }, Wait, awaitsUser},
		{"an old account's user, for long", identity.UseAD, func(c *PasswordCase) {
			c.Candidates, c.Taken, c.Doubt = same, map[string]bool{"j3": true}, DoubtLimit
		}, DeadLetter, noUser + `JumpCloud user "alice" (j3) is linked to another AD account`},
		{"deleted at JumpCloud, and made again", identity.UseAD, func(c *PasswordCase) { c.Link = link }, Wait, awaitsUser},
		{"deleted at JumpCloud, for good", identity.UseTwoWay, func(c *PasswordCase) { c.Link = link }, DeadLetter, noUser + "the JumpCloud user was deleted there"},
		{"there by now", identity.UseAD, func(c *PasswordCase) { c.Candidates = same }, SetPassword, "paired by username and mail"},
		{"the name comes from the UPN", identity.UseAD, func(c *PasswordCase) {
			c.Settings.Mapping.UsernameFrom, c.AD.UPN, c.AD.Username = identity.FromUPN, "alice@corp.local", "alice2"
			c.Candidates = same
		}, SetPassword, "paired by username and mail"},
		{"out of scope is no matter of the import", identity.UseAD, func(c *PasswordCase) { c.AD.InScope = false }, Wait, "not in scope"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			user := base
			c := PasswordCase{Change: identity.Change{Seq: 7, Account: identity.Account{GUID: base.GUID}}, AD: &user, Now: now,
				Settings: Settings{Domain: "corp.example", ADID: "a1", Use: tt.use}}
			if tt.change != nil {
				tt.change(&c)
			}
			d := Password(c)
			if d.Verb != tt.verb || !strings.Contains(d.Reason, tt.reason) {
				t.Errorf("%s (%s), want %s (%s)", d.Verb, d.Reason, tt.verb, tt.reason)
			}
			if AwaitsUser("wait: "+d.Reason) != (tt.reason == awaitsUser) || LacksUser(d.Reason) != strings.HasPrefix(tt.reason, noUser) {
				t.Errorf("not known again: %q", d.Reason)
			}
		})
	}
}
