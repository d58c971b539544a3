package replicate

import (
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// bound offers a password as the gateway does when JumpCloud's LDAP let
// somebody in.
func (w *world) bound(dn, password string) identity.BindOutcome {
	w.t.Helper()
	r := &BindRecorder{Store: w.store, Log: quiet(), Now: w.clock.now, Peers: func(string) (*Peers, error) { return w.peers, nil }}
	outcome, err := r.RecordBind(w.t.Context(), identity.Change{Kind: identity.PasswordBind, Direction: identity.Sync, Actor: dn,
		Account: identity.Account{Domain: domainName, DN: dn}}, secret.New([]byte(password)))
	w.ok(err)
	return outcome
}

// TestS4_Bind: a password that JumpCloud's LDAP accepted reaches AD, once, and
// only where it can be told which one it was.
func TestS4_Bind(t *testing.T) {
	w := syncing(t)
	w.clock.add(time.Minute) // after the account's own password
	id, err := w.cloud.AddUser(jcsim.User{Username: "bob", Email: "bob@" + domainName, LDAPBound: true, Password: secret.New([]byte("Cloud.Pass1"))})
	w.ok(err)
	bob := w.account("bob")
	dn := w.cloud.UserDN("bob")
	w.clock.add(time.Hour)
	if got := w.bound(dn, "Cloud.Pass1"); got != identity.BindNotWanted {
		t.Errorf("without a link: %q", got)
	}
	w.ok(w.store.PutLink(t.Context(), identity.Link{Domain: domainName, GUID: bob.GUID, JumpCloudID: id, Username: "bob", MadeInAD: true, At: w.clock.now()}))
	if got := w.bound("cn=bob,o=elsewhere", "Cloud.Pass1"); got != identity.BindNotWanted {
		t.Errorf("no user's DN: %q", got)
	}
	if got := w.bound(dn, "Cloud.Pass1"); got != identity.BindRecorded {
		t.Fatalf("a linked user: %q", got)
	}
	if got := w.bound(dn, "Cloud.Pass1"); got != identity.BindPending {
		t.Errorf("before it is applied: %q", got)
	}
	w.step()
	if _, err := w.ad.Bind(bob.DN, []byte("Cloud.Pass1")); err != nil {
		t.Errorf("AD: %v", err)
	}
	if got := w.bound(dn, "Cloud.Pass1"); got != identity.BindInSync {
		t.Errorf("afterwards: %q", got)
	}
	w.ok(w.store.ChangeLink(t.Context(), domainName, bob.GUID, func(l *identity.Link) {
		l.PasswordDate, l.PasswordAuthority = time.Time{}, identity.AD
	}))
	if got := w.bound(dn, "Cloud.Pass1"); got != identity.BindNotWanted {
		t.Errorf("where AD alone sets passwords: %q", got)
	}
}

// TestS4_BindTooSoon: until JumpCloud's LDAP has surely heard of a password, it
// proves nothing.
func TestS4_BindTooSoon(t *testing.T) {
	w := syncing(t)
	id, err := w.cloud.AddUser(jcsim.User{Username: "bob", Email: "bob@" + domainName, LDAPBound: true, Password: secret.New([]byte("Cloud.Pass1"))})
	w.ok(err)
	w.ok(w.store.PutLink(t.Context(), identity.Link{Domain: domainName, GUID: w.account("bob").GUID, JumpCloudID: id, MadeInAD: true, At: w.clock.now()}))
	if got := w.bound(w.cloud.UserDN("bob"), "Cloud.Pass1"); got != identity.BindEarly {
		t.Errorf("at once: %q", got)
	}
	if _, err := w.store.Entry(1); err == nil {
		t.Error("something was recorded")
	}
}
