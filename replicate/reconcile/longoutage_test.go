package reconcile

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// TestS5_LongOutage: JumpCloud does not answer for ten minutes in which both
// sides are edited. Nothing is given up, and afterwards both sides are the same,
// with the last edit of each.
func TestS5_LongOutage(t *testing.T) {
	w := twoWay(t)
	w.hire("ann")
	w.pass()
	cloudy := w.enrol("cid")[0]
	team := w.groupAt("Team", cloudy)
	for range 3 {
		w.soon()
	}
	ann := w.user("ann").ID
	w.cloud.Fail(jcsim.Fault{PathPrefix: "/", Kind: jcsim.Status, Code: http.StatusServiceUnavailable, Times: 1 << 30})
	const looks = 120 // every 5 s
	for n := range looks {
		w.clock.add(5 * time.Second)
		if n%10 == 0 {
			w.set(w.dn("ann"), "sn", fmt.Sprint("Surname", n))
			w.set(w.inAD("cid").DN, "givenName", fmt.Sprint("FromAD", n))
			w.ok(w.cloud.EditUser(ann, map[string]any{"firstname": fmt.Sprint("Given", n)}))
			w.ok(w.cloud.EditUser(cloudy, map[string]any{"firstname": fmt.Sprint("FromCloud", n)}))
			w.ok(w.cloud.SetMember(team, cloudy, n%20 == 0))
			w.enrol(fmt.Sprint("jc", n))
			w.hire(fmt.Sprint("ad", n))
		}
		_ = w.im.Cycle(t.Context()) // it cannot look at JumpCloud
		_, _ = w.im.Apply(t.Context())
	}
	dead, err := w.store.List(store.ListOptions{Status: []identity.Status{identity.StatusDead}})
	w.ok(err)
	if len(dead) > 0 {
		t.Errorf("given up during the outage: %+v", dead)
	}
	w.cloud.Heal()
	w.until("JumpCloud is asked again", func() bool { return w.im.cfg.JumpCloud.Await(t.Context()) == nil })
	for range 4 {
		w.clock.add(6 * time.Minute)
		w.pass()
	}
	want := []string{"ann", "cid"}
	for n := 0; n < looks; n += 10 {
		want = append(want, fmt.Sprint("jc", n), fmt.Sprint("ad", n))
		w.wantAD(fmt.Sprint("jc", n), "userAccountControl", "512")
	}
	w.want(want...)
	w.wantAD("ann", "givenName", "Given110", "sn", "Surname110")
	w.wantAD("cid", "givenName", "FromAD110")
	if u := w.user("cid"); u.FirstName != "FromAD110" {
		t.Errorf("cid at JumpCloud is %q", u.FirstName)
	}
	if u := w.user("ann"); u.FirstName != "Given110" || u.LastName != "Surname110" {
		t.Errorf("ann at JumpCloud is %q %q", u.FirstName, u.LastName)
	}
	if slices.Contains(w.membersInAD("Team"), "cid") || slices.Contains(w.members("Team"), "cid") {
		t.Errorf("members in AD %v, at JumpCloud %v", w.membersInAD("Team"), w.members("Team"))
	}
	w.idle()
}
