package delegate

import (
	"context"
	"errors"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// reachesAD reports whether a password that is changed at JumpCloud travels to
// AD (rule S4).
func (s subject) reachesAD() bool {
	return s.facts.InAD && s.facts.InCloud && s.facts.Capture && s.facts.UseCase.Syncs() && !s.facts.PasswordByAD
}

// changeInCloud changes a password at JumpCloud, whose LDAP has proved the old
// one.
func (v *Validator) changeInCloud(ctx context.Context, s subject, verdict Verdict, old, new secret.Bytes) ChangeResult {
	if verdict.Verdict == Refused {
		return refuseChange(verdict.Reason)
	}
	working, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	turn := s.account
	if turn.GUID.IsZero() {
		turn.DN = "jumpcloud:" + s.cloud.ID // of JumpCloud alone
	}
	finish, err := v.cfg.Guard.Turn(working, turn)
	if err != nil {
		v.undecided("wait for another change of the user", err)
		return ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable}
	}
	defer finish()
	broken, warnings, err := v.check(working, s, old, new, false)
	switch {
	case err != nil:
		v.undecided("read the password policies", err)
		return ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable}
	case len(broken) > 0:
		return ChangeResult{Outcome: ChangeRefused, Reason: PolicyRefused, Violations: broken}
	}
	r := v.setInCloud(context.WithoutCancel(ctx), s, new)
	if r.Outcome == Changed {
		r.Warnings = warnings
		v.lessons.forget(s.account.GUID)
	}
	return r
}

// setInCloud records the intent, where AD gets the password too, sets it once,
// and records what became of it.
func (v *Validator) setInCloud(ctx context.Context, s subject, new secret.Bytes) ChangeResult {
	settle := func(identity.Outcome, string) {}
	if s.reachesAD() && v.cfg.Capture != nil {
		var err error
		if settle, err = v.intend(ctx, identity.Change{Kind: identity.PasswordChange, Direction: identity.Sync,
			Actor: "delegate", Account: s.account, CloudID: s.cloud.ID}, new); err != nil {
			v.cfg.Log.Error("password change not recorded, so not made: check the disk of data_dir", "err", err)
			return refuseChange(NotRecorded)
		}
	}
	setting, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	err := v.cfg.Set.SetPassword(setting, s.domain.Name, s.cloud.ID, new)
	cancel()
	if errors.Is(err, ErrCloudUnknown) && v.cloudHas(ctx, s, new) {
		err = nil
	}
	refusal, refused := errors.AsType[*CloudRefusal](err)
	outcome, r := identity.OutcomeRefused, ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable}
	switch {
	case err == nil:
		outcome, r = identity.OutcomeAccepted, ChangeResult{Outcome: Changed}
	case refused:
		r = ChangeResult{Outcome: ChangeRefused, Reason: PolicyRefused, Violations: []Violation{{Side: identity.JumpCloud, Rule: RuleHistory,
			Text: "JumpCloud does not take this password: " + refusal.Words}}}
	case errors.Is(err, ErrCloudUnknown):
		outcome, r.Sent = identity.OutcomeUnknown, true
	}
	reason := ""
	if err != nil {
		reason = err.Error()
		v.cfg.Log.Warn("password not changed at JumpCloud, as far as is known", "user", s.cloud.ID, "err", err)
	}
	settle(outcome, reason)
	v.cfg.Log.Info("password change at JumpCloud", "user", s.cloud.ID, "account", s.account.GUID.String(), "outcome", string(outcome))
	return r
}

// cloudHas asks JumpCloud's LDAP, where no answer came to a change, whether the
// password is the user's now. No is no evidence: it may come.
func (v *Validator) cloudHas(ctx context.Context, s subject, password secret.Bytes) bool {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	res, err := v.bindCloud(ctx, s, password)
	return err == nil && res.Code == ldapwire.ResultSuccess
}
