package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// job is a recorded change that is being applied.
type job struct {
	entry   identity.Entry
	results []plan.Result
	left    int  // results with actions that are not carried out
	begun   bool // an attempt was recorded
	ended   bool // it is applied, put off, dead, held, or no longer pending
	next    time.Time
}

// Apply carries out the recorded changes that are due, one direction after the
// other, and returns when the next one is (zero: none waits). Where there are
// two, each has a slice of time, so that a long one does not delay the other.
// An error is one of the store or of a read that everything depends on; what a
// side refuses is recorded with the change.
func (i *Reconciler) Apply(ctx context.Context) (next time.Time, err error) {
	for _, d := range i.directions() {
		due, failed := i.apply(ctx, d)
		i.rest(d, due)
		next = earlier(next, due)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("apply %s of %s: %w", d, i.settings.Domain, failed))
		}
	}
	return next, err
}

func (i *Reconciler) apply(ctx context.Context, d identity.Direction) (next time.Time, err error) {
	if i.dir == nil {
		if i.dir, err = i.stored(); err != nil {
			return next, err
		}
	}
	jobs, next, err := i.due(d)
	if err != nil || len(jobs) == 0 {
		return next, err
	}
	i.begin(d, len(jobs))
	began := i.cfg.Now()
	w, err := i.world(i.dir)
	if err != nil {
		return next, err
	}
	if err := i.refresh(ctx, w, jobs); err != nil {
		return next, err
	}
	i.see(&w)
	p, err := planOne(d, w)
	if err != nil {
		return next, err
	}
	run := &run{Reconciler: i, d: d, world: w, jobs: jobs, scope: w.Scope(), until: i.until(began)}
	for _, r := range p.Results {
		if j := jobs[objectOf(d, r.GUID, r.CloudID)]; j != nil {
			j.results = append(j.results, r)
			if len(r.Actions) > 0 {
				j.left++
				run.order = append(run.order, r)
			}
		}
	}
	defer i.tellWatcher()
	if err := run.hold(ctx); err != nil {
		return next, err
	}
	if err := run.all(ctx); err != nil {
		return next, err
	}
	if len(run.order) > 0 && len(i.directions()) > 1 {
		i.planned = time.Time{} // what was done in one direction may be for the other to follow
	}
	for _, j := range jobs {
		next = earlier(next, j.next)
	}
	return next, nil
}

// due reads the pending changes of the domain in a direction whose time has
// come.
func (i *Reconciler) due(d identity.Direction) (jobs map[object]*job, next time.Time, err error) {
	const page = 500
	jobs = make(map[object]*job)
	now := i.cfg.Now()
	if quiet, _, _ := i.quiet(d); quiet.After(now) {
		return nil, quiet, nil
	}
	if i.paused(d) {
		return nil, next, nil // the end of the pause is a commit, which wakes
	}
	for after := identity.Seq(0); ; {
		entries, err := i.cfg.Store.Pending(d, page, after)
		if err != nil {
			return nil, next, err
		}
		for _, e := range entries {
			after = e.Seq
			switch {
			case !e.Kind.IsState() || e.Account.Domain != i.settings.Domain:
			case e.NextTry.After(now):
				next = earlier(next, e.NextTry)
			default:
				jobs[objectOf(d, e.Account.GUID, e.CloudID)] = &job{entry: e}
			}
		}
		if len(entries) < page {
			return jobs, next, nil
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// run is one pass over the changes of a direction that are due.
type run struct {
	*Reconciler
	d     identity.Direction
	world plan.World
	scope *plan.Scope
	jobs  map[object]*job
	order []plan.Result // of jobs, those with actions
	until time.Time     // when the pass ends, whatever is left
}

// passLimit bounds a pass, so that what happens in AD meanwhile does not wait
// for an import of thousands, and sliceLimit one of two directions: longer, up
// to longSlice, where it takes so long to plan that most of the time would go
// into that.
const (
	passLimit  = 5 * time.Minute
	sliceLimit = 2 * time.Second
	longSlice  = 20 * time.Second
	planShare  = 4 // a slice is at least so many times as long as its plan took
)

// until is when a pass ends that was begun, and is planned now.
func (i *Reconciler) until(began time.Time) time.Time {
	now := i.cfg.Now()
	if len(i.directions()) > 1 {
		return now.Add(min(longSlice, max(sliceLimit, planShare*now.Sub(began))))
	}
	return now.Add(passLimit)
}

// cut: the rest is for another pass.
func (r *run) cut(ctx context.Context) bool {
	return ctx.Err() != nil || r.stopped(r.d) || r.cfg.Now().After(r.until) || r.paused(r.d)
}

// paused: a person has stopped the direction. A store that cannot say so ends
// the pass by itself.
func (i *Reconciler) paused(d identity.Direction) bool {
	_, is, err := i.cfg.Store.Paused(i.settings.Domain, d)
	return is && err == nil
}

// hold stops what takes more than the limits allow. What a person approved is
// neither held nor counted.
func (r *run) hold(ctx context.Context) error {
	var counted []plan.Action
	for _, j := range r.jobs {
		if !j.entry.Approved {
			counted = append(counted, j.actions()...)
		}
	}
	over := r.check(r.d, counted, r.world)
	for _, j := range r.jobs {
		class, why := holds(j.actions(), over)
		if j.entry.Approved || class == "" {
			continue
		}
		r.over(j)
		if err := r.cfg.Store.Hold(ctx, j.entry.Seq, string(class), why); err != nil && !errors.Is(err, store.ErrState) {
			return err
		}
		r.cfg.Log.Warn("a guard holds a change", "domain", r.settings.Domain, "seq", j.entry.Seq, "class", string(class), "why", why)
	}
	return nil
}

func (j *job) actions() (all []plan.Action) {
	for _, r := range j.results {
		all = append(all, r.Actions...)
	}
	return all
}

// all carries out the results in the order of the plan, which frees names
// before they are given to others. Only users that are made side by side
// cannot be in one another's way.
func (r *run) all(ctx context.Context) error {
	for at := 0; at < len(r.order) && !r.cut(ctx); {
		end := at
		for end < len(r.order) && makes(r.order[end]) {
			end++
		}
		if end == at {
			if err := r.one(ctx, r.order[at]); err != nil {
				return err
			}
			at++
			continue
		}
		err := sideBySide(r.cfg.Workers, r.order[at:end], func(result plan.Result) error {
			if r.cut(ctx) {
				return nil
			}
			return r.one(ctx, result)
		})
		if err != nil {
			return err
		}
		at = end
	}
	return r.finish(context.WithoutCancel(ctx))
}

func makes(r plan.Result) bool { return len(r.Actions) > 0 && r.Actions[0].Kind == plan.CreateUser }

// sideBySide calls do for all items, in so many goroutines, and waits for
// them.
func sideBySide[T any](workers int, items []T, do func(T) error) error {
	var group sync.WaitGroup
	work := make(chan T)
	errs := make([]error, min(workers, len(items)))
	for n := range errs {
		group.Go(func() {
			for item := range work {
				if errs[n] == nil {
					errs[n] = do(item)
				}
			}
		})
	}
	for _, item := range items {
		work <- item
	}
	close(work)
	group.Wait()
	return errors.Join(errs...)
}
