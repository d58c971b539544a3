package delegate

import (
	"context"
	_ "embed" // the description of the API
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/dirgate/dirgate/delegate/jsonbody"
	"github.com/dirgate/dirgate/store/secret"
)

// Scope is what a caller may do.
type Scope string

const (
	ScopeValidate Scope = "validate"
	ScopeChange   Scope = "change"
	ScopeStatus   Scope = "status"
)

// Tokens knows the bearer tokens.
type Tokens interface {
	// Authorize reports whether a token is good for a scope now. An error means
	// that nothing is known.
	Authorize(ctx context.Context, token secret.Bytes, scope string) (name string, ok bool, err error)
}

// APIConfig describes a Handler; all but Portal is required.
type APIConfig struct {
	Validator *Validator
	Tokens    Tokens
	Log       *slog.Logger
	// Portal serves all paths but those of the API, and needs no token; nil: 404.
	Portal http.Handler
	// ClientCertificates: a caller with a certificate that the listener has
	// verified may do everything. The listener asks for one of its own CA only.
	ClientCertificates bool
}

// OpenAPI describes the API.
//
//go:embed openapi.json
var openAPI []byte

// Handler serves the API under /v1/. Each request but that for the API's
// description, /v1/openapi.json, needs a bearer token (RFC 6750) of the right
// scope, or a client certificate. One without is answered with 401 and no more,
// whatever it asks for; so is a path or method that the API does not have.
//
// A body is bounded by 16 KiB and is never logged. Answers may not be cached.
// The optional header X-Dirgate-Client of /v1/validate and /v1/change-password
// is the address of the person who types the password, as the caller knows it,
// for the throttle; without it the caller's own address stands for all of them.
func Handler(cfg APIConfig) http.Handler {
	a := &api{cfg}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/validate", a.needs(ScopeValidate, a.validate))
	mux.Handle("POST /v1/change-password", a.needs(ScopeChange, a.change))
	mux.Handle("GET /v1/users/{name}/password", a.needs(ScopeStatus, a.password))
	mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, openAPI) })
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) { unauthorized(w) })
	if cfg.Portal != nil {
		mux.Handle("/", cfg.Portal)
	}
	return secured(whole(mux, cfg.Log))
}

type api struct{ APIConfig }

// secured sets what holds for every answer; a portal's pages set their own
// Content-Security-Policy.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Strict-Transport-Security", "max-age=31536000")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

// whole answers a request in which dirgate has a defect, and says so in the log:
// net/http would drop the connection without a word. What was being worked on is
// not in the log, for it may be a password.
func whole(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			value := recover()
			switch value {
			case nil:
				return
			case http.ErrAbortHandler:
				panic(value)
			}
			what := fmt.Sprintf("%T", value)
			if err, ok := value.(runtime.Error); ok {
				what = err.Error()
			}
			log.Error("a request failed because of a defect in dirgate; please report it", "panic", what, "stack", string(debug.Stack()))
			w.Header().Set("Connection", "close")
			fail(w, http.StatusInternalServerError, "internal error")
		}()
		next.ServeHTTP(w, r)
	})
}

func reply(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client is gone: nobody to tell
}

// problem is the body of an answer that is neither a verdict nor what was asked
// for.
type problem struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, code int, text string) { reply(w, code, encode(problem{text})) }

