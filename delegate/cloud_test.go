package delegate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

const theirs = "Cloud.Pass1"

// inCloud makes a user of the simulator, whom facts know.
func (w *world) inCloud(name string, change ...func(*CloudUser)) string {
	w.t.Helper()
	id, err := w.cloud.AddUser(jcsim.User{Username: name, Email: name + "@corp.example.test", Password: pw(theirs), LDAPBound: true})
	if err != nil {
		w.t.Fatal(err)
	}
	u := CloudUser{ID: id, Username: name, HasPassword: true}
	for _, c := range change {
		c(&u)
	}
	w.facts.mu.Lock()
	defer w.facts.mu.Unlock()
	w.facts.users[name] = u
	return id
}

// TestPasswordPending: a password that AD took and JumpCloud does not have yet
// is neither accepted nor wrong, and costs nothing; any other is wrong.
func TestPasswordPending(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Throttle = Throttle{PerUser: 1, PerUserEvery: time.Hour} })
	w.inCloud("alice", func(u *CloudUser) { u.PasswordByAD = true })
	w.mu.Lock()
	w.pending = true
	w.mu.Unlock()
	for range 3 {
		v := w.Validate(t.Context(), "alice", pw(right), "192.0.2.1")
		if short(v) != "undecided password_pending jumpcloud" || v.RetryAfter <= 0 {
			t.Errorf("got %+v", v)
		}
	}
	w.want("alice", theirs, "accepted jumpcloud") // the one before still signs in
	w.ad.Inject(adsim.Fault{Kind: adsim.Answer, Op: ldapwire.OpBindRequest, Times: 1, Code: ldapwire.ResultBusy})
	w.want("alice", "Wrong.Pass1", "undecided dc_unavailable jumpcloud")
	w.want("alice", "Wrong.Pass2", "refused bad_credentials")
	w.want("alice", right, "undecided throttled")

	w = newWorld(t)
	w.inCloud("alice", func(u *CloudUser) { u.PasswordByAD = true })
	w.want("alice", right, "refused bad_credentials") // nothing is on its way
}

// TestG7_JumpCloudLockout: wrong passwords stop short of what locks a user at
// JumpCloud; right ones cost nothing.
func TestG7_JumpCloudLockout(t *testing.T) {
	now := time.Now()
	w := newWorld(t, func(w *world) {
		w.cfg.Now = func() time.Time { return now }
		w.cfg.Throttle = Throttle{PerUser: 100}
		w.facts.p = CloudPolicy{MaxTries: 3, LockTime: 10 * time.Minute}
	})
	w.inCloud("zoe")
	for range 5 {
		w.want("zoe", theirs, "accepted jumpcloud")
	}
	w.want("zoe", "Wrong.Pass1", "refused bad_credentials")
	w.want("zoe", "Wrong.Pass2", "refused bad_credentials")
	for range 3 {
		w.want("zoe", "Wrong.Pass3", "undecided throttled")
	}
	if r := w.change("zoe", "Wrong.Pass4", fresh); r.Outcome != ChangeUnknown || r.Reason != Throttled || r.RetryAfter <= 0 {
		t.Errorf("a change: got %+v", r)
	}
	now = now.Add(10*time.Minute + time.Second)
	w.want("zoe", theirs, "accepted jumpcloud")
	w.want("zoe", "Wrong.Pass4", "refused bad_credentials") // not a new one for the lockout guard
	w.want("zoe", "Wrong.Pass4", "undecided throttled")
}

// TestNoCloudLDAP: what is missing is said, and what to do, to who knows the
// password that AD has, in the log, and to callers who are told all.
func TestNoCloudLDAP(t *testing.T) {
	for _, tt := range []struct {
		name, password string
		tell, said     bool
	}{
		{"zoe", theirs, false, false},
		{"zoe", theirs, true, true},
		{"alice", "Wrong.Pass1", false, false},
		{"alice", theirs, false, false},
		{"alice", right, false, true},
		{"alice", theirs, true, true},
	} {
		r := newAPIRig(t, func(w *world) { w.domain.CloudLDAP = nil; w.cfg.Set, w.cfg.TellUnknown = w, tt.tell })
		r.inCloud("zoe")
		r.inCloud("alice")
		const hint = "dirgate domain register corp.example.test --jumpcloud-ldap-url"
		for path, body := range map[string]string{"/v1/validate": credentials(tt.name, tt.password),
			"/v1/change-password": `{"username":"` + tt.name + `","oldPassword":"` + tt.password + `","newPassword":"` + fresh + `"}`} {
			got := r.do("POST", path, strings.TrimPrefix(strings.TrimSuffix(path, "-password"), "/v1/"), body)
			if got.code != 200 || strings.Contains(got.body, `"reason":"no_jumpcloud_ldap"`) != tt.said || strings.Contains(got.body, hint) != tt.said ||
				!tt.said && !strings.Contains(got.body, `"reason":"bad_credentials"`) {
				t.Errorf("%+v %s: got %+v", tt, path, got)
			}
		}
		if !strings.Contains(r.log.buf.String(), hint) {
			t.Errorf("%+v: the log does not say what is missing", tt)
		}
	}
}

