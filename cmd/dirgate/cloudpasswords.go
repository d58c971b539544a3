package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dirgate/dirgate/delegate"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// cloudPasswords is what the delegate does with passwords of JumpCloud's side.
type cloudPasswords struct {
	domains *domains
	log     *slog.Logger
	now     func() time.Time
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
const arrived = 30 * time.Second

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

// LearnCloud records a password that JumpCloud's LDAP accepted, for AD, if the
// user's authorities let it be JumpCloud's and AD does not have it (rule S4).
func (c cloudPasswords) LearnCloud(ctx context.Context, account identity.Account, cloudID string, password secret.Bytes) error {
	reg, err := c.domains.store.Domain(account.Domain)
	if err != nil {
		return err
	}
	link, err := c.domains.store.LinkByJumpCloudID(cloudID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err != nil || link.GUID != account.GUID || !identity.UseCase(reg.UseCase).Syncs() ||
		reg.PasswordSync == store.PasswordSyncValidateOnly || link.PasswordAuthority == identity.AD {
		return nil
	}
	peers, err := c.domains.peers(account.Domain)
	if err != nil {
		return err
	}
	// Read after the bind: the password that it proved is of this date, or of
	// one before, which the next sign-in tells.
	user, err := peers.JumpCloud.Once(setTime).User(ctx, cloudID)
	if err != nil {
		return fmt.Errorf("read the user: %w", err)
	}
	date, err := time.Parse(time.RFC3339, user.PasswordDate)
	if err != nil || cloudUser(user, reg.JumpCloud.ADID).PasswordByAD {
		return nil // JumpCloud does not say when it was set, or AD's is the one
	}
	if c.now().Sub(date) < arrived {
		return nil // JumpCloud's LDAP may have answered by the one before
	}
	seq, err := c.domains.store.AppendProven(ctx, identity.Change{Kind: identity.PasswordBind, Direction: identity.Sync,
		Actor: "sign-in of " + user.Username, Account: account, CloudID: cloudID, PasswordDate: date}, password)
	switch {
	case errors.Is(err, store.ErrInSync), errors.Is(err, store.ErrOpenChange):
		return nil
	case err != nil:
		return err
	}
	c.log.Info("password of a sign-in recorded for Active Directory", "seq", seq, "account", account.GUID.String())
	return nil
}
