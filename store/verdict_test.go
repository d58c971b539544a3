package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// TestVerdicts: one for each object and direction, replaced and taken away,
// bounded, and there when the store is opened again.
func TestVerdicts(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	skipped := Verdict{Direction: identity.Import, GUID: guid(1), Name: "anna", Since: start, Skip: "privileged"}
	merged := Verdict{Direction: identity.Sync, GUID: guid(1), Name: "anna", Since: start, Won: "firstname: AD's", WonAt: start}
	staged := Verdict{Direction: identity.Sync, CloudID: "j2", Name: "bert", Since: start, Skip: "STAGED"}
	before := f.head.Counter
	f.learn(t, ImportBatch{Users: []identity.User{adUser(1)}, Cursor: []byte("c"), Verdicts: []Verdict{skipped}})
	if n := f.head.Counter - before; n != 1 {
		t.Errorf("%d transactions, want the batch's own", n)
	}
	ok(t, f.PutVerdicts(ctx, "CORP.example", []Verdict{merged, staged}))
	ok(t, f.PutVerdicts(ctx, "corp.example.org", []Verdict{staged}))
	f.reopen(t)
	var all []Verdict
	ok(t, f.EachVerdict("Corp.example", func(v Verdict) { all = append(all, v) }))
	if want := []Verdict{skipped, staged, merged}; !reflect.DeepEqual(all, want) {
		t.Errorf("got %+v\nwant %+v", all, want)
	}
	for _, want := range all {
		if got, err := f.Verdict("corp.EXAMPLE", want.Direction, want.GUID, want.CloudID); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	skipped.Skip = ""
	f.learn(t, ImportBatch{Cursor: []byte("c2"), Verdicts: []Verdict{skipped}})
	if _, err := f.Verdict("corp.example", identity.Import, guid(1), ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("an empty verdict: %v, want ErrNotFound", err)
	}
	long := Verdict{Direction: identity.Import, GUID: guid(2), Note: strings.Repeat("ä", 2000)}
	for n := range 100 {
		long.Actions = append(long.Actions, fmt.Sprint("add-member ", n))
	}
	ok(t, f.PutVerdicts(ctx, "corp.example", []Verdict{long}))
	got, err := f.Verdict("corp.example", identity.Import, guid(2), "")
	if n := len(got.Actions); err != nil || n != maxVerdictActions+1 || got.Actions[n-1] != "and 84 more" || len(got.Note) > maxVerdictWords {
		t.Errorf("got %+v, %v", got, err)
	}
	if r := f.verified(t); !r.OK() {
		t.Error(r.Summary())
	}
	for name, v := range map[string]Verdict{"direction": {GUID: guid(1), Skip: "x"}, "object": {Direction: identity.Sync, Skip: "x"}} {
		if err := f.PutVerdicts(ctx, "corp.example", []Verdict{v}); err == nil {
			t.Errorf("a verdict without %s was stored", name)
		}
		if err := f.AppendImport(ctx, "corp.example", ImportBatch{CursorName: "c", Verdicts: []Verdict{v}}); err == nil {
			t.Errorf("a verdict without %s was stored with a batch", name)
		}
	}
}

// TestStory: each change's records and no other's, whatever lies between.
func TestStory(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	first := f.pend(t, 1, "one")
	asked, err := f.AppendState(ctx, stateChange(1))
	ok(t, err)
	f.pend(t, 2, `"change":1,`)
	ok(t, f.BeginAttempt(ctx, asked, "update-user"))
	ok(t, f.Postpone(ctx, asked, start, fmt.Sprintf(`in its words: "change":%d,`, first)))
	second := f.pend(t, 1, "two") // supersedes the first
	ok(t, f.BeginAttempt(ctx, asked, "update-user"))
	ok(t, f.MarkApplied(ctx, asked, nil))
	g := guid(1)
	entries, err := f.List(ListOptions{Account: &g, Newest: true})
	ok(t, err)
	records, whole, err := f.Story(entries)
	ok(t, err)
	types := func(seq identity.Seq) (all []RecordType) {
		for _, r := range records[seq] {
			all = append(all, r.Type)
		}
		return all
	}
	for seq, want := range map[identity.Seq][]RecordType{
		first:  {RecordIntent, RecordAccepted, RecordSuperseded},
		second: {RecordIntent, RecordAccepted},
		asked:  {RecordIntent, RecordAccepted, RecordAttempt, RecordPostponed, RecordAttempt, RecordApplied},
	} {
		if got := types(seq); !reflect.DeepEqual(got, want) {
			t.Errorf("change %d: %v, want %v", seq, got, want)
		}
	}
	if !whole || len(records) != 3 {
		t.Errorf("whole %t, %d changes", whole, len(records))
	}
	entry, err := f.Entry(asked)
	ok(t, err)
	ok(t, f.view(func(txn *badger.Txn) error {
		own, seen, ended, err := f.recordsOf(txn, entry, 2)
		if len(own) != 2 || seen != 2 || ended {
			t.Errorf("at the limit: %d records of %d, ended %t", len(own), seen, ended)
		}
		return err
	}))
	if _, err := f.AppendState(ctx, change(1)); err == nil {
		t.Error("a password without one was taken")
	}
}

// TestNewestOf: accounts that nothing else names are found in the log.
func TestNewestOf(t *testing.T) {
	f := newStore(t)
	f.pend(t, 1, "one")
	last := f.pend(t, 1, "two")
	f.pend(t, 2, "three")
	of := func(n byte) func(identity.Entry) bool {
		return func(e identity.Entry) bool { return e.Account.GUID == guid(n) }
	}
	if e, err := f.Newest("CORP.example", of(1)); err != nil || e.Seq != last {
		t.Errorf("got %+v, %v", e, err)
	}
	for domain, n := range map[string]byte{"corp.example": 3, "other.example": 1} {
		if e, err := f.Newest(domain, of(n)); !errors.Is(err, ErrNotFound) {
			t.Errorf("of account %d in %s: %+v, %v", n, domain, e, err)
		}
	}
	f.learn(t, ImportBatch{Users: []identity.User{adUser(1), adUser(2)}, Groups: []identity.Group{{GUID: guid(9), Name: "staff"}}, Cursor: []byte("c")})
	users, groups := 0, 0
	ok(t, f.EachMirrored("CORP.example", func(u *identity.User, g *identity.Group) {
		switch {
		case u != nil && g == nil:
			users++
		case g != nil && g.Name == "staff":
			groups++
		}
	}))
	if users != 2 || groups != 1 {
		t.Errorf("%d users, %d groups", users, groups)
	}
}

// FuzzMentions: a record is found by the number of its change and no other,
// whatever a peer's words in it look like.
func FuzzMentions(f *testing.F) {
	f.Add(uint64(3), uint64(3), "x")
	f.Add(uint64(3), uint64(31), `"change":3,`)
	f.Add(uint64(31), uint64(3), `\","change":3}`)
	f.Fuzz(func(t *testing.T, own, other uint64, words string) {
		r := Record{Seq: 7, Type: RecordAttempt, Change: identity.Seq(own), Reason: words, Evidence: words, Class: words,
			Intent: &identity.Change{Actor: words}}
		body, err := json.Marshal(r)
		ok(t, err)
		if got := mentions(body, fmt.Appendf(nil, `"change":%d`, other)); got != (own == other) {
			t.Errorf("%s: mentions %d: %t", body, other, got)
		}
	})
}

// TestP5_PasswordsInSync: of the links, those whose password AD still has.
func TestP5_PasswordsInSync(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	set := func(n byte, when int64) identity.User {
		u := adUser(n)
		u.PwdLastSet = when
		return u
	}
	f.learn(t, ImportBatch{Cursor: []byte("c"), Users: []identity.User{set(1, 100), set(2, 200), set(3, 0), set(5, 500)}})
	for n, when := range map[byte]int64{1: 100, 2: 150, 3: 0, 4: 400} { // the same, an older one, none, not seen
		ok(t, f.PutLink(ctx, identity.Link{Domain: "corp.example", GUID: guid(n), JumpCloudID: fmt.Sprint("j", n), PasswordSet: when}))
	}
	if linked, same, err := f.PasswordsInSync("CORP.example"); err != nil || linked != 4 || same != 1 {
		t.Errorf("%d linked, %d the same, %v; want 4 and 1", linked, same, err)
	}
	if linked, same, err := f.PasswordsInSync("other.example"); err != nil || linked+same != 0 {
		t.Errorf("of another domain: %d linked, %d the same, %v", linked, same, err)
	}
}
