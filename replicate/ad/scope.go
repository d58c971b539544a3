package ad

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// ErrScope: whether an account is in scope cannot be told, because the root
// container or the scope group is not found. It says nothing about the
// account.
var ErrScope = errors.New("scope cannot be told")

// groupAge is how long the scope group's DN is believed without asking again.
const groupAge = 30 * time.Second

// groupName is the present DN of the scope group.
type groupName struct {
	mu   sync.Mutex
	dn   string    // guarded by mu
	read time.Time // guarded by mu
}

// inScope asks the DC, in one search from the root container on, whether it
// holds the account and the scope group has it as a member, directly or not.
func (c *Client) inScope(ctx context.Context, u identity.User) (bool, error) {
	if c.cfg.ScopeGroup == "" && c.cfg.ScopeGroupGUID.IsZero() {
		return c.isBelow(ctx, u, "")
	}
	group, fresh, err := c.scopeGroup(ctx, false)
	if err != nil {
		return false, err
	}
	in, err := c.isBelow(ctx, u, group)
	if err != nil || in || fresh {
		return in, err
	}
	// The group may have been renamed since: nobody is a member of the old name.
	now, _, err := c.scopeGroup(ctx, true)
	if err != nil || now == group {
		return false, err
	}
	return c.isBelow(ctx, u, now)
}

// isBelow searches for the account below the root container, among the
// members of group unless that is empty. The DC walks the group nesting
// (LDAP_MATCHING_RULE_IN_CHAIN, MS-ADTS 3.1.1.3.4.4.3).
func (c *Client) isBelow(ctx context.Context, u identity.User, group string) (bool, error) {
	base, scope := c.cfg.RootDN, ldap.ScopeWholeSubtree
	if base == "" {
		if group == "" {
			return true, nil
		}
		base, scope = byGUID(u.GUID), ldap.ScopeBaseObject
	}
	filter := "(objectGUID=" + escapeBytes(u.GUID[:]) + ")"
	if group != "" {
		filter = "(&" + filter + "(memberOf:1.2.840.113556.1.4.1941:=" + ldap.EscapeFilter(group) + "))"
	}
	res, _, err := c.search(ctx, base, scope, filter, []string{"1.1"})
	if errors.Is(err, ErrNotFound) && c.cfg.RootDN != "" {
		return false, fmt.Errorf("%w: the root container %q is not found; if it was renamed, run `dirgate domain register` again with the new --root-dn", ErrScope, base)
	}
	if err != nil {
		return false, err
	}
	return len(res.Entries) > 0, nil
}

// scopeGroup returns the group's present DN, and whether it was read just
// now.
func (c *Client) scopeGroup(ctx context.Context, again bool) (dn string, fresh bool, err error) {
	g := &c.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if !again && g.dn != "" && time.Since(g.read) < groupAge {
		return g.dn, false, nil
	}
	name := c.cfg.ScopeGroup
	if !c.cfg.ScopeGroupGUID.IsZero() {
		name = byGUID(c.cfg.ScopeGroupGUID)
	}
	dn, _, err = c.Exists(ctx, name, "(objectClass=group)")
	if errors.Is(err, ErrNotFound) {
		return "", false, fmt.Errorf("%w: the scope group %q (%s) is not found; if it was deleted, run `dirgate domain register` again with another --scope-group",
			ErrScope, c.cfg.ScopeGroup, name)
	}
	if err != nil {
		return "", false, fmt.Errorf("scope group: %w", err)
	}
	g.dn, g.read = dn, time.Now()
	return dn, true, nil
}

func byGUID(g identity.GUID) string { return "<GUID=" + g.String() + ">" }

// escapeBytes writes an octet string for a filter (RFC 4515 section 3).
func escapeBytes(b []byte) string {
	const hex = "0123456789abcdef"
	text := make([]byte, 0, 3*len(b))
	for _, v := range b {
		text = append(text, '\\', hex[v>>4], hex[v&15])
	}
	return string(text)
}
