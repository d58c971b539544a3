package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

const (
	pathPlanImport = "/v1/import/plan"
	pathRunImport  = "/v1/import/run"
	pathHeld       = "/v1/guard/held"
	pathApprove    = "/v1/guard/approve"
	pathReject     = "/v1/guard/reject"
)

// Planned is what one direction would do with one account or group, or why it
// does nothing. In direction import it is AD's, in direction sync JumpCloud's,
// and GUID is zero while AD has none. Without a direction it is a note about
// the domain.
type Planned struct {
	Direction identity.Direction `json:"direction,omitempty"`
	GUID      identity.GUID      `json:"guid,omitzero"`
	CloudID   string             `json:"jumpcloudId,omitempty"`
	Name      string             `json:"name"`
	Actions   []plan.Action      `json:"actions,omitempty"`
	// Members are the names of the users that Actions put into a group or take
	// out of one, by their userId.
	Members map[string]string `json:"members,omitempty"`
	Skip    string            `json:"skip,omitempty"`
	Note    string            `json:"note,omitempty"`
}

// ImportRun is what one pass of an import came to: Recorded and Applied are
// its own changes, the others are all that are open.
type ImportRun struct {
	Recorded int `json:"recorded"`
	Applied  int `json:"applied"`
	Pending  int `json:"pending"`
	Held     int `json:"held"`
	Dead     int `json:"dead"`
}

// runImport is a request for one pass.
type runImport struct {
	Domain string `json:"domain,omitempty"`
	Full   bool   `json:"full,omitempty"`
}

// HeldQuery selects held changes.
type HeldQuery struct {
	Domain    string             `json:"domain,omitempty"`
	Direction identity.Direction `json:"direction,omitempty"` // empty: both
	Class     string             `json:"class,omitempty"`
	After     identity.Seq       `json:"after,omitempty"`
	Limit     int                `json:"limit,omitempty"`
}

func serveImport(mux *http.ServeMux, b Backend) {
	serve(mux, pathPlanImport, func(ctx context.Context, q named) ([]Planned, error) { return b.PlanImport(ctx, q.Domain) })
	serve(mux, pathRunImport, func(ctx context.Context, q runImport) (ImportRun, error) { return b.RunImport(ctx, q.Domain, q.Full) })
	serve(mux, pathHeld, func(ctx context.Context, q HeldQuery) ([]identity.Entry, error) { return b.Held(ctx, q) })
	serve(mux, pathApprove, func(ctx context.Context, q onSeq) (nothing, error) { return nothing{}, b.Approve(ctx, q.Seq, q.Reason) })
	serve(mux, pathReject, func(ctx context.Context, q onSeq) (nothing, error) { return nothing{}, b.Reject(ctx, q.Seq, q.Reason) })
}

// errNoImport: a Local that was made without access to both sides.
var errNoImport = errors.New("nothing can be imported from here")

// reconciler makes one for a domain, for one use.
func (l *Local) reconciler(d store.Domain) (*reconcile.Reconciler, func(), error) {
	if l.Reconciler == nil {
		return nil, nil, errNoImport
	}
	return l.Reconciler(d)
}

// once imports with a reconciler made for it. One works at a time: two would
// make every user twice.
func (l *Local) once(ctx context.Context, d store.Domain, full bool) error {
	if !l.imports.TryLock() {
		return errors.New("another import is running; try again when it has ended")
	}
	defer l.imports.Unlock()
	im, end, err := l.reconciler(d)
	if err != nil {
		return err
	}
	defer end()
	l.working.Store(im)
	defer l.working.Store(nil)
	return im.Once(ctx, full)
}

// PlanImport reads both sides and says what would be done; it writes nothing.
func (l *Local) PlanImport(ctx context.Context, domain string) (planned []Planned, err error) {
	d, err := l.pick(domain)
	if err != nil {
		return nil, err
	}
	im, end, err := l.reconciler(d)
	if err != nil {
		return nil, err
	}
	defer end()
	p, err := im.Plan(ctx)
	named, namesErr := l.memberNames(d.Name, p)
	err = errors.Join(err, namesErr)
	for _, r := range p.Results {
		if len(r.Actions) == 0 && r.Skip == "" && r.Note == "" {
			continue // there is something to remember only
		}
		planned = append(planned, Planned{Direction: r.Direction, GUID: r.GUID, CloudID: r.CloudID, Name: r.Name, Actions: r.Actions, Skip: r.Skip, Note: r.Note, Members: namesOf(r.Actions, named)})
	}
	for _, note := range p.Notes {
		planned = append(planned, Planned{Name: d.Name, Note: note})
	}
	return planned, err
}

