package contract_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// TestClient makes every request that the client can make.
func TestClient(t *testing.T) {
	s := start(t, jcsim.Config{})
	c, err := jumpcloud.New(jumpcloud.Config{URL: s.URL(), OrgID: s.OrgID(), APIKey: s.APIKey(), HTTP: s.checked(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	alice, err := s.AddUser(jcsim.User{Username: "alice", Email: "alice@corp.example", FirstName: "Alice", LastName: "Ng"})
	if err != nil {
		t.Fatal(err)
	}

	orgs, err := c.Organizations(ctx)
	if err != nil || len(orgs) != 1 || orgs[0].ID != s.OrgID() {
		t.Errorf("organizations: got %v, %v", orgs, err)
	}
	s.SetPolicy(jcsim.PasswordPolicy{EnableMinLength: true, MinLength: 12, NeedsSymbolic: true, DisallowUsernameSubstring: true})
	org, err := c.Organization(ctx, s.OrgID())
	if states := org.Settings.NewUserStates; states.ManualEntry != jumpcloud.StateActivated {
		t.Errorf("organization: got %+v", states)
	}
	if p := org.Settings.PasswordPolicy; err != nil || !p.EnableMinLength || p.MinLength != 12 || !p.NeedsSymbolic || p.AllowUsernameSubstring {
		t.Errorf("organization: got %+v, %v", p, err)
	}
	found, err := c.FindUsers(ctx, "ALICE", "nobody@corp.example")
	if err != nil || len(found) != 1 || found[0].ID != alice {
		t.Errorf("find: got %v, %v", found, err)
	}
	if err := c.SetPassword(ctx, alice, secret.New([]byte(`Canary "q" \ é1!`))); err != nil {
		t.Error(err)
	}
	u, err := c.User(ctx, alice)
	if err != nil || !u.Activated || u.PasswordDate == "" || u.FirstName != "Alice" || u.State != "ACTIVATED" {
		t.Errorf("user: got %+v, %v", u, err)
	}
	testDirectories(t, c)
	testImport(t, c)
}

// testImport makes the calls that import makes.
func testImport(t *testing.T, c *jumpcloud.Client) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	ad, err := c.CreateActiveDirectory(ctx, "DC=import;DC=example")
	must(err)
	fields := []jumpcloud.Field{{Name: "username", To: "carol"}, {Name: "email", To: "carol@corp.example"}, {Name: "firstname", To: "Carol"},
		{Name: "description", To: "d"}, {Name: "employeeType", To: "staff"}, {Name: "state", To: jumpcloud.StateStaged}, {Name: "sudo", To: "true"},
		{Name: "phoneNumbers.work_fax", To: "1"}, {Name: "addresses.work.poBox", To: "7"}, {Name: "restrictedFields", To: "email password"},
		{Name: "delegatedAuthority", To: ad.ID}, {Name: "external_dn", To: "CN=Carol"}, {Name: "external_password_expiration_date", To: "2026-05-04T09:00:00Z"}}
	u, err := c.CreateUser(ctx, ad.ID, fields)
	must(err)
	_, err = c.UpdateUser(ctx, u.ID, ad.ID, append(fields[2:5:5], fields[6:]...))
	must(err)
	for _, do := range []func(context.Context, string) error{c.Activate, c.Suspend, c.Activate, c.ExpirePassword, c.Unlock} {
		must(do(ctx, u.ID))
	}
	g, err := c.CreateGroup(ctx, "Staff", "all of them")
	must(err)
	must(c.AddMember(ctx, g.ID, u.ID))
	must(c.BindUser(ctx, ad.ID, u.ID))
	must(c.BindGroup(ctx, ad.ID, g.ID))
	g, err = c.UpdateGroup(ctx, g.ID, []jumpcloud.Field{{Name: "name", To: "All staff"}})
	must(err)
	if read, err := c.Group(ctx, g.ID); err != nil || read != g || read.Description != "all of them" {
		t.Errorf("group: got %+v, %v, want %+v", read, err, g)
	}
	for group, err := range c.ListGroups(ctx) {
		if err != nil || group != g {
			t.Errorf("groups: got %+v, %v", group, err)
		}
	}
	for what, rows := range map[string]iter.Seq2[string, error]{u.ID: c.Members(ctx, g.ID), "user " + u.ID: c.BoundUsers(ctx, ad.ID), g.ID: c.BoundGroups(ctx, ad.ID)} {
		n := 0
		for id, err := range rows {
			if n++; err != nil || !strings.HasSuffix(what, id) {
				t.Errorf("%s: got %s, %v", what, id, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: got %d rows, want one", what, n)
		}
	}
	must(c.UnbindGroup(ctx, ad.ID, g.ID))
	must(c.UnbindUser(ctx, ad.ID, u.ID))
	must(c.RemoveMember(ctx, g.ID, u.ID))
	must(c.DeleteGroup(ctx, g.ID))
	must(c.DeleteUser(ctx, u.ID))
	for u, err := range c.ListUsers(ctx) {
		if err != nil || u.Username == "carol" {
			t.Errorf("users: got %+v, %v", u, err)
		}
	}
}

func testDirectories(t *testing.T, c *jumpcloud.Client) {
	ctx := t.Context()
	made, err := c.CreateActiveDirectory(ctx, "DC=corp;DC=example")
	if err != nil {
		t.Fatal(err)
	}
	on := true
	changed, err := c.UpdateActiveDirectory(ctx, made.ID, jumpcloud.ActiveDirectoryUpdate{UseCase: "TWOWAYSYNC", DelegationState: "ENABLED", GroupsEnabled: &on})
	if err != nil || changed.UseCase != "TWOWAYSYNC" || !changed.GroupsEnabled || changed.DelegationState != "PENDING" {
		t.Errorf("update: got %+v, %v", changed, err)
	}
	agent, err := c.CreateAgent(ctx, made.ID, jumpcloud.AgentImport)
	if err != nil || agent.ID == "" || agent.ConnectKey.IsEmpty() || agent.Kind != jumpcloud.AgentImport {
		t.Fatalf("create agent: got %+v, %v", agent, err)
	}
	agents, err := c.Agents(ctx, made.ID)
	if err != nil || len(agents) != 1 || agents[0].ID != agent.ID || agents[0].Kind != jumpcloud.AgentImport || !agents[0].ConnectKey.IsEmpty() {
		t.Errorf("agents: got %+v, %v", agents, err)
	}
	if err := c.DeleteAgent(ctx, made.ID, agent.ID); err != nil {
		t.Error(err)
	}
	if err := c.DeleteActiveDirectory(ctx, made.ID); err != nil {
		t.Error(err)
	}
	if left, err := c.ActiveDirectories(ctx); err != nil || len(left) != 0 {
		t.Errorf("directories left: %v, %v", left, err)
	}
}
