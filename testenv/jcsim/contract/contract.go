// Package contract holds HTTP traffic against JumpCloud's published OpenAPI
// documents: what a client sends and what a server answers, including fields
// and parameters that the documents do not have.
//
// The documents are not part of the project; tests that need them are skipped,
// and say so, where they are missing. Where the documents contradict
// themselves or other documentation, the difference is listed in [Deviations],
// with the reason; [Checker.Unused] finds the ones that no longer occur.
//
// The tests of the simulator and of our client against the documents are
// here, so that no other package's tests have to compile the validator.
package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	verrors "github.com/pb33f/libopenapi-validator/errors"
)

// Checker holds the documents. Loading takes seconds: do it once per test
// binary.
type Checker struct {
	v1, v2, insights validator.Validator

	mu   sync.Mutex
	used map[string]bool // deviations that occurred, by key; guarded by mu
}

// Open loads v1.yaml, v2.yaml and insights.yaml, as far as the project uses their paths.
func Open(dir string) (*Checker, error) {
	v1, err := load(filepath.Join(dir, "v1.yaml"), "/systemusers", "/organizations", "/search/systemusers")
	if err != nil {
		return nil, err
	}
	v2, err := load(filepath.Join(dir, "v2.yaml"), "/activedirectories", "/usergroups", "/users/{user_id}/associations")
	if err != nil {
		return nil, err
	}
	insights, err := load(filepath.Join(dir, "insights.yaml"), "/events")
	if err != nil {
		return nil, err
	}
	return &Checker{v1: v1, v2: v2, insights: insights, used: make(map[string]bool)}, nil
}

func load(file string, paths ...string) (validator.Validator, error) {
	raw, err := excerpt(file, paths...)
	if err != nil {
		return nil, fmt.Errorf("read OpenAPI document %s: %w", file, err)
	}
	doc, err := libopenapi.NewDocument(raw)
	if err != nil {
		return nil, fmt.Errorf("load OpenAPI document %s: %w", file, err)
	}
	v, errs := validator.NewValidator(doc, config.WithStrictMode(), config.WithFormatAssertions())
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("load OpenAPI document %s: %w", file, err)
	}
	return v, nil
}

// Dir is where the documents are: in jumpcloud-openapi of DIRGATE_SHARED, by
// default ../shared from the repository's root. It skips the test where they
// are missing.
func Dir(tb testing.TB, root string) string {
	tb.Helper()
	shared := os.Getenv("DIRGATE_SHARED")
	if shared == "" {
		shared = filepath.Join(root, "..", "shared")
	}
	dir := filepath.Join(shared, "jumpcloud-openapi")
	if _, err := os.Stat(filepath.Join(dir, "v2.yaml")); err != nil {
		tb.Skipf("SKIPPED: JumpCloud's OpenAPI documents are needed (set DIRGATE_SHARED): %v", err)
	}
	return dir
}

// Client is base with every exchange checked; what does not keep to the
// documents fails the test.
func (c *Checker) Client(tb testing.TB, base *http.Client) *http.Client {
	checked := *base
	checked.Transport = &transport{checker: c, tb: tb, next: base.Transport}
	return &checked
}

type transport struct {
	checker *Checker
	tb      testing.TB
	next    http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		if err := req.Body.Close(); err != nil {
			return nil, err
		}
	}
	out := req.Clone(req.Context())
	out.Body = io.NopCloser(bytes.NewReader(sent))
	resp, err := t.next.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(got))
	if err != nil { // cut short on purpose: there is nothing to check
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(got), failing{err}))
		return resp, nil
	}
	for _, problem := range t.checker.check(req, sent, resp, got) {
		t.tb.Errorf("%s %s -> %d: %s", req.Method, req.URL.Path, resp.StatusCode, problem)
	}
	return resp, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// check gives the problems that are not listed.
func (c *Checker) check(req *http.Request, sent []byte, resp *http.Response, got []byte) []string {
	v := c.v1
	switch {
	case strings.HasPrefix(req.URL.Path, "/api/v2/"):
		v = c.v2
	case strings.HasPrefix(req.URL.Path, "/insights/"):
		v = c.insights
	}
	again := req.Clone(req.Context())
	again.Body = nil
	if len(sent) > 0 {
		again.Body = io.NopCloser(bytes.NewReader(sent))
	}
	_, problems := v.ValidateHttpRequestSync(again)
	answer := *resp
	answer.Body = io.NopCloser(bytes.NewReader(got))
	_, more := v.ValidateHttpResponse(again, &answer)
	var left []string
	for _, e := range append(problems, more...) {
		text := describe(e)
		if !c.listed(req, resp.StatusCode, text) {
			left = append(left, text)
		}
	}
	return left
}

// describe writes a problem with its causes, without the values.
func describe(e *verrors.ValidationError) string {
	parts := []string{e.Message}
	for _, cause := range e.SchemaValidationErrors {
		parts = append(parts, cause.FieldPath+": "+cause.Reason)
	}
	return strings.Join(parts, "; ")
}

func (c *Checker) listed(req *http.Request, code int, text string) bool {
	for _, d := range Deviations {
		if d.fits(req, code, text) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.used[d.key()] = true
			return true
		}
	}
	return false
}

// Unused are the listed deviations that did not occur in what was checked.
func (c *Checker) Unused() []Deviation {
	c.mu.Lock()
	defer c.mu.Unlock()
	var unused []Deviation
	for _, d := range Deviations {
		if !c.used[d.key()] {
			unused = append(unused, d)
		}
	}
	return unused
}
