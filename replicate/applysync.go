package replicate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/settings"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// PasswordWriter sets passwords in AD; an [ad.Writer] does.
type PasswordWriter interface {
	SetPassword(ctx context.Context, guid identity.GUID, password secret.Bytes) (identity.User, error)
}

// syncJob is a pending password of direction sync with all that was learnt
// about it.
type syncJob struct {
	entry    identity.Entry
	log      *slog.Logger
	peers    *Peers
	facts    plan.SyncPasswordCase
	decision plan.Decision
}

// applySync works on one pending password of a JumpCloud user (rule S4). The
// result's error is one of the store.
func (e *Engine) applySync(ctx context.Context, entry identity.Entry) result {
	j := syncJob{entry: entry, log: e.cfg.Log.With("seq", entry.Seq, "user", entry.CloudID)}
	r := result{entry: entry}
	r.retry, r.err = e.workSync(ctx, &j)
	r.awaits = j.decision.Verb == plan.Wait && plan.AwaitsAccount(j.decision.Reason)
	return r
}

func (e *Engine) workSync(ctx context.Context, j *syncJob) (retry time.Time, err error) {
	if err := e.decideSync(ctx, j); err != nil {
		return e.laterSync(ctx, j, "decide", err)
	}
	seq, why := j.entry.Seq, j.decision.Reason
	switch j.decision.Verb {
	case plan.Wait:
		return e.laterSync(ctx, j, "wait", errors.New(why))
	case plan.Discard:
		j.log.Info("password not replicated to Active Directory", "why", why)
		e.cfg.Metrics.action(identity.Sync, j.decision.Verb, "done")
		return retry, e.cfg.Store.Discard(ctx, seq, why)
	case plan.DeadLetter:
		j.log.Warn("password change is a dead letter", "why", why)
		e.cfg.Metrics.action(identity.Sync, j.decision.Verb, "done")
		return retry, e.cfg.Store.MarkDead(ctx, seq, why)
	}
	return e.setInAD(ctx, j)
}

