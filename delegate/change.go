package delegate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// recordTime bounds the writing of an intent or an outcome.
const recordTime = 10 * time.Second

// Change changes a user's password from old to new, for who proves the old one,
// where [ChangedAt] says: in AD also one that is expired or must be changed, of
// which AD says so only to the right password. username and client are as for
// Validate; the caller keeps the passwords.
//
// The old password is proved, then the new one is held against the policies of
// both sides, then the change is recorded, made and recorded as made: what was
// changed reaches the other side through the change log.
func (v *Validator) Change(ctx context.Context, username string, old, new secret.Bytes, client string) ChangeResult {
	start := v.cfg.Now()
	r := v.change(ctx, username, old, new, client)
	v.even(ctx, start, r.Outcome != Changed && r.Reason != PolicyRefused)
	v.cfg.Metrics.changes.WithLabelValues(string(r.Outcome), string(r.Reason)).Inc()
	return r
}

func refuseChange(reason Reason) ChangeResult {
	return ChangeResult{Outcome: ChangeRefused, Reason: reason}
}

func (v *Validator) change(ctx context.Context, username string, old, new secret.Bytes, client string) ChangeResult {
	proving, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	s, verdict := v.signIn(proving, username, old, client, false)
	switch {
	case verdict.Verdict == Undecided:
		return ChangeResult{Outcome: ChangeUnknown, Reason: verdict.Reason, RetryAfter: verdict.RetryAfter, Hint: verdict.Hint}
	case !verdict.PasswordCorrect:
		verdict = v.outward(verdict)
		return ChangeResult{Outcome: ChangeRefused, Reason: verdict.Reason, Hint: verdict.Hint}
	case ChangedAt(s.facts) == ByJumpCloud:
		return v.changeInCloud(ctx, s, verdict, old, new)
	case verdict.Authority != ByAD || s.entry == nil || v.cfg.Capture == nil:
		return refuseChange(NotSupported)
	case verdict.Verdict == Refused && verdict.Reason != Expired && verdict.Reason != MustChange:
		return refuseChange(verdict.Reason)
	}
	finish, err := v.cfg.Guard.Turn(proving, s.account)
	if err != nil {
		v.undecided("wait for another change of the account", err)
		return ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable}
	}
	defer finish()
	if s, err = v.again(proving, s); err != nil {
		v.undecided("read the account", err)
		return ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable}
	}
	broken, warnings, err := v.check(proving, s, old, new, verdict.Reason == MustChange)
	switch {
	case err != nil:
		v.undecided("read the password policies", err)
		return ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable}
	case len(broken) > 0:
		return ChangeResult{Outcome: ChangeRefused, Reason: PolicyRefused, Violations: broken}
	}
	r := v.write(context.WithoutCancel(ctx), s, old, new)
	if r.Outcome == Changed {
		r.Warnings = warnings
		v.lessons.forget(s.account.GUID)
		v.cfg.Guard.PasswordChanged(s.account, new)
	}
	return r
}

// again reads a subject anew within its turn: the evidence that settles a
// change without an answer is the pwdLastSet of just before it.
func (v *Validator) again(ctx context.Context, s subject) (subject, error) {
	e, err := s.domain.byGUID(ctx, s.account.GUID)
	if err == nil && e == nil {
		err = ErrNoUser
	}
	if err != nil {
		return s, err
	}
	s.entry, s.account.DN = e, e.dn
	return s, nil
}

