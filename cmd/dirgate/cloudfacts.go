package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dirgate/dirgate/delegate"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"golang.org/x/time/rate"
)

// cloudFacts is what validations need to know of JumpCloud's side. Its answers
// are remembered for a short while, and for an hour where JumpCloud does not
// answer: who decides about a password seldom changes, and its API has a budget
// that replication needs.
type cloudFacts struct {
	domains *domains
	now     func() time.Time
	names   *rate.Limiter // of looks for names that nobody may have

	mu    sync.Mutex
	known map[string]remembered // guarded by mu
}

type remembered struct {
	value  any // nil: delegate.ErrNotFound
	at     time.Time
	failed time.Time // when it was last asked for without an answer
}

const (
	factsFresh  = 30 * time.Second
	policyFresh = 5 * time.Minute
	factsStale  = time.Hour
	factsAgain  = 2 * time.Second // after no answer; until then what is remembered does
	maxFacts    = 50_000
	factsTime   = 5 * time.Second
)

func newCloudFacts(d *domains) *cloudFacts {
	return &cloudFacts{domains: d, now: time.Now, names: rate.NewLimiter(2, 20), known: make(map[string]remembered)}
}

// fact gives a fact that is remembered, or asks for it.
func fact[T any](ctx context.Context, f *cloudFacts, key string, fresh time.Duration, ask func(context.Context) (T, error)) (value T, err error) {
	f.mu.Lock()
	old, ok := f.known[key]
	f.mu.Unlock()
	if !ok || f.now().Sub(old.at) >= fresh && f.now().Sub(old.failed) >= factsAgain {
		asking, cancel := context.WithTimeout(ctx, factsTime)
		value, err = ask(asking)
		cancel()
		if err != nil && !errors.Is(err, delegate.ErrNotFound) {
			if !ok || f.now().Sub(old.at) >= factsStale {
				return value, err
			}
			old.failed = f.now()
			f.mu.Lock()
			if f.known[key].at.Equal(old.at) {
				f.known[key] = old
			}
			f.mu.Unlock()
		} else {
			old = remembered{at: f.now()}
			if err == nil {
				old.value = value
			}
			f.mu.Lock()
			if len(f.known) >= maxFacts {
				clear(f.known) // rare, and cheaper than to keep an order
			}
			f.known[key] = old
			f.mu.Unlock()
		}
	}
	if old.value == nil {
		return value, delegate.ErrNotFound
	}
	return old.value.(T), nil
}

// Linked gives the user that an account is linked with.
func (f *cloudFacts) Linked(ctx context.Context, account identity.Account) (delegate.CloudUser, error) {
	link, err := f.domains.store.LinkByGUID(account.Domain, account.GUID)
	if errors.Is(err, store.ErrNotFound) {
		return delegate.CloudUser{}, delegate.ErrNotFound
	}
	if err != nil {
		return delegate.CloudUser{}, err
	}
	u, err := fact(ctx, f, userKey(account.Domain, link.JumpCloudID), factsFresh, func(ctx context.Context) (delegate.CloudUser, error) {
		return f.user(ctx, account.Domain, link.JumpCloudID)
	})
	return linked(u, link), err
}

func userKey(domain, id string) string { return "user\x00" + domain + "\x00" + id }

func (f *cloudFacts) user(ctx context.Context, domain, id string) (delegate.CloudUser, error) {
	reg, client, err := f.client(domain)
	if err != nil {
		return delegate.CloudUser{}, err
	}
	u, err := client.User(ctx, id)
	if jumpcloud.NotFound(err) {
		err = delegate.ErrNotFound
	}
	return cloudUser(u, reg.JumpCloud.ADID), err
}

