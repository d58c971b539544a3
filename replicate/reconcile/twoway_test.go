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
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

// company is one whose administrators do things at random on both sides.
type company struct {
	*world
	rnd   *rand.Rand
	lossy *lossy
	n     int
	dns   []string // of people in AD
	log   []string
}

func (c *company) say(format string, args ...any) {
	c.log = append(c.log, fmt.Sprintf(format, args...))
}

func (c *company) restart() {
	none := plan.Limit{Count: 1000, Percent: 1000}
	limits := make(plan.Limits)
	for _, class := range plan.Classes {
		limits[class] = none
	}
	c.im = c.make(func(conf *Config) { conf.Limits, conf.Writer = limits, c.lossy })
}

// inAD is one thing that somebody does in AD.
func (c *company) editAD() {
	what := c.rnd.IntN(8)
	if len(c.dns) == 0 {
		what = 0
	}
	if what < 2 {
		c.n++
		name := fmt.Sprintf("ad%02d", c.n)
		c.hireInto([]string{adsim.ScopeGroup}, name)
		c.dns = append(c.dns, c.dn(name))
		c.say("AD: %s hired", name)
		return
	}
	dn := c.dns[c.rnd.IntN(len(c.dns))]
	c.say("AD: %d %s", what, dn)
	switch what {
	case 2:
		c.set(dn, "givenName", fmt.Sprintf("First%d", c.rnd.IntN(1000)))
	case 3:
		c.set(dn, "sn", fmt.Sprintf("Last%d", c.rnd.IntN(1000)))
	case 4:
		c.set(dn, "userAccountControl", []string{"512", "514"}[c.rnd.IntN(2)])
	case 5:
		c.set(dn, "department", fmt.Sprintf("Dept%d", c.rnd.IntN(5)))
	case 6, 7:
		m := ldap.NewModifyRequest(c.group("Inner"), nil)
		if what == 6 {
			m.Add("member", []string{dn})
		} else {
			m.Delete("member", []string{dn})
		}
		_ = c.admin.Modify(m) // it may be one, or none, already
	}
}

// editCloud is one thing that somebody does at JumpCloud.
func (c *company) editCloud() {
	users, groups := c.cloud.Users(), c.cloud.Groups()
	what := c.rnd.IntN(9)
	if len(users) == 0 {
		what = 0
	}
	if what < 2 {
		c.n++
		c.enrol(fmt.Sprintf("jc%02d", c.n))
		c.say("JC: jc%02d enrolled", c.n)
		return
	}
	u := users[c.rnd.IntN(len(users))]
	c.say("JC: %d %s", what, u.Username)
	edit := func(field string, value any) { _ = c.cloud.EditUser(u.ID, map[string]any{field: value}) }
	switch what {
	case 2:
		edit("firstname", fmt.Sprintf("First%d", c.rnd.IntN(1000)))
	case 3:
		edit("lastname", fmt.Sprintf("Last%d", c.rnd.IntN(1000)))
	case 4:
		edit("state", []string{"ACTIVATED", "SUSPENDED"}[c.rnd.IntN(2)])
	case 5:
		if c.rnd.IntN(3) == 0 {
			c.ok(c.cloud.DeleteUser(u.ID))
		}
	case 6:
		c.ok(c.cloud.BindUser(c.domain.JumpCloud.ADID, u.ID, c.rnd.IntN(2) == 0))
	case 7, 8:
		if len(groups) > 0 {
			c.ok(c.cloud.SetMember(groups[c.rnd.IntN(len(groups))].ID, u.ID, what == 7))
		}
	}
}

// disturb has a request fail, an answer get lost, or the reconciler die.
func (c *company) disturb() {
	switch c.rnd.IntN(5) {
	case 0:
		c.cloud.Fail(jcsim.Fault{Method: http.MethodPost, PathPrefix: "/api/systemusers", Kind: jcsim.HalfAnswer})
	case 1:
		c.cloud.Fail(jcsim.Fault{PathPrefix: "/api/v2", Method: http.MethodPost, Kind: jcsim.Status, Code: http.StatusInternalServerError})
	case 2:
		c.lossy.lost = 1
	case 3:
		c.restart()
	}
}

