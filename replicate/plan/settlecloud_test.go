package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// TestG5_SettleCloud: password_date first, then a bind; an outcome that cannot
// be told stays unknown and says what to do.
func TestG5_SettleCloud(t *testing.T) {
	made := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	const limit, soon, late = 10 * time.Minute, time.Minute, 11 * time.Minute
	was := made.Add(-90 * 24 * time.Hour)
	given := func(at time.Time) *identity.User {
		return &identity.User{ID: "u1", PasswordDate: at.Format(time.RFC3339Nano)}
	}
	same, moved := given(was), given(made.Add(time.Second))
	const unknown, refused, accepted = identity.OutcomeUnknown, identity.OutcomeRefused, identity.OutcomeAccepted
	for _, tt := range []struct {
		name    string
		user    *identity.User
		age     time.Duration
		change  func(*identity.Entry, *CloudEvidence)
		outcome identity.Outcome
		try     bool
		reason  string
	}{
		{"not there", nil, late, nil, unknown, false, "not found"},
		{"not there for a day", nil, 25 * time.Hour, nil, refused, false, "not found"},
		{"not moved, but JumpCloud may be at it", same, soon, nil, unknown, false, "not moved yet"},
		{"not moved", same, late, nil, refused, false, "did not move"},
		{"never had one", &identity.User{}, late, nil, refused, false, "did not move"},
		{"moved", moved, soon, nil, unknown, true, "moved"},
		{"moved by JumpCloud's clock, which is behind ours", given(was.Add(time.Second)), late, nil, unknown, true, ""},
		{"another is newer, and unknown too", moved, soon, func(_ *identity.Entry, c *CloudEvidence) { c.Rival = 9 }, unknown, false, "change 9"},
		{"another has used the bind up", moved, soon, func(_ *identity.Entry, c *CloudEvidence) { c.OtherProbes = 1 }, unknown, false, "did not tell"},
		{"others have used both up", moved, late, func(e *identity.Entry, c *CloudEvidence) { e.Probes, c.OtherProbes = 1, 1 }, unknown, false, "once a day"},
		{"the date before is not known", moved, soon, func(e *identity.Entry, _ *CloudEvidence) { e.PasswordDate = time.Time{} }, unknown, true, ""},
		{"moved a moment ago: its LDAP may lag", given(made.Add(40 * time.Second)), soon, nil, unknown, false, "password before"},
		{"and a proof of that moment is none", given(made.Add(40 * time.Second)), soon, func(_ *identity.Entry, c *CloudEvidence) { c.Bind = BindProved }, unknown, false, ""},
		{"no LDAP", moved, late, func(_ *identity.Entry, c *CloudEvidence) { c.NoLDAP = true }, unknown, false, "dirgate domain register corp.example --jumpcloud-ldap-url"},
		{"no LDAP, and not moved", same, late, func(_ *identity.Entry, c *CloudEvidence) { c.NoLDAP = true }, refused, false, ""},
		{"suspended", moved, late, func(_ *identity.Entry, c *CloudEvidence) { c.Barred = "the user is suspended" }, unknown, false, "suspended"},
		{"one bind was made", moved, soon, func(e *identity.Entry, _ *CloudEvidence) { e.Probes = 1 }, unknown, false, "did not tell"},
		{"one more is made once it is old", moved, late, func(e *identity.Entry, _ *CloudEvidence) { e.Probes = 1 }, unknown, true, ""},
		{"both were made", moved, late, func(e *identity.Entry, _ *CloudEvidence) { e.Probes = 2 }, unknown, false, "once a day"},
		{"a day later", moved, 25 * time.Hour, func(e *identity.Entry, _ *CloudEvidence) { e.Probes = 2 }, unknown, true, ""},
		{"proved", moved, soon, func(_ *identity.Entry, c *CloudEvidence) { c.Bind = BindProved }, accepted, false, "proved"},
		{"disproved while JumpCloud may be at it", moved, soon, func(_ *identity.Entry, c *CloudEvidence) { c.Bind = BindDisproved }, unknown, false, "still be at it"},
		{"disproved", moved, late, func(_ *identity.Entry, c *CloudEvidence) { c.Bind = BindDisproved }, refused, false, "refused"},
		{"undecided", moved, late, func(_ *identity.Entry, c *CloudEvidence) { c.Bind = BindUndecided }, unknown, false, "undecided"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := identity.Entry{Change: identity.Change{Seq: 7, At: made, PasswordDate: was, Account: identity.Account{Domain: "corp.example"}}}
			c := CloudEvidence{Now: made.Add(tt.age), AnswerLimit: limit, User: tt.user, BindReason: "why"}
			if tt.change != nil {
				tt.change(&e, &c)
			}
			got := SettleCloud(e, c)
			if got.Outcome != tt.outcome || got.TryBind != tt.try || got.GiveUp || got.Reason == "" || !strings.Contains(got.Reason, tt.reason) {
				t.Errorf("got %+v, want %s, bind %v, with %q", got, tt.outcome, tt.try, tt.reason)
			}
			if out := strings.Contains(got.Reason, fmt.Sprintf("dirgate changelog discard %d", e.Seq)); out != (tt.outcome == unknown && !tt.try) {
				t.Errorf("the way out is told: %v: %s", out, got.Reason)
			}
			c.Newer = 8
			if got := SettleCloud(e, c); !got.GiveUp || got.TryBind || !strings.Contains(got.Reason, "change 8") {
				t.Errorf("with a newer one: %+v", got)
			}
		})
	}
}
