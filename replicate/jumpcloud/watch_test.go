package jumpcloud

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// watched is a simulator with one AD object, and a watcher of it whose clock
// the test moves.
type watched struct {
	*bench
	t     *testing.T
	ad    string
	clock atomic.Int64 // ns
	watch *Watcher
}

func (w *watched) now() time.Time { return time.Unix(0, w.clock.Load()).UTC() }

func (w *watched) pass(d time.Duration) { w.clock.Add(int64(d)) }

// watchBench starts both. set changes the configuration; insights: there are
// events.
func watchBench(t *testing.T, insights bool, set func(*WatchConfig)) *watched {
	t.Helper()
	w := &watched{t: t}
	w.clock.Store(time.Date(2026, 6, 1, 8, 0, 0, 0, time.UTC).UnixNano())
	w.bench = newBenchOf(t, jcsim.Config{Now: w.now})
	w.ad = w.directory(t)
	w.restart(insights, nil, set)
	return w
}

// restart makes a watcher that knows nothing but the cursor.
func (w *watched) restart(insights bool, cursor []byte, set func(*WatchConfig)) {
	w.t.Helper()
	cfg := WatchConfig{Client: w.client, ADID: w.ad, Now: w.now, Log: w.client.cfg.Log}
	if insights {
		var err error
		if cfg.Insights, err = NewInsights(w.client, w.sim.InsightsURL(), cursor, w.now); err != nil {
			w.t.Fatal(err)
		}
	}
	if set != nil {
		set(&cfg)
	}
	var err error
	if w.watch, err = NewWatcher(cfg); err != nil {
		w.t.Fatal(err)
	}
}

// refresh must succeed.
func (w *watched) refresh() Delta {
	w.t.Helper()
	delta, err := w.watch.Refresh(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return delta
}

// settle refreshes, 5 s apart, until everything was read.
func (w *watched) settle() {
	w.t.Helper()
	for range 100 {
		if w.refresh().Complete {
			return
		}
		w.pass(5 * time.Second)
	}
	w.t.Fatal("not complete after 100 refreshes")
}

// check holds the state to what the simulator has.
func (w *watched) check() {
	w.t.Helper()
	got, want := w.watch.State(), w.truth()
	if got == nil {
		w.t.Fatal("no state")
	}
	for name, pair := range map[string][2]any{"users": {got.Users, want.Users}, "groups": {got.Groups, want.Groups}, "members": {got.Members, want.Members},
		"bound users": {got.BoundUsers, want.BoundUsers}, "bound groups": {got.BoundGroups, want.BoundGroups}, "scope": {got.Scope, want.Scope}} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			w.t.Errorf("%s: got %v, want %v", name, pair[0], pair[1])
		}
	}
}

// truth is the state that the simulator's own tables make, read past the
// client.
func (w *watched) truth() State {
	s := State{Users: map[string]*identity.User{}, Groups: map[string]identity.Group{}, Members: map[string]bool{},
		BoundUsers: map[string]bool{}, BoundGroups: map[string]bool{}, Scope: map[string]bool{}}
	for _, u := range w.sim.Users() {
		text := func(name string) string { v, _ := u.Fields[name].(string); return v }
		s.Users[u.ID] = &identity.User{Side: identity.JumpCloud, ID: u.ID, Username: u.Username, Mail: u.Email, First: u.FirstName, Last: u.LastName,
			State: u.State, Disabled: u.State == StateSuspended, Activated: u.Activated, PasswordDate: u.PasswordDate,
			Manager: identity.Ref{ID: text("manager")}, Profile: identity.Profile{Department: text("department")}}
	}
	users, groups := w.sim.Associations(w.ad)
	for _, id := range users {
		s.BoundUsers[id], s.Scope[id] = true, true
	}
	for _, id := range groups {
		s.BoundGroups[id] = true
	}
	for _, g := range w.sim.Groups() {
		members := w.sim.Members(g.ID)
		s.Groups[g.ID] = identity.Group{Side: identity.JumpCloud, ID: g.ID, Name: g.Name, Description: g.Description, MemberIDs: members}
		s.Members[g.ID] = true
		for _, id := range members {
			if s.BoundGroups[g.ID] {
				s.Scope[id] = true
			}
		}
	}
	return s
}

