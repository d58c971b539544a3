package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/dirgate/dirgate/delegate"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// cloudPasswords is what the delegate does with passwords of JumpCloud's side.
type cloudPasswords struct {
	domains  *domains
	recorder *replicate.BindRecorder
	now      func() time.Time
}

// setTime bounds one change of a password at JumpCloud.
const setTime = 10 * time.Second

// SetPassword sets a user's password at JumpCloud, once.
func (c cloudPasswords) SetPassword(ctx context.Context, domain, cloudID string, password secret.Bytes) error {
	peers, err := c.domains.peers(domain)
	if err != nil {
		return err
	}
	err = peers.JumpCloud.Once(setTime).SetPassword(ctx, cloudID, password)
	switch {
	case err == nil:
		return nil
	case jumpcloud.Unknown(err):
		return fmt.Errorf("%w: %w", delegate.ErrCloudUnknown, err)
	case jumpcloud.NotSent(err), jumpcloud.Temporary(err), jumpcloud.Unauthorized(err), jumpcloud.NotFound(err):
		return err
	}
	return &delegate.CloudRefusal{Words: cmp.Or(jumpcloud.Words(err), "it breaks a rule of your organisation")}
}

// arrived is how long after JumpCloud was given a password its LDAP may still
// answer by the one before.
const arrived = plan.CloudArrived

// PasswordPending looks at the newest password of AD in the change log.
func (c cloudPasswords) PasswordPending(_ context.Context, account identity.Account) (bool, error) {
	// The newest counts; a few newer entries may be of another kind.
	entries, err := c.domains.store.List(store.ListOptions{Account: &account.GUID, Domain: account.Domain, Newest: true, Limit: 20})
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.Direction != identity.Import || e.Kind.IsState() {
			continue
		}
		switch e.Status {
		case identity.StatusUnsettled, identity.StatusPending:
			return true, nil
		case identity.StatusApplied:
			return c.now().Sub(e.Since) < arrived, nil
		case identity.StatusRefused: // it never was the password
		default:
			return false, nil
		}
	}
	return false, nil
}

// LearnCloud records a password that JumpCloud's LDAP accepted, for AD, as the
// gateway does.
func (c cloudPasswords) LearnCloud(ctx context.Context, domain, bindDN string, password secret.Bytes) (identity.BindOutcome, error) {
	return c.recorder.RecordBind(ctx, identity.Change{Kind: identity.PasswordBind, Direction: identity.Sync, Actor: "sign-in of " + bindDN,
		Account: identity.Account{Domain: domain, DN: bindDN}}, password)
}
