package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/delegate"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// bothSides is a daemon with a domain and JumpCloud's simulator, and one user on
// both.
type bothSides struct {
	*daemon
	t     *testing.T
	ad    *adsim.Server
	cloud *jcsim.Server
	reg   store.Domain
	link  identity.Link
	now   time.Time
}

func newBothSides(t *testing.T) (*bothSides, *logbook) {
	t.Helper()
	d, log := newTestDaemon(t, newInstallation(t))
	w := &bothSides{daemon: d, t: t, ad: startRegistered(t, d, "corp.test", adsim.User{Name: "alice"}), now: time.Now()}
	ca := certstest.New(t)
	var err error
	if w.cloud, err = jcsim.Start(jcsim.Config{TLS: ca.Server("127.0.0.1")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cloud.Close() })
	caPEM, err := os.ReadFile(ca.File())
	if err != nil {
		t.Fatal(err)
	}
	if w.reg, err = d.opened.store.Domain("corp.test"); err != nil {
		t.Fatal(err)
	}
	w.reg.UseCase = string(identity.UseTwoWay)
	w.reg.JumpCloud = store.JumpCloudRegistration{URL: w.cloud.URL(), OrgID: w.cloud.OrgID(), CAPEM: caPEM}
	w.put()
	object, err := w.client().CreateActiveDirectory(t.Context(), "DC=corp;DC=test")
	if err != nil {
		t.Fatal(err)
	}
	w.reg.JumpCloud.ADID = object.ID
	w.put()
	id, err := w.cloud.AddUser(jcsim.User{Username: "alice", Email: "alice@corp.test", FirstName: "A", LastName: "B", Password: secret.New([]byte("Cloud.Pass1"))})
	if err != nil {
		t.Fatal(err)
	}
	peers, err := w.domains.peers("corp.test")
	if err != nil {
		t.Fatal(err)
	}
	alice, err := peers.AD.User(t.Context(), identity.Account{Domain: "corp.test", DN: "CN=alice,OU=People," + w.ad.BaseDN()})
	if err != nil {
		t.Fatal(err)
	}
	w.link = identity.Link{Domain: "corp.test", GUID: alice.GUID, JumpCloudID: id, MadeInAD: true}
	w.putLink()
	return w, log
}

func (w *bothSides) put() {
	w.t.Helper()
	if err := w.opened.store.PutDomain(w.t.Context(), w.reg, map[string]secret.Bytes{store.CredAPIKey: w.cloud.APIKey()}); err != nil {
		w.t.Fatal(err)
	}
	w.domains.changed(w.reg.Name)
}

func (w *bothSides) putLink() {
	w.t.Helper()
	if err := w.opened.store.PutLink(w.t.Context(), w.link); err != nil {
		w.t.Fatal(err)
	}
}

func (w *bothSides) client() *jumpcloud.Client {
	w.t.Helper()
	peers, err := w.domains.peers(w.reg.Name)
	if err != nil {
		w.t.Fatal(err)
	}
	return peers.JumpCloud
}

func (w *bothSides) account() identity.Account {
	return identity.Account{Domain: w.reg.Name, GUID: w.link.GUID, SAM: "alice"}
}