// edit makes one random change as an administrator; about every tenth one by
// our own key.
func (w *watched) edit(r *rand.Rand, n int) {
	w.t.Helper()
	users, groups := w.sim.Users(), w.sim.Groups()
	user := func() string { return users[r.IntN(len(users))].ID }
	group := func() string { return groups[r.IntN(len(groups))].ID }
	var err error
	switch op := r.IntN(13); {
	case op == 0 || len(users) == 0:
		_, err = w.sim.AddUser(jcsim.User{Username: fmt.Sprintf("user%d", n), Email: fmt.Sprintf("user%d@corp.example", n)})
	case op == 1 || len(groups) == 0:
		_, err = w.sim.AddGroup(jcsim.Group{Name: fmt.Sprintf("group %d", n)})
	case op == 2:
		err = w.sim.EditUser(user(), map[string]any{"lastname": fmt.Sprint("Name", n), "department": fmt.Sprint(n)})
	case op == 3:
		err = w.sim.EditUser(user(), map[string]any{"state": []string{StateActivated, StateSuspended}[r.IntN(2)]})
	case op == 4:
		if manager, of := user(), user(); manager != of {
			err = w.sim.EditUser(of, map[string]any{"manager": manager})
		}
	case op == 5:
		err = w.sim.DeleteUser(user())
	case op == 6 || op == 7:
		err = w.sim.SetMember(group(), user(), op == 6)
	case op == 8:
		err = w.sim.BindUser(w.ad, user(), r.IntN(3) > 0)
	case op == 9:
		err = w.sim.BindGroup(w.ad, group(), r.IntN(3) > 0)
	case op == 10:
		err = w.sim.EditGroup(group(), map[string]any{"name": fmt.Sprint("named ", n)})
	case op == 11 && r.IntN(3) == 0:
		err = w.sim.DeleteGroup(group())
	case op == 12: // by us, which the caller tells the watcher of
		var u User
		if u, err = w.client.UpdateUser(w.t.Context(), user(), w.ad, []Field{{"firstname", fmt.Sprint("First", n)}}); err == nil {
			w.watch.Saw(u)
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestS1_RandomHistories: whatever is done in JumpCloud, a state that is said
// to be complete is what JumpCloud has, with events and without.
func TestS1_RandomHistories(t *testing.T) {
	for _, insights := range []bool{false, true} {
		t.Run(fmt.Sprintf("insights %v", insights), func(t *testing.T) {
			w := watchBench(t, insights, nil)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			for n := range 300 {
				w.edit(r, n)
				if r.IntN(3) > 0 {
					continue
				}
				w.pass(5 * time.Second)
				if d := w.refresh(); !d.Complete {
					t.Fatalf("edit %d: not complete: %+v", n, d)
				}
				if w.check(); t.Failed() {
					t.Fatalf("after edit %d", n)
				}
			}
		})
	}
}

// TestS1_Unchanged: nothing that was not changed is told, and what was handed
// out stays as it was.
func TestS1_Unchanged(t *testing.T) {
	w := watchBench(t, false, nil)
	id := w.user(t, jcsim.User{Username: "alice", Email: "alice@corp.example", Fields: map[string]any{"external_password_expiration_date": "2026-09-01T10:00:00+02:00"}})
	w.settle()
	first := w.watch.State()
	for range 3 {
		w.pass(5 * time.Second)
		if d := w.refresh(); !d.Empty() || !d.Complete {
			t.Fatalf("got %+v, want nothing", d)
		}
	}
	if err := w.sim.EditUser(id, map[string]any{"lastname": "Ng"}); err != nil {
		t.Fatal(err)
	}
	w.pass(5 * time.Second)
	if d := w.refresh(); !slices.Equal(d.Users, []string{id}) {
		t.Errorf("got %+v, want alice", d)
	}
	if now := w.watch.State(); first.Users[id].Last != "" || now.Users[id].Last != "Ng" {
		t.Errorf("got %q before and %q after", first.Users[id].Last, now.Users[id].Last)
	}
}
