package delegate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// recordTime bounds the writing of an intent or an outcome.
const recordTime = 10 * time.Second

// Change changes a user's password in AD from old to new, for who proves the
// old one: also one that is expired or must be changed, of which AD says so
// only to the right password. username and client are as for Validate; the
// caller keeps the passwords.
//
// The old password is proved, then the new one is held against the policies of
// both sides, then the change is recorded, made and recorded as made: what was
// changed reaches JumpCloud through the change log.
func (v *Validator) Change(ctx context.Context, username string, old, new secret.Bytes, client string) ChangeResult {
	start := v.cfg.Now()
	r := v.change(ctx, username, old, new, client)
	v.even(ctx, start, r.Outcome != Changed && r.Reason != PolicyRefused)
	if r.Reason == NoSuchUser && !v.cfg.TellUnknown {
		r.Reason = BadCredentials
	}
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
		return ChangeResult{Outcome: ChangeUnknown, Reason: verdict.Reason, RetryAfter: verdict.RetryAfter}
	case !verdict.PasswordCorrect:
		return refuseChange(verdict.Reason)
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

// check holds a new password against the rules of both sides. fresh: the
// present one is temporary, and may be changed at once.
func (v *Validator) check(ctx context.Context, s subject, old, new secret.Bytes, fresh bool) (broken, warnings []Violation, err error) {
	if broken = checkForm(new); len(broken) > 0 {
		return broken, nil, nil
	}
	if new.Equal(old) {
		return []Violation{{Side: identity.AD, Rule: RuleSame, Text: "Choose a password that is not the present one."}}, nil, nil
	}
	all, err := v.policies(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	names := Names{SAM: s.account.SAM, Display: s.entry.get("displayname")}
	if s.cloud != nil {
		names.CloudUsername = s.cloud.Username
	}
	set := pointInTime(s.entry.get("pwdlastset"))
	if fresh {
		set = time.Time{}
	}
	broken = CheckAD(*all.AD, names, new, set, v.cfg.Now())
	if all.JumpCloud == nil {
		return broken, nil, nil
	}
	cloud := CheckCloud(*all.JumpCloud, names, new)
	if v.cfg.Preflight == PreflightWarn {
		return broken, cloud, nil
	}
	return append(broken, cloud...), nil, nil
}

// Policies gives the rules that hold for a user, so that they can be shown to
// who has signed in as that user. The error says what did not answer.
func (v *Validator) Policies(ctx context.Context, username string) (Policies, error) {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	n, ok := parseName(username)
	if !ok {
		return Policies{}, ErrNoUser
	}
	s, err := v.find(ctx, n)
	if err == nil && s.entry == nil {
		err = ErrNoUser
	}
	if err != nil {
		return Policies{}, fmt.Errorf("password policies of a user: %w", err)
	}
	return v.policies(ctx, s)
}

// ErrNoUser: the name is nobody's.
var ErrNoUser = errors.New("no such user")

func (v *Validator) policies(ctx context.Context, s subject) (Policies, error) {
	var all Policies
	p, err := s.domain.policy(ctx, s.entry.get("msds-resultantpso"))
	if err != nil {
		return all, err
	}
	all.AD = &p
	if v.cfg.Preflight == PreflightOff || s.cloud == nil || !s.facts.Capture {
		return all, nil
	}
	cloud, err := v.cfg.Cloud.Policy(ctx, s.domain.Name)
	if err != nil {
		// AD and its users do not stop because JumpCloud does not answer: what
		// it refuses later is a dead letter.
		v.cfg.Log.Warn("JumpCloud's password policy not known, so not checked", "err", err)
		return all, nil
	}
	all.JumpCloud = &cloud
	return all, nil
}

// policy reads the rules of an account: of its Password Settings Object, where
// the service account may read that, else of the domain (MS-ADTS 3.1.1.3.4.1,
// msDS-ResultantPSO).
func (d *directory) policy(ctx context.Context, pso string) (p ADPolicy, err error) {
	err = d.ask(ctx, func(c *ldapConn) error {
		head, err := c.search(ctx, ldapwire.SearchParams{BaseDN: d.BaseDN, Scope: ldapwire.ScopeBase, Attributes: []string{"minPwdLength", "pwdProperties", "minPwdAge", "pwdHistoryLength"}})
		if err != nil {
			return err
		}
		if len(head) == 1 {
			p = domainPolicy(head[0])
		}
		if pso == "" {
			return nil
		}
		own, err := c.search(ctx, ldapwire.SearchParams{BaseDN: pso, Scope: ldapwire.ScopeBase,
			Attributes: []string{"msDS-MinimumPasswordLength", "msDS-PasswordComplexityEnabled", "msDS-MinimumPasswordAge", "msDS-PasswordHistoryLength"}})
		switch {
		case err != nil:
			return err
		case len(own) == 1 && own[0].get("msds-minimumpasswordlength") != "":
			p = psoPolicy(own[0])
		default:
			p = ADPolicy{} // AD's answer will tell
		}
		return nil
	})
	return p, err
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// interval reads a negative count of 100 ns; the smallest is never.
func interval(text string) time.Duration {
	const never = -1 << 63
	if n := number(text); n != never && n > -(1<<63)/100 {
		return time.Duration(-n * 100)
	}
	return 0
}

// passwordComplex is DOMAIN_PASSWORD_COMPLEX of pwdProperties.
const passwordComplex = 0x1

func domainPolicy(e entry) ADPolicy {
	return ADPolicy{
		MinLength: int(number(e.get("minpwdlength"))), Complexity: number(e.get("pwdproperties"))&passwordComplex != 0,
		MinAge: interval(e.get("minpwdage")), History: int(number(e.get("pwdhistorylength"))), Whole: e.get("minpwdlength") != "",
	}
}

func psoPolicy(e entry) ADPolicy {
	return ADPolicy{
		MinLength: int(number(e.get("msds-minimumpasswordlength"))), Complexity: e.get("msds-passwordcomplexityenabled") == "TRUE",
		MinAge: interval(e.get("msds-minimumpasswordage")), History: int(number(e.get("msds-passwordhistorylength"))), Whole: true,
	}
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
	settle, err := v.intend(ctx, s, conn.dc, new)
	if err != nil {
		v.cfg.Log.Error("password change not recorded, so not made: check the disk of data_dir", "err", err)
		return refuseChange(NotRecorded)
	}
	sending, cancel := context.WithTimeout(ctx, v.cfg.ChangeTimeout)
	defer cancel()
	res, err := conn.result(sending, frame, ldapwire.OpModifyResponse, nil)
	outcome, reason := settled(res, err)
	settle(outcome, reason)
	v.cfg.Log.Info("password change", "account", s.account.GUID.String(), "outcome", string(outcome), "reason", reason)
	switch outcome {
	case identity.OutcomeAccepted:
		return ChangeResult{Outcome: Changed}
	case identity.OutcomeUnknown:
		return ChangeResult{Outcome: ChangeUnknown, Reason: Unavailable, Sent: true}
	}
	return fromChange(res, err)
}

// intend records that the change is about to be made, where the domain's
// passwords are captured; settle records what became of it.
func (v *Validator) intend(ctx context.Context, s subject, dc string, new secret.Bytes) (settle func(identity.Outcome, string), err error) {
	if !s.domain.Capture {
		return func(identity.Outcome, string) {}, nil
	}
	recording, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	seq, err := v.cfg.Capture.AppendIntent(recording, identity.Change{
		Kind: identity.PasswordChange, Direction: identity.Import, Actor: "delegate", Account: s.account,
		PwdLastSet: number(s.entry.get("pwdlastset")), DC: dc,
	}, new)
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
