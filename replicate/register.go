package replicate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// Use cases as the command line names them, and as JumpCloud does.
var useCases = map[string]string{"ad": "ADASAUTHORITY", "two-way": "TWOWAYSYNC"}

// Check is one thing that was verified before a domain is registered.
type Check struct {
	Name   string `json:"name"`
	Detail string `json:"detail"`
}

// Registration is what `domain register` asks for.
type Registration struct {
	Domain store.Domain
	// Credentials are sealed into the store, by the store's names.
	Credentials map[string]secret.Bytes
	// ChangeUseCase allows the use case of an AD object that JumpCloud has
	// already to be changed: it decides who owns every user of the domain.
	ChangeUseCase bool
}

// Register checks both sides of a domain, registers it with JumpCloud and
// stores it. It may be repeated: what exists is kept and brought up to date.
// When it fails, whatever it created in JumpCloud is removed again and the
// store is as it was. The checks made so far are returned either way.
func Register(ctx context.Context, st *store.Store, reg Registration, peers *Peers, now time.Time) (store.Domain, []Check, error) {
	r := registration{peers: peers, domain: reg.Domain, credentials: maps.Clone(reg.Credentials), changeUseCase: reg.ChangeUseCase}
	if old, err := st.Domain(r.domain.Name); err == nil {
		r.domain.JumpCloud.AgentIDs = old.JumpCloud.AgentIDs
		r.old = old
	}
	err := r.run(ctx)
	if err == nil {
		r.domain.CreatedAt, r.domain.UpdatedAt = now, now
		if old, err := st.Domain(r.domain.Name); err == nil {
			r.domain.CreatedAt = old.CreatedAt
		}
		err = st.PutDomain(ctx, r.domain, r.credentials)
	}
	if err != nil {
		return store.Domain{}, r.checks, errors.Join(err, r.undo(ctx))
	}
	return r.domain, r.checks, nil
}

type registration struct {
	peers       *Peers
	domain      store.Domain
	old         store.Domain // as it is stored; zero when it is not
	credentials map[string]secret.Bytes
	checks      []Check

	changeUseCase bool
	created       []func(context.Context) error // how to remove what was made, newest last
}

func (r *registration) passed(name, format string, args ...any) {
	r.checks = append(r.checks, Check{Name: name, Detail: fmt.Sprintf(format, args...)})
}

func (r *registration) run(ctx context.Context) error {
	if _, ok := useCases[r.domain.UseCase]; !ok {
		return fmt.Errorf("use case %q: this version replicates AD to JumpCloud only; want ad or two-way", r.domain.UseCase)
	}
	for _, step := range []func(context.Context) error{r.checkAD, r.checkJumpCloud, r.registerDirectory, r.registerAgent} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *registration) checkAD(ctx context.Context) error {
	found, err := r.peers.AD.Domain(ctx)
	if err != nil {
		return fmt.Errorf("check domain controller: %w", advise(err))
	}
	if !strings.EqualFold(found.DNSName, r.domain.Name) {
		return fmt.Errorf("check domain controller: it serves %s, not %s; check DOMAIN and --dc", found.DNSName, r.domain.Name)
	}
	r.domain.Name, r.domain.BaseDN, r.domain.NetBIOS = found.DNSName, found.BaseDN, found.NetBIOS
	r.passed("domain controller", "%s serves %s (%s), the certificate is trusted, %s can bind", found.DCName, found.DNSName, found.NetBIOS, r.domain.ImportAccount)
	if r.domain.RootDN == "" {
		r.domain.RootDN = found.BaseDN
	}
	if r.domain.RootDN, _, err = r.peers.AD.Exists(ctx, r.domain.RootDN, "(objectClass=*)"); err != nil {
		return fmt.Errorf("check root container: %w", missing(err, "--root-dn"))
	}
	r.passed("root container", "%s", r.domain.RootDN)
	if r.domain.ScopeGroup == "" {
		r.domain.ScopeGroupGUID = identity.GUID{}
		r.passed("scope group", "none: every user below the root container is in scope")
		return nil
	}
	if err := r.findScopeGroup(ctx); err != nil {
		return fmt.Errorf("check scope group: %w", missing(err, "--scope-group"))
	}
	r.passed("scope group", "%s", r.domain.ScopeGroup)
	return nil
}

// findScopeGroup finds the group by the name given, or, when that is the one
// that is registered already, the registered group under its present name.
func (r *registration) findScopeGroup(ctx context.Context) (err error) {
	name, want := r.domain.ScopeGroup, "(objectClass=group)"
	r.domain.ScopeGroup, r.domain.ScopeGroupGUID, err = r.peers.AD.Exists(ctx, name, want)
	if errors.Is(err, ad.ErrNotFound) && strings.EqualFold(name, r.old.ScopeGroup) && !r.old.ScopeGroupGUID.IsZero() {
		r.domain.ScopeGroup, r.domain.ScopeGroupGUID, err = r.peers.AD.Exists(ctx, "<GUID="+r.old.ScopeGroupGUID.String()+">", want)
	}
	return err
}

