package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
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

// Apply carries out the recorded changes that are due, and returns when the
// next one is (zero: none waits). An error is one of the store or of a read
// that everything depends on; what JumpCloud refuses is recorded with the
// change.
func (i *Reconciler) Apply(ctx context.Context) (next time.Time, err error) {
	next, err = i.apply(ctx)
	i.rest(next)
	if err != nil {
		return next, fmt.Errorf("apply import of %s: %w", i.settings.Domain, err)
	}
	return next, nil
}

func (i *Reconciler) apply(ctx context.Context) (next time.Time, err error) {
	if i.dir == nil {
		if i.dir, err = i.stored(); err != nil {
			return next, err
		}
	}
	jobs, next, err := i.due()
	if err != nil || len(jobs) == 0 {
		return next, err
	}
	i.begin(len(jobs))
	w, err := i.world(i.dir)
	if err != nil {
		return next, err
	}
	guids := make([]identity.GUID, 0, len(jobs))
	for guid := range jobs {
		guids = append(guids, guid)
	}
	if err := i.refresh(ctx, w, guids); err != nil {
		return next, err
	}
	i.withCloud(&w, i.cloud)
	p, err := plan.Import(w)
	if err != nil {
		return next, err
	}
	run := &run{Reconciler: i, world: w, jobs: jobs, scope: plan.NewScope(w.Tree), until: w.Now.Add(passLimit)}
	for _, r := range p.Results {
		if j := jobs[r.GUID]; j != nil {
			j.results = append(j.results, r)
			if len(r.Actions) > 0 {
				j.left++
				run.order = append(run.order, r)
			}
		}
	}
	if err := run.hold(ctx); err != nil {
		return next, err
	}
	if err := run.all(ctx); err != nil {
		return next, err
	}
	for _, j := range jobs {
		next = earlier(next, j.next)
	}
	return next, nil
}

