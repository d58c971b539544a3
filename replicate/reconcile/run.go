package reconcile

import (
	"context"
	"time"
)

// Run imports until ctx ends; it then returns nil. What fails is logged and
// tried again.
func (i *Reconciler) Run(ctx context.Context) error {
	woken, stop := i.cfg.Store.Watch()
	defer stop()
	failures := 0
	for ctx.Err() == nil {
		err := i.Cycle(ctx)
		var next time.Time
		if err == nil {
			next, err = i.Apply(ctx)
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			wait := pause(failures)
			failures++
			i.cfg.Log.Error("import", "domain", i.settings.Domain, "err", err, "retry_in", wait)
			i.sleep(ctx, woken, i.cfg.Now().Add(wait), false)
			continue
		}
		failures = 0
		i.wait(ctx, woken, next)
	}
	return nil
}

// wait returns when AD may have changed, a change is due, or a person has
// approved or retried one.
func (i *Reconciler) wait(ctx context.Context, woken <-chan struct{}, next time.Time) {
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

// sleep returns at a time (zero: never), when ctx ends, or, if wanted, when
// something in the log is due.
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
		case <-woken:
			if !watch {
				continue
			}
			if jobs, _, err := i.due(); err == nil && len(jobs) > 0 {
				return
			}
		}
	}
}
