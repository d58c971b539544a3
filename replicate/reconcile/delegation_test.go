package reconcile

import (
	"fmt"
	"strings"
	"testing"
)

// TestD1_Delegation: users have their passwords checked by AD as long as
// JumpCloud lets AD check them for the domain, and not before; a list that
// lacks the domain's object takes it from nobody.
func TestD1_Delegation(t *testing.T) {
	w := newWorld(t)
	w.hire("ann", "bea")
	delegated := func() (n int) {
		for _, u := range w.cloud.Users() {
			if strings.Contains(fmt.Sprint(u.Fields["delegatedAuthority"]), w.domain.JumpCloud.ADID) {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		state string
		want  int
	}{{"DISABLED", 0}, {"PENDING", 0}, {"ENABLED", 2}, {"DISABLED", 0}, {"ENABLED", 2}} {
		w.ok(w.cloud.SetDelegation(w.domain.JumpCloud.ADID, tt.state))
		w.im.Resync()
		w.pass()
		if n := delegated(); n != tt.want {
			t.Errorf("%s: AD checks the passwords of %d users, want %d", tt.state, n, tt.want)
		}
		w.idle()
	}
	w.domain.JumpCloud.ADID = strings.Repeat("0", 24)
	if err := w.make().Cycle(t.Context()); err == nil || !strings.Contains(err.Error(), "domain register") {
		t.Errorf("without the domain's object: %v", err)
	}
}
