package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

func useCase(u identity.UseCase) func(*store.Domain) {
	return func(d *store.Domain) { d.UseCase = string(u) }
}

func twoWay(t testing.TB) *world    { return newWorld(t, useCase(identity.UseTwoWay)) }
func fromCloud(t testing.TB) *world { return newWorld(t, useCase(identity.UseJumpCloud)) }

// both runs a test in both use cases that sync.
func both(t *testing.T, test func(t *testing.T, w *world)) {
	for _, u := range []identity.UseCase{identity.UseTwoWay, identity.UseJumpCloud} {
		t.Run(string(u), func(t *testing.T) { test(t, newWorld(t, useCase(u))) })
	}
}

// soon is a pass in which JumpCloud is looked at.
func (w *world) soon() (next time.Time) {
	w.t.Helper()
	w.clock.add(5 * time.Second)
	return w.pass()
}

// enrol makes users at JumpCloud who are bound to the AD object.
func (w *world) enrol(names ...string) (ids []string) {
	w.t.Helper()
	for _, name := range names {
		id, err := w.cloud.AddUser(jcsim.User{Username: name, Email: name + "@" + w.ad.Domain(), FirstName: strings.ToUpper(name[:1]) + name[1:], LastName: "Cloud"})
		w.ok(err)
		w.ok(w.cloud.BindUser(w.domain.JumpCloud.ADID, id, true))
		ids = append(ids, id)
	}
	return ids
}

// groupAt makes a bound group at JumpCloud.
func (w *world) groupAt(name string, members ...string) string {
	w.t.Helper()
	id, err := w.cloud.AddGroup(jcsim.Group{Name: name})
	w.ok(err)
	w.ok(w.cloud.BindGroup(w.domain.JumpCloud.ADID, id, true))
	for _, m := range members {
		w.ok(w.cloud.SetMember(id, m, true))
	}
	return id
}

// inAD finds an object of AD by sAMAccountName; nil: there is none.
func (w *world) inAD(sam string) *ldap.Entry {
	w.t.Helper()
	res, err := w.admin.Search(ldap.NewSearchRequest(w.ad.BaseDN(), ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		"(sAMAccountName="+ldap.EscapeFilter(sam)+")", nil, nil))
	w.ok(err)
	if len(res.Entries) == 0 {
		return nil
	}
	return res.Entries[0]
}

// wantAD compares attributes of an object of AD.
func (w *world) wantAD(sam string, pairs ...string) {
	w.t.Helper()
	e := w.inAD(sam)
	if e == nil {
		w.t.Fatalf("AD has no %q", sam)
	}
	for n := 0; n < len(pairs); n += 2 {
		if got := e.GetAttributeValue(pairs[n]); got != pairs[n+1] {
			w.t.Errorf("%s of %s is %q, want %q", pairs[n], sam, got, pairs[n+1])
		}
	}
}

// membersInAD are the sAMAccountNames of a group's members.
func (w *world) membersInAD(sam string) (names []string) {
	w.t.Helper()
	for _, dn := range w.inAD(sam).GetAttributeValues("member") {
		res, err := w.admin.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"sAMAccountName"}, nil))
		w.ok(err)
		names = append(names, res.Entries[0].GetAttributeValue("sAMAccountName"))
	}
	slices.Sort(names)
	return names
}

// TestS2_Create: a bound user gets an account, in the pass after; one that is
// STAGED waits, and so does nobody else.
func TestS2_Create(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.pass()
		id := w.enrol("ann")[0]
		staged, err := w.cloud.AddUser(jcsim.User{Username: "bea", Email: "bea@" + w.ad.Domain(), FirstName: "Bea", LastName: "Cloud", State: "STAGED"})
		w.ok(err)
		w.ok(w.cloud.BindUser(w.domain.JumpCloud.ADID, staged, true))
		unbound, err := w.cloud.AddUser(jcsim.User{Username: "cid", Email: "cid@" + w.ad.Domain()})
		w.ok(err)
		w.soon()
		w.wantAD("ann", "givenName", "Ann", "sn", "Cloud", "mail", "ann@"+w.ad.Domain(), "userPrincipalName", "ann@"+w.ad.Domain(), "userAccountControl", "512")
		if w.inAD("bea") != nil || w.inAD("cid") != nil {
			t.Error("an account was made of a STAGED user, or one that is not bound")
		}
		link, err := w.store.LinkByJumpCloudID(id)
		w.ok(err)
		if !link.BySync || !link.MadeInAD || link.How == "" {
			t.Errorf("link: %+v", link)
		}
		e, err := w.store.NewestCloudState(w.domain.Name, identity.UserChange, id)
		w.ok(err)
		if e.Status != identity.StatusApplied || e.Account.GUID != link.GUID || e.Account.SAM != "ann" {
			t.Errorf("the change: %+v", e)
		}
		w.ok(w.cloud.EditUser(staged, map[string]any{"state": "ACTIVATED"}))
		w.soon()
		w.wantAD("bea", "givenName", "Bea")
		w.ok(w.cloud.BindUser(w.domain.JumpCloud.ADID, unbound, true))
		w.soon()
		w.wantAD("cid", "mail", "cid@"+w.ad.Domain())
		w.idle()
	})
}

