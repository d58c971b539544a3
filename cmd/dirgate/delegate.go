package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/delegate"
	"github.com/dirgate/dirgate/delegate/portal"
	"github.com/dirgate/dirgate/gateway"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/prometheus/client_golang/prometheus"
)

// delegation is the validation API: what the role delegate runs.
type delegation struct {
	validator *delegate.Validator
	server    *http.Server
	listener  net.Listener
}

// newDelegate makes the validation API and its listener.
func (d *daemon) newDelegate(registry *prometheus.Registry) error {
	log := d.log.With("in", "delegate")
	recorder := &replicate.BindRecorder{Store: d.opened.store, Peers: d.domains.peers, Log: d.log.With("in", "replicate")}
	passwords := cloudPasswords{domains: d.domains, recorder: recorder, now: time.Now}
	validator, err := delegate.New(delegate.Config{
		Domains: (&delegateDomains{domains: d.domains, made: make(map[*gateway.Domain]*delegate.Domain)}).list,
		Cloud:   newCloudFacts(d.domains), Guard: d.delegateGuard(), Capture: d.opened.store, Record: recorder,
		Set: passwords, Backlog: passwords, Learn: passwords,
		Metrics: delegate.NewMetrics(registry), Log: log, Preflight: delegate.Preflight(d.cfg.Delegate.Preflight),
		Throttle:    throttleOf(d.cfg),
		TellUnknown: d.cfg.Delegate.TellUnknownUsers,
	})
	if err != nil {
		return err
	}
	conf, err := delegateTLS(d.certs.Config(), d.cfg.TLS.ClientCAFile, log)
	if err != nil {
		validator.Close()
		return err
	}
	bare, err := listen("delegate.listen", "tcp", d.cfg.Delegate.Listen)
	if err != nil {
		validator.Close()
		return err
	}
	plain := newCrowd(bare, delegateConnectionsFor(openFiles()))
	pages, err := portal.New(portal.Config{Directory: validator, Log: d.log.With("in", "portal"), ForHost: certifiedFor(conf)})
	if err != nil {
		validator.Close()
		_ = plain.Close()
		return err
	}
	handler := delegate.Handler(delegate.APIConfig{Validator: validator, Tokens: tokenCheck{d.opened.store}, Log: log, Portal: pages,
		ClientCertificates: d.cfg.TLS.ClientCAFile != ""})
	d.delegate = &delegation{validator: validator, listener: plain, server: &http.Server{
		Handler: handler, TLSConfig: conf, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 3 * time.Minute, // a change may take two
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ConnState: plain.state, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: delegateStreams},
	}}
	return nil
}

// throttleOf is what the delegate takes over while it runs.
func throttleOf(cfg *config.Config) delegate.Throttle {
	return delegate.Throttle{PerClient: cfg.Delegate.RefusalsPerClient, PerUser: cfg.Delegate.RefusalsPerUser}
}

// delegateGuard is the gateway's lockout guard, unless gateway.lockout_guard is
// false: then only changes of one account wait for one another.
func (d *daemon) delegateGuard() delegate.Guard {
	if d.cfg.Gateway.LockoutGuard {
		return d.shared
	}
	return unguarded{d.shared}
}

type unguarded struct{ *gateway.Shared }

// Admit lets every password reach the controller.
func (unguarded) Admit(context.Context, identity.Account, string, secret.Bytes) (settle func(*ldapwire.Result, bool), held string, answer ldapwire.Result, err error) {
	return func(*ldapwire.Result, bool) {}, "", ldapwire.Result{}, nil
}

// certifiedFor says which hosts the certificate that is served now is for: the
// names by which the portal can be reached.
func certifiedFor(conf *tls.Config) func(host string) bool {
	return func(host string) bool {
		cert, err := conf.GetCertificate(&tls.ClientHelloInfo{ServerName: host})
		return err == nil && cert.Leaf != nil && cert.Leaf.VerifyHostname(host) == nil
	}
}

func (g *delegation) serve() error { return served(g.server.ServeTLS(g.listener, "", "")) }

// close ends it: requests first, while ctx lasts.
func (g *delegation) close(ctx context.Context) {
	if g == nil {
		return
	}
	if err := g.server.Shutdown(ctx); err != nil {
		_ = g.server.Close()
	}
	_ = g.listener.Close()
	g.validator.Close()
}

// tokenCheck is the store's tokens at the present time.
type tokenCheck struct{ store *store.Store }

func (t tokenCheck) Authorize(ctx context.Context, token secret.Bytes, scope string) (string, bool, error) {
	return t.store.Authorize(ctx, token, scope, time.Now())
}

// delegateDomains makes the Validator's domains of those of the gateway, which
// keep their pointers until a registration changes.
type delegateDomains struct {
	domains *domains

	mu   sync.Mutex
	made map[*gateway.Domain]*delegate.Domain // guarded by mu
}

