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

// errCloudFacts: what JumpCloud knows of a name or an account is missing.
var errCloudFacts = errors.New("JumpCloud does not say")

// find says who a name is. Nobody's is a subject without an entry and without a
// JumpCloud user, in the domain that the name tells, or the default one. An
// error means that a side that may know does not answer; with one that wraps
// errCloudFacts comes the subject that the name is if it is nobody's.
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
				s, err := v.known(ctx, d, e)
				if errors.Is(err, errCloudFacts) {
					s = nobody(d, n)
				}
				return s, err
			}
		}
	}
	if n.mayBeCloud() {
		s, err := v.findInCloud(ctx, all, n)
		if err != nil {
			s = nobody(home(all, n), n)
		}
		if s.asked = true; err != nil || s.cloud != nil || s.entry != nil {
			return s, err
		}
	}
	s := nobody(home(all, n), n)
	s.asked = n.mayBeCloud()
	return s, nil
}

// mayBeCloud: who the name is may be asked at JumpCloud too.
func (n name) mayBeCloud() bool { return n.kind != nameDN && n.kind != nameGUID && n.domain == "" }

func nobody(d *directory, n name) subject {
	key := n.keyIn(d.Name)
	return subject{domain: d, name: key, account: identity.Account{Domain: d.Name, DN: nobodyDN(key, d.BaseDN)}, facts: Facts{UseCase: d.UseCase}}
}

// home is the domain that a name tells, or the default one.
func home(all []*directory, n name) *directory {
	if _, suffix, ok := strings.Cut(n.text, "@"); ok && n.kind == nameMail {
		for _, d := range all {
			if strings.EqualFold(suffix, d.Name) {
				return d
			}
		}
	}
	return append(candidates(all, n), all[0])[0]
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
		u, ok, err := v.named(ctx, d, n)
		if err != nil {
			return subject{domain: d}, err
		}
		if !ok {
			continue
		}
		if u.GUID.IsZero() {
			return cloudAlone(d, u), nil
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
		return cloudAlone(d, u), nil
	}
	return subject{}, nil
}

// named asks JumpCloud who has a name in the organisation of a domain.
func (v *Validator) named(ctx context.Context, d *directory, n name) (u CloudUser, ok bool, err error) {
	if d.UseCase == identity.UseAD && n.kind != nameCloud {
		return u, false, nil // its users are AD's
	}
	switch u, err = v.cfg.Cloud.Named(ctx, d.Name, n.text); {
	case err == nil:
		return u, true, nil
	case errors.Is(err, ErrNotFound):
		return u, false, nil
	}
	return u, false, fmt.Errorf("find a user: %w: %w", errCloudFacts, err)
}

// cloudAlone is a user of JumpCloud without an account in AD. What stands for
// one there is an entry that does not exist.
func cloudAlone(d *directory, u CloudUser) subject {
	return subject{domain: d, cloud: &u, facts: Facts{InCloud: true, UseCase: d.UseCase},
		account: identity.Account{Domain: d.Name, DN: nobodyDN("jumpcloud:"+u.ID, d.BaseDN)}}
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
		return s, fmt.Errorf("read the user's authorities: %w: %w", errCloudFacts, err)
	}
	s.cloud = &u
	s.facts.InCloud, s.facts.PasswordByAD, s.facts.DelegatedToAD = true, u.PasswordByAD, u.DelegatedToAD
	if u.DelegatedToAD {
		if s.facts.Delegation, err = v.cfg.Cloud.Delegation(ctx, d.Name); err != nil {
			if d.UseCase != identity.UseAD {
				return s, fmt.Errorf("read the domain's delegation: %w: %w", errCloudFacts, err)
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
