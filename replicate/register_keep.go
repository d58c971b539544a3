package replicate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// Verify checks a registered domain on both sides as Register does, changes
// nothing, and goes on after what fails. Checks tell all of it; the error says
// that something failed.
func Verify(ctx context.Context, d store.Domain, sync *ad.Writer, peers *Peers) ([]Check, error) {
	r := registration{peers: peers, sync: sync, domain: d, old: d}
	for _, step := range []struct {
		name  string
		check func(context.Context) error
	}{
		{"Active Directory", r.checkAD},
		{"deleted objects", r.checkDeleted},
		{"JumpCloud", r.checkJumpCloud},
		{"JumpCloud AD object", r.verifyDirectory},
		{"sync account", r.checkSync},
		{"JumpCloud agents", r.verifyAgents},
	} {
		if err := step.check(ctx); err != nil {
			r.failed(step.name, "%v", err)
		}
	}
	n := 0
	for _, c := range r.checks {
		if c.Failed {
			n++
		}
	}
	if n > 0 {
		return r.checks, fmt.Errorf("%d of %d checks failed", n, len(r.checks))
	}
	return r.checks, nil
}

// again is what mends a registration that JumpCloud does not have as it was
// made.
func again(domain string) string {
	return fmt.Sprintf("run `dirgate domain register %s` again", domain)
}

func (r *registration) verifyDirectory(ctx context.Context) error {
	if err := r.findDirectory(ctx); err != nil {
		return err
	}
	want := useCases[identity.UseCase(r.domain.UseCase)]
	switch {
	case r.object == nil:
		return fmt.Errorf("JumpCloud has no AD object for %s; %s", r.domain.Name, again(r.domain.Name))
	case r.object.ID != r.domain.JumpCloud.ADID:
		return fmt.Errorf("JumpCloud's AD object is %s, and %s was registered; %s", r.object.ID, r.domain.JumpCloud.ADID, again(r.domain.Name))
	case r.object.UseCase != want.name:
		return fmt.Errorf("AD object %s has use case %s%s, not %s%s; make them agree with `dirgate domain update %s --use-case`",
			r.object.ID, r.object.UseCase, flagOf(r.object.UseCase), want.name, flagOf(want.name), r.domain.Name)
	}
	r.passed("JumpCloud AD object", "%s (%s, delegation %s)", r.object.ID, want.name, delegationText(r.object.DelegationState))
	return nil
}

func (r *registration) verifyAgents(ctx context.Context) error {
	if r.object == nil {
		return errors.New("without an AD object there are none")
	}
	agents, err := r.peers.JumpCloud.Agents(ctx, r.object.ID)
	if err != nil {
		return fmt.Errorf("read agents of JumpCloud AD object %s: %w", r.object.ID, err)
	}
	for _, kind := range useCases[identity.UseCase(r.domain.UseCase)].agents {
		name, _ := agentText(kind)
		at := slices.IndexFunc(agents, func(a jumpcloud.Agent) bool {
			return a.Kind == kind && slices.Contains(r.domain.JumpCloud.AgentIDs, a.ID)
		})
		if at < 0 {
			r.failed("JumpCloud "+name, "none of ours is registered; %s", again(r.domain.Name))
			continue
		}
		r.passed("JumpCloud "+name, "%s", agents[at].ID)
	}
	return nil
}

// CheckCredential reports whether AD accepts the account that is asked with:
// the sync account's, or, without a Writer, the import account's.
func CheckCredential(ctx context.Context, sync *ad.Writer, peers *Peers) (Check, error) {
	if sync != nil {
		if _, err := sync.Rights(ctx); err != nil {
			return Check{}, fmt.Errorf("check the new password of the sync account: %w", advisePassword(err))
		}
		return Check{Name: "sync account", Detail: "can bind with the new password"}, nil
	}
	found, err := peers.AD.Domain(ctx)
	if err != nil {
		return Check{}, fmt.Errorf("check the new password of the import account: %w", advisePassword(err))
	}
	return Check{Name: "import account", Detail: "can bind with the new password at " + found.DCName}, nil
}

// advisePassword is advise where the password is all that was given.
func advisePassword(err error) error {
	if errors.Is(err, ad.ErrAccountRefused) {
		return fmt.Errorf("%w; change it in Active Directory first, and check --password-file", err)
	}
	return err
}

// Removal is what was done with a domain that is no longer replicated.
type Removal struct {
	Domain store.Domain `json:"domain"`
	Agents []string     `json:"agents"` // ids that were removed from JumpCloud
	Open   int          `json:"open"`   // changes that are recorded and now wait
}

// Remove ends the registration of a domain: its agents are removed from
// JumpCloud, and the registration and its secrets from the store. JumpCloud's
// AD object, its users and groups stay as they are, and so do AD, the links and
// the change log: registered again, the domain goes on where it was. Without
// peers JumpCloud is not asked, and keeps the agents. It may be repeated.
func Remove(ctx context.Context, st *store.Store, d store.Domain, peers *Peers) (Removal, error) {
	done := Removal{Domain: d, Agents: []string{}}
	for _, direction := range []identity.Direction{identity.Import, identity.Sync} {
		open, err := st.OpenCounts(d.Name, direction)
		if err != nil {
			return done, err
		}
		done.Open += open.Pending + open.Held + open.Dead
	}
	if peers != nil && d.JumpCloud.ADID != "" {
		for _, id := range d.JumpCloud.AgentIDs {
			if err := peers.JumpCloud.DeleteAgent(ctx, d.JumpCloud.ADID, id); err != nil && !jumpcloud.NotFound(err) {
				return done, fmt.Errorf("remove agent %s from JumpCloud: %w; repeat it, or add --local to leave JumpCloud as it is", id, err)
			}
			done.Agents = append(done.Agents, id)
		}
	}
	return done, st.RemoveDomain(ctx, d.Name)
}
