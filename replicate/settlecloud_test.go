package replicate

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

// simLDAP is the simulator's LDAP.
type simLDAP struct {
	w     *world
	binds int
	err   error
}

func (s *simLDAP) TestPassword(_ context.Context, username string, password secret.Bytes, before func() error) (bool, error) {
	if s.err != nil {
		return false, s.err
	}
	if err := before(); err != nil {
		return false, err
	}
	s.binds++
	c, err := ldap.DialURL(s.w.cloud.LDAPURL(), ldap.DialWithTLSConfig(s.w.ca.Client("127.0.0.1")))
	if err != nil {
		return false, err
	}
	defer c.Close()
	err = c.Bind(s.w.cloud.UserDN(username), string(password.Expose()))
	if ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		return false, nil
	}
	return err == nil, err
}

// settlingCloud is a world in which nobody records what JumpCloud answers.
func settlingCloud(t *testing.T) (*world, *simLDAP) {
	w := syncing(t)
	at := &simLDAP{w: w}
	w.peers.CloudLDAP = at
	return w, at
}

// changing is the intent to change alice's password at JumpCloud.
func (w *world) changing(password string) identity.Seq {
	w.t.Helper()
	u, err := w.peers.JumpCloud.User(w.t.Context(), w.id)
	w.ok(err)
	date, _ := time.Parse(time.RFC3339, u.PasswordDate)
	seq, err := w.store.AppendIntent(w.t.Context(), identity.Change{Kind: identity.PasswordChange, Direction: identity.Sync, Actor: "delegate",
		Account: w.alice, CloudID: w.id, PasswordDate: date}, secret.New([]byte(password)))
	w.ok(err)
	return seq
}

// given makes the change at JumpCloud.
func (w *world) given(password string) {
	w.t.Helper()
	w.ok(w.peers.JumpCloud.SetPassword(w.t.Context(), w.id, secret.New([]byte(password))))
}

// TestG5_CloudInherited: changes at JumpCloud that an earlier process left are
// settled by evidence, and what was made reaches AD, once.
func TestG5_CloudInherited(t *testing.T) {
	w, at := settlingCloud(t)
	made := w.changing("Cloud.Made1")
	w.given("Cloud.Made1")
	w.engine = w.newEngine()
	w.step()
	w.want(made, identity.StatusUnsettled, "password before") // JumpCloud's LDAP may lag
	w.clock.add(31 * time.Second)
	w.step()
	if e := w.want(made, identity.StatusApplied, ""); e.Probes != 1 || at.binds != 1 {
		t.Errorf("%d binds recorded, %d made, want 1", e.Probes, at.binds)
	}
	if !w.acceptedInAD("Cloud.Made1") {
		t.Error("AD does not have the password")
	}
	live := w.changing("Cloud.Live1") // being answered now
	w.step()
	w.want(live, identity.StatusUnsettled, "")
	w.clock.add(DefaultAnswerLimit + time.Second)
	w.step()
	w.want(live, identity.StatusRefused, "did not move")
}

// TestG5_CloudBudget: a wrong password costs two binds, also in several
// processes, and is refused only when the change is old.
func TestG5_CloudBudget(t *testing.T) {
	w, at := settlingCloud(t)
	seq := w.changing("Cloud.Lost1")
	w.given("Cloud.Other1")
	w.clock.add(time.Minute)
	for range 3 {
		w.engine = w.newEngine()
		w.step()
		w.clock.add(time.Minute)
	}
	if e := w.want(seq, identity.StatusUnsettled, "changelog discard"); e.Probes != 1 || at.binds != 1 {
		t.Errorf("%d binds recorded, %d made in three processes, want 1", e.Probes, at.binds)
	}
	w.clock.add(10 * time.Minute)
	w.step()
	w.want(seq, identity.StatusRefused, "wrong password")
	if at.binds != 2 || w.acceptedInAD("Cloud.Lost1") {
		t.Errorf("%d binds, want 2, and AD unchanged", at.binds)
	}
}

// TestG5_CloudNewer: a newer password of either direction ends the doubt
// without a bind.
func TestG5_CloudNewer(t *testing.T) {
	for name, newer := range map[string]func(*world) identity.Seq{
		"of AD": func(w *world) identity.Seq { return w.accept(w.alice, "Newer.Pass1") },
		"of JumpCloud": func(w *world) identity.Seq {
			seq := w.changing("Newer.Pass1")
			w.settle(seq, identity.OutcomeAccepted)
			return seq
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, at := settlingCloud(t)
			seq := w.changing("Cloud.Made1")
			w.given("Cloud.Made1")
			w.ok(w.store.Settle(t.Context(), seq, identity.OutcomeUnknown, "no answer"))
			w.clock.add(time.Minute)
			next := newer(w)
			w.step()
			w.want(seq, identity.StatusDiscarded, "change "+next.String())
			w.want(next, identity.StatusApplied, "")
			if at.binds != 0 {
				t.Errorf("%d binds, want none", at.binds)
			}
		})
	}
}

