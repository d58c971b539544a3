package admin

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
)

// TestTokens: tokens are made, listed and revoked through the socket, and what
// was shown once opens the API until then.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	made, err := w.client.CreateToken(ctx, TokenRequest{Name: "portal", Scopes: []string{store.ScopeValidate}, Life: time.Hour})
	if err != nil || made.Name != "portal" || made.ExpiresAt.Sub(made.CreatedAt) != time.Hour {
		t.Fatalf("create: %+v, %v", made, err)
	}
	good := func(scope string, want bool) {
		t.Helper()
		token := secret.New([]byte(made.Text))
		defer token.Wipe()
		if name, ok, err := w.local.Store.Authorize(ctx, token, scope, w.local.Now()); err != nil || ok != want || ok && name != "portal" {
			t.Errorf("%s: %q, %v, %v, want %v", scope, name, ok, err, want)
		}
	}
	good(store.ScopeValidate, true)
	good(store.ScopeChange, false)
	if forever, err := w.client.CreateToken(ctx, TokenRequest{Name: "other", Scopes: []string{store.ScopeStatus}}); err != nil || !forever.ExpiresAt.IsZero() {
		t.Errorf("for ever: %+v, %v", forever, err)
	}
	list, err := w.client.Tokens(ctx)
	want, _ := w.local.Tokens(ctx)
	equal(t, "Tokens", list, want, err)
	if len(list) != 2 {
		t.Errorf("%d tokens are listed, want 2", len(list))
	}
	for name, req := range map[string]TokenRequest{"no scope": {Name: "x"}, "no such scope": {Name: "x", Scopes: []string{"all"}}, "no name": {Scopes: []string{store.ScopeStatus}}} {
		if _, err := w.client.CreateToken(ctx, req); err == nil || !strings.Contains(err.Error(), "create token") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := w.client.RevokeToken(ctx, made.ID); err != nil {
		t.Error(err)
	}
	good(store.ScopeValidate, false)
	if err := w.client.RevokeToken(ctx, "0123456789abcdef"); !errors.Is(err, store.ErrNotFound) && (err == nil || !strings.Contains(err.Error(), "0123456789abcdef")) {
		t.Errorf("revoke one that is not there: %v", err)
	}
}
