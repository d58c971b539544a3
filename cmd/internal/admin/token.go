package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/dirgate/dirgate/store"
)

const (
	pathTokens      = "/v1/tokens"
	pathTokenCreate = "/v1/tokens/create"
	pathTokenRevoke = "/v1/tokens/revoke"
)

// TokenBackend is the part of a Backend that is about bearer tokens of the
// delegate API.
type TokenBackend interface {
	Tokens(ctx context.Context) ([]store.Token, error)
	// CreateToken makes a token; Text of the answer is shown this once.
	CreateToken(ctx context.Context, req TokenRequest) (TokenAnswer, error)
	RevokeToken(ctx context.Context, id string) error
}

// TokenRequest asks for a token.
type TokenRequest struct {
	Name   string        `json:"name"`
	Scopes []string      `json:"scopes"`
	Life   time.Duration `json:"life,omitempty"` // zero: it never expires
}

// TokenAnswer is a token as it is shown once. It is a secret that crosses the
// admin socket to whom it is for.
type TokenAnswer struct {
	store.Token
	Text string `json:"token"`
}

// Tokens lists the tokens.
func (l *Local) Tokens(context.Context) ([]store.Token, error) { return l.Store.Tokens() }

// CreateToken makes a token.
func (l *Local) CreateToken(ctx context.Context, req TokenRequest) (TokenAnswer, error) {
	now := l.Now()
	wanted := store.Token{Name: req.Name, Scopes: req.Scopes}
	if req.Life != 0 {
		wanted.ExpiresAt = now.Add(req.Life)
	}
	made, text, err := l.Store.CreateToken(ctx, wanted, now)
	if err != nil {
		return TokenAnswer{}, err
	}
	defer text.Wipe()
	return TokenAnswer{Token: made, Text: string(text.Expose())}, nil
}

// RevokeToken ends a token.
func (l *Local) RevokeToken(ctx context.Context, id string) error {
	return l.Store.RevokeToken(ctx, id, l.Now())
}

// Tokens lists the tokens.
func (c *Client) Tokens(ctx context.Context) ([]store.Token, error) {
	return call[[]store.Token](ctx, c, pathTokens, nothing{})
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, req TokenRequest) (TokenAnswer, error) {
	return call[TokenAnswer](ctx, c, pathTokenCreate, req)
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := call[nothing](ctx, c, pathTokenRevoke, named{Name: id})
	return err
}

func serveTokens(mux *http.ServeMux, b TokenBackend) {
	serve(mux, pathTokens, func(ctx context.Context, _ nothing) ([]store.Token, error) { return b.Tokens(ctx) })
	serve(mux, pathTokenCreate, func(ctx context.Context, q TokenRequest) (TokenAnswer, error) { return b.CreateToken(ctx, q) })
	serve(mux, pathTokenRevoke, func(ctx context.Context, q named) (nothing, error) { return nothing{}, b.RevokeToken(ctx, q.Name) })
}
