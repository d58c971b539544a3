package replicate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// Unlink ends the link of one user, so that its next change is paired anew,
// and returns what it was. The name is a JumpCloud id, an account's
// sAMAccountName or userPrincipalName, or, when no such account has a link,
// the JumpCloud username at the join. A change that is being written at this
// moment makes the link again.
func Unlink(ctx context.Context, st *store.Store, domain store.Domain, peers *Peers, name string) (identity.Link, error) {
	link, err := findLink(ctx, st, domain, peers, name)
	if err != nil {
		return link, fmt.Errorf("unlink %q: %w", name, err)
	}
	return link, st.RemoveLink(ctx, link.Domain, link.GUID)
}

func findLink(ctx context.Context, st *store.Store, domain store.Domain, peers *Peers, name string) (identity.Link, error) {
	link, err := st.LinkByJumpCloudID(name)
	if err == nil && link.Domain == domain.Name {
		return link, nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return link, err
	}
	user, err := peers.AD.FindUser(ctx, domain.BaseDN, name)
	if err == nil {
		link, err = st.LinkByGUID(domain.Name, user.GUID)
	}
	if err == nil || !errors.Is(err, store.ErrNotFound) && !errors.Is(err, ad.ErrNotFound) {
		return link, err
	}
	return linkByUsername(st, domain.Name, name)
}

func linkByUsername(st *store.Store, domain, name string) (identity.Link, error) {
	all, err := st.Links(domain)
	if err != nil {
		return identity.Link{}, err
	}
	var found []identity.Link
	var ids []string
	for _, l := range all {
		if strings.EqualFold(l.Username, name) {
			found, ids = append(found, l), append(ids, l.JumpCloudID)
		}
	}
	switch len(found) {
	case 0:
		return identity.Link{}, fmt.Errorf("no linked user of %s has that name; give the AD account's name, or the JumpCloud username or id: %w", domain, store.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return identity.Link{}, fmt.Errorf("several linked users have that name; give one of their JumpCloud ids: %s", strings.Join(ids, ", "))
}