// TestCloudFacts: what JumpCloud says is remembered for a while, and longer when
// it does not answer; what it says not to exist is no error of JumpCloud's.
func TestCloudFacts(t *testing.T) {
	w, _ := newBothSides(t)
	f := newCloudFacts(w.domains)
	f.now = func() time.Time { return w.now }
	ctx := t.Context()
	reads := func() int { return w.cloud.Counts()["GET /api/systemusers/{id}"] }
	linked := func() (delegate.CloudUser, error) { return f.Linked(ctx, w.account()) }
	u, err := linked()
	if err != nil || u.Username != "alice" || u.GUID != w.link.GUID || !u.HasPassword || u.DelegatedToAD || u.PasswordByAD || u.Suspended {
		t.Errorf("got %+v, %v", u, err)
	}
	other, err := w.client().CreateActiveDirectory(ctx, "DC=other;DC=test")
	if err != nil {
		t.Fatal(err)
	}
	asked := reads()
	for name, restricted := range map[string]bool{w.reg.JumpCloud.ADID: true, other.ID: false} {
		if err := w.cloud.EditUser(w.link.JumpCloudID, map[string]any{"state": "SUSPENDED",
			"delegatedAuthority": map[string]any{"id": name, "name": "ActiveDirectory"},
			"restrictedFields":   []any{map[string]any{"field": "password", "id": name, "type": "active_directory"}}}); err != nil {
			t.Fatal(err)
		}
		before := u
		if u, err = linked(); err != nil || u != before {
			t.Errorf("half a minute is not over: got %+v, %v", u, err)
		}
		w.now = w.now.Add(factsFresh)
		if u, err = linked(); err != nil || !u.Suspended || u.DelegatedToAD != restricted || u.PasswordByAD != restricted {
			t.Errorf("authority of %s: got %+v, %v", name, u, err)
		}
	}
	if asked == 0 || reads() != asked+2 {
		t.Errorf("%d reads, then %d; want one for each half minute", asked, reads())
	}
	if u, err := f.Named(ctx, w.reg.Name, "ALICE@corp.test"); err != nil || u.ID != w.link.JumpCloudID || u.Domain != w.reg.Name {
		t.Errorf("by mail: got %+v, %v", u, err)
	}
	if _, err := f.Named(ctx, w.reg.Name, "nobody"); !errors.Is(err, delegate.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := f.Linked(ctx, identity.Account{Domain: w.reg.Name, GUID: identity.GUID{9}}); !errors.Is(err, delegate.ErrNotFound) {
		t.Errorf("no link: %v", err)
	}
	w.cloud.SetPolicy(jcsim.PasswordPolicy{EnableMinLength: true, MinLength: 14, NeedsSymbolic: true, MaxHistory: 3, DisallowUsernameSubstring: true})
	if p, err := f.Policy(ctx, w.reg.Name); err != nil || p != (delegate.CloudPolicy{MinLength: 14, Symbolic: true, NoUsername: true}) {
		t.Errorf("policy: got %+v, %v", p, err)
	}
	w.cloud.Fail(jcsim.Fault{PathPrefix: "/api", Times: 10_000, Kind: jcsim.Status, Code: 500})
	w.now = w.now.Add(factsStale - time.Minute)
	if u, err := linked(); err != nil || u.Username != "alice" {
		t.Errorf("JumpCloud is away: got %+v, %v", u, err)
	}
	w.now = w.now.Add(2 * time.Minute)
	if _, err := linked(); err == nil || errors.Is(err, delegate.ErrNotFound) {
		t.Errorf("for long: %v", err)
	}
}

// TestCloudFacts_Anew: a user is read whatever is remembered, and what was
// remembered under a name that is not the user's any more is forgotten.
func TestCloudFacts_Anew(t *testing.T) {
	w, _ := newBothSides(t)
	f := newCloudFacts(w.domains)
	f.now = func() time.Time { return w.now }
	ctx, id := t.Context(), w.link.JumpCloudID
	named := func(name string) string {
		t.Helper()
		u, err := f.Named(ctx, w.reg.Name, name)
		if err != nil && !errors.Is(err, delegate.ErrNotFound) {
			t.Fatal(err)
		}
		return u.ID
	}
	if named("alice") != id {
		t.Fatal("alice has another id")
	}
	if u, err := f.Linked(ctx, w.account()); err != nil || u.Username != "alice" {
		t.Fatal(u, err)
	}
	if err := w.cloud.EditUser(id, map[string]any{"username": "alice.new"}); err != nil {
		t.Fatal(err)
	}
	if named("alice") != id {
		t.Fatal("want what is remembered")
	}
	if u, err := f.Anew(ctx, w.reg.Name, id); err != nil || u.Username != "alice.new" || u.ID != id {
		t.Errorf("got %+v, %v", u, err)
	}
	if named("alice") != "" {
		t.Error("the name that was given away is still the user's")
	}
	if u, err := f.Linked(ctx, w.account()); err != nil || u.Username != "alice.new" || u.GUID != w.link.GUID {
		t.Errorf("what was read is not remembered: got %+v, %v", u, err)
	}
	if _, err := f.Anew(ctx, w.reg.Name, strings.Repeat("0", len(id))); !errors.Is(err, delegate.ErrNotFound) {
		t.Errorf("no such user: %v", err)
	}
	w.cloud.Fail(jcsim.Fault{PathPrefix: "/api", Times: 10_000, Kind: jcsim.Status, Code: 500})
	if _, err := f.Anew(ctx, w.reg.Name, id); err == nil || errors.Is(err, delegate.ErrNotFound) {
		t.Errorf("JumpCloud is away: %v", err)
	}
}

// TestCloudFacts_Again: when JumpCloud does not answer, what is remembered does
// for a moment without asking again, so that sign-ins do not wait for it.
func TestCloudFacts_Again(t *testing.T) {
	w, _ := newBothSides(t)
	f := newCloudFacts(w.domains)
	f.now = func() time.Time { return w.now }
	asked := 0
	broken := errors.New("no answer")
	ask := func() (int, error) {
		return fact(t.Context(), f, "k", factsFresh, func(context.Context) (int, error) {
			asked++
			if asked > 1 {
				return 0, broken
			}
			return 7, nil
		})
	}
	for _, step := range []struct {
		after time.Duration
		asked int
		err   error
	}{{0, 1, nil}, {factsFresh, 2, nil}, {factsAgain / 2, 2, nil}, {factsAgain / 2, 3, nil}, {factsStale, 4, broken}, {0, 5, broken}} {
		w.now = w.now.Add(step.after)
		if got, err := ask(); !errors.Is(err, step.err) || err == nil && got != 7 || asked != step.asked {
			t.Errorf("%+v: got %d, %v after %d times", step, got, err, asked)
		}
	}
}

// TestTendDelegation: a domain that waits for an import is asked to be enabled
// while ours runs, and no other is; what JumpCloud makes of it is said.
func TestTendDelegation(t *testing.T) {
	w, log := newBothSides(t)
	asked := func() (n int) {
		for _, write := range w.cloud.Writes() {
			if strings.HasPrefix(write.Operation, "PATCH ") {
				n++
			}
		}
		return n
	}
	set := func(state string) {
		t.Helper()
		if err := w.cloud.SetDelegation(w.reg.JumpCloud.ADID, state); err != nil {
			t.Fatal(err)
		}
	}
	set("PENDING")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.tendDelegation(ctx, time.Hour, func(string) {}) }()
	const kept = "JumpCloud keeps the delegation pending"
	log.wait(t, kept) // as no agent of its own has reported
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	waits := make(map[string]bool)
	w.moveDelegation(t.Context(), w.reg, waits)
	w.moveDelegation(t.Context(), w.reg, waits)
	if n, said := asked(), log.count(kept); n != 3 || said != 2 {
		t.Errorf("asked %d times and said %d times, want 3 and 2", n, said)
	}
	for _, state := range []string{"DISABLED", "ENABLED"} {
		set(state)
		w.moveDelegation(t.Context(), w.reg, waits)
	}
	set("PENDING")
	w.reg.UseCase = string(identity.UseJumpCloud)
	w.put()
	w.moveDelegation(t.Context(), w.reg, waits)
	if n := asked(); n != 3 {
		t.Errorf("asked %d times, also where there is nothing to ask for", n)
	}
	if log.count("delegated password validation switched on") != 0 {
		t.Error("said to be switched on, and is pending")
	}
	w.cloud.Fail(jcsim.Fault{PathPrefix: "/api", Times: 10_000, Kind: jcsim.Status, Code: 500})
	w.moveDelegation(t.Context(), w.reg, waits)
	log.wait(t, "delegation state not moved")
}

