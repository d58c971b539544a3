package store

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/secret"
)

// TestTokens: a token is good for its scopes, until it expires or is revoked,
// and nothing else is.
func TestTokens(t *testing.T) {
	f := newStore(t)
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	made, token, err := f.CreateToken(t.Context(), Token{Name: "portal", Scopes: []string{ScopeValidate, ScopeStatus}, ExpiresAt: now.Add(time.Hour)}, now)
	ok(t, err)
	_, other, err := f.CreateToken(t.Context(), Token{Name: "other", Scopes: []string{ScopeChange}}, now)
	ok(t, err)
	altered := token.Clone()
	altered.Expose()[len(altered.Expose())-2] ^= 1
	swapped := secret.New(append(append([]byte{}, token.Expose()[:21]...), other.Expose()[21:]...))
	for _, tt := range []struct {
		name, scope string
		token       secret.Bytes
		at          time.Time
		want        bool
	}{
		{"good", ScopeValidate, token, now, true},
		{"its other scope", ScopeStatus, token, now, true},
		{"another scope", ScopeChange, token, now, false},
		{"no scope", "", token, now, false},
		{"just before it expires", ScopeValidate, token, now.Add(time.Hour - 1), true},
		{"as it expires", ScopeValidate, token, now.Add(time.Hour), false},
		{"altered", ScopeValidate, altered, now, false},
		{"the id of one, the secret of another", ScopeValidate, swapped, now, false},
		{"none", ScopeValidate, secret.Bytes{}, now, false},
		{"unknown", ScopeValidate, secret.New(append([]byte("dgt_0123456789abcdef_"), bytes.Repeat([]byte("A"), tokenSecret)...)), now, false},
		{"one that never expires", ScopeChange, other, now.Add(10 * 365 * 24 * time.Hour), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got, err := f.Authorize(t.Context(), tt.token, tt.scope, tt.at); got != tt.want || err != nil {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	list, err := f.Tokens()
	ok(t, err)
	if len(list) != 2 {
		t.Fatalf("got %d tokens", len(list))
	}
	for _, l := range list {
		if l.ID == made.ID && !l.LastUsed.Equal(now) && l.LastUsed.Before(now) {
			t.Errorf("last used %v", l.LastUsed)
		}
	}
	ok(t, f.RevokeToken(t.Context(), made.ID, now))
	if _, good, _ := f.Authorize(t.Context(), token, ScopeValidate, now.Add(time.Second)); good {
		t.Error("a revoked token is good")
	}
	if _, good, _ := f.Authorize(t.Context(), token, ScopeValidate, now.Add(-time.Minute)); good {
		t.Error("a revoked token is good again after the clock was put back")
	}
	if err := f.RevokeToken(t.Context(), "0000000000000000", now); !errors.Is(err, ErrNotFound) {
		t.Errorf("revoke what is not there: %v", err)
	}
	report, err := f.Verify()
	ok(t, err)
	if !report.OK() {
		t.Error(report.Summary())
	}
}

// TestTokenRevoked_Logged: the log says which token ended, once.
func TestTokenRevoked_Logged(t *testing.T) {
	var logged bytes.Buffer
	f := &fixture{keys: newKeys(t), dir: filepath.Join(t.TempDir(), "log")}
	o := f.options()
	o.Log = slog.New(slog.NewTextHandler(&logged, nil))
	st, err := Open(o)
	ok(t, err)
	made, text, err := st.CreateToken(t.Context(), Token{Name: "portal of the north", Scopes: []string{ScopeValidate}}, start)
	ok(t, err)
	ok(t, st.RevokeToken(t.Context(), made.ID, start))
	ok(t, st.RevokeToken(t.Context(), made.ID, start))
	ok(t, st.Close())
	want := `msg="token revoked" id=` + made.ID + ` name="portal of the north"`
	if n := strings.Count(logged.String(), want); n != 1 || strings.Contains(logged.String(), string(text.Expose())) {
		t.Errorf("told %d times, or with the token:\n%s", n, logged.String())
	}
}

// TestTokensForgotten: one that has been of no use for 30 days goes with the
// next that is made.
func TestTokensForgotten(t *testing.T) {
	f := newStore(t)
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	old, _, err := f.CreateToken(t.Context(), Token{Name: "old", Scopes: []string{ScopeStatus}}, now)
	ok(t, err)
	ok(t, f.RevokeToken(t.Context(), old.ID, now))
	for _, days := range []int{29, 31} {
		_, _, err = f.CreateToken(t.Context(), Token{Name: "new", Scopes: []string{ScopeStatus}}, now.AddDate(0, 0, days))
		ok(t, err)
	}
	list, err := f.Tokens()
	ok(t, err)
	if len(list) != 2 || list[0].Name != "new" || list[1].Name != "new" {
		t.Errorf("got %+v", list)
	}
}

// TestTokenRefused: what makes no sense is not made.
func TestTokenRefused(t *testing.T) {
	f := newStore(t)
	now := time.Now()
	for _, bad := range []Token{
		{Scopes: []string{ScopeStatus}}, {Name: "n"}, {Name: "n", Scopes: []string{"all"}},
		{Name: "n", Scopes: []string{ScopeStatus}, ExpiresAt: now},
	} {
		if _, _, err := f.CreateToken(t.Context(), bad, now); err == nil {
			t.Errorf("%+v was made", bad)
		}
	}
}
