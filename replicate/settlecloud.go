package replicate

import (
	"context"
	"errors"
	"time"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// CloudLDAP tests passwords at JumpCloud's LDAP, the only place where JumpCloud
// says whether one is a user's.
type CloudLDAP interface {
	// TestPassword makes one bind. right is false only where the answer was
	// invalidCredentials; all else but success is an error. A wrong password
	// counts towards the user's lockout: the caller keeps the budget. before is
	// called when there is a connection; when it returns an error no bind is
	// made.
	TestPassword(ctx context.Context, username string, password secret.Bytes, before func() error) (right bool, err error)
}

// judgeCloud gathers evidence about an intent of direction sync until
// plan.SettleCloud is content or can learn no more now. At most one bind is
// made.
func (p *settling) judgeCloud(ctx context.Context, entry identity.Entry) (_ identity.User, verdict plan.Settlement, err error) {
	var nobody identity.User // what is settled says who it is
	unknown := plan.Settlement{Outcome: identity.OutcomeUnknown}
	evidence := plan.CloudEvidence{Now: p.cfg.Now(), AnswerLimit: p.cfg.AnswerLimit}
	if err = p.rivals(entry, &evidence); err != nil {
		return nobody, unknown, err
	}
	if verdict = plan.SettleCloud(entry, evidence); verdict.GiveUp {
		return nobody, verdict, nil // nobody need be asked
	}
	peers, err := p.cfg.Peers(entry.Account.Domain)
	if err != nil {
		return nobody, unknown, err
	}
	user, err := peers.JumpCloud.Once(readLimit).User(ctx, entry.CloudID)
	switch {
	case err == nil:
		known := jumpcloud.ToIdentity(&user, "")
		evidence.User, evidence.Barred = &known, barred(user)
	case !jumpcloud.NotFound(err):
		p.down[cloudOf(entry)] = true
		return nobody, unknown, err
	}
	evidence.NoLDAP = peers.CloudLDAP == nil
	verdict = plan.SettleCloud(entry, evidence)
	if !verdict.TryBind {
		return nobody, verdict, nil
	}
	if evidence.Bind, evidence.BindReason, err = p.bindCloud(ctx, peers.CloudLDAP, entry, user.Username); err != nil {
		return nobody, unknown, err
	}
	return nobody, plan.SettleCloud(entry, evidence), nil
}

// barred is why JumpCloud's LDAP lets the user in with no password.
func barred(u jumpcloud.User) string {
	switch {
	case u.Suspended || u.State == jumpcloud.StateSuspended:
		return "the user is suspended"
	case u.State == jumpcloud.StateStaged:
		return "the user is staged"
	case u.AccountLocked:
		return "the user is locked"
	case u.PasswordExpired:
		return "the password is expired"
	}
	return ""
}

// bindCloud tests the new password, and records before that it does.
func (p *settling) bindCloud(ctx context.Context, at CloudLDAP, entry identity.Entry, username string) (plan.BindVerdict, string, error) {
	password, err := p.cfg.Store.Secret(entry.Seq, p.cfg.Opener)
	if err != nil {
		return "", "", err
	}
	defer password.Wipe()
	right, err := at.TestPassword(ctx, username, password, func() error { return p.cfg.Store.BeginProbe(ctx, entry.Seq) })
	switch {
	case err != nil:
		p.down[cloudOf(entry)] = true
		return "", "", err
	case right:
		return plan.BindProved, "accepted", nil
	}
	return plan.BindDisproved, "wrong password", nil
}

// cloudOf is JumpCloud's side of an entry's domain, among what does not answer.
func cloudOf(entry identity.Entry) string { return "jumpcloud of " + entry.Account.Domain }

// rivals says what the other passwords of the pair mean for one whose outcome
// is unknown. Of the import's those count that are replicated.
func (p *settling) rivals(entry identity.Entry, c *plan.CloudEvidence) error {
	all, err := p.cfg.Store.Passwords(entry.Change)
	if err != nil {
		return err
	}
	domain, err := p.cfg.Store.Domain(entry.Account.Domain)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	imports := identity.UseCase(domain.UseCase).Imports()
	for _, other := range all {
		switch {
		case other.Seq == entry.Seq:
		case other.Direction == identity.Import && !imports:
		case other.Seq > entry.Seq && wasAccepted(other):
			c.Newer = max(c.Newer, other.Seq)
		case other.Direction == identity.Import:
		case other.Status == identity.StatusUnsettled:
			c.OtherProbes += other.Probes
			if other.Seq > entry.Seq {
				c.Rival = max(c.Rival, other.Seq)
			}
		case other.Status == identity.StatusRefused && c.Now.Sub(other.Since) < 24*time.Hour:
			c.OtherProbes += other.Probes
		}
	}
	return nil
}

// wasAccepted: its side took it, and nobody gave it up.
func wasAccepted(e identity.Entry) bool {
	switch e.Status {
	case identity.StatusPending, identity.StatusApplied, identity.StatusDead, identity.StatusSuperseded:
		return true
	}
	return false
}