// Anew reads a user, whatever is remembered, and forgets the names under which
// another was remembered.
func (f *cloudFacts) Anew(ctx context.Context, domain, id string) (delegate.CloudUser, error) {
	reading, cancel := context.WithTimeout(ctx, factsTime)
	defer cancel()
	now, err := f.user(reading, domain, id)
	gone := errors.Is(err, delegate.ErrNotFound)
	if err != nil && !gone {
		return now, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, old := range f.known {
		if u, ok := old.value.(delegate.CloudUser); ok && u.ID == id && u != now {
			delete(f.known, key)
		}
	}
	if !gone {
		f.known[userKey(domain, id)] = remembered{value: now, at: f.now()}
	}
	return now, err
}

func linked(u delegate.CloudUser, link identity.Link) delegate.CloudUser {
	u.GUID, u.Domain, u.PasswordSet = link.GUID, link.Domain, link.PasswordSet
	return u
}

func (f *cloudFacts) client(domain string) (store.Domain, *jumpcloud.Client, error) {
	reg, err := f.domains.store.Domain(domain)
	if err != nil {
		return reg, nil, err
	}
	peers, err := f.domains.peers(domain)
	if err != nil {
		return reg, nil, err
	}
	return reg, peers.JumpCloud.Once(factsTime), nil
}

// Named gives the user with this username or mail address.
func (f *cloudFacts) Named(ctx context.Context, domain, name string) (delegate.CloudUser, error) {
	u, err := fact(ctx, f, "name\x00"+domain+"\x00"+strings.ToLower(name), factsFresh, func(ctx context.Context) (delegate.CloudUser, error) {
		if !f.names.Allow() {
			return delegate.CloudUser{}, errors.New("too many unknown names are looked for at JumpCloud; try again in a few seconds")
		}
		reg, client, err := f.client(domain)
		if err != nil {
			return delegate.CloudUser{}, err
		}
		username, mail := name, ""
		if strings.Contains(name, "@") {
			username, mail = "", name
		}
		found, err := client.FindUsers(ctx, username, mail)
		switch {
		case err != nil:
			return delegate.CloudUser{}, unnamed(err)
		case len(found) != 1:
			return delegate.CloudUser{}, delegate.ErrNotFound
		}
		return cloudUser(found[0], reg.JumpCloud.ADID), nil
	})
	if err != nil {
		return u, err
	}
	link, err := f.domains.store.LinkByJumpCloudID(u.ID)
	if errors.Is(err, store.ErrNotFound) {
		return u, nil
	}
	return linked(u, link), err
}

// unnamed takes the names out of an error about them: what is typed where a name
// belongs may be a password, and the error goes to the log.
func unnamed(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return err
}

// cloudUser is a user as far as a validation looks at it. An authority counts
// if it is the domain's AD object; of a registration that is older than that,
// any is.
func cloudUser(u jumpcloud.User, adID string) delegate.CloudUser {
	ours := func(id string) bool { return adID == "" || id == adID }
	out := delegate.CloudUser{
		ID: u.ID, Username: u.Username, Mail: u.Email, DisplayName: u.DisplayName,
		Suspended: u.Suspended || u.State == jumpcloud.StateSuspended || u.State == jumpcloud.StateStaged,
		Locked:    u.AccountLocked, Expired: u.PasswordExpired, HasPassword: u.Activated,
		DelegatedToAD: u.DelegatedAuthority != nil && u.DelegatedAuthority.Name == "ActiveDirectory" && ours(u.DelegatedAuthority.ID),
		PasswordByAD: slices.ContainsFunc(u.RestrictedFields, func(r jumpcloud.RestrictedField) bool {
			return r.Field == "password" && r.Type == "active_directory" && ours(r.ID)
		}),
	}
	if at, err := time.Parse(time.RFC3339, u.PasswordExpirationDate); err == nil && !u.PasswordNeverExpires {
		out.PasswordExpires = at
	}
	return out
}

// Delegation is the domain's delegation state; an AD object that does not say
// has none.
func (f *cloudFacts) Delegation(ctx context.Context, domain string) (delegate.Delegation, error) {
	return fact(ctx, f, "delegation\x00"+domain, delegationLook, func(ctx context.Context) (delegate.Delegation, error) {
		reg, client, err := f.client(domain)
		if err != nil {
			return "", err
		}
		all, err := client.ActiveDirectories(ctx)
		if err != nil {
			return "", err
		}
		for _, object := range all {
			if object.ID == reg.JumpCloud.ADID && object.DelegationState != "" {
				return delegate.Delegation(object.DelegationState), nil
			}
		}
		return delegate.DelegationDisabled, nil
	})
}

// setDelegation asks for a state, and gives the one that JumpCloud then shows.
func (f *cloudFacts) setDelegation(ctx context.Context, reg store.Domain, next delegate.Delegation) (delegate.Delegation, error) {
	_, client, err := f.client(reg.Name)
	if err != nil {
		return "", err
	}
	now, err := client.UpdateActiveDirectory(ctx, reg.JumpCloud.ADID, jumpcloud.ActiveDirectoryUpdate{DelegationState: string(next)})
	if err != nil {
		return "", fmt.Errorf("set the delegation state of %s to %s: %w", reg.Name, next, err)
	}
	return delegate.Delegation(now.DelegationState), nil
}

// Policy is the organisation's password policy.
func (f *cloudFacts) Policy(ctx context.Context, domain string) (delegate.CloudPolicy, error) {
	return fact(ctx, f, "policy\x00"+domain, policyFresh, func(ctx context.Context) (delegate.CloudPolicy, error) {
		reg, client, err := f.client(domain)
		if err != nil {
			return delegate.CloudPolicy{}, err
		}
		o, err := client.Organization(ctx, reg.JumpCloud.OrgID)
		return cloudPolicy(o.Settings.PasswordPolicy), err
	})
}

func cloudPolicy(p jumpcloud.PasswordPolicy) delegate.CloudPolicy {
	out := delegate.CloudPolicy{
		Lowercase: p.NeedsLowercase, Uppercase: p.NeedsUppercase, Numeric: p.NeedsNumeric, Symbolic: p.NeedsSymbolic,
		NoUsername: !p.AllowUsernameSubstring, NoSequences: p.DisallowSequentialOrRepetitiveChars, DisallowCommon: p.DisallowCommonlyUsedPasswords,
	}
	if p.EnableMinLength {
		out.MinLength = p.MinLength
	}
	if p.EnableMaxLoginAttempts {
		out.MaxTries = p.MaxLoginAttempts
	}
	if p.EnableLockoutTimeInSeconds {
		out.LockTime = time.Duration(p.LockoutTimeInSeconds) * time.Second
	}
	if p.EnableMaxHistory {
		out.History = p.MaxHistory
	}
	return out
}
