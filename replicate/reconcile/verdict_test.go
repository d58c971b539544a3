package reconcile

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/go-ldap/ldap/v3"
)

// verdict is what is stored about a user.
func (w *world) verdict(name string) (v store.Verdict, ok bool) {
	w.t.Helper()
	v, err := w.store.Verdict(w.domain.Name, identity.Import, w.guid(name), "")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		w.t.Fatal(err)
	}
	return v, err == nil
}

// guid is that of an account as the mirror has it.
func (w *world) guid(name string) (guid identity.GUID) {
	w.t.Helper()
	w.ok(w.store.EachMirrored(w.domain.Name, func(u *identity.User, _ *identity.Group) {
		if u != nil && u.Username == name {
			guid = u.GUID
		}
	}))
	if guid.IsZero() {
		w.t.Fatalf("the mirror has no %q", name)
	}
	return guid
}

// TestI1_VerdictsAreKept: why each skipped account is skipped, and since when;
// nothing of who is as he should be; nothing of who is gone.
func TestI1_VerdictsAreKept(t *testing.T) {
	w := newWorld(t)
	w.hire("amy")
	w.hireInto([]string{adsim.ScopeGroup}, "root", adsim.Attribute{Name: "adminCount", Values: []string{"1"}})
	w.hireInto(nil, "outsider")
	began := w.clock.now()
	w.pass()
	if v, ok := w.verdict("amy"); !ok || len(v.Actions) != 2 || !strings.HasPrefix(v.Actions[0], `create user username "amy", email "amy@`) {
		t.Errorf("of amy, before she is made: %+v, %t", v, ok)
	}
	w.clock.add(2 * time.Minute)
	w.pass()
	if v, ok := w.verdict("amy"); ok {
		t.Errorf("of amy, who is as she should be: %+v", v)
	}
	for name, why := range map[string]string{"root": "privileged account", "outsider": "not a member of the scope group"} {
		if v, ok := w.verdict(name); !ok || !strings.Contains(v.Skip, why) || !v.Since.Equal(began) || v.Name != name {
			t.Errorf("of %s: %+v, %t; want %q since %s", name, v, ok, why, began)
		}
	}

	w.set(w.dn("root"), "adminCount", "")
	w.im = w.make() // another process, which knows what the store has
	w.clock.add(2 * time.Minute)
	later := w.clock.now()
	w.pass()
	if v, ok := w.verdict("root"); !ok || len(v.Actions) == 0 || !v.Since.Equal(later) {
		t.Errorf("of root, who is one no more: %+v, %t", v, ok)
	}
	if v, _ := w.verdict("outsider"); !v.Since.Equal(began) {
		t.Errorf("of outsider, who is what he was: %+v", v)
	}
	gone := w.guid("outsider")
	w.ok(w.admin.Del(ldap.NewDelRequest(w.dn("outsider"), nil)))
	w.clock.add(2 * time.Minute)
	w.pass()
	if v, err := w.store.Verdict(w.domain.Name, identity.Import, gone, ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of outsider, who is gone: %+v, %v", v, err)
	}
}

// TestAttemptSaysWhat: the log tells what an attempt was about to do, with the
// values before and after.
func TestAttemptSaysWhat(t *testing.T) {
	w := newWorld(t)
	w.hire("ann")
	w.pass()
	w.set(w.dn("ann"), "sAMAccountName", "anna")
	w.pass()
	guid := w.guid("anna")
	entries, err := w.store.List(store.ListOptions{Account: &guid, Newest: true})
	w.ok(err)
	records, _, err := w.store.Story(entries[:1])
	w.ok(err)
	var attempts []string
	for _, r := range records[entries[0].Seq] {
		if r.Type == store.RecordAttempt {
			attempts = append(attempts, r.Evidence)
		}
	}
	if len(attempts) != 1 || !strings.Contains(attempts[0], `update user: username "ann" -> "anna"`) {
		t.Errorf("the attempts say %q", attempts)
	}
	link, err := w.store.LinkByGUID(w.domain.Name, guid)
	if err != nil || link.How != "made at JumpCloud by the import" {
		t.Errorf("link %+v, %v", link, err)
	}
}

