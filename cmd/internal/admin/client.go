package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// Client asks a running daemon over its socket.
type Client struct {
	socket string
	http   *http.Client
}

var _ Backend = (*Client)(nil)

// ErrNoDaemon: nobody listens on the socket.
var ErrNoDaemon = errors.New("no daemon is running")

// Dial connects to the daemon. ErrNoDaemon means that there is none; any
// other error, such as a socket that may not be opened, is one to show.
func Dial(socket string) (*Client, error) {
	conn, err := net.DialTimeout("unix", socket, 5*time.Second)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (socket %s)", ErrNoDaemon, socket)
	case err != nil:
		return nil, fmt.Errorf("admin socket %s: %w", socket, err)
	}
	_ = conn.Close()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call posts q and decodes the answer into a. On an error that came with a
// partial answer, that is decoded too.
func call[A any](ctx context.Context, c *Client, path string, q any) (a A, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	defer clear(body) // a registration carries secrets
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://dirgate"+path, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return a, fmt.Errorf("admin socket %s: %w", c.socket, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return a, fmt.Errorf("admin socket %s: %w", c.socket, err)
	}
	if res.StatusCode == http.StatusOK {
		return a, json.Unmarshal(raw, &a)
	}
	var f failure
	if json.Unmarshal(raw, &f) != nil || f.Error == "" {
		return a, fmt.Errorf("admin socket %s: answered %s; is the daemon of another version?", c.socket, res.Status)
	}
	if len(f.Partial) > 0 {
		_ = json.Unmarshal(f.Partial, &a)
	}
	return a, errors.New(f.Error)
}

// Domains lists the registered domains.
func (c *Client) Domains(ctx context.Context) ([]store.Domain, error) {
	return call[[]store.Domain](ctx, c, pathDomains, nothing{})
}

// Domain returns one registration.
func (c *Client) Domain(ctx context.Context, name string) (store.Domain, error) {
	return call[store.Domain](ctx, c, pathDomain, named{Name: name})
}

// Register registers a domain.
func (c *Client) Register(ctx context.Context, req RegisterRequest) (RegisterAnswer, error) {
	defer req.Wipe()
	return call[RegisterAnswer](ctx, c, pathRegister, req)
}

// User shows one user.
func (c *Client) User(ctx context.Context, domain, name string) (replicate.UserView, error) {
	return call[replicate.UserView](ctx, c, pathUser, named{Domain: domain, Name: name})
}

// Unlink ends the link of a user.
func (c *Client) Unlink(ctx context.Context, domain, name string) (identity.Link, error) {
	return call[identity.Link](ctx, c, pathUnlink, named{Domain: domain, Name: name})
}

// Changes lists changes.
func (c *Client) Changes(ctx context.Context, q ChangeQuery) ([]identity.Entry, error) {
	return call[[]identity.Entry](ctx, c, pathChanges, q)
}

// Change returns one change.
func (c *Client) Change(ctx context.Context, seq identity.Seq) (identity.Entry, error) {
	return call[identity.Entry](ctx, c, pathChange, onSeq{Seq: seq})
}

// Records returns log records.
func (c *Client) Records(ctx context.Context, after identity.Seq, limit int, wait time.Duration) ([]store.Record, error) {
	return call[[]store.Record](ctx, c, pathRecords, recordsQuery{After: after, Limit: limit, Wait: wait})
}

// LastSeq is the number of the last record.
func (c *Client) LastSeq(ctx context.Context) (identity.Seq, error) {
	return call[identity.Seq](ctx, c, pathLast, nothing{})
}

// Retry makes a dead letter pending again.
func (c *Client) Retry(ctx context.Context, seq identity.Seq) error {
	_, err := call[nothing](ctx, c, pathRetry, onSeq{Seq: seq})
	return err
}

// Discard gives a change up.
func (c *Client) Discard(ctx context.Context, seq identity.Seq, reason string) error {
	_, err := call[nothing](ctx, c, pathDiscard, onSeq{Seq: seq, Reason: reason})
	return err
}