// TestAPI_Pending: 503 with Retry-After, as it is described.
func TestAPI_Pending(t *testing.T) {
	r := newAPIRig(t)
	r.inCloud("alice", func(u *CloudUser) { u.PasswordByAD = true })
	r.pending = true
	got := r.do("POST", "/v1/validate", "validate", credentials("alice", right))
	if got.code != 503 || got.header.Get("Retry-After") != "2" || !strings.Contains(got.body, `"reason":"password_pending"`) {
		t.Errorf("got %+v", got)
	}
}

// TestChangedAt: the table of its comment.
func TestChangedAt(t *testing.T) {
	for _, tt := range []struct {
		f    Facts
		want Authority
	}{
		{Facts{InAD: true, UseCase: identity.UseAD}, ByAD},
		{Facts{InAD: true, InCloud: true, UseCase: identity.UseAD}, ByAD},
		{Facts{InCloud: true, UseCase: identity.UseTwoWay}, ByJumpCloud},
		{Facts{InAD: true, InCloud: true, UseCase: identity.UseTwoWay}, ByJumpCloud},
		{Facts{InAD: true, InCloud: true, UseCase: identity.UseTwoWay, PasswordByAD: true, Capture: true}, ByAD},
		{Facts{InAD: true, InCloud: true, UseCase: identity.UseTwoWay, PasswordByAD: true}, ByAD},
		{Facts{InAD: true, InCloud: true, UseCase: identity.UseTwoWay, DelegatedToAD: true, Delegation: DelegationEnabled}, ByAD},
		{Facts{InAD: true, InCloud: true, UseCase: identity.UseTwoWay, DelegatedToAD: true, Delegation: DelegationWaiting}, ByAD},
		{Facts{InAD: true, InCloud: true, UseCase: identity.UseJumpCloud}, ByJumpCloud},
		{Facts{InAD: true, UseCase: identity.UseTwoWay}, ByAD},
	} {
		if got := ChangedAt(tt.f); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.f, got, tt.want)
		}
	}
}

// TestD4_ChangeAtJumpCloud: JumpCloud's LDAP proves the old password, JumpCloud
// gets the new one, and it is recorded for AD where the authorities allow.
func TestD4_ChangeAtJumpCloud(t *testing.T) {
	set := func(w *world) { w.cfg.Set = w }
	w := newWorld(t, set)
	w.inCloud("zoe")
	id := w.inCloud("alice")
	w.facts.p = CloudPolicy{MinLength: 12}
	w.wantChange("zoe", "Wrong.Pass1", fresh, ChangeRefused, BadCredentials)
	w.wantChange("zoe", theirs, theirs, ChangeRefused, PolicyRefused, RuleSame)
	w.wantChange("zoe", theirs, "Short.1", ChangeRefused, PolicyRefused, RuleMinLength)
	w.wantChange("alice", theirs, "alice is in this 1.", ChangeRefused, PolicyRefused, RuleNameInside) // AD's rule
	w.wantOutcomes()
	w.wantChange("zoe", theirs, fresh, Changed, "")
	w.want("zoe", fresh, "accepted jumpcloud")
	w.wantOutcomes() // nobody of AD
	w.wantChange("alice", theirs, fresh, Changed, "")
	w.want("alice", fresh, "accepted jumpcloud")
	w.want("alice", theirs, "refused bad_credentials")
	w.wantOutcomes(identity.OutcomeAccepted)
	if c := w.intents[0]; c.Direction != identity.Sync || c.CloudID != id || c.Account.SAM != "alice" || c.Kind != identity.PasswordChange {
		t.Errorf("recorded %+v", c)
	}
	w.cloud.SetPolicy(jcsim.PasswordPolicy{EnableMinLength: true, MinLength: 60}) // which facts do not know yet
	w.wantChange("alice", fresh, "Quite.Another.7", ChangeRefused, PolicyRefused, RuleHistory)
	w.wantOutcomes(identity.OutcomeAccepted, identity.OutcomeRefused)

	w = newWorld(t, set, func(w *world) { w.domain.Capture = false }) // validate-only
	w.inCloud("alice")
	w.wantChange("alice", theirs, fresh, Changed, "")
	w.wantOutcomes()
	w.want("alice", fresh, "accepted jumpcloud")
}