// TestS2_TakeOver: an account with the same username and mail address is
// paired, and its password is left alone; with another address it is not.
func TestS2_TakeOver(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.hireInto(nil, "ann")
		w.hireInto(nil, "bea")
		w.set(w.dn("ann"), "mail", "ann@"+w.ad.Domain())
		w.set(w.dn("bea"), "mail", "beate@"+w.ad.Domain())
		before := w.inAD("ann").GetAttributeValue("pwdLastSet")
		w.pass()
		ids := w.enrol("ann", "bea")
		w.soon()
		w.wantAD("ann", "pwdLastSet", before)
		if link, err := w.store.LinkByJumpCloudID(ids[0]); err != nil || !link.BySync || link.MadeInAD {
			t.Errorf("link of ann: %+v, %v", link, err)
		}
		if _, err := w.store.LinkByJumpCloudID(ids[1]); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("link of bea: %v, want none", err)
		}
		v, err := w.store.Verdict(w.domain.Name, identity.Sync, identity.GUID{}, ids[1])
		if err != nil || !strings.Contains(v.Skip, "make them agree") {
			t.Errorf("verdict about bea: %+v, %v", v, err)
		}
		w.idle()
	})
}

// TestS3_Users: what happens to a user at JumpCloud happens to its account, and
// nothing is ever deleted in AD.
func TestS3_Users(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.pass()
		id := w.enrol("ann")[0]
		w.soon()
		w.ok(w.cloud.EditUser(id, map[string]any{"firstname": "Anna", "lastname": "Blue"}))
		w.soon()
		w.wantAD("ann", "givenName", "Anna", "sn", "Blue")
		w.ok(w.cloud.EditUser(id, map[string]any{"state": "SUSPENDED"}))
		w.soon()
		w.wantAD("ann", "userAccountControl", "514")
		w.ok(w.cloud.EditUser(id, map[string]any{"state": "ACTIVATED"}))
		w.soon()
		w.wantAD("ann", "userAccountControl", "512")
		w.idle()
		w.ok(w.cloud.DeleteUser(id))
		w.soon()
		w.wantAD("ann", "userAccountControl", "514")
		if _, err := w.store.LinkByJumpCloudID(id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the link of a deleted user: %v", err)
		}
		w.idle()
		if u, ok := w.cloud.User(id); ok {
			t.Errorf("the user was made anew: %+v", u)
		}
	})
}

// TestS3_Unbound: who is unbound at JumpCloud stays as it is in AD.
func TestS3_Unbound(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.pass()
		id := w.enrol("ann")[0]
		w.soon()
		w.ok(w.cloud.BindUser(w.domain.JumpCloud.ADID, id, false))
		w.soon()
		w.ok(w.cloud.EditUser(id, map[string]any{"firstname": "Anna", "state": "SUSPENDED"}))
		w.soon()
		w.wantAD("ann", "givenName", "Ann", "userAccountControl", "512")
		w.idle()
	})
}

// TestS3_Groups: a bound group is made with its members, whose accounts are
// made in the same pass, and follows JumpCloud.
func TestS3_Groups(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.pass()
		ids := w.enrol("ann", "bea", "cid")
		id := w.groupAt("Sales", ids[0], ids[1])
		w.soon()
		if got := w.membersInAD("Sales"); !slices.Equal(got, []string{"ann", "bea"}) {
			t.Errorf("members: %v", got)
		}
		w.ok(w.cloud.SetMember(id, ids[0], false))
		w.ok(w.cloud.SetMember(id, ids[2], true))
		w.soon()
		if got := w.membersInAD("Sales"); !slices.Equal(got, []string{"bea", "cid"}) {
			t.Errorf("members: %v", got)
		}
		w.ok(w.cloud.EditGroup(id, map[string]any{"name": "Selling"}))
		w.soon()
		if w.inAD("Sales") != nil || w.inAD("Selling") == nil {
			t.Error("the group was not renamed")
		}
		w.idle()
		w.ok(w.cloud.DeleteGroup(id))
		w.soon()
		if got := w.membersInAD("Selling"); !slices.Equal(got, []string{"bea", "cid"}) {
			t.Errorf("members of a group that was deleted at JumpCloud: %v", got)
		}
		w.idle()
	})
}

