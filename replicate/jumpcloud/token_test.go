package jumpcloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

const tokenCall = "POST /oauth2/token"

// account is a client that signs in as the simulator's service account.
func (b *bench) account(t *testing.T, change func(*Config)) *Client {
	t.Helper()
	cfg := b.config
	cfg.APIKey, cfg.ClientID, cfg.ClientSecret, cfg.TokenURL = secret.Bytes{}, b.sim.ClientID(), b.sim.ClientSecret(), b.sim.TokenURL()
	if change != nil {
		change(&cfg)
	}
	return b.make(t, cfg)
}

// TestServiceAccount: one token serves many requests, and one that JumpCloud
// does not take any more is replaced without the caller noticing.
func TestServiceAccount(t *testing.T) {
	b := newBench(t)
	id := b.user(t, jcsim.User{Username: "alice", Email: "alice@corp.example"})
	c := b.account(t, nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if u, err := c.User(t.Context(), id); err != nil || u.Username != "alice" {
				t.Errorf("got %+v, %v", u, err)
			}
		})
	}
	wg.Wait()
	if n := b.sim.Counts()[tokenCall]; n != 1 {
		t.Errorf("%d tokens were asked for, want 1", n)
	}
	b.sim.RevokeTokens()
	if err := c.SetPassword(t.Context(), id, text(canary)); err != nil {
		t.Error(err)
	}
	if counts := b.sim.Counts(); counts[tokenCall] != 2 || counts["POST /api/systemusers/{id}/password"] != 1 {
		t.Errorf("after the token was revoked: got %v, want a second one and one write", counts)
	}
	logged := b.log.String()
	for what, hidden := range map[string]secret.Bytes{"secret": b.sim.ClientSecret(), "token": c.tokens.token} {
		if hidden.IsEmpty() || strings.Contains(logged, string(hidden.Expose())) {
			t.Errorf("the %s is empty, or in the log", what)
		}
	}
}

// TestServiceAccountRefused: without a token nothing is sent, and the error
// says what is wrong.
func TestServiceAccountRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  *jcsim.Fault
		change func(*Config)
		want   string
		says   string
	}{
		{"wrong secret", nil, func(c *Config) { c.ClientSecret = text("wrong-key-canary") }, "notSent unauthorized", "invalid_client"},
		{"forbidden", &jcsim.Fault{Code: 403}, nil, "notSent unauthorized", "403"},
		{"busy", &jcsim.Fault{Code: 429, RetryAfter: "9", Times: 9}, nil, "notSent temporary", "429"},
		{"broken", &jcsim.Fault{Code: 500, Times: 9}, nil, "notSent temporary", "500"},
		{"half an answer", &jcsim.Fault{Kind: jcsim.HalfAnswer, Times: 9}, nil, "notSent temporary", "cut short"},
		{"not a token", &jcsim.Fault{Code: 200, Body: `{"access_token":7,"x":"wrong-key-canary"}`, Times: 9}, nil, "notSent", "not a token's"},
		{"another kind", &jcsim.Fault{Code: 200, Body: `{"access_token":"wrong-key-canary","token_type":"mac"}`, Times: 9}, nil, "notSent", "not a bearer token"},
		{"a token with a newline", &jcsim.Fault{Code: 200, Body: `{"access_token":"wrong-key-canary\nx: y"}`, Times: 9}, nil, "notSent", "can be sent"},
		{"nobody listens", nil, func(c *Config) { c.TokenURL = "https://127.0.0.1:1/token" }, "notSent temporary", "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			if tt.fault != nil {
				tt.fault.Operation = tokenCall
				b.sim.Fail(*tt.fault)
			}
			c := b.account(t, tt.change)
			err := c.SetPassword(t.Context(), "65a000000000000000000001", text(canary))
			if got := kinds(err); got != tt.want || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("got %q %v, want %q and %q", got, err, tt.want, tt.says)
			}
			if n := len(b.sim.Writes()); n != 0 {
				t.Errorf("%d writes were made", n)
			}
			noSecrets(t, fmt.Sprintf("%v %+v", err, err)+b.log.String(), string(b.sim.ClientSecret().Expose()))
		})
	}
}

// TestServiceAccountWithoutRights: a fresh token that is not taken is no
// reason to ask for another.
func TestServiceAccountWithoutRights(t *testing.T) {
	b := newBench(t)
	c := b.account(t, nil)
	b.sim.Fail(jcsim.Fault{PathPrefix: "/api/", Kind: jcsim.Status, Code: http.StatusUnauthorized, Times: 10})
	if _, err := c.Organizations(t.Context()); !Unauthorized(err) || !Refused(err) {
		t.Errorf("got %v, want a refusal", err)
	}
	if n := b.sim.Counts()[tokenCall]; n != 1 {
		t.Errorf("%d tokens were asked for, want 1", n)
	}
}

