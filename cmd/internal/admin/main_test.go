package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"go.uber.org/goleak"
)

// After an oversized body net/http's server lingers for half a second on the
// connection that it is about to close.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

const (
	domainName      = "corp.example.test"
	servicePassword = "Svc.Secret-77"
	userPassword    = "User.Secret-11"
)

// world is a Local between the two simulators, and a Client that reaches it
// over a socket.
type world struct {
	t      *testing.T
	ca     *certstest.CA
	ad     *adsim.Server
	cloud  *jcsim.Server
	local  *Local
	client *Client
	socket string
	log    wire // everything that the daemon's side answered

	identify func(*jumpcloud.Config) // changes who asks JumpCloud; nil: nobody

	mu      sync.Mutex
	changed []string // domains that Changed named; guarded by mu
}

// wire keeps what went over it.
type wire struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}

func (w *wire) Bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.buf.Bytes())
}

// tapped is a listener whose connections' answers are copied to a wire.
type tapped struct {
	net.Listener
	to *wire
}

func (l tapped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return tappedConn{c, l.to}, err
}

type tappedConn struct {
	net.Conn
	to *wire
}

func (c tappedConn) Write(b []byte) (int, error) {
	_, _ = c.to.Write(b)
	return c.Conn.Write(b)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ca: certstest.New(t)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.ad, err = adsim.Start(adsim.Config{TLS: w.ca.Server("127.0.0.1"), Domain: domainName, AdminPassword: secret.New([]byte("Admin.Pass1"))})
	must(err)
	t.Cleanup(func() { _ = w.ad.Close() })
	w.cloud, err = jcsim.Start(jcsim.Config{TLS: w.ca.Server("127.0.0.1")})
	must(err)
	t.Cleanup(func() { _ = w.cloud.Close() })
	_, err = adsim.Populate(w.ad.Directory, secret.New([]byte(userPassword)))
	must(err)
	_, err = w.ad.AddUser(adsim.User{Name: "svc", Password: secret.New([]byte(servicePassword))})
	must(err)
	_, err = w.cloud.AddUser(jcsim.User{Username: "alice", Email: "alice@" + domainName})
	must(err)
	w.openStore()
	w.serve()
	return w
}

func (w *world) openStore() {
	w.t.Helper()
	keys, master := w.t.TempDir(), secret.New(make([]byte, 32))
	if err := secret.EnsureKeys(keys, master); err != nil {
		w.t.Fatal(err)
	}
	sealer, err := secret.OpenSealer(keys)
	if err != nil {
		w.t.Fatal(err)
	}
	opener, err := secret.OpenOpener(keys, master)
	if err != nil {
		w.t.Fatal(err)
	}
	st, err := store.Open(store.Options{InMemory: true, Sealer: sealer, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := st.Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.local = &Local{Store: st, Opener: opener, Connect: w.connect, Writer: w.writer, Peers: w.peers, Now: time.Now, Changed: func(name string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed = append(w.changed, name)
	}}
}

// serve puts the Local behind a socket.
func (w *world) serve() {
	w.t.Helper()
	w.socket = filepath.Join(w.t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", w.socket)
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: Handler(w.local)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(tapped{l, &w.log}) }()
	w.t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	if w.client, err = Dial(w.socket); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.client.Close)
}

// dialer dials the first of the addresses of a registration.
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

func (w *world) connect(d store.Domain, importPassword, apiKey secret.Bytes) (*replicate.Peers, error) {
	conf := w.ca.Client("127.0.0.1")
	directory, err := ad.New(ad.Config{DCs: dialer{d.DCs[0][len("ldaps://"):], conf}, Account: d.ImportAccount,
		Password: importPassword.Clone(), ScopeGroup: d.ScopeGroup})
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: conf}
	w.t.Cleanup(transport.CloseIdleConnections)
	client := jumpcloud.Config{URL: d.JumpCloud.URL, OrgID: d.JumpCloud.OrgID, APIKey: apiKey.Clone(),
		HTTP: &http.Client{Transport: transport}, RequestsPerSecond: 1000}
	if w.identify != nil {
		w.identify(&client)
	}
	cloud, err := jumpcloud.New(client)
	if err != nil {
		return nil, err
	}
	return &replicate.Peers{AD: directory, JumpCloud: cloud}, nil
}

func (w *world) writer(d store.Domain, syncPassword secret.Bytes) (*ad.Writer, error) {
	return ad.NewWriter(ad.WriterConfig{Config: ad.Config{DCs: dialer{d.DCs[0][len("ldaps://"):], w.ca.Client("127.0.0.1")},
		Account: d.SyncAccount, Password: syncPassword.Clone()}})
}

const syncPassword = "Sync.Secret-88"

// addSync makes an account that may write, and gives its bind name.
func (w *world) addSync() string {
	w.t.Helper()
	dn, err := w.ad.AddUser(adsim.User{Name: "jcsync", Password: secret.New([]byte(syncPassword))})
	if err == nil {
		err = w.ad.GrantSync(dn, w.ad.BaseDN())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return "jcsync@" + domainName
}

func (w *world) peers(name string) (*replicate.Peers, error) {
	d, err := w.local.Store.Domain(name)
	if err != nil {
		return nil, err
	}
	password, err := w.local.Store.Credential(name, store.CredImportPassword, w.local.Opener)
	if err != nil {
		return nil, err
	}
	key, err := w.local.Store.Credential(name, store.CredAPIKey, w.local.Opener)
	if err != nil {
		return nil, err
	}
	p, err := w.connect(d, password, key)
	if err == nil {
		w.t.Cleanup(p.AD.Close)
	}
	return p, err
}

// request is a whole registration; what change does to it is asked for.
func (w *world) request(change ...func(*RegisterRequest)) RegisterRequest {
	r := RegisterRequest{
		Name: domainName, DCs: []string{w.ad.URL()},
		ScopeGroup:    new("CN=" + adsim.ScopeGroup + ",OU=Groups," + w.ad.BaseDN()),
		ImportAccount: new("svc@" + domainName), ImportPassword: []byte(servicePassword),
		JumpCloudURL: new(w.cloud.URL()), JumpCloudAPIKey: slices.Clone(w.cloud.APIKey().Expose()),
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func (w *world) register() store.Domain {
	w.t.Helper()
	a, err := w.client.Register(w.t.Context(), w.request())
	if err != nil {
		w.t.Fatal(err)
	}
	return a.Domain
}

// changePassword records an accepted change of alice, and returns its number.
func (w *world) changePassword() identity.Seq {
	w.t.Helper()
	view, err := w.local.User(w.t.Context(), "", "alice")
	if err != nil {
		w.t.Fatal(err)
	}
	seq, err := w.local.Store.AppendIntent(w.t.Context(), identity.Change{Kind: identity.PasswordChange, Direction: identity.Import,
		Account: identity.Account{Domain: domainName, GUID: view.AD.GUID, DN: view.AD.DN, SAM: "alice"}}, secret.New([]byte(userPassword)))
	if err == nil {
		err = w.local.Store.Settle(w.t.Context(), seq, identity.OutcomeAccepted, "")
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return seq
}

// readAll is a body as text.
func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
