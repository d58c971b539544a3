package admin

import (
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/go-ldap/ldap/v3"
)

// asAdmin changes AD as an administrator does.
func (w *world) asAdmin(do func(*ldap.Conn) error) {
	w.t.Helper()
	conn, err := ldap.DialURL(w.ad.URL(), ldap.DialWithTLSConfig(w.ca.Client("127.0.0.1")))
	if err == nil {
		defer conn.Close()
		err = conn.Bind(w.ad.AdminDN(), "Admin.Pass1")
	}
	if err == nil {
		err = do(conn)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) run(full bool) {
	w.t.Helper()
	if _, err := w.client.RunImport(w.t.Context(), "", full); err != nil {
		w.t.Fatal(err)
	}
}

// imported is a world whose import has run.
func imported(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.register()
	w.local.Reconciler = w.reconciler
	w.run(false)
	return w
}

// tell is the story of a user, which is the same over the socket.
func (w *world) tell(name string) Story {
	w.t.Helper()
	s, err := w.client.Why(w.t.Context(), "", name)
	if err != nil {
		w.t.Fatal(err)
	}
	want, err := w.local.Why(w.t.Context(), "", name)
	equal(w.t, "story of "+name, s, want, err)
	return s
}

// has reports whether an event has the words, and is about what.
func (s Story) has(what, detail string) bool {
	return slices.ContainsFunc(s.Events, func(e Event) bool { return strings.Contains(e.What, what) && strings.Contains(e.Detail, detail) })
}

// TestWhy: the story of who is linked, skipped, renamed, held and deleted.
func TestWhy(t *testing.T) {
	w := imported(t)
	alice := w.tell("alice")
	if alice.Status != Linked || !strings.HasPrefix(alice.How, "taken over by the import") || !alice.has("attempt to write it to JumpCloud", "link (the same username and mail)") {
		t.Errorf("alice, who was there: %+v", alice)
	}
	if len(alice.Verdicts) > 0 {
		t.Errorf("of alice, for whom all is done: %+v", alice.Verdicts)
	}
	for _, name := range []string{"ALICE", "alice@" + domainName, alice.DN, alice.GUID.String(), alice.JumpCloudID} {
		if got := w.tell(name); got.GUID != alice.GUID || got.JumpCloudID != alice.JumpCloudID {
			t.Errorf("by %s: %+v", name, got)
		}
	}
	if carol := w.tell("carol"); carol.Status != Skipped || !strings.Contains(carol.Reason, "disabled in AD") || len(carol.Verdicts) != 1 || carol.Verdicts[0].Since.IsZero() {
		t.Errorf("carol, who is disabled: %+v", carol)
	}
	seq := w.changePassword()
	if alice = w.tell("alice"); !alice.has("password change", "") || !alice.has("accepted by Active Directory", "") || alice.Events[0].Change != seq {
		t.Errorf("alice, whose password was changed: %+v", alice.Events)
	}

	bob := w.tell("bob")
	w.asAdmin(func(c *ldap.Conn) error {
		m := ldap.NewModifyRequest(bob.DN, nil)
		m.Replace("sAMAccountName", []string{"robert"})
		return c.Modify(m)
	})
	w.run(false)
	for _, name := range []string{"robert", "bob"} { // the old name is that of the link
		got := w.tell(name)
		if got.GUID != bob.GUID || got.Name != "robert" || !got.has("attempt", `username "bob" -> "robert"`) || !got.has("JumpCloud has it", "") {
			t.Errorf("%s: %+v", name, got)
		}
		if last := got.Events[0]; last.Type != store.RecordApplied || slices.ContainsFunc(got.Events, func(e Event) bool { return e.At.After(last.At) }) {
			t.Errorf("%s: the newest event is %+v", name, last)
		}
	}

	dave := w.tell("dave")
	w.asAdmin(func(c *ldap.Conn) error { return c.Del(ldap.NewDelRequest(dave.DN, nil)) })
	w.run(false)
	for _, name := range []string{"dave", dave.GUID.String(), dave.DN} {
		got := w.tell(name)
		if got.Status != Gone || got.GUID != dave.GUID || !got.has("attempt", "delete user (the AD account was deleted)") {
			t.Errorf("%s, who was deleted: %+v", name, got)
		}
	}

	w.empty(adsim.ScopeGroup)
	w.run(false)
	held, err := w.client.Held(t.Context(), HeldQuery{Class: string(plan.Removals)})
	if err != nil || len(held) == 0 {
		t.Fatalf("held: %v, %v", held, err)
	}
	if err := w.client.Approve(t.Context(), held[0].Seq, "approved by root"); err != nil {
		t.Fatal(err)
	}
	if got := w.tell(held[0].Account.GUID.String()); !got.has("held by the guard of removals", "") || !got.has("let pass by a person", "approved by root") {
		t.Errorf("who was held and let pass: %+v", got.Events)
	}
	group, err := w.client.GroupWhy(t.Context(), "", adsim.ScopeGroup)
	if err != nil || !group.Group || group.Status != Linked || group.How != "made at JumpCloud by the import" || !group.has("attempt", "create group") || !group.has("attempt", "add member alice") {
		t.Errorf("the scope group: %+v, %v", group, err)
	}

	for _, ask := range []func(string) error{
		func(name string) error { _, err := w.client.Why(t.Context(), "", name); return err },
		func(name string) error { _, err := w.client.GroupWhy(t.Context(), "", name); return err },
	} {
		if err := ask("nosuch"); err == nil || !strings.Contains(err.Error(), "the change log has none") {
			t.Errorf("nobody: %v", err)
		}
	}
	if _, err := w.client.GroupWhy(t.Context(), "", "alice"); err == nil {
		t.Error("alice is no group")
	}
}

// TestWhyNamesake: of an account that is not linked the story says what sync
// says of the JumpCloud user with its name.
func TestWhyNamesake(t *testing.T) {
	w := newWorld(t)
	d := w.register()
	const why = "is privileged (adminCount=1): never written"
	err := w.local.Store.AppendImport(t.Context(), d.Name, store.ImportBatch{CursorName: "c",
		Users: []identity.User{{GUID: identity.GUID{1}, DN: "CN=boss", Username: "boss"}, {GUID: identity.GUID{2}, DN: "CN=ann", Username: "ann"}}})
	if err == nil {
		err = w.local.Store.PutVerdicts(t.Context(), d.Name, []store.Verdict{{Direction: identity.Sync, CloudID: "c1", Name: "Boss", Skip: why}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := w.tell("boss"); got.Status != Skipped || got.Reason != why || len(got.Verdicts) != 1 || got.JumpCloudID != "" {
		t.Errorf("the namesake: %+v", got)
	}
	if got := w.tell("ann"); len(got.Verdicts) != 0 {
		t.Errorf("another: %+v", got)
	}
}

// TestWhyAmbiguous: a name that two have is not anybody's; the nearer one
// comes first.
func TestWhyAmbiguous(t *testing.T) {
	w := newWorld(t)
	d := w.register()
	user := func(n byte, name, mail string) identity.User {
		return identity.User{GUID: identity.GUID{n}, DN: "CN=" + name, Username: name, Mail: mail}
	}
	err := w.local.Store.AppendImport(t.Context(), d.Name, store.ImportBatch{CursorName: "c",
		Users: []identity.User{user(1, "ann", "shared@x"), user(2, "ann.b", "shared@x"), user(3, "cid", "ann")}})
	if err != nil {
		t.Fatal(err)
	}
	if o, err := w.local.find(t.Context(), d, "Ann", false); err != nil || o.guid != (identity.GUID{1}) {
		t.Errorf("ann: %+v, %v", o, err)
	}
	if _, err := w.local.find(t.Context(), d, "shared@x", false); err == nil || !strings.Contains(err.Error(), "several") {
		t.Errorf("a mail address of two: %v", err)
	}
	if o, err := w.local.find(t.Context(), d, "erin", false); err != nil || o.name != "erin" {
		t.Errorf("whom only AD knows: %+v, %v", o, err)
	}
}

// TestResyncUser: what JumpCloud does not have as it should be is repaired,
// and of whom nothing is wanted it says why.
func TestResyncUser(t *testing.T) {
	w := imported(t)
	alice := w.tell("alice")
	run, err := w.client.ResyncUser(t.Context(), "", "alice")
	if err != nil || run.Change.Status != identity.StatusApplied || len(run.Done) > 0 || !strings.Contains(run.Result, "both sides agree") {
		t.Errorf("with nothing to do: %+v, %v", run, err)
	}
	peers, err := w.peers(domainName)
	if err == nil {
		_, err = peers.JumpCloud.UpdateUser(t.Context(), alice.JumpCloudID, "", []jumpcloud.Field{{Name: plan.FieldLast, To: "Drifted"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	run, err = w.client.ResyncUser(t.Context(), "", "alice@"+domainName)
	if u, _ := w.cloud.User(alice.JumpCloudID); err != nil || run.Result != "done" || len(run.Done) != 1 || !strings.Contains(run.Done[0], `lastname "Drifted" -> "Archer"`) || u.LastName != "Archer" {
		t.Errorf("after a drift: %+v, %v; JumpCloud has %q", run, err, u.LastName)
	}
	if s := w.tell("alice"); !s.has("because a person asked", "user resync") {
		t.Errorf("the story does not tell of it: %+v", s.Events)
	}
	run, err = w.client.ResyncUser(t.Context(), "", "carol")
	if err != nil || run.Change.Status != identity.StatusDiscarded || !strings.Contains(run.Result, "disabled in AD") {
		t.Errorf("carol, who is disabled: %+v, %v", run, err)
	}
	w.local.Reconciler = nil
	if _, err := w.client.ResyncUser(t.Context(), "", "alice"); err == nil || !strings.Contains(err.Error(), "recorded, and not applied: "+errNoImport.Error()) {
		t.Errorf("where nothing can be imported: %v", err)
	}
}

// TestResyncUserFromJumpCloud: where JumpCloud is the authority, what AD does
// not have as it should be is repaired.
func TestResyncUserFromJumpCloud(t *testing.T) {
	w := imported(t)
	ctx, account := t.Context(), w.addSync()
	alice := w.tell("alice")
	_, err := w.client.Update(ctx, UpdateRequest{UseCase: new("jumpcloud"), SyncAccount: &account, SyncPassword: []byte(syncPassword), Confirmed: true})
	if err != nil {
		t.Fatal(err)
	}
	w.run(true)
	run, err := w.client.ResyncUser(ctx, "", "alice")
	if err != nil || run.Change.Direction != identity.Sync || run.Change.CloudID != alice.JumpCloudID || run.Change.Actor != "user resync" || !strings.Contains(run.Result, "both sides agree") {
		t.Errorf("with nothing to do: %+v, %v", run, err)
	}
	if err := w.cloud.EditUser(alice.JumpCloudID, map[string]any{"lastname": "Edited"}); err != nil {
		t.Fatal(err)
	}
	run, err = w.client.ResyncUser(ctx, "", "alice")
	if err != nil || run.Result != "done" || len(run.Done) != 1 || !strings.Contains(run.Done[0], `sn "Archer" -> "Edited"`) {
		t.Errorf("after an edit: %+v, %v", run, err)
	}
	if _, err := w.client.ResyncUser(ctx, "", "carol"); err == nil || !strings.Contains(err.Error(), "has no JumpCloud user that could be compared") {
		t.Errorf("carol, whom JumpCloud does not have: %v", err)
	}
}

// TestI7_Order: what a person wants is written and kept against the use case,
// and nobody is shut out without a question.
func TestI7_Order(t *testing.T) {
	w := imported(t)
	ctx := t.Context()
	alice := w.tell("alice")
	d, err := w.local.Store.Domain(domainName)
	if err != nil {
		t.Fatal(err)
	}
	now := func() identity.User {
		t.Helper()
		peers, err := w.peers(domainName)
		if err != nil {
			t.Fatal(err)
		}
		u, err := peers.JumpCloud.User(ctx, alice.JumpCloudID)
		if err != nil {
			t.Fatal(err)
		}
		return jumpcloud.ToIdentity(&u, d.JumpCloud.ADID)
	}
	ask := func(q OrderRequest) OrderAnswer {
		t.Helper()
		q.Name = "alice"
		a, err := w.client.Order(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	holds := func(password bool, delegated string) {
		t.Helper()
		w.run(true) // and the import leaves it so
		if u := now(); slices.Contains(strings.Fields(u.Restricted), "password") != password || u.DelegatedTo != delegated || !strings.Contains(u.Restricted, "firstname") {
			t.Errorf("restricted %q, delegated to %q; want password %t, %q", u.Restricted, u.DelegatedTo, password, delegated)
		}
	}
	holds(true, "")
	w.cloud.ForgetHistory()
	if a := ask(OrderRequest{Delegation: "ad"}); len(a.Refused) != 1 || !strings.Contains(a.Refused[0], "PENDING") || len(w.cloud.Writes()) > 0 {
		t.Errorf("where delegation is not on yet: %+v, %v", a, w.cloud.Writes())
	}
	if a := ask(OrderRequest{PasswordAuthority: "jumpcloud"}); len(a.Refused) != 1 || !strings.Contains(a.Refused[0], "no password at JumpCloud") {
		t.Errorf("without a password there: %+v", a)
	}
	if a := ask(OrderRequest{PasswordAuthority: "jumpcloud", Force: true}); !slices.Equal(a.Written, []string{plan.FieldRestrict}) || a.Link.PasswordAuthority != identity.JumpCloud {
		t.Errorf("forced: %+v", a)
	}
	holds(false, "")
	if a := ask(OrderRequest{Delegation: "ad", Force: true}); !slices.Equal(a.Written, []string{plan.FieldDelegate}) {
		t.Errorf("forced: %+v", a)
	}
	holds(false, d.JumpCloud.ADID)
	if s := w.tell("alice"); s.PasswordAuthority != identity.JumpCloud || s.Delegation != identity.AD {
		t.Errorf("the story does not tell the orders: %+v", s)
	}
	view, err := w.client.User(ctx, "", alice.JumpCloudID)
	if err != nil || view.PasswordStatus != "Delegated" || view.PasswordAuthority != identity.JumpCloud || view.DelegatedAuthority != identity.AD {
		t.Errorf("user show by JumpCloud's id: %+v, %v", view, err)
	}
	if a := ask(OrderRequest{PasswordAuthority: AsUseCase, Delegation: AsUseCase, Force: true}); a.Link.PasswordAuthority != "" || a.Link.Delegation != "" || a.Later == "" {
		t.Errorf("ended: %+v", a)
	}
	holds(true, "")

	if _, err := w.client.Order(ctx, OrderRequest{Name: "alice", Delegation: "nobody"}); err == nil {
		t.Error("delegation to nobody was taken")
	}
	if _, err := w.client.Order(ctx, OrderRequest{Name: "carol", Delegation: "ad"}); err == nil || !strings.Contains(err.Error(), "not linked") {
		t.Errorf("who is not linked: %v", err)
	}
}

// TestShutOut: every way in which an order keeps a user from signing in at
// JumpCloud.
func TestShutOut(t *testing.T) {
	const adID = "5f0000000000000000000001"
	delegated, active := identity.User{DelegatedTo: adID}, identity.User{Activated: true}
	byAD, toAD := identity.Link{PasswordAuthority: identity.AD}, identity.Link{Delegation: identity.AD}
	tests := []struct {
		name      string
		use       identity.UseCase
		sync      string
		state     string
		now, then identity.User
		link      identity.Link
		want      string // empty: nothing
	}{
		{"enabled", identity.UseAD, "", "ENABLED", active, delegated, toAD, ""},
		{"pending", identity.UseAD, "", "PENDING", active, delegated, toAD, "PENDING"},
		{"off", identity.UseTwoWay, "", "DISABLED", active, delegated, toAD, "DISABLED"},
		{"no import agent", identity.UseJumpCloud, "", "ENABLED", active, delegated, toAD, "no import agent"},
		{"delegated already, and not by order", identity.UseAD, "", "PENDING", delegated, delegated, byAD, ""},
		{"member servers", identity.UseAD, store.PasswordSyncValidateOnly, "ENABLED", active, active, byAD, "never reaches JumpCloud"},
		{"no password yet, AD's", identity.UseAD, store.PasswordSyncCapture, "ENABLED", identity.User{}, identity.User{}, byAD, "changed in AD"},
		{"no password yet, JumpCloud's", identity.UseAD, store.PasswordSyncCapture, "ENABLED", identity.User{}, identity.User{}, identity.Link{PasswordAuthority: identity.JumpCloud}, "one is set there"},
		{"a password", identity.UseAD, store.PasswordSyncCapture, "DISABLED", active, active, byAD, ""},
	}
	for _, tt := range tests {
		d := store.Domain{UseCase: string(tt.use), PasswordSync: tt.sync, JumpCloud: store.JumpCloudRegistration{ADID: adID}}
		got := strings.Join(shutOut(d, tt.state, tt.now, tt.then, tt.link), "; ")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	for _, bad := range []string{"none", "AD", "both"} {
		if _, err := side(bad, ""); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
