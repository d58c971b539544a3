package jcsim

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Write is a request that changed something.
type Write struct {
	Operation string // such as "POST /api/v2/usergroups/{id}/members"
	Path      string // such as "/api/v2/usergroups/64b0c0ffee64b0c0ffee0001/members"
}

// maxWrites bounds the history; older ones are forgotten.
const maxWrites = 100_000

// operation is the method and the path with names in braces.
func operation(r *http.Request) string {
	if strings.HasPrefix(r.Pattern, r.Method+" ") {
		return r.Pattern
	}
	return r.Method + " " + r.URL.Path
}

// record notes a request that was served. Callers hold mu.
func (s *Server) record(r *http.Request, code int) {
	op := operation(r)
	if r.Pattern != "/" {
		s.counts[op]++
	}
	changes := r.Method != http.MethodGet && r.URL.Path != tokenPath && !strings.HasPrefix(r.URL.Path, "/api/search/") && r.URL.Path != insightsPath
	if !changes || code > 299 {
		return
	}
	if len(s.writes) >= maxWrites {
		s.writes = slices.Delete(s.writes, 0, maxWrites/2)
	}
	s.writes = append(s.writes, Write{op, r.URL.Path})
}

// Counts gives how many requests were served, by operation. Those that a fault
// kept from having an effect are not among them, nor those with wrong
// credentials.
func (s *Server) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Writes gives the requests that changed something, the oldest first; also
// those whose answer a fault kept back.
func (s *Server) Writes() []Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

// ForgetHistory begins Counts and Writes anew.
func (s *Server) ForgetHistory() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.counts)
	s.writes = nil
}
