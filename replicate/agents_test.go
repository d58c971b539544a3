package replicate

import (
	"errors"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// TestAgents: JumpCloud's records are told as it has them, its own agents' and
// dirgate's, and what it says of the delegation; a record is removed once.
func TestAgents(t *testing.T) {
	w := newWorld(t)
	d, _, err := w.register()
	if err != nil {
		t.Fatal(err)
	}
	cloud, ours := w.peers.JumpCloud, d.JumpCloud.AgentIDs[0]
	read := func() CloudDomain {
		t.Helper()
		found, err := ReadCloud(t.Context(), d, cloud)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := read(); len(found.Agents) != 1 || found.Agents[0] != (CloudAgent{ID: ours, Direction: identity.Import, State: "unsealed", Primary: true, Ours: true}) {
		t.Errorf("after the registration: %+v", found)
	}
	if _, err := cloud.UpdateActiveDirectory(t.Context(), d.JumpCloud.ADID, jumpcloud.ActiveDirectoryUpdate{DelegationState: "ENABLED"}); err != nil {
		t.Fatal(err)
	}
	if found := read(); found.DelegationState != "PENDING" || found.UseCase != "ADASAUTHORITY" || found.ADID != d.JumpCloud.ADID {
		t.Errorf("without an agent that works: %+v", found)
	}
	theirs, err := cloud.CreateAgent(t.Context(), d.JumpCloud.ADID, jumpcloud.AgentImport)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cloud.AgentReports(theirs.ID, "member1", "4.20.0"); err != nil {
		t.Fatal(err)
	}
	found := read()
	if found.DelegationState != "ENABLED" || len(found.Agents) != 2 {
		t.Fatalf("with an agent that works: %+v", found)
	}
	for _, a := range found.Agents {
		if a.ID == theirs.ID && (a.Ours || a.Primary || a.State != "active" || a.Hostname != "member1" || a.Version != "4.20.0" || a.ContactAt == "") {
			t.Errorf("JumpCloud's own agent: %+v", a)
		}
	}

	if _, err := RemoveAgent(t.Context(), w.store, d, cloud, "0123456789abcdef01234567"); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "dirgate agent list") {
		t.Errorf("remove what is not there: %v", err)
	}
	if a, err := RemoveAgent(t.Context(), w.store, d, cloud, theirs.ID); err != nil || a.Ours || a.Hostname != "member1" {
		t.Errorf("remove theirs: %+v, %v", a, err)
	}
	if err := cloud.DeleteAgent(t.Context(), d.JumpCloud.ADID, ours); err != nil { // past dirgate
		t.Fatal(err)
	}
	if a, err := RemoveAgent(t.Context(), w.store, d, cloud, ours); err != nil || !a.Ours {
		t.Errorf("remove the one that only the registration has: %+v, %v", a, err)
	}
	if d, err = w.store.Domain(domainName); err != nil || len(d.JumpCloud.AgentIDs) != 0 || len(read().Agents) != 0 {
		t.Errorf("afterwards: %+v, %v", d.JumpCloud, err)
	}
	again, _, err := w.register()
	if err != nil || len(again.JumpCloud.AgentIDs) != 1 || again.JumpCloud.ADID != d.JumpCloud.ADID {
		t.Errorf("registered again: %+v, %v", again.JumpCloud, err)
	}
	if err := cloud.DeleteActiveDirectory(t.Context(), d.JumpCloud.ADID); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCloud(t.Context(), d, cloud); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "dirgate domain register") {
		t.Errorf("without the AD object: %v", err)
	}
}
