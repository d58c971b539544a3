package delegate

import (
	"context"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// policyAge is when a lockout policy is read anew.
const policyAge = time.Hour

// ownLockout is what locks the accounts that a Password Settings Object applies
// to.
type ownLockout struct {
	threshold int // below 0: the domain's
	window    time.Duration
	read      time.Time
	hidden    bool // it could not be read
}

// By default AD shows Password Settings Objects to administrators alone. Of one
// that is hidden the guard is told what it assumes of a domain that it does not
// know, and soon after it is looked for again.
const (
	guessedThreshold = 5
	guessedWindow    = 30 * time.Minute
	hiddenAge        = 5 * time.Minute
)

// guess is for an account with a hidden Password Settings Object; domain is what
// locks the others, which may be stricter.
func guess(domain ownLockout) ownLockout {
	if 0 < domain.threshold && domain.threshold < guessedThreshold {
		return ownLockout{threshold: -1}
	}
	return ownLockout{threshold: guessedThreshold, window: guessedWindow}
}

// maxOwn bounds how many are remembered; domains have a handful.
const maxOwn = 1000

// tellPolicies tells the guard what locks an account, before a bind: what it
// assumes until then may be too much. That is the account's Password Settings
// Object, if it has one and the service account may read it (see guess), else
// the domain's policy.
func (v *Validator) tellPolicies(ctx context.Context, s subject) error {
	if err := s.domain.tellPolicy(ctx, v.cfg.Guard, v.cfg.Now()); err != nil {
		return err
	}
	if s.entry == nil {
		return nil
	}
	own, err := s.domain.ownLockout(ctx, s.entry.get("msds-resultantpso"), v.cfg.Now())
	if err != nil {
		return err
	}
	if own.hidden {
		s.domain.mu.Lock()
		own = guess(s.domain.own[""])
		s.domain.mu.Unlock()
	}
	v.cfg.Guard.SetAccountPolicy(s.account, own.threshold, own.window)
	return nil
}

func (d *directory) tellPolicy(ctx context.Context, guard Guard, now time.Time) error {
	d.mu.Lock()
	fresh := !d.told.IsZero() && now.Sub(d.told) < policyAge
	d.mu.Unlock()
	if fresh {
		return nil
	}
	err := d.ask(ctx, func(c *ldapConn) error {
		head, err := c.search(ctx, ldapwire.SearchParams{BaseDN: d.BaseDN, Scope: ldapwire.ScopeBase, Attributes: []string{"lockoutThreshold", "lockOutObservationWindow"}})
		if err == nil && len(head) == 1 && head[0].get("lockoutthreshold") != "" {
			domain := ownLockout{threshold: int(number(head[0].get("lockoutthreshold"))), window: interval(head[0].get("lockoutobservationwindow"))}
			guard.SetPolicy(d.Name, domain.threshold, domain.window)
			d.mu.Lock()
			d.own[""] = domain
			d.mu.Unlock()
		}
		return err
	})
	if err == nil {
		d.mu.Lock()
		d.told = now
		d.mu.Unlock()
	}
	return err
}

// ownLockout reads a Password Settings Object (MS-ADA2).
func (d *directory) ownLockout(ctx context.Context, pso string, now time.Time) (ownLockout, error) {
	none := ownLockout{threshold: -1, read: now}
	if pso == "" {
		return none, nil
	}
	d.mu.Lock()
	own, ok := d.own[pso]
	d.mu.Unlock()
	if age := now.Sub(own.read); ok && (age < hiddenAge || !own.hidden && age < policyAge) {
		return own, nil
	}
	own = none
	own.hidden = true
	err := d.ask(ctx, func(c *ldapConn) error {
		found, err := c.search(ctx, ldapwire.SearchParams{BaseDN: pso, Scope: ldapwire.ScopeBase, Attributes: []string{"msDS-LockoutThreshold", "msDS-LockoutObservationWindow"}})
		if err == nil && len(found) == 1 && found[0].get("msds-lockoutthreshold") != "" {
			own.threshold, own.window, own.hidden = int(number(found[0].get("msds-lockoutthreshold"))), interval(found[0].get("msds-lockoutobservationwindow")), false
		}
		return err
	})
	if err != nil {
		return none, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.own) >= maxOwn {
		clear(d.own)
	}
	d.own[pso] = own
	return own, nil
}
