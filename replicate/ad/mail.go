package ad

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// ErrAccountRefused: the service account cannot bind with its password. To try
// again and again would lock it.
var ErrAccountRefused = errors.New("active directory refuses the service account")

// BindName finds the account of a name with an @, among all below base in the
// domain of that DNS name, and says how it can bind (MS-ADTS 5.1.1.1.1). When
// the name is a userPrincipalName, or sAMAccountName@domain, the answer is the
// name itself; when it is the mail address of one account and no more, that
// one's DN; else it is empty. The error wraps ErrAccountRefused when that is
// why.
func (c *Client) BindName(ctx context.Context, base, domain, name string) (string, error) {
	quoted := ldap.EscapeFilter(name)
	filter := "(userPrincipalName=" + quoted + ")(mail=" + quoted + ")"
	at := strings.LastIndexByte(name, '@')
	if at > 0 && strings.EqualFold(name[at+1:], domain) {
		filter += "(sAMAccountName=" + ldap.EscapeFilter(name[:at]) + ")"
	}
	res, _, err := c.search(ctx, base, ldap.ScopeWholeSubtree, "(&(objectCategory=person)(objectClass=user)(|"+filter+"))",
		[]string{"userPrincipalName", "sAMAccountName", "mail"})
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		return "", nil // it is surely not one account's
	}
	if ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		return "", fmt.Errorf("%w: %w", ErrAccountRefused, err)
	}
	if err != nil {
		return "", fmt.Errorf("find the AD account of %q: %w", name, err)
	}
	var owners []string
	for _, e := range res.Entries {
		if strings.EqualFold(e.GetAttributeValue("userPrincipalName"), name) ||
			strings.EqualFold(e.GetAttributeValue("sAMAccountName")+"@"+domain, name) {
			return name, nil
		}
		owners = append(owners, e.DN)
	}
	if len(owners) != 1 {
		return "", nil
	}
	return owners[0], nil
}
