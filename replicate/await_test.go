package replicate

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
)

// importing registers the domain, so that accounts are to get users.
func (w *world) importing() {
	w.t.Helper()
	// The clock stands still in these tests: an answer that a busy machine
	// delays must not put a change off.
	w.connect(func(_ *ad.Config, c *jumpcloud.Config) { c.Timeout = 10 * time.Second })
	d := store.Domain{Name: domainName, BaseDN: w.ad.BaseDN(), UseCase: string(identity.UseAD),
		JumpCloud: store.JumpCloudRegistration{ADID: "0123456789abcdef01234567"}}
	if err := w.store.PutDomain(w.t.Context(), d, nil); err != nil {
		w.t.Fatal(err)
	}
}

// newcomer adds an account in scope that has no JumpCloud user.
func (w *world) newcomer(name, surname string) identity.Account {
	w.t.Helper()
	u := adsim.User{Name: name, GivenName: "New", Surname: surname, Password: secret.New([]byte("Start.Pass1")), Groups: []string{adsim.ScopeGroup}}
	if _, err := w.ad.AddUser(u); err != nil {
		w.t.Fatal(err)
	}
	return w.account(name)
}

// imports does what the import does for an account: it makes the user, stores
// the link and records that.
func (w *world) imports(a identity.Account) {
	w.t.Helper()
	err := w.store.AppendImport(w.t.Context(), domainName, store.ImportBatch{CursorName: "import/" + domainName, Changes: []identity.Change{{Kind: identity.UserChange, Account: a}}})
	if err != nil {
		w.t.Error(err)
		return
	}
	change, err := w.store.NewestState(domainName, a.GUID)
	if err != nil {
		w.t.Error(err)
		return
	}
	link := identity.Link{Domain: domainName, GUID: a.GUID, JumpCloudID: w.addToJumpCloud(a.SAM), Username: a.SAM, At: w.clock.now(), SudoGiven: true}
	if err := w.store.PutLink(w.t.Context(), link); err != nil {
		w.t.Error(err)
	}
	if err := w.store.MarkApplied(w.t.Context(), change.Seq, nil); err != nil {
		w.t.Error(err)
	}
}

// awaitReason waits until a change has been given a reason.
func (w *world) awaitReason(seq identity.Seq, status identity.Status, reason string) {
	w.t.Helper()
	woken, stop := w.store.Watch()
	defer stop()
	timeout := time.After(10 * time.Second)
	for {
		e, err := w.store.Entry(seq)
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Status == status && strings.Contains(e.Reason, reason) {
			return
		}
		select {
		case <-woken:
		case <-timeout:
			w.t.Fatalf("change %s is %s (%s), want %s (%s)", seq, e.Status, e.Reason, status, reason)
		}
	}
}

// TestP2_WaitsForImport: a password whose account has no user yet waits, and
// is applied as soon as the import has made one. The clock stands still, so no
// time to try again ever comes.
func TestP2_WaitsForImport(t *testing.T) {
	w := newWorld(t)
	w.importing()
	dora := w.newcomer("dora", "Doe")
	w.run()
	seq := w.accept(dora, "Some.Pass1")
	w.awaitReason(seq, identity.StatusPending, "waits for the import")
	w.imports(dora)
	w.await(seq, identity.StatusApplied)
	if !w.accepts("dora", "Some.Pass1") {
		t.Error("JumpCloud does not accept the password")
	}
	if link, err := w.store.LinkByGUID(domainName, dora.GUID); err != nil || !link.SudoGiven || link.PasswordSeq != seq {
		t.Errorf("link %+v, %v; want what the import keeps there, and password %s", link, err, seq)
	}
}

