package reconcile

import (
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

// TestI1_FirstImport: users, nested and cyclic groups and managers of the first
// import; the second one does nothing.
func TestI1_FirstImport(t *testing.T) {
	w := newWorld(t)
	_, err := w.ad.AddGroup("Staff")
	w.ok(err)
	_, err = w.ad.AddGroup("Night")
	w.ok(err)
	w.hire("zoe")
	w.hireInto([]string{"Staff"}, "amy", adsim.Attribute{Name: "manager", Values: []string{w.dn("zoe")}},
		adsim.Attribute{Name: "title", Values: []string{"Smith"}}, adsim.Attribute{Name: "telephoneNumber", Values: []string{"+49 1"}})
	w.hireInto([]string{"Night"}, "ned")
	w.hireInto([]string{"Staff"}, "root", adsim.Attribute{Name: "adminCount", Values: []string{"1"}})
	w.set(w.group(adsim.ScopeGroup), "member", w.dn("zoe")+"\n"+w.group("Staff"))
	w.set(w.group("Staff"), "member", w.dn("amy")+"\n"+w.dn("root")+"\n"+w.group("Night"))
	w.set(w.group("Night"), "member", w.dn("ned")+"\n"+w.group("Staff"))
	w.hireInto(nil, "outsider")
	_, err = w.cloud.AddUser(jcsim.User{Username: "ned", Email: "ned@" + w.ad.Domain(), FirstName: "Ned", LastName: "Old"})
	w.ok(err)

	p, err := w.im.Plan(t.Context())
	w.ok(err)
	if writes := w.cloud.Writes(); len(writes) > 0 || len(p.Actions()) == 0 {
		t.Fatalf("a plan of %d actions wrote %v", len(p.Actions()), writes)
	}
	if stats, err := w.store.Stats(); err != nil || stats.LastSeq != 0 {
		t.Fatalf("a plan wrote to the log: %+v, %v", stats, err)
	}
	w.pass()
	w.want("zoe", "amy", "ned")
	amy, zoe := w.user("amy"), w.user("zoe")
	if amy.Fields["manager"] != zoe.ID || amy.Fields["jobTitle"] != "Smith" || amy.Fields["external_dn"] != w.dn("amy") {
		t.Errorf("amy is %+v", amy.Fields)
	}
	if ned := w.user("ned"); ned.LastName != "Test" {
		t.Errorf("the user that was there is %+v", ned)
	}
	for group, want := range map[string][]string{adsim.ScopeGroup: {"amy", "ned", "zoe"}, "Staff": {"amy", "ned"}, "Night": {"amy", "ned"}} {
		if got := w.members(group); !slices.Equal(got, want) {
			t.Errorf("members of %s: %v, want %v", group, got, want)
		}
	}
	users, groups := w.cloud.Associations(w.domain.JumpCloud.ADID)
	if len(users) != 3 || len(groups) != 3 {
		t.Errorf("bound: %v and %v, want 3 users and 3 groups", users, groups)
	}
	w.idle()
}

// TestI2_Changes: what an administrator does in AD has its effect, and leaves
// nothing to do.
func TestI2_Changes(t *testing.T) {
	w := newWorld(t)
	w.hire("ann", "bea", "cid", "dan", "eve")
	w.pass()
	w.want("ann", "bea", "cid", "dan", "eve")
	ids := make(map[string]string)
	for _, u := range w.cloud.Users() {
		ids[u.Username] = u.ID
	}
	mail := func(name string) string { return name + "@" + w.ad.Domain() }
	steps := []struct {
		name  string
		do    func()
		check func()
	}{
		{"renamed", func() { w.set(w.dn("ann"), "sAMAccountName", "anna", "mail", mail("anna")) },
			func() {
				if u := w.user("anna"); u.ID != ids["ann"] || u.Email != mail("anna") {
					t.Errorf("anna is %+v", u)
				}
			}},
		{"moved", func() {
			w.ok(w.admin.ModifyDN(ldap.NewModifyDNRequest(w.dn("bea"), "CN=Beate", true, "OU=Service,"+w.ad.BaseDN())))
		},
			func() {
				if u := w.user("bea"); u.ID != ids["bea"] || u.Fields["external_dn"] != "CN=Beate,OU=Service,"+w.ad.BaseDN() {
					t.Errorf("bea is %+v", u.Fields)
				}
			}},
		{"disabled", func() { w.set(w.dn("cid"), "userAccountControl", "514") },
			func() {
				if u := w.user("cid"); u.State != "SUSPENDED" {
					t.Errorf("cid is %s", u.State)
				}
			}},
		{"enabled", func() { w.set(w.dn("cid"), "userAccountControl", "512") },
			func() {
				if u := w.user("cid"); u.State != "ACTIVATED" {
					t.Errorf("cid is %s", u.State)
				}
			}},
		{"expired", func() {
			w.set(w.dn("dan"), "accountExpires", "132000000000000000")
		}, func() {
			if u := w.user("dan"); !u.PasswordExpired {
				t.Errorf("dan is %+v", u)
			}
		}},
		{"deleted", func() { w.ok(w.admin.Del(ldap.NewDelRequest(w.dn("eve"), nil))) },
			func() { w.want("anna", "bea", "cid", "dan") }},
		{"out of the scope group", func() { w.set(w.group(adsim.ScopeGroup), "member", w.dn("ann")+"\n"+w.dn("cid")+"\n"+w.dn("dan")) },
			func() { w.want("anna", "cid", "dan") }},
		{"two names swapped", func() {
			w.set(w.dn("ann"), "sAMAccountName", "spare", "mail", mail("spare"))
			w.set(w.dn("cid"), "sAMAccountName", "anna", "mail", mail("anna"))
			w.set(w.dn("ann"), "sAMAccountName", "cid", "mail", mail("cid"))
		}, func() {
			if a, c := w.user("anna"), w.user("cid"); a.ID != ids["cid"] || c.ID != ids["ann"] {
				t.Errorf("anna is %s and cid %s, want them swapped", a.ID, c.ID)
			}
		}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			w.t = t
			step.do()
			w.pass()
			step.check()
			w.idle()
		})
	}
	w.t = t
}

