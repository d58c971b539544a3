package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

const (
	pathReplication = "/v1/replicate/status"
	pathPause       = "/v1/replicate/pause"
)

// Stopped is the state of a direction that nothing works on.
const Stopped reconcile.State = "stopped"

// Replication is where one direction of a domain stands, and how many of its
// changes are open, passwords included.
type Replication struct {
	reconcile.Status
	store.OpenCounts
}

// PauseRequest pauses a direction of a domain, or ends that.
type PauseRequest struct {
	Domain    string             `json:"domain,omitempty"` // empty: the only one
	Direction identity.Direction `json:"direction"`
	Paused    bool               `json:"paused"`
	Who       string             `json:"who"`
}

func serveReplication(mux *http.ServeMux, b Backend) {
	serve(mux, pathReplication, func(ctx context.Context, q named) ([]Replication, error) { return b.Replication(ctx, q.Domain) })
	serve(mux, pathPause, func(ctx context.Context, q PauseRequest) (Replication, error) { return b.Pause(ctx, q) })
}

// Replication says where the named domain stands, or all that are replicated.
func (l *Local) Replication(_ context.Context, domain string) (all []Replication, err error) {
	domains, err := l.domainsFor(domain)
	if err != nil {
		return nil, err
	}
	running, err := l.statuses()
	if err != nil {
		return nil, err
	}
	for _, d := range domains {
		for _, direction := range directions(d) {
			r, err := l.replication(d.Name, direction, running)
			if err != nil {
				return nil, err
			}
			all = append(all, r)
		}
	}
	return all, nil
}

// statuses are those of what runs in this process.
func (l *Local) statuses() ([]reconcile.Status, error) {
	if l.Supervisor != nil {
		return l.Supervisor.Status()
	}
	im := l.working.Load()
	if im == nil {
		return nil, nil
	}
	return im.Status()
}

// directions are those of a domain's use case.
func directions(d store.Domain) (all []identity.Direction) {
	use := identity.UseCase(d.UseCase)
	if use.Imports() {
		all = append(all, identity.Import)
	}
	if use.Syncs() {
		all = append(all, identity.Sync)
	}
	return all
}

func (l *Local) replication(domain string, direction identity.Direction, running []reconcile.Status) (Replication, error) {
	counts, err := l.Store.OpenCounts(domain, direction)
	if err != nil {
		return Replication{}, err
	}
	if i := slices.IndexFunc(running, func(s reconcile.Status) bool { return strings.EqualFold(s.Domain, domain) && s.Direction == direction }); i >= 0 {
		return Replication{running[i], counts}, nil
	}
	s := reconcile.Status{Domain: domain, Direction: direction, State: Stopped, Why: fmt.Sprintf("no daemon with the role %s works on this store: run `dirgate serve`", direction)}
	if l.Supervisor != nil && l.Supervisor.Runs(direction) {
		s.State, s.Why = reconcile.Waiting, "it is being started"
	}
	return Replication{s, counts}, s.LookIn(l.Store)
}

// Pause pauses a direction of a domain, or ends that, and says where it stands
// then.
func (l *Local) Pause(ctx context.Context, q PauseRequest) (Replication, error) {
	d, err := l.pick(q.Domain)
	if err != nil {
		return Replication{}, err
	}
	if !slices.Contains(directions(d), q.Direction) {
		return Replication{}, fmt.Errorf("domain %s: its use case, %s, has no direction %q", d.Name, d.UseCase, q.Direction)
	}
	if err := l.Store.SetPaused(ctx, d.Name, q.Direction, q.Paused, cmp.Or(q.Who, "an unknown user")); err != nil {
		return Replication{}, err
	}
	running, err := l.statuses()
	if err != nil {
		return Replication{}, err
	}
	return l.replication(d.Name, q.Direction, running)
}

// Replication says where a domain stands.
func (c *Client) Replication(ctx context.Context, domain string) ([]Replication, error) {
	return call[[]Replication](ctx, c, pathReplication, named{Domain: domain})
}

// Pause pauses a direction of a domain, or ends that.
func (c *Client) Pause(ctx context.Context, q PauseRequest) (Replication, error) {
	return call[Replication](ctx, c, pathPause, q)
}
