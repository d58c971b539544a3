package jumpcloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dirgate/dirgate/store/secret"
)

// maxAnswer bounds the bytes read of an answer's body. A page of 100 users is
// some hundred kilobytes.
const maxAnswer = 8 << 20

// call is one request and where its answer goes.
type call struct {
	method string
	path   string // from /api on
	query  url.Values
	body   *body             // nil: none
	out    any               // decoded from a 2xx body; nil: the body is not looked at
	hide   secret.Bytes      // never to be repeated in an error, besides the API key
	wipe   bool              // the answer holds a secret
	header func(http.Header) // told of a 2xx answer's; nil: not looked at
}

// do sends a request, unless JumpCloud is away.
func (c *Client) do(ctx context.Context, in call) error {
	if err := c.circuit.enter(); err != nil {
		return &apiError{op: in.method + " " + c.basePath + in.path, stage: notSent, away: true, cause: err}
	}
	err := c.send(ctx, in)
	c.circuit.leave(ctx, err)
	return err
}

// send makes one attempt. With a service account it makes a second one where
// JumpCloud does not take a token that was kept any more: it did nothing then.
func (c *Client) send(ctx context.Context, in call) error {
	if c.tokens == nil {
		return c.attempt(ctx, in, secret.Bytes{})
	}
	token, kept, err := c.tokens.get(ctx)
	defer func() { token.Wipe() }()
	if err == nil {
		err = c.attempt(ctx, in, token)
	}
	if !kept || !is(err, func(e *apiError) bool { return e.code == http.StatusUnauthorized }) {
		return err
	}
	c.tokens.drop(token)
	token.Wipe()
	if token, _, err = c.tokens.get(ctx); err == nil {
		err = c.attempt(ctx, in, token)
	}
	return err
}

// attempt sends one request; token is empty where the API key is used.
func (c *Client) attempt(ctx context.Context, in call, token secret.Bytes) error {
	fail := &apiError{op: in.method + " " + c.basePath + in.path, stage: notSent, again: true}
	if err := c.admit(ctx); err != nil {
		fail.cause, fail.queued = err, true
		return fail
	}
	defer func() { <-c.slots }()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	var sent atomic.Bool // the headers were handed to the connection
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	req, err := c.request(ctx, in, token)
	if err != nil {
		fail.again, fail.cause = false, err
		return fail
	}
	start := time.Now()
	resp, err := c.http.Do(req)
	took := time.Since(start)
	if err != nil {
		c.observe(in, 0, took)
		if sent.Load() {
			fail.stage = unknown
		}
		fail.cause = plainCause(err)
		return fail
	}
	defer resp.Body.Close()
	c.observe(in, resp.StatusCode, took)
	return c.answer(in, fail, resp, redactor(c.cfg.APIKey, c.cfg.ClientSecret, token, in.hide))
}

// admit waits for the rate limit and for a slot, which the caller gives back.
func (c *Client) admit(ctx context.Context) error {
	if err := c.limit.Wait(ctx); err != nil {
		return fmt.Errorf("wait for the request rate: %w", err)
	}
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for requests in flight: %w", context.Cause(ctx))
	}
}

func (c *Client) observe(in call, code int, took time.Duration) {
	c.cfg.Log.Debug("jumpcloud request", "method", in.method, "path", in.path, "code", code, "took", took)
	if c.cfg.Observe != nil {
		c.cfg.Observe(in.method, code, took)
	}
}

func (c *Client) request(ctx context.Context, in call, token secret.Bytes) (*http.Request, error) {
	target := c.base + in.path
	if len(in.query) > 0 {
		target += "?" + in.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, in.method, target, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if token.IsEmpty() {
		req.Header.Set("x-api-key", string(c.cfg.APIKey.Expose())) // net/http knows only strings
	} else {
		req.Header.Set("Authorization", "Bearer "+string(token.Expose()))
	}
	if c.cfg.OrgID != "" {
		req.Header.Set("x-org-id", c.cfg.OrgID)
	}
	if in.body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.ContentLength = int64(len(in.body.bytes))
		req.Body = in.body.reader()
		// For the transport, which sends again only what never reached the wire.
		req.GetBody = func() (io.ReadCloser, error) { return in.body.reader(), nil }
	}
	return req, nil
}

// answer reads a response: into in.out, or as an error.
func (c *Client) answer(in call, fail *apiError, resp *http.Response, hide func(string) string) error {
	fail.code = resp.StatusCode
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if in.wipe {
		defer clear(raw)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		fail.refusal(resp, raw, hide)
		return fail
	}
	fail.stage = unknown
	switch {
	case err != nil:
		fail.cause = fmt.Errorf("read answer: %w", plainCause(err))
		return fail
	case len(raw) > maxAnswer:
		fail.again, fail.cause = false, fmt.Errorf("answer is longer than %d bytes", maxAnswer)
		return fail
	case in.out == nil:
		return nil
	}
	if in.header != nil {
		in.header(resp.Header)
	}
	if err := json.Unmarshal(raw, in.out); err != nil {
		fail.again, fail.cause = false, fmt.Errorf("answer is not the JSON that is documented: %w", plainJSON(err))
		return fail
	}
	return nil
}

// plainCause drops the method and URL that net/http puts around an error; the
// error that is made of it has them.
func plainCause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// plainJSON drops the values that encoding/json quotes.
func plainJSON(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("field %q at byte %d has another type than %s", t.Field, t.Offset, t.Type)
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("syntax error at byte %d", s.Offset)
	}
	return errors.New("it could not be decoded")
}

// redactor replaces secrets in text that an answer repeats, as they are and as
// JSON writes them. It must be applied before text is cut.
func redactor(secrets ...secret.Bytes) func(string) string {
	return func(text string) string {
		raw := []byte(text)
		for _, s := range secrets {
			if s.IsEmpty() {
				continue
			}
			quoted := appendJSON(nil, s.Expose())
			for _, form := range [][]byte{quoted[1 : len(quoted)-1], s.Expose()} {
				raw = bytes.ReplaceAll(raw, form, []byte(secret.Redacted))
			}
			clear(quoted)
		}
		return string(raw)
	}
}

// body is a request body that can be cleared while the transport may still
// hold a reader of it: net/http promises to close a body, but not before Do
// returns.
type body struct {
	mu    sync.Mutex
	bytes []byte // guarded by mu
}

func jsonBody(v any) (*body, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return &body{bytes: raw}, nil
}

func (b *body) wipe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.bytes)
	b.bytes = nil
}

func (b *body) reader() io.ReadCloser { return &bodyReader{body: b} }

type bodyReader struct {
	body *body
	at   int
}

var errWiped = errors.New("request body was cleared")

func (r *bodyReader) Read(p []byte) (int, error) {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	if r.body.bytes == nil {
		return 0, errWiped
	}
	if r.at == len(r.body.bytes) {
		return 0, io.EOF
	}
	n := copy(p, r.body.bytes[r.at:])
	r.at += n
	return n, nil
}

func (*bodyReader) Close() error { return nil }
