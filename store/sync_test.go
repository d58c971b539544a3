package store

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// syncChange is a password change of a JumpCloud user.
func syncChange(id string) identity.Change {
	return identity.Change{
		Kind: identity.PasswordChange, Direction: identity.Sync, CloudID: id,
		Account: identity.Account{Domain: "corp.example"}, Actor: "portal",
	}
}

// cloudChange says that a JumpCloud user is not what it was.
func cloudChange(id string) identity.Change {
	c := syncChange(id)
	c.Kind, c.Actor = identity.UserChange, ""
	return c
}

func cloudGroupChange(id string) identity.Change {
	c := cloudChange(id)
	c.Kind = identity.GroupChange
	return c
}

// learnCloud appends what the reader of JumpCloud learnt.
func (f *fixture) learnCloud(t testing.TB, in SyncBatch) {
	t.Helper()
	in.CursorName = "jumpcloud/corp.example"
	ok(t, f.AppendSync(t.Context(), "CORP.example", in))
}

// pendSync appends an accepted password of a JumpCloud user.
func (f *fixture) pendSync(t testing.TB, id, password string) identity.Seq {
	t.Helper()
	seq, err := f.AppendIntent(t.Context(), syncChange(id), secret.New([]byte(password)))
	ok(t, err)
	ok(t, f.Settle(t.Context(), seq, identity.OutcomeAccepted, ""))
	return seq
}

func (f *fixture) link(t testing.TB, n byte, id string) {
	t.Helper()
	ok(t, f.PutLink(t.Context(), identity.Link{Domain: "corp.example", GUID: guid(n), JumpCloudID: id}))
}