// due reads the pending changes of the domain whose time has come.
func (i *Reconciler) due() (jobs map[identity.GUID]*job, next time.Time, err error) {
	const page = 500
	jobs = make(map[identity.GUID]*job)
	now := i.cfg.Now()
	i.mu.Lock()
	quiet := i.quiet
	i.mu.Unlock()
	if quiet.After(now) {
		return nil, quiet, nil
	}
	if i.paused() {
		return nil, next, nil // the end of the pause is a commit, which wakes
	}
	for after := identity.Seq(0); ; {
		entries, err := i.cfg.Store.Pending(identity.Import, page, after)
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
				jobs[e.Account.GUID] = &job{entry: e}
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

// run is one pass over the changes that are due.
type run struct {
	*Reconciler
	world plan.World
	scope *plan.Scope
	jobs  map[identity.GUID]*job
	order []plan.Result // of jobs, those with actions
	until time.Time     // when the pass ends, whatever is left
}

// passLimit bounds a pass, so that what happens in AD meanwhile does not wait
// for an import of thousands.
const passLimit = 5 * time.Minute

// cut: the rest is for another pass.
func (r *run) cut(ctx context.Context) bool {
	return ctx.Err() != nil || r.stopped() || r.cfg.Now().After(r.until) || r.paused()
}

// paused: a person has stopped the direction. A store that cannot say so ends
// the pass by itself.
func (i *Reconciler) paused() bool {
	_, is, err := i.cfg.Store.Paused(i.settings.Domain, identity.Import)
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
	over := r.check(counted, r.world)
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

// stopped: JumpCloud does not answer, or wants to be left alone.
func (i *Reconciler) stopped() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.strikes >= 3
}

// one carries out one result. The error is the store's.
func (r *run) one(ctx context.Context, result plan.Result) error {
	j := r.jobs[result.GUID]
	if j.ended {
		return nil
	}
	if !j.begun {
		if err := r.confirm(ctx, result); err != nil {
			return r.failed(ctx, j, err)
		}
		err := r.cfg.Store.BeginAttempt(ctx, j.entry.Seq, r.evidence(j))
		if errors.Is(err, store.ErrState) {
			r.over(j) // superseded or discarded meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		j.begun = true
		j.entry.Attempts++
	}
	if err := r.carryOut(ctx, result); err != nil {
		return r.failed(context.WithoutCancel(ctx), j, err)
	}
	r.mu.Lock()
	r.strikes = 0
	r.mu.Unlock()
	if j.left--; j.left > 0 {
		return nil
	}
	return r.applied(context.WithoutCancel(ctx), j)
}

// applied records that a change was carried out.
func (r *run) applied(ctx context.Context, j *job) error {
	r.over(j)
	err := r.agreeIf(ctx, j)
	if err == nil {
		err = r.cfg.Store.MarkApplied(ctx, j.entry.Seq, nil)
	}
	if err == nil && j.begun {
		r.cfg.Observe.Applied(identity.Import, r.cfg.Now().Sub(j.entry.At))
	}
	if errors.Is(err, store.ErrState) {
		return nil // superseded or discarded meanwhile
	}
	return err
}

// finish records what became of the changes of which nothing was wanted. Those
// that a pass was too short for are due at once.
func (r *run) finish(ctx context.Context) error {
	r.mu.Lock()
	r.strikes = 0
	r.mu.Unlock()
	for _, j := range r.jobs {
		if j.ended {
			continue
		}
		if j.left > 0 {
			j.next = r.cfg.Now()
			continue
		}
		skip := ""
		for _, result := range j.results {
			if len(result.Actions) == 0 && result.Skip != "" {
				skip = result.Skip
			}
		}
		if skip == "" {
			if err := r.applied(ctx, j); err != nil {
				return err
			}
			continue
		}
		r.over(j)
		if err := r.cfg.Store.Discard(ctx, j.entry.Seq, "skipped: "+skip); err != nil && !errors.Is(err, store.ErrState) {
			return err
		}
	}
	return nil
}

// over: nothing more is done about a change in this pass.
func (r *run) over(j *job) {
	j.ended = true
	r.step()
}

func (r *run) agreeIf(ctx context.Context, j *job) error {
	if j.entry.Kind != identity.GroupChange {
		return nil
	}
	return r.agreeOn(ctx, j.entry.Account.GUID)
}

// errWaits: something that must be done first was not.
var errWaits = errors.New("the user it is about is not made yet: see the change of that user")

// errDisagrees: a fresh read of AD is not as the mirror says.
var errDisagrees = errors.New("a fresh read of Active Directory does not confirm it")

// failed records why a change is not applied, or not whole.
func (r *run) failed(ctx context.Context, j *job, cause error) error {
	r.over(j)
	now := r.cfg.Now()
	wait := pause(j.entry.Attempts)
	if told, ok := jumpcloud.RetryAfter(cause); ok {
		wait = max(told, time.Second)
		r.strike(3, now.Add(wait), cause)
	}
	j.next = now.Add(wait)
	log := r.cfg.Log.With("domain", r.settings.Domain, "seq", j.entry.Seq, "account", j.entry.Account.GUID.String(), "err", cause)
	var err error
	switch temporary := jumpcloud.Temporary(cause) || jumpcloud.NotSent(cause) || jumpcloud.Unauthorized(cause); {
	case jumpcloud.Unknown(cause) && j.begun:
		r.strike(1, j.next, cause)
		log.Warn("JumpCloud did not answer; it is looked at again before another try", "retry_at", j.next)
		err = r.cfg.Store.DeferUnknown(ctx, j.entry.Seq, j.next, cause.Error())
	case errors.Is(cause, store.ErrLinkConflict) || !temporary && jumpcloud.Refused(cause) && !jumpcloud.NotFound(cause):
		j.next = time.Time{}
		log.Warn("JumpCloud refused a change")
		err = r.cfg.Store.MarkDead(ctx, j.entry.Seq, fmt.Sprintf("%v: mend it, then run `dirgate changelog retry %d`", cause, j.entry.Seq))
	default:
		if temporary {
			r.strike(1, j.next, cause)
		}
		log.Warn("change put off", "retry_at", j.next)
		err = r.cfg.Store.Postpone(ctx, j.entry.Seq, j.next, cause.Error())
	}
	if errors.Is(err, store.ErrState) {
		return nil // superseded or discarded meanwhile
	}
	return err
}

func (i *Reconciler) strike(n int, until time.Time, cause error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.strikes += n; i.strikes >= 3 {
		i.quiet, i.complaint = until, cause.Error()
	}
}

// pause is the wait before another attempt: doubling from one second to five
// minutes, of which a random half is waited.
func pause(attempts int) time.Duration {
	full := min(5*time.Minute, time.Second<<min(9, max(0, attempts)))
	return full/2 + rand.N(full/2)
}

// confirm reads the account or group once more before something is taken from
// people because it is gone, out of scope or disabled (rule I8).
func (r *run) confirm(ctx context.Context, result plan.Result) error {
	if !slices.ContainsFunc(result.Actions, func(a plan.Action) bool {
		return a.Kind == plan.DeleteUser || a.Kind == plan.UnbindUser || a.Kind == plan.Suspend || a.Kind == plan.DeleteGroup || a.Kind == plan.UnbindGroup
	}) {
		return nil
	}
	if isGroup(r.world, result.GUID) {
		if _, there := r.world.Groups[result.GUID]; there {
			return nil
		}
		_, _, err := r.cfg.AD.Exists(ctx, "<GUID="+result.GUID.String()+">", "(objectClass=group)")
		return confirmedGone(err)
	}
	known, there := r.world.Users[result.GUID]
	now, err := r.cfg.AD.User(ctx, identity.Account{Domain: r.settings.Domain, GUID: result.GUID})
	switch {
	case !there:
		return confirmedGone(err)
	case err != nil && confirmedGone(err) == nil: // it is on its way out of the mirror
		return nil
	case err != nil:
		return err
	case r.scope.User(known) != "" && now.InScope, r.scope.User(known) == "" && known.Disabled && !now.Disabled:
		return errDisagrees
	}
	return nil
}