// decideSync gathers what plan.SyncPassword needs and asks it.
func (e *Engine) decideSync(ctx context.Context, j *syncJob) (err error) {
	c := &j.facts
	c.Change = j.entry.Change
	domain, err := e.cfg.Store.Domain(j.entry.Account.Domain)
	if err != nil {
		return err
	}
	c.Settings = settings.Of(domain)
	if j.peers, err = e.cfg.Peers(domain.Name); err != nil {
		return err
	}
	if c.Use.Syncs() && j.peers.Writer == nil {
		return fmt.Errorf("no account writes to Active Directory for %s: run `dirgate domain update %s` with a sync account", domain.Name, domain.Name)
	}
	user, err := j.peers.JumpCloud.Once(readLimit).User(ctx, j.entry.CloudID)
	switch {
	case err == nil:
		known := jumpcloud.ToIdentity(&user, domain.JumpCloud.ADID)
		c.Cloud = &known
	case !jumpcloud.NotFound(err):
		return err
	}
	link, err := e.cfg.Store.LinkByJumpCloudID(j.entry.CloudID)
	switch {
	case err == nil && link.Domain == domain.Name:
		c.Link = &link
		if c.Resting, err = rests(e.cfg.Store, link); err != nil {
			return err
		}
		if err := e.readAccount(ctx, j); err != nil {
			return err
		}
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	c.Sent = c.AD != nil && arrivedInAD(j.entry, c.AD.PwdLastSet) || strings.HasPrefix(j.entry.Evidence, givenBack)
	j.decision = plan.SyncPassword(*c)
	if c.Doubt = e.doubts.held(j.entry.Seq, j.decision, e.cfg.Now()); c.Doubt > 0 {
		j.decision = plan.SyncPassword(*c)
	}
	return nil
}

func (e *Engine) readAccount(ctx context.Context, j *syncJob) error {
	account, err := j.peers.AD.User(ctx, identity.Account{Domain: j.facts.Domain, GUID: j.facts.Link.GUID})
	if errors.Is(err, ad.ErrNotFound) {
		return nil
	}
	j.facts.AD = &account
	return err
}

func evidenceOf(pwdLastSet int64) string {
	return "pwdLastSet " + strconv.FormatInt(pwdLastSet, 10)
}

// arrivedInAD reports whether a write that was not answered took place: the
// account has another pwdLastSet than before, which is of about that time. The
// next try is put off by five minutes at most, and clocks differ (setSkew).
// Without a next try the process ended at the first one.
func arrivedInAD(e identity.Entry, pwdLastSet int64) bool {
	if e.Evidence == "" || e.Evidence == evidenceOf(pwdLastSet) {
		return false
	}
	at := e.NextTry
	if at.IsZero() {
		at = e.Since
	}
	after := identity.FileTime(pwdLastSet).Sub(at)
	return -2*setSkew <= after && after <= setSkew
}

// setInAD writes the password to AD, once. That a write without an answer took
// place is seen by pwdLastSet, which only the writing of a password moves.
func (e *Engine) setInAD(ctx context.Context, j *syncJob) (retry time.Time, err error) {
	c, seq := &j.facts, j.entry.Seq
	evidence := evidenceOf(c.AD.PwdLastSet)
	switch {
	case strings.HasPrefix(j.entry.Evidence, givenBack):
		return e.appliedSync(ctx, j, c.AD.PwdLastSet)
	case j.entry.Evidence != "" && j.entry.Evidence != evidence:
		j.log.Info("password had arrived in Active Directory: an earlier write was not answered")
		return e.appliedSync(ctx, j, c.AD.PwdLastSet)
	}
	if wait, err := e.mustWait(j.entry, c.Use); wait != nil || err != nil {
		if err != nil {
			return retry, err
		}
		return e.laterSync(ctx, j, "wait", wait)
	}
	password, err := e.cfg.Store.Secret(seq, e.cfg.Opener)
	if errors.Is(err, store.ErrNotFound) {
		return retry, nil // superseded or discarded meanwhile
	}
	if err != nil {
		return e.laterSync(ctx, j, "unseal", err)
	}
	defer password.Wipe()
	err = e.cfg.Store.BeginAttempt(ctx, seq, evidence)
	if errors.Is(err, store.ErrState) {
		return retry, nil // superseded or discarded meanwhile
	}
	if err != nil {
		return retry, err
	}
	j.entry.Attempts++
	now, err := j.peers.Writer.SetPassword(ctx, c.AD.GUID, password)
	if err != nil {
		return e.notSetInAD(ctx, j, err)
	}
	j.log.Info("password replicated to Active Directory", "account", c.AD.GUID.String(), "took", e.cfg.Now().Sub(j.entry.At))
	j.entry.Evidence = evidence
	return e.appliedSync(ctx, j, now.PwdLastSet)
}

// appliedSync records that AD has the password, and that JumpCloud still has it.
func (e *Engine) appliedSync(ctx context.Context, j *syncJob, pwdLastSet int64) (retry time.Time, err error) {
	done, retry, err := e.giveBack(ctx, j.entry, j.facts.Use, j.entry.Evidence, j.toJumpCloud(e.cfg.Now))
	if err != nil || !done {
		return retry, err
	}
	return retry, e.markAppliedSync(ctx, j, pwdLastSet)
}

// markAppliedSync records that both sides have the password. The pwdLastSet that
// AD gave it tells it from a later one, when it comes back from a bind.
func (e *Engine) markAppliedSync(ctx context.Context, j *syncJob, pwdLastSet int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	link := *j.facts.Link
	link.PasswordSeq, link.PasswordAt, link.PasswordSet, link.PasswordDate = j.entry.Seq, e.cfg.Now(), pwdLastSet, j.entry.Proven()
	if link.PasswordDate.IsZero() {
		link.PasswordDate, _ = time.Parse(time.RFC3339, j.facts.Cloud.PasswordDate) // zero: not known
	}
	if err := e.cfg.Store.MarkApplied(ctx, j.entry.Seq, &link); err != nil {
		return err
	}
	e.cfg.Metrics.action(identity.Sync, plan.SetPassword, "done")
	e.cfg.Metrics.Applied(identity.Sync, e.cfg.Now().Sub(j.entry.At))
	return nil
}

// notSetInAD records why AD does not have the password.
func (e *Engine) notSetInAD(ctx context.Context, j *syncJob, err error) (retry time.Time, _ error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	next := e.cfg.Now().Add(pause(j.entry.Attempts))
	outcome := "deferred"
	defer func() { e.cfg.Metrics.action(identity.Sync, plan.SetPassword, outcome) }()
	switch {
	case errors.Is(err, ad.ErrUnknown):
		outcome = "unknown"
		j.log.Warn("Active Directory did not answer; the account is read before another try", "err", err, "retry_at", next)
		return next, e.cfg.Store.DeferUnknown(ctx, j.entry.Seq, next, err.Error())
	case errors.Is(err, ad.ErrUnavailable), errors.Is(err, ad.ErrAccountRefused), errors.Is(err, ad.ErrNotFound):
		j.log.Warn("password not replicated to Active Directory yet", "err", err, "attempt", j.entry.Attempts, "retry_at", next)
		return next, e.cfg.Store.Defer(ctx, j.entry.Seq, next, err.Error())
	}
	outcome = "refused"
	j.log.Warn("Active Directory refused the password", "err", err)
	return retry, e.cfg.Store.MarkDead(ctx, j.entry.Seq, fmt.Sprintf(
		"%v: change the password again, or mend what Active Directory asks for and run `dirgate changelog retry %d`", err, j.entry.Seq))
}

// laterSync puts a change off that could not even be decided.
func (e *Engine) laterSync(ctx context.Context, j *syncJob, doing string, err error) (retry time.Time, _ error) {
	if ctx.Err() != nil {
		return retry, nil
	}
	j.entry.Attempts++
	next := e.cfg.Now().Add(e.wait(j.entry, err))
	j.log.Warn("password change put off", "doing", doing, "err", err, "retry_at", next)
	e.cfg.Metrics.action(identity.Sync, plan.SetPassword, "deferred")
	return next, e.cfg.Store.Postpone(ctx, j.entry.Seq, next, doing+": "+err.Error())
}
