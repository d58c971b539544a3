package jcsim_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/jcsim"
)

const noID = "65a000000000000000000009"

func (s *sim) user(name string) string {
	s.t.Helper()
	id, err := s.AddUser(jcsim.User{Username: name, Email: name + "@corp.example"})
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// TestUserRules: what JumpCloud does not take, and that a refused request
// changes nothing.
func TestUserRules(t *testing.T) {
	s := start(t, jcsim.Config{NewUserState: "STAGED"})
	s.UseElsewhere("Taken@other.example")
	alice := s.user("alice")
	var ad, made object
	if s.call("POST", "/api/v2/activedirectories", object{"domain": "DC=corp;DC=example"}, &ad) != http.StatusCreated {
		t.Fatal("no directory")
	}
	if code := s.call("POST", "/api/systemusers", object{"username": "bob", "email": "bob@corp.example"}, &made); code != 200 || made["state"] != "STAGED" {
		t.Fatalf("got %d %v, want the organisation's default state", code, made["state"])
	}
	bob, _ := made["_id"].(string)
	long := strings.Repeat("x", 1025)
	for name, fields := range map[string]object{
		"username of another, in other case": {"username": "ALICE"},
		"email of another, in other case":    {"email": "Alice@Corp.example"},
		"email of another organisation":      {"email": "taken@OTHER.example"},
		"username with a space":              {"username": "b b"},
		"username that begins with a digit":  {"username": "1bob"},
		"username with @":                    {"username": "bob@corp"},
		"no email":                           {"email": ""},
		"long text":                          {"department": long},
		"wrong type":                         {"sudo": "yes"},
		"staged again":                       {"state": "STAGED"},
		"own manager":                        {"manager": bob},
		"manager who is nobody":              {"manager": noID},
		"authority of another kind":          {"delegatedAuthority": object{"name": "LDAP", "id": ad["id"]}},
		"authority that is nobody":           {"delegatedAuthority": object{"name": "ActiveDirectory", "id": noID}},
		"restricted state":                   {"restrictedFields": []object{{"field": "state", "type": "active_directory", "id": ad["id"]}}},
		"restricted by nobody":               {"restrictedFields": []object{{"field": "email", "type": "active_directory"}}},
		"restricted by a strange thing":      {"restrictedFields": []object{{"field": "email", "type": "ldap", "id": ad["id"]}}},
		"number of a phone":                  {"phoneNumbers": []object{{"type": "work", "number": 7}}},
		"id of a phone":                      {"phoneNumbers": []object{{"type": "work", "number": "7", "id": "x"}}},
		"address of a string":                {"addresses": []string{"Oslo"}},
		"date":                               {"external_password_expiration_date": "tomorrow"},
	} {
		fields["firstname"] = "changed"
		if code := s.call("PUT", "/api/systemusers/"+bob, fields, nil); code != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", name, code)
		}
	}
	if u, _ := s.User(bob); u.FirstName != "" || u.Username != "bob" {
		t.Errorf("a refused request changed %+v", u)
	}
	// A name is free for others once it was given up.
	for path, fields := range map[string]object{"/api/systemusers/" + alice: {"username": "alice2", "email": "alice2@corp.example"}} {
		if code := s.call("PUT", path, fields, nil); code != 200 {
			t.Errorf("rename: got %d", code)
		}
	}
	if code := s.call("PUT", "/api/systemusers/"+bob, object{"username": "Alice", "email": "alice@corp.example", "manager": alice,
		"delegatedAuthority": object{"name": "ActiveDirectory", "id": ad["id"]}}, nil); code != 200 {
		t.Errorf("name that was given up: got %d", code)
	}
	s.call("POST", "/api/systemusers/"+bob+"/state/suspend", nil, nil)
	if code := s.call("POST", "/api/systemusers/"+bob+"/state/activate", object{"email": false}, nil); code != http.StatusBadRequest {
		t.Errorf("activate a suspended user: got %d, want 400", code)
	}
}