// TestI6_SuspensionOfOthers: one that the import did not make is not lifted.
func TestI6_SuspensionOfOthers(t *testing.T) {
	w := newWorld(t)
	w.hire("ann")
	w.pass()
	w.ok(w.im.cfg.JumpCloud.Suspend(t.Context(), w.user("ann").ID))
	w.set(w.dn("ann"), "title", "Boss")
	w.pass()
	if u := w.user("ann"); u.State != "SUSPENDED" || u.Fields["jobTitle"] != "Boss" {
		t.Errorf("ann is %s, %+v", u.State, u.Fields)
	}
	w.idle()
}

// TestI8_EmptiedScope: emptying the scope group changes nothing until it is
// approved.
func TestI8_EmptiedScope(t *testing.T) {
	w := newWorld(t)
	_, err := w.ad.AddGroup("Staff")
	w.ok(err)
	w.hire("ann", "bea", "cid", "dan")
	w.hireInto([]string{"Staff"}, "eve")
	w.set(w.group(adsim.ScopeGroup), "member", strings.Join([]string{w.dn("ann"), w.dn("bea"), w.dn("cid"), w.dn("dan"), w.group("Staff")}, "\n"))
	w.pass()
	w.idle()
	w.set(w.group(adsim.ScopeGroup), "member", "")
	w.cloud.ForgetHistory()
	w.pass()
	w.hireInto([]string{adsim.ScopeGroup}, "new")
	w.pass()
	w.want("ann", "bea", "cid", "dan", "eve", "new")
	if got := w.members("Staff"); !slices.Equal(got, []string{"eve"}) {
		t.Errorf("members of Staff: %v", got)
	}
	for _, write := range w.cloud.Writes() {
		if strings.HasPrefix(write.Operation, "DELETE") {
			t.Errorf("%s %s", write.Operation, write.Path)
		}
	}
	held := w.held()
	if len(held) != 6 { // five users and a group
		t.Fatalf("%d are held: %+v", len(held), held)
	}
	w.im = w.make() // a restart
	w.clock.add(2 * time.Minute)
	w.pass()
	if again := w.held(); len(again) != len(held) || again[0].Seq != held[0].Seq {
		t.Errorf("after a restart %d are held, from %d on; before %d, from %d on", len(again), again[0].Seq, len(held), held[0].Seq)
	}
	for _, e := range held {
		w.ok(w.store.Approve(t.Context(), e.Seq, "admin"))
	}
	w.pass()
	w.want("new")
	w.idle()
}

// TestI8_RefilledScope: what was held is dropped when it is not wanted any
// more.
func TestI8_RefilledScope(t *testing.T) {
	w := newWorld(t)
	w.hire("ann", "bea", "cid", "dan")
	w.pass()
	members := strings.Join([]string{w.dn("ann"), w.dn("bea"), w.dn("cid"), w.dn("dan")}, "\n")
	w.set(w.group(adsim.ScopeGroup), "member", "")
	w.pass()
	if n := len(w.held()); n != 4 {
		t.Fatalf("%d are held, want 4", n)
	}
	w.set(w.group(adsim.ScopeGroup), "member", members)
	w.pass()
	w.want("ann", "bea", "cid", "dan")
	w.idle()
}

