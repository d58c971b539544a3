package jumpcloud

import (
	"maps"
	"slices"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// draft is the state that a Watcher works on, and what became different in it
// since the last delta. Maps that were handed out are copied before they are
// changed.
type draft struct {
	State
	whole   bool // everything was read once
	rescope bool // Scope is to be worked out anew
	shared  struct{ users, groups, members, boundUsers, boundGroups bool }

	users, goneUsers, groups, goneGroups, bound map[string]bool
	missing                                     []string
	rulesChanged                                bool
}

func newDraft() draft {
	return draft{State: State{Users: make(map[string]*identity.User), Groups: make(map[string]identity.Group), Members: make(map[string]bool),
		BoundUsers: make(map[string]bool), BoundGroups: make(map[string]bool), Scope: make(map[string]bool)},
		users: make(map[string]bool), goneUsers: make(map[string]bool), groups: make(map[string]bool), goneGroups: make(map[string]bool),
		bound: make(map[string]bool)}
}

// own makes a map that may be changed.
func own[M ~map[K]V, K comparable, V any](m *M, shared *bool) M {
	if *shared {
		*m, *shared = maps.Clone(*m), false
	}
	return *m
}

// share hands the state out.
func (d *draft) share() *State {
	d.scope()
	d.shared.users, d.shared.groups, d.shared.members = true, true, true
	d.shared.boundUsers, d.shared.boundGroups = true, true
	out := d.State
	return &out
}

// take gives what became different, and begins anew.
func (d *draft) take() Delta {
	d.scope()
	delta := Delta{Users: sortedKeys(d.users), GoneUsers: sortedKeys(d.goneUsers), Missing: d.missing, Groups: sortedKeys(d.groups),
		GoneGroups: sortedKeys(d.goneGroups), Bound: sortedKeys(d.bound), Rules: d.rulesChanged}
	for _, set := range []map[string]bool{d.users, d.goneUsers, d.groups, d.goneGroups, d.bound} {
		clear(set)
	}
	d.rulesChanged = false
	return delta
}

// scope works out who is bound in any way. It costs as much as there are
// edges, and nothing when none changed.
func (d *draft) scope() {
	if !d.rescope {
		return
	}
	d.rescope = false
	now := maps.Clone(d.BoundUsers)
	for id := range d.BoundGroups {
		for _, member := range d.Groups[id].MemberIDs {
			now[member] = true
		}
	}
	for id := range now {
		if !d.Scope[id] {
			d.bound[id] = true
		}
	}
	for id := range d.Scope {
		if !now[id] {
			d.bound[id] = true
		}
	}
	d.Scope = now
}

// user takes over a user that was read.
func (d *draft) user(u *User, adID string) {
	next := ToIdentity(u, adID)
	if was := d.Users[u.ID]; was != nil && sameUser(was, &next) {
		return
	}
	own(&d.Users, &d.shared.users)[u.ID] = &next
	d.users[u.ID] = true
	delete(d.goneUsers, u.ID)
}

func sameUser(a, b *identity.User) bool {
	x, y := *a, *b
	if !x.PasswordExpires.Equal(y.PasswordExpires) {
		return false
	}
	x.PasswordExpires, y.PasswordExpires = time.Time{}, time.Time{} // equal times can have zones that differ
	return x == y
}

// userGone takes a user out of everything, as JumpCloud does.
func (d *draft) userGone(id string) {
	if d.Users[id] == nil {
		return
	}
	delete(own(&d.Users, &d.shared.users), id)
	delete(d.users, id)
	d.goneUsers[id] = true
	d.setBoundUser(id, false)
	for groupID, g := range d.Groups {
		if at, is := slices.BinarySearch(g.MemberIDs, id); is {
			d.setMembers(groupID, slices.Delete(slices.Clone(g.MemberIDs), at, at+1))
		}
	}
}

// group takes over a group that was read, without its members.
func (d *draft) group(g *Group) {
	next, was := g.ToIdentity(), d.Groups[g.ID]
	if was.ID != "" && was.Name == next.Name && was.Description == next.Description && was.Dynamic == next.Dynamic {
		return
	}
	next.MemberIDs = was.MemberIDs
	own(&d.Groups, &d.shared.groups)[g.ID] = next
	d.groups[g.ID] = true
	delete(d.goneGroups, g.ID)
}

func (d *draft) groupGone(id string) {
	if _, ok := d.Groups[id]; !ok {
		return
	}
	delete(own(&d.Groups, &d.shared.groups), id)
	delete(own(&d.Members, &d.shared.members), id)
	delete(d.groups, id)
	d.goneGroups[id] = true
	d.rescope = true
	d.setBoundGroup(id, false)
}

// setMembers takes over the sorted members of a group.
func (d *draft) setMembers(id string, members []string) {
	g, ok := d.Groups[id]
	if !ok {
		return // it has gone meanwhile
	}
	if len(members) == 0 {
		members = nil
	}
	if !d.Members[id] {
		own(&d.Members, &d.shared.members)[id] = true
	} else if slices.Equal(g.MemberIDs, members) {
		return
	}
	d.groups[id] = true
	d.rescope = d.rescope || d.BoundGroups[id]
	g.MemberIDs = members
	own(&d.Groups, &d.shared.groups)[id] = g
}

func (d *draft) setBoundUser(id string, bound bool) {
	if d.BoundUsers[id] == bound {
		return
	}
	d.rescope, d.bound[id] = true, true
	if m := own(&d.BoundUsers, &d.shared.boundUsers); bound {
		m[id] = true
	} else {
		delete(m, id)
	}
}

func (d *draft) setBoundGroup(id string, bound bool) {
	if d.BoundGroups[id] == bound {
		return
	}
	d.rescope, d.bound[id] = true, true
	if m := own(&d.BoundGroups, &d.shared.boundGroups); bound {
		m[id] = true
	} else {
		delete(m, id)
	}
}

func (d *draft) setRules(rules []identity.TranslationRule) {
	if d.RulesKnown && slices.EqualFunc(d.Rules, rules, sameRule) {
		return
	}
	d.Rules, d.RulesKnown, d.rulesChanged = rules, true, true
}

func sameRule(a, b identity.TranslationRule) bool {
	same := slices.Equal(a.AppliedOn, b.AppliedOn)
	return same && a.ID == b.ID && a.Source == b.Source && a.Destination == b.Destination && a.SourceType == b.SourceType &&
		a.Direction == b.Direction && a.Required == b.Required && a.Default == b.Default
}

// marks remember what the caller told meanwhile, so that an older answer does
// not replace it, and which events are those of its own writes.
type marks struct {
	turn  int            // counts the requests of Refresh
	since map[string]int // users that were told of, and at which turn
	own   map[string]ownWrites
}

// ownWrites are writes of ours to one user whose events are still to come.
type ownWrites struct {
	n     int
	until time.Time
}

const (
	// ownFor is how long events of an own write are waited for.
	ownFor = 3 * time.Minute
	// ownAfter is when a user we wrote to is read once more.
	ownAfter = time.Minute
)

func (m *marks) saw(id string, now time.Time) {
	if m.since == nil {
		m.since, m.own = make(map[string]int), make(map[string]ownWrites)
	}
	m.since[id] = m.turn
	m.own[id] = ownWrites{n: m.own[id].n + 1, until: now.Add(ownFor)}
}

// forget drops what no answer under way can contradict any more.
func (m *marks) forget(now time.Time) {
	clear(m.since)
	for id, own := range m.own {
		if now.After(own.until) {
			delete(m.own, id)
		}
	}
}

// begin is called before a request; the result goes to stale.
func (m *marks) begin() int {
	m.turn++
	return m.turn
}

// stale reports whether the answer to the request begun at turn may be older
// than what was told of the user.
func (m *marks) stale(id string, turn int) bool {
	at, told := m.since[id]
	return told && at >= turn
}

// mine reports whether an event is to be expected from writes of ours; each is
// counted once.
func (m *marks) mine(id string, now time.Time) bool {
	own, ok := m.own[id]
	if !ok || own.n == 0 || now.After(own.until) {
		return false
	}
	own.n--
	m.own[id] = own
	return true
}
