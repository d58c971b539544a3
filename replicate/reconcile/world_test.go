package reconcile

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"slices"
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

// world is a reconciler between the two simulators.
type world struct {
	t      testing.TB
	ad     *adsim.Server
	admin  *ldap.Conn
	cloud  *jcsim.Server
	store  *store.Store
	clock  *clock
	domain store.Domain
	im     *Reconciler
	make   func(change ...func(*Config)) *Reconciler
	writer *ad.Writer // nil where nothing is synced
}

type dialer struct {
	addr string
	conf *tls.Config
}

func (d dialer) Dial(ctx context.Context) (*tls.Conn, string, error) {
	td := tls.Dialer{Config: d.conf}
	conn, err := td.DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, "", err
	}
	return conn.(*tls.Conn), d.addr, nil
}

const word = "Admin.Pass1"

func newWorld(t testing.TB, change ...func(*store.Domain)) *world {
	t.Helper()
	ca := certstest.New(t)
	w := &world{t: t, clock: &clock{t: time.Now().Truncate(time.Second)}}
	var err error
	w.ad, err = adsim.Start(adsim.Config{TLS: ca.Server("127.0.0.1"), AdminPassword: secret.New([]byte(word)), Now: w.clock.now})
	w.ok(err)
	t.Cleanup(func() { w.ok(w.ad.Close()) })
	w.cloud, err = jcsim.Start(jcsim.Config{TLS: ca.Server("127.0.0.1")})
	w.ok(err)
	t.Cleanup(func() { w.ok(w.cloud.Close()) })
	_, err = w.ad.AddGroup(adsim.ScopeGroup)
	w.ok(err)
	w.admin, err = ldap.DialURL(w.ad.URL(), ldap.DialWithTLSConfig(ca.Client("127.0.0.1")))
	w.ok(err)
	t.Cleanup(func() { _ = w.admin.Close() })
	w.ok(w.admin.Bind(w.ad.AdminDN(), word))
	w.openStore()

	transport := &http.Transport{TLSClientConfig: ca.Client("127.0.0.1")}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := jumpcloud.New(jumpcloud.Config{URL: w.cloud.URL(), OrgID: w.cloud.OrgID(), APIKey: w.cloud.APIKey(),
		HTTP: &http.Client{Transport: transport}, Timeout: 2 * time.Second, RequestsPerSecond: 100_000})
	w.ok(err)
	object, err := client.CreateActiveDirectory(t.Context(), strings.ReplaceAll(w.ad.BaseDN(), ",", ";"))
	w.ok(err)
	w.domain = store.Domain{Name: w.ad.Domain(), BaseDN: w.ad.BaseDN(), ScopeGroup: w.group(adsim.ScopeGroup), UseCase: store.UseCaseAD,
		JumpCloud: store.JumpCloudRegistration{ADID: object.ID}}
	for _, c := range change {
		c(&w.domain)
	}
	conf := ad.Config{DCs: dialer{w.ad.Addr(), ca.Client("127.0.0.1")}, Account: w.ad.AdminDN(), Password: secret.New([]byte(word)),
		RootDN: w.domain.RootDN, ScopeGroup: w.domain.ScopeGroup}
	accounts, err := ad.New(conf)
	w.ok(err)
	t.Cleanup(accounts.Close)
	if identity.UseCase(w.domain.UseCase).Syncs() {
		w.newWriter(conf)
	}
	w.make = func(change ...func(*Config)) *Reconciler {
		reader, err := ad.NewReader(ad.ReaderConfig{Config: conf, Interval: time.Hour})
		w.ok(err)
		t.Cleanup(reader.Close)
		cfg := Config{Store: w.store, Domain: w.domain, Reader: reader, AD: accounts, JumpCloud: client, Now: w.clock.now,
			Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
		if w.writer != nil {
			cfg.Writer = w.writer
		}
		for _, c := range change {
			c(&cfg)
		}
		im, err := New(cfg)
		w.ok(err)
		return im
	}
	w.im = w.make()
	w.cloud.ForgetHistory()
	return w
}

// newWriter writes as an account that has what sync takes, and no more.
func (w *world) newWriter(conf ad.Config) {
	dn, err := w.ad.AddUser(adsim.User{Name: "jcsync", Password: secret.New([]byte("Sync.Pass1"))})
	w.ok(err)
	w.ok(w.ad.GrantSync(dn, w.ad.BaseDN()))
	conf.Account, conf.Password = dn, secret.New([]byte("Sync.Pass1"))
	w.writer, err = ad.NewWriter(ad.WriterConfig{Config: conf})
	w.ok(err)
	w.t.Cleanup(w.writer.Close)
}

func (w *world) openStore() {
	keys, master := w.t.TempDir(), secret.New(make([]byte, 32))
	w.ok(secret.EnsureKeys(keys, master))
	sealer, err := secret.OpenSealer(keys)
	w.ok(err)
	w.store, err = store.Open(store.Options{InMemory: true, Sealer: sealer, Log: slog.New(slog.DiscardHandler), Now: w.clock.now})
	w.ok(err)
	w.t.Cleanup(func() { w.ok(w.store.Close()) })
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) group(name string) string { return "CN=" + name + ",OU=Groups," + w.ad.BaseDN() }

func (w *world) dn(name string) string { return "CN=" + name + ",OU=People," + w.ad.BaseDN() }

// hire adds people to the scope group, or to others.
func (w *world) hire(names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.hireInto([]string{adsim.ScopeGroup}, name)
	}
}

