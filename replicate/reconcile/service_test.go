package reconcile

import (
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store"
)

// TestServiceAccountIsNotImported: without a scope group it would be.
func TestServiceAccountIsNotImported(t *testing.T) {
	w := newWorld(t, func(d *store.Domain) {
		d.ScopeGroup, d.ImportAccount, d.SyncAccount = "", "svc-import@"+d.Name, `CORP\svc-sync`
	})
	for _, name := range []string{"svc-import", "svc-sync", "amy"} {
		w.hireInto(nil, name)
	}
	w.pass()
	for _, name := range []string{"svc-import", "svc-sync"} {
		if v, ok := w.verdict(name); !ok || !strings.Contains(v.Skip, "dirgate's own service account") {
			t.Errorf("%s: got %+v, %t", name, v, ok)
		}
		if _, err := w.store.LinkByGUID(w.domain.Name, w.guid(name)); err == nil {
			t.Errorf("%s: got a JumpCloud user", name)
		}
	}
	if _, err := w.store.LinkByGUID(w.domain.Name, w.guid("amy")); err != nil {
		t.Errorf("amy: %v, want a JumpCloud user", err)
	}
}