// TestG5_CloudNoLDAP: without JumpCloud's LDAP nothing tells; a person can give
// the change up, and newer passwords are learnt meanwhile.
func TestG5_CloudNoLDAP(t *testing.T) {
	w, _ := settlingCloud(t)
	w.peers.CloudLDAP = nil
	seq := w.changing("Cloud.Made1")
	w.given("Cloud.Made1")
	w.engine = w.newEngine()
	w.clock.add(48 * time.Hour)
	w.step()
	w.want(seq, identity.StatusUnsettled, "--jumpcloud-ldap-url URL`; to give this password up run `dirgate changelog discard")
	w.ok(w.store.Discard(t.Context(), seq, "by a person"))
	again := w.changing("Cloud.Made2")
	w.clock.add(48 * time.Hour)
	w.step()
	w.want(again, identity.StatusRefused, "did not move") // which needs no LDAP
}

// TestG5_CloudNotAsked: a user who could not bind with any password, and an
// LDAP that does not answer, leave the outcome unknown and cost no bind.
func TestG5_CloudNotAsked(t *testing.T) {
	w, at := settlingCloud(t)
	seq := w.changing("Cloud.Made1")
	w.given("Cloud.Made1")
	w.engine = w.newEngine()
	w.ok(w.cloud.EditUser(w.id, map[string]any{"state": "SUSPENDED"}))
	w.clock.add(time.Hour)
	w.step()
	w.want(seq, identity.StatusUnsettled, "suspended")
	w.ok(w.cloud.EditUser(w.id, map[string]any{"state": "ACTIVATED"}))
	at.err = errors.New("connection refused")
	w.clock.add(time.Hour)
	w.step()
	if e := w.want(seq, identity.StatusUnsettled, ""); e.Probes != 0 || at.binds != 0 {
		t.Errorf("%d binds, want none", e.Probes)
	}
	at.err = nil
	w.clock.add(time.Hour)
	w.step()
	w.want(seq, identity.StatusApplied, "")
}

// TestS4_WaitsForSync: a password whose user has no account yet is applied as
// soon as sync has made one. The clock stands still, so no time to try again
// ever comes.
func TestS4_WaitsForSync(t *testing.T) {
	for name, direction := range map[string]identity.Direction{"made by sync": identity.Sync, "linked by the import": identity.Import} {
		t.Run(name, func(t *testing.T) {
			w := syncing(t)
			bob := w.account("bob")
			id, err := w.cloud.AddUser(jcsim.User{Username: "bob", Email: "bob@" + domainName, LDAPBound: true, Password: secret.New([]byte("Cloud.Pass1"))})
			w.ok(err)
			w.clock.add(time.Minute)
			w.run()
			seq, err := w.store.AppendProven(t.Context(), identity.Change{Kind: identity.PasswordBind, Direction: identity.Sync,
				Account: identity.Account{Domain: domainName, DN: w.cloud.UserDN("bob")}, CloudID: id, PasswordDate: w.clock.now().UTC()}, secret.New([]byte("Cloud.Pass1")))
			w.ok(err)
			w.awaitReason(seq, identity.StatusPending, "no AD account yet")
			change := identity.Change{Kind: identity.UserChange, Direction: direction, Account: bob}
			if direction == identity.Sync {
				change.Account, change.CloudID = identity.Account{Domain: domainName}, id
			}
			state, err := w.store.AppendState(t.Context(), change)
			w.ok(err)
			w.ok(w.store.PutLink(t.Context(), identity.Link{Domain: domainName, GUID: bob.GUID, JumpCloudID: id, Username: "bob", MadeInAD: true, At: w.clock.now()}))
			w.ok(w.store.MarkApplied(t.Context(), state, nil))
			w.await(seq, identity.StatusApplied)
			if _, err := w.ad.Bind(bob.DN, []byte("Cloud.Pass1")); err != nil {
				t.Errorf("AD: %v", err)
			}
		})
	}
}

// TestG5_CloudSeveral: however many changes of one user are unknown, they cost
// two binds a day together, and the newest is asked about first.
func TestG5_CloudSeveral(t *testing.T) {
	w, at := settlingCloud(t)
	var seqs []identity.Seq
	for _, password := range []string{"Cloud.Lost1", "Cloud.Lost2", "Cloud.Lost3"} {
		seqs = append(seqs, w.changing(password))
	}
	w.given("Cloud.Other1")
	w.engine = w.newEngine()
	for range 20 {
		w.clock.add(time.Minute)
		w.step()
	}
	w.want(seqs[2], identity.StatusRefused, "wrong password")
	for _, seq := range seqs[:2] {
		w.want(seq, identity.StatusUnsettled, "changelog discard")
	}
	for range 3 {
		w.clock.add(time.Hour)
		w.step()
	}
	if at.binds != 2 {
		t.Errorf("%d binds on the first day, want 2", at.binds)
	}
	for range 20 {
		w.clock.add(6 * time.Hour)
		w.step()
	}
	for _, seq := range seqs[:2] {
		w.want(seq, identity.StatusRefused, "wrong password")
	}
	if at.binds > 5 {
		t.Errorf("%d binds in five days", at.binds)
	}
}
