package replicate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// CloudDomain is a registered domain as JumpCloud has it.
type CloudDomain struct {
	ADID            string `json:"adID"`
	UseCase         string `json:"cloudUseCase"`    // in JumpCloud's words
	DelegationState string `json:"delegationState"` // ENABLED, PENDING or DISABLED
	// Agents are JumpCloud's records of agents of the domain, by id.
	Agents []CloudAgent `json:"agents"`
}

// CloudAgent is JumpCloud's record of an agent. What it says of host, version
// and contact only JumpCloud's own agents can report: it is empty for one that
// dirgate registered.
type CloudAgent struct {
	ID        string             `json:"id"`
	Direction identity.Direction `json:"direction"`
	State     string             `json:"state"` // unsealed: it has never reported; active; inactive
	Hostname  string             `json:"hostname,omitempty"`
	HostType  string             `json:"hostType,omitempty"`
	Version   string             `json:"version,omitempty"`
	ContactAt string             `json:"contactAt,omitempty"`
	SourceIP  string             `json:"sourceIP,omitempty"`
	Primary   bool               `json:"primary"` // in charge of its direction, as JumpCloud says
	Ours      bool               `json:"ours"`    // registered by dirgate
}

// cloudLimit bounds one request: a person waits for the answer.
const cloudLimit = 10 * time.Second

// ReadCloud asks JumpCloud about a domain and its agents, once.
func ReadCloud(ctx context.Context, d store.Domain, cloud *jumpcloud.Client) (CloudDomain, error) {
	cloud = cloud.Once(cloudLimit)
	all, err := cloud.ActiveDirectories(ctx)
	if err != nil {
		return CloudDomain{}, fmt.Errorf("read JumpCloud's AD object of %s: %w", d.Name, err)
	}
	at := slices.IndexFunc(all, func(o jumpcloud.ActiveDirectory) bool { return o.ID == d.JumpCloud.ADID })
	if at < 0 {
		return CloudDomain{}, fmt.Errorf("JumpCloud has no AD object %s of %s any more: run `dirgate domain register %s` again: %w", d.JumpCloud.ADID, d.Name, d.Name, store.ErrNotFound)
	}
	object := all[at]
	agents, err := cloud.Agents(ctx, object.ID)
	if err != nil {
		return CloudDomain{}, fmt.Errorf("read agents of JumpCloud AD object %s: %w", object.ID, err)
	}
	found := CloudDomain{ADID: object.ID, UseCase: object.UseCase, DelegationState: object.DelegationState, Agents: []CloudAgent{}}
	for _, a := range agents {
		direction, primary := identity.Import, object.PrimaryImportAgent
		if a.Kind == jumpcloud.AgentSync {
			direction, primary = identity.Sync, object.PrimaryAgent
		}
		found.Agents = append(found.Agents, CloudAgent{ID: a.ID, Direction: direction, State: a.State, Hostname: a.Hostname, HostType: a.HostType,
			Version: a.Version, ContactAt: a.ContactAt, SourceIP: a.SourceIP, Primary: a.ID == primary, Ours: slices.Contains(d.JumpCloud.AgentIDs, a.ID)})
	}
	slices.SortFunc(found.Agents, func(a, b CloudAgent) int { return strings.Compare(a.ID, b.ID) })
	return found, nil
}

// RemoveAgent deletes JumpCloud's record of an agent, and forgets it if it is
// one that dirgate registered; `domain register` makes that anew. A record that
// only the registration still has is forgotten, and no error.
func RemoveAgent(ctx context.Context, st *store.Store, d store.Domain, cloud *jumpcloud.Client, id string) (CloudAgent, error) {
	ours := slices.Contains(d.JumpCloud.AgentIDs, id)
	removed := CloudAgent{ID: id, Ours: ours}
	there, err := ReadCloud(ctx, d, cloud)
	if err != nil && !(ours && errors.Is(err, store.ErrNotFound)) { // with the object its agents went
		return removed, err
	}
	at := slices.IndexFunc(there.Agents, func(a CloudAgent) bool { return a.ID == id })
	switch {
	case at >= 0:
		removed = there.Agents[at]
		if err := cloud.Once(cloudLimit).DeleteAgent(ctx, there.ADID, id); err != nil && !jumpcloud.NotFound(err) {
			return removed, fmt.Errorf("delete agent %s of JumpCloud AD object %s: %w", id, there.ADID, err)
		}
	case !ours:
		return removed, fmt.Errorf("domain %s has no agent %s; see `dirgate agent list`: %w", d.Name, id, store.ErrNotFound)
	}
	if !ours {
		return removed, nil
	}
	d.JumpCloud.AgentIDs = slices.DeleteFunc(slices.Clone(d.JumpCloud.AgentIDs), func(other string) bool { return other == id })
	return removed, st.PutDomain(ctx, d, nil)
}