// TestS3_GroupsSwap: groups whose names go round in a circle get them, and keep
// their members.
func TestS3_GroupsSwap(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.pass()
		names := []string{"Sales", "Works", "Board"}
		people := w.enrol("ann", "bea", "cid")
		var ids []string
		for n, name := range names {
			ids = append(ids, w.groupAt(name, people[n]))
		}
		w.soon()
		for _, id := range ids {
			w.ok(w.cloud.EditGroup(id, map[string]any{"name": "for the moment " + id}))
		}
		for n, id := range ids {
			w.ok(w.cloud.EditGroup(id, map[string]any{"name": names[(n+1)%len(names)]}))
		}
		w.soon()
		for n, name := range names {
			want := []string{"ann", "bea", "cid"}[(n+2)%3]
			if got := w.membersInAD(name); !slices.Equal(got, []string{want}) {
				t.Errorf("members of %s in AD: %v, want %s", name, got, want)
			}
			if got := w.members(name); !slices.Equal(got, []string{want}) {
				t.Errorf("members of %s at JumpCloud: %v, want %s", name, got, want)
			}
		}
		w.idle()
	})
}

// TestS3_SkippedGroup: a group that sync skips is remembered as a group, which
// the lists need to know.
func TestS3_SkippedGroup(t *testing.T) {
	w := fromCloud(t)
	w.pass()
	group, user := w.groupAt("ends."), w.enrol("longer-than-ad-takes-it")[0]
	w.soon()
	for id, want := range map[string]bool{group: true, user: false} {
		v, err := w.store.Verdict(w.domain.Name, identity.Sync, identity.GUID{}, id)
		if err != nil || v.Skip == "" || v.Group != want {
			t.Errorf("verdict about %s: %+v, %v, want group %v", id, v, err, want)
		}
	}
}

// TestS3_BoundByGroup: members of a bound group are users of the domain.
func TestS3_BoundByGroup(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.pass()
		id, err := w.cloud.AddUser(jcsim.User{Username: "ann", Email: "ann@" + w.ad.Domain(), FirstName: "Ann", LastName: "Cloud"})
		w.ok(err)
		w.groupAt("Sales", id)
		w.soon()
		w.wantAD("ann", "userAccountControl", "512")
		if got := w.membersInAD("Sales"); !slices.Equal(got, []string{"ann"}) {
			t.Errorf("members: %v", got)
		}
		w.idle()
	})
}

// TestS5_BothSides: of two edits of one field AD's prevails, others are merged,
// and the verdict tells which edit won.
func TestS5_BothSides(t *testing.T) {
	w := twoWay(t)
	w.hire("ann")
	w.pass()
	w.soon()
	id := w.user("ann").ID
	w.idle()
	w.set(w.dn("ann"), "givenName", "FromAD")
	w.ok(w.cloud.EditUser(id, map[string]any{"firstname": "FromCloud", "lastname": "Merged"}))
	for range 3 {
		w.soon()
	}
	w.wantAD("ann", "givenName", "FromAD", "sn", "Merged")
	if u := w.user("ann"); u.FirstName != "FromAD" || u.LastName != "Merged" {
		t.Errorf("at JumpCloud: %+v", u)
	}
	won := ""
	w.ok(w.store.EachVerdict(w.domain.Name, func(v store.Verdict) { won += v.Won }))
	if !strings.Contains(won, "FromAD") || !strings.Contains(won, "FromCloud") {
		t.Errorf("who won: %q", won)
	}
	w.idle()
}

// TestS5_EditedMeanwhile: an edit in AD after AD was read is not written over by
// an edit of JumpCloud's, and prevails.
func TestS5_EditedMeanwhile(t *testing.T) {
	w := twoWay(t)
	w.hire("ann")
	w.pass()
	w.soon()
	id := w.user("ann").ID
	w.idle()
	w.ok(w.cloud.EditUser(id, map[string]any{"firstname": "FromCloud", "lastname": "Merged"}))
	editing := &editing{Writer: w.writer, edit: func() { w.set(w.dn("ann"), "givenName", "FromAD") }}
	w.im.cfg.Writer = editing
	for range 3 {
		w.soon()
	}
	w.wantAD("ann", "givenName", "FromAD", "sn", "Merged")
	if u := w.user("ann"); u.FirstName != "FromAD" || u.LastName != "Merged" {
		t.Errorf("at JumpCloud: %+v", u)
	}
	w.idle()
}

