package ad

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// Domain is what a DC says about the domain it serves.
type Domain struct {
	BaseDN  string // defaultNamingContext
	DNSName string // from BaseDN
	NetBIOS string
	DCName  string // dnsHostName of the DC that answered
}

// Domain reads the root DSE and the domain's NetBIOS name. It also proves
// that the service account can bind; ErrAccountRefused if not.
func (c *Client) Domain(ctx context.Context) (Domain, error) {
	res, _, err := c.search(ctx, "", ldap.ScopeBaseObject, "(objectClass=*)",
		[]string{"defaultNamingContext", "configurationNamingContext", "dnsHostName"})
	if ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		return Domain{}, fmt.Errorf("%w: %w", ErrAccountRefused, err)
	}
	if err != nil {
		return Domain{}, fmt.Errorf("read the root DSE: %w", err)
	}
	if len(res.Entries) != 1 || res.Entries[0].GetAttributeValue("defaultNamingContext") == "" {
		return Domain{}, errors.New("read the root DSE: no defaultNamingContext; is this an Active Directory domain controller?")
	}
	root := res.Entries[0]
	d := Domain{BaseDN: root.GetAttributeValue("defaultNamingContext"), DCName: root.GetAttributeValue("dnsHostName")}
	d.DNSName = dnsName(d.BaseDN)
	refs, _, err := c.search(ctx, "CN=Partitions,"+root.GetAttributeValue("configurationNamingContext"), ldap.ScopeSingleLevel,
		"(nCName="+ldap.EscapeFilter(d.BaseDN)+")", []string{"nETBIOSName"})
	if err != nil {
		return Domain{}, fmt.Errorf("read the NetBIOS name of %s: %w", d.BaseDN, err)
	}
	if len(refs.Entries) == 1 {
		d.NetBIOS = refs.Entries[0].GetAttributeValue("nETBIOSName")
	}
	return d, nil
}

// dnsName turns "DC=corp,DC=example,DC=test" into "corp.example.test".
func dnsName(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		return ""
	}
	var labels []string
	for _, rdn := range parsed.RDNs {
		for _, a := range rdn.Attributes {
			if strings.EqualFold(a.Type, "DC") {
				labels = append(labels, strings.ToLower(a.Value))
			}
		}
	}
	return strings.Join(labels, ".")
}

// Exists checks that an entry can be read, and returns its DN as AD spells
// it, and its GUID.
func (c *Client) Exists(ctx context.Context, dn, filter string) (string, identity.GUID, error) {
	var guid identity.GUID
	res, _, err := c.search(ctx, dn, ldap.ScopeBaseObject, filter, []string{"objectGUID"})
	if err != nil {
		return "", guid, fmt.Errorf("read %q: %w", dn, err)
	}
	if len(res.Entries) != 1 {
		return "", guid, fmt.Errorf("read %q: %w", dn, ErrNotFound)
	}
	if guid, err = identity.GUIDFromBytes(res.Entries[0].GetRawAttributeValue("objectGUID")); err != nil {
		return "", guid, fmt.Errorf("read %q: %w", dn, err)
	}
	return res.Entries[0].DN, guid, nil
}