// TestD4_JumpCloudDoesNotAnswer: what is known of a change without an answer.
func TestD4_JumpCloudDoesNotAnswer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		err     error
		unset   bool
		want    ChangeOutcome
		sent    bool
		outcome identity.Outcome
	}{
		{"it was made", fmt.Errorf("%w: timeout", ErrCloudUnknown), false, Changed, false, identity.OutcomeAccepted},
		{"nobody knows", fmt.Errorf("%w: timeout", ErrCloudUnknown), true, ChangeUnknown, true, identity.OutcomeUnknown},
		{"not reached", errors.New("connection refused"), true, ChangeUnknown, false, identity.OutcomeRefused},
	} {
		w := newWorld(t, func(w *world) { w.cfg.Set, w.setErr, w.unset = w, tt.err, tt.unset })
		w.inCloud("alice")
		r := w.change("alice", theirs, fresh)
		if r.Outcome != tt.want || r.Sent != tt.sent {
			t.Errorf("%s: got %+v", tt.name, r)
		}
		w.wantOutcomes(tt.outcome)
	}
	w := newWorld(t, func(w *world) { w.cfg.Set = w; w.full = true })
	w.inCloud("alice")
	w.wantChange("alice", theirs, fresh, ChangeRefused, NotRecorded)
	w.want("alice", theirs, "accepted jumpcloud")
}

// TestP3_PreflightOfAD: what is done about a password that AD would refuse.
func TestP3_PreflightOfAD(t *testing.T) {
	for mode, want := range map[Preflight]ChangeOutcome{PreflightEnforce: ChangeRefused, PreflightWarn: Changed, PreflightOff: Changed} {
		w := newWorld(t, func(w *world) { w.cfg.Set, w.cfg.Preflight = w, mode })
		w.inCloud("alice")
		r := w.change("alice", theirs, "short")
		if r.Outcome != want || (len(r.Warnings) > 0) != (mode == PreflightWarn) || (len(r.Violations) > 0) != (mode == PreflightEnforce) {
			t.Errorf("%s: got %+v", mode, r)
		}
		if p, err := w.Policies(t.Context(), "alice"); err != nil || p.JumpCloud == nil || (p.AD != nil) != (mode != PreflightOff) {
			t.Errorf("%s: rules %+v, %v", mode, p, err)
		}
	}
}

type learner struct {
	told    chan string
	outcome identity.BindOutcome
}

func (l learner) LearnCloud(_ context.Context, domain, bindDN string, _ secret.Bytes) (identity.BindOutcome, error) {
	l.told <- domain + " " + bindDN
	return l.outcome, nil
}

// TestS4_LearnAgain: when a sign-in counts anew depends on what came of the last.
func TestS4_LearnAgain(t *testing.T) {
	for outcome, want := range map[identity.BindOutcome]time.Duration{identity.BindEarly: claimed, identity.BindNotWanted: lookAgain} {
		now := time.Now()
		l := learner{make(chan string, 1), outcome}
		w := newWorld(t, func(w *world) { w.cfg.Learn, w.cfg.Now = l, func() time.Time { return now } })
		w.inCloud("alice")
		w.want("alice", theirs, "accepted jumpcloud")
		select {
		case <-l.told:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was handed over")
		}
		w.Close() // what runs in the background has ended
		for _, until := range w.lessons.until {
			if got := until.Sub(now); got != want {
				t.Errorf("%s: again after %s, want %s", outcome, got, want)
			}
		}
		if n := len(w.lessons.until); n != 1 {
			t.Errorf("%s: %d accounts are remembered, want 1", outcome, n)
		}
	}
}

// TestS4_Learn: a sign-in that JumpCloud accepted is handed over once; one of a
// user without an account in AD is not.
func TestS4_Learn(t *testing.T) {
	l := learner{told: make(chan string, 10)}
	w := newWorld(t, func(w *world) { w.cfg.Learn = l })
	w.inCloud("alice")
	w.inCloud("zoe")
	w.want("alice", "Wrong.Pass1", "refused bad_credentials")
	w.want("zoe", theirs, "accepted jumpcloud")
	w.want("alice", theirs, "accepted jumpcloud")
	select {
	case got := <-l.told:
		if want := w.domain.Name + " " + w.cloud.UserDN("alice"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was handed over")
	}
	w.want("alice", theirs, "accepted jumpcloud")
	w.Close()
	if len(l.told) != 0 {
		t.Errorf("also %q", <-l.told)
	}
}
