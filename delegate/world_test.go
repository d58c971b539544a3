package delegate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway"
	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	right          = "Start.Pass1"
	servicePass    = "Service.Pass1"
	serviceAccount = "svc-dirgate"
)

// world is a Validator before the simulators of both sides, with the gateway's
// guard, and what was recorded.
type world struct {
	*Validator
	t      testing.TB
	ad     *adsim.Server
	cloud  *jcsim.Server
	domain *Domain
	facts  *fakeCloud
	log    *logBuffer
	cfg    Config

	mu       sync.Mutex
	recorded chan identity.Change
	intents  []identity.Change  // guarded by mu
	outcomes []identity.Outcome // guarded by mu
	full     bool               // the disk is; guarded by mu
	pending  bool               // a password is on its way to JumpCloud; guarded by mu

	setErr error // what a change at JumpCloud is answered with
	unset  bool  // with setErr: it is not made either
	ca     *certstest.CA
}

// fakeCloud is JumpCloud's side as a test sets it.
type fakeCloud struct {
	mu      sync.Mutex
	users   map[string]CloudUser // by account name; guarded by mu
	state   Delegation
	p       CloudPolicy
	err     error
	noNames error         // it does not say who has a name
	asked   int           // who has one; guarded by mu
	anew    int           // reads whatever is remembered; guarded by mu
	moved   func(nth int) // is called before each; users may be changed
}

func (f *fakeCloud) Linked(_ context.Context, a identity.Account) (CloudUser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return CloudUser{}, f.err
	}
	if u, ok := f.users[a.SAM]; ok {
		u.GUID, u.Domain = a.GUID, a.Domain
		return u, nil
	}
	return CloudUser{}, ErrNotFound
}

func (f *fakeCloud) Named(_ context.Context, _, name string) (CloudUser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.noNames != nil {
		return CloudUser{}, f.noNames
	}
	if f.err != nil {
		return CloudUser{}, f.err
	}
	if u, ok := f.users[name]; ok {
		return u, nil
	}
	return CloudUser{}, ErrNotFound
}

func (f *fakeCloud) Anew(_ context.Context, _, id string) (CloudUser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.anew++
	if f.moved != nil {
		f.moved(f.anew)
	}
	for _, u := range f.users {
		if u.ID == id {
			return u, f.err
		}
	}
	return CloudUser{}, errors.Join(ErrNotFound, f.err)
}

func (f *fakeCloud) Delegation(context.Context, string) (Delegation, error) { return f.state, f.err }
func (f *fakeCloud) Policy(context.Context, string) (CloudPolicy, error)    { return f.p, f.err }

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (w *world) AppendIntent(_ context.Context, c identity.Change, _ secret.Bytes) (identity.Seq, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return 0, errors.New("no space left on device")
	}
	w.intents = append(w.intents, c)
	return identity.Seq(len(w.intents)), nil
}

func (w *world) Settle(_ context.Context, _ identity.Seq, o identity.Outcome, _ string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append(w.outcomes, o)
	return nil
}

func (w *world) RecordBind(_ context.Context, c identity.Change, _ secret.Bytes) (identity.BindOutcome, error) {
	w.recorded <- c
	return identity.BindRecorded, nil
}

func (w *world) PasswordPending(context.Context, identity.Account) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pending, nil
}

// SetPassword sets it at the simulator, and says what the test wants.
func (w *world) SetPassword(ctx context.Context, _, id string, password secret.Bytes) error {
	if w.setErr != nil && !errors.Is(w.setErr, ErrCloudUnknown) || w.unset {
		return w.setErr
	}
	body, err := json.Marshal(map[string]string{"password": string(password.Expose())})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cloud.URL()+"/api/systemusers/"+id+"/password", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-api-key", string(w.cloud.APIKey().Expose()))
	client := http.Client{Transport: &http.Transport{TLSClientConfig: w.ca.Client("127.0.0.1"), DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return &CloudRefusal{Words: res.Status}
	}
	return w.setErr
}

func newWorld(t testing.TB, changes ...func(*world)) *world {
	t.Helper()
	ca := certstest.New(t)
	w := &world{t: t, ca: ca, facts: &fakeCloud{users: make(map[string]CloudUser), state: DelegationEnabled}, log: new(logBuffer), recorded: make(chan identity.Change, 10)}
	var err error
	policy := adsim.DefaultPolicy()
	policy.LockoutThreshold, policy.LockoutDuration, policy.LockoutWindow = 5, 30*time.Minute, 30*time.Minute
	if w.ad, err = adsim.Start(adsim.Config{Policy: policy, TLS: ca.Server("127.0.0.1"), AdminPassword: pw("Admin.Pass1")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.ad.Close() })
	if _, err := adsim.Populate(w.ad.Directory, pw(right)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ad.AddUser(adsim.User{Name: serviceAccount, Password: pw(servicePass), Container: "OU=Service," + w.ad.BaseDN()}); err != nil {
		t.Fatal(err)
	}
	if w.cloud, err = jcsim.Start(jcsim.Config{TLS: ca.Server("127.0.0.1")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cloud.Close() })
	set := func(url string) *dc.Set {
		s, err := dc.New(dc.Config{URLs: []string{url}, TLS: ca.Client("")})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	w.domain = &Domain{Name: w.ad.Domain(), NetBIOS: w.ad.NetBIOS(), BaseDN: w.ad.BaseDN(), UseCase: identity.UseTwoWay, Capture: true,
		DCs: set(w.ad.URL()), Account: serviceAccount + "@" + w.ad.Domain(), Password: func() (secret.Bytes, error) { return pw(servicePass), nil },
		CloudLDAP: set(w.cloud.LDAPURL()), CloudBase: "ou=Users,o=" + w.cloud.OrgID() + ",dc=jumpcloud,dc=com"}
	w.cfg = Config{Domains: func() []*Domain { return []*Domain{w.domain} }, Cloud: w.facts, Guard: gateway.NewShared(), Capture: w, Backlog: w,
		Metrics: NewMetrics(prometheus.NewRegistry()), RefusalTime: time.Millisecond, CloudRefusalTime: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, change := range changes {
		change(w)
	}
	if w.Validator, err = New(w.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// ask is a validation; its answer in short: verdict, reason, authority.
func (w *world) ask(name, password string) string {
	w.t.Helper()
	v := w.Validate(w.t.Context(), name, pw(password), "192.0.2.1")
	if (v.User != nil) != v.PasswordCorrect {
		w.t.Errorf("%s: the user is told with a wrong password, or not with the right one: %+v", name, v)
	}
	return short(v)
}

func short(v Verdict) string {
	return strings.Join(strings.Fields(string(v.Verdict)+" "+string(v.Reason)+" "+string(v.Authority)), " ")
}

func (w *world) want(name, password, want string) {
	w.t.Helper()
	if got := w.ask(name, password); got != want {
		w.t.Errorf("%s: got %q, want %q\n%s", name, got, want, w.log.buf.String())
	}
}
