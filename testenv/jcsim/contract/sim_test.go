package contract_test

import (
	"net/http"
	"testing"

	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// TestSimulator makes every call that the simulator serves, with success and
// with each documented failure, and holds both sides to JumpCloud's documents.
func TestSimulator(t *testing.T) {
	s := start(t, jcsim.Config{Policy: jcsim.PasswordPolicy{NeedsSymbolic: true, EnablePasswordExpirationInDays: true, PasswordExpirationInDays: 90}})
	check := checker(t)
	client := s.checked(t)
	want := func(wanted int, method, path string, body, out any) {
		t.Helper()
		if got := s.call(t, client, s.APIKey(), method, path, body, out); got != wanted {
			t.Errorf("%s %s: got %d, want %d", method, path, got, wanted)
		}
	}
	var made, list, doc object

	want(http.StatusOK, "GET", "/api/organizations?limit=100&skip=0&sort=_id", nil, &list)
	want(http.StatusOK, "GET", "/api/organizations/"+s.OrgID(), nil, &doc)
	want(http.StatusForbidden, "GET", "/api/organizations/"+"5f0000000000000000000001", nil, nil)

	alice := object{"username": "alice", "email": "alice@corp.example", "firstname": "Alice", "lastname": "Ng",
		"delegatedAuthority": nil, "external_dn": "CN=Alice,DC=corp,DC=example", "state": "STAGED",
		"restrictedFields": []object{{"field": "password", "type": "active_directory", "id": "64b0c0ffee64b0c0ffee0001"}}}
	want(http.StatusOK, "POST", "/api/systemusers", alice, &made)
	want(http.StatusBadRequest, "POST", "/api/systemusers", alice, nil)
	want(http.StatusBadRequest, "POST", "/api/systemusers?fullValidationDetails=password",
		object{"username": "bob", "email": "bob@corp.example", "password": "plain"}, &doc)
	id, _ := made["_id"].(string)
	user := "/api/systemusers/" + id
	want(http.StatusOK, "GET", "/api/systemusers?limit=100&skip=0&sort=_id&fields=username+email", nil, &list)
	want(http.StatusOK, "GET", "/api/systemusers?filter=username:$eq:alice", nil, &list)
	want(http.StatusOK, "GET", "/api/systemusers?filter[or][0]=username:$eq:alice&filter[or][1]=email:$eq:x", nil, &list)
	want(http.StatusOK, "POST", "/api/search/systemusers?limit=100&skip=0",
		object{"searchFilter": object{"searchTerm": []string{"ALICE"}, "fields": []string{"username"}}}, &list)
	want(http.StatusOK, "GET", user, nil, &doc)
	want(http.StatusNotFound, "GET", "/api/systemusers/65a000000000000000000009", nil, nil)
	want(http.StatusOK, "POST", user+"/state/activate", object{"email": false}, nil)
	want(http.StatusOK, "POST", user+"/password", object{"password": "first-Password"}, nil)
	want(http.StatusBadRequest, "POST", user+"/password", object{"password": "plain"}, nil)
	want(http.StatusNotFound, "POST", "/api/systemusers/65a000000000000000000009/password", object{"password": "first-Password"}, nil)
	want(http.StatusOK, "PUT", user, object{"lastname": "Ng-Berg", "ldap_binding_user": true}, &doc)
	want(http.StatusBadRequest, "PUT", user+"?fullValidationDetails=password", object{"password": "plain"}, nil)
	want(http.StatusOK, "POST", user+"/expire", nil, nil)
	want(http.StatusOK, "POST", user+"/unlock", nil, nil)
	want(http.StatusOK, "POST", user+"/state/suspend", nil, nil)
	want(http.StatusOK, "DELETE", user+"?cascade_manager=null", nil, &doc)

	ads := "/api/v2/activedirectories"
	want(http.StatusCreated, "POST", ads, object{"domain": "DC=corp;DC=example"}, &made)
	want(http.StatusConflict, "POST", ads, object{"domain": "DC=corp;DC=example"}, nil)
	want(http.StatusBadRequest, "POST", ads, object{"domain": "corp.example"}, nil)
	id, _ = made["id"].(string)
	ad := ads + "/" + id
	want(http.StatusOK, "GET", ads+"?limit=100&skip=0", nil, nil)
	want(http.StatusOK, "PATCH", ad, object{"useCase": "TWOWAYSYNC"}, nil)
	want(http.StatusOK, "GET", ad, nil, &doc)
	want(http.StatusNotFound, "GET", ads+"/65a000000000000000000009", nil, nil)
	want(http.StatusCreated, "POST", ad+"/agents", object{"agentType": "IMPORT"}, &made)
	id, _ = made["id"].(string)
	want(http.StatusOK, "GET", ad+"/agents?limit=100&skip=0", nil, nil)
	want(http.StatusOK, "GET", ad+"/agents/"+id, nil, nil)
	want(http.StatusNoContent, "DELETE", ad+"/agents/"+id, nil, nil)
	testGroups(t, s, want, ad)
	testWatch(t, s, want, ad)
	want(http.StatusOK, "DELETE", ad, nil, nil)
	if code := s.call(t, client, secret.New([]byte("wrong")), "GET", "/api/systemusers", nil, nil); code != http.StatusUnauthorized {
		t.Errorf("wrong key: got %d, want 401", code)
	}

	for _, d := range check.Unused() {
		t.Errorf("listed deviation does not occur any more, take it off the list: %v", d)
	}
}

// testGroups makes the calls about groups, members and associations.
func testGroups(t *testing.T, s *sim, want func(code int, method, path string, body, out any), ad string) {
	user, err := s.AddUser(jcsim.User{Username: "carol", Email: "carol@corp.example", Fields: object{
		"phoneNumbers": []any{object{"type": "work", "number": "1"}}, "addresses": []any{object{"type": "work", "locality": "Oslo"}}}})
	if err != nil {
		t.Fatal(err)
	}
	want(http.StatusOK, "GET", "/api/systemusers/"+user, nil, nil)
	groups := "/api/v2/usergroups"
	var made object
	want(http.StatusCreated, "POST", groups, object{"name": "Staff", "description": "d"}, &made)
	want(http.StatusConflict, "POST", groups, object{"name": "STAFF"}, nil)
	id, _ := made["id"].(string)
	group := groups + "/" + id
	if _, err := s.AddGroup(jcsim.Group{Name: "Ruled", MembershipMethod: "DYNAMIC_AUTOMATED", Fields: object{
		"memberQuery": object{"queryType": "FilterQuery", "filters": []any{object{"field": "department", "operator": "eq", "value": "IT"}}}}}); err != nil {
		t.Fatal(err)
	}
	want(http.StatusOK, "GET", groups+"?limit=1&skip=0&sort=id&filter=name:eq:Staff", nil, nil)
	want(http.StatusOK, "GET", groups, nil, nil)
	want(http.StatusOK, "GET", group, nil, nil)
	want(http.StatusNotFound, "GET", groups+"/65a000000000000000000009", nil, nil)
	want(http.StatusOK, "PUT", group, object{"name": "All staff", "attributes": object{"sudo": object{"enabled": true, "withoutPassword": false}}}, nil)
	for _, edge := range []struct{ path, kind, id string }{{group + "/members", "user", user}, {ad + "/associations", "user", user}, {ad + "/associations", "user_group", id}} {
		change := func(op string) object { return object{"op": op, "type": edge.kind, "id": edge.id} }
		query := "?limit=100&skip=0"
		if edge.path == ad+"/associations" {
			query += "&targets=" + edge.kind
		}
		want(http.StatusNoContent, "POST", edge.path, change("add"), nil)
		want(http.StatusConflict, "POST", edge.path, change("add"), nil)
		want(http.StatusOK, "GET", edge.path+query, nil, nil)
		want(http.StatusNoContent, "POST", edge.path, change("remove"), nil)
		want(http.StatusNotFound, "POST", edge.path, change("remove"), nil)
	}
	want(http.StatusOK, "DELETE", group, nil, nil)
}
