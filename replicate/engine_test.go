package replicate

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// world is an engine between the two simulators.
type world struct {
	t      *testing.T
	ad     *adsim.Server
	cloud  *jcsim.Server
	ca     *certstest.CA
	store  *store.Store
	opener *secret.Opener
	clock  *clock
	engine *Engine
	peers  *Peers

	alice identity.Account
	id    string // of alice in JumpCloud
}

const domainName = "corp.example.test"

// simDialer dials the embedded AD.
type simDialer struct {
	addr string
	conf *tls.Config
}

func (d simDialer) Dial(ctx context.Context) (*tls.Conn, string, error) {
	td := tls.Dialer{Config: d.conf}
	conn, err := td.DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, "", err
	}
	return conn.(*tls.Conn), d.addr, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ca: certstest.New(t), clock: &clock{t: time.Now()}}
	var err error
	if w.ad, err = adsim.Start(adsim.Config{TLS: w.ca.Server("127.0.0.1"), Domain: domainName, AdminPassword: secret.New([]byte("Admin.Pass1")), Now: w.clock.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.ad.Close() })
	if w.cloud, err = jcsim.Start(jcsim.Config{TLS: w.ca.Server("127.0.0.1")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cloud.Close() })
	if _, err := adsim.Populate(w.ad.Directory, secret.New([]byte("Start.Pass1"))); err != nil {
		t.Fatal(err)
	}
	w.connect()
	w.openStore()
	w.alice = w.account("alice")
	w.id = w.addToJumpCloud("alice")
	w.engine = w.newEngine()
	return w
}

// connect makes the clients of both sides, of a configuration that may be
// changed before.
func (w *world) connect(change ...func(*ad.Config, *jumpcloud.Config)) {
	w.t.Helper()
	transport := &http.Transport{TLSClientConfig: w.ca.Client("127.0.0.1")}
	ac := ad.Config{
		DCs:     simDialer{w.ad.Addr(), w.ca.Client("127.0.0.1")},
		Account: w.ad.AdminDN(), Password: secret.New([]byte("Admin.Pass1")),
		RootDN: w.ad.BaseDN(), ScopeGroup: w.scopeGroup(),
	}
	jc := jumpcloud.Config{URL: w.cloud.URL(), OrgID: w.cloud.OrgID(), APIKey: w.cloud.APIKey(),
		HTTP: &http.Client{Transport: transport}, Timeout: 300 * time.Millisecond, RequestsPerSecond: 1000}
	for _, c := range change {
		c(&ac, &jc)
	}
	directory, err := ad.New(ac)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	w.t.Cleanup(directory.Close)
	cloud, err := jumpcloud.New(jc)
	if err != nil {
		w.t.Fatal(err)
	}
	w.peers = &Peers{AD: directory, JumpCloud: cloud}
}

func (w *world) scopeGroup() string { return "CN=" + adsim.ScopeGroup + ",OU=Groups," + w.ad.BaseDN() }

