package jumpcloud

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/jcsim"
)

// directory registers an AD object.
func (b *bench) directory(t testing.TB) string {
	t.Helper()
	d, err := b.client.CreateActiveDirectory(t.Context(), "DC=corp;DC=example")
	if err != nil {
		t.Fatal(err)
	}
	return d.ID
}

func (b *bench) get(t *testing.T, id string) jcsim.User {
	t.Helper()
	u, ok := b.sim.User(id)
	if !ok {
		t.Fatalf("user %s is gone", id)
	}
	return u
}

// TestI4_CreateAndUpdateUser: what is written is what is read, and what others
// wrote stays.
func TestI4_CreateAndUpdateUser(t *testing.T) {
	b := newBench(t)
	ctx, ad := t.Context(), b.directory(t)
	boss := b.user(t, jcsim.User{Username: "boss", Email: "boss@corp.example"})
	fields := []Field{{"username", "alice"}, {"email", "alice@corp.example"}, {"firstname", "Alice"}, {"description", ""}, {"manager", boss},
		{"phoneNumbers.mobile", "4"}, {"addresses.work.locality", "Oslo"}, {"restrictedFields", "email password"}, {"delegatedAuthority", ad},
		{"external_password_expiration_date", "2026-05-04T09:00:00Z"}, {"sudo", "true"}, {"state", "STAGED"}}
	made, err := b.client.CreateUser(ctx, ad, fields)
	if err != nil {
		t.Fatal(err)
	}
	id := ToIdentity(&made, ad)
	if id.State != "STAGED" || id.Profile.MobilePhone != "4" || id.Profile.Address.Locality != "Oslo" || id.Restricted != "email password" ||
		id.DelegatedTo != ad || id.Manager.ID != boss || !id.Sudo || id.PasswordExpires.IsZero() {
		t.Errorf("created: got %+v", id)
	}
	// Somebody else adds to the same lists.
	_, err = b.client.UpdateUser(ctx, made.ID, otherID, []Field{{"phoneNumbers.other", "9"}, {"restrictedFields", "sudo"}})
	if err != nil {
		t.Fatal(err)
	}
	b.sim.ForgetHistory()
	now, err := b.client.UpdateUser(ctx, made.ID, ad, []Field{{"phoneNumbers.mobile", ""}, {"restrictedFields", ""}, {"delegatedAuthority", ""},
		{"lastname", "Ng"}, {"external_password_expiration_date", ""}, {"manager", ""}, {"sudo", "false"}})
	if err != nil {
		t.Fatal(err)
	}
	id = ToIdentity(&now, ad)
	if id.Profile.MobilePhone != "" || now.phone("other") != "9" || id.Restricted != "" || now.restricted(otherID) != "sudo" || id.DelegatedTo != "" ||
		id.First != "Alice" || id.Last != "Ng" || id.Profile.Address.Locality != "Oslo" || !id.PasswordExpires.IsZero() || id.Manager.ID != "" || id.Sudo {
		t.Errorf("updated: got %+v", id)
	}
	if n := b.sim.Counts()["GET /api/systemusers/{id}"]; n != 1 {
		t.Errorf("read %d times before the update, want once", n)
	}
	if _, err = b.client.UpdateUser(ctx, made.ID, ad, []Field{{"displayname", "Alice Ng"}}); err != nil {
		t.Error(err)
	}
	if n := b.sim.Counts()["GET /api/systemusers/{id}"]; n != 1 {
		t.Errorf("a field that is no list needs no reading, but was read for")
	}
	if _, err := b.client.UpdateUser(ctx, made.ID, ad, []Field{{"password", "x"}}); !NotSent(err) {
		t.Errorf("password as a field: got %v, want not sent", err)
	}
	if _, err := b.client.CreateUser(ctx, ad, fields); !Refused(err) {
		t.Errorf("taken name: got %v, want a refusal", err)
	}
	if _, err := b.client.CreateUser(ctx, ad, []Field{{"username", "x"}}); !NotSent(err) {
		t.Errorf("no email: got %v, want not sent", err)
	}
	b.sim.SetRestrictedWrites(jcsim.RestrictedRefused)
	if _, err := b.client.UpdateUser(ctx, made.ID, ad, []Field{{"sudo", "true"}}); !Refused(err) || !strings.Contains(fmt.Sprint(err), "read only") {
		t.Errorf("restricted field: got %v, want a refusal", err)
	}
}

