package jcsim

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

func (s *Server) listUsers(r request) answer {
	query := r.URL.Query()
	limit, skip, err := r.bounds()
	if err != nil {
		return refuse(err)
	}
	fits, err := parseFilters(query)
	if err != nil {
		return refuse(err)
	}
	total, rows := len(s.users), []map[string]any{}
	if order := query.Get("sort"); fits == nil && (order == "" || order == "_id") {
		for _, u := range page(s.users, limit, skip) { // they are kept in that order
			rows = append(rows, u.doc)
		}
	} else {
		for _, u := range s.users {
			if fits == nil || fits(u.doc) {
				rows = append(rows, u.doc)
			}
		}
		sortDocs(rows, strings.Fields(order))
		total, rows = len(rows), page(rows, limit, skip)
	}
	for i := range rows {
		rows[i] = project(rows[i], strings.Fields(query.Get("fields")))
	}
	return success(http.StatusOK, map[string]any{"results": rows, "totalCount": total})
}

// sortDocs sorts by fields, each with "-" in front for descending.
func sortDocs(docs []map[string]any, fields []string) {
	slices.SortStableFunc(docs, func(a, b map[string]any) int {
		for _, f := range fields {
			name, down := strings.CutPrefix(f, "-")
			if n := cmp.Compare(plain(a[name]), plain(b[name])); n != 0 {
				if down {
					return -n
				}
				return n
			}
		}
		return 0
	})
}

// project keeps the named fields, and the id; none named: all.
func project(doc map[string]any, fields []string) map[string]any {
	if len(fields) == 0 {
		return doc
	}
	kept := map[string]any{"_id": doc["_id"]}
	for _, f := range fields {
		if v, ok := doc[f]; ok {
			kept[f] = v
		}
	}
	return kept
}

// searchUsers is POST /api/search/systemusers.
func (s *Server) searchUsers(r request) answer {
	limit, skip, err := r.bounds()
	if err != nil {
		return refuse(err)
	}
	var in struct {
		Fields       string          `json:"fields"`
		Filter       json.RawMessage `json:"filter"`
		SearchFilter struct {
			SearchTerm any      `json:"searchTerm"`
			Fields     []string `json:"fields"`
		} `json:"searchFilter"`
	}
	if err := r.decode(&in); err != nil {
		return refuse(err)
	}
	fits, err := parseSearchFilter(in.Filter)
	if err != nil {
		return refuse(err)
	}
	terms, err := searchTerms(in.SearchFilter.SearchTerm)
	if err != nil {
		return refuse(err)
	}
	rows := []map[string]any{}
	for _, u := range s.users {
		if fits(u.doc) && (len(terms) == 0 || contains(u.doc, in.SearchFilter.Fields, terms)) {
			rows = append(rows, project(u.doc, strings.Fields(in.Fields)))
		}
	}
	return success(http.StatusOK, map[string]any{"results": page(rows, limit, skip), "totalCount": len(rows)})
}

// contains reports whether any of the fields has any of the terms as a part.
func contains(doc map[string]any, fields, terms []string) bool {
	for _, f := range fields {
		value := strings.ToLower(plain(doc[f]))
		for _, t := range terms {
			if strings.Contains(value, strings.ToLower(t)) {
				return true
			}
		}
	}
	return false
}

// takePassword takes "password" out of a body: not a field, and never kept as
// one. The string was made by the decoder and cannot be cleared.
func takePassword(fields map[string]any) (pw []byte, given bool, err error) {
	value, given := fields["password"]
	delete(fields, "password")
	text, ok := value.(string)
	if given && (!ok || text == "") {
		return nil, true, invalid("password must be a string that is not empty")
	}
	return []byte(text), given, nil
}

