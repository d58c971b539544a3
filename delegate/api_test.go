package delegate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/delegate/jsonbody"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
)

// apiRig is a Handler whose every answer is held against openapi.json.
type apiRig struct {
	*world
	handler http.Handler
	check   validator.Validator
	broken  bool // the tokens' store is
}

// Authorize takes tokens that are the name of their scope.
func (r *apiRig) Authorize(_ context.Context, token secret.Bytes, scope string) (string, bool, error) {
	if r.broken {
		return "", false, errors.New("store: closed")
	}
	return "test", string(token.Expose()) == scope, nil
}

func newAPIRig(t *testing.T, changes ...func(*world)) *apiRig {
	t.Helper()
	doc, err := libopenapi.NewDocument(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	r := &apiRig{world: newWorld(t, changes...)}
	var errs []error
	if r.check, errs = validator.NewValidator(doc, config.WithFormatAssertions()); len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, problems := r.check.ValidateDocument(); !ok {
		t.Fatalf("openapi.json: %+v", problems)
	}
	r.handler = Handler(APIConfig{Validator: r.Validator, Tokens: r, Log: r.cfg.Log})
	return r
}

type answer struct {
	code   int
	body   string
	header http.Header
}

func (r *apiRig) do(method, path, token, body string, set ...func(*http.Request)) answer {
	r.t.Helper()
	req := httptest.NewRequest(method, "https://dirgate.example.test"+path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, f := range set {
		f(req)
	}
	rec := httptest.NewRecorder()
	r.handler.ServeHTTP(rec, req)
	res := rec.Result()
	got, _ := io.ReadAll(res.Body)
	res.Body = io.NopCloser(bytes.NewReader(got))
	if _, known := map[string]bool{"/v1/other": true}[path]; !known {
		if ok, problems := r.check.ValidateHttpResponse(req, res); !ok {
			for _, p := range problems {
				r.t.Errorf("%s %s -> %d %s: %s %v", method, path, rec.Code, got, p.Message, p.SchemaValidationErrors)
			}
		}
	}
	for _, h := range []string{"Cache-Control", "Content-Security-Policy", "X-Content-Type-Options", "Strict-Transport-Security"} {
		if res.Header.Get(h) == "" {
			r.t.Errorf("%s %s: no %s", method, path, h)
		}
	}
	return answer{rec.Code, string(got), res.Header}
}

func credentials(name, password string) string {
	b, _ := json.Marshal(map[string]string{"username": name, "password": password})
	return string(b)
}

// TestAPI_Caller: the log says whose token or certificate each request had.
func TestAPI_Caller(t *testing.T) {
	r := newAPIRig(t, func(w *world) { w.cfg.Set = w })
	r.inCloud("zoe")
	r.do("POST", "/v1/validate", "validate", credentials("alice", right))
	r.do("POST", "/v1/validate", "validate", credentials("alice", "Wrong.Pass1"))
	r.do("POST", "/v1/change-password", "change", `{"username":"alice","oldPassword":"`+right+`","newPassword":"`+fresh+`"}`)
	r.do("POST", "/v1/change-password", "change", `{"username":"zoe","oldPassword":"`+theirs+`","newPassword":"`+fresh+`"}`)
	r.do("GET", "/v1/users/alice/password", "status", "")
	log := r.log.buf.String()
	for _, what := range []string{"sign-in accepted", "sign-in not accepted", "password change", "password change at JumpCloud", "password status asked for"} {
		if !logged(log, `msg="`+what+`"`, `caller="token test"`) {
			t.Errorf("%s: the log does not say by whose token\n%s", what, log)
		}
	}
	if strings.Contains(log, right) || strings.Contains(log, fresh) {
		t.Error("a password is in the log")
	}

	r.handler = Handler(APIConfig{Validator: r.Validator, Tokens: r, Log: r.cfg.Log, ClientCertificates: true})
	r.do("POST", "/v1/validate", "", credentials("bob", right), func(req *http.Request) {
		req.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: "portal"}}}}}
	})
	if !logged(r.log.buf.String(), `msg="sign-in accepted"`, `caller="certificate CN=portal"`) {
		t.Error("the log does not say by whose certificate")
	}
}

// logged: a line has all of these.
func logged(log string, parts ...string) bool {
	for line := range strings.Lines(log) {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		if all {
			return true
		}
	}
	return false
}

// TestAPI_Defect: a request that fails by a defect is answered and told in the
// log, without what was worked on; the next one is served.
func TestAPI_Defect(t *testing.T) {
	r := newAPIRig(t)
	const canary = "Canary.Pass1"
	var empty map[string]int
	for _, defect := range []func(){func() { panic(canary) }, func() { empty[canary]++ }} {
		r.handler = Handler(APIConfig{Validator: r.Validator, Tokens: r, Log: r.cfg.Log,
			Portal: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { defect() })})
		rec := httptest.NewRecorder()
		r.handler.ServeHTTP(rec, httptest.NewRequest("GET", "https://dirgate.example.test/", nil))
		if rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "anary") {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
		if got := r.do("POST", "/v1/validate", "validate", credentials("alice", right)); got.code != 200 {
			t.Errorf("the next request: %+v", got)
		}
	}
	log := r.log.buf.String()
	if strings.Count(log, "because of a defect") != 2 || !strings.Contains(log, "TestAPI_Defect") || strings.Contains(log, canary) {
		t.Error(log)
	}
}