// TestI8_Trickle: a guard counts what is done within an hour together.
func TestI8_Trickle(t *testing.T) {
	w := newWorld(t)
	names := []string{"ann", "bea", "cid", "dan", "eve", "fay"}
	w.hire(names...)
	w.pass()
	for _, name := range names[:3] {
		w.ok(w.admin.Del(ldap.NewDelRequest(w.dn(name), nil)))
		w.pass()
	}
	w.want("cid", "dan", "eve", "fay")
	if held := w.held(); len(held) != 1 || held[0].Class != "removals" {
		t.Fatalf("held: %+v", held)
	}
	w.ok(w.store.Reject(t.Context(), w.held()[0].Seq, "she stays"))
}

// TestI8_Rejected: who a person decided to keep is not taken away later, when
// few enough are left for the guard.
func TestI8_Rejected(t *testing.T) {
	w := newWorld(t)
	names := []string{"ann", "bea", "cid", "dan", "eve", "fay"}
	w.hire(names...)
	w.pass()
	var stay []string
	for _, name := range names[3:] {
		stay = append(stay, w.dn(name))
	}
	w.set(w.group(adsim.ScopeGroup), "member", strings.Join(stay, "\n"))
	w.pass()
	held := w.held()
	if len(held) != 3 {
		t.Fatalf("held: %+v", held)
	}
	for _, e := range held {
		if e.Account.SAM == "cid" {
			w.ok(w.store.Approve(t.Context(), e.Seq, "admin"))
		} else {
			w.ok(w.store.Reject(t.Context(), e.Seq, "she stays"))
		}
	}
	for range 2 {
		w.pass()
		w.want("ann", "bea", "dan", "eve", "fay")
		w.clock.add(7 * time.Hour) // a full comparison, and nothing else within the hour
	}
	again := w.held()
	if len(again) != 2 || again[0].Class != "removals" || !strings.Contains(again[0].Reason, "she stays") {
		t.Fatalf("held again: %+v", again)
	}
	w.ok(w.store.Reject(t.Context(), again[0].Seq, "she stays, as was said"))
	w.ok(w.store.Approve(t.Context(), again[1].Seq, "admin"))
	w.pass()
	w.want("ann", "dan", "eve", "fay")
	w.set(w.group(adsim.ScopeGroup), "member", strings.Join(append(stay, w.dn("ann")), "\n"))
	w.pass()
	w.want("ann", "dan", "eve", "fay")
	if again := w.held(); len(again) != 0 {
		t.Errorf("back in scope, and held: %+v", again)
	}
	w.idle()
}

// TestI8_HeldAndEdited: neither who waits for a decision nor who was to be kept
// is taken away because of an edit, when few enough are left for the guard.
func TestI8_HeldAndEdited(t *testing.T) {
	w := newWorld(t)
	names := []string{"ann", "bea", "cid", "dan", "eve", "fay"}
	w.hire(names...)
	w.pass()
	var stay []string
	for _, name := range names[3:] {
		stay = append(stay, w.dn(name))
	}
	w.set(w.group(adsim.ScopeGroup), "member", strings.Join(stay, "\n"))
	w.pass()
	for _, e := range w.held() {
		switch e.Account.SAM {
		case "bea":
			w.ok(w.store.Reject(t.Context(), e.Seq, "she stays"))
		case "cid":
			w.ok(w.store.Approve(t.Context(), e.Seq, "admin"))
		}
	}
	w.pass()
	w.clock.add(2 * time.Hour) // nothing else within the hour
	w.pass()
	w.want("ann", "bea", "dan", "eve", "fay")
	for _, sn := range []string{"Once", "Twice"} {
		w.set(w.dn("ann"), "sn", sn)
		w.set(w.dn("bea"), "sn", sn)
		w.pass()
		w.want("ann", "bea", "dan", "eve", "fay")
	}
	why := make(map[string]string)
	for _, e := range w.held() {
		why[e.Account.SAM] = e.Reason
	}
	if len(why) != 2 || !strings.Contains(why["ann"], "pass by themselves") || strings.Count(why["bea"], "she stays") != 1 {
		t.Errorf("held: %v", why)
	}
	w.set(w.group(adsim.ScopeGroup), "member", strings.Join(append(stay, w.dn("ann"), w.dn("bea")), "\n"))
	w.pass()
	if held := w.held(); len(held) != 0 {
		t.Errorf("back in scope, and held: %+v", held)
	}
	w.idle()
}

