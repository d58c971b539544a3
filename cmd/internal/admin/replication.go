package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

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
	Failing *Failing `json:"failing,omitempty"` // nil: nothing does
}

// Failing is what keeps failing of the pending changes of a direction, and the
// one of them that was tried most often. It is tried again by itself.
type Failing struct {
	Count  int          `json:"count"` // of the first thousand pending ones
	Seq    identity.Seq `json:"seq"`
	Object string       `json:"object,omitempty"` // a name
	Tries  int          `json:"tries"`
	Next   time.Time    `json:"nextTry,omitzero"`
	Why    string       `json:"why"` // the last error
}

// failing looks at the pending changes of a domain.
func (l *Local) failing(domain string, d identity.Direction) (*Failing, error) {
	const most = 1000
	entries, err := l.Store.Pending(d, most, 0)
	if err != nil {
		return nil, err
	}
	var f Failing
	for _, e := range entries {
		if !strings.EqualFold(e.Account.Domain, domain) || e.Reason == "" {
			continue
		}
		if f.Count++; f.Count == 1 || e.Attempts > f.Tries {
			f.Seq, f.Object, f.Tries, f.Next, f.Why = e.Seq, cmp.Or(e.Account.SAM, e.CloudID), e.Attempts, e.NextTry, e.Reason
		}
	}
	if f.Count == 0 {
		return nil, nil
	}
	return &f, nil
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
	failing, err := l.failing(domain, direction)
	if err != nil {
		return Replication{}, err
	}
	if i := slices.IndexFunc(running, func(s reconcile.Status) bool { return strings.EqualFold(s.Domain, domain) && s.Direction == direction }); i >= 0 {
		return Replication{running[i], counts, failing}, nil
	}
	s := reconcile.Status{Domain: domain, Direction: direction, State: Stopped, Why: fmt.Sprintf("no daemon with the role %s works on this store: run `dirgate serve`", direction)}
	if l.Supervisor != nil && l.Supervisor.Runs(direction) {
		s.State, s.Why = reconcile.Waiting, "it is being started"
	}
	if s.LastFull, err = reconcile.LastFull(l.Store, domain); err != nil {
		return Replication{}, err
	}
	err = s.LookIn(l.Store)
	return Replication{s, counts, failing}, err
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
