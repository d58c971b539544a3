package reconcile

import (
	"fmt"
	"time"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/settings"
	"github.com/dirgate/dirgate/store"
)

// Known is what the last import of a domain left in the store: AD as it was
// seen then, and the links. It asks neither side; of JumpCloud it has nothing.
func Known(st *store.Store, domain store.Domain, now time.Time) (plan.World, error) {
	i := Reconciler{cfg: Config{Store: st, Domain: domain, Now: func() time.Time { return now }}, settings: settings.Of(domain)}
	dir, err := i.stored()
	if err != nil {
		return plan.World{}, err
	}
	if len(dir.users)+len(dir.groups) == 0 {
		return plan.World{}, fmt.Errorf("no import of %s has run yet: run `dirgate replicate run --once --domain %s`, or first `dirgate replicate plan`, which writes nothing", domain.Name, domain.Name)
	}
	return i.world(dir)
}