func seqsOf(entries []identity.Entry) (seqs []identity.Seq) {
	for _, e := range entries {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

// TestL1_SyncIsOneTransaction: changes and cursor go together, and are there
// when the store is opened again; import's lists do not show them.
func TestL1_SyncIsOneTransaction(t *testing.T) {
	f := newStore(t)
	before := f.head.Counter
	f.learnCloud(t, SyncBatch{Cursor: []byte("c1"),
		Changes: []identity.Change{cloudChange("u1"), cloudGroupChange("u1")},
		Held:    []HeldChange{{cloudChange("u2"), "disables", "21 at once"}}})
	if n := f.head.Counter - before; n != 1 {
		t.Errorf("%d transactions, want 1", n)
	}
	f.reopen(t)
	f.check(t)
	pending, err := f.Pending(identity.Sync, 10, 0)
	ok(t, err)
	if len(pending) != 2 || pending[0].CloudID != "u1" || pending[0].Account.Domain != "corp.example" || pending[1].Kind != identity.GroupChange {
		t.Fatalf("pending: %+v", pending)
	}
	held, err := f.Held(identity.Sync, HeldOptions{Domain: "corp.example", Class: "disables"})
	ok(t, err)
	if len(held) != 1 || held[0].CloudID != "u2" || held[0].Reason != "21 at once" {
		t.Errorf("held: %+v", held)
	}
	if imports, err := f.Pending(identity.Import, 10, 0); err != nil || len(imports) != 0 {
		t.Errorf("pending imports: %v, %v", imports, err)
	}
	if cursor, err := f.Cursor("jumpcloud/corp.example"); err != nil || string(cursor) != "c1" {
		t.Errorf("cursor %q, %v", cursor, err)
	}
	for kind, want := range map[identity.ChangeKind]identity.Seq{identity.UserChange: pending[0].Seq, identity.GroupChange: pending[1].Seq} {
		if e, err := f.NewestCloudState("CORP.example", kind, "u1"); err != nil || e.Seq != want {
			t.Errorf("newest %s of u1: %d, %v, want %d", kind, e.Seq, err, want)
		}
	}
	if _, err := f.NewestCloudState("corp.example", identity.UserChange, "u3"); !errors.Is(err, ErrNotFound) {
		t.Errorf("newest of one without changes: %v", err)
	}
	ok(t, f.Approve(t.Context(), held[0].Seq, "admin"))
	if stats, err := f.Stats(); err != nil || stats.Pending[identity.Sync] != 3 || stats.Held[identity.Sync] != 0 {
		t.Errorf("after approval: %+v, %v", stats, err)
	}
	f.verified(t)
}

// TestL1_SyncSupersedes: a newer state of the JumpCloud user ends the older
// one, held or not, and nothing of the import, of the group of that id, or of
// the same user in another domain.
func TestL1_SyncSupersedes(t *testing.T) {
	f := newStore(t)
	f.link(t, 1, "u1")
	f.learn(t, ImportBatch{Changes: []identity.Change{stateChange(1)}})
	imported := f.newestOf(t, 1).Seq
	f.learnCloud(t, SyncBatch{Changes: []identity.Change{cloudGroupChange("u1")}, Held: []HeldChange{{cloudChange("u1"), "disables", "many"}}})
	entries, err := f.List(ListOptions{CloudID: "u1"})
	ok(t, err)
	group, held := entries[0].Seq, entries[1].Seq
	ok(t, f.AppendSync(t.Context(), "other.example", SyncBatch{Changes: []identity.Change{cloudChange("u1")}}))
	f.learnCloud(t, SyncBatch{Changes: []identity.Change{cloudChange("u1")}})
	newest, err := f.NewestCloudState("corp.example", identity.UserChange, "u1")
	ok(t, err)
	other, err := f.NewestCloudState("other.example", identity.UserChange, "u1")
	ok(t, err)
	for seq, want := range map[identity.Seq]identity.Status{
		imported: identity.StatusPending, group: identity.StatusPending, held: identity.StatusSuperseded,
		newest.Seq: identity.StatusPending, other.Seq: identity.StatusPending,
	} {
		if got := f.status(t, seq); got != want {
			t.Errorf("change %d is %s, want %s", seq, got, want)
		}
	}
	ok(t, f.Hold(t.Context(), newest.Seq, "disables", "many"))
	ok(t, f.Reject(t.Context(), newest.Seq, "no"))
	if got := f.status(t, newest.Seq); got != identity.StatusDiscarded {
		t.Errorf("rejected, it is %s", got)
	}
	f.check(t)
}

// TestL1_LargeSync: in a batch of several transactions the cursor is gone from
// the first one on until the last.
func TestL1_LargeSync(t *testing.T) {
	t.Parallel()
	f := newStore(t)
	f.learnCloud(t, SyncBatch{Cursor: []byte("old")})
	in := SyncBatch{CursorName: "jumpcloud/corp.example", Cursor: []byte("new")}
	for n := range 600 {
		in.Changes = append(in.Changes, cloudChange(fmt.Sprint("u", n)))
	}
	parts, err := in.parts("corp.example")
	ok(t, err)
	if len(parts) < 3 {
		t.Fatalf("%d parts, want several", len(parts))
	}
	for i, part := range parts[:len(parts)-1] {
		ok(t, f.appendParts(t.Context(), [][]step{part}))
		if _, err := f.Cursor(in.CursorName); !errors.Is(err, ErrNotFound) {
			t.Fatalf("cursor after part %d: %v, want none", i, err)
		}
	}
	f.learnCloud(t, in)
	if cursor, err := f.Cursor(in.CursorName); err != nil || string(cursor) != "new" {
		t.Errorf("cursor %q, %v", cursor, err)
	}
	if stats, err := f.Stats(); err != nil || stats.Pending[identity.Sync] != len(in.Changes) {
		t.Errorf("%+v, %v, want %d pending", stats, err, len(in.Changes))
	}
}

func TestAppendSyncRefuses(t *testing.T) {
	f := newStore(t)
	password, nobody, long := syncChange("u1"), cloudChange(""), cloudChange(strings.Repeat("x", maxCloudID+1))
	for name, in := range map[string]SyncBatch{
		"a password":        {Changes: []identity.Change{password}},
		"no id":             {Changes: []identity.Change{nobody}},
		"a long id":         {Changes: []identity.Change{long}},
		"no class":          {Held: []HeldChange{{Change: cloudChange("u1")}}},
		"a held password":   {Held: []HeldChange{{password, "disables", "many"}}},
		"a cursor too long": {CursorName: "c", Cursor: make([]byte, maxCursor+1)},
	} {
		if err := f.AppendSync(t.Context(), "corp.example", in); err == nil {
			t.Errorf("%s was recorded", name)
		}
	}
	imported := change(1)
	imported.CloudID = "u1"
	if _, err := f.AppendIntent(t.Context(), imported, secret.New([]byte("pw"))); err == nil {
		t.Error("an import known by JumpCloud's id was recorded")
	}
	if stats, _ := f.Stats(); stats.LastSeq != 0 {
		t.Errorf("last number %d, want none", stats.LastSeq)
	}
}

// TestL1_IdentifyAccount: a change that began before its AD account was there
// is listed with the account's, and its password opens all the same.
func TestL1_IdentifyAccount(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	seq := f.pendSync(t, "u1", "secret one")
	imported := f.pend(t, 1, "pw")
	made := identity.Account{Domain: "elsewhere", GUID: guid(1), DN: "CN=New,DC=corp,DC=example", SAM: "new"}
	ok(t, f.IdentifyAccount(ctx, seq, made))
	before, _ := f.Stats()
	ok(t, f.IdentifyAccount(ctx, seq, made)) // again: nothing is written
	if after, _ := f.Stats(); after.LastSeq != before.LastSeq {
		t.Error("the same account was recorded twice")
	}
	if err := f.IdentifyAccount(ctx, seq, identity.Account{GUID: guid(2)}); !errors.Is(err, ErrState) {
		t.Errorf("another account: %v, want ErrState", err)
	}
	if err := f.IdentifyAccount(ctx, imported, made); !errors.Is(err, ErrState) {
		t.Errorf("of an import: %v, want ErrState", err)
	}
	if err := f.IdentifyAccount(ctx, seq, identity.Account{DN: "CN=x"}); err == nil {
		t.Error("an account without objectGUID was taken")
	}
	f.reopen(t)
	f.check(t)
	want := made
	want.Domain = "corp.example"
	if e, err := f.Entry(seq); err != nil || e.Account != want || e.Status != identity.StatusPending {
		t.Errorf("%+v, %v, want account %+v", e, err, want)
	}
	if password, err := f.Secret(seq, f.opener); err != nil || string(password.Expose()) != "secret one" {
		t.Errorf("the password does not open: %v", err)
	}
	account, other := guid(1), guid(2)
	for _, row := range []struct {
		o    ListOptions
		want []identity.Seq
	}{
		{ListOptions{Account: &account}, []identity.Seq{seq, imported}},
		{ListOptions{CloudID: "u1"}, []identity.Seq{seq}},
		{ListOptions{CloudID: "u1", Account: &account}, []identity.Seq{seq}},
		{ListOptions{CloudID: "u2", Account: &account}, nil},
		{ListOptions{Account: &other}, nil},
	} {
		if got, err := f.List(row.o); err != nil || !reflect.DeepEqual(seqsOf(got), row.want) {
			t.Errorf("%+v: %v, %v, want %v", row.o, seqsOf(got), err, row.want)
		}
	}
	ok(t, f.MarkApplied(ctx, seq, nil))
	ok(t, f.MarkApplied(ctx, imported, nil))
	if _, err := f.Prune(ctx, start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if left, err := f.List(ListOptions{Account: &account}); err != nil || len(left) > 1 {
		t.Errorf("the index names changes that are gone: %v, %v", left, err)
	}
	f.verified(t)
}

// TestP1_SyncSecretStaysWithItsUser: a password of one user does not open as
// that of another.
func TestP1_SyncSecretStaysWithItsUser(t *testing.T) {
	f := newStore(t)
	seq := f.pendSync(t, "u1", "pw")
	e, err := f.Entry(seq)
	ok(t, err)
	e.CloudID = "u2"
	ok(t, f.submit(t.Context(), func(b *batch) error { b.setValue(keySeq(prefixState, seq), e); return nil }))
	if _, err := f.Secret(seq, f.opener); err == nil {
		t.Error("the password of one user opened as that of another")
	}
}

// TestL3_SyncRederived: what is derived from the log is made anew for changes
// of sync too.
func TestL3_SyncRederived(t *testing.T) {
	f := newStore(t)
	f.link(t, 1, "u1")
	seq := f.pendSync(t, "u1", "pw")
	ok(t, f.IdentifyAccount(t.Context(), seq, identity.Account{GUID: guid(1), DN: "CN=u"}))
	f.learnCloud(t, SyncBatch{Changes: []identity.Change{cloudChange("u1"), cloudGroupChange("g1")}})
	derived := func() (keys []string) {
		ok(t, f.view(func(txn *badger.Txn) error {
			for _, prefix := range []string{prefixAccount, prefixNewest} {
				ok(t, scan(txn, []byte(prefix), nil, false, func(item *badger.Item) (bool, error) {
					value, err := item.ValueCopy(nil)
					keys = append(keys, fmt.Sprintf("%q=%q", item.Key(), value))
					return true, err
				}))
			}
			return nil
		}))
		return keys
	}
	before := derived()
	f.spoil(t, func(txn *badger.Txn) error { return txn.Delete(keyNewest(cloudChange("u1"))) })
	f.refusesWrites(t)
	_, err := f.AcceptLoss(t.Context(), "a test")
	ok(t, err)
	if after := derived(); !reflect.DeepEqual(before, after) {
		t.Errorf("derived anew:\n%s\nwas\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
	f.verified(t)
}

// TestL1_BothDirectionsAreOneTransaction: what was learnt of both sides is
// recorded together, or not at all.
func TestL1_BothDirectionsAreOneTransaction(t *testing.T) {
	f := newStore(t)
	in := ImportBatch{CursorName: "import/corp.example", Cursor: []byte("1"),
		Changes: []identity.Change{{Kind: identity.UserChange, Account: identity.Account{GUID: guid(1)}}},
		Sync:    SyncBatch{Changes: []identity.Change{{Kind: identity.UserChange, CloudID: "u1"}}}}
	bad := in
	bad.Sync.Changes = []identity.Change{{Kind: identity.UserChange}}
	if err := f.AppendImport(t.Context(), "corp.example", bad); err == nil {
		t.Error("a change of sync without JumpCloud's id was taken")
	}
	for _, d := range []identity.Direction{identity.Import, identity.Sync} {
		if pending, err := f.Pending(d, 10, 0); err != nil || len(pending) != 0 {
			t.Errorf("%s: %+v, %v, want nothing", d, pending, err)
		}
	}
	ok(t, f.AppendImport(t.Context(), "corp.example", in))
	for _, d := range []identity.Direction{identity.Import, identity.Sync} {
		pending, err := f.Pending(d, 10, 0)
		if err != nil || len(pending) != 1 || pending[0].Direction != d || pending[0].Account.Domain != "corp.example" {
			t.Errorf("%s: %+v, %v, want one", d, pending, err)
		}
	}
}