// refusePassword answers for the rules that a password broke. Only the calls
// that document fullValidationDetails give them as a list.
func refusePassword(broken []string, details bool) answer {
	doc := errorDocument{Code: http.StatusBadRequest, Status: rpcStatus[400], Message: "Password validation fail"}
	if !details {
		doc.Message += ": " + broken[0]
		return success(doc.Code, doc)
	}
	var list []map[string]string
	for _, name := range broken {
		list = append(list, map[string]string{"field": "password", "description": name})
	}
	doc.Details = []map[string]any{{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolationsList": list}}
	return success(doc.Code, doc)
}

func (s *Server) postUser(r request) answer {
	fields := make(map[string]any)
	if err := r.decode(&fields); err != nil {
		return refuse(err)
	}
	pw, given, err := takePassword(fields)
	defer clear(pw)
	if err != nil {
		return refuse(err)
	}
	if given {
		draft := &user{doc: map[string]any{"username": fields["username"]}}
		if broken := s.policy.check(pw, draft); len(broken) > 0 {
			return refusePassword(broken, r.details())
		}
	}
	u, err := s.create(fields)
	if err != nil {
		return refuse(err)
	}
	if given {
		u.setPassword(pw, s.policy, s.now())
	}
	s.userEvent(r.by, "user_create", u, nil)
	return success(http.StatusOK, u.doc)
}

func (s *Server) getUser(r request, u *user) answer {
	return success(http.StatusOK, project(u.doc, strings.Fields(r.URL.Query().Get("fields"))))
}

func (s *Server) putUser(r request, u *user) answer {
	fields := make(map[string]any)
	if err := r.decode(&fields); err != nil {
		return refuse(err)
	}
	if err := s.restrict(u, fields); err != nil {
		return refuse(err)
	}
	pw, given, err := takePassword(fields)
	defer clear(pw)
	if err != nil {
		return refuse(err)
	}
	if given {
		if broken := s.policy.check(pw, u); len(broken) > 0 {
			return refusePassword(broken, r.details())
		}
	}
	if err := s.update(r.by, u, fields); err != nil {
		return refuse(err)
	}
	if given {
		u.setPassword(pw, s.policy, s.now())
		s.userEvent(r.by, "user_password_change", u, nil)
	}
	return success(http.StatusOK, u.doc)
}

// update sets fields that clients may write, and tells it: a change of state
// by its own events, the rest by one of its own.
func (s *Server) update(who by, u *user, fields map[string]any) error {
	was := maps.Clone(u.doc)
	if err := s.assign(u, fields, []string{activated, suspended}); err != nil {
		return err
	}
	before, now := plain(was["state"]), u.text("state")
	switch {
	case before == now:
	case now == suspended:
		s.userEvent(who, "user_suspended", u, nil)
	case before == suspended:
		s.userEvent(who, "user_unsuspended", u, nil)
	default:
		s.userEvent(who, "user_activated", u, nil)
	}
	for name := range u.doc {
		if name != "state" && name != "suspended" && !reflect.DeepEqual(was[name], u.doc[name]) {
			s.userEvent(who, "user_update", u, was)
			break
		}
	}
	return nil
}

func (s *Server) deleteUser(r request, u *user) answer {
	for _, other := range s.users {
		if other.text("manager") != u.id() {
			continue
		}
		if r.URL.Query().Get("cascade_manager") != "null" {
			return failure(http.StatusConflict, "user is the manager of others")
		}
		delete(other.doc, "manager")
	}
	s.remove(u)
	s.userEvent(r.by, "user_delete", u, nil)
	return success(http.StatusOK, u.doc)
}

func (s *Server) postPassword(r request, u *user) answer {
	fields := make(map[string]any)
	if err := r.decode(&fields); err != nil {
		return refuse(err)
	}
	pw, given, err := takePassword(fields)
	defer clear(pw)
	if err == nil && !given {
		err = invalid("password is required")
	}
	if err != nil {
		return refuse(err)
	}
	if broken := s.policy.check(pw, u); len(broken) > 0 {
		return refusePassword(broken, false)
	}
	u.setPassword(pw, s.policy, s.now())
	s.userEvent(r.by, "user_password_change", u, nil)
	return success(http.StatusOK, nil)
}

func (s *Server) postExpire(r request, u *user) answer {
	u.doc["password_expired"] = true
	s.userEvent(r.by, "user_password_expired", u, nil)
	return success(http.StatusOK, "OK")
}

func (s *Server) postUnlock(r request, u *user) answer {
	lock(u.doc, false, "")
	s.userEvent(r.by, "user_unlocked", u, nil)
	return success(http.StatusOK, "OK")
}

func (s *Server) postActivate(r request, u *user) answer {
	if u.text("state") == suspended { // the call is for new users
		return refuse(invalid("the user is suspended"))
	}
	u.doc["state"] = activated
	s.userEvent(r.by, "user_activated", u, nil)
	return success(http.StatusOK, "OK")
}

func (s *Server) postSuspend(r request, u *user) answer {
	u.doc["state"], u.doc["suspended"] = suspended, true
	s.userEvent(r.by, "user_suspended", u, nil)
	return success(http.StatusOK, nil)
}
