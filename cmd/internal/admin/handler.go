package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// The API is one POST per operation, with a JSON body and a JSON answer: its
// only client is this package's.
const (
	pathDomains  = "/v1/domains"
	pathDomain   = "/v1/domain"
	pathRegister = "/v1/domain/register"
	pathUser     = "/v1/user"
	pathUnlink   = "/v1/user/unlink"
	pathChanges  = "/v1/changes"
	pathChange   = "/v1/change"
	pathRecords  = "/v1/records"
	pathLast     = "/v1/records/last"
	pathRetry    = "/v1/change/retry"
	pathDiscard  = "/v1/change/discard"
)

type named struct {
	Domain string `json:"domain,omitempty"`
	Name   string `json:"name,omitempty"`
}

type onSeq struct {
	Seq    identity.Seq `json:"seq"`
	Reason string       `json:"reason,omitempty"`
}

type recordsQuery struct {
	After identity.Seq  `json:"after"`
	Limit int           `json:"limit"`
	Wait  time.Duration `json:"wait"`
}

// failure is the body of every answer that is not 200. Checks are what was
// verified before a registration failed.
type failure struct {
	Error   string          `json:"error"`
	Partial json.RawMessage `json:"partial,omitempty"`
}

// maxBody bounds a request in bytes; a registration carries certificates.
const maxBody = 1 << 20

// longestWait bounds how long a request for records is held open.
const longestWait = 30 * time.Second

type nothing struct{}

// Handler serves b.
func Handler(b Backend) http.Handler {
	mux := http.NewServeMux()
	serve(mux, pathDomains, func(ctx context.Context, _ nothing) ([]store.Domain, error) { return b.Domains(ctx) })
	serve(mux, pathDomain, func(ctx context.Context, q named) (store.Domain, error) { return b.Domain(ctx, q.Name) })
	serve(mux, pathRegister, func(ctx context.Context, q RegisterRequest) (RegisterAnswer, error) { return b.Register(ctx, q) })
	serve(mux, pathUser, func(ctx context.Context, q named) (any, error) { return b.User(ctx, q.Domain, q.Name) })
	serve(mux, pathUnlink, func(ctx context.Context, q named) (identity.Link, error) { return b.Unlink(ctx, q.Domain, q.Name) })
	serve(mux, pathChanges, func(ctx context.Context, q ChangeQuery) ([]identity.Entry, error) { return b.Changes(ctx, q) })
	serve(mux, pathChange, func(ctx context.Context, q onSeq) (identity.Entry, error) { return b.Change(ctx, q.Seq) })
	serve(mux, pathRecords, func(ctx context.Context, q recordsQuery) ([]store.Record, error) {
		return b.Records(ctx, q.After, q.Limit, min(q.Wait, longestWait))
	})
	serve(mux, pathLast, func(ctx context.Context, _ nothing) (identity.Seq, error) { return b.LastSeq(ctx) })
	serve(mux, pathVerify, func(ctx context.Context, _ nothing) (store.Report, error) { return b.Verify(ctx) })
	serve(mux, pathAccept, func(ctx context.Context, q byWhom) (store.Report, error) { return b.AcceptLoss(ctx, q.Who) })
	serve(mux, pathRotate, func(ctx context.Context, _ nothing) (Rotation, error) { return b.RotateKeys(ctx) })
	serveUpdate(mux, b)
	serveDomains(mux, b)
	serveMirror(mux, b)
	serveTokens(mux, b)
	serveAgents(mux, b)
	serveWhy(mux, b)
	serveOrder(mux, b)
	serveBackup(mux, b)
	serveImport(mux, b)
	serveReplication(mux, b)
	serve(mux, pathRetry, func(ctx context.Context, q onSeq) (nothing, error) { return nothing{}, b.Retry(ctx, q.Seq) })
	serve(mux, pathDiscard, func(ctx context.Context, q onSeq) (nothing, error) { return nothing{}, b.Discard(ctx, q.Seq, q.Reason) })
	return mux
}

func serve[Q, A any](mux *http.ServeMux, path string, do func(context.Context, Q) (A, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var q Q
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&q); err != nil {
			if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
				answer(w, http.StatusRequestEntityTooLarge, failure{Error: fmt.Sprintf("a request has at most %d bytes; is the CA file what it should be?", large.Limit)})
				return
			}
			answer(w, http.StatusBadRequest, failure{Error: "malformed request; is the command of the same version as the daemon?"})
			return
		}
		a, err := do(r.Context(), q)
		if err == nil {
			answer(w, http.StatusOK, a)
			return
		}
		partial, _ := json.Marshal(a)
		answer(w, status(err), failure{Error: err.Error(), Partial: partial})
	})
}

func status(err error) int {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, store.ErrState):
		return http.StatusConflict
	}
	return http.StatusUnprocessableEntity
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client is gone: nobody to tell
}