// editing is a Writer before whose first update an administrator edits AD.
type editing struct {
	Writer
	edit func()
}

func (e *editing) UpdateUser(ctx context.Context, guid identity.GUID, attrs []ad.Attribute) (identity.User, error) {
	if e.edit != nil {
		e.edit()
		e.edit = nil
	}
	return e.Writer.UpdateUser(ctx, guid, attrs)
}

// TestI8_SyncGuard: more accounts than the limit are not disabled at once, and
// are after an approval.
func TestI8_SyncGuard(t *testing.T) {
	w := fromCloud(t)
	w.pass()
	ids := w.enrol("ann", "bea", "cid", "dan", "eve", "fay")
	w.soon()
	for _, id := range ids[:4] {
		w.ok(w.cloud.EditUser(id, map[string]any{"state": "SUSPENDED"}))
	}
	w.soon()
	w.soon()
	held, err := w.store.Held(identity.Sync, store.HeldOptions{})
	w.ok(err)
	if len(held) != 4 || held[0].Class != string(plan.ADDisables) {
		t.Fatalf("held: %+v", held)
	}
	w.wantAD("ann", "userAccountControl", "512")
	for _, e := range held[:2] {
		w.ok(w.store.Approve(t.Context(), e.Seq, "an administrator"))
	}
	w.ok(w.cloud.EditUser(ids[3], map[string]any{"state": "ACTIVATED"}))
	w.soon()
	w.wantAD("ann", "userAccountControl", "514")
	w.wantAD("dan", "userAccountControl", "512")
}

// TestI8_SyncLetsNobodyGo: an answer of JumpCloud's that binds nobody ends no
// links over the limit; once it is right again nothing is held, and an edit
// made meanwhile arrives.
func TestI8_SyncLetsNobodyGo(t *testing.T) {
	w := fromCloud(t)
	w.pass()
	ids := w.enrol("ann", "bea", "cid", "dan")
	var groups []string
	for _, name := range []string{"Sales", "Works", "Board"} {
		groups = append(groups, w.groupAt(name))
	}
	w.soon()
	bind := func(bound bool) {
		for _, id := range ids {
			w.ok(w.cloud.BindUser(w.domain.JumpCloud.ADID, id, bound))
		}
		for _, id := range groups {
			w.ok(w.cloud.BindGroup(w.domain.JumpCloud.ADID, id, bound))
		}
	}
	bind(false)
	w.im.Resync()
	w.soon()
	w.soon()
	held, err := w.store.Held(identity.Sync, store.HeldOptions{})
	w.ok(err)
	if len(held) != len(ids)+len(groups) {
		t.Fatalf("%d changes are held, want %d: %+v", len(held), len(ids)+len(groups), held)
	}
	for _, e := range held {
		if want := map[identity.ChangeKind]plan.Class{identity.UserChange: plan.ADDisables, identity.GroupChange: plan.GroupEnds}[e.Kind]; e.Class != string(want) {
			t.Errorf("%s of %s is held by guard %q, want %q", e.Kind, e.Account.SAM, e.Class, want)
		}
	}
	for _, id := range ids {
		if _, err := w.store.LinkByJumpCloudID(id); err != nil {
			t.Errorf("the link of %s: %v", id, err)
		}
	}
	w.ok(w.cloud.EditUser(ids[2], map[string]any{"lastname": "Edited"}))
	bind(true)
	w.soon()
	w.soon()
	w.wantAD("cid", "sn", "Edited")
	w.idle()
	for _, id := range ids[:2] { // few are let go without a question
		w.ok(w.cloud.BindUser(w.domain.JumpCloud.ADID, id, false))
	}
	w.soon()
	if _, err := w.store.LinkByJumpCloudID(ids[0]); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the link of one who was unbound: %v, want none", err)
	}
	w.ok(w.cloud.BindUser(w.domain.JumpCloud.ADID, ids[2], false))
	w.clock.add(30 * time.Minute)
	w.pass()
	if _, err := w.store.LinkByJumpCloudID(ids[2]); err != nil {
		t.Errorf("the link of the third within an hour: %v, want it held", err)
	}
}

