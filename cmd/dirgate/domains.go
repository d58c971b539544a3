package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/gateway"
	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
)

// domains turns registrations into the clients that the roles work with, and
// keeps them until a registration changes.
type domains struct {
	store   *store.Store
	opener  *secret.Opener
	cfg     *config.Config
	log     *slog.Logger
	observe peerMetrics

	mu        sync.Mutex
	connected map[string]*connection // by domain name; guarded by mu
	up        map[string]bool        // by controller; guarded by mu
}

type connection struct {
	gateway gateway.Domain
	peers   *replicate.Peers
}

// peerMetrics are told about the peers; the zero value ignores it.
type peerMetrics struct {
	dc        func(controller string, up bool)
	jumpcloud func(method string, code int, took time.Duration)
}

func newDomains(st *store.Store, opener *secret.Opener, cfg *config.Config, log *slog.Logger, observe peerMetrics) *domains {
	return &domains{store: st, opener: opener, cfg: cfg, log: log, observe: observe,
		connected: make(map[string]*connection), up: make(map[string]bool)}
}

// connect builds the clients of a domain; nothing is dialled yet.
func (d *domains) connect(reg store.Domain, importPassword, apiKey secret.Bytes) (*connection, error) {
	conf, err := certs.Client(reg.CAPEM, "")
	if err != nil {
		return nil, fmt.Errorf("CA of the domain controllers of %s: %w", reg.Name, err)
	}
	set, err := dc.New(dc.Config{URLs: reg.DCs, TLS: conf, Observe: d.seen})
	if err != nil {
		return nil, err
	}
	directory, err := ad.New(ad.Config{DCs: set, Account: reg.ImportAccount, Password: importPassword.Clone(), ScopeGroup: reg.ScopeGroup})
	if err != nil {
		return nil, err
	}
	cloud, err := d.cloud(reg, apiKey)
	if err != nil {
		return nil, err
	}
	return &connection{
		gateway: gateway.Domain{Name: reg.Name, DCs: set, Capture: reg.PasswordSync != store.PasswordSyncValidateOnly},
		peers:   &replicate.Peers{AD: directory, JumpCloud: cloud},
	}, nil
}

func (d *domains) cloud(reg store.Domain, apiKey secret.Bytes) (*jumpcloud.Client, error) {
	conf, err := certs.Client(reg.JumpCloud.CAPEM, "")
	if err != nil {
		return nil, fmt.Errorf("CA of %s: %w", reg.JumpCloud.URL, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = conf
	return jumpcloud.New(jumpcloud.Config{
		URL: reg.JumpCloud.URL, OrgID: reg.JumpCloud.OrgID, APIKey: apiKey.Clone(),
		HTTP:              &http.Client{Transport: transport},
		RequestsPerSecond: d.cfg.JumpCloud.RequestsPerSecond, MaxInFlight: d.cfg.JumpCloud.MaxInFlight,
		Log: d.log.With("side", "jumpcloud"), Observe: d.observe.jumpcloud,
	})
}

// peersOf builds clients for one operation, for an unstored registration.
func (d *domains) peersOf(reg store.Domain, importPassword, apiKey secret.Bytes) (*replicate.Peers, error) {
	c, err := d.connect(reg, importPassword, apiKey)
	if err != nil {
		return nil, err
	}
	return c.peers, nil
}

// get returns the kept connection of a domain, making it at first.
func (d *domains) get(name string) (*connection, error) {
	d.mu.Lock()
	c := d.connected[name]
	d.mu.Unlock()
	if c != nil {
		return c, nil
	}
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
	if err != nil {
		return nil, fmt.Errorf("JumpCloud API key of %s: %w", name, err)
	}
	defer key.Wipe()
	if c, err = d.connect(reg, password, key); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if other := d.connected[name]; other != nil {
		return other, nil // built at the same time; nothing was dialled on ours
	}
	d.connected[name] = c
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

// forGateway is the domain that serves client sessions; nil when none is
// registered. This version serves one (see admin.Local.Register).
func (d *domains) forGateway() *gateway.Domain {
	all, err := d.store.Domains()
	if err != nil || len(all) == 0 {
		if err != nil {
			d.log.Error("read registrations", "err", err)
		}
		return nil
	}
	c, err := d.get(all[0].Name)
	if err != nil {
		d.log.Error("domain cannot be served", "domain", all[0].Name, "err", err)
		return nil
	}
	return &c.gateway
}

// changed forgets the clients of a domain; running sessions keep theirs.
func (d *domains) changed(name string) {
	d.mu.Lock()
	c := d.connected[name]
	delete(d.connected, name)
	d.mu.Unlock()
	if c != nil {
		c.peers.AD.Close()
	}
}

func (d *domains) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.connected {
		c.peers.AD.Close()
	}
	clear(d.connected)
}

// seen notes whether a controller answered when it was last tried, and logs
// when that changes.
func (d *domains) seen(controller string, up bool) {
	d.mu.Lock()
	before, known := d.up[controller]
	d.up[controller] = up
	d.mu.Unlock()
	if d.observe.dc != nil {
		d.observe.dc(controller, up)
	}
	switch {
	case !up && (before || !known):
		d.log.Warn("domain controller cannot be reached", "dc", controller)
	case up && known && !before:
		d.log.Info("domain controller answers again", "dc", controller)
	}
}

// ready says why clients cannot be served now; nil: they can.
func (d *domains) ready(context.Context) error {
	if d.forGateway() == nil {
		return errors.New("no domain is registered")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, up := range d.up {
		if up {
			return nil
		}
	}
	if len(d.up) > 0 {
		return errors.New("no domain controller can be reached")
	}
	return nil
}