// TestP2_WaitsAcrossRestart: the user was made while no engine ran.
func TestP2_WaitsAcrossRestart(t *testing.T) {
	w := newWorld(t)
	w.importing()
	dora, emil := w.newcomer("dora", "Doe"), w.newcomer("emil", "")
	waiting, dead := w.accept(dora, "Some.Pass1"), w.accept(emil, "Some.Pass1")
	w.step()
	w.want(waiting, identity.StatusPending, "waits for the import")
	w.want(dead, identity.StatusDead, "JumpCloud needs a first and a last name")
	w.imports(dora)
	w.imports(emil)
	w.engine = w.newEngine()
	w.run()
	w.await(waiting, identity.StatusApplied)
	w.await(dead, identity.StatusApplied)
}

// TestP2_DeadLetterRevived: of an account that gets a user after all the
// password is applied, but never one that is not the newest.
func TestP2_DeadLetterRevived(t *testing.T) {
	w := newWorld(t)
	w.importing()
	emil, finn, gina := w.newcomer("emil", ""), w.newcomer("finn", ""), w.newcomer("gina", "")
	w.run()
	lacks := "JumpCloud needs a first and a last name"
	older := w.accept(emil, "Old.Pass1")
	w.awaitReason(older, identity.StatusDead, lacks)
	newest := w.accept(emil, "New.Pass1")
	w.awaitReason(newest, identity.StatusDead, lacks)
	past := w.accept(finn, "Old.Pass1")
	w.awaitReason(past, identity.StatusDead, lacks)
	w.clock.add(DefaultAnswerLimit + setSkew)
	reset(t, w, adminOf(t, w), finn.DN, "Past.Dirgate1")
	given := w.accept(gina, "Some.Pass1")
	w.awaitReason(given, identity.StatusDead, lacks)
	if err := w.store.Discard(t.Context(), given, "by a person"); err != nil {
		t.Fatal(err)
	}
	for _, a := range []identity.Account{finn, gina, emil} {
		w.imports(a)
	}
	w.await(newest, identity.StatusApplied)
	w.want(older, identity.StatusSuperseded, "")
	w.want(past, identity.StatusDead, lacks)
	w.want(given, identity.StatusDiscarded, "")
	if !w.accepts("emil", "New.Pass1") || w.accepts("finn", "Old.Pass1") {
		t.Error("want the newest password of emil and none of finn at JumpCloud")
	}
}

// TestP2_LinkedWhileDecided: the import makes users while their passwords are
// decided about; none is left waiting and none is dead.
func TestP2_LinkedWhileDecided(t *testing.T) {
	w := newWorld(t)
	w.importing()
	const many = 24
	var accounts []identity.Account
	for n := range many {
		accounts = append(accounts, w.newcomer(fmt.Sprintf("new%d", n), "Doe"))
	}
	w.run()
	seqs := make([]identity.Seq, many)
	var imports sync.WaitGroup
	for n, a := range accounts {
		seqs[n] = w.accept(a, "Some.Pass1")
		imports.Go(func() { w.imports(a) })
	}
	imports.Wait()
	for n, seq := range seqs {
		w.await(seq, identity.StatusApplied)
		if link, err := w.store.LinkByGUID(domainName, accounts[n].GUID); err != nil || !link.SudoGiven {
			t.Errorf("link %+v, %v; want what the import keeps there", link, err)
		}
	}
}

// TestP2_RivalsWait: of two accounts that ask for one mail address neither
// gets a user; a password does not wait for ever.
func TestP2_RivalsWait(t *testing.T) {
	w := newWorld(t)
	w.importing()
	dora := w.newcomer("dora", "Doe")
	user, err := w.peers.AD.User(t.Context(), dora)
	if err != nil {
		t.Fatal(err)
	}
	user.InRoot = true
	rival := user
	rival.GUID, rival.Username, rival.DN = identity.GUID{9}, "dora2", "CN=dora2"
	if err := w.store.AppendImport(t.Context(), domainName, store.ImportBatch{CursorName: "import/" + domainName, Users: []identity.User{user, rival}}); err != nil {
		t.Fatal(err)
	}
	seq := w.accept(dora, "Some.Pass1")
	w.step()
	w.want(seq, identity.StatusPending, "waits for the import")
	w.clock.add(rivalDelay)
	w.step()
	w.want(seq, identity.StatusDead, "mail address")
}