// TestS5_RandomHistories: whatever administrators do on both sides, and whatever
// fails on the way, in the end nothing is planned, the two sides have the same
// of every pair that is replicated, and nothing is written any more.
func TestS5_RandomHistories(t *testing.T) {
	for _, use := range []identity.UseCase{identity.UseTwoWay, identity.UseJumpCloud} {
		for seed := range uint64(histories / 2) {
			t.Run(fmt.Sprint(use, " ", seed), func(t *testing.T) {
				c := &company{world: newWorld(t, useCase(use)), rnd: rand.New(rand.NewPCG(seed, 6))}
				c.lossy = &lossy{Writer: c.writer}
				_, err := c.ad.AddGroup("Inner")
				c.ok(err)
				c.set(c.group(adsim.ScopeGroup), "member", c.group("Inner"))
				c.groupAt("Cloudy")
				c.restart()
				for range 20 {
					for range 1 + c.rnd.IntN(3) {
						if c.rnd.IntN(2) == 0 {
							c.editAD()
						} else {
							c.editCloud()
						}
					}
					c.disturb()
					if err := c.im.Cycle(t.Context()); err == nil {
						_, _ = c.im.Apply(t.Context()) // what fails is tried again
					}
					c.clock.add(time.Duration(c.rnd.IntN(60)) * time.Second)
				}
				c.converge()
			})
		}
	}
}

func (c *company) converge() {
	t := c.t
	c.cloud.Heal()
	c.lossy.lost = 0
	c.im.Resync()
	for range 8 {
		c.clock.add(6 * time.Minute)
		c.pass()
	}
	p, err := c.im.Plan(t.Context())
	c.ok(err)
	if actions := p.Actions(); len(actions) > 0 {
		t.Errorf("still planned: %+v\n%s\n%s", actions, c.openReasons(), strings.Join(c.log, "\n"))
	}
	c.cloud.ForgetHistory()
	before := c.usn()
	c.clock.add(2 * time.Minute)
	c.pass()
	if writes := c.cloud.Writes(); len(writes) > 0 || c.usn() != before {
		t.Errorf("a last pass wrote %v, and to AD: %v", writes, c.usn() != before)
	}
	links, err := c.store.Links(c.domain.Name)
	c.ok(err)
	bound, _ := c.cloud.Associations(c.domain.JumpCloud.ADID)
	for _, l := range links {
		u, there := c.cloud.User(l.JumpCloudID)
		if !there || !slices.Contains(bound, l.JumpCloudID) {
			continue
		}
		e := c.byGUID(l.GUID)
		if e == nil {
			continue
		}
		if first, last := e.GetAttributeValue("givenName"), e.GetAttributeValue("sn"); first != u.FirstName || last != u.LastName {
			t.Errorf("%s is %q %q in AD, and %q %q at JumpCloud\n%s", u.Username, first, last, u.FirstName, u.LastName, strings.Join(c.log, "\n"))
		}
		if disabled := e.GetAttributeValue("userAccountControl") == "514"; u.State == "SUSPENDED" && !disabled {
			t.Errorf("%s is suspended at JumpCloud, and enabled in AD\n%s", u.Username, strings.Join(c.log, "\n"))
		}
	}
}

// usn counts what was written to AD.
func (c *company) usn() string {
	res, err := c.admin.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"highestCommittedUSN"}, nil))
	c.ok(err)
	return res.Entries[0].GetAttributeValue("highestCommittedUSN")
}

func (c *company) byGUID(guid identity.GUID) *ldap.Entry {
	res, err := c.admin.Search(ldap.NewSearchRequest("<GUID="+guid.String()+">", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", nil, nil))
	if err != nil || len(res.Entries) == 0 {
		return nil
	}
	return res.Entries[0]
}

// openReasons says why changes are open.
func (c *company) openReasons() string {
	return (&history{world: c.world}).openReasons()
}
