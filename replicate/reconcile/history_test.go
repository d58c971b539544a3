package reconcile

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

// history is a company whose administrators do things at random, on both sides.
type history struct {
	*world
	rnd   *rand.Rand
	dns   []string // of people
	hired int
	log   []string
}

var groups = []string{adsim.ScopeGroup, "Inner", "Deep"}

func (h *history) pick() string {
	if len(h.dns) == 0 {
		return ""
	}
	return h.dns[h.rnd.IntN(len(h.dns))]
}

// step is one thing that somebody does.
func (h *history) step() {
	dn, group := h.pick(), h.group(groups[h.rnd.IntN(len(groups))])
	what := h.rnd.IntN(12)
	if dn == "" {
		what = 0
	}
	h.log = append(h.log, fmt.Sprint(what, " ", dn, " ", group))
	name := fmt.Sprintf("n%d", h.rnd.IntN(12)) // few, so that they are wanted again
	switch what {
	case 0, 1, 2:
		h.hired++
		name := fmt.Sprintf("user%02d", h.hired)
		h.hireInto([]string{groups[h.rnd.IntN(len(groups))]}, name)
		h.dns = append(h.dns, h.dn(name))
	case 3:
		h.ok(h.admin.Del(ldap.NewDelRequest(dn, nil)))
		h.dns = slices.DeleteFunc(h.dns, func(other string) bool { return other == dn })
	case 4:
		_ = h.modify(dn, "sAMAccountName", name) // it may be taken
	case 5:
		h.ok(h.modify(dn, "mail", name+"@"+h.ad.Domain()))
	case 6:
		h.ok(h.modify(dn, "userAccountControl", []string{"512", "514"}[h.rnd.IntN(2)]))
	case 7:
		h.ok(h.modify(dn, "manager", h.pick()))
	case 8, 9: // in or out
		m := ldap.NewModifyRequest(group, nil)
		if what == 8 {
			m.Add("member", []string{dn})
		} else {
			m.Delete("member", []string{dn})
		}
		_ = h.admin.Modify(m) // it may be one, or none, already
	case 10:
		h.ok(h.modify(dn, "sn", []string{"", "Test", "Other"}[h.rnd.IntN(3)]))
	case 11: // at JumpCloud
		if users := h.cloud.Users(); len(users) > 0 {
			h.ok(h.im.cfg.JumpCloud.DeleteUser(h.t.Context(), users[h.rnd.IntN(len(users))].ID))
		}
	}
}

func (h *history) modify(dn, attribute, value string) error {
	m := ldap.NewModifyRequest(dn, nil)
	var values []string
	if value != "" {
		values = []string{value}
	}
	m.Replace(attribute, values)
	return h.admin.Modify(m)
}

// disturb has a request fail, or the reconciler die.
func (h *history) disturb() {
	switch h.rnd.IntN(4) {
	case 0:
		h.cloud.Fail(jcsim.Fault{Method: http.MethodPost, PathPrefix: "/api/systemusers", Kind: jcsim.HalfAnswer})
	case 1:
		h.cloud.Fail(jcsim.Fault{PathPrefix: "/api/v2", Method: http.MethodPost, Kind: jcsim.Status, Code: http.StatusServiceUnavailable})
	case 2:
		h.restart()
	}
}

func (h *history) restart() {
	h.im = h.make(func(c *Config) {
		none := plan.Limit{Count: 1000, Percent: 101}
		c.Limits = plan.Limits{plan.Removals: none, plan.Suspensions: none, plan.GroupEnds: none, plan.Memberships: none}
	})
}

// openReasons says why changes are open.
func (h *history) openReasons() string {
	open, err := h.store.List(store.ListOptions{Status: []identity.Status{identity.StatusPending, identity.StatusHeld, identity.StatusDead}})
	h.ok(err)
	var all []string
	for _, e := range open {
		all = append(all, fmt.Sprint(e.Seq, " ", e.Account.SAM, " ", e.Status, ": ", e.Reason))
	}
	return strings.Join(all, "; ")
}

// TestI3_RandomHistories: whatever administrators do, and whatever fails on
// the way, in the end JumpCloud is what a full compare wants it to be.
func TestI3_RandomHistories(t *testing.T) {
	for seed := range uint64(histories) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			h := &history{world: newWorld(t), rnd: rand.New(rand.NewPCG(seed, 3))}
			for _, name := range groups[1:] {
				_, err := h.ad.AddGroup(name)
				h.ok(err)
			}
			h.set(h.group(groups[0]), "member", h.group("Inner"))
			h.set(h.group("Inner"), "member", h.group("Deep"))
			h.set(h.group("Deep"), "member", h.group("Inner")) // a cycle
			h.restart()
			for range 25 {
				for range 1 + h.rnd.IntN(4) {
					h.step()
				}
				h.disturb()
				if err := h.im.Cycle(t.Context()); err == nil {
					_, err = h.im.Apply(t.Context())
					if err != nil && !strings.Contains(err.Error(), "503") {
						t.Fatal(err)
					}
				}
				h.clock.add(time.Duration(h.rnd.IntN(120)) * time.Second)
			}
			h.cloud.Heal()
			h.im.Resync()
			for range 6 {
				h.pass()
				h.clock.add(6 * time.Minute)
			}
			p, err := h.im.Plan(t.Context())
			h.ok(err)
			if actions := p.Actions(); len(actions) > 0 {
				t.Errorf("still planned: %+v\nopen: %s\n%s", actions, h.openReasons(), strings.Join(h.log, "\n"))
			}
			h.cloud.ForgetHistory()
			h.pass()
			if writes := h.cloud.Writes(); len(writes) > 0 {
				t.Errorf("a last pass wrote %v", writes)
			}
		})
	}
}
