package jcsim

import (
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxBody bounds a request body.
const maxBody = 1 << 20

// request is what the handlers of single calls get: the caller is known and
// Server.mu is held.
type request struct {
	*http.Request
	body []byte // cleared afterwards
	by   by
}

// handler is the REST face.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(request) answer{
		"GET /api/organizations":                                         s.listOrganizations,
		"GET /api/organizations/{id}":                                    s.getOrganization,
		"GET /api/systemusers":                                           s.listUsers,
		"POST /api/systemusers":                                          s.postUser,
		"GET /api/systemusers/{id}":                                      s.withUser(s.getUser),
		"PUT /api/systemusers/{id}":                                      s.withUser(s.putUser),
		"DELETE /api/systemusers/{id}":                                   s.withUser(s.deleteUser),
		"POST /api/systemusers/{id}/password":                            s.withUser(s.postPassword),
		"POST /api/systemusers/{id}/expire":                              s.withUser(s.postExpire),
		"POST /api/systemusers/{id}/unlock":                              s.withUser(s.postUnlock),
		"POST /api/systemusers/{id}/state/activate":                      s.withUser(s.postActivate),
		"POST /api/systemusers/{id}/state/suspend":                       s.withUser(s.postSuspend),
		"POST /api/search/systemusers":                                   s.searchUsers,
		"GET /api/v2/activedirectories":                                  s.listDirectories,
		"POST /api/v2/activedirectories":                                 s.postDirectory,
		"GET /api/v2/activedirectories/{id}":                             s.withDirectory(s.getDirectory),
		"PATCH /api/v2/activedirectories/{id}":                           s.withDirectory(s.patchDirectory),
		"DELETE /api/v2/activedirectories/{id}":                          s.withDirectory(s.deleteDirectory),
		"GET /api/v2/activedirectories/{id}/agents":                      s.withDirectory(s.listAgents),
		"POST /api/v2/activedirectories/{id}/agents":                     s.withDirectory(s.postAgent),
		"GET /api/v2/activedirectories/{id}/agents/{agent}":              s.withDirectory(s.getAgent),
		"DELETE /api/v2/activedirectories/{id}/agents/{agent}":           s.withDirectory(s.deleteAgent),
		"GET /api/v2/activedirectories/{id}/associations":                s.withDirectory(s.listAssociations),
		"POST /api/v2/activedirectories/{id}/associations":               s.withDirectory(s.postAssociation),
		"GET /api/v2/usergroups":                                         s.listGroups,
		"POST /api/v2/usergroups":                                        s.postGroup,
		"GET /api/v2/usergroups/{id}":                                    s.withGroup(s.getGroup),
		"PUT /api/v2/usergroups/{id}":                                    s.withGroup(s.putGroup),
		"DELETE /api/v2/usergroups/{id}":                                 s.withGroup(s.deleteGroup),
		"GET /api/v2/usergroups/{id}/members":                            s.withGroup(s.listMembers),
		"POST /api/v2/usergroups/{id}/members":                           s.withGroup(s.postMember),
		"GET /api/v2/users/{id}/associations":                            s.withUser(s.userAssociations),
		"GET /api/v2/usergroups/{id}/associations":                       s.withGroup(s.groupAssociations),
		"GET /api/v2/activedirectories/{id}/translation-rules":           s.withDirectory(s.listRules),
		"POST /api/v2/activedirectories/{id}/translation-rules":          s.withDirectory(s.postRule),
		"PUT /api/v2/activedirectories/{id}/translation-rules/{rule}":    s.withRule(s.putRule),
		"DELETE /api/v2/activedirectories/{id}/translation-rules/{rule}": s.withRule(s.deleteRule),
		"POST " + insightsPath:                                           s.queryEvents,
		"POST /oauth2/token":                                             s.postToken,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, serve) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, func(request) answer { return failure(http.StatusNotFound, "Not Found") })
	})
	return mux
}

// serve reads the request, lets a fault interfere, checks the key and calls.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, call func(request) answer) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	defer clear(body)
	if err != nil {
		write(w, failure(http.StatusBadRequest, "request body cannot be read or is too long"), false)
		return
	}
	s.send(w, r, s.takeFault(r), func() answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		if a, ok := s.admit(r); !ok {
			return a
		}
		a := call(request{r, body, s.caller(r)})
		s.record(r, a.code)
		s.log.Debug("jumpcloud simulator: request", "method", r.Method, "path", r.URL.Path, "code", a.code)
		return a
	})
}

