package replicate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// job is a pending change with all that was learnt about it.
type job struct {
	entry    identity.Entry
	log      *slog.Logger
	peers    *Peers
	facts    plan.PasswordCase
	decision plan.Decision
	away     bool // JumpCloud is: nothing was recorded
}

// apply works on one pending change. The result's error is one of the store;
// what the two sides say is recorded in the log.
func (e *Engine) apply(ctx context.Context, entry identity.Entry) result {
	j := job{entry: entry, log: e.cfg.Log.With("seq", entry.Seq, "account", entry.Account.GUID.String())}
	r := result{entry: entry}
	r.retry, r.err = e.work(ctx, &j)
	if j.away {
		r.away = j.peers.JumpCloud
	}
	if j.decision.Verb == plan.Wait && plan.AwaitsUser(j.decision.Reason) {
		r.awaits = true
		if j.facts.Link != nil {
			r.gone = j.facts.Link.JumpCloudID
		}
	}
	return r
}

// work decides about a change and does it. It returns when to try again (zero:
// not by itself).
func (e *Engine) work(ctx context.Context, j *job) (retry time.Time, err error) {
	if err := e.decide(ctx, j); err != nil {
		return e.later(ctx, j, "decide", err)
	}
	entry, why := j.entry, j.decision.Reason
	switch j.decision.Verb {
	case plan.Wait:
		return e.later(ctx, j, "wait", errors.New(why))
	case plan.Discard:
		j.log.Info("password not replicated", "why", why)
		e.cfg.Metrics.action(identity.Import, j.decision.Verb, "done")
		return retry, e.cfg.Store.Discard(ctx, entry.Seq, why)
	case plan.DeadLetter:
		j.log.Warn("password change is a dead letter", "why", why)
		e.cfg.Metrics.action(identity.Import, j.decision.Verb, "done")
		return retry, e.cfg.Store.MarkDead(ctx, entry.Seq, why)
	}
	return e.setPassword(ctx, j)
}

// readLimit is how long one read may take while a change is worked on. It is
// made once: a worker that waits is one that others lack, and the change
// comes back by itself.
const readLimit = 10 * time.Second

// decide gathers what plan.Password needs and asks it.
func (e *Engine) decide(ctx context.Context, j *job) (err error) {
	if j.peers, err = e.cfg.Peers(j.entry.Account.Domain); err != nil {
		return err
	}
	j.facts.Change, j.facts.Since = j.entry.Change, j.entry.Since
	if j.entry.MustChange || j.entry.Account.GUID.IsZero() {
		j.decision = plan.Password(j.facts) // AD is not asked about a mere name
		return nil
	}
	user, err := j.peers.AD.User(ctx, j.entry.Account)
	switch {
	case err == nil:
		j.facts.AD = &user
	case !errors.Is(err, ad.ErrNotFound):
		return err
	}
	if _, early := plan.Early(j.facts); !early {
		if err := e.askImport(j); err != nil {
			return err
		}
		if err := gatherJumpCloud(ctx, e.cfg.Store, j.peers.JumpCloud.Once(readLimit), j.entry.Account, &j.facts); err != nil {
			return err
		}
	}
	j.decision = plan.Password(j.facts)
	if j.facts.Doubt = e.doubts.held(j.entry.Seq, j.decision, e.cfg.Now()); j.facts.Doubt > 0 {
		if err := e.askRivals(j); err != nil {
			return err
		}
		j.decision = plan.Password(j.facts)
	}
	return nil
}

