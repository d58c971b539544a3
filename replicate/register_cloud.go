package replicate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// useCase is what a use case means at JumpCloud.
type useCase struct {
	name   string // of useCase
	agents []jumpcloud.AgentKind
	// delegation is the delegationState that a domain has at first. Where AD is
	// the authority JumpCloud does not let it be switched off.
	delegation string
}

var useCases = map[identity.UseCase]useCase{
	identity.UseAD:        {"ADASAUTHORITY", []jumpcloud.AgentKind{jumpcloud.AgentImport}, "ENABLED"},
	identity.UseTwoWay:    {"TWOWAYSYNC", []jumpcloud.AgentKind{jumpcloud.AgentImport, jumpcloud.AgentSync}, "DISABLED"},
	identity.UseJumpCloud: {"JCASAUTHORITY", []jumpcloud.AgentKind{jumpcloud.AgentSync}, "DISABLED"},
}

// agentText is what an agent is called to people, and the name of its
// credential.
func agentText(kind jumpcloud.AgentKind) (name, credential string) {
	if kind == jumpcloud.AgentSync {
		return "sync agent", store.CredSyncAgentKey
	}
	return "import agent", store.CredAgentKey
}

func (r *registration) checkJumpCloud(ctx context.Context) error {
	orgs, err := r.peers.JumpCloud.Organizations(ctx)
	if err != nil {
		if jumpcloud.Unauthorized(err) {
			return fmt.Errorf("check JumpCloud API key: %w; check --api-key-file and that API access is enabled for the organisation", err)
		}
		return fmt.Errorf("check JumpCloud: %w", err)
	}
	want := r.domain.JumpCloud.OrgID
	switch {
	case want == "" && len(orgs) == 1:
		r.domain.JumpCloud.OrgID = orgs[0].ID
		r.passed("JumpCloud", "the API key reads organisation %s", orgs[0].ID)
		return nil
	case want == "":
		return fmt.Errorf("check JumpCloud: the API key sees %d organisations; name one with --org-id", len(orgs))
	}
	for _, o := range orgs {
		if o.ID == want {
			r.passed("JumpCloud", "the API key reads organisation %s", want)
			return nil
		}
	}
	return fmt.Errorf("check JumpCloud: the API key does not see organisation %s; check --org-id", want)
}

// findDirectory looks for JumpCloud's AD object of the domain. JumpCloud
// writes the domain's DN with semicolons.
func (r *registration) findDirectory(ctx context.Context) error {
	all, err := r.peers.JumpCloud.ActiveDirectories(ctx)
	if err != nil {
		return fmt.Errorf("read JumpCloud's AD objects: %w", err)
	}
	for i := range all {
		if strings.EqualFold(all[i].Domain, r.directoryName()) {
			r.object = &all[i]
		}
	}
	return nil
}

func (r *registration) directoryName() string {
	return strings.ReplaceAll(r.domain.BaseDN, ",", ";")
}

// registerDirectory makes sure JumpCloud has an AD object for the domain, with
// the use case.
func (r *registration) registerDirectory(ctx context.Context) error {
	want := useCases[identity.UseCase(r.domain.UseCase)]
	if r.object == nil {
		made, err := r.peers.JumpCloud.CreateActiveDirectory(ctx, r.directoryName())
		if err != nil {
			return fmt.Errorf("register %s with JumpCloud: %w", r.domain.Name, err)
		}
		r.created = append(r.created, func(ctx context.Context) error {
			return r.peers.JumpCloud.DeleteActiveDirectory(ctx, made.ID)
		})
		r.object = &made
	} else if before := r.object.UseCase; before != want.name && before != "" && before != "UNSET" && !r.changeUseCase {
		return fmt.Errorf("register %s with JumpCloud: its AD object %s has use case %s%s, not %s%s; name the one it has, or add --yes to change it",
			r.domain.Name, r.object.ID, before, flagOf(before), want.name, flagOf(want.name))
	}
	if err := r.setUseCase(ctx, want); err != nil {
		return err
	}
	r.domain.JumpCloud.ADID = r.object.ID
	r.passed("JumpCloud AD object", "%s (%s, delegation %s)", r.object.ID, want.name, delegationText(r.object.DelegationState))
	return nil
}

