package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/gateway"
	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// domains turns registrations into the clients that the roles work with, and
// keeps them until a registration changes. With Run their controllers are
// watched.
type domains struct {
	store   *store.Store
	opener  *secret.Opener
	cfg     *config.Config
	log     *slog.Logger
	observe peerMetrics

	wake     chan struct{} // tells Run of a changed registration
	watchers sync.WaitGroup

	mu        sync.Mutex
	connected map[string]*connection // by domain name; guarded by mu
	offered   []*gateway.Domain      // to sessions; nil when to be made anew; guarded by mu
	offerEnds time.Time              // of an offer that lacks something; zero: it stays; guarded by mu
	changes   int                    // of registrations, so that an old one is not kept; guarded by mu
	watching  context.Context        // of Run; nil while it does not run; guarded by mu
	followers []func(domain string)  // told of changed registrations; guarded by mu

	settings  atomic.Pointer[config.Config] // in effect, for what is made anew
	counts    *replicate.Metrics            // of the replicator; nil without one
	absent    []string                      // roles of replication that this process does not have; set before use
	complaint string                        // why no domain can be served, as logged last; guarded by mu
}

// connection is the clients of one registration.
type connection struct {
	gateway gateway.Domain
	cloud   *gateway.Domain // JumpCloud's LDAP, for its own DNs; nil without
	names   *ad.Client      // looks bind names up; it has a connection of its own
	peers   *replicate.Peers
	writer  *ad.Writer // of peers; nil where nothing is synced
	dcs     *dc.Set
	health  *health
	stop    context.CancelFunc // of its watcher; nil without
}

func newDomains(st *store.Store, opener *secret.Opener, cfg *config.Config, log *slog.Logger, observe peerMetrics) *domains {
	d := &domains{store: st, opener: opener, cfg: cfg, log: log, observe: observe,
		wake: make(chan struct{}, 1), connected: make(map[string]*connection)}
	d.settings.Store(cfg)
	return d
}

// without: this process does not have a role. Commands have all.
func (d *domains) without(role string) bool { return slices.Contains(d.absent, role) }

// connect builds the clients of a domain; nothing is dialled yet.
func (d *domains) connect(reg store.Domain, importPassword, apiKey secret.Bytes) (*connection, error) {
	where, err := d.where(reg)
	if err != nil {
		return nil, err
	}
	h := &health{log: d.log.With("domain", reg.Name), metrics: d.observe}
	where.Observe, where.ObserveRequest, where.Forget = h.seen, h.answered, h.forget
	set, err := dc.New(where)
	if err != nil {
		return nil, err
	}
	h.set = set
	directory, err := ad.New(ad.Config{DCs: set, Account: reg.ImportAccount, Password: importPassword.Clone(),
		RootDN: reg.RootDN, ScopeGroup: reg.ScopeGroup, ScopeGroupGUID: reg.ScopeGroupGUID})
	if err != nil {
		return nil, err
	}
	names, err := ad.New(ad.Config{DCs: set, Account: reg.ImportAccount, Password: importPassword.Clone(), Timeout: lookupTime})
	if err != nil {
		return nil, err
	}
	cloud, err := d.cloud(reg, apiKey)
	if err != nil {
		return nil, err
	}
	known := cloudLDAP(reg)
	return &connection{
		gateway: gateway.Domain{Name: reg.Name, NetBIOS: reg.NetBIOS, BaseDN: reg.BaseDN, DCs: set,
			Capture: reg.PasswordSync != store.PasswordSyncValidateOnly},
		cloud:  known,
		names:  names,
		peers:  &replicate.Peers{AD: directory, JumpCloud: cloud, CloudLDAP: newCloudBinder(known)},
		dcs:    set,
		health: h,
	}, nil
}

// resolverOf asks the given DNS server, or the system's.
func resolverOf(server string) *net.Resolver {
	if server == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
}

