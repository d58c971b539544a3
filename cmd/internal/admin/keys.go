package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/dirgate/dirgate/store"
)

const (
	pathRotate = "/v1/key/rotate"
	pathBackup = "/v1/backup"
)

// Rotation is what a key rotation did.
type Rotation struct {
	Epoch     uint32   `json:"epoch"`               // that is sealed to from now on
	Destroyed []uint32 `json:"destroyed,omitempty"` // nothing was sealed to them any more
}

// BackupOptions selects what a backup holds.
type BackupOptions struct {
	WithoutPasswords bool `json:"withoutPasswords"`
}

// errNoKeys: a Local that was made without access to the key files.
var errNoKeys = errors.New("the sealing keys cannot be reached here")

// RotateKeys begins a new epoch of the sealing keys.
func (l *Local) RotateKeys(ctx context.Context) (r Rotation, err error) {
	if l.Keys == nil {
		return r, errNoKeys
	}
	keys, err := l.Keys()
	if err != nil {
		return r, err
	}
	defer keys.Master.Wipe()
	r.Epoch, r.Destroyed, err = l.Store.RotateKeys(ctx, keys)
	return r, err
}

// Backup writes a backup to w.
func (l *Local) Backup(ctx context.Context, o BackupOptions, w io.Writer) error {
	if l.Keys == nil {
		return errNoKeys
	}
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	keys.Master.Wipe()
	_, err = l.Store.Backup(ctx, w, keys.Dir, o.WithoutPasswords)
	return err
}

// RotateKeys begins a new epoch of the sealing keys.
func (c *Client) RotateKeys(ctx context.Context) (Rotation, error) {
	return call[Rotation](ctx, c, pathRotate, nothing{})
}

// Backup copies the daemon's backup to w. One that is cut short has no end,
// and is refused when it is restored; the error tells here.
func (c *Client) Backup(ctx context.Context, o BackupOptions, w io.Writer) error {
	url := fmt.Sprintf("http://dirgate%s?without-passwords=%t", pathBackup, o.WithoutPasswords)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("admin socket %s: %w", c.socket, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		var f failure
		if json.NewDecoder(res.Body).Decode(&f) != nil || f.Error == "" {
			return fmt.Errorf("admin socket %s: answered %s; is the daemon of another version?", c.socket, res.Status)
		}
		return errors.New(f.Error)
	}
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("admin socket %s: %w", c.socket, err)
	}
	return nil
}

// serveBackup streams. Before the first byte an error is answered as one;
// after it the connection is broken off, so that nobody takes what came for
// the whole.
func serveBackup(mux *http.ServeMux, b Backend) {
	mux.HandleFunc("POST "+pathBackup, func(w http.ResponseWriter, r *http.Request) {
		out := &begun{w: w}
		err := b.Backup(r.Context(), BackupOptions{WithoutPasswords: r.URL.Query().Get("without-passwords") == "true"}, out)
		switch {
		case err == nil:
		case out.begun:
			panic(http.ErrAbortHandler)
		default:
			answer(w, status(err), failure{Error: err.Error()})
		}
	})
}

// begun knows whether anything was written.
type begun struct {
	w     io.Writer
	begun bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.begun = true
	return b.w.Write(p)
}

// Keys gives access to the sealing keys; the caller wipes the master key.
type Keys func() (store.Keys, error)