// TestRestrictedWrites: the three ways a write to a restricted field may go,
// and the deprecated field that undoes what an administrator set.
func TestRestrictedWrites(t *testing.T) {
	s := start(t, jcsim.Config{})
	user := "/api/systemusers/" + s.user("alice")
	restricted := object{"restrictedFields": []object{{"field": "firstname", "type": "active_directory", "id": "64b0c0ffee64b0c0ffee0001"}}}
	if code := s.call("PUT", user, restricted, nil); code != 200 {
		t.Fatalf("restrict: got %d", code)
	}
	for _, tt := range []struct {
		how         jcsim.RestrictedWrites
		code        int
		first, last string
	}{
		{jcsim.RestrictedAllowed, 200, "1", "1"}, {jcsim.RestrictedDropped, 200, "1", "2"}, {jcsim.RestrictedRefused, 400, "1", "2"},
	} {
		s.SetRestrictedWrites(tt.how)
		n := fmt.Sprint(int(tt.how) + 1)
		code := s.call("PUT", user, object{"firstname": n, "lastname": n}, nil)
		if u := s.Users()[0]; code != tt.code || u.FirstName != tt.first || u.LastName != tt.last {
			t.Errorf("way %d: got %d %q %q, want %d %q %q", tt.how, code, u.FirstName, u.LastName, tt.code, tt.first, tt.last)
		}
	}
	var doc object
	if code := s.call("PUT", user, object{"externally_managed": false}, &doc); code != 200 || len(doc["restrictedFields"].([]any)) != 0 {
		t.Errorf("externally_managed: got %d %v, want no restricted fields", code, doc["restrictedFields"])
	}
}

// TestGroupRules: names, replacement as a whole, members and edges.
func TestGroupRules(t *testing.T) {
	s := start(t, jcsim.Config{})
	alice, bob := s.user("alice"), s.user("bob")
	const groups = "/api/v2/usergroups"
	var made, doc object
	if code := s.call("POST", groups, object{"name": "Staff", "description": "d", "email": "g@corp.example"}, &made); code != http.StatusCreated {
		t.Fatalf("create: got %d", code)
	}
	id, _ := made["id"].(string)
	group := groups + "/" + id
	ruled, err := s.AddGroup(jcsim.Group{Name: "Ruled", MembershipMethod: "DYNAMIC_REVIEW_REQUIRED"})
	if err != nil {
		t.Fatal(err)
	}
	edge := func(op, kind, id string) object { return object{"op": op, "type": kind, "id": id} }
	for _, tt := range []struct {
		name         string
		method, path string
		body         any
		want         int
	}{
		{"taken name", "POST", groups, object{"name": "sTAFF"}, 409},
		{"no name", "POST", groups, object{"description": "d"}, 400},
		{"unknown method", "POST", groups, object{"name": "x", "membershipMethod": "MAGIC"}, 400},
		{"wrong type", "POST", groups, object{"name": 7}, 400},
		{"no such group", "GET", groups + "/" + noID, nil, 404},
		{"replace without a name", "PUT", group, object{"description": "e"}, 400},
		{"rename to a taken name", "PUT", groups + "/" + ruled, object{"name": "staff"}, 409},
		{"add", "POST", group + "/members", edge("add", "user", alice), 204},
		{"add again", "POST", group + "/members", edge("add", "user", alice), 409},
		{"add another", "POST", group + "/members", edge("add", "user", bob), 204},
		{"remove", "POST", group + "/members", edge("remove", "user", bob), 204},
		{"remove again", "POST", group + "/members", edge("remove", "user", bob), 404},
		{"add nobody", "POST", group + "/members", edge("add", "user", noID), 404},
		{"add a group", "POST", group + "/members", edge("add", "user_group", ruled), 400},
		{"strange operation", "POST", group + "/members", edge("toggle", "user", alice), 400},
		{"add to a dynamic group", "POST", groups + "/" + ruled + "/members", edge("add", "user", alice), 400},
	} {
		if code := s.call(tt.method, tt.path, tt.body, nil); code != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, code, tt.want)
		}
	}
	if got := s.Members(id); !slices.Equal(got, []string{alice}) {
		t.Errorf("members: got %v, want alice", got)
	}
	if code := s.call("PUT", group, object{"name": "Staff"}, &doc); code != 200 || doc["email"] != "" || doc["description"] != "" {
		t.Errorf("replace: got %d %v, want what was not given to be gone", code, doc)
	}
	if code := s.call("DELETE", "/api/systemusers/"+alice, nil, nil); code != 200 || len(s.Members(id)) != 0 {
		t.Errorf("delete a member: got %d, members %v", code, s.Members(id))
	}
}

