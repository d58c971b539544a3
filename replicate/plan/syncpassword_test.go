package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

func TestS4_SyncPassword(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	units := func(t time.Time) int64 { return t.UnixNano()/100 + 116444736000000000 }
	base := func() SyncPasswordCase {
		return SyncPasswordCase{Settings: Settings{Use: identity.UseTwoWay}, Change: identity.Change{Seq: 7, Kind: identity.PasswordBind, At: at, PasswordDate: at},
			Cloud: &identity.User{ID: "u1"}, Link: &identity.Link{JumpCloudID: "u1", At: at.Add(-time.Hour)}, AD: &identity.User{Username: "svc-sync", PwdLastSet: units(at.Add(-time.Minute))}}
	}
	for _, tt := range []struct {
		name   string
		change func(*SyncPasswordCase)
		verb   Verb
		reason string
	}{
		{"linked", func(*SyncPasswordCase) {}, SetPassword, ""},
		{"nothing goes to AD", func(c *SyncPasswordCase) { c.Use = identity.UseAD }, Discard, "use case ad"},
		{"user deleted", func(c *SyncPasswordCase) { c.Cloud = nil }, Discard, "deleted"},
		{"no account yet", func(c *SyncPasswordCase) { c.Link = nil }, Wait, "no AD account yet"},
		{"no account for long", func(c *SyncPasswordCase) { c.Link, c.Doubt = nil, DoubtLimit }, DeadLetter, "dirgate changelog retry 7"},
		{"stale", func(c *SyncPasswordCase) { c.Link.PasswordSeq = 9 }, Discard, "change 9"},
		{"restricted to AD", func(c *SyncPasswordCase) { c.Cloud.Restricted = "email password" }, Discard, "only Active Directory"},
		{"restricted, and ordered otherwise", func(c *SyncPasswordCase) {
			c.Cloud.Restricted, c.Link.PasswordAuthority = "password", identity.JumpCloud
		}, SetPassword, ""},
		{"ordered to be AD's", func(c *SyncPasswordCase) { c.Link.PasswordAuthority = identity.AD }, Discard, "only Active Directory"},
		{"another at JumpCloud since", func(c *SyncPasswordCase) { c.Cloud.PasswordDate = at.Add(time.Second).Format(time.RFC3339) }, Discard, "after the one"},
		{"account not found", func(c *SyncPasswordCase) { c.AD = nil }, Wait, "not found"},
		{"account not found for long", func(c *SyncPasswordCase) { c.AD, c.Doubt = nil, DoubtLimit }, DeadLetter, "restore"},
		{"privileged", func(c *SyncPasswordCase) { c.AD.Privileged = true }, Discard, "adminCount"},
		{"computer", func(c *SyncPasswordCase) { c.AD.Computer = true }, Discard, "not a person's"},
		{"unbound in JumpCloud just now", func(c *SyncPasswordCase) { c.Resting = true }, Wait, "unbound from the AD object"},
		{"unbound in JumpCloud for long", func(c *SyncPasswordCase) { c.Resting, c.Doubt = true, DoubtLimit }, Discard, "unbound from the AD object"},
		{"dirgate's own account", func(c *SyncPasswordCase) { c.SyncAccount = `CORP\svc-sync` }, Discard, "service account"},
		{"newer in AD", func(c *SyncPasswordCase) { c.AD.PwdLastSet = units(at.Add(time.Second)) }, Discard, "set later"},
		{"newer in AD, and written by us", func(c *SyncPasswordCase) { c.AD.PwdLastSet, c.Sent = units(at.Add(time.Second)), true }, SetPassword, ""},
		{"both had that of AD", func(c *SyncPasswordCase) {
			c.AD.PwdLastSet = units(at.Add(time.Second))
			c.Link.PasswordSet = c.AD.PwdLastSet
		}, SetPassword, ""},
		{"the random one of a new account", func(c *SyncPasswordCase) {
			c.Link.MadeInAD, c.Link.At, c.AD.PwdLastSet = true, at.Add(time.Hour), units(at.Add(time.Hour))
		}, SetPassword, ""},
		{"changed by a person after it was made", func(c *SyncPasswordCase) {
			c.Link.MadeInAD, c.AD.PwdLastSet = true, units(at.Add(time.Hour))
		}, Discard, "set later"},
		{"by our clock: set in AD while JumpCloud was given one", func(c *SyncPasswordCase) {
			c.Change.Kind, c.Change.PasswordDate, c.AD.PwdLastSet = identity.PasswordChange, time.Time{}, units(at.Add(clockSkew+makingInAD))
		}, SetPassword, ""},
		{"by our clock: newer in AD", func(c *SyncPasswordCase) {
			c.Change.Kind, c.Change.PasswordDate, c.AD.PwdLastSet = identity.PasswordChange, time.Time{}, units(at.Add(clockSkew+makingInAD+time.Second))
		}, Discard, "set later"},
		{"must change in AD", func(c *SyncPasswordCase) { c.AD.PwdLastSet = 0 }, SetPassword, ""},
	} {
		c := base()
		tt.change(&c)
		if d := SyncPassword(c); d.Verb != tt.verb || !strings.Contains(d.Reason, tt.reason) {
			t.Errorf("%s: %s (%s), want %s with %q", tt.name, d.Verb, d.Reason, tt.verb, tt.reason)
		}
	}
}
