package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/jcsim"
)

// TestAgentsRoundTrip: through the socket agents are told and removed as
// without one, and this node is told when JumpCloud does not answer, too.
func TestAgentsRoundTrip(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	d := w.register()
	w.local.Node = Node{Host: "gate1", Version: "9.9", Roles: []string{"import"}}
	heard := time.Now().UTC().Round(0)
	w.local.Contact = func(string) Contact {
		return Contact{JumpCloud: heard, Controllers: []ControllerContact{{Name: "dc1", Up: true}}}
	}
	all, err := w.client.Agents(ctx, "")
	want, _ := w.local.Agents(ctx, domainName)
	equal(t, "Agents", all, want, err)
	if len(all) != 1 || all[0].JumpCloud == nil || len(all[0].JumpCloud.Agents) != 1 || all[0].Node.Host != "gate1" || len(all[0].Work) != 1 || all[0].Work[0].State != Stopped {
		t.Fatalf("Agents: %+v", all)
	}
	if _, err := w.client.RemoveAgent(ctx, "", "0123456789abcdef01234567"); err == nil || !strings.Contains(err.Error(), "has no agent") {
		t.Errorf("remove another: %v", err)
	}
	id := d.JumpCloud.AgentIDs[0]
	if removed, err := w.client.RemoveAgent(ctx, "", id); err != nil || removed.ID != id || !removed.Ours {
		t.Errorf("RemoveAgent: %+v, %v", removed, err)
	}
	w.cloud.Fail(jcsim.Fault{PathPrefix: "/api", Times: 9, Kind: jcsim.Status, Code: 500})
	if all, err = w.client.Agents(ctx, domainName); err != nil || all[0].JumpCloud != nil || !strings.Contains(all[0].Err, "500") || len(all[0].Contact.Controllers) != 1 {
		t.Errorf("while JumpCloud does not answer: %+v, %v", all, err)
	}
	if _, err := w.local.Agents(ctx, "other.example"); err == nil || !strings.Contains(err.Error(), "is not registered") {
		t.Errorf("a domain that is not registered: %v", err)
	}
}
