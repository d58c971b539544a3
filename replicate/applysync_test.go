package replicate

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// syncing registers the domain for both directions, links alice, and has an
// account that writes to AD.
func syncing(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.ok(w.store.PutDomain(t.Context(), store.Domain{Name: domainName, UseCase: store.UseCaseTwoWay, JumpCloud: store.JumpCloudRegistration{ADID: "5f0000000000000000000001"}}, nil))
	w.ok(w.store.PutLink(t.Context(), identity.Link{Domain: domainName, GUID: w.alice.GUID, JumpCloudID: w.id, Username: "alice"}))
	r := Registration{Credentials: make(map[string]secret.Bytes)}
	w.withSync(true)(&r)
	w.peers.Writer = r.Sync
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// learnt is a password that JumpCloud's LDAP accepted, set a minute after
// whatever was before.
func (w *world) learnt(password string) identity.Seq {
	w.t.Helper()
	w.clock.add(time.Minute)
	seq, err := w.store.AppendProven(w.t.Context(), identity.Change{Kind: identity.PasswordBind, Direction: identity.Sync, Account: w.alice,
		CloudID: w.id, PasswordDate: w.clock.now().UTC(), Actor: "alice"}, secret.New([]byte(password)))
	w.ok(err)
	return seq
}

func (w *world) acceptedInAD(password string) bool {
	_, err := w.ad.Bind(w.alice.DN, []byte(password))
	return err == nil
}

// TestS4_Applied: a password that JumpCloud's side learnt is AD's, and does not
// come back from there.
func TestS4_Applied(t *testing.T) {
	w := syncing(t)
	seq := w.learnt("Cloud.Pass1")
	w.step()
	w.want(seq, identity.StatusApplied, "")
	if !w.acceptedInAD("Cloud.Pass1") {
		t.Error("AD does not have the password")
	}
	link, err := w.store.LinkByGUID(domainName, w.alice.GUID)
	w.ok(err)
	now, err := w.peers.AD.User(t.Context(), w.alice)
	w.ok(err)
	if link.PasswordSeq != seq || link.PasswordSet != now.PwdLastSet || link.PasswordDate.IsZero() {
		t.Errorf("link %+v, and pwdLastSet is %d", link, now.PwdLastSet)
	}
	w.wantProved(w.alice, "Cloud.Pass1", identity.BindInSync)
	if writes := w.cloud.Writes(); len(writes) > 0 {
		t.Errorf("JumpCloud was written: %v", writes)
	}
}

// TestS4_Refused: AD's refusal is a dead letter with AD's words; the password
// is kept for a retry.
func TestS4_Refused(t *testing.T) {
	w := syncing(t)
	seq := w.learnt("short")
	w.step()
	e := w.want(seq, identity.StatusDead, "0000052D")
	if _, err := w.store.Secret(seq, w.opener); err != nil {
		t.Errorf("the password of %+v: %v", e, err)
	}
	w.want(seq, identity.StatusDead, fmt.Sprintf("dirgate changelog retry %d", seq))
}

// TestS4_NotAllowed: where only AD may set the password, and where AD has a
// newer one, JumpCloud's is discarded.
func TestS4_NotAllowed(t *testing.T) {
	w := syncing(t)
	w.ok(w.store.ChangeLink(t.Context(), domainName, w.alice.GUID, func(l *identity.Link) { l.PasswordAuthority = identity.AD }))
	seq := w.learnt("Cloud.Pass1")
	w.step()
	w.want(seq, identity.StatusDiscarded, "only Active Directory")
	w.ok(w.store.ChangeLink(t.Context(), domainName, w.alice.GUID, func(l *identity.Link) { l.PasswordAuthority = "" }))
	seq = w.learnt("Cloud.Pass2")
	w.clock.add(time.Minute)
	w.resetAtDC(w.alice.DN, "Newer.Pass1")
	w.step()
	w.want(seq, identity.StatusDiscarded, "set later")
	if !w.acceptedInAD("Newer.Pass1") {
		t.Error("AD's newer password was replaced")
	}
}

// forgetfulWriter loses the answers of its writes.
type forgetfulWriter struct {
	PasswordWriter
	calls int
}

func (f *forgetfulWriter) SetPassword(ctx context.Context, guid identity.GUID, password secret.Bytes) (identity.User, error) {
	f.calls++
	if _, err := f.PasswordWriter.SetPassword(ctx, guid, password); err != nil {
		return identity.User{}, err
	}
	return identity.User{}, fmt.Errorf("%w: injected", ad.ErrUnknown)
}

// TestS4_LostAnswer: a write to AD that is not answered is looked for, and not
// sent again.
func TestS4_LostAnswer(t *testing.T) {
	w := syncing(t)
	f := &forgetfulWriter{PasswordWriter: w.peers.Writer}
	w.peers.Writer = f
	seq := w.learnt("Cloud.Pass1")
	w.clock.add(time.Minute)
	w.step()
	w.want(seq, identity.StatusPending, "not answered")
	w.clock.add(10 * time.Minute)
	w.step()
	w.want(seq, identity.StatusApplied, "")
	if f.calls != 1 || !w.acceptedInAD("Cloud.Pass1") {
		t.Errorf("%d writes, want 1", f.calls)
	}
}

// TestS4_LostAnswerOvertaken: what AD was given long after the lost write is
// another password.
func TestS4_LostAnswerOvertaken(t *testing.T) {
	w := syncing(t)
	w.peers.Writer = &forgetfulWriter{PasswordWriter: w.peers.Writer}
	seq := w.learnt("Cloud.Pass1")
	w.step()
	w.clock.add(time.Hour)
	w.resetAtDC(w.alice.DN, "Newer.Pass1")
	w.step()
	w.want(seq, identity.StatusDiscarded, "set later")
}

// TestS5_RestingPasswords: the passwords of a user whom a person has unbound in
// JumpCloud rest, in both directions.
func TestS5_RestingPasswords(t *testing.T) {
	w := syncing(t)
	v := store.Verdict{Direction: identity.Import, GUID: w.alice.GUID, Name: "alice", Since: w.clock.now(), Skip: plan.SyncUser(plan.SyncCase{
		Settings: plan.Settings{Use: identity.UseTwoWay}, Imported: true, AD: &identity.User{}, Cloud: &identity.User{}, Link: &identity.Link{WasBound: true}}).Skip}
	w.ok(w.store.PutVerdicts(t.Context(), domainName, []store.Verdict{v}))
	seq := w.learnt("Cloud.Pass1")
	w.step()
	w.want(seq, identity.StatusPending, "unbound from the AD object")
	if w.acceptedInAD("Cloud.Pass1") {
		t.Error("AD has the password of a user who is unbound")
	}
	v.Skip = ""
	w.ok(w.store.PutVerdicts(t.Context(), domainName, []store.Verdict{v}))
	w.clock.add(10 * time.Minute)
	w.step()
	w.want(seq, identity.StatusApplied, "")
}

// TestS4_Paused: a pause of direction sync keeps its passwords, and none of the
// import's.
func TestS4_Paused(t *testing.T) {
	w := syncing(t)
	w.ok(w.store.SetPaused(t.Context(), domainName, identity.Sync, true, "admin"))
	seq := w.learnt("Cloud.Pass1")
	w.run()
	bob := w.account("bob")
	w.addToJumpCloud("bob")
	w.await(w.accept(bob, "Other.Pass1"), identity.StatusApplied)
	w.want(seq, identity.StatusPending, "")
	w.ok(w.store.SetPaused(t.Context(), domainName, identity.Sync, false, "admin"))
	w.await(seq, identity.StatusApplied)
}
