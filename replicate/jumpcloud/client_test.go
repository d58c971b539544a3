package jumpcloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

const canary = `Canary "q" \ é` + "\t1!"

// kinds is how the predicates judge an error.
func kinds(err error) string {
	var list []string
	for name, is := range map[string]func(error) bool{"notSent": NotSent, "refused": Refused, "unknown": Unknown,
		"temporary": Temporary, "notFound": NotFound, "unauthorized": Unauthorized} {
		if is(err) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestSetPasswordFaults holds what the engine builds on: how far a write came,
// that it was sent once, and that no error or log line has the password.
func TestSetPasswordFaults(t *testing.T) {
	tests := []struct {
		name    string
		fault   *jcsim.Fault
		policy  jcsim.PasswordPolicy
		config  func(*Config)
		id      string
		want    string
		says    string
		applied bool
	}{
		{name: "429", fault: &jcsim.Fault{Kind: jcsim.Status, Code: 429, RetryAfter: "7"}, want: "refused temporary", says: "429"},
		{name: "503", fault: &jcsim.Fault{Kind: jcsim.Status, Code: 503}, want: "refused temporary", says: "503"},
		{name: "500", fault: &jcsim.Fault{Kind: jcsim.Status, Code: 500}, want: "temporary unknown", says: "500"},
		{name: "403", fault: &jcsim.Fault{Kind: jcsim.Status, Code: 403}, want: "refused unauthorized", says: "403"},
		{name: "redirect", fault: &jcsim.Fault{Kind: jcsim.Status, Code: 307}, want: "refused", says: "check the configured URL"},
		{name: "no answer, not applied", fault: &jcsim.Fault{Kind: jcsim.TimeoutBeforeApply}, want: "unknown", says: "sent, but"},
		{name: "no answer, applied", fault: &jcsim.Fault{Kind: jcsim.TimeoutAfterApply}, want: "unknown", says: "sent, but", applied: true},
		{name: "half an answer", fault: &jcsim.Fault{Kind: jcsim.HalfAnswer}, want: "unknown", says: "sent, but", applied: true},
		{name: "echo of the password", fault: &jcsim.Fault{Kind: jcsim.Status, Code: 400, Body: `{"message":"bad value ` +
			strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\t", `\t`, "é", `\u00e9`).Replace(canary) + `"}`}, want: "refused", says: secret.Redacted},
		{name: "policy", policy: jcsim.PasswordPolicy{EnableMinLength: true, MinLength: 64}, want: "refused", says: "Password validation fail: minLength"},
		{name: "no such user", id: "65a000000000000000000009", want: "notFound refused", says: "404"},
		{name: "wrong key", config: func(c *Config) { c.APIKey = text("wrong-key-canary") }, want: "refused unauthorized", says: "401"},
		{name: "nobody listens", config: func(c *Config) { c.URL = "https://127.0.0.1:1" }, want: "notSent temporary", says: "connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.sim.SetPolicy(tt.policy)
			id := b.user(t, jcsim.User{Username: "alice", Email: "alice@corp.example"})
			var sent atomic.Int32
			cfg := b.config
			cfg.Timeout = 2 * time.Second
			cfg.Observe = func(string, int, time.Duration) { sent.Add(1) }
			if tt.config != nil {
				tt.config(&cfg)
			}
			if tt.fault != nil {
				tt.fault.PathPrefix = "/api/systemusers/" + id + "/password"
				b.sim.Fail(*tt.fault)
			}
			if tt.id == "" {
				tt.id = id
			}
			err := b.make(t, cfg).SetPassword(t.Context(), tt.id, text(canary))
			if err == nil {
				t.Fatal("got no error")
			}
			if got := kinds(err); got != tt.want {
				t.Errorf("got %q, want %q: %v", got, tt.want, err)
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "POST /api/systemusers/"+tt.id+"/password") {
				t.Errorf("error %q: want %q and the path in it", err, tt.says)
			}
			if d, ok := RetryAfter(err); tt.name == "429" && (!ok || d != 7*time.Second) {
				t.Errorf("retry after: got %v, %t, want 7s", d, ok)
			}
			if sent.Load() != 1 {
				t.Errorf("sent %d times, want 1", sent.Load())
			}
			if u, _ := b.sim.User(id); u.Activated != tt.applied {
				t.Errorf("applied: got %t, want %t", u.Activated, tt.applied)
			}
			noSecrets(t, err.Error()+fmt.Sprintf("%+v %#v", err, err)+b.log.String(), string(cfg.APIKey.Expose()))
		})
	}
}

func noSecrets(t *testing.T, where, key string) {
	t.Helper()
	for _, hidden := range []string{canary, "Canary", "wrong-key-canary", key} {
		if strings.Contains(where, hidden) {
			t.Errorf("secret %q appears in %q", hidden, where)
		}
	}
}

func TestReadsAreRepeated(t *testing.T) {
	b := newBench(t)
	id := b.user(t, jcsim.User{Username: "alice", Email: "alice@corp.example"})
	for _, f := range []jcsim.Fault{
		{Kind: jcsim.Status, Code: 429, RetryAfter: "0"}, {Kind: jcsim.Status, Code: 500}, {Kind: jcsim.HalfAnswer},
	} {
		b.sim.Fail(f)
	}
	u, err := b.client.User(t.Context(), id)
	if err != nil || u.Username != "alice" {
		t.Errorf("got %+v, %v, want the user after three faults", u, err)
	}
	b.sim.Fail(jcsim.Fault{Kind: jcsim.Status, Code: 502, Times: 10})
	if _, err = b.client.User(t.Context(), id); !Temporary(err) {
		t.Errorf("got %v, want a temporary error", err)
	}
	b.sim.Heal()
	b.client = b.make(t, b.config) // one that has not seen four failures
	// A wait longer than all retries may take is not begun.
	b.sim.Fail(jcsim.Fault{Kind: jcsim.Status, Code: 429, RetryAfter: "3600"})
	_, err = b.client.User(t.Context(), id)
	if d, ok := RetryAfter(err); !ok || d != time.Hour {
		t.Errorf("got %v, want an error that says to wait an hour", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.client.User(ctx, id); !NotSent(err) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want not sent", err)
	}
}

func TestFindUsers(t *testing.T) {
	b := newBench(t)
	ids := make(map[string]string)
	for _, u := range []jcsim.User{
		{Username: "alice", Email: "alice@corp.example"}, {Username: "Bob", Email: "Bob@corp.example"},
		{Username: "alice2", Email: "xalice@corp.example"}, {Username: "carol", Email: "c|d@corp.example"},
	} {
		ids[u.Username] = b.user(t, u)
	}
	for _, tt := range []struct {
		username, email string
		want            []string
	}{
		{"alice", "alice@corp.example", []string{"alice"}},
		{"ALICE", "", []string{"alice"}},
		{"bOB", "", []string{"Bob"}}, // neither as given nor in lower case
		{"", "BOB@CORP.EXAMPLE", []string{"Bob"}},
		{"alice", "bob@corp.example", []string{"alice", "Bob"}},
		{"nobody", "c|d@corp.example", []string{"carol"}},
		{"ali", "corp.example", nil},
	} {
		found, err := b.client.FindUsers(t.Context(), tt.username, tt.email)
		if err != nil {
			t.Errorf("%q %q: %v", tt.username, tt.email, err)
		}
		var got []string
		for _, u := range found {
			got = append(got, u.Username)
			if u.ID != ids[u.Username] {
				t.Errorf("id of %s: got %s, want %s", u.Username, u.ID, ids[u.Username])
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q %q: got %v, want %v", tt.username, tt.email, got, tt.want)
		}
	}
	if _, err := b.client.FindUsers(t.Context(), "", ""); !NotSent(err) {
		t.Errorf("no names: got %v, want an error", err)
	}
}

// TestListUsersWhileRowsGo deletes users between two pages: those that stay
// must all be listed, once.
func TestListUsersWhileRowsGo(t *testing.T) {
	b := newBench(t)
	var ids []string
	for i := range 350 {
		ids = append(ids, b.user(t, jcsim.User{Username: fmt.Sprintf("u%d", i), Email: fmt.Sprintf("u%d@corp.example", i)}))
	}
	var got []string
	for u, err := range b.client.ListUsers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, u.ID)
		if len(got) == 50 { // 120 rows already given or about to be
			for _, id := range ids[:120] {
				remove(t, b, id)
			}
		}
	}
	want := slices.Concat(ids[:100], ids[120:]) // the first page was read before
	if !slices.Equal(got, want) {
		t.Errorf("got %d users, want %d, each once", len(got), len(want))
	}
}

func remove(t *testing.T, b *bench, id string) {
	t.Helper()
	if err := b.client.write(t.Context(), http.MethodDelete, "/api/systemusers/"+id, nil, nil); err != nil {
		t.Fatal(err)
	}
}

// TestStrangeServers are answers that the simulator does not give.
func TestStrangeServers(t *testing.T) {
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("request followed a redirect, key %q", r.Header.Get("x-api-key"))
	}))
	defer elsewhere.Close()
	big := strings.Repeat("x", 1<<20)
	for name, tt := range map[string]struct {
		serve http.HandlerFunc
		want  string
		says  string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/api/systemusers/x", http.StatusFound)
		}, "refused", "redirects are not followed"},
		"huge": {func(w http.ResponseWriter, _ *http.Request) {
			for range 9 {
				_, _ = w.Write([]byte(big))
			}
		}, "unknown", "longer than"},
		"not JSON":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "unknown", "not the JSON"},
		"wrong type": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"username":{"secret":1}}`)) }, "unknown", "another type"},
		"a page": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte("<html>blocked</html>"))
		}, "refused unauthorized", "403 Forbidden"},
		"text": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte("plain\n" + big))
		}, "refused", "409 Conflict: plain xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewTLSServer(tt.serve)
			defer srv.Close()
			c, err := New(Config{URL: srv.URL, APIKey: text("key"), HTTP: srv.Client()})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.User(t.Context(), "65a000000000000000000009")
			if got := kinds(err); got != tt.want || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("got %q %v, want %q and %q", got, err, tt.want, tt.says)
			}
			if len(fmt.Sprint(err)) > 600 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

// TestOnce: reads are made once and not for long; the client it came from
// keeps its patience.
func TestOnce(t *testing.T) {
	b := newBench(t)
	id := b.user(t, jcsim.User{Username: "anna", Email: "anna@example.test"})
	b.sim.Fail(jcsim.Fault{Method: "GET", Kind: jcsim.Status, Code: 503})
	if _, err := b.client.Once(time.Minute).User(t.Context(), id); !Temporary(err) {
		t.Errorf("got %v, want the first answer, 503", err)
	}
	b.sim.Fail(jcsim.Fault{Method: "GET", Kind: jcsim.TimeoutBeforeApply})
	if _, err := b.client.Once(10*time.Millisecond).User(t.Context(), id); !Unknown(err) {
		t.Errorf("got %v, want no answer in time", err)
	}
	b.sim.Fail(jcsim.Fault{Method: "GET", Kind: jcsim.Status, Code: 503})
	if _, err := b.client.User(t.Context(), id); err != nil {
		t.Errorf("the client that Once came from: %v, want another try", err)
	}
}