// exchange is a token endpoint in memory.
type exchange func(*http.Request) (*http.Response, error)

func (e exchange) RoundTrip(r *http.Request) (*http.Response, error) { return e(r) }

func answerOf(code int, text string) *http.Response {
	return &http.Response{StatusCode: code, Body: &bodyReader{body: &body{bytes: []byte(text)}}, Header: make(http.Header)}
}

func tokensOf(e exchange) *tokens {
	return &tokens{id: "id", secret: text("s"), url: "https://token.example/", http: &http.Client{Transport: e}, timeout: time.Minute, now: time.Now}
}

// TestTokenRenewal: a token is renewed before its end, and not long before.
func TestTokenRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		tk := tokensOf(func(*http.Request) (*http.Response, error) {
			asked++
			return answerOf(200, fmt.Sprintf(`{"access_token":"t%d","token_type":"bearer","expires_in":3600}`, asked)), nil
		})
		for _, step := range []struct {
			wait time.Duration
			want string
		}{{0, "t1"}, {58 * time.Minute, "t1"}, {time.Minute, "t2"}, {30 * time.Minute, "t2"}, {time.Hour, "t3"}} {
			time.Sleep(step.wait)
			got, _, err := tk.get(t.Context())
			if err != nil || string(got.Expose()) != step.want {
				t.Errorf("after %v: got %q, %v, want %q", step.wait, got.Expose(), err, step.want)
			}
		}
	})
}

// TestTokenSingleFlight: who waits for a token shares the outcome, and is not
// hurt by the one that asked giving up.
func TestTokenSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		answers := make(chan *http.Response)
		tk := tokensOf(func(r *http.Request) (*http.Response, error) {
			asked++
			select {
			case a := <-answers:
				return a, nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		get := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				_, _, err := tk.get(ctx)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		impatient, cancel := context.WithCancel(t.Context())
		first, second, third := get(impatient), get(t.Context()), get(t.Context())
		if asked != 1 {
			t.Fatalf("asked %d times, want once", asked)
		}
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) || !NotSent(err) {
			t.Errorf("cancelled: got %v", err)
		}
		synctest.Wait()
		if asked != 2 {
			t.Fatalf("asked %d times, want one of the others to ask again", asked)
		}
		answers <- answerOf(503, "")
		for _, done := range []chan error{second, third} {
			if err := <-done; !Temporary(err) {
				t.Errorf("got %v, want the shared refusal", err)
			}
		}
		waiting, cancelWaiting := context.WithCancel(t.Context())
		leader, follower := get(t.Context()), get(waiting)
		cancelWaiting()
		if err := <-follower; !NotSent(err) {
			t.Errorf("a cancelled follower: got %v", err)
		}
		answers <- answerOf(200, `{"access_token":"t"}`)
		if err := <-leader; err != nil || asked != 3 {
			t.Errorf("got %v after %d requests", err, asked)
		}
	})
}

func TestServiceAccountConfig(t *testing.T) {
	url := "https://console.jumpcloud.com"
	for _, tt := range []struct {
		name string
		cfg  Config
		says string
	}{
		{"service account", Config{ClientID: "id", ClientSecret: text("s")}, ""},
		{"both", Config{APIKey: text("k"), ClientID: "id", ClientSecret: text("s")}, "want one of them"},
		{"no secret", Config{ClientID: "id"}, "client secret is missing"},
		{"no id", Config{ClientSecret: text("s")}, "client id is missing"},
		{"secret with newline", Config{ClientID: "id", ClientSecret: text("wrong-key-canary\n")}, "check the secret file"},
		{"clear text", Config{ClientID: "id", ClientSecret: text("s"), TokenURL: "http://token.example/"}, "token url"},
		{"neither", Config{}, "API key is missing"},
	} {
		tt.cfg.URL = url
		c, err := New(tt.cfg)
		if (err == nil) != (tt.says == "") || !strings.Contains(fmt.Sprint(err), tt.says) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.says)
		}
		if err == nil && c.tokens.url != DefaultTokenURL {
			t.Errorf("%s: got token url %q", tt.name, c.tokens.url)
		}
		noSecrets(t, fmt.Sprint(err), "wrong-key-canary")
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add([]byte(`{"access_token":"abc","token_type":"bearer","expires_in":3600}`))
	f.Add([]byte(`{"access_token":"a\u0062c","expires_in":1e300}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		token, life, err := parseToken(raw)
		if err != nil {
			return
		}
		if token.IsEmpty() || !printable(token.Expose()) || life <= 0 || life > longestLife {
			t.Fatalf("got %q for %v", token.Expose(), life)
		}
	})
}