// caller is who sent a request, as events tell it.
func (s *Server) caller(r *http.Request) by {
	if r.Header.Get("Authorization") != "" {
		return by{byAccount, accountID}
	}
	return by{byKey, keyOwnerID}
}

// admit checks the credentials and the organisation.
func (s *Server) admit(r *http.Request) (answer, bool) {
	if r.URL.Path == tokenPath {
		return answer{}, true
	}
	known := s.tokenKnown(r.Header.Get("Authorization"))
	if r.Header.Get("Authorization") == "" {
		known = subtle.ConstantTimeCompare([]byte(r.Header.Get("x-api-key")), s.apiKey.Expose()) == 1
	}
	if !known {
		return failure(http.StatusUnauthorized, "Unauthorized"), false
	}
	if org := r.Header.Get("x-org-id"); org != "" && org != s.orgID {
		return failure(http.StatusForbidden, "Forbidden: the administrator does not belong to that organization"), false
	}
	return answer{}, true
}

// success answers with a JSON document; nil: with nothing.
func success(code int, v any) answer {
	a := answer{code: code, header: make(http.Header)}
	if v == nil {
		return a
	}
	raw, err := json.Marshal(v)
	if err != nil { // only values made by encoding/json and plain structs get here
		return failure(http.StatusInternalServerError, "the answer cannot be encoded")
	}
	a.header.Set("Content-Type", "application/json; charset=utf-8")
	a.body = raw
	return a
}

// errorDocument is Error, and with details ErrorDetails, of the v1 document.
type errorDocument struct {
	Code    int              `json:"code"`
	Message string           `json:"message"`
	Status  string           `json:"status"`
	Details []map[string]any `json:"details,omitempty"`
}

// rpcStatus are the names of google.rpc.Code that go with HTTP's.
var rpcStatus = map[int]string{400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
	409: "ALREADY_EXISTS", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}

func failure(code int, message string) answer {
	return success(code, errorDocument{Code: code, Message: message, Status: rpcStatus[code]})
}

// decode reads a JSON object.
func (r request) decode(into any) error {
	if len(r.body) == 0 {
		return nil
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		return invalid("request body is not the JSON object wanted") // the decoder's words could quote a password
	}
	return nil
}

// bounds are limit and skip: at most 100 rows, 10 when nothing is said.
func (r request) bounds() (limit, skip int, err error) {
	limit = 10
	if text := r.URL.Query().Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			return 0, 0, invalid("limit must be a positive number")
		}
	}
	if text := r.URL.Query().Get("skip"); text != "" {
		if skip, err = strconv.Atoi(text); err != nil || skip < 0 {
			return 0, 0, invalid("skip must not be negative")
		}
	}
	return min(limit, 100), skip, nil
}

func page[T any](all []T, limit, skip int) []T {
	skip = min(skip, len(all))
	return append([]T{}, all[skip:min(len(all), skip+limit)]...)
}

// refuse answers an error of decode, bounds, create or assign.
func refuse(err error) answer { return failure(http.StatusBadRequest, err.Error()) }

func (s *Server) listOrganizations(r request) answer {
	limit, skip, err := r.bounds()
	if err != nil {
		return refuse(err)
	}
	all := []map[string]any{{"_id": s.orgID, "displayName": orgName, "logoUrl": nil}}
	return success(http.StatusOK, map[string]any{"results": page(all, limit, skip), "totalCount": len(all)})
}

const orgName = "JumpCloud simulator"

func (s *Server) getOrganization(r request) answer {
	if r.PathValue("id") != s.orgID {
		return failure(http.StatusForbidden, "Forbidden")
	}
	policy := struct {
		PasswordPolicy
		AllowUsernameSubstring bool `json:"allowUsernameSubstring"`
	}{s.policy, !s.policy.DisallowUsernameSubstring}
	return success(http.StatusOK, map[string]any{"_id": s.orgID, "displayName": orgName, "logoUrl": nil,
		"created": "2020-01-01T00:00:00.000Z", "settings": map[string]any{"passwordPolicy": policy,
			"newSystemUserStateDefaults": map[string]string{"manualEntry": s.newState, "csvImport": s.newState, "applicationImport": s.newState}}})
}

// withUser looks up {id}.
func (s *Server) withUser(call func(request, *user) answer) func(request) answer {
	return func(r request) answer {
		u := s.find(r.PathValue("id"))
		if u == nil {
			return failure(http.StatusNotFound, "Not Found")
		}
		return call(r, u)
	}
}

// details reports whether the client asked for the rules a password broke.
func (r request) details() bool {
	return strings.Contains(r.URL.Query().Get("fullValidationDetails"), "password")
}
