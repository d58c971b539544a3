package store

import (
	"errors"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// intendUnknown appends an intent of an account that does not exist yet.
func (f *fixture) intendUnknown(t testing.TB, password string) identity.Seq {
	t.Helper()
	c := change(1)
	c.Kind, c.Account = identity.PasswordAdd, identity.Account{Domain: "corp.example", DN: "CN=new,DC=corp"}
	seq, err := f.AppendIntent(t.Context(), c, secret.New([]byte(password)))
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// TestG4_SettleAccount: the change of an account that was created with it is
// the account's own as soon as the account is known, whoever came first.
func TestG4_SettleAccount(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	found := identity.Account{Domain: "elsewhere", GUID: guid(3), DN: "CN=New,DC=corp,DC=example", SAM: "new"}
	seq := f.intendUnknown(t, "first")
	ok(t, f.SettleAccount(ctx, seq, found, "as told"))
	f.reopen(t)
	e, err := f.Entry(seq)
	ok(t, err)
	want := found
	want.Domain = "corp.example"
	if e.Account != want || e.Status != identity.StatusPending {
		t.Errorf("got %+v, %s, want %+v, pending", e.Account, e.Status, want)
	}
	if password, err := f.Secret(seq, f.opener); err != nil || string(password.Expose()) != "first" {
		t.Errorf("the password does not open: %v", err)
	}
	account := guid(3)
	if list, err := f.List(ListOptions{Account: &account}); err != nil || len(list) != 1 || list[0].Seq != seq {
		t.Errorf("changes of the account: %v, %v, want %d", list, err, seq)
	}
	f.check(t)

	newer := f.pend(t, 3, "newer")
	if got := f.status(t, seq); got != identity.StatusSuperseded {
		t.Errorf("after a newer change it is %s, want superseded", got)
	}
	late := f.intendUnknown(t, "late")
	overtaking := f.pend(t, 4, "overtaking")
	ok(t, f.SettleAccount(ctx, late, identity.Account{GUID: guid(4), DN: "CN=late"}, ""))
	for seq, want := range map[identity.Seq]identity.Status{newer: identity.StatusPending, overtaking: identity.StatusPending, late: identity.StatusSuperseded} {
		if got := f.status(t, seq); got != want {
			t.Errorf("change %d is %s, want %s", seq, got, want)
		}
	}
	f.check(t)
}

func TestSettleAccountKeepsWhatIsKnown(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	seq := f.intend(t, 1, "pw")
	ok(t, f.SettleAccount(ctx, seq, identity.Account{GUID: guid(2), DN: "CN=other"}, ""))
	e, err := f.Entry(seq)
	ok(t, err)
	if e.Account != change(1).Account || e.Status != identity.StatusPending {
		t.Errorf("got %+v, %s, want the intent's account, pending", e.Account, e.Status)
	}
	if err := f.SettleAccount(ctx, seq, identity.Account{DN: "CN=x"}, ""); err == nil {
		t.Error("an account without objectGUID was taken")
	}
	refused := f.intendUnknown(t, "no")
	ok(t, f.Settle(ctx, refused, identity.OutcomeRefused, "68"))
	if err := f.SettleAccount(ctx, refused, identity.Account{GUID: guid(2), DN: "CN=x"}, ""); !errors.Is(err, ErrState) {
		t.Errorf("settle a refused change: %v, want ErrState", err)
	}
}

// TestSecretStaysWithItsAccount: an account in the state that is not the
// intent's does not open the password.
func TestSecretStaysWithItsAccount(t *testing.T) {
	f := newStore(t)
	seq := f.pend(t, 1, "pw")
	e, err := f.Entry(seq)
	ok(t, err)
	e.Account.GUID = guid(2)
	ok(t, f.submit(t.Context(), func(b *batch) error { b.setValue(keySeq(prefixState, seq), e); return nil }))
	if _, err := f.Secret(seq, f.opener); err == nil {
		t.Error("the password of one account opened as that of another")
	}
}
