package contract_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// testWatch makes the calls of the watcher, with each answer that the
// simulator gives to them.
func testWatch(t *testing.T, s *sim, want func(code int, method, path string, body, out any), ad string) {
	user, err := s.AddUser(jcsim.User{Username: "dave", Email: "dave@corp.example"})
	if err != nil {
		t.Fatal(err)
	}
	group, err := s.AddGroup(jcsim.Group{Name: "Bound"})
	if err != nil {
		t.Fatal(err)
	}
	want(http.StatusNoContent, "POST", ad+"/associations", object{"op": "add", "type": "user", "id": user}, nil)
	want(http.StatusNoContent, "POST", ad+"/associations", object{"op": "add", "type": "user_group", "id": group}, nil)
	for _, path := range []string{"/api/v2/users/" + user, "/api/v2/usergroups/" + group} {
		want(http.StatusOK, "GET", path+"/associations?targets=active_directory&limit=100&skip=0", nil, nil)
	}

	rules := ad + "/translation-rules"
	rule := object{"source": "department", "destination": "department", "sourceType": "PATH", "direction": "EXPORT", "appliedOn": []string{"CREATE", "UPDATE"}}
	want(http.StatusOK, "POST", rules, rule, nil)
	want(http.StatusBadRequest, "POST", rules, object{"source": "department"}, nil)
	var list struct {
		Rules []struct {
			ID string `json:"objectId"`
		} `json:"rules"`
	}
	want(http.StatusOK, "GET", rules+"?limit=100&skip=0", nil, &list)
	if len(list.Rules) != 1 {
		t.Fatalf("got %d rules, want one", len(list.Rules))
	}
	one := rules + "/" + list.Rules[0].ID
	want(http.StatusOK, "PUT", one, object{"source": "x", "destination": "company", "sourceType": "CONSTANT", "appliedOn": []string{"UPDATE"}}, nil)
	want(http.StatusOK, "DELETE", one, nil, nil)
	want(http.StatusNotFound, "DELETE", one, nil, nil)

	events := "/insights/directory/v1/events"
	hour := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	want(http.StatusOK, "POST", events, object{"service": []string{"all"}, "start_time": hour}, nil)
	want(http.StatusOK, "POST", events, object{"service": []string{"directory"}, "start_time": hour, "end_time": time.Now().UTC().Format(time.RFC3339),
		"sort": "DESC", "limit": 2, "fields": []string{"id"}, "search_term": object{"and": []object{{"event_type": "user_create"}}}}, nil)
	want(http.StatusBadRequest, "POST", events, object{"service": []string{"all"}, "start_time": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}, nil)
	s.SetInsights(false)
	want(http.StatusPaymentRequired, "POST", events, object{"service": []string{"all"}, "start_time": hour}, nil)
	s.SetInsights(true)
}

// TestWatcher holds what the watcher itself sends to the documents.
func TestWatcher(t *testing.T) {
	s := start(t, jcsim.Config{})
	c, err := jumpcloud.New(jumpcloud.Config{URL: s.URL(), OrgID: s.OrgID(), APIKey: s.APIKey(), HTTP: s.checked(t), RequestsPerSecond: 1000})
	if err != nil {
		t.Fatal(err)
	}
	ad, err := c.CreateActiveDirectory(t.Context(), "DC=watch;DC=example")
	if err != nil {
		t.Fatal(err)
	}
	insights, err := jumpcloud.NewInsights(c, s.InsightsURL(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var ahead time.Duration
	w, err := jumpcloud.NewWatcher(jumpcloud.WatchConfig{Client: c, ADID: ad.ID, Insights: insights,
		Now: func() time.Time { return time.Now().Add(ahead) }})
	if err != nil {
		t.Fatal(err)
	}
	refresh := func() jumpcloud.Delta {
		t.Helper()
		ahead += 5 * time.Second // what a Refresh may send grows with time
		delta, err := w.Refresh(t.Context())
		if err != nil || !delta.Complete {
			t.Fatalf("got %+v, %v", delta, err)
		}
		return delta
	}
	refresh()
	user, err := s.AddUser(jcsim.User{Username: "erin", Email: "erin@corp.example"})
	if err != nil {
		t.Fatal(err)
	}
	group, err := s.AddGroup(jcsim.Group{Name: "Watched"})
	if err != nil {
		t.Fatal(err)
	}
	rule, err := s.AddRule(ad.ID, jcsim.Rule{Source: "department", Destination: "department", SourceType: "PATH", Direction: "EXPORT", AppliedOn: []string{"CREATE"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{s.SetMember(group, user, true), s.BindUser(ad.ID, user, true), s.BindGroup(ad.ID, group, true)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	refresh()
	if st := w.State(); st.Users[user] == nil || !st.BoundUsers[user] || !st.BoundGroups[group] || len(st.Groups[group].MemberIDs) != 1 ||
		len(st.Rules) != 1 || st.Rules[0].ID != rule {
		t.Errorf("got %+v", st)
	}
}
