package delegate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
)

const fresh = "Brand.New.Pass9"

func (w *world) change(name, old, new string) ChangeResult {
	w.t.Helper()
	return w.Change(w.t.Context(), name, pw(old), pw(new), "192.0.2.1")
}

func (w *world) wantChange(name, old, new string, outcome ChangeOutcome, reason Reason, rules ...Rule) {
	w.t.Helper()
	r := w.change(name, old, new)
	if r.Outcome != outcome || r.Reason != reason || !slices.Equal(rulesOf(r.Violations), rules) {
		w.t.Errorf("%s: got %+v, want %s %s %v\n%s", name, r, outcome, reason, rules, w.log.buf.String())
	}
}

func (w *world) wantOutcomes(want ...identity.Outcome) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.intents) != len(want) || !slices.Equal(w.outcomes, want) {
		w.t.Errorf("%d intents with outcomes %v, want %v", len(w.intents), w.outcomes, want)
	}
}

// TestD4_Change: the old password is proved, the rules of both sides are
// checked, and the change is made and recorded; also for who cannot sign in
// because of the password.
func TestD4_Change(t *testing.T) {
	w := newWorld(t)
	w.facts.users["alice"] = CloudUser{ID: "1", Username: "alice", DelegatedToAD: true, HasPassword: true}
	w.facts.p = CloudPolicy{MinLength: 12, Symbolic: true}
	w.wantChange("alice", "Wrong.Pass1", fresh, ChangeRefused, BadCredentials)
	w.wantChange("alice", "Wrong.Pass1", "x", ChangeRefused, BadCredentials)
	w.wantChange("nobody", right, "x", ChangeRefused, BadCredentials)
	w.wantChange("carol", right, fresh, ChangeRefused, Disabled)
	w.wantChange("erin", right, fresh, ChangeRefused, LockedOut)
	w.wantChange("alice", right, right, ChangeRefused, PolicyRefused, RuleSame)
	w.wantChange("alice", right, "alice", ChangeRefused, PolicyRefused, RuleMinLength, RuleComplexity, RuleNameInside, RuleMinLength, RuleSymbolic)
	w.wantChange("alice", right, "Long Enough1\x00-", ChangeRefused, PolicyRefused, RuleCharacters)
	w.wantChange("alice", right, strings.Repeat("Aa1-", 65), ChangeRefused, PolicyRefused, RuleMaxLength)
	w.wantChange("alice", right, "Aa1"+strings.Repeat("🙂", 127), ChangeRefused, PolicyRefused, RuleMaxLength) // 257 units
	w.wantOutcomes()
	w.wantChange("alice", right, fresh, Changed, "")
	w.want("alice", fresh, "accepted ad")
	w.wantChange("dave", right, fresh, Changed, "")
	w.want("dave", fresh, "accepted ad")
	w.wantChange("frank", right, fresh, Changed, "")
	w.wantOutcomes(identity.OutcomeAccepted, identity.OutcomeAccepted, identity.OutcomeAccepted)
	w.facts.p = CloudPolicy{}
	w.wantChange("alice", fresh, right, ChangeRefused, PolicyRefused, RuleHistory)
	w.wantOutcomes(identity.OutcomeAccepted, identity.OutcomeAccepted, identity.OutcomeAccepted, identity.OutcomeRefused)
	if c := w.intents[0]; c.Kind != identity.PasswordChange || c.Account.SAM != "alice" || c.Account.GUID.IsZero() || c.PwdLastSet == 0 || c.DC == "" {
		t.Errorf("recorded %+v", c)
	}
}

// TestP3_Preflight: what is done about a password that JumpCloud would refuse.
func TestP3_Preflight(t *testing.T) {
	for mode, want := range map[Preflight]ChangeOutcome{PreflightEnforce: ChangeRefused, PreflightWarn: Changed, PreflightOff: Changed} {
		w := newWorld(t, func(w *world) { w.cfg.Preflight = mode })
		w.facts.users["alice"] = CloudUser{ID: "1", Username: "alice", DelegatedToAD: true}
		w.facts.p = CloudPolicy{MinLength: 40}
		r := w.change("alice", right, fresh)
		if r.Outcome != want || (len(r.Warnings) > 0) != (mode == PreflightWarn) || (len(r.Violations) > 0) != (mode == PreflightEnforce) {
			t.Errorf("%s: got %+v", mode, r)
		}
	}
}