// advise says what to look at when a controller cannot be used.
func advise(err error) error {
	var name x509.HostnameError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.Is(err, ad.ErrAccountRefused):
		return fmt.Errorf("%w; check --import-account and --import-password-file", err)
	case errors.As(err, &name):
		return fmt.Errorf("%w; give --dc a name that is in the controller's certificate", err)
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w; check that --ca-file has the CA that signed the controllers' certificates", err)
	case errors.Is(err, ad.ErrUnavailable):
		return fmt.Errorf("%w; check --dc or --discover, DNS, and that the LDAPS port is open from here", err)
	}
	return err
}

func missing(err error, flag string) error {
	if errors.Is(err, ad.ErrNotFound) {
		return fmt.Errorf("%w; check %s, and that the import account may read it", err, flag)
	}
	return err
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

// registerDirectory makes sure JumpCloud has an AD object for the domain,
// with the use case. JumpCloud writes the domain's DN with semicolons.
func (r *registration) registerDirectory(ctx context.Context) error {
	name := strings.ReplaceAll(r.domain.BaseDN, ",", ";")
	all, err := r.peers.JumpCloud.ActiveDirectories(ctx)
	if err != nil {
		return fmt.Errorf("read JumpCloud's AD objects: %w", err)
	}
	var found *jumpcloud.ActiveDirectory
	for i := range all {
		if strings.EqualFold(all[i].Domain, name) {
			found = &all[i]
		}
	}
	if found == nil {
		made, err := r.peers.JumpCloud.CreateActiveDirectory(ctx, name)
		if err != nil {
			return fmt.Errorf("register %s with JumpCloud: %w", r.domain.Name, err)
		}
		r.created = append(r.created, func(ctx context.Context) error {
			return r.peers.JumpCloud.DeleteActiveDirectory(ctx, made.ID)
		})
		found = &made
	}
	if want := useCases[r.domain.UseCase]; found.UseCase != want {
		before := found.UseCase
		if before != "" && before != "UNSET" && !r.changeUseCase {
			return fmt.Errorf("register %s with JumpCloud: its AD object %s has use case %s%s, not %s%s; name the one it has, or add --yes to change it",
				r.domain.Name, found.ID, before, flagOf(before), want, flagOf(want))
		}
		if err := r.setUseCase(ctx, found.ID, want); err != nil {
			return err
		}
		if before != "" && len(r.created) == 0 {
			r.created = append(r.created, func(ctx context.Context) error { return r.setUseCase(ctx, found.ID, before) })
		}
	}
	r.domain.JumpCloud.ADID = found.ID
	r.passed("JumpCloud AD object", "%s (%s)", found.ID, useCases[r.domain.UseCase])
	return nil
}

// flagOf names a use case of JumpCloud's as the command line does.
func flagOf(useCase string) string {
	for flag, name := range useCases {
		if name == useCase {
			return " (--use-case " + flag + ")"
		}
	}
	return ""
}

func (r *registration) setUseCase(ctx context.Context, id, useCase string) error {
	if _, err := r.peers.JumpCloud.UpdateActiveDirectory(ctx, id, jumpcloud.ActiveDirectoryUpdate{UseCase: useCase}); err != nil {
		return fmt.Errorf("set use case %s of JumpCloud AD object %s: %w", useCase, id, err)
	}
	return nil
}

// registerAgent makes sure the AD object has an import agent of ours.
func (r *registration) registerAgent(ctx context.Context) error {
	id := r.domain.JumpCloud.ADID
	agents, err := r.peers.JumpCloud.Agents(ctx, id)
	if err != nil {
		return fmt.Errorf("read agents of JumpCloud AD object %s: %w", id, err)
	}
	for _, ours := range r.domain.JumpCloud.AgentIDs {
		for _, a := range agents {
			if a.ID == ours {
				r.passed("JumpCloud import agent", "%s", a.ID)
				return nil
			}
		}
	}
	agent, err := r.peers.JumpCloud.CreateAgent(ctx, id, jumpcloud.AgentImport)
	if err != nil {
		return fmt.Errorf("register the import agent with JumpCloud: %w", err)
	}
	r.created = append(r.created, func(ctx context.Context) error {
		return r.peers.JumpCloud.DeleteAgent(ctx, id, agent.ID)
	})
	r.domain.JumpCloud.AgentIDs = []string{agent.ID}
	r.credentials[store.CredAgentKey] = agent.ConnectKey
	r.passed("JumpCloud import agent", "%s", agent.ID)
	return nil
}

// undo removes what was created, newest first, even when ctx has ended.
func (r *registration) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	var left []error
	for i := len(r.created) - 1; i >= 0; i-- {
		if err := r.created[i](ctx); err != nil {
			left = append(left, fmt.Errorf("undo a half-made registration in JumpCloud (remove it by hand): %w", err))
		}
	}
	return errors.Join(left...)
}