// TestI6_States: suspension, activation, expiry, unlocking and deletion.
func TestI6_States(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	id := b.user(t, jcsim.User{Username: "alice", Email: "alice@corp.example", State: "STAGED", Password: text(canary)})
	report := b.user(t, jcsim.User{Username: "bob", Email: "bob@corp.example", Fields: map[string]any{"manager": id}})
	run := func(what string, do func() error, want string) {
		t.Helper()
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		u := b.get(t, id)
		if got := fmt.Sprint(u.State, " ", u.Locked, " ", u.PasswordExpired); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	activate := func() error { return b.client.Activate(ctx, id) }
	suspend := func() error { return b.client.Suspend(ctx, id) }
	run("activate a staged user", activate, "ACTIVATED false false")
	run("activate an active one", activate, "ACTIVATED false false")
	run("suspend", suspend, "SUSPENDED false false")
	run("activate a suspended one", activate, "ACTIVATED false false")
	b.sim.Fail(jcsim.Fault{Operation: "POST /api/systemusers/{id}/state/suspend", Kind: jcsim.Status, Code: http.StatusNotFound})
	run("suspend without the call for it", suspend, "SUSPENDED false false")
	run("expire", func() error { return b.client.ExpirePassword(ctx, id) }, "SUSPENDED false true")
	_, err := b.client.UpdateUser(ctx, id, "", nil)
	if err != nil {
		t.Error(err)
	}
	if err := b.client.write(ctx, http.MethodPut, "/api/systemusers/"+id, map[string]bool{"account_locked": true}, nil); err != nil {
		t.Fatal(err)
	}
	run("unlock", func() error { return b.client.Unlock(ctx, id) }, "SUSPENDED false true")
	if n := b.sim.Counts()["POST /api/systemusers/{id}/state/activate"]; n != 1 {
		t.Errorf("the call for staged users was made %d times, want once", n)
	}
	for range 2 { // the second finds nobody
		if err := b.client.DeleteUser(ctx, id); err != nil {
			t.Error(err)
		}
	}
	if _, there := b.sim.User(id); there {
		t.Error("the user is still there")
	}
	if u, err := b.client.User(ctx, report); err != nil || u.Manager != "" {
		t.Errorf("the report's manager: got %q, %v, want none", u.Manager, err)
	}
	if err := b.client.Suspend(ctx, id); !NotFound(err) {
		t.Errorf("suspend nobody: got %v", err)
	}
}

// TestL1_LostAnswers: what is created is looked for when its answer was lost,
// and created once.
func TestL1_LostAnswers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		kind    jcsim.FaultKind
		code    int
		created bool
		want    string
	}{
		{"half an answer", jcsim.HalfAnswer, 0, true, ""},
		{"no answer, applied", jcsim.TimeoutAfterApply, 0, true, ""},
		{"no answer, not applied", jcsim.TimeoutBeforeApply, 0, false, "unknown"},
		{"500", jcsim.Status, 500, false, "temporary unknown"},
		{"429", jcsim.Status, 429, false, "refused temporary"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			cfg := b.config
			cfg.Timeout = time.Second
			c := b.make(t, cfg)
			b.user(t, jcsim.User{Username: "alice2", Email: "alice@other.example"})
			b.sim.Fail(jcsim.Fault{Operation: "POST /api/systemusers", Kind: tt.kind, Code: tt.code})
			b.sim.Fail(jcsim.Fault{Operation: "POST /api/v2/usergroups", Kind: tt.kind, Code: tt.code})
			u, err := c.CreateUser(t.Context(), adID, []Field{{"username", "alice"}, {"email", "Alice@corp.example"}})
			if got := kinds(err); got != tt.want || (u.Username == "alice") != tt.created {
				t.Errorf("user: got %+v, %q %v", u, got, err)
			}
			g, err := c.CreateGroup(t.Context(), "Staff", "all")
			if got := kinds(err); got != tt.want || (g.Name == "Staff") != tt.created {
				t.Errorf("group: got %+v, %q %v", g, got, err)
			}
			if users, groups := b.sim.Users(), b.sim.Groups(); (len(users) == 2) != tt.created || (len(groups) == 1) != tt.created {
				t.Errorf("JumpCloud has %d users and %d groups", len(users), len(groups))
			}
		})
	}
}

