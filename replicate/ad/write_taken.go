package ad

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// holder looks in the whole domain for who has a new user's names: the
// username, the UPN, also as an account that has none of its own signs in, and
// the mail address, each of which must be nobody's. The
// DN is of an account that an earlier call made, empty when all are free.
func (d *desk) holder(ctx context.Context, username string, attrs []Attribute, names []string) (ours string, err error) {
	asked := []Attribute{{Name: "sAMAccountName", Values: []string{username}}}
	for _, a := range attrs {
		if strings.EqualFold(a.Name, "userPrincipalName") || strings.EqualFold(a.Name, "mail") {
			asked = append(asked, a)
		}
		if !strings.EqualFold(a.Name, "userPrincipalName") {
			continue
		}
		// Everybody signs in as sAMAccountName@domain, too (MS-ADTS 5.1.1.1.1):
		// who has that as a userPrincipalName is taken for the other.
		for _, upn := range a.Values {
			if local, domain, _ := strings.Cut(upn, "@"); local != "" && strings.EqualFold(domain, dnsName(d.base)) {
				asked = append(asked, Attribute{Name: "sAMAccountName", Values: []string{local}})
			}
		}
	}
	wanted := []string{"objectClass", "adminCount", "userAccountControl", "sAMAccountName", "userPrincipalName", "mail"}
	for _, a := range attrs {
		wanted = append(wanted, a.Name)
	}
	found, err := d.holders(ctx, asked, wanted)
	if err != nil {
		return "", err
	}
	for _, e := range found {
		made, err := d.isMade(ctx, e, classUser, username, attrs, names)
		switch {
		case err != nil:
			return "", err
		case !made:
			return "", takenBy(e, asked)
		}
		ours = e.DN
	}
	return ours, nil
}

// holders finds the objects that have one of these values.
func (d *desk) holders(ctx context.Context, asked []Attribute, wanted []string) ([]*ldap.Entry, error) {
	var filter strings.Builder
	filter.WriteString("(|")
	for _, a := range asked {
		for _, v := range a.Values {
			filter.WriteString("(" + a.Name + "=" + ldap.EscapeFilter(v) + ")")
		}
	}
	filter.WriteString(")")
	found, err := d.find(ctx, d.base, ldap.ScopeWholeSubtree, filter.String(), wanted)
	if err != nil {
		return nil, fmt.Errorf("look for who has the name: %w", err)
	}
	return found, nil
}

// takenBy says which of the values an object has.
func takenBy(e *ldap.Entry, asked []Attribute) error {
	for _, a := range asked {
		for _, v := range a.Values {
			for _, have := range e.GetEqualFoldAttributeValues(a.Name) {
				if strings.EqualFold(have, v) {
					return fmt.Errorf("%w: %q has %s %q; link the two, or change one of them", ErrExists, e.DN, a.Name, have)
				}
			}
		}
	}
	return fmt.Errorf("%w: by %q", ErrExists, e.DN)
}

// isMade reports that an object is one that this account created with these
// values: below the root container, under one of the names it would have been
// given, as wanted in every attribute, and owned by the account. Whoever may not
// create objects cannot make us take his for ours.
func (d *desk) isMade(ctx context.Context, e *ldap.Entry, want class, name string, attrs []Attribute, names []string) (bool, error) {
	if classOf(e) != want || privileged(e) != nil || !below(e.DN, d.root) || !strings.EqualFold(e.GetAttributeValue("sAMAccountName"), name) {
		return false, nil
	}
	if !slices.ContainsFunc(names, func(cn string) bool { return strings.EqualFold(rdnValue(e.DN), cn) }) {
		return false, nil
	}
	for _, a := range attrs {
		if !sameValues(e.GetEqualFoldAttributeValues(a.Name), a.Values) {
			return false, nil
		}
	}
	sd, err := d.descriptor(ctx, e.DN)
	if err != nil {
		return false, fmt.Errorf("read who owns %q: %w", e.DN, err)
	}
	return len(d.me.sid) > 0 && bytes.Equal(sd.owner, d.me.sid), nil
}

// freeDN finds a DN in the root container that no entry has.
func (d *desk) freeDN(ctx context.Context, names []string) (string, error) {
	for _, cn := range names {
		dn := rdn(cn) + "," + d.root
		_, err := d.one(ctx, dn, "1.1")
		switch {
		case errors.Is(err, ErrNotFound):
			return dn, nil
		case err != nil:
			return "", fmt.Errorf("look for %q: %w", dn, err)
		}
	}
	return "", fmt.Errorf("%w: the root container has entries %q; rename one of them", ErrExists, names)
}
