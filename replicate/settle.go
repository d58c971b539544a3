package replicate

import (
	"context"
	"errors"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store/identity"
)

// settleAll judges the intents whose outcome nobody will record any more:
// those left by an earlier process, and those the gateway declared unknown.
// The others are being answered at this moment.
func (e *Engine) settleAll(ctx context.Context) (next time.Time, err error) {
	entries, err := e.cfg.Store.Unsettled(page, 0)
	if err != nil {
		return next, err
	}
	for _, entry := range entries {
		if entry.Seq > e.inherited && entry.Reason == "" {
			continue
		}
		if due := e.due(entry.Seq); due.After(e.cfg.Now()) {
			next = earlier(next, due)
			continue
		}
		verdict, err := e.judge(ctx, entry)
		if ctx.Err() != nil {
			return next, nil
		}
		if err != nil || verdict.Outcome == identity.OutcomeUnknown {
			due := e.postpone(entry.Seq)
			e.cfg.Log.Warn("outcome of a password change still unknown", "seq", entry.Seq,
				"account", entry.Account.GUID.String(), "why", verdict.Reason, "err", err, "retry_at", due)
			next = earlier(next, due)
			continue
		}
		if err := e.cfg.Store.Settle(ctx, entry.Seq, verdict.Outcome, verdict.Reason); err != nil {
			return next, err
		}
		e.forget(entry.Seq)
		e.cfg.Log.Info("password change settled by evidence", "seq", entry.Seq,
			"account", entry.Account.GUID.String(), "outcome", verdict.Outcome, "why", verdict.Reason)
	}
	return next, nil
}

// judge gathers evidence until plan.Settle is content or can learn no more
// now. At most one bind is made.
func (e *Engine) judge(ctx context.Context, entry identity.Entry) (plan.Settlement, error) {
	unknown := plan.Settlement{Outcome: identity.OutcomeUnknown}
	peers, err := e.cfg.Peers(entry.Account.Domain)
	if err != nil {
		return unknown, err
	}
	evidence := plan.Evidence{Old: e.cfg.Now().Sub(entry.At) > e.cfg.AnswerLimit}
	user, err := peers.AD.User(ctx, entry.Account)
	switch {
	case err == nil:
		evidence.AD = &user
	case !errors.Is(err, ad.ErrNotFound):
		return unknown, err
	}
	verdict := plan.Settle(entry.Change, evidence)
	if !verdict.TryBind {
		return verdict, nil
	}
	password, err := e.cfg.Store.Secret(entry.Seq, e.cfg.Opener)
	if err != nil {
		return unknown, err
	}
	defer password.Wipe()
	proof, why, err := peers.AD.TestPassword(ctx, user.DN, password)
	if err != nil {
		return unknown, err
	}
	evidence.BindReason = why
	switch proof {
	case ad.Right:
		evidence.Bind = plan.BindProved
	case ad.Wrong:
		evidence.Bind = plan.BindDisproved
	default:
		evidence.Bind = plan.BindUndecided
	}
	return plan.Settle(entry.Change, evidence), nil
}

func (e *Engine) due(seq identity.Seq) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.patience[seq].next
}

func (e *Engine) postpone(seq identity.Seq) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.patience[seq]
	p.attempts++
	p.next = e.cfg.Now().Add(pause(p.attempts))
	e.patience[seq] = p
	return p.next
}

func (e *Engine) forget(seq identity.Seq) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.patience, seq)
}