// TestL1_AnswersOfNobody: something between us and JumpCloud answers an update
// with 200 and a document of its own. Nobody was updated, and that is not
// taken for success.
func TestL1_AnswersOfNobody(t *testing.T) {
	for _, body := range []string{"{}", `{"message":"welcome"}`, `{"_id":"64b0c0ffee64b0c0ffee0999","id":"64b0c0ffee64b0c0ffee0999"}`} {
		b := newBench(t)
		ctx := t.Context()
		alice := b.user(t, jcsim.User{Username: "alice", Email: "alice@corp.example", FirstName: "Alice"})
		staff, err := b.sim.AddGroup(jcsim.Group{Name: "Staff"})
		if err != nil {
			t.Fatal(err)
		}
		b.sim.Fail(jcsim.Fault{Method: "PUT", Kind: jcsim.Status, Code: 200, Body: body, Times: 2})
		if _, err := b.client.UpdateUser(ctx, alice, adID, []Field{{"firstname", "Alicia"}}); !Unknown(err) {
			t.Errorf("%s: update a user: got %v, want an unknown outcome", body, err)
		}
		if _, err := b.client.UpdateGroup(ctx, staff, []Field{{"name", "Team"}}); !Unknown(err) {
			t.Errorf("%s: update a group: got %v, want an unknown outcome", body, err)
		}
		if u, err := b.client.UpdateUser(ctx, alice, adID, []Field{{"firstname", "Alicia"}}); err != nil || u.FirstName != "Alicia" {
			t.Errorf("%s: the next try: got %+v, %v", body, u, err)
		}
	}
}

func collect[T any](t *testing.T, rows iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for row, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

// TestI5_Groups: a group's life, its members and what is bound.
func TestI5_Groups(t *testing.T) {
	b := newBench(t)
	ctx, ad := t.Context(), b.directory(t)
	id := b.user(t, jcsim.User{Username: "alice", Email: "alice@corp.example"})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	made, err := b.client.CreateGroup(ctx, "Staff", "")
	must(err)
	sudo := map[string]any{"sudo": map[string]any{"enabled": true}}
	rich, err := b.sim.AddGroup(jcsim.Group{Name: "Rich", Description: "d", Fields: map[string]any{"attributes": sudo, "email": "r@corp.example"}})
	must(err)
	changed, err := b.client.UpdateGroup(ctx, rich, []Field{{"name", "Richer"}})
	must(err)
	if g := b.sim.Groups()[1]; changed.Name != "Richer" || g.Description != "d" || g.Fields["email"] != "r@corp.example" || fmt.Sprint(g.Fields["attributes"]) != fmt.Sprint(sudo) {
		t.Errorf("updated: got %+v, want the rest as it was", g)
	}
	if _, err := b.client.CreateGroup(ctx, "staff", ""); !Refused(err) {
		t.Errorf("taken name: got %v, want a refusal", err)
	}
	for range 2 { // the second changes nothing
		must(b.client.AddMember(ctx, made.ID, id))
		must(b.client.BindUser(ctx, ad, id))
		must(b.client.BindGroup(ctx, ad, made.ID))
	}
	users, groups := b.sim.Associations(ad)
	if !slices.Equal(b.sim.Members(made.ID), []string{id}) || !slices.Equal(users, []string{id}) || !slices.Equal(groups, []string{made.ID}) {
		t.Errorf("members %v, bound %v %v", b.sim.Members(made.ID), users, groups)
	}
	for what, got := range map[string][]string{"members": collect(t, b.client.Members(ctx, made.ID)), "users": collect(t, b.client.BoundUsers(ctx, ad))} {
		if !slices.Equal(got, []string{id}) {
			t.Errorf("%s: got %v, want the user", what, got)
		}
	}
	if got := collect(t, b.client.BoundGroups(ctx, ad)); !slices.Equal(got, []string{made.ID}) {
		t.Errorf("bound groups: got %v", got)
	}
	if err := b.client.AddMember(ctx, made.ID, "65a000000000000000000009"); !NotFound(err) {
		t.Errorf("nobody as a member: got %v, want not found", err)
	}
	if err := b.client.AddMember(ctx, made.ID, "../x"); !NotSent(err) {
		t.Errorf("a path as an id: got %v, want not sent", err)
	}
	for range 2 {
		must(b.client.RemoveMember(ctx, made.ID, id))
		must(b.client.UnbindUser(ctx, ad, id))
		must(b.client.UnbindGroup(ctx, ad, made.ID))
		must(b.client.DeleteGroup(ctx, made.ID))
	}
	users, groups = b.sim.Associations(ad)
	if len(users)+len(groups) > 0 || len(b.sim.Groups()) != 1 {
		t.Errorf("left: bound %v %v, groups %v", users, groups, b.sim.Groups())
	}
	ruled, err := b.sim.AddGroup(jcsim.Group{Name: "Ruled", MembershipMethod: "DYNAMIC_AUTOMATED"})
	must(err)
	g, err := b.client.Group(ctx, ruled)
	if err != nil || !g.Dynamic() {
		t.Errorf("dynamic group: got %+v, %v", g, err)
	}
	if err := b.client.AddMember(ctx, ruled, id); !Refused(err) {
		t.Errorf("member of a dynamic group: got %v, want a refusal", err)
	}
}