// setUseCase gives the AD object the use case, and the delegation that is its
// default when it is new to the object.
func (r *registration) setUseCase(ctx context.Context, want useCase) error {
	var change, back jumpcloud.ActiveDirectoryUpdate
	if r.object.UseCase != want.name {
		change.UseCase, back.UseCase = want.name, r.object.UseCase
	}
	switch state := r.object.DelegationState; {
	case want.delegation == "ENABLED" && state != "ENABLED" && state != "PENDING",
		change.UseCase != "" && want.delegation == "DISABLED" && state != "DISABLED":
		change.DelegationState, back.DelegationState = want.delegation, state
	}
	if change == (jumpcloud.ActiveDirectoryUpdate{}) {
		return nil
	}
	if len(r.created) == 0 { // what was made just now is removed whole
		id := r.object.ID
		r.created = append(r.created, func(ctx context.Context) error {
			_, err := r.peers.JumpCloud.UpdateActiveDirectory(ctx, id, back)
			return err
		})
	}
	now, err := r.peers.JumpCloud.UpdateActiveDirectory(ctx, r.object.ID, change)
	if err != nil {
		return fmt.Errorf("set use case %s of JumpCloud AD object %s: %w", want.name, r.object.ID, err)
	}
	r.object = &now
	return nil
}

// delegationText is a delegationState for people.
func delegationText(state string) string {
	return cmp.Or(strings.ToLower(state), "not told")
}

// flagOf names a use case of JumpCloud's as the command line does.
func flagOf(name string) string {
	for flag, u := range useCases {
		if u.name == name {
			return " (--use-case " + string(flag) + ")"
		}
	}
	return ""
}

// registerAgents makes sure the AD object has the agents of ours that the use
// case asks for, and no others of ours.
func (r *registration) registerAgents(ctx context.Context) error {
	id := r.object.ID
	agents, err := r.peers.JumpCloud.Agents(ctx, id)
	if err != nil {
		return fmt.Errorf("read agents of JumpCloud AD object %s: %w", id, err)
	}
	wanted := slices.Clone(useCases[identity.UseCase(r.domain.UseCase)].agents)
	var ids []string
	var over []jumpcloud.Agent
	for _, a := range agents {
		if !slices.Contains(r.domain.JumpCloud.AgentIDs, a.ID) {
			continue // not ours
		}
		at := slices.Index(wanted, a.Kind)
		if at < 0 {
			over = append(over, a)
			continue
		}
		wanted = slices.Delete(wanted, at, at+1)
		ids = append(ids, a.ID)
		name, _ := agentText(a.Kind)
		r.passed("JumpCloud "+name, "%s", a.ID)
	}
	r.domain.JumpCloud.AgentIDs = ids
	for _, kind := range wanted {
		if err := r.createAgent(ctx, kind); err != nil {
			return err
		}
	}
	for _, a := range over {
		if err := r.removeAgent(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

func (r *registration) createAgent(ctx context.Context, kind jumpcloud.AgentKind) error {
	id := r.object.ID
	name, credential := agentText(kind)
	agent, err := r.peers.JumpCloud.CreateAgent(ctx, id, kind)
	if err != nil {
		return fmt.Errorf("register the %s with JumpCloud: %w", name, err)
	}
	r.created = append(r.created, func(ctx context.Context) error {
		return r.peers.JumpCloud.DeleteAgent(ctx, id, agent.ID)
	})
	r.domain.JumpCloud.AgentIDs = append(r.domain.JumpCloud.AgentIDs, agent.ID)
	r.credentials[credential] = agent.ConnectKey
	r.passed("JumpCloud "+name, "%s", agent.ID)
	return nil
}

// removeAgent removes an agent that the use case has no need of. It cannot be
// brought back under its id: undone, the domain has none of its kind until it
// is registered again, which makes one.
func (r *registration) removeAgent(ctx context.Context, a jumpcloud.Agent) error {
	name, _ := agentText(a.Kind)
	if err := r.peers.JumpCloud.DeleteAgent(ctx, r.object.ID, a.ID); err != nil && !jumpcloud.NotFound(err) {
		return fmt.Errorf("remove the %s %s from JumpCloud: %w", name, a.ID, err)
	}
	r.passed("JumpCloud "+name, "%s is removed", a.ID)
	return nil
}
