package delegate

import (
	"context"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// guardedFor is how long to wait when the lockout guard holds a password back.
const guardedFor = time.Minute

// uncertain is the answer to a wrong password while JumpCloud does not say whose
// a name is. It counts as a refusal: else who uses up the budget of looks at
// JumpCloud would be free to guess.
func uncertain() Verdict {
	return Verdict{Verdict: Undecided, Reason: Unavailable, counted: true}
}

// alike makes the answer to a wrong password one that an unknown name gets too,
// and an account of either side (see "What a stranger learns" in the package
// comment): what was not done for this name is done for the answer's sake.
// missing is why JumpCloud does not say whose the name is. Right passwords are
// not touched.
func (v *Validator) alike(ctx context.Context, s subject, n name, missing error, password secret.Bytes, client string, teach bool, verdict Verdict) Verdict {
	held := verdict.Verdict == Undecided && verdict.Reason == Throttled
	if verdict.PasswordCorrect || verdict.Reason == LockedOut || verdict.Verdict != Refused && !held {
		return verdict
	}
	if !v.cfg.TellUnknown && s.domain.UseCase != identity.UseAD && s.domain.CloudLDAP != nil {
		if at, _ := s.asks(teach); at == ByJumpCloud {
			verdict = v.asADHolds(ctx, s, password, client, verdict)
		} else {
			verdict = v.asCloudHolds(ctx, s, n, verdict)
		}
	}
	if err := v.lookedFor(ctx, s, n); missing == nil {
		missing = err
	}
	if missing == nil || verdict.Verdict != Refused {
		return verdict
	}
	v.undecided("look up a user", missing)
	return uncertain()
}

// lookedFor looks for a name at JumpCloud as for one that AD does not know, if
// that was not done.
func (v *Validator) lookedFor(ctx context.Context, s subject, n name) error {
	if s.asked || !n.mayBeCloud() || v.cfg.TellUnknown {
		return nil
	}
	for _, d := range v.domains() {
		if _, found, err := v.named(ctx, d, n); found || err != nil {
			return err
		}
	}
	return nil
}

// asCloudHolds counts a wrong password that JumpCloud was not asked about as if
// it had been.
func (v *Validator) asCloudHolds(ctx context.Context, s subject, n name, verdict Verdict) Verdict {
	tries := v.cloudTries(ctx, s.domain)
	if tries == nil {
		return verdict
	}
	wait, ok, err := tries.take(ctx, s.key(n))
	switch {
	case err != nil:
		return v.held(wait, err)
	case !ok:
		return throttled(wait)
	}
	tries.done(s.key(n), true)
	return verdict
}

// asADHolds counts a wrong password that AD was not asked about as if it had
// been, apart from those of the user's account in AD.
func (v *Validator) asADHolds(ctx context.Context, s subject, password secret.Bytes, client string, verdict Verdict) Verdict {
	if err := s.domain.tellPolicy(ctx, v.cfg.Guard, v.cfg.Now()); err != nil {
		v.undecided("read the domain's lockout policy", err)
		return Verdict{Verdict: Undecided, Reason: Unavailable}
	}
	settle, held, _, err := v.cfg.Guard.Admit(ctx, cloudAlone(s.domain, *s.cloud).account, client, password)
	switch {
	case err != nil:
		v.undecided("wait for other binds of the user", err)
		return Verdict{Verdict: Undecided, Reason: Unavailable}
	case settle != nil:
		settle(&ldapwire.Result{Code: ldapwire.ResultInvalidCredentials, Diagnostic: []byte(wrongPassword)}, true)
	case held == "repeated":
		*s.repeated = true
	case verdict.Verdict == Refused:
		return throttled(guardedFor)
	}
	return verdict
}