// TestI8_SyncConfirms: an account is not disabled, and nobody taken out of a
// group, when a fresh read of JumpCloud does not say so.
func TestI8_SyncConfirms(t *testing.T) {
	w := fromCloud(t)
	w.pass()
	ids := w.enrol("ann", "bea")
	group := w.groupAt("Sales", ids...)
	w.soon()
	r := &run{Reconciler: w.im, d: identity.Sync}
	w.im.see(&r.world)
	confirm := func(id string, kind plan.Kind, user string) error {
		return r.confirm(t.Context(), plan.Result{CloudID: id, Verdict: plan.Verdict{Actions: []plan.Action{{Kind: kind, UserID: user}}}})
	}
	if err := confirm(ids[0], plan.ADDisable, ids[0]); !errors.Is(err, errDisagrees) {
		t.Errorf("an active user: %v", err)
	}
	if err := confirm(group, plan.ADRemoveMember, ids[0]); !errors.Is(err, errDisagrees) {
		t.Errorf("a member: %v", err)
	}
	w.ok(w.cloud.SetMember(group, ids[0], false))
	if err := confirm(group, plan.ADRemoveMember, ids[0]); err != nil {
		t.Errorf("no member: %v", err)
	}
	w.ok(w.cloud.BindGroup(w.domain.JumpCloud.ADID, group, false))
	if err := confirm(group, plan.ADRemoveMember, ids[0]); !errors.Is(err, errDisagrees) {
		t.Errorf("a group that is not bound any more: %v", err)
	}
	w.ok(w.cloud.EditUser(ids[0], map[string]any{"state": "SUSPENDED"}))
	if err := confirm(ids[0], plan.ADDisable, ids[0]); err != nil {
		t.Errorf("a suspended user: %v", err)
	}
	w.ok(w.cloud.DeleteUser(ids[1]))
	if err := confirm(ids[1], plan.ADDisable, ids[1]); !errors.Is(err, errDisagrees) {
		t.Errorf("one that was there when the plan was made: %v", err)
	}
	w.im.see(&r.world)
	if err := confirm(ids[1], plan.ADDisable, ids[1]); err != nil {
		t.Errorf("a deleted user: %v", err)
	}
}

// TestI8_SyncConfirmsNobody: a user whom JumpCloud does not find by its id, and
// lists all the same, was not deleted: its account stays enabled, and linked.
func TestI8_SyncConfirmsNobody(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.pass()
		id := w.enrol("ann")[0]
		w.soon()
		w.wantAD("ann", "userAccountControl", "512")
		w.cloud.Fail(jcsim.Fault{Operation: "GET /api/systemusers/{id}", Kind: jcsim.Status, Code: 404, Times: 50})
		w.ok(w.cloud.EditUser(id, map[string]any{"lastname": "Edited"}))
		for range 3 {
			w.soon()
		}
		w.wantAD("ann", "userAccountControl", "512")
		w.cloud.Heal()
		w.ok(w.cloud.EditUser(id, map[string]any{"firstname": "Anna"}))
		for range 3 {
			w.soon()
		}
		w.wantAD("ann", "givenName", "Anna")
		w.wantAD("ann", "sn", "Edited")
		w.ok(w.cloud.DeleteUser(id))
		for range 3 {
			w.soon()
		}
		w.wantAD("ann", "userAccountControl", "514")
	})
}

// lossy is a Writer whose answers get lost at times, after the write.
type lossy struct {
	Writer
	lost int // of the next so many writes
}

func (l *lossy) lose() error {
	if l.lost == 0 {
		return nil
	}
	l.lost--
	return fmt.Errorf("%w: injected", ad.ErrUnknown)
}

func (l *lossy) CreateUser(ctx context.Context, n ad.NewUser) (u identity.User, err error) {
	if u, err = l.Writer.CreateUser(ctx, n); err == nil {
		err = l.lose()
	}
	return u, err
}

func (l *lossy) Disable(ctx context.Context, guid identity.GUID) (u identity.User, err error) {
	if u, err = l.Writer.Disable(ctx, guid); err == nil {
		err = l.lose()
	}
	return u, err
}

func (l *lossy) AddMembers(ctx context.Context, group identity.GUID, members []identity.GUID) (err error) {
	if err = l.Writer.AddMembers(ctx, group, members); err == nil {
		err = l.lose()
	}
	return err
}

