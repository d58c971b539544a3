package jcsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// FaultKind is what goes wrong.
type FaultKind int

const (
	// Status answers with Fault.Code and Fault.RetryAfter; the request has no
	// effect.
	Status FaultKind = iota
	// TimeoutBeforeApply never answers; the request has no effect.
	TimeoutBeforeApply
	// TimeoutAfterApply never answers, after the request took effect.
	TimeoutAfterApply
	// HalfAnswer cuts the connection in the middle of the answer's body, after
	// the request took effect.
	HalfAnswer
)

// Fault is something that goes wrong with requests of the REST face.
type Fault struct {
	Method     string // empty: any
	PathPrefix string // from /api on; empty: any
	// Operation is a method and a path with names in braces, as [Server.Counts]
	// has them; empty: any.
	Operation  string
	After      int // requests that fit and are left alone before the first
	Times      int // requests; zero: one
	Kind       FaultKind
	Code       int    // of Status
	RetryAfter string // header of Status; empty: none
	Body       string // of Status; empty: an error document
}

// Fail orders a fault. Of several that fit a request the oldest is used.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Times = max(1, f.Times)
	s.faults = append(s.faults, &f)
}

// Heal takes back all faults that have not happened.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault uses up a fault that fits; nil: none does.
func (s *Server) takeFault(r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if !f.fits(r) {
			continue
		}
		if f.After > 0 {
			f.After--
			continue
		}
		if f.Times--; f.Times == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return f
	}
	return nil
}

func (f *Fault) fits(r *http.Request) bool {
	return (f.Method == "" || f.Method == r.Method) && strings.HasPrefix(r.URL.Path, f.PathPrefix) &&
		(f.Operation == "" || f.Operation == operation(r))
}

// answer is a response that has not been sent.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// send gives the client the answer, as far as the fault lets it.
func (s *Server) send(w http.ResponseWriter, r *http.Request, f *Fault, serve func() answer) {
	if f == nil {
		write(w, serve(), false)
		return
	}
	s.log.Info("jumpcloud simulator: fault", "method", r.Method, "path", r.URL.Path, "kind", int(f.Kind))
	switch f.Kind {
	case TimeoutBeforeApply:
		s.hang(r)
	case TimeoutAfterApply:
		serve()
		s.hang(r)
	case HalfAnswer:
		write(w, serve(), true)
		panic(http.ErrAbortHandler)
	case Status:
		a := failure(f.Code, "injected fault")
		if f.Body != "" {
			a.body = []byte(f.Body)
		}
		if f.RetryAfter != "" {
			a.header.Set("Retry-After", f.RetryAfter)
		}
		write(w, a, false)
	}
}

// hang keeps the client waiting until it gives up or the server closes.
func (s *Server) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.closing:
	}
	panic(http.ErrAbortHandler)
}

func write(w http.ResponseWriter, a answer, half bool) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if half {
		w.Header().Set("Content-Length", fmt.Sprint(len(a.body)+2))
		a.body = append(a.body[:len(a.body)/2:len(a.body)/2], '{')
	}
	w.WriteHeader(a.code)
	_, _ = w.Write(a.body) // the client may be gone
	if half {
		_ = http.NewResponseController(w).Flush()
	}
}
