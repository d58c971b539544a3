package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

const (
	pathRotateAccount = "/v1/domain/rotate-credentials"
	pathVerifyDomain  = "/v1/domain/verify"
	pathRemoveDomain  = "/v1/domain/remove"
)

// DomainBackend is what can be asked about a registration that stands.
type DomainBackend interface {
	// RotateAccount exchanges the stored password of a service account for one
	// that AD accepts.
	RotateAccount(ctx context.Context, req RotateRequest) (RegisterAnswer, error)
	// VerifyDomain checks both sides and changes nothing. An error comes with the
	// checks, of which those that failed say why.
	VerifyDomain(ctx context.Context, domain string) (RegisterAnswer, error)
	// RemoveDomain ends a registration.
	RemoveDomain(ctx context.Context, req RemoveRequest) (replicate.Removal, error)
}

// RotateRequest is `domain rotate-credentials`.
type RotateRequest struct {
	Name     string `json:"name"`
	Sync     bool   `json:"sync"` // the sync account's; false: the import account's
	Password []byte `json:"password"`
}

// Wipe clears the secret.
func (r *RotateRequest) Wipe() { clear(r.Password) }

// RemoveRequest is `domain remove`.
type RemoveRequest struct {
	Name  string `json:"name"`
	Local bool   `json:"local,omitempty"` // JumpCloud is not asked, and keeps the agents
}

func serveDomains(mux *http.ServeMux, b DomainBackend) {
	serve(mux, pathRotateAccount, func(ctx context.Context, q RotateRequest) (RegisterAnswer, error) { return b.RotateAccount(ctx, q) })
	serve(mux, pathVerifyDomain, func(ctx context.Context, q named) (RegisterAnswer, error) { return b.VerifyDomain(ctx, q.Name) })
	serve(mux, pathRemoveDomain, func(ctx context.Context, q RemoveRequest) (replicate.Removal, error) { return b.RemoveDomain(ctx, q) })
}

// RotateAccount asks AD with the new password, and stores it when AD accepts
// it. The next request of every role uses it.
func (l *Local) RotateAccount(ctx context.Context, req RotateRequest) (RegisterAnswer, error) {
	defer req.Wipe()
	d, err := l.pick(req.Name)
	if err != nil {
		return RegisterAnswer{}, err
	}
	password := secret.New(req.Password)
	defer password.Wipe()
	if password.IsEmpty() {
		return RegisterAnswer{}, errors.New("the new password is empty")
	}
	name := store.CredImportPassword
	var check replicate.Check
	if req.Sync {
		name = store.CredSyncPassword
		check, err = l.checkSyncPassword(ctx, d, password)
	} else {
		check, err = l.checkImportPassword(ctx, d, password)
	}
	if err != nil {
		return RegisterAnswer{}, err
	}
	d.UpdatedAt = l.Now()
	if err := l.Store.PutDomain(ctx, d, map[string]secret.Bytes{name: password}); err != nil {
		return RegisterAnswer{}, err
	}
	l.changed(d.Name)
	return RegisterAnswer{Domain: d, Checks: []replicate.Check{check}}, nil
}

func (l *Local) checkSyncPassword(ctx context.Context, d store.Domain, password secret.Bytes) (replicate.Check, error) {
	if d.SyncAccount == "" {
		return replicate.Check{}, fmt.Errorf("domain %s has no sync account; give it one with `dirgate domain update %s --sync-account NAME --sync-password-file FILE`", d.Name, d.Name)
	}
	w, err := l.writer(d, password)
	if err != nil {
		return replicate.Check{}, err
	}
	defer w.Close()
	return replicate.CheckCredential(ctx, w, nil)
}

func (l *Local) checkImportPassword(ctx context.Context, d store.Domain, password secret.Bytes) (replicate.Check, error) {
	key, err := l.apiKey(d.Name, nil)
	if err != nil {
		return replicate.Check{}, err
	}
	defer key.Wipe()
	peers, err := l.Connect(d, password, key)
	if err != nil {
		return replicate.Check{}, err
	}
	defer peers.AD.Close()
	return replicate.CheckCredential(ctx, nil, peers)
}

// VerifyDomain checks a registered domain on both sides, over connections of its
// own: the kept ones stay bound although the account was disabled since, or its
// password changed.
func (l *Local) VerifyDomain(ctx context.Context, domain string) (RegisterAnswer, error) {
	d, err := l.pick(domain)
	if err != nil {
		return RegisterAnswer{}, err
	}
	password, err := l.secret(d.Name, store.CredImportPassword, nil)
	if err != nil {
		return RegisterAnswer{}, err
	}
	defer password.Wipe()
	key, err := l.apiKey(d.Name, nil)
	if err != nil {
		return RegisterAnswer{}, err
	}
	defer key.Wipe()
	peers, err := l.Connect(d, password, key)
	if err != nil {
		return RegisterAnswer{}, err
	}
	defer peers.AD.Close()
	var sync *ad.Writer
	if identity.UseCase(d.UseCase).Syncs() {
		password, err := l.secret(d.Name, store.CredSyncPassword, nil)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return RegisterAnswer{}, err
		}
		defer password.Wipe()
		if err == nil { // without one the check says so
			if sync, err = l.writer(d, password); err != nil {
				return RegisterAnswer{}, err
			}
			defer sync.Close()
		}
	}
	checks, err := replicate.Verify(ctx, d, sync, peers)
	return RegisterAnswer{Domain: d, Checks: checks}, err
}

// RemoveDomain ends the registration of a domain.
func (l *Local) RemoveDomain(ctx context.Context, req RemoveRequest) (replicate.Removal, error) {
	d, err := l.pick(req.Name)
	if err != nil {
		return replicate.Removal{}, err
	}
	var peers *replicate.Peers
	if !req.Local {
		if peers, err = l.Peers(d.Name); err != nil {
			return replicate.Removal{}, fmt.Errorf("%w; repeat it, or add --local to leave JumpCloud as it is", err)
		}
	}
	done, err := replicate.Remove(ctx, l.Store, d, peers)
	if err == nil {
		l.changed(d.Name)
	}
	return done, err
}

// RotateAccount exchanges the stored password of a service account.
func (c *Client) RotateAccount(ctx context.Context, req RotateRequest) (RegisterAnswer, error) {
	defer req.Wipe()
	return call[RegisterAnswer](ctx, c, pathRotateAccount, req)
}

// VerifyDomain checks a registered domain on both sides.
func (c *Client) VerifyDomain(ctx context.Context, domain string) (RegisterAnswer, error) {
	return call[RegisterAnswer](ctx, c, pathVerifyDomain, named{Name: domain})
}

// RemoveDomain ends the registration of a domain.
func (c *Client) RemoveDomain(ctx context.Context, req RemoveRequest) (replicate.Removal, error) {
	return call[replicate.Removal](ctx, c, pathRemoveDomain, req)
}
