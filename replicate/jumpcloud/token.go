package jumpcloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/dirgate/dirgate/store/secret"
)

// DefaultTokenURL is where service accounts of JumpCloud's US region get their
// tokens. Those of other regions are not documented.
const DefaultTokenURL = "https://admin-oauth.id.jumpcloud.com/oauth2/token"

const (
	// renewBefore is how long before its end a token is not used any more, or
	// half its life if that is less.
	renewBefore = time.Minute
	// defaultLife is that of a token whose answer does not say it.
	defaultLife = 5 * time.Minute
	longestLife = 24 * time.Hour
	maxToken    = 64 << 10 // bytes of a token's answer
)

func checkServiceAccount(cfg *Config) error {
	switch {
	case cfg.ClientID == "":
		return errors.New("the service account's client id is missing")
	case cfg.ClientSecret.IsEmpty():
		return errors.New("the service account's client secret is missing")
	case !printable([]byte(cfg.ClientID)), !printable(cfg.ClientSecret.Expose()):
		return errors.New("the service account's id or secret has a space or a character that none has; check the secret file")
	}
	if cfg.TokenURL == "" {
		cfg.TokenURL = DefaultTokenURL
	}
	u, err := url.Parse(cfg.TokenURL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("token url: want https://HOST/PATH")
	}
	return nil
}

// tokens gets a service account's bearer tokens (RFC 6749 4.4) and keeps the
// newest.
type tokens struct {
	id      string
	secret  secret.Bytes
	url     string
	http    *http.Client
	timeout time.Duration
	now     func() time.Time

	mu     sync.Mutex
	token  secret.Bytes // guarded by mu
	until  time.Time    // when it is not used any more; guarded by mu
	flight *flight      // a request under way; nil: none; guarded by mu
}

// flight is a request for a token that several callers wait for.
type flight struct {
	done chan struct{}
	err  error // set before done is closed
	// gone: the caller that sent it gave up, which is no answer for the others.
	gone bool
}

// get gives a token that is good for a while; kept: it was there before. At
// most one request for one is under way, and who waits for it shares its
// outcome.
func (t *tokens) get(ctx context.Context) (token secret.Bytes, kept bool, err error) {
	for kept = true; ; kept = false {
		t.mu.Lock()
		if !t.token.IsEmpty() && t.now().Before(t.until) {
			defer t.mu.Unlock()
			return t.token.Clone(), kept, nil
		}
		f := t.flight
		if f == nil {
			f = &flight{done: make(chan struct{})}
			t.flight = f
			t.mu.Unlock()
			t.fly(ctx, f)
		} else {
			t.mu.Unlock()
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return secret.Bytes{}, false, t.fail(0, context.Cause(ctx))
		}
		if f.err != nil && (!f.gone || ctx.Err() != nil) {
			return secret.Bytes{}, false, f.err
		}
	}
}

// fly asks for a token and tells all who wait.
func (t *tokens) fly(ctx context.Context, f *flight) {
	token, life, err := t.fetch(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.token.Wipe()
		t.token, t.until = token, t.now().Add(life-min(renewBefore, life/2))
	}
	t.flight, f.err, f.gone = nil, err, ctx.Err() != nil
	close(f.done)
}

// drop forgets a token that JumpCloud did not take.
func (t *tokens) drop(token secret.Bytes) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token.Equal(token) {
		t.token.Wipe()
		t.token = secret.Bytes{}
	}
}

// fail is an error of a request that was not sent for want of a token.
func (t *tokens) fail(code int, cause error) *apiError {
	return &apiError{op: "POST " + t.url, stage: notSent, code: code, again: true, cause: cause}
}

// fetch asks for a token, once.
func (t *tokens) fetch(ctx context.Context) (secret.Bytes, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"api"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, strings.NewReader(form.Encode()))
	if err != nil {
		return secret.Bytes{}, 0, t.fail(0, errors.New("the token url cannot be used"))
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(t.id), url.QueryEscape(string(t.secret.Expose()))) // RFC 6749 2.3.1
	resp, err := t.http.Do(req)
	if err != nil {
		return secret.Bytes{}, 0, t.fail(0, plainCause(err))
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxToken+1))
	defer clear(raw)
	if resp.StatusCode != http.StatusOK {
		fail := t.fail(resp.StatusCode, nil)
		fail.refusal(resp, raw, redactor(t.secret))
		fail.stage = notSent
		return secret.Bytes{}, 0, fail
	}
	if err != nil || len(raw) > maxToken {
		return secret.Bytes{}, 0, t.fail(0, errors.New("the answer was cut short or is too long"))
	}
	token, life, err := parseToken(raw)
	if err != nil {
		fail := t.fail(0, err)
		fail.again = false
		return secret.Bytes{}, 0, fail
	}
	return token, life, nil
}

// parseToken reads a token's answer (RFC 6749 5.1). Its errors hold nothing of
// it.
func parseToken(raw []byte) (secret.Bytes, time.Duration, error) {
	var doc struct {
		Token   jsonSecret `json:"access_token"`
		Type    string     `json:"token_type"`
		Expires float64    `json:"expires_in"` // seconds
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return secret.Bytes{}, 0, fmt.Errorf("the answer is not a token's: %w", plainJSON(err))
	}
	switch token := doc.Token.secret; {
	case token.IsEmpty() || !printable(token.Expose()):
		return secret.Bytes{}, 0, errors.New("the answer has no access_token that can be sent")
	case doc.Type != "" && !strings.EqualFold(doc.Type, "bearer"):
		return secret.Bytes{}, 0, errors.New("the answer's token is not a bearer token")
	}
	life := defaultLife
	if doc.Expires > 0 {
		life = time.Duration(min(max(doc.Expires, 1), longestLife.Seconds()) * float64(time.Second))
	}
	return doc.Token.secret, life, nil
}