func gatherJumpCloud(ctx context.Context, st *store.Store, cloud *jumpcloud.Client, account identity.Account, c *plan.PasswordCase) error {
	link, err := st.LinkByGUID(account.Domain, c.AD.GUID)
	if err == nil {
		c.Link = &link
		if c.Resting, err = rests(st, link); err != nil {
			return err
		}
		linked, err := cloud.User(ctx, link.JumpCloudID)
		if err == nil {
			u := jumpcloud.ToIdentity(&linked, c.Settings.ADID)
			c.Linked = &u
		}
		if !jumpcloud.NotFound(err) || !c.Settings.Use.Imports() {
			return ignore(err, jumpcloud.NotFound)
		}
		// The import may make it again: who has its names matters then.
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	name, mail := plan.Username(c.Settings.Mapping, c.AD), c.AD.JoinMail()
	if name == "" && mail == "" {
		return nil // nobody to look for, which plan says
	}
	found, err := cloud.FindUsers(ctx, name, mail)
	if err != nil {
		return err
	}
	c.Taken = make(map[string]bool)
	for _, u := range found {
		c.Candidates = append(c.Candidates, jumpcloud.ToIdentity(&u, c.Settings.ADID))
		other, err := st.LinkByJumpCloudID(u.ID)
		if err == nil && other.GUID != c.AD.GUID {
			c.Taken[u.ID] = true
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// rests reports whether the last plan left a pair alone since a person has
// unbound the user in JumpCloud.
func rests(st *store.Store, link identity.Link) (bool, error) {
	for _, d := range []identity.Direction{identity.Import, identity.Sync} {
		v, err := st.Verdict(link.Domain, d, link.GUID, "")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
		if plan.Rests(v.Skip) {
			return true, nil
		}
	}
	return false, nil
}

func ignore(err error, is func(error) bool) error {
	if is(err) {
		return nil
	}
	return err
}

// chosen is the JumpCloud user that the decision names.
func (j *job) chosen() *identity.User {
	if j.facts.Linked != nil {
		return j.facts.Linked
	}
	for i := range j.facts.Candidates {
		if j.facts.Candidates[i].ID == j.decision.UserID {
			return &j.facts.Candidates[i]
		}
	}
	return nil
}

// noDate stands for a user that never had a password; evidence is never
// empty, so that its absence means "nothing was sent".
const noDate = "none"

func dateOf(u *identity.User) string {
	if u.PasswordDate == "" {
		return noDate
	}
	return u.PasswordDate
}

// setPassword writes the password to JumpCloud, once.
func (e *Engine) setPassword(ctx context.Context, j *job) (retry time.Time, err error) {
	user := j.chosen()
	link := &identity.Link{Domain: j.entry.Account.Domain, GUID: j.facts.AD.GUID, JumpCloudID: user.ID,
		Username: user.Username, At: e.cfg.Now(), PasswordSeq: j.entry.Seq, PasswordAt: e.cfg.Now(), PasswordSet: passwordSet(j.entry, j.facts.AD.PwdLastSet, e.cfg.AnswerLimit)}
	if j.facts.Link != nil {
		link.At = j.facts.Link.At
	}
	switch {
	case strings.HasPrefix(j.entry.Evidence, givenBack):
		return e.applied(ctx, j, link)
	case j.entry.Evidence != "" && j.entry.Evidence != dateOf(user):
		j.log.Info("password had arrived in JumpCloud: an earlier write was not answered", "user", user.ID)
		return e.applied(ctx, j, link)
	}
	if wait, err := e.mustWait(j.entry, j.facts.Settings.Use); wait != nil || err != nil {
		if err != nil {
			return retry, err
		}
		return e.later(ctx, j, "wait", wait)
	}
	if j.decision.Join {
		// Before anything is sent: two accounts that look for a pair at the same
		// time must not both give a password to one user.
		pair := *link
		pair.PasswordSeq, pair.PasswordAt, pair.PasswordSet = 0, time.Time{}, 0
		pair.How = "found by username and mail, to carry a password over"
		err := e.cfg.Store.PutLink(ctx, pair)
		if errors.Is(err, store.ErrLinkConflict) {
			return retry, e.cfg.Store.MarkDead(ctx, j.entry.Seq, conflict(j, err))
		}
		if err != nil {
			return retry, err
		}
	}
	password, err := e.cfg.Store.Secret(j.entry.Seq, e.cfg.Opener)
	if errors.Is(err, store.ErrNotFound) {
		return retry, nil // superseded or discarded meanwhile
	}
	if err != nil {
		return e.later(ctx, j, "unseal", err)
	}
	defer password.Wipe()
	err = e.cfg.Store.BeginAttempt(ctx, j.entry.Seq, dateOf(user))
	if errors.Is(err, store.ErrState) {
		return retry, nil // superseded or discarded meanwhile
	}
	if err != nil {
		return retry, err
	}
	j.entry.Attempts++
	if err := j.peers.JumpCloud.SetPassword(ctx, user.ID, password); err != nil {
		return e.notSet(ctx, j, err)
	}
	j.log.Info("password replicated", "user", user.ID, "joined", j.decision.Join, "took", e.cfg.Now().Sub(j.entry.At))
	j.entry.Evidence = dateOf(user)
	return e.applied(ctx, j, link)
}

// applied records that JumpCloud has the password, and that AD still has it.
func (e *Engine) applied(ctx context.Context, j *job, link *identity.Link) (retry time.Time, err error) {
	done, retry, err := e.giveBack(ctx, j.entry, j.facts.Settings.Use, j.entry.Evidence, j.toAD(link))
	if err != nil || !done {
		return retry, err
	}
	return retry, e.markApplied(ctx, j, link)
}

func (e *Engine) markApplied(ctx context.Context, j *job, link *identity.Link) error {
	// The write has happened: its record must not fall to a shutdown.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := e.cfg.Store.MarkApplied(ctx, j.entry.Seq, link)
	if errors.Is(err, store.ErrLinkConflict) {
		// Another AD account was paired with this user meanwhile.
		return e.cfg.Store.MarkDead(ctx, j.entry.Seq, conflict(j, err))
	}
	if err != nil {
		return err
	}
	e.cfg.Metrics.action(identity.Import, j.decision.Verb, "done")
	e.cfg.Metrics.lag.WithLabelValues(string(identity.Import)).Observe(e.cfg.Now().Sub(j.entry.At).Seconds())
	return nil
}

// conflict says how a person gets out of it.
func conflict(j *job, err error) string {
	return fmt.Sprintf("%v: if that link is wrong, run `dirgate user unlink %s`, then run `dirgate changelog retry %d`",
		err, j.chosen().ID, j.entry.Seq)
}

// notSet records why JumpCloud does not have the password.
func (e *Engine) notSet(ctx context.Context, j *job, err error) (retry time.Time, _ error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	next := e.cfg.Now().Add(e.wait(j.entry, err))
	switch {
	case jumpcloud.Away(err):
		// Between the reading and the writing others met the outage. The record
		// takes the attempt back: nothing was sent.
		j.away = true
		return next, e.cfg.Store.Defer(ctx, j.entry.Seq, e.cfg.Now(), err.Error())
	case jumpcloud.Unknown(err):
		j.log.Warn("JumpCloud did not answer; the user is read back before another try", "err", err, "retry_at", next)
		e.cfg.Metrics.action(identity.Import, plan.SetPassword, "unknown")
		return next, e.cfg.Store.DeferUnknown(ctx, j.entry.Seq, next, err.Error())
	case jumpcloud.Temporary(err), jumpcloud.NotSent(err), jumpcloud.Unauthorized(err), jumpcloud.NotFound(err):
		// Unauthorized is the key's fault, not the change's; a user gone
		// between reading and writing is judged afresh.
		j.log.Warn("password not replicated yet", "err", err, "attempt", j.entry.Attempts, "retry_at", next)
		e.cfg.Metrics.action(identity.Import, plan.SetPassword, "deferred")
		return next, e.cfg.Store.Defer(ctx, j.entry.Seq, next, err.Error())
	}
	j.log.Warn("JumpCloud refused the password", "err", err)
	e.cfg.Metrics.action(identity.Import, plan.SetPassword, "refused")
	return retry, e.cfg.Store.MarkDead(ctx, j.entry.Seq, refusalWords(j.entry.Seq, err))
}

// refusalWords is JumpCloud's own explanation, with the rules it names.
func refusalWords(seq identity.Seq, err error) string {
	next := fmt.Sprintf("change the password again, or mend JumpCloud's policy and run `dirgate changelog retry %d`", seq)
	var rules []string
	for _, v := range jumpcloud.Violations(err) {
		rules = append(rules, v.Field+": "+v.Description)
	}
	if len(rules) == 0 {
		return fmt.Sprintf("%v: %s", err, next)
	}
	return fmt.Sprintf("%v [%s]: %s", err, strings.Join(rules, "; "), next)
}

// later puts a change off that could not even be decided: a side is down, the
// domain's registration is gone, or what was seen must be seen again.
func (e *Engine) later(ctx context.Context, j *job, doing string, err error) (retry time.Time, _ error) {
	switch {
	case ctx.Err() != nil:
		return retry, nil
	case jumpcloud.Away(err):
		return e.putBack(j)
	}
	j.entry.Attempts++
	next := e.cfg.Now().Add(e.wait(j.entry, err))
	j.log.Warn("password change put off",
		"doing", doing, "err", err, "retry_at", next)
	e.cfg.Metrics.action(identity.Import, plan.SetPassword, "deferred")
	return next, e.cfg.Store.Postpone(ctx, j.entry.Seq, next, doing+": "+err.Error())
}

func (e *Engine) wait(entry identity.Entry, err error) time.Duration {
	if told, ok := jumpcloud.RetryAfter(err); ok {
		return max(told, time.Second) + rand.N(time.Second)
	}
	return pause(entry.Attempts)
}

// pause is the wait before attempt n+1: doubling from one second to five
// minutes, of which a random half is waited, so that changes put off together
// do not come back together.
func pause(attempts int) time.Duration {
	const longest = 5 * time.Minute
	full := longest
	if attempts < 10 {
		full = min(longest, time.Second<<max(0, attempts))
	}
	return full/2 + rand.N(full/2)
}