// TestAPI_Answers: each status, with a body as it is described.
func TestAPI_Answers(t *testing.T) {
	r := newAPIRig(t)
	change := `{"username":"alice","oldPassword":"` + right + `","newPassword":"` + fresh + `"}`
	long := credentials("alice", strings.Repeat("x", jsonbody.Max))
	for _, tt := range []struct {
		name, method, path, token, body string
		code                            int
		want                            string // in the body
	}{
		{"accepted", "POST", "/v1/validate", "validate", credentials("alice", right), 200, `"verdict":"accepted"`},
		{"refused", "POST", "/v1/validate", "validate", credentials("alice", "x"), 200, `"reason":"bad_credentials"`},
		{"unknown", "POST", "/v1/validate", "validate", credentials("nobody", "x"), 200, `"reason":"bad_credentials"`},
		{"expired", "POST", "/v1/validate", "validate", credentials("frank", right), 200, `"reason":"expired"`},
		{"no token", "POST", "/v1/validate", "", credentials("alice", right), 401, `{"error":"unauthorized"}`},
		{"another scope", "POST", "/v1/validate", "status", credentials("alice", right), 401, `{"error":"unauthorized"}`},
		{"no such operation", "POST", "/v1/other", "validate", "", 401, `{"error":"unauthorized"}`},
		{"not JSON", "POST", "/v1/validate", "validate", "x", 400, "malformed"},
		{"an unknown member", "POST", "/v1/validate", "validate", `{"username":"a","password":"b","c":"d"}`, 400, "malformed"},
		{"too large", "POST", "/v1/validate", "validate", long, 413, "16384 bytes"},
		{"policy", "POST", "/v1/change-password", "change", strings.Replace(change, fresh, "x", 1), 200, `"rule":"min_length"`},
		{"changed", "POST", "/v1/change-password", "change", change, 200, `{"outcome":"changed"}`},
		{"status", "GET", "/v1/users/alice/password", "status", "", 200, `"status":"Active"`},
		{"status by mail", "GET", "/v1/users/alice@corp.example.test/password", "status", "", 200, `"username":"alice"`},
		{"status of nobody", "GET", "/v1/users/nobody/password", "status", "", 404, "no such user"},
		{"status without the scope", "GET", "/v1/users/nobody/password", "validate", "", 401, "unauthorized"},
		{"description", "GET", "/v1/openapi.json", "", "", 200, `"openapi"`},
	} {
		got := r.do(tt.method, tt.path, tt.token, tt.body)
		if got.code != tt.code || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s: got %d %s", tt.name, got.code, got.body)
		}
		if (got.code == 401) != (got.header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: WWW-Authenticate %q", tt.name, got.header.Get("WWW-Authenticate"))
		}
	}
	if got := r.do("POST", "/v1/validate", "validate", credentials("alice", right), func(q *http.Request) { q.Header.Set("Content-Type", "text/plain") }); got.code != 415 {
		t.Errorf("another type: %d", got.code)
	}
	r.broken = true
	if got := r.do("POST", "/v1/validate", "validate", credentials("alice", right)); got.code != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("tokens not known: %+v", got)
	}
	r.broken = false
	_ = r.ad.Close()
	if got := r.do("POST", "/v1/validate", "validate", credentials("alice", fresh)); got.code != 503 || !strings.Contains(got.body, `"verdict":"undecided"`) {
		t.Errorf("no controller: %+v", got)
	}
	if got := r.do("GET", "/v1/users/alice/password", "status", ""); got.code != 503 {
		t.Errorf("no controller: %+v", got)
	}
	if log := r.log.buf.String(); strings.Contains(log, right) || strings.Contains(log, fresh) || strings.Contains(log, servicePass) {
		t.Error("a password is in the log")
	}
}

// TestAPI_Throttled: 429 with Retry-After, for the person that the caller names,
// and for no other.
func TestAPI_Throttled(t *testing.T) {
	r := newAPIRig(t, func(w *world) { w.cfg.Throttle = Throttle{PerClient: 2, PerClientEvery: time.Minute} })
	from := func(ip string) func(*http.Request) {
		return func(q *http.Request) { q.Header.Set("X-Dirgate-Client", ip) }
	}
	for _, password := range []string{"Wrong.Pass1", "Wrong.Pass2"} {
		r.do("POST", "/v1/validate", "validate", credentials("bob", password), from("192.0.2.7"))
	}
	got := r.do("POST", "/v1/validate", "validate", credentials("alice", right), from("192.0.2.7"))
	if got.code != 429 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, `"reason":"throttled"`) {
		t.Errorf("got %+v", got)
	}
	if got := r.do("POST", "/v1/validate", "validate", credentials("alice", right), from("192.0.2.8")); got.code != 200 {
		t.Errorf("another person: %+v", got)
	}
}

// TestAPI_SameAnswer: the answer to a wrong password is the same, byte for byte,
// as that to a name that is nobody's, the first time, repeated and held back;
// and none of them comes early.
func TestAPI_SameAnswer(t *testing.T) {
	const least = 50 * time.Millisecond
	r := newAPIRig(t, func(w *world) { w.cfg.RefusalTime, w.cfg.Throttle.PerUser = least, 100 })
	for i, password := range []string{"Wrong.Pass1", "Wrong.Pass1", "Wrong.Pass2", "Wrong.Pass3", "Wrong.Pass4", "Wrong.Pass5", "Wrong.Pass6"} {
		var answers [2]answer
		for k, name := range []string{"alice", "nobody"} {
			start := time.Now()
			answers[k] = r.do("POST", "/v1/validate", "validate", credentials(name, password))
			if took := time.Since(start); took < least {
				t.Errorf("%s, try %d: answered after %s", name, i, took)
			}
		}
		if a, b := answers[0], answers[1]; a.code != b.code || a.body != b.body {
			t.Errorf("try %d: %d %s, and for nobody %d %s", i, a.code, a.body, b.code, b.body)
		}
	}
}
