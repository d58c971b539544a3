package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/secret"
)

// Token is a bearer token of the delegate API, as far as it is kept: its
// SHA-256, never itself. A token is 256 random bits, which cannot be guessed
// from their hash however fast that is to compute; the slow hashes are for
// passwords, which people choose.
type Token struct {
	ID        string    `json:"id"` // 16 hex digits, part of the token
	Name      string    `json:"name"`
	Scopes    []string  `json:"scopes"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"` // zero: never
	RevokedAt time.Time `json:"revokedAt,omitzero"`
	// LastUsed is right to a minute.
	LastUsed time.Time `json:"lastUsed,omitzero"`
}

// storedToken is a Token with what proves it.
type storedToken struct {
	Token
	Sum []byte `json:"sum"`
}

const (
	tokenPrefix = "dgt_"
	tokenID     = 16 // hex digits
	tokenSecret = 43 // base64url characters of 32 bytes
	// usedEvery is how often the use of a token is written down.
	usedEvery = time.Minute
	maxTokens = 1000
)

// Scopes of a token.
const (
	ScopeValidate = "validate"
	ScopeChange   = "change"
	ScopeStatus   = "status"
)

// CreateToken makes a token with the name, scopes and expiry of t. It is
// returned this once; the caller wipes it.
func (s *Store) CreateToken(ctx context.Context, t Token, now time.Time) (Token, secret.Bytes, error) {
	if err := checkToken(t, now); err != nil {
		return Token{}, secret.Bytes{}, fmt.Errorf("create token: %w", err)
	}
	var random [tokenID/2 + sha256.Size]byte
	_, _ = rand.Read(random[:]) // cannot fail since Go 1.24
	defer clear(random[:])
	t.ID, t.CreatedAt, t.RevokedAt, t.LastUsed = hex.EncodeToString(random[:tokenID/2]), now, time.Time{}, time.Time{}
	text := append([]byte(tokenPrefix+t.ID+"_"), make([]byte, tokenSecret)...)
	base64.RawURLEncoding.Encode(text[len(text)-tokenSecret:], random[tokenID/2:])
	sum := sha256.Sum256(text)
	err := s.submit(ctx, func(b *batch) error {
		all, err := tokens(b.txn)
		if err == nil && len(all) >= maxTokens {
			err = fmt.Errorf("there are %d already; revoke some with `dirgate token revoke`: a revoked one goes after 30 days", len(all))
		}
		if err != nil {
			return err
		}
		b.setValue([]byte(prefixToken+t.ID), storedToken{t, sum[:]})
		for _, old := range all { // make room
			if old.over(now.Add(-revokedKept)) {
				b.delete([]byte(prefixToken + old.ID))
			}
		}
		return nil
	})
	if err != nil {
		clear(text)
		return Token{}, secret.Bytes{}, fmt.Errorf("create token: %w", err)
	}
	return t, secret.Take(text), nil
}

// revokedKept is how long a token that is revoked or expired is still listed.
const revokedKept = 30 * 24 * time.Hour

// over reports whether the token has been of no use since before a moment.
func (t Token) over(at time.Time) bool {
	return !t.RevokedAt.IsZero() && t.RevokedAt.Before(at) || !t.ExpiresAt.IsZero() && t.ExpiresAt.Before(at)
}

func checkToken(t Token, now time.Time) error {
	if err := checkName("name", t.Name); err != nil {
		return err
	}
	if len(t.Scopes) == 0 {
		return fmt.Errorf("no scope: want one or more of %s, %s, %s", ScopeValidate, ScopeChange, ScopeStatus)
	}
	for _, scope := range t.Scopes {
		if scope != ScopeValidate && scope != ScopeChange && scope != ScopeStatus {
			return fmt.Errorf("scope %q: want %s, %s or %s", scope, ScopeValidate, ScopeChange, ScopeStatus)
		}
	}
	if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now) {
		return errors.New("it would be expired already")
	}
	return nil
}

// Tokens lists all tokens, by id, with those revoked or expired in the last 30
// days.
func (s *Store) Tokens() (list []Token, err error) {
	err = s.view(func(txn *badger.Txn) error {
		all, err := tokens(txn)
		for _, t := range all {
			list = append(list, t.Token)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return list, nil
}

func tokens(txn *badger.Txn) (all []storedToken, err error) {
	err = scan(txn, []byte(prefixToken), nil, false, func(item *badger.Item) (bool, error) {
		var t storedToken
		err := item.Value(func(value []byte) error { return decode(value, &t) })
		all = append(all, t)
		return true, err
	})
	return all, err
}

// RevokeToken ends a token at once and for good. The error wraps ErrNotFound
// when there is none of that id.
func (s *Store) RevokeToken(ctx context.Context, id string, now time.Time) error {
	name, revoked := "", false
	err := s.changeToken(ctx, id, func(t *storedToken) bool {
		name, revoked = t.Name, t.RevokedAt.IsZero()
		if revoked {
			t.RevokedAt = now
		}
		return revoked
	})
	if err != nil {
		return fmt.Errorf("revoke token %q: %w", id, err)
	}
	if revoked {
		s.log.Info("token revoked", "id", id, "name", name)
	}
	return nil
}

// changeToken stores a token again when change says so.
func (s *Store) changeToken(ctx context.Context, id string, change func(*storedToken) bool) error {
	return s.submit(ctx, func(b *batch) error {
		var t storedToken
		if err := get(b.txn, []byte(prefixToken+id), &t); err != nil {
			return err
		}
		if change(&t) {
			b.setValue([]byte(prefixToken+id), t)
		}
		return nil
	})
}

// Authorize reports whether a token is good for a scope now, and its name. What
// is presented is compared in constant time, also when there is no such token.
// An error means that the store could not be read.
func (s *Store) Authorize(ctx context.Context, presented secret.Bytes, scope string, now time.Time) (name string, ok bool, err error) {
	text := presented.Expose()
	if len(text) != len(tokenPrefix)+tokenID+1+tokenSecret || string(text[:len(tokenPrefix)]) != tokenPrefix {
		return "", false, nil
	}
	id := string(text[len(tokenPrefix) : len(tokenPrefix)+tokenID])
	t := storedToken{Sum: make([]byte, sha256.Size)}
	err = s.view(func(txn *badger.Txn) error {
		if err := get(txn, []byte(prefixToken+id), &t); !errors.Is(err, ErrNotFound) {
			return err
		}
		return nil
	})
	if err != nil {
		return "", false, fmt.Errorf("check token: %w", err)
	}
	sum := sha256.Sum256(text)
	right := subtle.ConstantTimeCompare(sum[:], t.Sum) == 1
	// A clock that was put back revives none that was revoked.
	if !right || !t.RevokedAt.IsZero() || t.over(now.Add(time.Nanosecond)) || !slices.Contains(t.Scopes, scope) {
		return "", false, nil
	}
	if now.Sub(t.LastUsed) >= usedEvery {
		err := s.changeToken(ctx, id, func(t *storedToken) bool { t.LastUsed = now; return true })
		if err != nil && !errors.Is(err, ErrNotFound) {
			s.log.Warn("use of a token not written down", "id", id, "err", err)
		}
	}
	return t.Name, true, nil
}
