package portal

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/delegate"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const right = "Right-Pässwörd1"

// fake is a directory in memory: accounts with one password, and the answers
// that a test sets.
type fake struct {
	mu       sync.Mutex
	accounts map[string]*account // by name and by GUID; guarded by mu
	policies delegate.Policies   // guarded by mu
	down     bool                // guarded by mu
	clients  []string            // guarded by mu
}

type account struct {
	user      delegate.User
	password  string
	refused   delegate.Reason // of the right password
	authority delegate.Authority
	info      delegate.PasswordInfo
	change    *delegate.ChangeResult // instead of a change
}

func newFake() *fake {
	f := &fake{accounts: make(map[string]*account), policies: delegate.Policies{
		AD:        &delegate.ADPolicy{MinLength: 8, Complexity: true, History: 24, MinAge: 24 * time.Hour, Whole: true},
		JumpCloud: &delegate.CloudPolicy{MinLength: 12, Lowercase: true, Uppercase: true, Numeric: true, Symbolic: true, NoUsername: true, NoSequences: true, DisallowCommon: true, History: 5},
	}}
	for i, name := range []string{"alice", "dave", "frank", "carol", "gone", "hours", "pending", "nodelegation", "jcexpired"} {
		u := delegate.User{Username: name, DisplayName: name + " Archer", DN: "CN=" + name + ",DC=corp,DC=test", GUID: identity.GUID{byte(i + 1)}, JumpCloudID: "jc-" + name}
		a := &account{user: u, password: right, authority: delegate.ByAD, info: delegate.PasswordInfo{User: u, Status: delegate.StatusActive,
			Authority: delegate.ByAD, ChangedAt: delegate.ByAD, InSync: true, SetAt: time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)}}
		f.accounts[name], f.accounts["<GUID="+u.GUID.String()+">"] = a, a
	}
	for name, reason := range map[string]delegate.Reason{"dave": delegate.MustChange, "frank": delegate.Expired, "carol": delegate.Disabled, "gone": delegate.AccountExpired,
		"hours": delegate.NotPermittedNow, "pending": delegate.DelegationPending, "nodelegation": delegate.NotDelegated, "jcexpired": delegate.Expired} {
		f.accounts[name].refused = reason
	}
	f.accounts["jcexpired"].authority = delegate.ByJumpCloud
	return f
}

func (f *fake) set(change func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fake) Validate(_ context.Context, name string, password secret.Bytes, client string) delegate.Verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clients = append(f.clients, client)
	a := f.accounts[name]
	switch {
	case f.down:
		return delegate.Verdict{Verdict: delegate.Undecided, Reason: delegate.Unavailable}
	case name == "erin":
		return delegate.Verdict{Verdict: delegate.Refused, Reason: delegate.LockedOut, Authority: delegate.ByAD}
	case name == "station": // AD's 52f may be told to a wrong password
		return delegate.Verdict{Verdict: delegate.Refused, Reason: delegate.NotPermittedNow, Authority: delegate.ByAD}
	case name == "hurry":
		return delegate.Verdict{Verdict: delegate.Undecided, Reason: delegate.Throttled, RetryAfter: 90 * time.Second}
	case a == nil || a.password != string(password.Expose()):
		return delegate.Verdict{Verdict: delegate.Refused, Reason: delegate.BadCredentials}
	case a.refused != "":
		return delegate.Verdict{Verdict: delegate.Refused, Reason: a.refused, Authority: a.authority, PasswordCorrect: true, User: &a.user}
	}
	return delegate.Verdict{Verdict: delegate.Accepted, Authority: a.authority, PasswordCorrect: true, User: &a.user}
}

func (f *fake) Change(_ context.Context, name string, old, new secret.Bytes, _ string) delegate.ChangeResult {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.accounts[name]
	switch {
	case a.change != nil:
		return *a.change
	case a.password != string(old.Expose()):
		return delegate.ChangeResult{Outcome: delegate.ChangeRefused, Reason: delegate.BadCredentials}
	}
	names := delegate.Names{SAM: a.user.Username, Display: a.user.DisplayName, CloudUsername: a.user.Username}
	broken := append(delegate.CheckAD(*f.policies.AD, names, new, time.Time{}, time.Now()), delegate.CheckCloud(*f.policies.JumpCloud, names, new)...)
	if len(broken) > 0 {
		return delegate.ChangeResult{Outcome: delegate.ChangeRefused, Reason: delegate.PolicyRefused, Violations: broken}
	}
	a.password, a.refused = string(new.Expose()), ""
	a.info.Status, a.info.InSync = delegate.StatusActive, false
	return delegate.ChangeResult{Outcome: delegate.Changed}
}

func (f *fake) Password(_ context.Context, name string) (delegate.PasswordInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return delegate.PasswordInfo{}, context.DeadlineExceeded
	}
	if a := f.accounts[name]; a != nil {
		return a.info, nil
	}
	return delegate.PasswordInfo{}, delegate.ErrNoUser
}

func (f *fake) Policies(_ context.Context, name string) (delegate.Policies, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.down:
		return delegate.Policies{}, context.DeadlineExceeded
	case f.accounts[name] == nil:
		return delegate.Policies{}, delegate.ErrNoUser
	}
	return f.policies, nil
}

// newServer serves a portal before a fake directory, over TLS.
func newServer(t *testing.T, changes ...func(*Config)) (*httptest.Server, *fake) {
	t.Helper()
	f := newFake()
	cfg := Config{Directory: f, Log: slog.New(slog.DiscardHandler)}
	for _, change := range changes {
		change(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(p)
	t.Cleanup(s.Close)
	return s, f
}
