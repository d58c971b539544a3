package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/gateway"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
)

// Roles of serve.
const (
	roleGateway  = "gateway"
	roleDelegate = "delegate"
	roleImport   = "import"
	roleSync     = "sync"
)

var allRoles = []string{roleGateway, roleDelegate, roleImport, roleSync}

// parseRoles reads --roles.
func parseRoles(text string) ([]string, error) {
	var roles []string
	for _, r := range strings.Split(text, ",") {
		if !slices.Contains(allRoles, r) {
			return nil, usagef("--roles %q: want one or more of %s", r, strings.Join(allRoles, ","))
		}
		roles = append(roles, r)
	}
	return roles, nil
}

// daemon is everything that serve runs. Nothing in it is reachable before
// run, except the listeners, which hold clients until then.
type daemon struct {
	cfg     *config.Config
	log     *slog.Logger
	level   *slog.LevelVar // of log; nil when it does not follow the configuration
	opened  *opened
	domains *domains
	certs   *certs.Reloader
	gateway *gateway.Server   // nil without its role
	engine  *replicate.Engine // nil without its role

	supervisor *reconcile.Supervisor // of the reconcilers; nil without their roles

	shared   *gateway.Shared // what gateway and delegate have in common
	delegate *delegation     // nil without its role, or its listener

	ldaps   net.Listener // nil without the gateway role
	ldap    net.Listener // nil also when it is not configured
	metrics net.Listener
	admin   net.Listener

	metricsHTTP http.Handler
	adminHTTP   http.Handler
}

// newDaemon opens the store and all listeners; an error leaves nothing open. It
// waits for a command that has the store, until ctx ends.
func newDaemon(ctx context.Context, cfg *config.Config, roles []string, log *slog.Logger) (d *daemon, err error) {
	d = &daemon{cfg: cfg, log: log, shared: gateway.NewShared()}
	defer func() {
		if err != nil {
			d.close()
			d = nil
		}
	}()
	if d.certs, err = certs.Server(cfg.TLS.CertFile, cfg.TLS.KeyFile, certs.Options{MinVersion: cfg.TLS.MinVersion, Log: log}); err != nil {
		return d, err
	}
	if d.opened, err = claimStore(ctx, cfg, log, lockPatience); err != nil {
		return d, err
	}
	registry := newRegistry(d.certs)
	d.domains = newDomains(d.opened.store, d.opened.opener, cfg, log, newPeerMetrics(registry))
	// The engine notes where the log stands; it must do so before the gateway
	// can append.
	replicates := slices.Contains(roles, roleImport) || slices.Contains(roles, roleSync)
	for _, role := range []string{roleImport, roleSync} {
		if !slices.Contains(roles, role) {
			d.domains.absent = append(d.domains.absent, role)
		}
	}
	if replicates && d.opened.store.Damage() == nil {
		if err = d.newReplication(registry); err != nil {
			return d, err
		}
	}
	if slices.Contains(roles, roleGateway) {
		if err = d.newGateway(registry); err != nil {
			return d, err
		}
	}
	if slices.Contains(roles, roleDelegate) && cfg.Delegate.Listen != "" {
		if err = d.newDelegate(registry); err != nil {
			return d, err
		}
	}
	if d.metrics, err = listen("metrics.listen", "tcp", cfg.Metrics.Listen); err != nil {
		return d, err
	}
	if d.admin, err = listenAdmin(cfg.Admin.Socket); err != nil {
		return d, err
	}
	ready := d.domains.withOutages(watchDamage(registry, d.opened.store, replicates && d.engine == nil, d.domains.ready))
	if d.supervisor != nil {
		ready = watchReplication(d.supervisor.Status, ready)
	}
	d.metricsHTTP = metricsHandler(registry, ready)
	local := localOn(d.opened.store, d.domains)
	local.Supervisor, local.Node, local.Contact = d.supervisor, thisNode(roles), d.domains.contact
	d.adminHTTP = admin.Handler(local)
	return d, nil
}

// newReplication makes what the roles import and sync run: the engine for passwords, and
// the supervisor for users and groups.
func (d *daemon) newReplication(registry *prometheus.Registry) (err error) {
	d.domains.counts = replicate.NewMetrics(registry, d.opened.store, time.Now)
	d.engine, err = replicate.New(replicate.Config{
		Store: d.opened.store, Opener: d.opened.opener, Peers: d.domains.peers, Workers: d.cfg.Replicate.Workers,
		NoImport: d.domains.without(roleImport), NoSync: d.domains.without(roleSync),
		Metrics: d.domains.counts, Log: d.log.With("in", "replicate"), Now: time.Now,
	})
	if err != nil {
		return err
	}
	primary := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "dirgate_agent_primary", Help: "Whether this node is the one that works (1), by kind of agent."}, []string{"kind"})
	registry.MustRegister(primary)
	for _, role := range []string{roleImport, roleSync} {
		if !d.domains.without(role) {
			primary.WithLabelValues(role).Set(1)
		}
	}
	d.supervisor, err = d.domains.newSupervisor()
	return err
}