// TestI8_Disagreement: an account that is there all the same is not taken for
// deleted.
func TestI8_Disagreement(t *testing.T) {
	w := newWorld(t)
	w.hire("ann", "bea")
	w.pass()
	w.im.cfg.Reader = &forgetful{Reader: w.im.cfg.Reader}
	w.im.Resync()
	next := w.pass()
	w.want("ann", "bea")
	if next.IsZero() {
		t.Error("nothing is to be tried again")
	}
	pending, err := w.store.Pending(identity.Import, 10, 0)
	w.ok(err)
	if len(pending) != 2 || !strings.Contains(pending[0].Reason, "does not confirm") {
		t.Errorf("pending: %+v", pending)
	}
}

// TestL1_Restart: the reconciler goes on where the log and the mirror are.
func TestL1_Restart(t *testing.T) {
	w := newWorld(t)
	w.hire("ann", "bea")
	w.ok(w.im.Cycle(t.Context())) // and dies
	w.im = w.make()
	w.pass()
	w.want("ann", "bea")
	w.hire("cid")
	w.im = w.make()
	w.pass()
	w.want("ann", "bea", "cid")
	w.idle()
}

// TestI2_RestoredDC: a controller restored from an older copy, and one whose
// state was taken back, lead to a full compare that loses nobody.
func TestI2_RestoredDC(t *testing.T) {
	for name, back := range map[string]func(*adsim.Server, adsim.Content){
		"restored": func(s *adsim.Server, c adsim.Content) { s.Restore(c) },
		"reverted": func(s *adsim.Server, c adsim.Content) { s.Revert(c) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.hire("ann", "bea", "cid")
			w.pass()
			content := w.ad.Save()
			w.set(w.dn("ann"), "sAMAccountName", "anna")
			w.set(w.dn("bea"), "userAccountControl", "514")
			w.pass()
			w.want("anna", "bea", "cid")
			back(w.ad, content)
			w.pass()
			w.want("ann", "bea", "cid")
			if u := w.user("bea"); u.State != "ACTIVATED" {
				t.Errorf("bea, who was enabled in the copy, is %s", u.State)
			}
			w.idle()
		})
	}
}

// TestI8_OutOfSight: an account that is not found any more, and of which AD has
// no deleted object, keeps its JumpCloud user until a person decides.
func TestI8_OutOfSight(t *testing.T) {
	w := newWorld(t)
	w.hire("ann", "bea")
	w.pass()
	content := w.ad.Save()
	w.hire("cid")
	w.pass()
	w.want("ann", "bea", "cid")
	w.ad.Revert(content)
	w.pass()
	w.want("ann", "bea", "cid")
	held, err := w.store.Held(identity.Import, store.HeldOptions{})
	w.ok(err)
	if len(held) != 1 || held[0].Class != string(plan.Removals) || !strings.Contains(held[0].Reason, "hidden from the import account") {
		t.Fatalf("held: %+v", held)
	}
	w.clock.add(7 * time.Hour) // a full comparison
	w.pass()
	w.want("ann", "bea", "cid")
	if again, err := w.store.Held(identity.Import, store.HeldOptions{}); err != nil || len(again) != 1 {
		t.Errorf("held after another comparison: %+v, %v", again, err)
	} else {
		held = again
	}
	w.ok(w.store.Approve(t.Context(), held[0].Seq, "an administrator"))
	w.pass()
	w.want("ann", "bea")
	w.ok(w.admin.Del(ldap.NewDelRequest(w.dn("bea"), nil)))
	w.pass()
	w.want("ann")
}

// TestUnbind: user_dissociation_action unbind leaves the user to JumpCloud.
func TestUnbind(t *testing.T) {
	w := newWorld(t, func(d *store.Domain) { d.Actions.Dissociation = identity.ActionUnbind })
	w.hire("ann")
	w.pass()
	w.ok(w.admin.Del(ldap.NewDelRequest(w.dn("ann"), nil)))
	w.pass()
	w.want("ann")
	if users, _ := w.cloud.Associations(w.domain.JumpCloud.ADID); len(users) != 0 {
		t.Errorf("still bound: %v", users)
	}
	if links, err := w.store.Links(w.domain.Name); err != nil || len(links) != 0 {
		t.Errorf("links %v, %v", links, err)
	}
	w.idle()
}