// TestL1_LostAnswers: a write to AD whose answer is lost is looked at before
// another try, and comes to the same.
func TestL1_LostAnswers(t *testing.T) {
	w := fromCloud(t)
	l := &lossy{Writer: w.writer, lost: 2}
	w.im = w.make(func(c *Config) { c.Writer = l })
	w.pass()
	ids := w.enrol("ann", "bea")
	w.groupAt("Sales", ids...)
	settle := func() {
		for range 4 {
			w.soon()
			w.clock.add(6 * time.Minute)
		}
	}
	settle()
	w.wantAD("ann", "userAccountControl", "512")
	w.wantAD("bea", "userAccountControl", "512")
	if got := w.membersInAD("Sales"); len(got) != 2 {
		t.Errorf("members: %v", got)
	}
	l.lost = 1
	w.ok(w.cloud.EditUser(ids[0], map[string]any{"state": "SUSPENDED"}))
	settle()
	w.wantAD("ann", "userAccountControl", "514")
	if l.lost != 0 {
		t.Error("no answer was lost")
	}
	w.ok(w.cloud.EditUser(ids[0], map[string]any{"state": "ACTIVATED"}))
	settle()
	w.wantAD("ann", "userAccountControl", "512")
	w.idle()
}

// TestS3_Refused: what AD refuses is a dead letter that names the right, holds
// up nobody, and is tried again when everything is compared.
func TestS3_Refused(t *testing.T) {
	w := fromCloud(t)
	w.hireInto([]string{adsim.ScopeGroup}, "ann")
	w.set(w.dn("ann"), "mail", "ann@"+w.ad.Domain())
	w.pass()
	ids := w.enrol("ann", "bea")
	w.soon()
	refuses := &refusing{Writer: w.writer, err: &ad.RightsError{Operation: "write", Object: w.dn("ann"), Text: "INSUFF_ACCESS_RIGHTS"}}
	w.im.cfg.Writer = refuses
	for _, id := range ids {
		w.ok(w.cloud.EditUser(id, map[string]any{"firstname": "Other"}))
	}
	w.soon()
	e, err := w.store.NewestCloudState(w.domain.Name, identity.UserChange, ids[0])
	if err != nil || e.Status != identity.StatusDead || !strings.Contains(e.Reason, "INSUFF_ACCESS_RIGHTS") || !strings.Contains(e.Reason, "changelog retry") {
		t.Errorf("the change of ann: %+v, %v", e, err)
	}
	refuses.err = nil
	w.im.Resync()
	w.soon()
	w.wantAD("ann", "givenName", "Other")
	w.wantAD("bea", "givenName", "Other")
}

type refusing struct {
	Writer
	err error
}

func (r *refusing) UpdateUser(ctx context.Context, guid identity.GUID, attrs []ad.Attribute) (identity.User, error) {
	if r.err != nil {
		return identity.User{}, fmt.Errorf("update AD user %s: %w", guid, r.err)
	}
	return r.Writer.UpdateUser(ctx, guid, attrs)
}

// TestS1_Restart: what was changed at JumpCloud while nothing ran is found, and
// what was recorded is applied.
func TestS1_Restart(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.pass()
		id := w.enrol("ann")[0]
		w.clock.add(5 * time.Second)
		w.ok(w.im.Cycle(t.Context()))
		w.im = w.make()
		w.pass()
		w.wantAD("ann", "givenName", "Ann")
		w.ok(w.cloud.EditUser(id, map[string]any{"firstname": "Anna"}))
		w.enrol("bea")
		w.im = w.make()
		w.pass()
		w.wantAD("ann", "givenName", "Anna")
		w.wantAD("bea", "givenName", "Bea")
		w.idle()
	})
}

// TestS1_PausedSync: while sync is paused its changes are recorded and the
// import goes on; its end applies them.
func TestS1_PausedSync(t *testing.T) {
	w := twoWay(t)
	w.pass()
	w.ok(w.store.SetPaused(t.Context(), w.domain.Name, identity.Sync, true, "ann"))
	w.enrol("bea")
	w.hire("cid")
	w.soon()
	w.want("bea", "cid")
	if w.inAD("bea") != nil {
		t.Error("sync was applied while it was paused")
	}
	stats, err := w.store.Stats()
	w.ok(err)
	if stats.Pending[identity.Sync] != 1 {
		t.Errorf("%d changes wait, want 1", stats.Pending[identity.Sync])
	}
	w.ok(w.store.SetPaused(t.Context(), w.domain.Name, identity.Sync, false, "ann"))
	w.soon()
	w.wantAD("bea", "givenName", "Bea")
	w.idle()
}
