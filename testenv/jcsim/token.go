package jcsim

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"

	"github.com/dirgate/dirgate/store/secret"
)

const tokenPath = "/oauth2/token"

// TokenURL is where the service account gets its tokens.
func (s *Server) TokenURL() string { return s.URL() + tokenPath }

// ClientID is the service account's.
func (s *Server) ClientID() string { return s.clientID }

// ClientSecret is the service account's.
func (s *Server) ClientSecret() secret.Bytes { return s.clientSecret }

// RevokeTokens makes all tokens worthless before their time.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// postToken is the client credentials grant (RFC 6749 4.4).
func (s *Server) postToken(r request) answer {
	id, given, ok := r.BasicAuth()
	id, idErr := url.QueryUnescape(id)
	given, err := url.QueryUnescape(given)
	if !ok || idErr != nil || err != nil || id != s.clientID || subtle.ConstantTimeCompare([]byte(given), s.clientSecret.Expose()) != 1 {
		return success(http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
	}
	form, err := url.ParseQuery(string(r.body))
	switch {
	case err != nil || form.Get("grant_type") != "client_credentials":
		return success(http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
	case form.Get("scope") != "api":
		return success(http.StatusBadRequest, map[string]string{"error": "invalid_scope"})
	}
	now := s.now()
	for token, end := range s.tokens {
		if !now.Before(end) {
			delete(s.tokens, token)
		}
	}
	token := randomHex(20)
	s.tokens[token] = now.Add(s.tokenLife)
	return success(http.StatusOK, map[string]any{"access_token": token, "token_type": "bearer", "expires_in": int(s.tokenLife.Seconds()), "scope": "api"})
}

// tokenKnown reports whether a header holds a token that is good.
func (s *Server) tokenKnown(header string) bool {
	token, ok := strings.CutPrefix(header, "Bearer ")
	end, known := s.tokens[token]
	return ok && known && s.now().Before(end)
}
