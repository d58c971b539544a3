package replicate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/settings"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// recordCloud records the password of a user whom JumpCloud's LDAP let in by
// the bind DN change.Account.DN, for AD, if it is wanted there (rule S4).
func (r *BindRecorder) recordCloud(ctx context.Context, change identity.Change, password secret.Bytes) (identity.BindOutcome, error) {
	name := userOf(change.Account.DN)
	if name == "" {
		return identity.BindNotWanted, nil
	}
	facts, err := r.cloudFacts(ctx, change, name)
	if err != nil {
		return "", fmt.Errorf("record the password of a bind as JumpCloud user %q: %w", name, err)
	}
	if facts.Link == nil || facts.AD == nil {
		return identity.BindNotWanted, nil
	}
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	date, err := time.Parse(time.RFC3339, facts.Cloud.PasswordDate)
	switch {
	case err != nil:
		return identity.BindNotWanted, nil // it cannot be told which password was right
	case now().Sub(date) < plan.CloudArrived:
		return identity.BindEarly, nil
	}
	facts.Change.PasswordDate = date
	if decision := plan.SyncPassword(facts); decision.Verb != plan.SetPassword {
		r.Log.Debug("password of a bind not wanted", "user", facts.Cloud.ID, "why", decision.Reason)
		return identity.BindNotWanted, nil
	}
	seq, err := r.Store.AppendProven(ctx, facts.Change, password)
	if outcome, err := refusedBind(err); outcome != "" || err != nil {
		return outcome, err
	}
	r.Log.Info("password of a bind recorded for Active Directory", "seq", seq, "user", facts.Cloud.ID)
	return identity.BindRecorded, nil
}

// cloudFacts gathers what is decided by, were the change in the log. Without a
// link it stops there. The user is read after the bind.
func (r *BindRecorder) cloudFacts(ctx context.Context, change identity.Change, name string) (c plan.SyncPasswordCase, err error) {
	c.Change = change
	domain, err := r.Store.Domain(change.Account.Domain)
	if err != nil {
		return c, err
	}
	c.Settings = settings.Of(domain)
	peers, err := r.Peers(domain.Name)
	if err != nil {
		return c, err
	}
	found, err := peers.JumpCloud.Once(readLimit).FindUsers(ctx, name, "")
	if err != nil {
		return c, err
	}
	for _, u := range found {
		if strings.EqualFold(u.Username, name) {
			known := jumpcloud.ToIdentity(&u, domain.JumpCloud.ADID)
			c.Cloud = &known
		}
	}
	if c.Cloud == nil {
		return c, nil
	}
	link, err := r.Store.LinkByJumpCloudID(c.Cloud.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && link.Domain != domain.Name {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	c.Link = &link
	if c.Resting, err = rests(r.Store, link); err != nil {
		return c, err
	}
	account, err := peers.AD.User(ctx, identity.Account{Domain: domain.Name, GUID: link.GUID})
	if errors.Is(err, ad.ErrNotFound) {
		return c, nil
	}
	c.AD = &account
	c.Change.CloudID = c.Cloud.ID
	c.Change.Account = identity.Account{Domain: domain.Name, GUID: link.GUID, DN: account.DN, SAM: account.Username}
	return c, err
}

// userOf is the username in a bind DN of JumpCloud's LDAP; empty: there is
// none, or one that is written with escapes, which no username of JumpCloud's
// needs.
func userOf(dn string) string {
	first, _, _ := strings.Cut(dn, ",")
	name, value, ok := strings.Cut(first, "=")
	value = strings.TrimSpace(value)
	if !ok || !strings.EqualFold(strings.TrimSpace(name), "uid") || strings.ContainsAny(value, `\"+=<>;#`) {
		return ""
	}
	return value
}