// write makes the change, over a connection of its own that is bound as the
// service account: any account may change another's password that knows the
// old one, also one that cannot bind any more. It is sent once.
func (v *Validator) write(ctx context.Context, s subject, old, new secret.Bytes) ChangeResult {
	connecting, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	conn, err := s.domain.serviceConn(connecting, s.domain.DCs.DialWritable)
	cancel()
	if err != nil {
		v.undecided("connect for a change", err)
		return ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable}
	}
	defer conn.close()
	frame, err := changeRequest(conn.next(), s.account.DN, old, new)
	if err != nil {
		return ChangeResult{Outcome: ChangeRefused, Reason: PolicyRefused, Violations: checkForm(new)}
	}
	defer clear(frame)
	settle := func(identity.Outcome, string) {}
	if s.domain.Capture {
		if settle, err = v.intend(ctx, identity.Change{Kind: identity.PasswordChange, Direction: identity.Import, Actor: "delegate",
			Account: s.account, PwdLastSet: number(s.entry.get("pwdlastset")), DC: conn.dc}, new); err != nil {
			v.cfg.Log.Error("password change not recorded, so not made: check the disk of data_dir", "err", err)
			return refuseChange(NotRecorded)
		}
	}
	sending, cancel := context.WithTimeout(ctx, v.cfg.ChangeTimeout)
	defer cancel()
	res, err := conn.result(sending, frame, ldapwire.OpModifyResponse, nil)
	outcome, reason := settled(res, err)
	settle(outcome, reason)
	v.cfg.Log.Info("password change", "account", s.account.GUID.String(), "outcome", string(outcome), "reason", reason, "caller", callerOf(ctx))
	switch outcome {
	case identity.OutcomeAccepted:
		return ChangeResult{Outcome: Changed}
	case identity.OutcomeUnknown:
		return ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable, Sent: true}
	}
	return fromChange(res, err)
}

// intend records that a change is about to be made; settle records what became
// of it.
func (v *Validator) intend(ctx context.Context, change identity.Change, new secret.Bytes) (settle func(identity.Outcome, string), err error) {
	recording, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	seq, err := v.cfg.Capture.AppendIntent(recording, change, new)
	if err != nil {
		return nil, err
	}
	return func(outcome identity.Outcome, reason string) {
		recording, cancel := context.WithTimeout(ctx, recordTime)
		defer cancel()
		if err := v.cfg.Capture.Settle(recording, seq, outcome, reason); err != nil {
			v.cfg.Log.Error("outcome of a password change not recorded; it will be settled by evidence", "seq", seq, "err", err)
		}
	}, nil
}

// changeRequest is the Modify that changes unicodePwd as who knows the old one.
func changeRequest(id int32, dn string, old, new secret.Bytes) ([]byte, error) {
	var values [2][]byte
	for i, p := range []secret.Bytes{old, new} {
		value, err := ldapwire.AppendUnicodePwd(nil, p.Expose())
		if err != nil {
			return nil, err
		}
		defer clear(value)
		values[i] = value
	}
	return ldapwire.AppendModifyRequest(nil, id, dn,
		ldapwire.Mod{Op: ldapwire.ModDelete, Type: "unicodePwd", Values: [][]byte{values[0]}},
		ldapwire.Mod{Op: ldapwire.ModAdd, Type: "unicodePwd", Values: [][]byte{values[1]}}), nil
}

// settled is what the change log is told.
func settled(res ldapwire.Result, err error) (identity.Outcome, string) {
	switch {
	case errors.Is(err, errNotSent):
		return identity.OutcomeRefused, "not sent: " + err.Error()
	case err != nil:
		return identity.OutcomeUnknown, err.Error()
	case res.Code == ldapwire.ResultSuccess:
		return identity.OutcomeAccepted, ""
	}
	text := string(res.Diagnostic)
	return identity.OutcomeRefused, fmt.Sprintf("%s: %.200q", res.Code, text)
}

// fromChange is what a refused change tells the user. AD gives one answer to a
// password that is too short, too simple, too young or used before (0000052D);
// the first three were checked, so what is left is the history, or a rule that
// a filter on the controller has.
func fromChange(res ldapwire.Result, err error) ChangeResult {
	code, _ := ldapwire.Win32Code(res.Diagnostic)
	switch {
	case err != nil:
		return ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable}
	case code == 0x56 || code == 0x56a:
		return refuseChange(BadCredentials) // changed by somebody else meanwhile
	case res.Code == ldapwire.ResultConstraintViolation:
		return ChangeResult{Outcome: ChangeRefused, Reason: PolicyRefused, Violations: []Violation{{Side: identity.AD, Rule: RuleHistory,
			Text: "Active Directory does not take this password: it was used before, or breaks a rule of your organisation."}}}
	case res.Code == ldapwire.ResultBusy || res.Code == ldapwire.ResultUnavailable:
		return ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable}
	}
	return refuseChange(NotPermittedNow)
}
