package jcsim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/jcsim"
)

// events queries Directory Insights.
func (s *sim) events(query object) (code int, list []object, header http.Header) {
	s.t.Helper()
	raw, err := json.Marshal(query)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.InsightsURL()+"/events", bytes.NewReader(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("x-api-key", string(s.APIKey().Expose()))
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, err = io.ReadAll(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(raw, &list); err != nil {
			s.t.Fatalf("%s: %v", raw, err)
		}
	}
	return resp.StatusCode, list, resp.Header
}

// TestInsights: who changed what, search in lower case, paging, projection,
// retention, and what is refused.
func TestInsights(t *testing.T) {
	var clock atomic.Int64
	begin := time.Date(2026, 6, 1, 8, 0, 0, 0, time.UTC)
	clock.Store(begin.UnixNano())
	s := start(t, jcsim.Config{Now: func() time.Time { return time.Unix(0, clock.Load()).UTC() }})
	alice := s.user("alice")
	if code := s.call("PUT", "/api/systemusers/"+alice, object{"lastname": "Ng"}, nil); code != 200 {
		t.Fatal(code)
	}
	if err := s.EditUser(alice, object{"state": "SUSPENDED"}); err != nil {
		t.Fatal(err)
	}
	all := object{"service": []string{"all"}, "start_time": begin.Format(time.RFC3339)}
	with := func(more object) object {
		q := object{}
		for _, from := range []object{all, more} {
			for k, v := range from {
				q[k] = v
			}
		}
		return q
	}
	var told []string
	_, list, _ := s.events(all)
	for _, e := range list {
		res, _ := e["resource"].(object)
		told = append(told, fmt.Sprint(e["event_type"], " ", e["auth_method"], " ", res["id"] == alice))
	}
	if got, want := fmt.Sprint(told), "[user_create session true user_update api-key true user_suspended session true]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for name, tt := range map[string]struct {
		query object
		want  int
	}{
		"type":               {object{"search_term": object{"and": []object{{"event_type": "user_update"}}}}, 1},
		"types":              {object{"search_term": object{"and": []object{{"event_type": []string{"user_update", "user_create"}}}}}, 2},
		"operator":           {object{"search_term": object{"and": []object{{"field": "event_type", "operator": "in", "value": []string{"user_create"}}}}}, 1},
		"not":                {object{"search_term": object{"not": []object{{"event_type": "user_update"}}}}, 2},
		"capitals":           {object{"search_term": object{"and": []object{{"event_type": "USER_UPDATE"}}}}, 0},
		"field of an object": {object{"search_term": object{"and": []object{{"resource.username": "alice"}}}}, 3},
		"another service":    {object{"service": []string{"ldap"}}, 0},
		"limit nonsense":     {object{"limit": -1}, 3},
		"end":                {object{"end_time": begin.Format(time.RFC3339)}, 3},
	} {
		if code, list, _ := s.events(with(tt.query)); code != 200 || len(list) != tt.want {
			t.Errorf("%s: got %d and %d events, want %d", name, code, len(list), tt.want)
		}
	}
	for name, query := range map[string]object{
		"no service":     {"service": []string{}},
		"future":         {"start_time": begin.Add(time.Minute).Format(time.RFC3339)},
		"fields unknown": {"fields": []string{"nothing"}},
		"name repeated":  {"search_term": object{"and": []object{{"event_type": "a"}, {"event_type": "b"}}}},
		"not searchable": {"search_term": object{"and": []object{{"changes": "a"}}}},
		"search_after":   {"search_after": []any{"x"}},
	} {
		if code, _, _ := s.events(with(query)); code != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", name, code)
		}
	}
	query := with(object{"limit": 2, "fields": []string{"id"}})
	_, first, header := s.events(query)
	var after []any
	if err := json.Unmarshal([]byte(header.Get("X-Search_after")), &after); err != nil || len(first) != 2 || header.Get("X-Result-Count") != "2" || header.Get("X-Limit") != "2" || len(first[0]) != 1 {
		t.Fatalf("got %v, %v, %v", first, header, err)
	}
	query["search_after"] = after
	if _, second, _ := s.events(query); len(second) != 1 || second[0]["id"] == first[1]["id"] {
		t.Errorf("second page: got %v after %v", second, first)
	}

	s.HoldEvents()
	s.user("bob")
	if _, list, _ := s.events(all); len(list) != 3 {
		t.Errorf("got %d events, want the new one held", len(list))
	}
	s.ReleaseEvents()
	if _, list, _ := s.events(all); len(list) != 4 {
		t.Errorf("got %d events, want the new one too", len(list))
	}
	s.SetInsights(false)
	if code, _, _ := s.events(all); code != http.StatusPaymentRequired {
		t.Errorf("got %d, want 402", code)
	}
	s.SetInsights(true)
	clock.Add(int64(91 * 24 * time.Hour))
	if _, list, _ := s.events(all); len(list) != 0 {
		t.Errorf("got %d events after 91 days, want none", len(list))
	}
}

// TestTranslationRules: what clients may write of them.
func TestTranslationRules(t *testing.T) {
	s := start(t, jcsim.Config{})
	var ad object
	s.call("POST", "/api/v2/activedirectories", object{"domain": "DC=corp;DC=example"}, &ad)
	id, _ := ad["id"].(string)
	rules := "/api/v2/activedirectories/" + id + "/translation-rules"
	builtIn, err := s.AddRule(id, jcsim.Rule{Source: "firstname", Destination: "givenName", SourceType: "PATH", Direction: "EXPORT", AppliedOn: []string{"CREATE"}, Default: true})
	if err != nil {
		t.Fatal(err)
	}
	rule := func(more object) object {
		r := object{"source": "department", "destination": "department", "sourceType": "PATH", "direction": "EXPORT", "appliedOn": []string{"UPDATE"}}
		for k, v := range more {
			r[k] = v
		}
		return r
	}
	for name, tt := range map[string]struct {
		method, path string
		body         object
		want         int
	}{
		"create":           {"POST", rules, rule(nil), 200},
		"no source":        {"POST", rules, rule(object{"source": ""}), 400},
		"unknown source":   {"POST", rules, rule(object{"sourceType": "JSON"}), 400},
		"unspecified":      {"POST", rules, rule(object{"direction": "UNSPECIFIED"}), 400},
		"never":            {"POST", rules, rule(object{"appliedOn": []string{}}), 400},
		"JumpCloud's own":  {"PUT", rules + "/" + builtIn, rule(nil), 400},
		"delete its own":   {"DELETE", rules + "/" + builtIn, nil, 400},
		"one that is none": {"DELETE", rules + "/" + noID, nil, 404},
	} {
		if code := s.call(tt.method, tt.path, tt.body, nil); code != tt.want {
			t.Errorf("%s: got %d, want %d", name, code, tt.want)
		}
	}
	var list struct {
		Rules []object `json:"rules"`
		Total int      `json:"totalCount"`
	}
	if code := s.call("GET", rules+"?limit=100&skip=1", nil, &list); code != 200 || list.Total != 2 || len(list.Rules) != 1 {
		t.Errorf("list: got %d %+v", code, list)
	}
	if err := s.RemoveRule(id, builtIn); err != nil {
		t.Error(err)
	}
}
