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

// check holds a new password against the rules of both sides: those of the side
// where it is changed are broken or not, the other's are a matter of
// Config.Preflight. fresh: the present one is temporary, and may be changed at
// once.
func (v *Validator) check(ctx context.Context, s subject, old, new secret.Bytes, fresh bool) (broken, warnings []Violation, err error) {
	at := ChangedAt(s.facts)
	if broken = checkForm(new); len(broken) > 0 {
		return broken, nil, nil
	}
	if new.Equal(old) {
		return []Violation{{Side: sideOf(at), Rule: RuleSame, Text: "Choose a password that is not the present one."}}, nil, nil
	}
	all, err := v.policies(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	for _, found := range v.hold(all, s, new, fresh) {
		if found.Side != sideOf(at) && v.cfg.Preflight == PreflightWarn {
			warnings = append(warnings, found)
			continue
		}
		broken = append(broken, found)
	}
	return broken, warnings, nil
}

func (v *Validator) hold(all Policies, s subject, new secret.Bytes, fresh bool) (found []Violation) {
	names := Names{SAM: s.account.SAM}
	if s.cloud != nil {
		names.CloudUsername = s.cloud.Username
	}
	if all.AD != nil {
		names.Display = s.entry.get("displayname")
		set := pointInTime(s.entry.get("pwdlastset"))
		if fresh || ChangedAt(s.facts) == ByJumpCloud { // there AD's is set anew, which has no minimum age
			set = time.Time{}
		}
		found = CheckAD(*all.AD, names, new, set, v.cfg.Now())
	}
	if all.JumpCloud != nil {
		found = append(found, CheckCloud(*all.JumpCloud, names, new)...)
	}
	return found
}

func sideOf(a Authority) identity.Side {
	if a == ByJumpCloud {
		return identity.JumpCloud
	}
	return identity.AD
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
	if err == nil && Decide(s.facts).Reason == NoSuchUser {
		err = ErrNoUser
	}
	if err != nil {
		return Policies{}, fmt.Errorf("password policies of a user: %w", err)
	}
	return v.policies(ctx, s)
}

// ErrNoUser: the name is nobody's.
var ErrNoUser = errors.New("no such user")

// policies are those of the side where the password is changed, and of the one
// that it travels to.
func (v *Validator) policies(ctx context.Context, s subject) (all Policies, err error) {
	at, travels := ChangedAt(s.facts), v.cfg.Preflight != PreflightOff
	if s.entry != nil && (at == ByAD || travels && s.reachesAD()) {
		p, err := s.domain.policy(ctx, s.entry.get("msds-resultantpso"))
		if err != nil {
			return all, err
		}
		all.AD = &p
	}
	if s.cloud == nil || at == ByAD && (!travels || !s.facts.Capture) {
		return all, nil
	}
	cloud, err := v.cfg.Cloud.Policy(ctx, s.domain.Name)
	if err != nil {
		// AD and its users do not stop because JumpCloud does not answer: what
		// it refuses later is a dead letter. What is changed at JumpCloud gets
		// its answer then.
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
