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

// errRenamed: what was known of a user is not true any more.
var errRenamed = errors.New("it was renamed, or its authority was changed, a moment ago")

// anew brings what is known of a subject's user at JumpCloud up to date. It is an
// error if that is not who it was: another may have the name now.
func (v *Validator) anew(ctx context.Context, s subject) error {
	now, err := v.cfg.Cloud.Anew(ctx, s.domain.Name, s.cloud.ID)
	if err != nil {
		return err
	}
	before := *s.cloud
	now.GUID, now.Domain, now.PasswordSet = before.GUID, before.Domain, before.PasswordSet
	*s.cloud = now
	if now.ID != before.ID || now.Username != before.Username || now.PasswordByAD != before.PasswordByAD || now.DelegatedToAD != before.DelegatedToAD {
		return errRenamed
	}
	return nil
}

// changeInCloud changes a password at JumpCloud. Its LDAP has proved the old one,
// or AD, where that checks the sign-ins.
func (v *Validator) changeInCloud(ctx context.Context, s subject, verdict Verdict, old, new secret.Bytes) ChangeResult {
	switch {
	case s.cloud == nil || v.cfg.Set == nil, verdict.Authority == ByAD && !s.reachesAD():
		// The latter's sign-ins AD checks, which would never get the new one.
		return refuseChange(NotSupported)
	case verdict.Verdict == Refused && (verdict.Authority != ByAD || verdict.Reason != Expired && verdict.Reason != MustChange):
		return ChangeResult{Outcome: ChangeRefused, Reason: verdict.Reason, Hint: verdict.Hint}
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
	// The new password is set by the user's id, and the old one was proved by
	// name: it must still be that user's.
	if err := v.anew(working, s); err != nil {
		v.undecided("read the user before a change", err)
		return ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable, RetryAfter: pendingRetry}
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
	v.cfg.Log.Info("password change at JumpCloud", "user", s.cloud.ID, "account", s.account.GUID.String(), "outcome", string(outcome), "caller", callerOf(ctx))
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
