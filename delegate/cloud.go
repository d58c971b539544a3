package delegate

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/secret"
)

// pendingRetry is when to ask again for a password that JumpCloud does not have
// yet.
const pendingRetry = 2 * time.Second

// noCloudLDAP is what an administrator should do about it.
func noCloudLDAP(domain string) string {
	return "JumpCloud checks this user's sign-ins, and the registration of " + domain + " names no LDAP of JumpCloud: run `dirgate domain register " +
		domain + " --jumpcloud-ldap-url ldaps://ldap.jumpcloud.com:636 --org-id ID`"
}

// askCloud binds at JumpCloud's LDAP; without teach, for a change, as the user
// is called there at this moment.
func (v *Validator) askCloud(ctx context.Context, s subject, password secret.Bytes, client string, teach bool) Verdict {
	if !teach {
		if err := v.anew(ctx, s); err != nil {
			v.undecided("read the user before a change", err)
			return Verdict{Verdict: Undecided, Reason: Unavailable, Authority: ByJumpCloud, RetryAfter: pendingRetry}
		}
	}
	answered, held := v.spareCloud(ctx, s)
	if held != nil {
		return *held
	}
	res, err := v.bindCloud(ctx, s, password)
	answered(err == nil && res.Code == ldapwire.ResultInvalidCredentials || errors.Is(err, errUnanswered))
	if err != nil {
		v.undecided("bind at JumpCloud's LDAP", err)
		return Verdict{Verdict: Undecided, Reason: Unavailable, Authority: ByJumpCloud}
	}
	verdict := fromCloud(res, *s.cloud)
	if teach && verdict.Verdict == Refused && !verdict.PasswordCorrect {
		verdict = v.unlessPending(ctx, s, password, client, verdict)
	}
	verdict.User, verdict.PasswordExpiresAt = s.user(), s.cloud.PasswordExpires
	if verdict.Verdict == Accepted && teach {
		v.learnCloud(s, password)
	}
	return verdict
}

// assumedLock is how long JumpCloud counts wrong passwords, where it does not say
// for how long it locks.
const assumedLock = 30 * time.Minute

// spareCloud keeps strangers from locking a user at JumpCloud (rule G7): one
// wrong password less than its policy allows is sent there, and then one each
// time that a lock would last. When held is nil, answered must be called with
// whether JumpCloud may have counted the password.
func (v *Validator) spareCloud(ctx context.Context, s subject) (answered func(counted bool), held *Verdict) {
	tries := v.cloudTries(ctx, s.domain)
	if tries == nil {
		return func(bool) {}, nil
	}
	key := s.key(name{})
	wait, ok, err := tries.take(ctx, key)
	if !ok {
		verdict := v.held(wait, err)
		verdict.Authority = ByJumpCloud
		return nil, &verdict
	}
	return func(counted bool) { tries.done(key, counted) }, nil
}

// cloudTries bounds the wrong passwords of each user by JumpCloud's policy; nil:
// it locks nobody.
func (v *Validator) cloudTries(ctx context.Context, d *directory) *limiter {
	policy, err := v.cfg.Cloud.Policy(ctx, d.Name)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err != nil: // the one known last holds
		policy = d.cloudPolicy
	case policy.MaxTries > 0 && (d.cloudTries == nil || policy.MaxTries != d.cloudPolicy.MaxTries || policy.LockTime != d.cloudPolicy.LockTime):
		burst, every := max(1, policy.MaxTries-1), cmp.Or(policy.LockTime, assumedLock)
		if d.cloudTries == nil {
			d.cloudTries = newLimiter(burst, every, v.cfg.Now)
		} else {
			d.cloudTries.set(burst, every)
		}
		d.cloudPolicy = policy
	}
	if policy.MaxTries == 0 {
		return nil
	}
	return d.cloudTries
}

// bindCloud makes one bind. An error means that there is no answer.
func (v *Validator) bindCloud(ctx context.Context, s subject, password secret.Bytes) (ldapwire.Result, error) {
	conn, err := newConn(ctx, s.domain.CloudLDAP.Dial)
	if err != nil {
		return ldapwire.Result{}, err
	}
	defer conn.close()
	return conn.bind(ctx, s.cloudDN(), password)
}

// cloudDN is the user's in JumpCloud's LDAP.
func (s subject) cloudDN() string { return "uid=" + s.cloud.Username + "," + s.domain.CloudBase }

// unlessPending looks at a refusal of JumpCloud's again: while a password that
// AD accepted is on its way there, AD knows whether this is that one. Then it is
// neither right, as JumpCloud has it, nor a wrong one that counts as a failure.
func (v *Validator) unlessPending(ctx context.Context, s subject, password secret.Bytes, client string, refusal Verdict) Verdict {
	if s.entry == nil || !s.facts.Capture || !s.facts.UseCase.Imports() || v.cfg.Backlog == nil {
		return refusal
	}
	pending, err := v.cfg.Backlog.PasswordPending(ctx, s.account)
	if err != nil {
		v.undecided("look for a password on its way to JumpCloud", err)
		return Verdict{Verdict: Undecided, Reason: Unavailable, Authority: ByJumpCloud}
	}
	if !pending {
		return refusal
	}
	ad := v.askAD(ctx, s, password, client, false)
	switch {
	case ad.PasswordCorrect:
		return Verdict{Verdict: Undecided, Reason: PasswordPending, Authority: ByJumpCloud, RetryAfter: pendingRetry}
	case ad.Verdict == Undecided:
		return Verdict{Verdict: Undecided, Reason: ad.Reason, Authority: ByJumpCloud, RetryAfter: ad.RetryAfter}
	}
	return refusal
}