// TestVerdictsRemember: a conflict that was decided outlives the plan that
// decided it, and not its object.
func TestVerdictsRemember(t *testing.T) {
	st := newWorld(t).store
	then := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	old := store.Verdict{Direction: identity.Import, GUID: identity.GUID{1}, Name: "amy", Since: then, Skip: "x", Won: "firstname: AD's", WonAt: then}
	gone := old
	gone.GUID = identity.GUID{2}
	other := store.Verdict{Direction: identity.Sync, CloudID: "j1", Since: then, Skip: "STAGED"}
	if err := st.PutVerdicts(t.Context(), "d.example", []store.Verdict{old, gone, other}); err != nil {
		t.Fatal(err)
	}
	s, err := readVerdicts(st, "d.example")
	if err != nil {
		t.Fatal(err)
	}
	w := plan.World{Tree: plan.Tree{Users: map[identity.GUID]*identity.User{{1}: {Username: "amy"}}}}
	now := then.Add(time.Hour)
	got := s.verdicts(identity.Import, plan.Plan{}, w, now)
	want := map[identity.GUID]store.Verdict{
		{1}: {Direction: identity.Import, GUID: identity.GUID{1}, Name: "amy", Since: now, Won: old.Won, WonAt: then},
		{2}: {Direction: identity.Import, GUID: identity.GUID{2}, Since: now},
	}
	if len(got) != len(want) {
		t.Errorf("got %+v", got)
	}
	for _, v := range got {
		if !reflect.DeepEqual(v, want[v.GUID]) {
			t.Errorf("got %+v, want %+v", v, want[v.GUID])
		}
		s.take(v)
	}
	if again := s.verdicts(identity.Import, plan.Plan{}, w, now); len(again) != 0 {
		t.Errorf("again: %+v", again)
	}

	decided := plan.Plan{Results: []plan.Result{{Direction: identity.Sync, CloudID: "j2", Name: "bea", Verdict: plan.Verdict{Won: []string{"lastname: AD's", "firstname: JumpCloud's"}}}}}
	got = s.verdicts(identity.Sync, decided, w, now)
	i := slices.IndexFunc(got, func(v store.Verdict) bool { return v.CloudID == "j2" })
	if i < 0 || got[i].Won != "lastname: AD's; firstname: JumpCloud's" || !got[i].WonAt.Equal(now) || got[i].Direction != identity.Sync {
		t.Fatalf("a decision: %+v", got)
	}
	s.take(got[i])
	if again := s.verdicts(identity.Sync, decided, w, now.Add(time.Hour)); slices.ContainsFunc(again, func(v store.Verdict) bool { return v.CloudID == "j2" }) {
		t.Errorf("the same decision, told again: %+v", again)
	}
}

// TestPhrases: what people read of an action.
func TestPhrases(t *testing.T) {
	w := plan.World{Tree: plan.Tree{Users: map[identity.GUID]*identity.User{{7}: {Username: "new.one"}}},
		Cloud: plan.Cloud{Users: map[string]*identity.User{"u1": {Username: "amy"}}}}
	tests := []struct {
		action plan.Action
		want   string
	}{
		{plan.Action{Kind: plan.AddMember, UserID: "u1", Reason: "a member in AD"}, "add member amy (a member in AD)"},
		{plan.Action{Kind: plan.RemoveMember, UserID: "u2"}, "remove member u2"},
		{plan.Action{Kind: plan.Suspend, Reason: "disabled in AD"}, "suspend (disabled in AD)"},
		{plan.Action{Kind: plan.UpdateUser, Fields: []plan.Field{{Name: "lastname", From: "A", To: "B"}, {Name: "manager", To: "u1"}, {Name: plan.FieldRestrict, From: "a b c", To: "a"}}},
			`update user: lastname "A" -> "B", manager nobody -> amy, restrictedFields`},
		{plan.Action{Kind: plan.CreateUser, Fields: []plan.Field{{Name: "username", To: "amy"}, {Name: "email", To: "amy@x"}, {Name: "lastname", To: "B"}}},
			`create user username "amy", email "amy@x"`},
	}
	for _, tt := range tests {
		if got := phrase(w, tt.action); got != tt.want {
			t.Errorf("got %s\nwant %s", got, tt.want)
		}
	}
	for n := 4; n < 16; n++ {
		if got := cut("äöü€uvw", n); len(got) > n || !utf8.ValidString(got) {
			t.Errorf("cut to %d bytes: %q", n, got)
		}
	}
}