// memberNames are those of a plan's users, by JumpCloud's id or what stands for
// it until the user is made.
func (l *Local) memberNames(domain string, p plan.Plan) (func(plan.Action) string, error) {
	links, err := l.Store.Links(domain)
	byID, byGUID := make(map[string]string), make(map[identity.GUID]string)
	for _, link := range links {
		byID[link.JumpCloudID], byGUID[link.GUID] = link.Username, link.Username
	}
	for _, r := range p.Results {
		if r.CloudID != "" {
			byID[r.CloudID] = r.Name
		}
		if !r.GUID.IsZero() {
			byGUID[r.GUID] = r.Name
		}
		for _, a := range r.Actions { // whom the plan takes over has no link yet
			if a.Kind == plan.Link {
				byID[a.UserID] = r.Name
			}
		}
	}
	return func(a plan.Action) string {
		guid, made := plan.Made(a.UserID)
		if !made {
			guid = a.Member
		}
		return cmp.Or(byID[a.UserID], byGUID[guid])
	}, err
}

// namesOf are the members that actions are about.
func namesOf(actions []plan.Action, name func(plan.Action) string) (named map[string]string) {
	for _, a := range actions {
		switch a.Kind {
		case plan.AddMember, plan.RemoveMember, plan.ADAddMember, plan.ADRemoveMember:
			if named == nil {
				named = make(map[string]string)
			}
			if n := name(a); n != "" {
				named[a.UserID] = n
			}
		}
	}
	return named
}

// RunImport makes a pass: it records what has changed in AD and carries out
// what is due, until nothing is. With full everything is compared, and not only
// what changed. Where a daemon's reconciler runs, it is asked to.
func (l *Local) RunImport(ctx context.Context, domain string, full bool) (run ImportRun, err error) {
	d, err := l.pick(domain)
	if err != nil {
		return run, err
	}
	before, err := l.LastSeq(ctx)
	if err != nil {
		return run, err
	}
	if l.Supervisor != nil {
		err = l.Supervisor.Pass(ctx, d.Name, full)
	} else {
		err = l.once(ctx, d, full)
	}
	return run, errors.Join(err, l.count(d.Name, before, &run))
}

func (l *Local) count(domain string, before identity.Seq, run *ImportRun) error {
	const page = 1000
	open := []identity.Status{identity.StatusPending, identity.StatusHeld, identity.StatusDead}
	for _, o := range []store.ListOptions{{Domain: domain, After: before, Limit: page}, {Domain: domain, Status: open, Limit: page}} {
		recent := len(o.Status) == 0
		for {
			entries, err := l.Store.List(o)
			if err != nil {
				return fmt.Errorf("count changes: %w", err)
			}
			for _, e := range entries {
				o.After = e.Seq
				if e.Kind.IsState() {
					run.add(e, recent)
				}
			}
			if len(entries) < page {
				break
			}
		}
	}
	return nil
}

func (r *ImportRun) add(e identity.Entry, recent bool) {
	switch {
	case recent:
		r.Recorded++
		if e.Status == identity.StatusApplied {
			r.Applied++
		}
	case e.Status == identity.StatusPending:
		r.Pending++
	case e.Status == identity.StatusHeld:
		r.Held++
	case e.Status == identity.StatusDead:
		r.Dead++
	}
}

// Held lists changes that a guard holds, in the order of their numbers.
func (l *Local) Held(_ context.Context, q HeldQuery) (held []identity.Entry, err error) {
	directions := []identity.Direction{identity.Import, identity.Sync}
	if q.Direction != "" {
		directions = []identity.Direction{q.Direction}
	}
	limit := min(cmp.Or(max(q.Limit, 0), 100), 1000) // as the store has it
	for _, d := range directions {
		some, err := l.Store.Held(d, store.HeldOptions{Domain: q.Domain, Class: q.Class, After: q.After, Limit: limit})
		if err != nil {
			return nil, err
		}
		held = append(held, some...)
	}
	slices.SortFunc(held, func(a, b identity.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return held[:min(len(held), limit)], nil // the next page begins with the rest
}

// Approve lets a held change pass.
func (l *Local) Approve(ctx context.Context, seq identity.Seq, who string) error {
	return l.Store.Approve(ctx, seq, who)
}

// Reject gives a held change up.
func (l *Local) Reject(ctx context.Context, seq identity.Seq, reason string) error {
	return l.Store.Reject(ctx, seq, reason)
}

// PlanImport says what an import would do.
func (c *Client) PlanImport(ctx context.Context, domain string) ([]Planned, error) {
	return call[[]Planned](ctx, c, pathPlanImport, named{Domain: domain})
}

// RunImport makes one pass of an import.
func (c *Client) RunImport(ctx context.Context, domain string, full bool) (ImportRun, error) {
	return call[ImportRun](ctx, c, pathRunImport, runImport{Domain: domain, Full: full})
}

// Held lists changes that a guard holds.
func (c *Client) Held(ctx context.Context, q HeldQuery) ([]identity.Entry, error) {
	return call[[]identity.Entry](ctx, c, pathHeld, q)
}

// Approve lets a held change pass.
func (c *Client) Approve(ctx context.Context, seq identity.Seq, who string) error {
	_, err := call[nothing](ctx, c, pathApprove, onSeq{Seq: seq, Reason: who})
	return err
}

// Reject gives a held change up.
func (c *Client) Reject(ctx context.Context, seq identity.Seq, reason string) error {
	_, err := call[nothing](ctx, c, pathReject, onSeq{Seq: seq, Reason: reason})
	return err
}
