package replicate

import (
	"errors"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
)

// TestI1_RootContainer: a member of the scope group outside the root container
// is not in scope, and one below it, however deep, is.
func TestI1_RootContainer(t *testing.T) {
	w := newWorld(t)
	people := "OU=People," + w.ad.BaseDN()
	w.connect(func(c *ad.Config, _ *jumpcloud.Config) { c.RootDN = people })
	if _, err := w.ad.AddUser(adsim.User{Name: "outsider", Password: secret.New([]byte("Start.Pass1")),
		Container: "CN=Users," + w.ad.BaseDN(), Groups: []string{adsim.ScopeGroup}}); err != nil {
		t.Fatal(err)
	}
	w.addToJumpCloud("outsider")
	outside := w.accept(w.account("outsider"), "Some.Pass1")
	inside := w.accept(w.alice, "Some.Pass1")
	w.step()
	w.want(inside, identity.StatusApplied, "")
	w.want(outside, identity.StatusPending, "not in scope")
	w.clock.add(61 * time.Minute)
	w.step()
	w.want(outside, identity.StatusDiscarded, "root container")

	// A root container that is not there says nothing about anybody.
	w.connect(func(c *ad.Config, _ *jumpcloud.Config) { c.RootDN = "OU=Gone," + w.ad.BaseDN() })
	lost := w.append(w.alice, "Some.Pass2")
	w.settle(lost, identity.OutcomeAccepted)
	w.step()
	w.clock.add(61 * time.Minute)
	w.step()
	w.want(lost, identity.StatusPending, "--root-dn")
}

// TestI1_ScopeGroup: the group is known by its GUID; one that is not found is
// an error, and never "not a member".
func TestI1_ScopeGroup(t *testing.T) {
	w := newWorld(t)
	_, guid, err := w.peers.AD.Exists(t.Context(), w.scopeGroup(), "(objectClass=group)")
	if err != nil {
		t.Fatal(err)
	}
	byDN := w.peers
	w.connect(func(c *ad.Config, _ *jumpcloud.Config) { c.ScopeGroupGUID = guid })
	admin := adminOf(t, w)
	read := func() identity.User {
		t.Helper()
		u, err := w.peers.AD.User(t.Context(), w.alice)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if u := read(); !u.InScope || u.DC != w.ad.Addr() {
		t.Errorf("got %+v, want alice in scope, with the controller that said so", u)
	}
	renamed := "CN=Renamed,OU=Groups," + w.ad.BaseDN()
	if err := w.ad.Rename(admin, w.scopeGroup(), "CN=Renamed", ""); err != nil {
		t.Fatal(err)
	}
	if !read().InScope { // the old name is still remembered
		t.Error("alice is out of scope since the scope group was renamed")
	}
	if u, err := byDN.AD.User(t.Context(), w.alice); !errors.Is(err, ad.ErrScope) {
		t.Errorf("scope by the group's old DN: %+v, %v, want an error", u, err)
	}
	if err := w.ad.Delete(admin, renamed); err != nil {
		t.Fatal(err)
	}
	seq := w.append(w.alice, "Some.Pass1")
	w.settle(seq, identity.OutcomeAccepted)
	for range 2 {
		w.step()
		w.want(seq, identity.StatusPending, "--scope-group")
		w.clock.add(2 * time.Hour)
	}
}

func TestI1_Computers(t *testing.T) {
	w := newWorld(t)
	dn := "CN=ws1,OU=People," + w.ad.BaseDN()
	err := w.ad.Add(adminOf(t, w), dn, []adsim.Attribute{{Name: "objectClass", Values: []string{"computer"}},
		{Name: "sAMAccountName", Values: []string{"ws1$"}}})
	if err != nil {
		t.Fatal(err)
	}
	_, guid, err := w.peers.AD.Exists(t.Context(), dn, "(objectClass=user)")
	if err != nil {
		t.Fatal(err)
	}
	seq := w.accept(identity.Account{Domain: domainName, GUID: guid, DN: dn}, "Some.Pass1")
	w.step()
	w.want(seq, identity.StatusDiscarded, "not a person's account")
}

// TestNoGUID: a change of an account that nobody could read is not applied by
// its name.
func TestNoGUID(t *testing.T) {
	w := newWorld(t)
	a := w.alice
	a.GUID = identity.GUID{}
	seq := w.append(a, "Some.Pass1")
	w.settle(seq, identity.OutcomeAccepted)
	w.step()
	w.want(seq, identity.StatusDead, "could not be read")
	if w.accepts("alice", "Some.Pass1") {
		t.Error("JumpCloud has the password")
	}
}

// TestP2_Stale: what is older than what JumpCloud has is not written.
func TestP2_Stale(t *testing.T) {
	w := newWorld(t)
	old := w.accept(w.alice, "Old.Pass1")
	if err := w.store.PutLink(t.Context(), identity.Link{Domain: domainName, GUID: w.alice.GUID, JumpCloudID: w.id, PasswordSeq: old + 1}); err != nil {
		t.Fatal(err)
	}
	w.step()
	w.want(old, identity.StatusDiscarded, "stale")
	if w.accepts("alice", "Old.Pass1") {
		t.Error("JumpCloud has the old password")
	}
}

// TestStateChangesAreLeft: a change of a user's state is not taken for a
// password.
func TestStateChangesAreLeft(t *testing.T) {
	w := newWorld(t)
	change := identity.Change{Kind: identity.UserChange, Direction: identity.Import, Account: w.alice}
	if err := w.store.AppendImport(t.Context(), domainName, store.ImportBatch{CursorName: "c", Changes: []identity.Change{change}}); err != nil {
		t.Fatal(err)
	}
	e, err := w.store.NewestState(domainName, w.alice.GUID)
	if err != nil {
		t.Fatal(err)
	}
	w.step()
	w.want(e.Seq, identity.StatusPending, "")
	password := w.accept(w.alice, "Some.Pass1")
	w.step()
	w.want(password, identity.StatusApplied, "")
	w.want(e.Seq, identity.StatusPending, "")
}