func (d *daemon) newGateway(registry *prometheus.Registry) (err error) {
	d.gateway, err = gateway.New(gateway.Config{
		TLS: d.certs.Config(), Domains: d.domains.forGateway, Resolve: newResolver(d.domains, d.log.With("in", "gateway")).resolve, Capture: d.opened.store,
		Binds:   &replicate.BindRecorder{Store: d.opened.store, Peers: d.domains.peers, Log: d.log.With("in", "replicate")},
		Metrics: gateway.NewMetrics(registry), Log: d.log.With("in", "gateway"),
		NoPasswordTranslation: !d.cfg.Gateway.TranslatePasswords, LockoutGuard: d.cfg.Gateway.LockoutGuard, Shared: d.shared,
		Reconnect: d.cfg.Gateway.Reconnect, RelaySASL: d.cfg.Gateway.SASL == "relay",
	})
	if err == nil {
		err = d.gateway.SetLimits(d.limits(d.cfg))
	}
	if err != nil {
		return err
	}
	if d.ldaps, err = listen("gateway.ldaps", "tcp", d.cfg.Gateway.LDAPS); err != nil || d.cfg.Gateway.LDAP == "" {
		return err
	}
	d.ldap, err = listen("gateway.ldap", "tcp", d.cfg.Gateway.LDAP)
	return err
}

func newRegistry(reloader *certs.Reloader) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "dirgate_certificate_expiry_timestamp_seconds",
			Help:        "When a certificate expires, in seconds since 1970.",
			ConstLabels: prometheus.Labels{"name": "server"},
		}, func() float64 { return float64(reloader.NotAfter().Unix()) }))
	return registry
}

// listen explains which key to look at when an address cannot be had.
func listen(key, network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

// listenAdmin makes the admin socket, for this user alone. One that a killed
// daemon left behind is replaced: the store's lock says that none is running.
func listenAdmin(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("admin.socket: %w", err)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("admin.socket: %s exists and is not a socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("admin.socket: %w", err)
	}
	return listenPrivately(path)
}

// shutdownTime is how long sessions may take to finish what is outstanding.
const shutdownTime = 20 * time.Second

// run serves until ctx ends or a part fails, then stops everything in order:
// clients first, the store last.
func (d *daemon) run(ctx context.Context, reload <-chan os.Signal) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, failed := errgroup.WithContext(background)
	metricsServer := &http.Server{Handler: d.metricsHTTP, ReadHeaderTimeout: 10 * time.Second}
	adminServer := &http.Server{Handler: d.adminHTTP, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return background }}
	group.Go(func() error { return d.opened.store.Run(background) })
	group.Go(func() error { return d.tendKeys(background) })
	group.Go(func() error { return d.certs.Run(background) })
	group.Go(func() error { return d.domains.Run(background) })
	group.Go(func() error { return served(metricsServer.Serve(d.metrics)) })
	group.Go(func() error { return served(adminServer.Serve(d.admin)) })
	if d.engine != nil {
		group.Go(func() error { return d.engine.Run(background) })
		group.Go(func() error { return d.tendDelegation(background, delegationLook, d.supervisor.Changed) })
		group.Go(func() error { return d.supervisor.Run(background) })
	}
	if d.gateway != nil {
		group.Go(func() error { return served(d.gateway.Serve(d.ldaps)) })
		if d.ldap != nil {
			group.Go(func() error { return served(d.gateway.ServeStartTLS(d.ldap)) })
		}
	}
	if d.delegate != nil {
		group.Go(d.delegate.serve)
	}
	d.announce()

	d.wait(ctx, failed, reload)

	d.log.Info("stopping")
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if d.gateway != nil {
		if err := d.gateway.Shutdown(late); err != nil {
			d.log.Warn("sessions were cut off at shutdown", "err", err)
		}
	}
	d.delegate.close(late)
	stop()
	_ = metricsServer.Shutdown(late)
	_ = adminServer.Shutdown(late)
	err := group.Wait()
	d.close()
	d.log.Info("stopped")
	return err
}

// wait returns when the daemon should stop.
func (d *daemon) wait(ctx, failed context.Context, reload <-chan os.Signal) {
	settings := newSettings(d)
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-failed.Done():
			return
		case <-reload:
			if err := d.certs.Reload(); err == nil {
				d.log.Info("certificate reloaded", "not_after", d.certs.NotAfter())
			}
			settings.reload()
		case <-look.C:
			settings.look()
		}
	}
}

func (d *daemon) announce() {
	attrs := []any{"version", version, "config", d.cfg.Path, "metrics", d.metrics.Addr().String(), "admin", d.cfg.Admin.Socket}
	if d.ldaps != nil {
		attrs = append(attrs, "ldaps", d.ldaps.Addr().String())
	}
	if d.ldap != nil {
		attrs = append(attrs, "ldap", d.ldap.Addr().String())
	}
	if d.delegate != nil {
		attrs = append(attrs, "delegate", d.delegate.listener.Addr().String())
	}
	d.log.Info("serving", attrs...)
}

// served takes a deliberate stop for what it is.
func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, gateway.ErrServerClosed) {
		return nil
	}
	return err
}

// close releases what newDaemon opened; the store comes last.
func (d *daemon) close() {
	for _, l := range []net.Listener{d.ldaps, d.ldap, d.metrics, d.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
	if d.delegate != nil {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		d.delegate.close(now)
	}
	if d.domains != nil {
		d.domains.close()
	}
	if d.opened != nil {
		if err := d.opened.close(); err != nil {
			d.log.Error("close store", "err", err)
		}
		d.opened = nil
	}
}
