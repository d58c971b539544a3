package replicate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// settler judges the intents whose outcome nobody will record any more: those
// left by an earlier process, those the gateway declared unknown, and those
// older than any answer. The others are being answered at this moment.
type settler struct {
	cfg Config
	// inherited is the last record of the log when the engine was made.
	// Intents up to it have no gateway any more that would settle them.
	inherited identity.Seq

	mu       sync.Mutex                // held during a pass
	patience map[identity.Seq]patience // intents that could not be judged yet; guarded by mu
}

type patience struct {
	attempts int
	next     time.Time
}

// settleGap is the least time between two passes, which read all that is
// unsettled: nobody waits for one, and commits come by the thousand.
const settleGap = 2 * time.Second

// run makes passes until ctx ends.
func (s *settler) run(ctx context.Context) {
	woken, stop := s.cfg.Store.Watch()
	defer stop()
	var quiet limiter
	for {
		next, err := s.pass(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			quiet.failed(s.cfg.Log, "settling unknown outcomes", err)
		default:
			quiet.recovered(s.cfg.Log, "settling unknown outcomes")
		}
		pauseFor(ctx, settleGap)
		wait := longestWait
		if !next.IsZero() {
			wait = min(wait, max(0, next.Sub(s.cfg.Now())))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-woken:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// settling is one pass.
type settling struct {
	*settler
	down map[string]bool // domains whose controllers do not answer
	seen map[identity.Seq]bool
	next time.Time // when the next look is due
}

// pass looks at everything that is unsettled and due, and returns when the
// next look is due (zero: not by itself).
func (s *settler) pass(ctx context.Context) (next time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := settling{settler: s, down: make(map[string]bool), seen: make(map[identity.Seq]bool)}
	for after := identity.Seq(0); ctx.Err() == nil; {
		entries, err := s.cfg.Store.Unsettled(page, after)
		if err != nil {
			return p.next, err
		}
		for _, entry := range entries {
			after = entry.Seq
			p.seen[entry.Seq] = true
			if err := p.look(ctx, entry); err != nil {
				return p.next, err
			}
		}
		if len(entries) < page {
			p.forget()
			break
		}
	}
	return p.next, nil
}

// look judges an entry if it is time to. The error is the store's.
func (p *settling) look(ctx context.Context, entry identity.Entry) error {
	if ctx.Err() != nil {
		return nil
	}
	now := p.cfg.Now()
	due := p.patience[entry.Seq].next
	if limit := entry.At.Add(p.cfg.AnswerLimit); entry.Seq > p.inherited && entry.Reason == "" && limit.After(due) {
		due = limit // until then the gateway is at it
	}
	if due.After(now) {
		p.next = earlier(p.next, due)
		return nil
	}
	side := entry.Account.Domain
	if entry.Direction == identity.Sync {
		side = cloudOf(entry)
	}
	if p.down[side] {
		p.next = earlier(p.next, now.Add(storePause))
		return nil
	}
	judge := p.judge
	if entry.Direction == identity.Sync {
		judge = p.judgeCloud
	}
	user, verdict, err := judge(ctx, entry)
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, ad.ErrUnavailable) {
		p.down[entry.Account.Domain] = true
	}
	if err != nil || verdict.Outcome == identity.OutcomeUnknown && !verdict.GiveUp {
		p.postpone(entry, verdict, err)
	}
	if err != nil {
		return nil
	}
	return p.record(ctx, entry, user, verdict)
}

// record writes the verdict down, an unknown one for people to read. Of an
// account that could not be read before (it was being created) the password
// that was proved tells who it is.
func (p *settling) record(ctx context.Context, entry identity.Entry, user identity.User, v plan.Settlement) error {
	var err error
	switch {
	case v.GiveUp:
		err = p.cfg.Store.Discard(ctx, entry.Seq, v.Reason)
	case entry.Direction == identity.Import && v.Outcome == identity.OutcomeAccepted && entry.Account.GUID.IsZero():
		err = p.cfg.Store.SettleAccount(ctx, entry.Seq, identity.Account{GUID: user.GUID, DN: user.DN, SAM: user.Username}, v.Reason)
	default:
		err = p.cfg.Store.Settle(ctx, entry.Seq, v.Outcome, v.Reason)
	}
	if errors.Is(err, store.ErrState) {
		return nil // it was answered, or discarded, at this moment
	}
	if err == nil && v.Outcome != identity.OutcomeUnknown {
		p.cfg.Log.Info("password change settled by evidence", "seq", entry.Seq,
			"account", entry.Account.GUID.String(), "outcome", v.Outcome, "why", v.Reason)
	}
	return err
}

// judge gathers evidence until plan.Settle is content or can learn no more
// now. At most one bind is made.
func (p *settling) judge(ctx context.Context, entry identity.Entry) (identity.User, plan.Settlement, error) {
	var user identity.User
	unknown := plan.Settlement{Outcome: identity.OutcomeUnknown}
	peers, err := p.cfg.Peers(entry.Account.Domain)
	if err != nil {
		return user, unknown, err
	}
	evidence := plan.Evidence{Now: p.cfg.Now(), AnswerLimit: p.cfg.AnswerLimit}
	user, err = peers.AD.User(ctx, entry.Account)
	switch {
	case err == nil:
		evidence.AD = &user
	case !errors.Is(err, ad.ErrNotFound):
		return user, unknown, err
	}
	verdict := plan.Settle(entry, evidence)
	if !verdict.TryBind {
		return user, verdict, nil
	}
	if evidence.Bind, evidence.BindReason, err = p.bind(ctx, peers, entry, user); err != nil {
		return user, unknown, err
	}
	return user, plan.Settle(entry, evidence), nil
}

// bind tests the new password, and records before that it does.
func (p *settling) bind(ctx context.Context, peers *Peers, entry identity.Entry, user identity.User) (plan.BindVerdict, string, error) {
	password, err := p.cfg.Store.Secret(entry.Seq, p.cfg.Opener)
	if err != nil {
		return "", "", err
	}
	defer password.Wipe()
	proof, why, err := peers.AD.TestPassword(ctx, user.DN, user.DC, password, func() error {
		return p.cfg.Store.BeginProbe(ctx, entry.Seq)
	})
	if err != nil {
		return "", "", err
	}
	switch proof {
	case ad.Right:
		return plan.BindProved, why, nil
	case ad.Wrong:
		return plan.BindDisproved, why, nil
	}
	return plan.BindUndecided, why, nil
}

func (p *settling) postpone(entry identity.Entry, v plan.Settlement, err error) {
	known := p.patience[entry.Seq]
	known.attempts++
	known.next = p.cfg.Now().Add(pause(known.attempts))
	p.patience[entry.Seq] = known
	p.next = earlier(p.next, known.next)
	p.cfg.Log.Warn("outcome of a password change still unknown", "seq", entry.Seq,
		"account", entry.Account.GUID.String(), "why", v.Reason, "err", err, "retry_at", known.next)
}

// forget drops what is known of intents that are settled.
func (p *settling) forget() {
	for seq := range p.patience {
		if !p.seen[seq] {
			delete(p.patience, seq)
		}
	}
}
