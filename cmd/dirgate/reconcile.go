package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// reconciler makes the reconciler of a registered domain, and what ends it.
func (d *domains) reconciler(reg store.Domain) (_ *reconcile.Reconciler, end func(), err error) {
	c, err := d.get(reg.Name)
	if err != nil {
		return nil, nil, err
	}
	settings := d.settings.Load()
	var ends []func()
	end = func() {
		for _, f := range ends {
			f()
		}
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	reader, err := d.reader(reg, c)
	if err != nil {
		return nil, nil, err
	}
	ends = append(ends, reader.Close)
	conf := reconcile.Config{Store: d.store, Domain: reg, Reader: reader, AD: c.peers.AD, JumpCloud: c.peers.JumpCloud,
		Limits: guardsOf(settings.Guards), Workers: settings.Replicate.Workers, Interval: time.Duration(settings.Replicate.ImportInterval),
		FullEvery: time.Duration(settings.Replicate.FullEvery), NoNotification: !settings.Replicate.ChangeNotification,
		NoImport: d.without(roleImport), SyncInterval: time.Duration(settings.Replicate.SyncInterval), InsightsURL: insightsOf(settings, reg),
		Log: d.log.With("in", "replicate"), Now: time.Now}
	if d.counts != nil {
		conf.Observe = d.counts
	}
	if identity.UseCase(reg.UseCase).Syncs() && !d.without(roleSync) {
		writer, err := d.writer(reg, c)
		if err != nil {
			return nil, nil, err
		}
		ends = append(ends, writer.Close)
		conf.Writer = writer
	}
	im, err := reconcile.New(conf)
	return im, end, err
}

// reader reads a domain's users and groups as the import account.
func (d *domains) reader(reg store.Domain, c *connection) (*ad.Reader, error) {
	password, err := d.store.Credential(reg.Name, store.CredImportPassword, d.opener)
	if err != nil {
		return nil, err
	}
	defer password.Wipe()
	return ad.NewReader(ad.ReaderConfig{Config: ad.Config{DCs: c.dcs, Account: reg.ImportAccount, Password: password.Clone(),
		RootDN: reg.RootDN, ScopeGroup: reg.ScopeGroup, ScopeGroupGUID: reg.ScopeGroupGUID},
		Interval: time.Duration(d.settings.Load().Replicate.ImportInterval)})
}

// writer writes to a domain as the sync account.
func (d *domains) writer(reg store.Domain, c *connection) (*ad.Writer, error) {
	password, err := d.store.Credential(reg.Name, store.CredSyncPassword, d.opener)
	if errors.Is(err, store.ErrNotFound) { // registered before there were sync accounts
		return nil, fmt.Errorf("%s is not replicated: its use case, %s, writes to Active Directory, and it has no sync account; "+
			"run `dirgate domain update %s --sync-account NAME --sync-password-file FILE`", reg.Name, reg.UseCase, reg.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("sync account's password of %s: %w", reg.Name, err)
	}
	defer password.Wipe()
	return ad.NewWriter(writerConfig(reg, c.dcs, password))
}

// insightsOf is where Directory Insights is for a domain's JumpCloud; empty: it
// is not known.
func insightsOf(cfg *config.Config, reg store.Domain) string {
	if cfg.JumpCloud.InsightsURL != "" {
		return cfg.JumpCloud.InsightsURL
	}
	address, ok := jumpcloud.InsightsURL(reg.JumpCloud.URL)
	if !ok {
		return ""
	}
	return address
}

// guardsOf are the configured thresholds, and the default ones of classes that
// the configuration does not have.
func guardsOf(g config.Guards) plan.Limits {
	limits := plan.DefaultLimits()
	for class, limit := range map[plan.Class]config.Guard{plan.Removals: g.Removals, plan.Suspensions: g.Suspensions, plan.GroupEnds: g.Groups, plan.Memberships: g.Memberships,
		plan.ADDisables: g.ADDisables, plan.ADMemberships: g.ADMemberships} {
		limits[class] = plan.Limit{Count: limit.Count, Percent: limit.Percent}
	}
	return limits
}

// newSupervisor runs the reconcilers of the registered domains, and follows
// their registrations.
func (d *domains) newSupervisor() (*reconcile.Supervisor, error) {
	s, err := reconcile.NewSupervisor(reconcile.SupervisorConfig{Store: d.store, Make: d.reconciler,
		NoImport: d.without(roleImport), NoSync: d.without(roleSync), Log: d.log.With("in", "replicate"), Now: time.Now})
	if err == nil {
		d.follow(s.Changed)
	}
	return s, err
}

// tolerated is how long replication may wait for a side before /readyz says so.
const tolerated = time.Minute

// watchReplication makes /readyz say that it is degraded when replication
// waits; clients are served all the same.
func watchReplication(statuses func() ([]reconcile.Status, error), ready func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := ready(ctx); err != nil {
			return err
		}
		all, err := statuses()
		if err != nil {
			return &degraded{"degraded: binds are served; where replication stands is not known: " + err.Error()}
		}
		var waiting []error
		for _, st := range all {
			if st.State == reconcile.Waiting && time.Since(st.Since) >= tolerated {
				waiting = append(waiting, fmt.Errorf("%s of %s waits since %s: %s", st.Direction, st.Domain, st.Since.Format(time.RFC3339), st.Why))
			}
		}
		if len(waiting) > 0 {
			return &degraded{"degraded: binds are served; users and groups are not replicated: " + oneLine(errors.Join(waiting...))}
		}
		return nil
	}
}
