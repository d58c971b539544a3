package replicate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// BindRecorder records passwords that binds proved, for accounts whose password
// JumpCloud does not have (rule G6). It keeps no password of an account that
// would not be replicated: whether one would is asked of both sides first. It
// is safe for concurrent use.
type BindRecorder struct {
	Store *store.Store
	// Peers gives the clients of a domain, as Config.Peers does.
	Peers func(domain string) (*Peers, error)
	Log   *slog.Logger
	Now   func() time.Time // nil: time.Now
}

// RecordBind records the password of an account, whose pwdLastSet
// change.PwdLastSet is, if it is wanted. The caller keeps password. An error
// means that nothing was recorded, because a side or the store does not answer.
func (r *BindRecorder) RecordBind(ctx context.Context, change identity.Change, password secret.Bytes) (identity.BindOutcome, error) {
	if change.Direction == identity.Sync {
		return r.recordCloud(ctx, change, password)
	}
	// What the store knows settles nearly all, and asks nobody.
	if outcome, err := refusedBind(r.Store.CheckProven(change)); outcome != "" || err != nil {
		return outcome, err
	}
	decision, err := r.decide(ctx, change)
	if err != nil {
		return "", fmt.Errorf("record a bind's password of account %s: %w", change.Account.GUID, err)
	}
	if decision.Verb != plan.SetPassword {
		r.Log.Debug("password of a bind not wanted", "account", change.Account.GUID.String(), "why", decision.Reason)
		return identity.BindNotWanted, nil
	}
	seq, err := r.Store.AppendProven(ctx, change, password)
	if outcome, err := refusedBind(err); outcome != "" || err != nil {
		return outcome, err
	}
	r.Log.Info("password of a bind recorded", "seq", seq, "account", change.Account.GUID.String())
	return identity.BindRecorded, nil
}

// refusedBind says what a refusal of the store means.
func refusedBind(err error) (identity.BindOutcome, error) {
	switch {
	case errors.Is(err, store.ErrInSync):
		return identity.BindInSync, nil
	case errors.Is(err, store.ErrOpenChange):
		return identity.BindPending, nil
	}
	return "", err
}

// decide asks what would be done with the change, were it in the log.
func (r *BindRecorder) decide(ctx context.Context, change identity.Change) (plan.Decision, error) {
	facts := plan.PasswordCase{Change: change}
	peers, err := r.Peers(change.Account.Domain)
	if err != nil {
		return plan.Decision{}, err
	}
	user, err := peers.AD.User(ctx, change.Account)
	switch {
	case err == nil:
		facts.AD = &user
	case !errors.Is(err, ad.ErrNotFound):
		return plan.Decision{}, err
	}
	if decision, early := plan.Early(facts); early {
		return decision, nil
	}
	if err := gatherJumpCloud(ctx, r.Store, peers.JumpCloud.Once(readLimit), change.Account, &facts); err != nil {
		return plan.Decision{}, err
	}
	return plan.Password(facts), nil
}

// setSkew is how far the clocks of a controller and of this host may be apart:
// as far as Kerberos allows by default (RFC 4120 section 1.6).
const setSkew = 5 * time.Minute

// passwordSet is the pwdLastSet that AD gave the password of a change, as far
// as the one that the account has now can be that; zero: it cannot be told.
// Should the password have been changed once more before the change is
// applied, and within setSkew, the two are not told apart.
func passwordSet(e identity.Entry, now int64, answerLimit time.Duration) int64 {
	if e.Kind == identity.PasswordBind {
		return e.PwdLastSet
	}
	if now == 0 || now == e.PwdLastSet { // not readable, or of a controller that has not heard of it
		return 0
	}
	at, accepted := identity.FileTime(now), e.At.Add(answerLimit)
	if !e.Since.IsZero() && e.Since.Before(accepted) {
		accepted = e.Since
	}
	if at.Before(e.At.Add(-setSkew)) || at.After(accepted.Add(setSkew)) {
		return 0
	}
	return now
}
