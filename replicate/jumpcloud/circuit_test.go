package jumpcloud

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// answering is a transport whose answers tests choose.
type answering struct {
	code atomic.Int64 // zero: no answer
	sent atomic.Int64
	wait string // Retry-After
}

func (a *answering) RoundTrip(*http.Request) (*http.Response, error) {
	a.sent.Add(1)
	code := int(a.code.Load())
	if code == 0 {
		return nil, errors.New("connection refused")
	}
	h := http.Header{}
	if a.wait != "" {
		h.Set("Retry-After", a.wait)
	}
	return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(`{"results":[]}`))}, nil
}

func awayClient(t *testing.T, a *answering, log io.Writer) *Client {
	t.Helper()
	c, err := New(Config{URL: "https://jc.example.test", APIKey: text("key"), HTTP: &http.Client{Transport: a}, RequestsPerSecond: 1000,
		Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return c.Once(time.Second)
}

// TestL2_Circuit: whatever an outage looks like, it is found after some
// requests; then one goes from time to time, and its answer ends the outage.
func TestL2_Circuit(t *testing.T) {
	for _, tt := range []struct {
		name string
		code int
	}{{"no answer", 0}, {"broken", 500}, {"busy", 429}, {"the key is refused", 401}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				a := &answering{}
				a.code.Store(int64(tt.code))
				c := awayClient(t, a, &log)
				for range strikes {
					if _, err := c.Organizations(t.Context()); err == nil || Away(err) {
						t.Fatalf("before it is known: %v", err)
					}
				}
				_, err := c.Organizations(t.Context())
				if !Away(err) || !NotSent(err) || !Temporary(err) || !strings.Contains(err.Error(), "JumpCloud is away since") {
					t.Fatalf("while it is away: %v", err)
				}
				if o, away := c.Outage(); !away || o.Err == nil || !c.Heard().IsZero() {
					t.Errorf("outage %+v, %v, heard %v", o, away, c.Heard())
				}
				waited := make(chan error, 1)
				go func() { waited <- c.Await(t.Context()) }()
				<-time.After(3 * time.Hour) // of the bubble
				if n := a.sent.Load(); n < 3*3600/15 || n > 3*3600*2/15+10 {
					t.Errorf("%d requests in 3 h, want one every 7.5 to 15 s", n)
				}
				a.code.Store(200)
				back := time.Now()
				if err := <-waited; err != nil || time.Since(back) > longestProbe {
					t.Errorf("it waited %v, %v", time.Since(back), err)
				}
				if _, err := c.Organizations(t.Context()); err != nil {
					t.Error(err)
				}
				if _, away := c.Outage(); away || !c.Heard().Equal(time.Now()) {
					t.Errorf("away: %v, heard %v", away, c.Heard())
				}
				if lines := strings.Count(log.String(), "\n"); lines != 2 {
					t.Errorf("%d lines in the log, want one for each end of the outage:\n%s", lines, log.String())
				}
			})
		})
	}
}

// TestL2_CircuitStays: what is no outage is not taken for one.
func TestL2_CircuitStays(t *testing.T) {
	a := &answering{}
	c := awayClient(t, a, io.Discard)
	for range 3 {
		a.code.Store(500)
		for range strikes - 1 {
			_, _ = c.Organizations(t.Context()) // it fails
		}
		a.code.Store(404)
		_, _ = c.Organizations(t.Context()) // refused, and so answered
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * strikes {
		_, _ = c.Organizations(ended) // the caller gave up
	}
	if o, away := c.Outage(); away {
		t.Errorf("outage %+v", o)
	}
}

// TestL2_CircuitRetryAfter: JumpCloud's own word about the next request counts.
func TestL2_CircuitRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answering{wait: "120"}
		a.code.Store(429)
		c := awayClient(t, a, io.Discard)
		for range strikes {
			_, _ = c.Organizations(t.Context()) // it fails
		}
		a.code.Store(200)
		start := time.Now()
		if err := c.Await(t.Context()); err != nil || time.Since(start) < 2*time.Minute || time.Since(start) > 2*time.Minute+longestProbe {
			t.Errorf("it waited %v, %v; want 120 s", time.Since(start), err)
		}
	})
}