// TestG5_NotRecordedNotSent: a change that cannot be recorded is not made, one
// without an answer is unknown, and no such is sent twice.
func TestG5_NotRecordedNotSent(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.ChangeTimeout = 300 * time.Millisecond })
	w.mu.Lock()
	w.full = true
	w.mu.Unlock()
	w.wantChange("alice", right, fresh, ChangeRefused, NotRecorded)
	w.want("alice", right, "accepted ad")
	w.mu.Lock()
	w.full = false
	w.mu.Unlock()

	w.ad.Inject(adsim.Fault{Kind: adsim.DropAfter, Op: ldapwire.OpModifyRequest, Times: 1})
	r := w.change("alice", right, fresh)
	if r.Outcome != ChangeUnknown || !r.Sent {
		t.Errorf("without an answer: got %+v", r)
	}
	w.wantOutcomes(identity.OutcomeUnknown)
	remove := w.ad.Inject(adsim.Fault{Kind: adsim.Hang, Op: ldapwire.OpModifyRequest, Times: 1})
	if r := w.change("bob", right, fresh); r.Outcome != ChangeUnknown || !r.Sent {
		t.Errorf("out of time: got %+v", r)
	}
	remove()
	w.wantOutcomes(identity.OutcomeUnknown, identity.OutcomeUnknown)

	w.domain.Capture = false
	w.wantChange("dave", right, fresh, Changed, "")
	w.wantOutcomes(identity.OutcomeUnknown, identity.OutcomeUnknown)
}

// TestD4_WhoseChange: where AD takes part in passwords a change is made there,
// also of a user whose sign-ins JumpCloud checks; of who is JumpCloud's alone
// none is.
func TestD4_WhoseChange(t *testing.T) {
	w := newWorld(t)
	w.facts.users["alice"] = CloudUser{ID: "1", Username: "alice", PasswordByAD: true}
	w.want("alice", right, "refused bad_credentials") // JumpCloud has no such user
	w.wantChange("alice", right, fresh, Changed, "")
	w.wantOutcomes(identity.OutcomeAccepted)
	w.domain.UseCase = identity.UseJumpCloud
	w.facts.users["bob"] = CloudUser{ID: "2", Username: "bob"}
	w.wantChange("bob", right, fresh, ChangeRefused, BadCredentials)
	w.wantOutcomes(identity.OutcomeAccepted)
}

// TestP5_Status: how a password stands, by who decides about it.
func TestP5_Status(t *testing.T) {
	w := newWorld(t)
	status := func(name string) PasswordInfo {
		t.Helper()
		info, err := w.Password(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	for name, want := range map[string]PasswordStatus{"alice": StatusActive, "dave": StatusExpired, "erin": StatusLocked, "frank": StatusExpired} {
		if got := status(name); got.Status != want || got.Authority != ByAD {
			t.Errorf("%s: got %+v, want %s", name, got, want)
		}
	}
	if !status("dave").MustChange || !status("carol").Disabled || !status("erin").Locked || !status("frank").Expired || status("alice").ExpiresAt.IsZero() {
		t.Error("a state is not told")
	}
	set := number(mustEntry(t, w, "alice").get("pwdlastset"))
	for _, tt := range []struct {
		user CloudUser
		want PasswordStatus
		sync bool
	}{
		{CloudUser{DelegatedToAD: true, PasswordSet: set}, StatusDelegated, true},
		{CloudUser{Locked: true, Expired: true}, StatusLocked, false},
		{CloudUser{Expired: true}, StatusExpired, false},
		{CloudUser{}, StatusPending, false},
		{CloudUser{HasPassword: true, PasswordSet: set - 1}, StatusActive, false},
	} {
		w.facts.users["alice"] = tt.user
		if got := status("alice"); got.Status != tt.want || got.InSync != tt.sync {
			t.Errorf("%+v: got %+v", tt.user, got)
		}
	}
	if _, err := w.Password(t.Context(), "nobody"); err == nil {
		t.Error("nobody has a password")
	}
}

func mustEntry(t *testing.T, w *world, sam string) *entry {
	t.Helper()
	e, err := w.domains()[0].byName(t.Context(), name{kind: nameSAM, text: sam})
	if err != nil || e == nil {
		t.Fatal(e, err)
	}
	return e
}