// unauthorized is the one answer to whoever has no right, whatever is asked.
func unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="dirgate"`)
	fail(w, http.StatusUnauthorized, "unauthorized")
}

// needs lets a request through whose caller has a scope.
func (a *api) needs(scope Scope, do http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.ClientCertificates && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			do(w, r.WithContext(withCaller(r.Context(), "certificate "+r.TLS.VerifiedChains[0][0].Subject.String())))
			return
		}
		scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			unauthorized(w)
			return
		}
		token := secret.Take([]byte(strings.TrimSpace(value)))
		defer token.Wipe()
		name, ok, err := a.Tokens.Authorize(r.Context(), token, string(scope))
		switch {
		case err != nil:
			a.Log.Error("bearer token not checked", "err", err)
			w.Header().Set("Retry-After", "5")
			fail(w, http.StatusServiceUnavailable, "tokens cannot be checked now; try again later")
		case !ok:
			unauthorized(w)
		default:
			do(w, r.WithContext(withCaller(r.Context(), "token "+name)))
		}
	})
}

// callerKey is the key of a caller's name in a context.
type callerKey struct{}

// withCaller says on whose behalf something is done, for the log: which token or
// certificate was presented.
func withCaller(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, callerKey{}, name)
}

// callerOf is who that was; who does not come through the API is the portal.
func callerOf(ctx context.Context) string {
	if name, ok := ctx.Value(callerKey{}).(string); ok {
		return name
	}
	return "portal"
}

// clientOf is the address of who types the password.
func clientOf(r *http.Request) string {
	if named := r.Header.Get("X-Dirgate-Client"); clientKey(named) != "" {
		return named
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// body reads the members of a request, or answers that it cannot.
func body(w http.ResponseWriter, r *http.Request, members ...string) (map[string]secret.Bytes, bool) {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		fail(w, http.StatusUnsupportedMediaType, "want Content-Type: application/json")
		return nil, false
	}
	values, err := jsonbody.Read(r.Body, members...)
	switch {
	case errors.Is(err, jsonbody.ErrTooLarge):
		w.Header().Set("Connection", "close")
		fail(w, http.StatusRequestEntityTooLarge, err.Error())
	case errors.Is(err, jsonbody.ErrForm):
		fail(w, http.StatusBadRequest, err.Error())
	case err != nil:
		fail(w, http.StatusBadRequest, "the request did not arrive whole")
	}
	return values, err == nil
}

// encode is the JSON of an answer, which holds no secrets.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // none of our types can fail
		return []byte(`{}`)
	}
	return append(b, '\n')
}

// validate answers 200 with a verdict, 503 when it is undecided, with
// Retry-After while the password is pending, and 429 when too many were refused.
func (a *api) validate(w http.ResponseWriter, r *http.Request) {
	in, ok := body(w, r, "username", "password")
	if !ok {
		return
	}
	defer in["password"].Wipe()
	v := a.Validator.Validate(r.Context(), string(in["username"].Expose()), in["password"], clientOf(r))
	reply(w, code(w, v.Verdict == Undecided, v.Reason, v.RetryAfter), encode(v))
}

// code is the HTTP status of an answer.
func code(w http.ResponseWriter, undecided bool, reason Reason, wait time.Duration) int {
	if !undecided {
		return http.StatusOK
	}
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	if reason == Throttled && wait > 0 {
		return http.StatusTooManyRequests
	}
	return http.StatusServiceUnavailable
}

func (a *api) change(w http.ResponseWriter, r *http.Request) {
	in, ok := body(w, r, "username", "oldPassword", "newPassword")
	if !ok {
		return
	}
	defer in["oldPassword"].Wipe()
	defer in["newPassword"].Wipe()
	res := a.Validator.Change(r.Context(), string(in["username"].Expose()), in["oldPassword"], in["newPassword"], clientOf(r))
	reply(w, code(w, res.Outcome == ChangeUnknown, res.Reason, res.RetryAfter), encode(res))
}

func (a *api) password(w http.ResponseWriter, r *http.Request) {
	info, err := a.Validator.Password(r.Context(), r.PathValue("name"))
	a.Log.Info("password status asked for", "account", info.User.GUID.String(), "known", err == nil, "caller", callerOf(r.Context()))
	switch {
	case errors.Is(err, ErrNoUser):
		fail(w, http.StatusNotFound, "no such user")
	case err != nil:
		a.Log.Warn("password status not known", "err", err)
		fail(w, http.StatusServiceUnavailable, "a directory does not answer; try again later")
	default:
		reply(w, http.StatusOK, encode(info))
	}
}
