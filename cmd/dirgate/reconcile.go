package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store"
)

// reconciler makes the reconciler of a registered domain, and what ends it.
func (d *domains) reconciler(reg store.Domain) (*reconcile.Reconciler, func(), error) {
	c, err := d.get(reg.Name)
	if err != nil {
		return nil, nil, err
	}
	settings := d.settings.Load()
	password, err := d.store.Credential(reg.Name, store.CredImportPassword, d.opener)
	if err != nil {
		return nil, nil, err
	}
	defer password.Wipe()
	reader, err := ad.NewReader(ad.ReaderConfig{Config: ad.Config{DCs: c.dcs, Account: reg.ImportAccount, Password: password.Clone(),
		RootDN: reg.RootDN, ScopeGroup: reg.ScopeGroup, ScopeGroupGUID: reg.ScopeGroupGUID},
		Interval: time.Duration(settings.Replicate.ImportInterval)})
	if err != nil {
		return nil, nil, err
	}
	conf := reconcile.Config{Store: d.store, Domain: reg, Reader: reader, AD: c.peers.AD, JumpCloud: c.peers.JumpCloud,
		Limits: guardsOf(settings.Guards), Workers: settings.Replicate.Workers, Interval: time.Duration(settings.Replicate.ImportInterval),
		FullEvery: time.Duration(settings.Replicate.FullEvery), NoNotification: !settings.Replicate.ChangeNotification,
		Log: d.log.With("in", "import"), Now: time.Now}
	if d.counts != nil {
		conf.Observe = d.counts
	}
	im, err := reconcile.New(conf)
	if err != nil {
		reader.Close()
		return nil, nil, err
	}
	return im, reader.Close, nil
}

// guardsOf are the configured thresholds, and the default ones of classes that
// the configuration does not have.
func guardsOf(g config.Guards) plan.Limits {
	limits := plan.DefaultLimits()
	for class, limit := range map[plan.Class]config.Guard{plan.Removals: g.Removals, plan.Suspensions: g.Suspensions, plan.GroupEnds: g.Groups, plan.Memberships: g.Memberships} {
		limits[class] = plan.Limit{Count: limit.Count, Percent: limit.Percent}
	}
	return limits
}

// newSupervisor runs the reconcilers of the registered domains, and follows
// their registrations.
func (d *domains) newSupervisor() (*reconcile.Supervisor, error) {
	s, err := reconcile.NewSupervisor(reconcile.SupervisorConfig{Store: d.store, Make: d.reconciler, Log: d.log.With("in", "import"), Now: time.Now})
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