func (d *delegateDomains) list() []*delegate.Domain {
	offered := d.domains.forGateway()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := make(map[*gateway.Domain]*delegate.Domain)
	var list []*delegate.Domain
	for i, g := range offered {
		if g.Foreign {
			continue
		}
		made := d.made[g]
		if made == nil {
			made = d.make(g)
			if i+1 < len(offered) && offered[i+1].Foreign {
				cloud := offered[i+1]
				made.CloudLDAP, made.CloudBase = cloud.DCs, "ou=Users,"+cloud.BaseDN
			}
		}
		now[g] = made
		list = append(list, made)
	}
	d.made = now
	return list
}

// make fills in what only the registration says. What cannot be read fails when
// it is used, so that no user of that domain is taken for unknown.
func (d *delegateDomains) make(g *gateway.Domain) *delegate.Domain {
	out := &delegate.Domain{Name: g.Name, NetBIOS: g.NetBIOS, BaseDN: g.BaseDN, Capture: g.Capture}
	reg, err := d.domains.store.Domain(g.Name)
	out.Account, out.UseCase = cmp.Or(reg.ImportAccount, reg.SyncAccount), identity.UseCase(reg.UseCase)
	out.Password = func() (secret.Bytes, error) {
		if err != nil {
			return secret.Bytes{}, err
		}
		kind := store.CredImportPassword
		if reg.ImportAccount == "" {
			kind = store.CredSyncPassword
		}
		return d.domains.store.Credential(reg.Name, kind, d.domains.opener)
	}
	if set, ok := g.DCs.(delegate.WriteDialer); ok {
		out.DCs = set
	} else {
		out.DCs = neverWritable{g.DCs}
	}
	return out
}

// neverWritable is the controllers of a domain that cannot be served.
type neverWritable struct{ gateway.Dialer }

func (n neverWritable) DialWritable(ctx context.Context) (*tls.Conn, string, error) {
	return n.Dial(ctx)
}

const (
	// delegationLook is how often the delegation state is looked at: at JumpCloud
	// an administrator may switch it at any time.
	delegationLook = 5 * time.Second
	// delegationEvery is how often JumpCloud is asked for another one.
	delegationEvery = 10 * time.Minute
)

// tendDelegation tells JumpCloud that the import it waits for runs, until ctx
// ends (see delegate.NextDelegation), and changed of domains whose state became
// another: users are told who checks their passwords by it.
func (d *daemon) tendDelegation(ctx context.Context, look time.Duration, changed func(domain string)) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	t := tended{seen: make(map[string]delegate.Delegation), asked: make(map[string]time.Time), waits: make(map[string]bool)}
	for {
		if all, err := d.domains.registered(); err == nil {
			for _, reg := range all {
				d.tendDomain(ctx, reg, t, changed)
			}
		} else if !errors.Is(err, errNoDomain) {
			d.log.Warn("delegation states not looked at", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// tended is what is known of the domains' delegation, by domain.
type tended struct {
	seen  map[string]delegate.Delegation
	asked map[string]time.Time
	waits map[string]bool
}

// tendDomain looks at the state of one domain. What JumpCloud does not answer is
// told by moveDelegation, which asks less often.
func (d *daemon) tendDomain(ctx context.Context, reg store.Domain, t tended, changed func(domain string)) {
	state, err := newCloudFacts(d.domains).Delegation(ctx, reg.Name)
	if err == nil {
		before, known := t.seen[reg.Name]
		t.seen[reg.Name] = state
		if known && before != state {
			d.log.Info("delegated password validation was switched at JumpCloud", "domain", reg.Name, "from", string(before), "to", string(state))
			delete(t.asked, reg.Name)
			changed(reg.Name)
		}
	}
	if asked, ok := t.asked[reg.Name]; !ok || time.Since(asked) >= delegationEvery {
		t.asked[reg.Name] = time.Now()
		d.moveDelegation(ctx, reg, t.waits)
	}
}

// moveDelegation asks JumpCloud for the state that a domain should get. It may
// keep one pending until an import agent of its own has reported, for which its
// public API has no call; that is said once, in waits.
func (d *daemon) moveDelegation(ctx context.Context, reg store.Domain, waits map[string]bool) {
	facts := newCloudFacts(d.domains)
	state, err := facts.Delegation(ctx, reg.Name)
	next, move := delegate.NextDelegation(state, identity.UseCase(reg.UseCase), true)
	if err == nil && move {
		if state, err = facts.setDelegation(ctx, reg, next); err == nil && state == next {
			d.log.Info("delegated password validation switched on at JumpCloud", "domain", reg.Name)
		}
	}
	switch {
	case err != nil && ctx.Err() == nil:
		d.log.Warn("delegation state not moved; it will be tried again", "domain", reg.Name, "after", delegationEvery, "err", err)
	case err == nil && move && state != next && !waits[reg.Name]:
		d.log.Warn("JumpCloud keeps the delegation pending until an import agent has reported to it, and users who are delegated cannot sign in meanwhile", "domain", reg.Name, "state", string(state))
	}
	waits[reg.Name] = err == nil && move && state != next
}
