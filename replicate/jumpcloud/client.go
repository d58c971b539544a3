package jumpcloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/dirgate/dirgate/store/secret"
	"golang.org/x/time/rate"
)

// Config describes a Client.
type Config struct {
	// URL is the console's base, such as https://console.jumpcloud.com; /api
	// and /api/v2 are appended (and removed first where they are given).
	URL string
	// OrgID is sent as x-org-id; empty: the API key's own organisation.
	OrgID string
	// APIKey is an administrator's, and belongs to one organisation or to
	// several. ClientID and ClientSecret are a service account's, which is used
	// instead: exactly one of the two must be given.
	APIKey       secret.Bytes
	ClientID     string
	ClientSecret secret.Bytes
	// TokenURL is where a service account gets its tokens; empty: DefaultTokenURL.
	TokenURL string
	// HTTP carries the TLS configuration. It is copied; its CheckRedirect is
	// not used. Nil: a transport of its own with the system's roots.
	HTTP *http.Client
	// Timeout bounds one attempt of one request; zero: 30 s.
	Timeout time.Duration
	// RequestsPerSecond is the rate kept on average; zero: 10.
	RequestsPerSecond float64
	// MaxInFlight is how many requests may be open at a time; zero: 4.
	MaxInFlight int
	Log         *slog.Logger // nil: silent
	// Observe, if not nil, is told of every attempt: code is zero when there
	// was no answer. It must be safe for concurrent use.
	Observe func(method string, code int, took time.Duration)
}

// retries bounds the repetition of requests that only read.
type retries struct {
	tries   uint
	first   time.Duration // wait before the second try; doubles
	longest time.Duration // of one wait
	all     time.Duration // no wait begins that would end after this
}

// Client is safe for concurrent use.
type Client struct {
	cfg      Config
	base     string // scheme and host, and a path without /api
	basePath string // its path, for messages
	http     *http.Client
	limit    *rate.Limiter
	slots    chan struct{}
	retries  retries
	tokens   *tokens // nil: the API key is used
	circuit  *circuit
}

// New checks cfg; it connects to nothing.
func New(cfg Config) (*Client, error) {
	base, err := baseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("jumpcloud client: url %q: %w", cfg.URL, err)
	}
	if err := checkCredentials(&cfg); err != nil {
		return nil, fmt.Errorf("jumpcloud client: %w", err)
	}
	if cfg.RequestsPerSecond < 0 || cfg.MaxInFlight < 0 || cfg.Timeout < 0 {
		return nil, errors.New("jumpcloud client: rate, requests in flight and timeout must not be negative")
	}
	if cfg.RequestsPerSecond == 0 {
		cfg.RequestsPerSecond = 10
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 4
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	burst := max(1, int(cfg.RequestsPerSecond))
	c := &Client{
		cfg: cfg, base: base.String(), basePath: base.Path, http: httpClient(cfg.HTTP),
		limit:   rate.NewLimiter(rate.Limit(cfg.RequestsPerSecond), burst),
		slots:   make(chan struct{}, cfg.MaxInFlight),
		circuit: &circuit{log: cfg.Log},
		retries: retries{tries: 4, first: 500 * time.Millisecond, longest: 30 * time.Second, all: 2 * time.Minute},
	}
	if cfg.ClientID != "" {
		c.tokens = &tokens{id: cfg.ClientID, secret: cfg.ClientSecret, url: cfg.TokenURL, http: c.http, timeout: cfg.Timeout, now: time.Now}
	}
	return c, nil
}

// checkCredentials holds them to what can be sent, and fills in TokenURL.
func checkCredentials(cfg *Config) error {
	switch account := cfg.ClientID != "" || !cfg.ClientSecret.IsEmpty(); {
	case account && !cfg.APIKey.IsEmpty():
		return errors.New("an API key and a service account are given; want one of them")
	case account:
		return checkServiceAccount(cfg)
	case cfg.APIKey.IsEmpty():
		return errors.New("the API key is missing")
	}
	if !printable(cfg.APIKey.Expose()) {
		return errors.New("the API key has a space or a character that no key has; check the key file")
	}
	return nil
}

// printable reports whether text is ASCII without spaces and control
// characters.
func printable(text []byte) bool {
	return !slices.ContainsFunc(text, func(b byte) bool { return b <= ' ' || b > '~' })
}

// Once returns the client for callers that try again themselves: requests that
// only read are made once, and wait at most limit for their answer. The rate,
// the requests in flight and what is known of an outage are shared with c.
func (c *Client) Once(limit time.Duration) *Client {
	once := *c
	once.retries.tries = 1
	once.cfg.Timeout = min(c.cfg.Timeout, limit)
	return &once
}

func baseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	if u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("want https://HOST")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want no user, query or fragment")
	}
	path := strings.TrimRight(u.Path, "/")
	path = strings.TrimSuffix(path, "/v2")
	path = strings.TrimSuffix(path, "/api")
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: path}, nil
}

func httpClient(given *http.Client) *http.Client {
	var c http.Client
	if given != nil {
		c = *given
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		c.Transport = t.Clone()
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// get reads path into out, trying again as the package comment says.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.read(ctx, call{method: http.MethodGet, path: path, query: query, out: out})
}

func (c *Client) read(ctx context.Context, in call) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = c.retries.first, c.retries.longest
	wait.Multiplier, wait.RandomizationFactor = 2, 0.5
	var last error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = c.do(ctx, in)
		return struct{}{}, retryable(last)
	},
		backoff.WithBackOff(wait), backoff.WithMaxTries(c.retries.tries), backoff.WithMaxElapsedTime(c.retries.all),
		backoff.WithNotify(func(_ error, next time.Duration) {
			c.cfg.Log.Warn("reading from JumpCloud failed, trying again", "err", last, "wait", next)
		}))
	if err == nil {
		return nil
	}
	// The library's error would hide what JumpCloud said behind the context's.
	return last
}

// retryable marks an error of a reading request for package backoff.
func retryable(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*apiError](err)
	if !ok || !e.again {
		return backoff.Permanent(err)
	}
	if e.hasRetryAfter {
		return errors.Join(err, &backoff.RetryAfterError{Duration: e.retryAfter})
	}
	return err
}

// idPath makes a path of an id that came from elsewhere.
func idPath(prefix, id, suffix string) (string, error) {
	if id == "" || strings.ContainsAny(id, "/?#%.\\ ") {
		return "", &apiError{op: prefix + "...", stage: notSent, cause: fmt.Errorf("%q is not a JumpCloud id", id)}
	}
	return prefix + id + suffix, nil
}