// TestTendDelegation_Switched: a state that is switched at JumpCloud is noticed
// within one look, once, and what sign-ins are decided by follows as soon.
func TestTendDelegation_Switched(t *testing.T) {
	w, log := newBothSides(t)
	facts := newCloudFacts(w.domains)
	facts.now = func() time.Time { return w.now }
	state := func(want string) {
		t.Helper()
		if got, err := facts.Delegation(t.Context(), w.reg.Name); err != nil || string(got) != want {
			t.Errorf("decided by %q, %v, want %q", got, err, want)
		}
	}
	set := func(state string) {
		t.Helper()
		if err := w.cloud.SetDelegation(w.reg.JumpCloud.ADID, state); err != nil {
			t.Fatal(err)
		}
	}
	set("DISABLED")
	state("DISABLED")
	ctx, stop := context.WithCancel(t.Context())
	ended, changed := make(chan error, 1), make(chan string, 100)
	go func() {
		ended <- w.tendDelegation(ctx, time.Millisecond, func(domain string) { changed <- domain })
	}()
	looks := w.cloud.Counts()["GET /api/v2/activedirectories"]
	for w.cloud.Counts()["GET /api/v2/activedirectories"] < looks+5 {
		select {
		case domain := <-changed:
			t.Fatalf("%s: nothing was switched", domain)
		case <-t.Context().Done():
			t.Fatal("not looked at")
		default:
		}
	}
	set("ENABLED")
	if got := <-changed; got != w.reg.Name {
		t.Errorf("got %q", got)
	}
	log.wait(t, "from=DISABLED to=ENABLED")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(changed) != 0 {
		t.Error("told more than once")
	}
	state("DISABLED")
	w.now = w.now.Add(delegationLook)
	state("ENABLED")
}

