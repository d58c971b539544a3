package contract_test

import (
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
