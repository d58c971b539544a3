package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
)

// TestS4_BindAtForeign: a bind that a directory outside accepted is handed over
// for the domain that the directory has the users of, and the directory is asked
// nothing.
func TestS4_BindAtForeign(t *testing.T) {
	ca := certstest.New(t)
	dc, taught := newTeachingDC(2*time.Hour), newTaught()
	foreign := &Domain{Name: "elsewhere", BaseDN: "o=elsewhere", Foreign: true, Capture: true, Of: "corp.example.test", DCs: newScriptedDC(t, ca, dc.serve)}
	domains := []*Domain{{Name: "corp.example.test", DCs: newScriptedDC(t, ca, answerAll)}, foreign}
	r := newRigFor(t, ca, foreign, func(c *Config) { c.Binds, c.Domains = taught, func() []*Domain { return domains } })
	r.bindOnce("uid=alice,o=elsewhere", "Some.Pass1")
	select {
	case got := <-taught.told:
		if !strings.HasPrefix(got, "password-bind sync 00000000-") || !strings.HasSuffix(got, " 0 Some.Pass1") {
			t.Errorf("told %q", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was handed over")
	}
	if got := dc.searches.Load(); got != 0 {
		t.Errorf("the directory was asked %d times", got)
	}
}
