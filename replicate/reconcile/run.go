package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrStopped: the reconciler was stopped, or made anew, while somebody waited
// for a pass of it.
var ErrStopped = errors.New("it was stopped, or its domain's registration changed; try again")

// ErrPaused: nothing is applied, because a person has paused the direction.
var ErrPaused = errors.New("it is paused")

// order is a pass that somebody waits for.
type order struct {
	full bool
	done chan error // has room for the answer
}

// Run replicates until ctx ends; it then returns nil. What fails is logged and
// tried again.
func (i *Reconciler) Run(ctx context.Context) error {
	woken, stop := i.cfg.Store.Watch()
	defer stop()
	var orders []order
	defer func() { i.end(orders) }()
	failures := 0
	for ctx.Err() == nil {
		orders = append(orders, i.ordered()...)
		next, err := i.pass(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			wait := pause(failures)
			failures++
			answer(orders, err)
			orders = nil
			i.cfg.Log.Error(i.what(), "domain", i.settings.Domain, "err", err, "retry_in", wait)
			i.sleep(ctx, woken, i.cfg.Now().Add(wait), false)
			continue
		}
		failures = 0
		if i.more(next) {
			continue // an order is done when nothing is due any more
		}
		answer(orders, nil)
		orders = nil
		i.wait(ctx, woken, next)
	}
	return nil
}

// Once makes passes until nothing is due any more: one, unless there is much
// to do. With full everything is compared first. It is for a Reconciler that
// does not run.
func (i *Reconciler) Once(ctx context.Context, full bool) error {
	if full {
		i.Resync()
	}
	for {
		next, err := i.pass(ctx)
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if !i.more(next) {
			return i.pausedError()
		}
	}
}

// more: a pass was too short for what was due.
func (i *Reconciler) more(next time.Time) bool { return !next.IsZero() && !next.After(i.cfg.Now()) }

// pass is one cycle, and what follows from it.
func (i *Reconciler) pass(ctx context.Context) (next time.Time, err error) {
	defer i.phase("")
	if err = i.Cycle(ctx); err == nil {
		next, err = i.Apply(ctx)
	}
	if ctx.Err() == nil {
		i.passed(err)
	}
	return next, err
}

// Pass asks a Reconciler that runs for a pass, which begins after the call,
// and waits for its end: until nothing is due any more. With full it compares
// everything. The error wraps ErrStopped when Run ends before, and ErrPaused
// when changes were recorded and are not applied.
func (i *Reconciler) Pass(ctx context.Context, full bool) error {
	o := order{full: full, done: make(chan error, 1)}
	i.orders.mu.Lock()
	if i.orders.ended {
		i.orders.mu.Unlock()
		return ErrStopped
	}
	i.orders.waiting = append(i.orders.waiting, o)
	i.orders.mu.Unlock()
	select {
	case i.orders.asked <- struct{}{}:
	default:
	}
	select {
	case err := <-o.done:
		if err != nil {
			return err
		}
		return i.pausedError()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (i *Reconciler) pausedError() error {
	for _, d := range i.directions() {
		p, paused, err := i.cfg.Store.Paused(i.settings.Domain, d)
		if err != nil {
			return err
		}
		if paused {
			return fmt.Errorf("%w: direction %s, since %s by %s: changes are recorded and wait; run `dirgate replicate resume --domain %s --direction %s`", ErrPaused,
				d, p.At.Format(time.RFC3339), p.Who, i.settings.Domain, d)
		}
	}
	return nil
}

// ordered takes the orders that the next pass is for.
func (i *Reconciler) ordered() []order {
	i.orders.mu.Lock()
	defer i.orders.mu.Unlock()
	taken := i.orders.waiting
	i.orders.waiting = nil
	for _, o := range taken {
		i.full = i.full || o.full
	}
	return taken
}

// end answers everybody who still waits, and whoever comes later.
func (i *Reconciler) end(orders []order) {
	i.orders.mu.Lock()
	defer i.orders.mu.Unlock()
	i.orders.ended = true
	answer(append(orders, i.orders.waiting...), ErrStopped)
	i.orders.waiting = nil
}

func answer(orders []order, err error) {
	for _, o := range orders {
		o.done <- err
	}
}

// wait returns when AD may have changed, JumpCloud is to be looked at, a change
// is due, or a person has approved or retried one, or asks for a pass.
func (i *Reconciler) wait(ctx context.Context, woken <-chan struct{}, next time.Time) {
	if i.syncs {
		next = earlier(next, i.cloud.due)
	}
	if i.cfg.NoNotification {
		i.sleep(ctx, woken, earlier(next, i.cfg.Now().Add(i.cfg.Interval)), true)
		return
	}
	waiting, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { // ends when waiting does, for which wait itself waits
		defer close(ended)
		defer cancel()
		i.sleep(waiting, woken, next, true)
	}()
	_ = i.cfg.Reader.Wait(waiting, i.dir.cursor) // an error is met again by the next read
	cancel()
	<-ended
}

// sleep returns at a time (zero: never), when ctx ends, when a pass is asked
// for, or, if wanted, when something in the log is due.
func (i *Reconciler) sleep(ctx context.Context, woken <-chan struct{}, until time.Time, watch bool) {
	var alarm <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(max(0, until.Sub(i.cfg.Now())))
		defer timer.Stop()
		alarm = timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-alarm:
			return
		case <-i.orders.asked:
			return
		case <-woken:
			if !watch {
				continue
			}
			for _, d := range i.directions() {
				if jobs, _, err := i.due(d); err == nil && len(jobs) > 0 {
					return
				}
			}
		}
	}
}
