package replicate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// Check is one thing that was verified of a domain.
type Check struct {
	Name   string `json:"name"`
	Detail string `json:"detail"`
	Failed bool   `json:"failed,omitempty"` // Detail says what to do about it
}

// Registration is what `domain register` asks for.
type Registration struct {
	Domain store.Domain
	// Credentials are sealed into the store, by the store's names.
	Credentials map[string]secret.Bytes
	// Sync works under the sync account; nil: the domain has none that is used.
	Sync *ad.Writer
	// ChangeUseCase allows the use case of an AD object that JumpCloud has
	// already to be changed: it decides who owns every user of the domain.
	ChangeUseCase bool
}

// Register checks both sides of a domain, registers it with JumpCloud and
// stores it. It may be repeated: what exists is kept and brought up to date.
// When it fails, whatever it created in JumpCloud is removed again and the
// store is as it was. The checks made so far are returned either way.
func Register(ctx context.Context, st *store.Store, reg Registration, peers *Peers, now time.Time) (store.Domain, []Check, error) {
	r := registration{peers: peers, sync: reg.Sync, domain: reg.Domain, credentials: maps.Clone(reg.Credentials), changeUseCase: reg.ChangeUseCase}
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
	sync        *ad.Writer // nil: none
	domain      store.Domain
	old         store.Domain // as it is stored; zero when it is not
	credentials map[string]secret.Bytes
	checks      []Check

	changeUseCase bool
	object        *jumpcloud.ActiveDirectory    // of the domain at JumpCloud; nil: none yet
	created       []func(context.Context) error // how to undo what was done at JumpCloud, newest last
}

func (r *registration) passed(name, format string, args ...any) {
	r.checks = append(r.checks, Check{Name: name, Detail: fmt.Sprintf(format, args...)})
}

func (r *registration) failed(name, format string, args ...any) {
	r.checks = append(r.checks, Check{Name: name, Detail: fmt.Sprintf(format, args...), Failed: true})
}

func (r *registration) run(ctx context.Context) error {
	if _, ok := useCases[identity.UseCase(r.domain.UseCase)]; !ok {
		return fmt.Errorf("use case %q: want ad, two-way or jumpcloud", r.domain.UseCase)
	}
	// Nothing is written before all that is only looked at is as it must be.
	for _, step := range []func(context.Context) error{r.checkAD, r.checkDeleted, r.checkJumpCloud, r.findDirectory, r.checkSync, r.registerDirectory, r.registerAgents} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// undo takes back what was done at JumpCloud, newest first, even when ctx has
// ended.
func (r *registration) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	var left []error
	for i := len(r.created) - 1; i >= 0; i-- {
		if err := r.created[i](ctx); err != nil {
			left = append(left, fmt.Errorf("undo a half-made registration in JumpCloud (do it by hand): %w", err))
		}
	}
	return errors.Join(left...)
}