func (w *world) openStore() {
	w.t.Helper()
	keys := w.t.TempDir()
	master := secret.New(make([]byte, 32))
	if err := secret.EnsureKeys(keys, master); err != nil {
		w.t.Fatal(err)
	}
	sealer, err := secret.OpenSealer(keys)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.opener, err = secret.OpenOpener(keys, master); err != nil {
		w.t.Fatal(err)
	}
	if w.store, err = store.Open(store.Options{InMemory: true, Sealer: sealer, Log: quiet(), Now: w.clock.now}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			w.t.Error(err)
		}
	})
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func (w *world) newEngine() *Engine {
	w.t.Helper()
	e, err := New(Config{Store: w.store, Opener: w.opener, Now: w.clock.now, Log: quiet(),
		Peers:   func(string) (*Peers, error) { return w.peers, nil },
		Metrics: NewMetrics(prometheus.NewRegistry(), w.store, w.clock.now)})
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) account(name string) identity.Account {
	w.t.Helper()
	u, err := w.peers.AD.FindUser(w.t.Context(), w.ad.BaseDN(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return identity.Account{Domain: domainName, GUID: u.GUID, DN: u.DN, SAM: u.Username}
}

func (w *world) addToJumpCloud(name string) string {
	w.t.Helper()
	id, err := w.cloud.AddUser(jcsim.User{Username: name, Email: name + "@" + domainName, LDAPBound: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// intend records an intent as the gateway does.
func (w *world) intend(a identity.Account, password string) identity.Seq {
	w.t.Helper()
	u, err := w.peers.AD.User(w.t.Context(), a)
	if err != nil {
		w.t.Fatal(err)
	}
	seq, err := w.store.AppendIntent(w.t.Context(), identity.Change{Kind: identity.PasswordChange, Direction: identity.Import,
		Account: a, PwdLastSet: u.PwdLastSet, DC: u.DC}, secret.New([]byte(password)))
	if err != nil {
		w.t.Fatal(err)
	}
	return seq
}

// accept records a change that AD accepted.
func (w *world) accept(a identity.Account, password string) identity.Seq {
	w.t.Helper()
	seq := w.intend(a, password)
	if err := w.store.Settle(w.t.Context(), seq, identity.OutcomeAccepted, ""); err != nil {
		w.t.Fatal(err)
	}
	return seq
}

func (w *world) step() time.Time {
	w.t.Helper()
	next, err := w.engine.Step(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return next
}

func (w *world) want(seq identity.Seq, status identity.Status, reason string) identity.Entry {
	w.t.Helper()
	e, err := w.store.Entry(seq)
	if err != nil {
		w.t.Fatal(err)
	}
	if e.Status != status || !strings.Contains(e.Reason, reason) {
		w.t.Fatalf("change %s is %s (%s), want %s with reason %q", seq, e.Status, e.Reason, status, reason)
	}
	return e
}

// accepts proves a password at JumpCloud's LDAP.
func (w *world) accepts(name, password string) bool {
	w.t.Helper()
	c, err := ldap.DialURL(w.cloud.LDAPURL(), ldap.DialWithTLSConfig(w.ca.Client("127.0.0.1")))
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	return c.Bind(w.cloud.UserDN(name), password) == nil
}

func TestApply(t *testing.T) {
	w := newWorld(t)
	seq := w.accept(w.alice, "Neu.Pässwörd1")
	if next := w.step(); !next.IsZero() {
		t.Errorf("next pass at %v, want none", next)
	}
	w.want(seq, identity.StatusApplied, "")
	if !w.accepts("alice", "Neu.Pässwörd1") {
		t.Error("JumpCloud does not accept the password")
	}
	link, err := w.store.LinkByGUID(domainName, w.alice.GUID)
	if err != nil || link.JumpCloudID != w.id || link.PasswordSeq != seq {
		t.Errorf("got link %+v, %v; want one to %s with password %s", link, err, w.id, seq)
	}
	// I3: linked, so neither a new name nor a new mail address matters.
	if err := w.ad.Rename(adminOf(t, w), w.alice.DN, "CN=Alice Renamed", ""); err != nil {
		t.Fatal(err)
	}
	seq = w.accept(w.alice, "Third.Pass3")
	w.step()
	w.want(seq, identity.StatusApplied, "")
}

func adminOf(t *testing.T, w *world) adsim.Identity {
	t.Helper()
	id, err := w.ad.Bind(w.ad.AdminDN(), []byte("Admin.Pass1"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestP2_OnlyTheNewest(t *testing.T) {
	w := newWorld(t)
	first := w.accept(w.alice, "First.Pass1")
	second := w.accept(w.alice, "Second.Pass2")
	w.step()
	w.want(first, identity.StatusSuperseded, "")
	w.want(second, identity.StatusApplied, "")
	if w.accepts("alice", "First.Pass1") || !w.accepts("alice", "Second.Pass2") {
		t.Error("JumpCloud does not have the second password")
	}
}

// TestL2_Busy: an outage defers, obeys Retry-After, grows, and ends by itself.
func TestL2_Busy(t *testing.T) {
	w := newWorld(t)
	seq := w.accept(w.alice, "Some.Pass1")
	w.cloud.Fail(jcsim.Fault{Method: "POST", Kind: jcsim.Status, Code: 429, RetryAfter: "30"})
	next := w.step()
	if wait := next.Sub(w.clock.now()); wait < 30*time.Second || wait > 32*time.Second {
		t.Errorf("next try in %v, want the 30 s that JumpCloud asked for", wait)
	}
	e := w.want(seq, identity.StatusPending, "429")
	if e.Evidence != "" || e.Attempts != 1 {
		t.Errorf("got %d attempts, evidence %q; want 1 and none: it was refused", e.Attempts, e.Evidence)
	}
	w.step()
	w.want(seq, identity.StatusPending, "429") // not due yet
	w.clock.add(33 * time.Second)
	w.step()
	w.want(seq, identity.StatusApplied, "")
}

func TestL2_OutageBacksOff(t *testing.T) {
	w := newWorld(t)
	seq := w.accept(w.alice, "Some.Pass1")
	if err := w.ad.RefuseConnections(true); err != nil {
		t.Fatal(err)
	}
	w.ad.DropConnections()
	var waits []time.Duration
	for range 6 {
		next := w.step()
		waits = append(waits, next.Sub(w.clock.now()))
		w.clock.add(waits[len(waits)-1] + time.Millisecond)
	}
	if waits[5] < 4*waits[0] {
		t.Errorf("waits %v do not grow", waits)
	}
	w.want(seq, identity.StatusPending, "decide")
	if err := w.ad.RefuseConnections(false); err != nil {
		t.Fatal(err)
	}
	w.step()
	w.want(seq, identity.StatusApplied, "")
}

// TestL1_Unknown: a write that was sent and not answered is read back.
func TestL1_Unknown(t *testing.T) {
	for name, tt := range map[string]struct {
		kind    jcsim.FaultKind
		applied bool
	}{"it had effect": {jcsim.TimeoutAfterApply, true}, "half an answer": {jcsim.HalfAnswer, true}, "it had none": {jcsim.TimeoutBeforeApply, false}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cloud.SetPolicy(jcsim.PasswordPolicy{EnableMaxHistory: true, MaxHistory: 5}) // a second write would be refused
			w.cloud.Fail(jcsim.Fault{Method: "POST", PathPrefix: "/api/systemusers/" + w.id, Kind: tt.kind})
			seq := w.accept(w.alice, "Some.Pass1")
			next := w.step()
			if e := w.want(seq, identity.StatusPending, ""); e.Evidence == "" {
				t.Error("no evidence was kept")
			}
			if got := w.accepts("alice", "Some.Pass1"); got != tt.applied {
				t.Fatalf("JumpCloud accepts it: %v, want %v", got, tt.applied)
			}
			w.clock.add(next.Sub(w.clock.now()))
			w.step()
			w.want(seq, identity.StatusApplied, "")
			if !w.accepts("alice", "Some.Pass1") {
				t.Error("JumpCloud does not accept it")
			}
		})
	}
}

// TestP3_Refused: JumpCloud's own words, and the way on.
func TestP3_Refused(t *testing.T) {
	w := newWorld(t)
	w.cloud.SetPolicy(jcsim.PasswordPolicy{EnableMinLength: true, MinLength: 30})
	seq := w.accept(w.alice, "Too.Short1")
	bob := w.accept(w.account("bob"), "Bob.Is.Not.Held.Up.By.Alice.At.All1")
	w.addToJumpCloud("bob")
	w.step()
	e := w.want(seq, identity.StatusDead, "400")
	t.Log(e.Reason)
	w.want(bob, identity.StatusApplied, "")
	if err := w.store.Retry(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
	w.cloud.SetPolicy(jcsim.PasswordPolicy{})
	w.step()
	w.want(seq, identity.StatusApplied, "")
}

func TestI1_NotReplicated(t *testing.T) {
	w := newWorld(t)
	admin := adminOf(t, w)
	bob := w.account("bob")
	w.addToJumpCloud("bob")
	if err := w.ad.Modify(admin, bob.DN, []adsim.Change{{Op: 2, Name: "adminCount", Values: []string{"1"}}}, false); err != nil {
		t.Fatal(err)
	}
	privileged := w.accept(bob, "Some.Pass1")
	if _, err := w.ad.AddUser(adsim.User{Name: "outsider", Password: secret.New([]byte("Start.Pass1"))}); err != nil {
		t.Fatal(err)
	}
	w.addToJumpCloud("outsider")
	outside := w.accept(w.account("outsider"), "Some.Pass1")
	carol := w.account("carol")
	gone := w.accept(carol, "Some.Pass1")
	if err := w.ad.Delete(admin, carol.DN); err != nil {
		t.Fatal(err)
	}
	stranger := w.accept(w.account("frank"), "Some.Pass1") // not in JumpCloud
	dave := w.account("dave")
	temporary, err := w.store.AppendIntent(t.Context(), identity.Change{Kind: identity.PasswordReset, Direction: identity.Import,
		Account: dave, MustChange: true}, secret.New([]byte("Some.Pass1")))
	if err != nil {
		t.Fatal(err)
	}
	w.settle(temporary, identity.OutcomeAccepted)
	w.step()
	w.want(privileged, identity.StatusDiscarded, "adminCount=1")
	w.want(temporary, identity.StatusDiscarded, "temporary password")
	w.want(stranger, identity.StatusDead, "no JumpCloud user")
	for range 2 { // one look destroys nothing, however late the second is
		w.want(outside, identity.StatusPending, "not in scope")
		w.want(gone, identity.StatusPending, "not found")
		w.clock.add(59 * time.Minute)
		w.step()
	}
	w.want(outside, identity.StatusDiscarded, "scope group")
	w.want(gone, identity.StatusDead, "not found for 1h")
	if p, err := w.store.Secret(gone, w.opener); err != nil || p.IsEmpty() {
		t.Errorf("the password of an account that is not found: %v, want it kept", err)
	}
	for _, name := range []string{"bob", "outsider"} {
		if w.accepts(name, "Some.Pass1") {
			t.Errorf("JumpCloud has %s's password", name)
		}
	}
}

func (w *world) settle(seq identity.Seq, outcome identity.Outcome) {
	w.t.Helper()
	if err := w.store.Settle(w.t.Context(), seq, outcome, ""); err != nil {
		w.t.Fatal(err)
	}
}

// TestG5_Inherited: intents that an earlier process left are settled by
// evidence; one that is being answered now is left alone.
func TestG5_Inherited(t *testing.T) {
	w := newWorld(t)
	made := w.intend(w.alice, "Made.Pass1")
	bob := w.account("bob")
	notMade := w.intend(bob, "Not.Made1")
	admin := adminOf(t, w)
	reset(t, w, admin, w.alice.DN, "Made.Pass1") // the DC made it; nobody recorded that
	w.engine = w.newEngine()
	live := w.intend(w.account("frank"), "Live.Pass1")

	w.step()
	w.want(made, identity.StatusApplied, "")
	w.want(notMade, identity.StatusUnsettled, "") // the DC may still be at it
	w.want(live, identity.StatusUnsettled, "")
	w.clock.add(9 * time.Minute)
	w.step()
	w.want(notMade, identity.StatusUnsettled, "")
	w.want(live, identity.StatusUnsettled, "")
	w.clock.add(2 * time.Minute)
	w.step()
	w.want(notMade, identity.StatusRefused, "pwdLastSet did not move")
	w.want(live, identity.StatusRefused, "pwdLastSet did not move") // nobody will record it any more
}

// TestG5_LostTheRace: a wrong password counts only when the change is old, and
// costs the account two binds at most, also when the engine starts anew.
func TestG5_LostTheRace(t *testing.T) {
	w := newWorld(t)
	bob := w.account("bob")
	theirs := w.intend(bob, "Lost.The.Race1")
	if err := w.store.Settle(t.Context(), theirs, identity.OutcomeUnknown, "connection lost"); err != nil {
		t.Fatal(err)
	}
	reset(t, w, adminOf(t, w), bob.DN, "Other.Pass1")
	for range 3 {
		w.step()
		w.clock.add(time.Minute)
		w.engine = w.newEngine()
	}
	if e := w.want(theirs, identity.StatusUnsettled, ""); e.Probes != 1 {
		t.Errorf("%d binds in three processes, want 1", e.Probes)
	}
	w.clock.add(10 * time.Minute)
	w.step()
	if e := w.want(theirs, identity.StatusRefused, "wrong password"); e.Probes != 2 {
		t.Errorf("%d binds, want 2", e.Probes)
	}
}

func reset(t *testing.T, w *world, by adsim.Identity, dn, password string) {
	t.Helper()
	w.clock.add(time.Second) // pwdLastSet moves
	var wide strings.Builder
	for _, r := range `"` + password + `"` {
		wide.WriteByte(byte(r))
		wide.WriteByte(0)
	}
	if err := w.ad.Modify(by, dn, []adsim.Change{{Op: 2, Name: "unicodePwd", Values: []string{wide.String()}}}, false); err != nil {
		t.Fatal(err)
	}
}
