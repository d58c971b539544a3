package replicate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// The passwords of a pair travel both ways, and two that are under way at the
// same time can cross: the older one of AD, say, arrives at JumpCloud after the
// newer one was set there, and goes on to AD. Which of the two a side took last
// cannot be read. So an older write that may have arrived late makes the newer
// password be written to the side it came from as well, after the other side.
//
// A write of ours can arrive after a password is set only if that one's intent
// is in the log while the write goes on, because intents are on disk before they
// are sent and changes of a pair are applied one after the other:
//
//   - An intent that is there before the write is waited for, for
//     Config.AnswerLimit at most (crossing.making).
//   - One that comes during the write finds, when it is applied itself, that the
//     older write ended after its intent was made (crossing.late).

// givenBack begins the evidence of a password that the other side has, and that
// is being written to its own side.
const givenBack = "both sides: "

// crossing is what the other passwords of a pair mean for one that is pending.
type crossing struct {
	making identity.Seq // one that is being set on a side that is to be written; 0: none
	late   identity.Seq // an older one that may have arrived late at the own side; 0: none
}

// crossed looks through the passwords of a pair, of which the side the change
// came from is to be written too if giveBack says so.
func (e *Engine) crossed(entry identity.Entry, use identity.UseCase, giveBack bool) (c crossing, err error) {
	if !use.Imports() || !use.Syncs() {
		return c, nil
	}
	all, err := e.cfg.Store.Passwords(entry.Change)
	if err != nil {
		return c, err
	}
	now, limit := e.cfg.Now(), e.cfg.AnswerLimit
	for _, other := range all {
		if other.Seq < entry.Seq && arrivesLate(other, entry, limit) {
			c.late = max(c.late, other.Seq)
		}
	}
	giveBack = giveBack || c.late != 0
	for _, other := range all {
		ownSide := other.Direction == entry.Direction
		if other.Status == identity.StatusUnsettled && (giveBack || !ownSide) && now.Sub(other.At) < limit && now.Sub(entry.Since) < limit {
			c.making = max(c.making, other.Seq)
		}
	}
	return c, nil
}

// arrivesLate reports whether an older password may have been written to the
// side where entry was set after that was. What a bind proved was that side's
// password at that moment.
func arrivesLate(older, entry identity.Entry, limit time.Duration) bool {
	if entry.Kind == identity.PasswordBind {
		return false
	}
	ended := older.Status == identity.StatusSuperseded || older.Status == identity.StatusDiscarded
	// A request that was sent and not answered can arrive until limit has passed.
	onItsWay := ended && older.Evidence != "" && older.Since.Add(limit).After(entry.At)
	if older.Direction == entry.Direction {
		return onItsWay && strings.HasPrefix(older.Evidence, givenBack)
	}
	applied := older.Status == identity.StatusApplied && older.Since.After(entry.At)
	return applied || ended && older.Landed.After(entry.At) || onItsWay
}

// mustWait says why a change must not be written yet; nil: it may.
func (e *Engine) mustWait(entry identity.Entry, use identity.UseCase) (wait, err error) {
	c, err := e.crossed(entry, use, false)
	if err != nil || c.making == 0 {
		return nil, err
	}
	return fmt.Errorf("change %d of the same user is being made", c.making), nil
}

// owner writes a password to the side that it came from. final: that refuses it,
// whenever it is asked.
type owner func(ctx context.Context, password secret.Bytes) (final bool, err error)