func (w *world) hireInto(groups []string, name string, attributes ...adsim.Attribute) {
	w.t.Helper()
	title := strings.ToUpper(name[:1]) + name[1:]
	_, err := w.ad.AddUser(adsim.User{Name: name, Password: secret.New([]byte("Start.Pass1")), GivenName: title, Surname: "Test", Groups: groups, Attributes: attributes})
	w.ok(err)
}

// set changes attributes as an administrator does.
func (w *world) set(dn string, pairs ...string) {
	w.t.Helper()
	m := ldap.NewModifyRequest(dn, nil)
	for n := 0; n < len(pairs); n += 2 {
		var values []string
		if pairs[n+1] != "" {
			values = strings.Split(pairs[n+1], "\n")
		}
		m.Replace(pairs[n], values)
	}
	w.ok(w.admin.Modify(m))
}

// pass is a cycle, and what follows from it.
func (w *world) pass() (next time.Time) {
	w.t.Helper()
	w.ok(w.im.Cycle(w.t.Context()))
	next, err := w.im.Apply(w.t.Context())
	w.ok(err)
	return next
}

func (w *world) user(name string) jcsim.User {
	w.t.Helper()
	for _, u := range w.cloud.Users() {
		if u.Username == name {
			return u
		}
	}
	w.t.Fatalf("JumpCloud has no user %q: it has %v", name, w.names())
	return jcsim.User{}
}

func (w *world) names() []string {
	var all []string
	for _, u := range w.cloud.Users() {
		all = append(all, u.Username)
	}
	slices.Sort(all)
	return all
}

func (w *world) want(names ...string) {
	w.t.Helper()
	slices.Sort(names)
	if got := w.names(); !slices.Equal(got, names) {
		w.t.Errorf("JumpCloud's users are %v, want %v", got, names)
	}
}

// members are the usernames of a group's members.
func (w *world) members(name string) []string {
	w.t.Helper()
	for _, g := range w.cloud.Groups() {
		if g.Name != name {
			continue
		}
		var all []string
		for _, id := range w.cloud.Members(g.ID) {
			u, _ := w.cloud.User(id)
			all = append(all, u.Username)
		}
		slices.Sort(all)
		return all
	}
	w.t.Fatalf("JumpCloud has no group %q", name)
	return nil
}

// idle says that nothing is left to do: neither side is written, and nothing
// is planned.
func (w *world) idle() {
	w.t.Helper()
	if w.writer != nil {
		w.soon() // what one direction follows of the other
	}
	w.cloud.ForgetHistory()
	w.clock.add(2 * time.Minute)
	w.pass()
	w.im.Resync()
	w.pass()
	if writes := w.cloud.Writes(); len(writes) > 0 {
		w.t.Errorf("a pass without changes wrote %v", writes)
	}
	p, err := w.im.Plan(w.t.Context())
	w.ok(err)
	if actions := p.Actions(); len(actions) > 0 {
		w.t.Errorf("still planned: %+v", actions)
	}
	stats, err := w.store.Stats()
	w.ok(err)
	n := 0
	for _, d := range []identity.Direction{identity.Import, identity.Sync} {
		n += stats.Pending[d] + stats.Held[d] + stats.Dead[d]
	}
	if n > 0 {
		w.t.Errorf("%d changes are open: %+v", n, stats)
	}
}

func (w *world) held() []identity.Entry {
	w.t.Helper()
	held, err := w.store.Held(identity.Import, store.HeldOptions{})
	w.ok(err)
	return held
}
