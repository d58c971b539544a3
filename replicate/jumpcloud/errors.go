package jumpcloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// stage is how far a request came; see the package comment.
type stage int

const (
	notSent stage = iota
	refused
	unknown
)

// Violation is one rule that a value broke, in JumpCloud's words.
type Violation struct {
	Field       string // such as "password"
	Description string // such as "specialCharacter"
}

type apiError struct {
	op            string // method and path
	stage         stage
	code          int    // HTTP status; zero: no answer
	message       string // JumpCloud's own, bounded
	again         bool   // a reading request may be tried again
	queued        bool   // it did not get its turn in time
	away          bool   // JumpCloud is away: it was not tried
	retryAfter    time.Duration
	hasRetryAfter bool
	violations    []Violation
	cause         error
}

func (e *apiError) Error() string {
	var b strings.Builder
	b.WriteString("jumpcloud ")
	b.WriteString(e.op)
	if e.code != 0 {
		fmt.Fprintf(&b, ": %d %s", e.code, http.StatusText(e.code))
	}
	if e.message != "" {
		b.WriteString(": ")
		b.WriteString(e.message)
	}
	switch {
	case e.cause == nil:
	case e.stage == notSent:
		fmt.Fprintf(&b, ": not sent: %v", e.cause)
	default:
		fmt.Fprintf(&b, ": sent, but no usable answer: %v", e.cause)
	}
	return b.String()
}

func (e *apiError) Unwrap() error { return e.cause }

// refusal takes over what an answer outside 2xx says.
func (e *apiError) refusal(resp *http.Response, raw []byte, hide func(string) string) {
	e.stage, e.again = refused, false
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		e.message = "redirects are not followed; check the configured URL"
		return
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		e.again = true
	case code >= 500:
		e.stage, e.again = unknown, true
	}
	e.retryAfter, e.hasRetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	e.message, e.violations = explain(raw, hide)
}

// explain finds the message and the violations in an error body: JSON as
// documented (ErrorDetails of the v1 document), JSON with other names, or text.
func explain(raw []byte, hide func(string) string) (string, []Violation) {
	var doc struct {
		Message any             `json:"message"`
		Error   any             `json:"error"`
		Details json.RawMessage `json:"details"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		var text string
		if json.Unmarshal(raw, &text) == nil {
			return bounded(hide(text)), nil
		}
		if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("<")) {
			return "", nil // a proxy's page says nothing
		}
		return bounded(hide(string(raw))), nil
	}
	message, _ := doc.Message.(string)
	if message == "" {
		message, _ = doc.Error.(string)
	}
	var details any
	if len(doc.Details) > 0 {
		_ = json.Unmarshal(doc.Details, &details) // part of a document that was read
	}
	found := violations(details, nil, 0)
	for i, v := range found {
		found[i] = Violation{Field: bounded(hide(v.Field)), Description: bounded(hide(v.Description))}
	}
	return bounded(hide(message)), found
}

const (
	maxMessage    = 300 // bytes of JumpCloud's words that are kept
	maxViolations = 20
	maxDepth      = 5
)

// violations collects the lists of google.rpc.BadRequest, under the name the
// documents use and under the protocol's own.
func violations(v any, found []Violation, depth int) []Violation {
	if depth > maxDepth {
		return found
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			found = violations(item, found, depth+1)
		}
	case map[string]any:
		for _, name := range []string{"fieldViolationsList", "fieldViolations", "field_violations"} {
			list, _ := v[name].([]any)
			for _, item := range list {
				if one, ok := item.(map[string]any); ok && len(found) < maxViolations {
					field, _ := one["field"].(string)
					description, _ := one["description"].(string)
					found = append(found, Violation{Field: field, Description: description})
				}
			}
		}
	}
	return found
}

// bounded makes a line of at most maxMessage bytes of text from elsewhere.
func bounded(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text))
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "..."
	}
	return text
}

// longestRetryAfter keeps a silly header from stopping replication for days.
const longestRetryAfter = 24 * time.Hour

// retryAfter reads the header's two forms (RFC 9110 10.2.3).
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, longestRetryAfter), true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), longestRetryAfter), true
}

func is(err error, holds func(*apiError) bool) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && holds(e)
}

// NotSent reports that the request never reached JumpCloud.
func NotSent(err error) bool {
	return is(err, func(e *apiError) bool { return e.stage == notSent })
}

// Refused reports that JumpCloud answered and did not do what was asked.
func Refused(err error) bool {
	return is(err, func(e *apiError) bool { return e.stage == refused })
}

// Unknown reports that the request was sent and that no answer tells whether
// it was carried out.
func Unknown(err error) bool {
	return is(err, func(e *apiError) bool { return e.stage == unknown })
}

// Temporary reports that the same request may succeed later: JumpCloud
// answered 429 or 5xx, or could not be reached at all. An error can be both
// Temporary and [Unknown].
func Temporary(err error) bool {
	return is(err, func(e *apiError) bool {
		if e.code != 0 {
			return e.code == http.StatusTooManyRequests || e.code >= 500
		}
		return e.stage == notSent && (e.again || e.away)
	})
}

// RetryAfter is how long JumpCloud asked to wait, at most 24 h.
func RetryAfter(err error) (time.Duration, bool) {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		return 0, false
	}
	return e.retryAfter, e.hasRetryAfter
}

// NotFound reports that JumpCloud has no such object (404).
func NotFound(err error) bool {
	return is(err, func(e *apiError) bool { return e.code == http.StatusNotFound })
}

// Unauthorized reports that the API key is wrong (401) or lacks a right (403):
// the fault of the key, not of the request.
func Unauthorized(err error) bool {
	return is(err, func(e *apiError) bool {
		return e.code == http.StatusUnauthorized || e.code == http.StatusForbidden
	})
}

// Words is JumpCloud's own message about a request that it refused, bounded;
// empty: it gave none.
func Words(err error) string {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		return ""
	}
	return e.message
}

// Violations are the rules that JumpCloud says were broken. It names them
// only for some requests; the error's text has its message in any case.
func Violations(err error) []Violation {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		return nil
	}
	return e.violations
}
