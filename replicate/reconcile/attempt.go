package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// one carries out one result. The error is the store's.
func (r *run) one(ctx context.Context, result plan.Result) error {
	j := r.jobs[objectOf(r.d, result.GUID, result.CloudID)]
	if j.ended {
		return nil
	}
	if !j.begun {
		err := r.confirm(ctx, result)
		if errors.Is(err, errUnexplained) {
			if !j.entry.Approved {
				return r.holdUnexplained(ctx, j, result)
			}
			err = nil
		}
		if err != nil {
			return r.failed(ctx, j, err)
		}
		err = r.cfg.Store.BeginAttempt(ctx, j.entry.Seq, r.evidence(j))
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
	if err := r.take(ctx, j, result.Actions); err != nil {
		return err
	}
	if err := r.carryOut(ctx, j, result); err != nil {
		return r.failed(context.WithoutCancel(ctx), j, err)
	}
	r.answered(r.d)
	if j.left--; j.left > 0 {
		return nil
	}
	return r.applied(context.WithoutCancel(ctx), j)
}

// holdUnexplained lets a person decide about what is only out of sight in AD:
// however few they are, nobody is taken from JumpCloud for that alone.
func (r *run) holdUnexplained(ctx context.Context, j *job, result plan.Result) error {
	class := plan.Removals
	if isGroup(r.world, result.GUID) {
		class = plan.GroupEnds
	}
	r.over(j)
	r.cfg.Log.Warn("a removal is held", "domain", r.settings.Domain, "seq", j.entry.Seq, "class", string(class), "why", errUnexplained.Error())
	if err := r.cfg.Store.Hold(ctx, j.entry.Seq, string(class), errUnexplained.Error()); err != nil && !errors.Is(err, store.ErrState) {
		return err
	}
	return nil
}

// applied records that a change was carried out.
func (r *run) applied(ctx context.Context, j *job) error {
	r.over(j)
	err := r.agreeIf(ctx, j)
	if err == nil {
		err = r.cfg.Store.MarkApplied(ctx, j.entry.Seq, nil)
	}
	if err == nil && j.begun {
		r.cfg.Observe.Applied(r.d, r.cfg.Now().Sub(j.entry.At))
	}
	if errors.Is(err, store.ErrState) {
		return nil // superseded or discarded meanwhile
	}
	return err
}

// finish records what became of the changes of which nothing was wanted. Those
// that a pass was too short for are due at once.
func (r *run) finish(ctx context.Context) error {
	r.answered(r.d)
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
	r.tell(r.d, func(s *Status) { s.Progress.Done++ })
}

func (r *run) agreeIf(ctx context.Context, j *job) error {
	if j.entry.Kind != identity.GroupChange || r.settings.Use != identity.UseAD {
		return nil
	}
	return r.agreeOn(ctx, j.entry.Account.GUID)
}

// failed records why a change is not applied, or not whole.
func (r *run) failed(ctx context.Context, j *job, cause error) error {
	r.over(j)
	now := r.cfg.Now()
	wait := pause(j.entry.Attempts)
	if told, ok := jumpcloud.RetryAfter(cause); ok {
		wait = max(told, time.Second)
		r.strike(waitsForJumpCloud, maxStrikes, now.Add(wait), cause)
	}
	j.next = now.Add(wait)
	log := r.cfg.Log.With("domain", r.settings.Domain, "direction", string(r.d), "seq", j.entry.Seq, "account", j.entry.Account.GUID.String(), "user", j.entry.CloudID, "err", cause)
	var err error
	switch kind, of := judgeFailure(cause), side(cause); {
	case kind == failedUnknown && j.begun:
		r.strike(of, 1, j.next, cause)
		log.Warn("no answer came; it is looked at again before another try", "side", of, "retry_at", j.next)
		err = r.cfg.Store.DeferUnknown(ctx, j.entry.Seq, j.next, cause.Error())
	case kind == failedForGood:
		j.next = time.Time{}
		log.Warn("a change was refused")
		err = r.cfg.Store.MarkDead(ctx, j.entry.Seq, fmt.Sprintf("%v: mend it, then run `dirgate changelog retry %d`", cause, j.entry.Seq))
	default:
		if kind == failedForNow {
			r.strike(of, 1, j.next, cause)
		}
		log.Warn("change put off", "retry_at", j.next)
		err = r.cfg.Store.Postpone(ctx, j.entry.Seq, j.next, cause.Error())
	}
	if errors.Is(err, store.ErrState) {
		return nil // superseded or discarded meanwhile
	}
	return err
}

// failure is what follows from an error.
type failure int

const (
	failedOnce    failure = iota // plan again, later
	failedForNow                 // so would the next one
	failedUnknown                // it may have been done
	failedForGood                // until a person changes something
)

func judgeFailure(cause error) failure {
	var inAD *adError
	switch temporary := jumpcloud.Temporary(cause) || jumpcloud.NotSent(cause) || jumpcloud.Unauthorized(cause); {
	case errors.Is(cause, ad.ErrUnknown), jumpcloud.Unknown(cause):
		return failedUnknown
	case errors.Is(cause, ad.ErrUnavailable), errors.Is(cause, ad.ErrAccountRefused), temporary:
		return failedForNow
	case errors.Is(cause, ad.ErrNotFound), errors.Is(cause, ad.ErrChanged), jumpcloud.NotFound(cause), errors.Is(cause, errWaits), errors.Is(cause, errDisagrees):
		return failedOnce
	case errors.Is(cause, store.ErrLinkConflict), jumpcloud.Refused(cause), errors.As(cause, &inAD):
		return failedForGood
	}
	return failedOnce
}

// pause is the wait before another attempt: doubling from one second to five
// minutes, of which a random half is waited.
func pause(attempts int) time.Duration {
	full := min(5*time.Minute, time.Second<<min(9, max(0, attempts)))
	return full/2 + rand.N(full/2)
}