// giveBack writes a password that the other side has to its own side as well, if
// an older one may have arrived there late. done: there is nothing more to do
// than to record that it is applied.
func (e *Engine) giveBack(ctx context.Context, entry identity.Entry, use identity.UseCase, evidence string, write owner) (done bool, retry time.Time, err error) {
	c, err := e.crossed(entry, use, false)
	if err != nil || c.late == 0 {
		return err == nil, retry, err
	}
	// The other side has it: that must not fall to a shutdown.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*readLimit)
	defer cancel()
	log := e.cfg.Log.With("seq", entry.Seq, "older", c.late)
	password, err := e.cfg.Store.Secret(entry.Seq, e.cfg.Opener)
	// Superseded or discarded meanwhile: MarkApplied finds that out. Of one that was
	// on its way back already the evidence stays, and tells the newer one.
	sent := strings.HasPrefix(entry.Evidence, givenBack)
	if errors.Is(err, store.ErrNotFound) {
		return !sent, retry, nil
	}
	if err != nil {
		return false, e.cfg.Now().Add(storePause), err
	}
	defer password.Wipe()
	err = e.cfg.Store.BeginAttempt(ctx, entry.Seq, givenBack+strings.TrimPrefix(evidence, givenBack))
	if errors.Is(err, store.ErrState) {
		return !sent, retry, nil
	}
	if err != nil {
		return false, retry, err
	}
	next := e.cfg.Now().Add(pause(entry.Attempts))
	back := lane{entry.Account.Domain, identity.Import}
	if entry.Direction == identity.Import {
		back.direction = identity.Sync
	}
	if e.isPaused(back) { // its own side is written by the other direction
		return false, next, e.cfg.Store.DeferUnknown(ctx, entry.Seq, next, fmt.Sprintf("write it to its own side too: direction %s is paused", back.direction))
	}
	final, err := write(ctx, password)
	now, reading := e.cfg.Store.Entry(entry.Seq)
	switch {
	case reading != nil:
		return false, retry, reading
	case now.Status != identity.StatusPending:
		return false, retry, nil // as above: this write may have come after the newer one was set
	case final:
		log.Warn("password not written to its own side, where an older one may have arrived after it", "err", err)
		return false, retry, e.cfg.Store.MarkDead(ctx, entry.Seq, fmt.Sprintf(
			"the other side has this password, and on its own side the older one of change %d may have replaced it, where it is not taken again: %v: change the password again", c.late, err))
	case err != nil:
		log.Warn("password not written to its own side yet, where an older one may have arrived after it", "err", err, "retry_at", next)
		return false, next, e.cfg.Store.DeferUnknown(ctx, entry.Seq, next, "write it to its own side too: "+err.Error())
	}
	log.Info("password written to its own side too: an older one may have arrived there after it")
	// One that was begun there meanwhile may be older than this write.
	if c, err = e.crossed(entry, use, true); err != nil || c.making == 0 {
		return err == nil, retry, err
	}
	return false, next, e.cfg.Store.DeferUnknown(ctx, entry.Seq, next, fmt.Sprintf("change %d of the same user is being made", c.making))
}

// toAD gives a password of AD back to it.
func (j *job) toAD(link *identity.Link) owner {
	return func(ctx context.Context, password secret.Bytes) (final bool, err error) {
		if j.peers.Writer == nil {
			return false, errors.New("no account writes to Active Directory: run `dirgate domain update` with a sync account")
		}
		user, err := j.peers.Writer.SetPassword(ctx, j.facts.AD.GUID, password)
		if err == nil {
			link.PasswordSet = user.PwdLastSet
			return false, nil
		}
		return !errors.Is(err, ad.ErrUnknown) && !errors.Is(err, ad.ErrUnavailable) && !errors.Is(err, ad.ErrAccountRefused) && !errors.Is(err, ad.ErrNotFound), err
	}
}

// toJumpCloud gives a password of JumpCloud back to it. JumpCloud may refuse one
// that it has, or had before: then a bind tells whether it is the present one.
func (j *syncJob) toJumpCloud(now func() time.Time) owner {
	return func(ctx context.Context, password secret.Bytes) (final bool, err error) {
		cloud := j.peers.JumpCloud.Once(readLimit)
		err = cloud.SetPassword(ctx, j.entry.CloudID, password)
		refused := err != nil && !jumpcloud.Unknown(err) && !jumpcloud.Temporary(err) && !jumpcloud.NotSent(err) &&
			!jumpcloud.Unauthorized(err) && !jumpcloud.NotFound(err)
		if err != nil && !refused {
			return false, err
		}
		user, reading := cloud.User(ctx, j.entry.CloudID)
		if reading != nil {
			return false, fmt.Errorf("read the user back: %w", reading)
		}
		j.facts.Cloud.PasswordDate = user.PasswordDate
		if !refused || j.peers.CloudLDAP == nil {
			return refused, err
		}
		date, _ := time.Parse(time.RFC3339, user.PasswordDate)
		if now().Sub(date) < plan.CloudArrived {
			return false, fmt.Errorf("%w: for %v a bind does not tell whether it has it", err, plan.CloudArrived)
		}
		right, asking := j.peers.CloudLDAP.TestPassword(ctx, user.Username, password, func() error { return nil })
		switch {
		case asking != nil:
			return false, fmt.Errorf("%w: and whether it has it: %w", err, asking)
		case right:
			return false, nil
		}
		return true, err
	}
}