// TestCloudPasswords: what JumpCloud's answers to a change mean, what is on its
// way to it, and what is learnt for AD.
func TestCloudPasswords(t *testing.T) {
	w, _ := newBothSides(t)
	now := func() time.Time { return w.now }
	c := cloudPasswords{domains: w.domains, now: now, recorder: &replicate.BindRecorder{Store: w.opened.store, Peers: w.domains.peers, Log: w.log, Now: now}}
	ctx, st := t.Context(), w.opened.store
	set := func(password string) error {
		return c.SetPassword(ctx, w.reg.Name, w.link.JumpCloudID, secret.New([]byte(password)))
	}
	if err := set("Quite.New.1"); err != nil {
		t.Error(err)
	}
	w.cloud.SetPolicy(jcsim.PasswordPolicy{EnableMinLength: true, MinLength: 30})
	if refusal, ok := errors.AsType[*delegate.CloudRefusal](set("Canary.Short")); !ok || refusal.Words == "" || strings.Contains(refusal.Words, "Canary") {
		t.Errorf("policy: got %v", refusal)
	}
	w.cloud.SetPolicy(jcsim.PasswordPolicy{})
	for code, unknown := range map[int]bool{500: true, 503: false, 403: false} {
		w.cloud.Fail(jcsim.Fault{PathPrefix: "/api", Times: 1, Kind: jcsim.Status, Code: code})
		err := set("Quite.New.2")
		_, refused := errors.AsType[*delegate.CloudRefusal](err)
		if err == nil || refused || errors.Is(err, delegate.ErrCloudUnknown) != unknown {
			t.Errorf("%d: got %v", code, err)
		}
	}
	w.cloud.Heal()

	learn := func(name string, want int) {
		t.Helper()
		if _, err := c.LearnCloud(ctx, w.reg.Name, w.cloud.UserDN("alice"), secret.New([]byte("Quite.New.1"))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if all, err := st.Pending(identity.Sync, 10, 0); err != nil || len(all) != want {
			t.Errorf("%s: %d passwords for AD, %v, want %d", name, len(all), err, want)
		}
	}
	learn("set just now", 0)
	w.now = time.Now().Add(time.Hour)
	w.reg.UseCase = store.UseCaseAD
	w.put()
	learn("without a sync", 0)
	w.reg.UseCase = string(identity.UseTwoWay)
	w.put()
	learn("wanted", 1)

	pending := func(want bool) {
		t.Helper()
		if got, err := c.PasswordPending(ctx, w.account()); err != nil || got != want {
			t.Errorf("pending: got %v, %v, want %v", got, err, want)
		}
	}
	pending(false)
	seq, err := st.AppendIntent(ctx, identity.Change{Kind: identity.PasswordChange, Direction: identity.Import, Account: w.account(), Actor: "t"}, secret.New([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	pending(true)
	if err := st.Settle(ctx, seq, identity.OutcomeAccepted, ""); err != nil {
		t.Fatal(err)
	}
	pending(true)
	if err := st.BeginAttempt(ctx, seq, "none"); err != nil {
		t.Fatal(err)
	}
	w.link.PasswordSeq, w.link.PasswordAt = seq, time.Now()
	if err := st.MarkApplied(ctx, seq, &w.link); err != nil {
		t.Fatal(err)
	}
	w.now = time.Now()
	pending(true) // its LDAP may not have it yet
	w.now = time.Now().Add(arrived + time.Second)
	pending(false)
	learn("both sides have a newer one", 0)
}

// TestUnguarded: without the lockout guard every password reaches the
// controller, also through the delegate.
func TestUnguarded(t *testing.T) {
	for _, guarded := range []bool{true, false} {
		cfg := newInstallation(t)
		cfg.Gateway.LockoutGuard = guarded
		d, _ := newTestDaemon(t, cfg)
		startRegistered(t, d, "corp.test")
		guard, reached := d.delegateGuard(), 0
		for i := range 20 {
			settle, _, _, err := guard.Admit(t.Context(), identity.Account{Domain: "corp.test", GUID: identity.GUID{1}}, "192.0.2.1", secret.New(fmt.Appendf(nil, "wrong%d", i)))
			if err != nil {
				t.Fatal(err)
			}
			if settle != nil {
				reached++
				settle(nil, true)
			}
		}
		if guarded != (reached < 20) {
			t.Errorf("lockout_guard %v: %d of 20 reached the controller", guarded, reached)
		}
	}
}

// TestReloadThrottle: the delegate's limits follow the file.
func TestReloadThrottle(t *testing.T) {
	cfg := newInstallation(t)
	cfg.Delegate.Listen = "127.0.0.1:0"
	d, log := newTestDaemon(t, cfg)
	startRegistered(t, d, "corp.test")
	text, err := os.ReadFile(cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := newSettings(d).apply([]byte(strings.Replace(string(text), "#refusals_per_user: 10", "refusals_per_user: 2", 1))); err != nil {
		t.Fatal(err)
	}
	log.wait(t, `changed=delegate.refusals_per_user`)
	for i, want := range []delegate.Outcome{delegate.Refused, delegate.Refused, delegate.Undecided} {
		if v := d.delegate.validator.Validate(t.Context(), "nobody", secret.New([]byte{byte(i) + 'x'}), "192.0.2.1"); v.Verdict != want {
			t.Errorf("try %d: got %+v", i, v)
		}
	}
}

// TestP4_TypedNames: some people type their password where the name belongs, so
// what is typed there is in no error, and so in no log.
func TestP4_TypedNames(t *testing.T) {
	w, _ := newBothSides(t)
	f := newCloudFacts(w.domains)
	_ = w.cloud.Close()
	for _, typed := range []string{"Hunter2-Swordfish", "Hunter2@Swordfish"} {
		_, err := f.Named(t.Context(), w.reg.Name, typed)
		if err == nil || errors.Is(err, delegate.ErrNotFound) {
			t.Fatalf("without JumpCloud the answer is %v", err)
		}
		if text := strings.ToLower(err.Error()); strings.Contains(text, "hunter2") || strings.Contains(text, "swordfish") {
			t.Errorf("the error has what was typed: %v", err)
		}
	}
}