func (d *domains) cloud(reg store.Domain, apiKey secret.Bytes) (*jumpcloud.Client, error) {
	conf, err := certs.Client(reg.JumpCloud.CAPEM, "")
	if err != nil {
		return nil, fmt.Errorf("CA of %s: %w", reg.JumpCloud.URL, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = conf
	client := jumpcloud.Config{
		URL: reg.JumpCloud.URL, OrgID: reg.JumpCloud.OrgID,
		HTTP:              &http.Client{Transport: transport},
		RequestsPerSecond: d.cfg.JumpCloud.RequestsPerSecond, MaxInFlight: d.cfg.JumpCloud.MaxInFlight,
		Log: d.log.With("side", "jumpcloud"), Observe: d.observe.jumpcloud,
	}
	if err := d.identify(&client, apiKey); err != nil {
		return nil, err
	}
	return jumpcloud.New(client)
}

// identify fills in who asks: the configured service account, or the domain's
// own API key.
func (d *domains) identify(c *jumpcloud.Config, apiKey secret.Bytes) error {
	account := d.cfg.JumpCloud
	if account.ClientID == "" {
		c.APIKey = apiKey.Clone()
		return nil
	}
	s, err := readSecret(nil, "jumpcloud.client_secret_file", account.ClientSecretFile)
	if err != nil {
		return err
	}
	c.ClientID, c.ClientSecret, c.TokenURL = account.ClientID, secret.Take(s), account.TokenURL
	return nil
}

// cloudLDAP is JumpCloud's LDAP as a directory that sessions can bind at, if
// the registration names it. What is wrong with it concerns its sessions only.
func cloudLDAP(domain store.Domain) *gateway.Domain {
	reg := domain.JumpCloud
	if reg.LDAPURL == "" || reg.OrgID == "" {
		return nil
	}
	d := &gateway.Domain{Name: "JumpCloud's LDAP", BaseDN: "o=" + reg.OrgID + ",dc=jumpcloud,dc=com", Foreign: true}
	if identity.UseCase(domain.UseCase).Syncs() && domain.PasswordSync != store.PasswordSyncValidateOnly {
		d.Capture, d.Of = true, domain.Name
	}
	conf, err := certs.Client(reg.CAPEM, "")
	if err != nil {
		d.DCs = unusable{fmt.Errorf("CA of %s: %w", reg.LDAPURL, err)}
		return d
	}
	set, err := dc.New(dc.Config{URLs: []string{reg.LDAPURL}, TLS: conf})
	if err != nil {
		d.DCs = unusable{err}
		return d
	}
	d.DCs = set
	return d
}

// peersOf builds clients for one operation, for an unstored registration.
func (d *domains) peersOf(reg store.Domain, importPassword, apiKey secret.Bytes) (*replicate.Peers, error) {
	c, err := d.connect(reg, importPassword, apiKey)
	if err != nil {
		return nil, err
	}
	c.health.metrics = peerMetrics{} // it may be refused, and its controllers with it
	return c.peers, nil
}

// get returns the kept connection of a domain, making it at first.
func (d *domains) get(name string) (*connection, error) {
	for {
		d.mu.Lock()
		c, changes := d.connected[name], d.changes
		d.mu.Unlock()
		if c != nil {
			return c, nil
		}
		c, err := d.stored(name)
		if err != nil {
			return nil, err
		}
		d.mu.Lock()
		if d.connected[name] == nil && d.changes == changes {
			d.connected[name] = c
			d.watch(c)
			d.mu.Unlock()
			return c, nil
		}
		d.mu.Unlock()
		c.close() // another was made at the same time, or this one is old by now
	}
}

// stored builds the clients of a stored registration.
func (d *domains) stored(name string) (*connection, error) {
	reg, err := d.store.Domain(name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("domain %s is not registered; run `dirgate domain register %s`", name, name)
	}
	if err != nil {
		return nil, err
	}
	password, err := d.store.Credential(name, store.CredImportPassword, d.opener)
	if err != nil {
		return nil, fmt.Errorf("import account's password of %s: %w", name, err)
	}
	defer password.Wipe()
	key, err := d.store.Credential(name, store.CredAPIKey, d.opener)
	if errors.Is(err, store.ErrNotFound) && d.cfg.JumpCloud.ClientID != "" {
		err = nil // the service account needs none
	}
	if err != nil {
		return nil, fmt.Errorf("JumpCloud API key of %s: %w", name, err)
	}
	defer key.Wipe()
	c, err := d.connect(reg, password, key)
	if err != nil || !identity.UseCase(reg.UseCase).Syncs() {
		return c, err
	}
	if c.writer, err = d.writer(reg, c); err != nil {
		d.log.Error("no passwords go to Active Directory", "domain", name, "err", err)
		return c, nil // sessions are served all the same
	}
	c.peers.Writer = c.writer
	return c, nil
}

// peers is what the replicator asks for.
func (d *domains) peers(name string) (*replicate.Peers, error) {
	c, err := d.get(name)
	if err != nil {
		return nil, err
	}
	return c.peers, nil
}

// errNoDomain is what an installation without a registration says.
var errNoDomain = errors.New("no domain is registered: run `dirgate domain register`")

// registered lists the registrations, the oldest first: it is the default of
// client sessions.
func (d *domains) registered() ([]store.Domain, error) {
	all, err := d.store.Domains()
	if err == nil && len(all) == 0 {
		err = errNoDomain
	}
	slices.SortStableFunc(all, func(a, b store.Domain) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all, err
}

// serving gives the connections of the registered domains, and says why one
// cannot be served.
func (d *domains) serving() ([]*connection, error) {
	all, err := d.registered()
	if err != nil {
		return nil, err
	}
	var connections []*connection
	var errs []error
	for _, reg := range all {
		if c, err := d.get(reg.Name); err == nil {
			connections = append(connections, c)
		} else {
			errs = append(errs, err)
		}
	}
	return connections, errors.Join(errs...)
}

// retryOffer is how soon a domain that cannot be served is tried again.
const retryOffer = time.Second

// forGateway is the domains of client sessions; none when none is registered.
// One that cannot be served fails to dial, so that its session says why. It is
// asked at every bind, so the answer is kept until a registration changes.
func (d *domains) forGateway() []*gateway.Domain {
	d.mu.Lock()
	offered, changes := d.offered, d.changes
	if !d.offerEnds.IsZero() && time.Now().After(d.offerEnds) {
		offered = nil
	}
	d.mu.Unlock()
	if offered != nil {
		return offered
	}
	offered, err := d.offer()
	d.complain(err)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changes == changes {
		d.offered, d.offerEnds = offered, time.Time{}
		if err != nil {
			d.offerEnds = time.Now().Add(retryOffer)
		}
	}
	return offered
}

func (d *domains) offer() ([]*gateway.Domain, error) {
	all, err := d.registered()
	if errors.Is(err, errNoDomain) {
		return nil, err
	}
	if err != nil {
		return []*gateway.Domain{{DCs: unusable{err}}}, err
	}
	var domains []*gateway.Domain
	var errs []error
	for _, reg := range all {
		c, err := d.get(reg.Name)
		if err != nil {
			errs = append(errs, err)
			domains = append(domains, &gateway.Domain{Name: reg.Name, NetBIOS: reg.NetBIOS, BaseDN: reg.BaseDN, DCs: unusable{err}})
			continue
		}
		domains = append(domains, &c.gateway)
		if c.cloud != nil {
			domains = append(domains, c.cloud)
		}
	}
	return domains, errors.Join(errs...)
}

// unusable is the controllers of a domain that cannot be served.
type unusable struct{ err error }

func (u unusable) Dial(context.Context) (*tls.Conn, string, error) { return nil, "", u.err }

// complain logs why a domain cannot be served, once until that changes.
func (d *domains) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	d.mu.Lock()
	changed := d.complaint != text
	d.complaint = text
	d.mu.Unlock()
	switch {
	case changed && err != nil:
		d.log.Warn("a domain cannot be served", "err", err)
	case changed:
		d.log.Info("all domains can be served again")
	}
}

// follow has f told of every registration that changes.
func (d *domains) follow(f func(domain string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.followers = append(d.followers, f)
}

// changed forgets the clients of a domain; running sessions keep theirs.
func (d *domains) changed(name string) {
	d.mu.Lock()
	followers := d.followers
	c := d.connected[name]
	delete(d.connected, name)
	d.offered = nil
	d.changes++
	if c != nil {
		c.health.end() // before the next one tells of the same controllers
	}
	d.mu.Unlock()
	if c != nil {
		c.close()
	}
	for _, f := range followers {
		f(name)
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *domains) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.connected {
		c.health.end()
		c.close()
	}
	clear(d.connected)
}

// close ends what a connection holds open.
func (c *connection) close() {
	if c.stop != nil {
		c.stop()
	}
	c.peers.AD.Close()
	c.names.Close()
	if c.writer != nil {
		c.writer.Close()
	}
}
