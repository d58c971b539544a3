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

// stateChange says that account n is not what it was.
func stateChange(n byte) identity.Change {
	c := change(n)
	c.Kind, c.Actor = identity.UserChange, ""
	return c
}

func adUser(n byte) identity.User {
	return identity.User{Side: identity.AD, GUID: guid(n), Username: fmt.Sprint("user", n), InRoot: true}
}

// learn appends what a reader learnt.
func (f *fixture) learn(t testing.TB, in ImportBatch) {
	t.Helper()
	in.CursorName = "ad/corp.example"
	ok(t, f.AppendImport(t.Context(), "CORP.example", in))
}

// newestOf is the newest change of account n.
func (f *fixture) newestOf(t testing.TB, n byte) identity.Entry {
	t.Helper()
	g := guid(n)
	entries, err := f.List(ListOptions{Account: &g, Newest: true, Limit: 1})
	ok(t, err)
	if len(entries) == 0 {
		t.Fatalf("account %d has no change", n)
	}
	return entries[0]
}

// TestL1_ImportIsOneTransaction: mirror, changes and cursor go together, and
// are there when the store is opened again.
func TestL1_ImportIsOneTransaction(t *testing.T) {
	f := newStore(t)
	group := identity.Group{Side: identity.AD, GUID: guid(9), Name: "staff", Members: []identity.GUID{guid(1), guid(2)}}
	before := f.head.Counter
	groupChange := stateChange(9)
	groupChange.Kind = identity.GroupChange
	f.learn(t, ImportBatch{Users: []identity.User{adUser(1), adUser(2)}, Groups: []identity.Group{group}, Cursor: []byte("c1"),
		Changes: []identity.Change{stateChange(1), groupChange}})
	if n := f.head.Counter - before; n != 1 {
		t.Errorf("%d transactions, want 1", n)
	}
	f.learn(t, ImportBatch{Gone: []identity.GUID{guid(2), guid(3)}, Cursor: []byte("c2"), Changes: []identity.Change{stateChange(2)}})
	f.reopen(t)
	f.check(t)

	m, err := f.Mirror("corp.EXAMPLE")
	ok(t, err)
	one := adUser(1)
	if want := (Mirror{map[identity.GUID]*identity.User{guid(1): &one}, map[identity.GUID]identity.Group{guid(9): group}}); !reflect.DeepEqual(m, want) {
		t.Errorf("mirror\n%+v\n%+v", m, want)
	}
	if u, err := f.MirrorUser("corp.example", guid(1)); err != nil || u != one {
		t.Errorf("mirror of one: %+v, %v", u, err)
	}
	if g, err := f.MirrorGroup("corp.example", guid(9)); err != nil || !reflect.DeepEqual(g, group) {
		t.Errorf("mirror of group: %+v, %v", g, err)
	}
	if _, err := f.MirrorUser("corp.example", guid(2)); !errors.Is(err, ErrNotFound) {
		t.Errorf("mirror of one that is gone: %v", err)
	}
	if other, err := f.Mirror("other.example"); err != nil || len(other.Users)+len(other.Groups) != 0 {
		t.Errorf("mirror of another domain: %+v, %v", other, err)
	}
	if cursor, err := f.Cursor("ad/corp.example"); err != nil || string(cursor) != "c2" {
		t.Errorf("cursor %q, %v", cursor, err)
	}
	pending, err := f.Pending(identity.Import, 10, 0)
	ok(t, err)
	kinds := make([]identity.ChangeKind, 0, 3)
	for _, e := range pending {
		kinds = append(kinds, e.Kind)
	}
	if want := []identity.ChangeKind{identity.UserChange, identity.GroupChange, identity.UserChange}; !reflect.DeepEqual(kinds, want) {
		t.Errorf("pending kinds %v, want %v in order", kinds, want)
	}
	if e, err := f.NewestState("CORP.example", guid(2)); err != nil || e.Seq != pending[2].Seq {
		t.Errorf("newest of account 2: %+v, %v", e, err)
	}
	if _, err := f.NewestState("corp.example", guid(3)); !errors.Is(err, ErrNotFound) {
		t.Errorf("newest of one without changes: %v", err)
	}
	if report, err := f.Verify(); err != nil || !report.OK() {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// TestL1_LargeImport: in a batch that takes several transactions the cursor is
// gone from the first one on until the last, and no change goes before the
// mirror.
func TestL1_LargeImport(t *testing.T) {
	t.Parallel()
	f := newStore(t)
	f.learn(t, ImportBatch{Cursor: []byte("old")})
	var in ImportBatch
	for n := range 3000 {
		u := adUser(1)
		u.GUID = identity.GUID{0: byte(n), 1: byte(n >> 8), 15: 0xDD}
		in.Users = append(in.Users, u)
		c := stateChange(1)
		c.Account.GUID = u.GUID
		in.Changes = append(in.Changes, c)
	}
	in.Cursor, in.CursorName = []byte("new"), "ad/corp.example"
	// One group of 40,000 members has a mirror of over a megabyte.
	big := identity.Group{GUID: guid(7), Name: "everybody"}
	for n := range 40_000 {
		big.Members = append(big.Members, identity.GUID{0: byte(n), 1: byte(n >> 8)})
	}
	in.Groups = []identity.Group{big}
	parts, err := in.parts("corp.example")
	ok(t, err)
	if len(parts) < 10 {
		t.Fatalf("%d parts, want many", len(parts))
	}
	var seen bool // a pending change
	for i, part := range parts[:len(parts)-1] {
		ok(t, f.submit(t.Context(), func(b *batch) error {
			for _, step := range part {
				step(b)
			}
			return nil
		}))
		if _, err := f.Cursor(in.CursorName); !errors.Is(err, ErrNotFound) {
			t.Fatalf("cursor after part %d: %v, want none", i, err)
		}
		pending, err := f.Pending(identity.Import, 1, 0)
		ok(t, err)
		if len(pending) == 0 || seen {
			continue
		}
		seen = true
		if m, err := f.Mirror("corp.example"); err != nil || len(m.Users) != len(in.Users) || len(m.Groups) != 1 {
			t.Fatalf("a change is pending before the mirror is whole (%d users), %v", len(m.Users), err)
		}
	}
	f.learn(t, in) // again, after it was cut short
	if cursor, err := f.Cursor(in.CursorName); err != nil || string(cursor) != "new" {
		t.Errorf("cursor %q, %v", cursor, err)
	}
	if stats, err := f.Stats(); err != nil || stats.Pending[identity.Import] != len(in.Changes) {
		t.Errorf("%+v, %v, want %d pending", stats, err, len(in.Changes))
	}
	f.reopen(t)
	m, err := f.Mirror("corp.example")
	ok(t, err)
	if len(m.Users) != 3000 || len(m.Groups[guid(7)].Members) != 40_000 {
		t.Errorf("%d users and %d members", len(m.Users), len(m.Groups[guid(7)].Members))
	}
}

// TestP2_ClassesSupersedeApart: a state change ends older ones of its account,
// never a password, and the other way round.
func TestP2_ClassesSupersedeApart(t *testing.T) {
	f := newStore(t)
	password := f.pend(t, 1, "first")
	f.learn(t, ImportBatch{Changes: []identity.Change{stateChange(1)}})
	old := f.newestOf(t, 1).Seq
	f.learn(t, ImportBatch{Held: []HeldChange{{stateChange(1), "removals", "21 at once"}}})
	held := f.newestOf(t, 1)
	if held.Status != identity.StatusHeld || held.Class != "removals" || held.Reason != "21 at once" {
		t.Fatalf("held: %+v", held)
	}
	if got := f.status(t, old); got != identity.StatusSuperseded {
		t.Errorf("the older state change is %s", got)
	}
	if got := f.status(t, password); got != identity.StatusPending {
		t.Errorf("the password change is %s", got)
	}
	newer := f.pend(t, 1, "second")
	if a, b := f.status(t, password), f.status(t, held.Seq); a != identity.StatusSuperseded || b != identity.StatusHeld {
		t.Errorf("after a newer password: %s and %s", a, b)
	}
	f.learn(t, ImportBatch{Changes: []identity.Change{stateChange(1)}})
	if a, b := f.status(t, newer), f.status(t, held.Seq); a != identity.StatusPending || b != identity.StatusSuperseded {
		t.Errorf("after a newer state: %s and %s", a, b)
	}
	f.check(t)
}

// TestG6_StateChangesDoNotBlockBinds: what a bind proves is kept back by open
// passwords only.
func TestG6_StateChangesDoNotBlockBinds(t *testing.T) {
	f := newStore(t)
	f.learn(t, ImportBatch{Changes: []identity.Change{stateChange(1)}})
	c := change(1)
	c.Kind, c.PwdLastSet = identity.PasswordBind, 1
	ok(t, f.CheckProven(c))
	_, err := f.AppendProven(t.Context(), c, secret.New([]byte("pw")))
	ok(t, err)
	if err := f.CheckProven(c); !errors.Is(err, ErrOpenChange) {
		t.Errorf("with a password open: %v, want ErrOpenChange", err)
	}
}

func TestImportRefusals(t *testing.T) {
	f := newStore(t)
	noGUID := stateChange(1)
	noGUID.Account.GUID = identity.GUID{}
	for name, in := range map[string]ImportBatch{
		"a password":          {CursorName: "c", Changes: []identity.Change{change(1)}},
		"no objectGUID":       {CursorName: "c", Changes: []identity.Change{noGUID}},
		"a user without one":  {CursorName: "c", Users: []identity.User{{}}},
		"a group without one": {CursorName: "c", Groups: []identity.Group{{}}},
		"no cursor":           {Changes: []identity.Change{stateChange(1)}},
		"a cursor too long":   {CursorName: "c", Cursor: make([]byte, maxCursor+1)},
		"held, and no class":  {CursorName: "c", Held: []HeldChange{{Change: stateChange(1)}}},
		"a name that is too long": {CursorName: "c", Changes: []identity.Change{func() identity.Change {
			c := stateChange(1)
			c.Account.DN = strings.Repeat("x", maxName+1)
			return c
		}()}},
	} {
		if err := f.AppendImport(t.Context(), "corp.example", in); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if stats, err := f.Stats(); err != nil || stats.LastSeq != 0 {
		t.Errorf("something was written: %+v, %v", stats, err)
	}
}

// TestL3_ImportAfterLoss: a loss that was accepted takes mirror and cursor, so
// that everything is compared, and leaves changes of state as they are.
func TestL3_ImportAfterLoss(t *testing.T) {
	f := newStore(t)
	f.learn(t, ImportBatch{Users: []identity.User{adUser(1)}, Cursor: []byte("c"), Changes: []identity.Change{stateChange(1)},
		Verdicts: []Verdict{{Direction: identity.Import, GUID: guid(1), Skip: "privileged"}}})
	state := f.newestOf(t, 1).Seq
	f.pend(t, 2, "pw")
	ok(t, f.db.Update(func(txn *badger.Txn) error { return txn.Delete(keySeq(prefixLog, 4)) }))
	f.reopen(t)
	if f.Damage() == nil {
		t.Fatal("no damage is seen")
	}
	_, err := f.AcceptLoss(t.Context(), "a test")
	ok(t, err)
	f.reopen(t)
	if m, err := f.Mirror("corp.example"); err != nil || len(m.Users) != 0 {
		t.Errorf("mirror %v, %v", m, err)
	}
	if _, err := f.Cursor("ad/corp.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("cursor: %v", err)
	}
	if _, err := f.Verdict("corp.example", identity.Import, guid(1), ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("verdict: %v", err)
	}
	if got := f.status(t, state); got != identity.StatusPending {
		t.Errorf("the state change is %s", got)
	}
}

// TestOldHead: a store of before the mirror opens, and can be written.
func TestOldHead(t *testing.T) {
	f := newStore(t)
	f.pend(t, 1, "pw")
	value, _, err := f.chain.sealHead(f.head)
	ok(t, err)
	end := strings.LastIndex(string(value), `,{"n":0`)
	for range 3 {
		end = strings.LastIndex(string(value[:end]), `,{"n":0`)
	}
	old := append(append([]byte(nil), value[:end]...), "]}"...)
	h, _, err := f.chain.openHead(f.reseal(old))
	ok(t, err)
	if !reflect.DeepEqual(h, f.head) {
		t.Errorf("a head with four tallies less\n%+v\n%+v", h, f.head)
	}
}

// reseal gives an altered head its tag.
func (f *fixture) reseal(value []byte) []byte {
	body := value[1+len(tag{}):]
	own := f.chain.key.Tag("dirgate store head 1", f.chain.id, body)
	return append(append([]byte{sealedVersion}, own[:]...), body...)
}

func TestGroupLinks(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	link := identity.GroupLink{Domain: "Corp.Example", GUID: guid(1), GroupID: "g1", Name: "staff", At: start, Created: true, Agreed: []string{"u1", "u2"}}
	ok(t, f.PutGroupLink(ctx, link))
	link.Domain, link.Agreed = "corp.example", []string{"u3"}
	ok(t, f.PutGroupLink(ctx, link))
	other := identity.GroupLink{Domain: "corp.example", GUID: guid(1), GroupID: "g2"}
	if err := f.PutGroupLink(ctx, other); !errors.Is(err, ErrLinkConflict) {
		t.Errorf("a second link of the AD group: %v", err)
	}
	other = identity.GroupLink{Domain: "corp.example", GUID: guid(2), GroupID: "g1"}
	if err := f.PutGroupLink(ctx, other); !errors.Is(err, ErrLinkConflict) {
		t.Errorf("a second link of the JumpCloud group: %v", err)
	}
	other.GroupID = "g2"
	ok(t, f.PutGroupLink(ctx, other))
	for _, bad := range []identity.GroupLink{{}, {Domain: "d", GUID: guid(1)}, {Domain: "d", GroupID: "g"}, {GUID: guid(1), GroupID: "g"}} {
		if err := f.PutGroupLink(ctx, bad); err == nil {
			t.Errorf("%+v was stored", bad)
		}
	}
	f.reopen(t)
	if got, err := f.GroupLink("corp.EXAMPLE", guid(1)); err != nil || !reflect.DeepEqual(got, link) {
		t.Errorf("got %+v, %v", got, err)
	}
	if all, err := f.GroupLinks("CORP.example"); err != nil || !reflect.DeepEqual(all, []identity.GroupLink{link, other}) {
		t.Errorf("got %+v, %v", all, err)
	}
	ok(t, f.RemoveGroupLink(ctx, "corp.Example", guid(1)))
	if err := f.RemoveGroupLink(ctx, "corp.example", guid(1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := f.GroupLink("corp.example", guid(1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("after removal: %v", err)
	}
	other.GUID, other.GroupID = guid(3), "g1"
	ok(t, f.PutGroupLink(ctx, other)) // g1 is free again
	if report, err := f.Verify(); err != nil || !report.OK() {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

func TestHeldOld(t *testing.T) {
	f := newStore(t)
	f.learn(t, ImportBatch{Held: []HeldChange{{stateChange(1), "removals", "many"}}})
	held := f.newestOf(t, 1).Seq
	if _, err := f.Prune(t.Context(), start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if e, err := f.Entry(held); err == nil && e.Status != identity.StatusDiscarded {
		t.Errorf("held for longer than records are kept: %+v", e)
	} else if err != nil && !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// TestL1_LinkKeepsBoth: import and passwords share a link, and neither takes
// from it what the other wrote.
func TestL1_LinkKeepsBoth(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	stale := identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "j1", Username: "u", At: start}
	ok(t, f.PutLink(ctx, stale))
	ok(t, f.ChangeLink(ctx, "CORP.example", guid(1), func(l *identity.Link) {
		l.SuspendedByUs, l.SudoGiven, l.ExpiredFor = true, true, start
		l.How, l.PasswordAuthority, l.Delegation = "made by the import", identity.AD, identity.JumpCloud
	}))
	seq := f.pend(t, 1, "pw")
	stale.PasswordSeq, stale.PasswordAt = seq, start
	ok(t, f.MarkApplied(ctx, seq, &stale))
	want := stale
	want.SuspendedByUs, want.SudoGiven, want.ExpiredFor = true, true, start
	want.How, want.PasswordAuthority, want.Delegation = "made by the import", identity.AD, identity.JumpCloud
	if got, err := f.LinkByGUID("corp.example", guid(1)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	ok(t, f.ChangeLink(ctx, "corp.example", guid(1), func(l *identity.Link) { l.SuspendedByUs = false }))
	want.SuspendedByUs = false
	if got, err := f.LinkByGUID("corp.example", guid(1)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if err := f.ChangeLink(ctx, "corp.example", guid(1), func(l *identity.Link) { l.JumpCloudID = "j2" }); !errors.Is(err, ErrLinkConflict) {
		t.Errorf("another user: %v", err)
	}
	if err := f.ChangeLink(ctx, "corp.example", guid(2), func(*identity.Link) {}); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a link: %v", err)
	}
}
