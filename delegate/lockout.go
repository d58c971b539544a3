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
	threshold int // below 0: it could not be read
	window    time.Duration
	read      time.Time
}

// maxOwn bounds how many are remembered; domains have a handful.
const maxOwn = 1000

// tellPolicies tells the guard what locks an account, before a bind: what it
// assumes until then may be too much. That is the account's Password Settings
// Object, where the service account may read it, else the domain's policy.
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
			guard.SetPolicy(d.Name, int(number(head[0].get("lockoutthreshold"))), interval(head[0].get("lockoutobservationwindow")))
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
	if ok && now.Sub(own.read) < policyAge {
		return own, nil
	}
	own = none
	err := d.ask(ctx, func(c *ldapConn) error {
		found, err := c.search(ctx, ldapwire.SearchParams{BaseDN: pso, Scope: ldapwire.ScopeBase, Attributes: []string{"msDS-LockoutThreshold", "msDS-LockoutObservationWindow"}})
		if err == nil && len(found) == 1 && found[0].get("msds-lockoutthreshold") != "" {
			own.threshold, own.window = int(number(found[0].get("msds-lockoutthreshold"))), interval(found[0].get("msds-lockoutobservationwindow"))
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