// TestPages: at most 100 rows, the total in one header, the next page in
// another.
func TestPages(t *testing.T) {
	s := start(t, jcsim.Config{})
	for i := range 105 {
		if _, err := s.AddGroup(jcsim.Group{Name: fmt.Sprintf("group %d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		query string
		rows  int
		next  string
	}{
		{"", 10, "skip=10"}, {"?limit=1000", 100, "skip=100"}, {"?limit=100&skip=100", 5, ""}, {"?skip=200", 0, ""}, {"?limit=2&sort=-name", 2, "sort=-name"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/api/v2/usergroups"+tt.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("x-api-key", string(s.APIKey().Expose()))
		resp, err := s.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		var rows []object
		s.call("GET", "/api/v2/usergroups"+tt.query, nil, &rows)
		link := resp.Header.Get("Link")
		if len(rows) != tt.rows || resp.Header.Get("x-total-count") != "105" || (link == "") != (tt.next == "") || !strings.Contains(link, tt.next) {
			t.Errorf("%q: got %d rows, headers %v", tt.query, len(rows), resp.Header)
		}
	}
}

// TestHistoryAndFaults: what was asked and changed can be told, and a fault
// meets the operation it was ordered for, when it was.
func TestHistoryAndFaults(t *testing.T) {
	s := start(t, jcsim.Config{})
	alice := s.user("alice")
	expire := "/api/systemusers/" + alice + "/expire"
	const op = "POST /api/systemusers/{id}/expire"
	s.Fail(jcsim.Fault{Operation: op, After: 1, Times: 2, Kind: jcsim.Status, Code: 503})
	var codes []int
	for range 4 {
		codes = append(codes, s.call("POST", expire, nil, nil))
		s.call("GET", "/api/systemusers/"+alice, nil, nil)
	}
	if !slices.Equal(codes, []int{200, 503, 503, 200}) {
		t.Errorf("got %v, want the second and third to fail", codes)
	}
	s.call("POST", "/api/search/systemusers", object{}, nil)
	s.call("POST", "/api/systemusers", object{"username": "alice"}, nil)
	counts, writes := s.Counts(), s.Writes()
	if counts[op] != 2 || counts["GET /api/systemusers/{id}"] != 4 || counts["POST /api/systemusers"] != 1 {
		t.Errorf("counts: got %v", counts)
	}
	if want := (jcsim.Write{Operation: op, Path: expire}); !slices.Equal(writes, []jcsim.Write{want, want}) {
		t.Errorf("writes: got %v, want two of %v", writes, want)
	}
	s.ForgetHistory()
	if len(s.Counts()) != 0 || len(s.Writes()) != 0 {
		t.Error("the history was not forgotten")
	}
}

// TestTokens: a bearer token is as good as the key until its time is up.
func TestTokens(t *testing.T) {
	var later atomic.Int64 // than now
	s := start(t, jcsim.Config{Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }, TokenLife: time.Hour})
	ask := func(id, secret, form string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.TokenURL(), strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(id, secret)
		return s.do(req)
	}
	secret, grant := string(s.ClientSecret().Expose()), "grant_type=client_credentials&scope=api"
	if code, _ := ask(s.ClientID(), "wrong", grant); code != http.StatusUnauthorized {
		t.Errorf("wrong secret: got %d", code)
	}
	if code, _ := ask(s.ClientID(), secret, "grant_type=password"); code != http.StatusBadRequest {
		t.Errorf("wrong grant: got %d", code)
	}
	code, token := ask(s.ClientID(), secret, grant)
	if code != 200 || token == "" {
		t.Fatalf("got %d %q", code, token)
	}
	use := func() int {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/api/organizations", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		code, _ := s.do(req)
		return code
	}
	if code := use(); code != 200 {
		t.Errorf("a good token: got %d", code)
	}
	later.Store(int64(time.Hour))
	if code := use(); code != http.StatusUnauthorized {
		t.Errorf("after its time: got %d", code)
	}
	_, token = ask(s.ClientID(), secret, grant)
	s.RevokeTokens()
	if code := use(); code != http.StatusUnauthorized {
		t.Errorf("revoked: got %d", code)
	}
}
