package admin

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
)

// twoWay registers the domain for both directions.
func (w *world) twoWay() store.Domain {
	w.t.Helper()
	account := "jcsync@" + domainName
	if _, err := w.ad.Bind(account, []byte(syncPassword)); err != nil {
		account = w.addSync()
	}
	a, err := w.client.Register(w.t.Context(), w.request(func(r *RegisterRequest) {
		r.UseCase, r.SyncAccount, r.SyncPassword = new("two-way"), &account, []byte(syncPassword)
	}))
	if err != nil {
		w.t.Fatal(err)
	}
	return a.Domain
}

// reset gives an account in the embedded directory another password.
func (w *world) reset(dn, password string) {
	w.t.Helper()
	id, err := w.ad.Bind(w.ad.AdminDN(), []byte("Admin.Pass1"))
	if err != nil {
		w.t.Fatal(err)
	}
	var quoted []byte
	for _, c := range []byte(`"` + password + `"`) { // ASCII only
		quoted = append(quoted, c, 0)
	}
	if err := w.ad.Modify(id, dn, []adsim.Change{{Op: ldapwire.ModReplace, Name: "unicodePwd", Values: []string{string(quoted)}}}, false); err != nil {
		w.t.Fatal(err)
	}
}

// cloudUsers counts them.
func cloudUsers(t *testing.T, peers *replicate.Peers) (n int) {
	t.Helper()
	for _, err := range peers.JumpCloud.ListUsers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestRotateAccount: a password is stored when AD has accepted it, and not
// before; what does not change it says why.
func TestRotateAccount(t *testing.T) {
	w := newWorld(t)
	d := w.twoWay()
	told := len(w.changed)
	stored := func(name string) string {
		t.Helper()
		c, err := w.local.Store.Credential(domainName, name, w.local.Opener)
		if err != nil {
			t.Fatal(err)
		}
		return string(c.Expose())
	}
	for _, sync := range []bool{false, true} {
		name, was, user := store.CredImportPassword, servicePassword, "svc"
		if sync {
			name, was, user = store.CredSyncPassword, syncPassword, "jcsync"
		}
		const fresh = "Fresh.Secret-99"
		_, err := w.client.RotateAccount(t.Context(), RotateRequest{Name: domainName, Sync: sync, Password: []byte(fresh)})
		if err == nil || !strings.Contains(err.Error(), "change it in Active Directory first, and check --password-file") || strings.Contains(err.Error(), fresh) || stored(name) != was {
			t.Errorf("%s: a password that AD does not have: %v, stored %t", name, err, stored(name) != was)
		}
		w.reset("CN="+user+",OU=People,"+w.ad.BaseDN(), fresh)
		a, err := w.client.RotateAccount(t.Context(), RotateRequest{Name: domainName, Sync: sync, Password: []byte(fresh)})
		if err != nil || len(a.Checks) != 1 || stored(name) != fresh || !same(a.Domain, d) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if n := len(w.changed) - told; n != 2 {
		t.Errorf("told of %d changes, want 2", n)
	}
	if _, err := w.client.RotateAccount(t.Context(), RotateRequest{Name: domainName}); err == nil || !strings.Contains(err.Error(), "the new password is empty") {
		t.Errorf("an empty one: %v", err)
	}
	if strings.Contains(string(w.log.Bytes()), "Fresh.Secret-99") {
		t.Error("a password was answered")
	}
}

func TestRotateNoSyncAccount(t *testing.T) {
	w := newWorld(t)
	w.register()
	if _, err := w.client.RotateAccount(t.Context(), RotateRequest{Name: domainName, Sync: true, Password: []byte("x")}); err == nil || !strings.Contains(err.Error(), "has no sync account; give it one with `dirgate domain update corp.example.test --sync-account") {
		t.Errorf("got %v", err)
	}
}

// TestVerifyDomain: every check is made, also behind one that fails, and
// nothing is written.
func TestVerifyDomain(t *testing.T) {
	w := newWorld(t)
	d := w.twoWay()
	w.cloud.ForgetHistory()
	a, err := w.client.VerifyDomain(t.Context(), domainName)
	if err != nil || len(a.Checks) != 9 || slices.ContainsFunc(a.Checks, func(c replicate.Check) bool { return c.Failed }) {
		t.Fatalf("got %+v, %v, want nine checks that pass", a.Checks, err)
	}
	if written := w.cloud.Writes(); len(written) > 0 {
		t.Errorf("written: %v", written)
	}

	peers, err := w.peers(domainName)
	if err != nil {
		t.Fatal(err)
	}
	if err := peers.JumpCloud.DeleteAgent(t.Context(), d.JumpCloud.ADID, d.JumpCloud.AgentIDs[1]); err != nil {
		t.Fatal(err)
	}
	w.reset("CN=jcsync,OU=People,"+w.ad.BaseDN(), "Other.Secret-1")
	a, err = w.client.VerifyDomain(t.Context(), domainName)
	var failed []string
	for _, c := range a.Checks {
		if c.Failed {
			failed = append(failed, c.Name+": "+c.Detail)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "2 of 9 checks failed") || len(failed) != 2 ||
		!strings.Contains(failed[0], "check --sync-account and --sync-password-file") || !strings.Contains(failed[1], "JumpCloud sync agent: none of ours is registered; run `dirgate domain register corp.example.test` again") {
		t.Errorf("got %q, %v", failed, err)
	}
}

// TestVerifyBindsAfresh: a connection that is still bound says nothing of an
// account whose password was changed since.
func TestVerifyBindsAfresh(t *testing.T) {
	w := newWorld(t)
	w.twoWay()
	peers, err := w.peers(domainName)
	if err != nil {
		t.Fatal(err)
	}
	w.local.Peers = func(string) (*replicate.Peers, error) { return peers, nil } // as a daemon keeps them
	if _, err := w.client.VerifyDomain(t.Context(), domainName); err != nil {
		t.Fatal(err)
	}
	if _, err := peers.AD.SeesDeleted(t.Context(), w.ad.BaseDN()); err != nil {
		t.Fatal(err) // it is bound now
	}
	w.reset("CN=svc,OU=People,"+w.ad.BaseDN(), "Other.Secret-1")
	if _, err := peers.AD.SeesDeleted(t.Context(), w.ad.BaseDN()); err != nil {
		t.Fatalf("the kept connection: %v", err)
	}
	a, err := w.client.VerifyDomain(t.Context(), domainName)
	if err == nil || !slices.ContainsFunc(a.Checks, func(c replicate.Check) bool {
		return c.Failed && strings.Contains(c.Detail, "check --import-account and --import-password-file")
	}) {
		t.Errorf("with another password: %+v, %v", a.Checks, err)
	}
}

// TestRemoveDomain: agents and secrets go, people and links stay, and the
// domain goes on when it is registered again.
func TestRemoveDomain(t *testing.T) {
	w := newWorld(t)
	d := w.twoWay()
	w.changePassword()
	link := identity.Link{Domain: domainName, GUID: identity.GUID{1}, JumpCloudID: "5f00000000000000000000a1"}
	if err := w.local.Store.PutLink(t.Context(), link); err != nil {
		t.Fatal(err)
	}
	peers, err := w.peers(domainName)
	if err != nil {
		t.Fatal(err)
	}
	users := cloudUsers(t, peers)
	done, err := w.client.RemoveDomain(t.Context(), RemoveRequest{Name: domainName})
	if err != nil || len(done.Agents) != 2 || done.Open != 1 {
		t.Errorf("got %+v, %v, want two agents removed and one open change", done, err)
	}
	agents, err := peers.JumpCloud.Agents(t.Context(), d.JumpCloud.ADID)
	if err != nil || len(agents) != 0 || cloudUsers(t, peers) != users {
		t.Errorf("JumpCloud has agents %+v, %v, and %d users, want none and %d", agents, err, cloudUsers(t, peers), users)
	}
	for _, name := range []string{store.CredImportPassword, store.CredSyncPassword, store.CredAPIKey} {
		if _, err := w.local.Store.Credential(domainName, name, w.local.Opener); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v, want it gone", name, err)
		}
	}
	if _, err := w.client.Domain(t.Context(), domainName); err == nil {
		t.Error("still registered")
	}
	again := w.twoWay()
	if again.JumpCloud.ADID != d.JumpCloud.ADID || len(again.JumpCloud.AgentIDs) != 2 {
		t.Errorf("registered again: %+v", again.JumpCloud)
	}
	if l, err := w.local.Store.LinkByGUID(domainName, identity.GUID{1}); err != nil || l.JumpCloudID != link.JumpCloudID {
		t.Errorf("the link is %+v, %v", l, err)
	}

	// A JumpCloud that cannot be asked keeps what it has.
	_ = w.cloud.Close()
	if _, err := w.client.RemoveDomain(t.Context(), RemoveRequest{Name: domainName}); err == nil || !strings.Contains(err.Error(), "add --local to leave JumpCloud as it is") {
		t.Errorf("JumpCloud away: %v", err)
	}
	if done, err = w.client.RemoveDomain(t.Context(), RemoveRequest{Name: domainName, Local: true}); err != nil || len(done.Agents) != 0 {
		t.Errorf("with --local: %+v, %v", done, err)
	}
}

// TestUseCaseEffects: each of the six changes tells what it does to fields,
// delegation, agents and JumpCloud's use case.
func TestUseCaseEffects(t *testing.T) {
	const ad, two, jc = identity.UseAD, identity.UseTwoWay, identity.UseJumpCloud
	for _, tt := range []struct {
		from, to identity.UseCase
		want     []string
		not      []string
	}{
		{ad, two, []string{"ADASAUTHORITY becomes TWOWAYSYNC", "DISABLED", "the sync agent is registered", "restrictedFields is emptied", "are made or taken over"}, []string{"import agent", "not carried"}},
		{ad, jc, []string{"ADASAUTHORITY becomes JCASAUTHORITY", "DISABLED", "the sync agent is registered", "the import agent is removed", "restrictedFields is emptied", "are made or taken over", "is not carried there any more"}, nil},
		{two, ad, []string{"TWOWAYSYNC becomes ADASAUTHORITY", "ENABLED", "the sync agent is removed", "read-only (restrictedFields)", "delegatedAuthority", "nothing is written any more"}, []string{"import agent"}},
		{two, jc, []string{"TWOWAYSYNC becomes JCASAUTHORITY", "the import agent is removed", "is not carried there any more"}, []string{"sync agent", "restrictedFields", "taken over"}},
		{jc, ad, []string{"JCASAUTHORITY becomes ADASAUTHORITY", "the import agent is registered", "the sync agent is removed", "read-only (restrictedFields)", "nothing is written any more", "is carried there"}, nil},
		{jc, two, []string{"JCASAUTHORITY becomes TWOWAYSYNC", "the import agent is registered", "is carried there"}, []string{"sync agent", "restrictedFields"}},
	} {
		text := strings.Join(UseCaseEffects(tt.from, tt.to), "\n")
		for _, want := range append(tt.want, "every link is kept, and nobody is deleted") {
			if !strings.Contains(text, want) {
				t.Errorf("%s to %s: no %q in\n%s", tt.from, tt.to, want, text)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(text, not) {
				t.Errorf("%s to %s: %q in\n%s", tt.from, tt.to, not, text)
			}
		}
	}
	if lines := UseCaseEffects(two, two); len(lines) > 0 {
		t.Errorf("no change: %q", lines)
	}
}
