package delegate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// find says who a name is. Nobody's is a subject without an entry and without a
// JumpCloud user, in the default domain. An error means that a side that may
// know does not answer.
func (v *Validator) find(ctx context.Context, n name) (subject, error) {
	all := v.domains()
	if len(all) == 0 {
		return subject{}, errors.New("no domain is registered")
	}
	if n.kind != nameCloud {
		for _, d := range candidates(all, n) {
			e, err := d.byName(ctx, n)
			if err != nil {
				return subject{domain: d}, err
			}
			if e != nil {
				return v.known(ctx, d, e)
			}
		}
	}
	if n.kind != nameDN && n.domain == "" {
		s, err := v.findInCloud(ctx, all, n)
		if err != nil || s.cloud != nil || s.entry != nil {
			return s, err
		}
	}
	return nobody(all[0], n), nil
}

func nobody(d *directory, n name) subject {
	return subject{domain: d, account: identity.Account{Domain: d.Name, DN: nobodyDN(n, d.BaseDN)}, facts: Facts{UseCase: d.UseCase}}
}

// candidates are the domains that a name may lie in.
func candidates(all []*directory, n name) []*directory {
	var out []*directory
	for _, d := range all {
		switch {
		case n.domain != "" && !strings.EqualFold(n.domain, d.NetBIOS) && !strings.EqualFold(n.domain, d.Name):
		case n.kind == nameDN && !strings.HasSuffix(strings.ToLower(n.text), strings.ToLower(","+d.BaseDN)):
		default:
			out = append(out, d)
		}
	}
	return out
}

// findInCloud looks for a user of JumpCloud, in the organisation of each
// domain.
func (v *Validator) findInCloud(ctx context.Context, all []*directory, n name) (subject, error) {
	for _, d := range all {
		if d.UseCase == identity.UseAD && n.kind != nameCloud {
			continue // its users are AD's
		}
		u, err := v.cfg.Cloud.Named(ctx, d.Name, n.text)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return subject{domain: d}, fmt.Errorf("find a user at JumpCloud: %w", err)
		}
		if u.GUID.IsZero() {
			return subject{domain: d, account: identity.Account{Domain: d.Name}, cloud: &u, facts: Facts{InCloud: true, UseCase: d.UseCase}}, nil
		}
		for _, home := range all {
			if home.Name == u.Domain {
				e, err := home.byGUID(ctx, u.GUID)
				if err != nil {
					return subject{domain: home}, err
				}
				if e != nil {
					return v.known(ctx, home, e)
				}
			}
		}
		return subject{domain: d, account: identity.Account{Domain: d.Name}, cloud: &u, facts: Facts{InCloud: true, UseCase: d.UseCase}}, nil
	}
	return subject{}, nil
}

// known is the subject of an entry.
func (v *Validator) known(ctx context.Context, d *directory, e *entry) (subject, error) {
	s := subject{domain: d, entry: e}
	guid, err := identity.GUIDFromBytes([]byte(e.get("objectguid")))
	if err != nil {
		return s, fmt.Errorf("entry %q: %w", e.dn, err)
	}
	s.account = identity.Account{Domain: d.Name, GUID: guid, DN: e.dn, SAM: e.get("samaccountname")}
	s.expires = pointInTime(e.get("msds-userpasswordexpirytimecomputed"))
	s.facts = Facts{InAD: true, UseCase: d.UseCase, Capture: d.Capture}
	u, err := v.cfg.Cloud.Linked(ctx, s.account)
	switch {
	case errors.Is(err, ErrNotFound):
		return s, nil
	case err != nil && d.UseCase == identity.UseAD:
		// Nobody but AD has a say about the password there.
		v.cfg.Log.Warn("JumpCloud does not say who validates a user; with use case ad it is AD", "account", guid.String(), "err", err)
		return s, nil
	case err != nil:
		return s, fmt.Errorf("read the user's authorities at JumpCloud: %w", err)
	}
	s.cloud = &u
	s.facts.InCloud, s.facts.PasswordByAD, s.facts.DelegatedToAD = true, u.PasswordByAD, u.DelegatedToAD
	if u.DelegatedToAD {
		if s.facts.Delegation, err = v.cfg.Cloud.Delegation(ctx, d.Name); err != nil {
			if d.UseCase != identity.UseAD {
				return s, fmt.Errorf("read the domain's delegation at JumpCloud: %w", err)
			}
			s.facts.Delegation = DelegationEnabled // cannot be switched off there
		}
	}
	return s, nil
}

// lastFileTime is in the year 9999, after which dates have no usual form.
const lastFileTime = 2650467743999999999

// pointInTime reads a FILETIME of which 0 and the far future are never.
func pointInTime(value string) time.Time {
	units, err := strconv.ParseInt(value, 10, 64)
	if err != nil || units <= 0 || units > lastFileTime {
		return time.Time{}
	}
	return identity.FileTime(units)
}
