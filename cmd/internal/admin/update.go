package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

const pathUpdate = "/v1/domain/update"

// UpdateRequest is `domain update`. What is nil stays as it is stored; what is
// given and empty gets its default.
type UpdateRequest struct {
	Name         string  `json:"name"` // DNS name of the domain
	UseCase      *string `json:"useCase,omitempty"`
	SyncAccount  *string `json:"syncAccount,omitempty"`
	SyncPassword []byte  `json:"syncPassword,omitempty"`
	PasswordSync *string `json:"passwordSync,omitempty"`
	Takeover     *string `json:"takeover,omitempty"`
	Dissociation *string `json:"dissociation,omitempty"`
	Disable      *string `json:"disable,omitempty"`
	Expire       *string `json:"expire,omitempty"`
	UserField    *string `json:"userField,omitempty"`  // user_field_mapping
	Additional   *bool   `json:"additional,omitempty"` // sync_additional_attributes
	// Confirmed: a person agreed to what Merge warns of.
	Confirmed bool `json:"confirmed,omitempty"`
}

// Wipe clears the secret.
func (r *UpdateRequest) Wipe() { clear(r.SyncPassword) }

// Merge gives the registration that is asked for from the one that is stored.
// The warnings say what it changes for people who were not asked; it is done
// only when Confirmed. An error is a request that makes no sense.
func (r *UpdateRequest) Merge(stored store.Domain) (d store.Domain, warnings []string, err error) {
	kept := RegisterRequest{Name: stored.Name, UseCase: orDefault(r.UseCase, store.UseCaseAD),
		SyncAccount: r.SyncAccount, SyncPassword: r.SyncPassword, PasswordSync: orDefault(r.PasswordSync, store.PasswordSyncCapture)}
	if d, warnings, err = kept.Merge(&stored); err != nil {
		return stored, nil, err
	}
	for field, given := range map[*identity.UserAction]*string{
		&d.Actions.Takeover: r.Takeover, &d.Actions.Dissociation: r.Dissociation, &d.Actions.Disable: r.Disable, &d.Actions.Expire: r.Expire,
	} {
		if given != nil {
			*field = identity.UserAction(*given)
		}
	}
	if r.UserField != nil {
		d.Mapping.UsernameFrom = *r.UserField
	}
	if r.Additional != nil {
		d.Mapping.BasicOnly = !*r.Additional
	}
	if err = cmp.Or(d.Actions.Check(), d.Mapping.Check()); err != nil {
		return stored, nil, err
	}
	return d, append(warnings, affected(stored, d)...), nil
}

func orDefault(given *string, value string) *string {
	if given != nil && *given == "" {
		return &value
	}
	return given
}

// consequence is what an action comes to for people.
var consequence = map[string]map[identity.UserAction]string{
	"user_takeover_action": {
		identity.ActionDeactivate: "the passwords of JumpCloud users that are paired with an AD account expire"},
	"user_dissociation_action": {
		identity.ActionRemove: "JumpCloud users whose AD account is deleted or leaves the scope are deleted",
		identity.ActionUnbind: "JumpCloud users whose AD account is deleted or leaves the scope stay, and can sign in"},
	"user_disable_action": {
		identity.ActionSuspend: "JumpCloud users whose AD account is disabled are suspended",
		identity.ActionRemove:  "JumpCloud users whose AD account is disabled are deleted",
		identity.ActionUnbind:  "JumpCloud users whose AD account is disabled are no longer managed, and can sign in",
		identity.ActionIgnore:  "JumpCloud users whose AD account is disabled can sign in"},
	"user_expire_action": {
		identity.ActionExpire:  "the passwords of JumpCloud users whose AD account has expired expire",
		identity.ActionSuspend: "JumpCloud users whose AD account has expired are suspended",
		identity.ActionIgnore:  "JumpCloud users whose AD account has expired can sign in"},
}

// affected says whom new settings of the import concern.
func affected(stored, d store.Domain) (warnings []string) {
	was, now := stored.Actions.WithDefaults(), d.Actions.WithDefaults()
	for _, s := range []struct {
		name     string
		was, now identity.UserAction
	}{
		{"user_takeover_action", was.Takeover, now.Takeover},
		{"user_dissociation_action", was.Dissociation, now.Dissociation},
		{"user_disable_action", was.Disable, now.Disable},
		{"user_expire_action", was.Expire, now.Expire},
	} {
		if text := consequence[s.name][s.now]; s.was != s.now && text != "" {
			warnings = append(warnings, fmt.Sprintf("with %s %s, %s", s.name, s.now, text))
		}
	}
	if from := d.Mapping.From(); from != stored.Mapping.From() {
		warnings = append(warnings, fmt.Sprintf("the JumpCloud usernames of all imported users become those of %s", from))
	}
	if stored.Mapping.BasicOnly && !d.Mapping.BasicOnly {
		warnings = append(warnings, "the additional attributes of all imported users are overwritten at JumpCloud")
	}
	return warnings
}

// Update changes how a registered domain is replicated. Another use case or
// sync account is checked on both sides and told to JumpCloud, as by Register;
// the other settings are dirgate's own and need neither side.
func (l *Local) Update(ctx context.Context, req UpdateRequest) (RegisterAnswer, error) {
	defer req.Wipe()
	stored, err := l.pick(req.Name)
	if err != nil {
		return RegisterAnswer{}, err
	}
	d, warnings, err := req.Merge(stored)
	if err != nil {
		return RegisterAnswer{}, err
	}
	if len(warnings) > 0 && !req.Confirmed {
		return RegisterAnswer{}, fmt.Errorf("%s; repeat with --yes if that is meant", strings.Join(warnings, ", and "))
	}
	if req.UseCase != nil || req.SyncAccount != nil || req.SyncPassword != nil {
		return l.register(ctx, d, given{syncPassword: req.SyncPassword}, req.Confirmed && req.UseCase != nil)
	}
	d.UpdatedAt = l.Now()
	if err := l.Store.PutDomain(ctx, d, nil); err != nil {
		return RegisterAnswer{}, err
	}
	l.changed(d.Name)
	return RegisterAnswer{Domain: d, Checks: []replicate.Check{}}, nil
}

// Update changes how a registered domain is replicated.
func (c *Client) Update(ctx context.Context, req UpdateRequest) (RegisterAnswer, error) {
	defer req.Wipe()
	return call[RegisterAnswer](ctx, c, pathUpdate, req)
}

func serveUpdate(mux *http.ServeMux, b Backend) {
	serve(mux, pathUpdate, func(ctx context.Context, q UpdateRequest) (RegisterAnswer, error) { return b.Update(ctx, q) })
}
