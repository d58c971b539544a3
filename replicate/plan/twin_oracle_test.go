package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// editAD is one thing that somebody does in AD.
func (w *twin) editAD() {
	guid, ok := pick(w, w.Users, compareGUID)
	what := w.rnd.IntN(12)
	if !ok {
		what = 0
	}
	if what < 2 {
		w.hire()
		return
	}
	u := *w.Users[guid]
	switch what {
	case 2, 3:
		u.First = w.edit(guid, FieldFirst, identity.AD)
	case 4:
		u.Last = w.edit(guid, FieldLast, identity.AD)
	case 5:
		u.Profile.Department = w.edit(guid, "department", identity.AD)
	case 6, 7:
		u.Disabled = !u.Disabled
	case 8: // deleted
		if w.rnd.IntN(3) > 0 {
			return
		}
		w.say("AD: %s deleted", u.Username)
		w.deleted[w.Links[guid].JumpCloudID] = true
		delete(w.Users, guid)
		for id, g := range w.Groups {
			g.Members = without(g.Members, guid)
			w.Groups[id] = g
		}
		return
	case 9, 10:
		w.memberAD(guid)
		return
	case 11:
		group, _ := pick(w, w.Groups, compareGUID)
		g := w.Groups[group]
		g.Name = w.unique()
		g.DN = "CN=" + g.Name
		w.say("AD: group %.4s named %s", group, g.Name)
		w.Groups[group] = g
		return
	}
	w.say("AD: %s is %s %s %s disabled %v", u.Username, u.First, u.Last, u.Profile.Department, u.Disabled)
	w.Users[guid] = &u
}

// memberAD puts an account in or takes it out. Who leaves the scope group ends
// as a user, if the import made the pair.
func (w *twin) memberAD(guid identity.GUID) {
	group, _ := pick(w, w.Groups, compareGUID)
	g := w.Groups[group]
	if slices.Contains(g.Members, guid) {
		g.Members = without(g.Members, guid)
	} else {
		g.Members = append(slices.Clone(g.Members), guid)
	}
	w.Groups[group] = g
	w.say("AD: %.4s in %s: %v", guid, g.Name, slices.Contains(g.Members, guid))
	w.leavers()
}

// leavers notes whom the import may delete by what it is told.
func (w *twin) leavers() {
	scope := NewScope(w.Tree)
	for guid, l := range w.Links {
		if u := w.Users[guid]; !l.BySync && u != nil && scope.User(u) != "" {
			w.deleted[l.JumpCloudID] = true
		}
	}
}

func (w *twin) hire() {
	name := fmt.Sprintf("user%d", w.rnd.IntN(12))
	w.n++
	guid := identity.GUID{byte(w.n), byte(w.n >> 8), 1}
	for _, u := range w.Users {
		if u.Username == name || u.DN == "CN="+name {
			return
		}
	}
	w.Users[guid] = &identity.User{Side: identity.AD, GUID: guid, DN: "CN=" + name, Username: name, Mail: name + "@x.example", First: w.unique(), Last: w.unique(), InRoot: true}
	w.say("AD: %s made, %.4s", name, guid)
	if w.rnd.IntN(3) > 0 {
		g := w.Groups[inner]
		g.Members = append(slices.Clone(g.Members), guid)
		w.Groups[inner] = g
	}
}

// editCloud is one thing that somebody does at JumpCloud.
func (w *twin) editCloud() {
	id, ok := pick(w, w.Cloud.Users, strings.Compare)
	what := w.rnd.IntN(16)
	if !ok {
		what = 0
	}
	if what < 2 {
		w.enrol()
		return
	}
	u := *w.Cloud.Users[id]
	guid := w.accountOf(id)
	switch what {
	case 2, 3:
		u.First = w.edit(guid, FieldFirst, identity.JumpCloud)
	case 4:
		u.Last = w.edit(guid, FieldLast, identity.JumpCloud)
	case 5:
		u.Profile.Department = w.edit(guid, "department", identity.JumpCloud)
	case 6, 7:
		u.Disabled = !u.Disabled
	case 8:
		if w.rnd.IntN(3) == 0 {
			w.say("JC: %s deleted", id)
			w.forget(id)
		}
		return
	case 9:
		w.Cloud.BoundUsers[id] = !w.Cloud.BoundUsers[id]
		w.say("JC: %s bound %v", id, w.Cloud.BoundUsers[id])
		if !w.Cloud.BoundUsers[id] {
			delete(w.Cloud.BoundUsers, id)
		}
		return
	default:
		w.editCloudGroup(id, what)
		return
	}
	w.say("JC: %s (%.4s) is %s %s %s suspended %v", id, guid, u.First, u.Last, u.Profile.Department, u.Disabled)
	w.Cloud.Users[id] = &u
}

func (w *twin) editCloudGroup(id string, what int) {
	group, ok := pick(w, w.Cloud.Groups, strings.Compare)
	if !ok || what == 10 && len(w.Cloud.Groups) < 6 {
		w.n++
		g := identity.Group{ID: fmt.Sprintf("g%03d", w.n), Name: w.unique()}
		w.Cloud.Groups[g.ID], w.Cloud.BoundGroups[g.ID] = g, true
		w.say("JC: group %s made", g.ID)
		return
	}
	g := w.Cloud.Groups[group]
	switch what {
	case 11:
		g.Name = w.unique()
		w.say("JC: group %s named %s", group, g.Name)
	case 12:
		if w.Cloud.BoundGroups[group] = !w.Cloud.BoundGroups[group]; !w.Cloud.BoundGroups[group] {
			delete(w.Cloud.BoundGroups, group)
		}
		w.say("JC: group %s bound %v", group, w.Cloud.BoundGroups[group])
	default:
		if at, is := slices.BinarySearch(g.MemberIDs, id); is {
			g.MemberIDs = slices.Delete(slices.Clone(g.MemberIDs), at, at+1)
		} else {
			g.MemberIDs = slices.Insert(slices.Clone(g.MemberIDs), at, id)
		}
		w.say("JC: group %s has %v", group, g.MemberIDs)
	}
	w.Cloud.Groups[group] = g
}

func (w *twin) enrol() {
	name := fmt.Sprintf("user%d", w.rnd.IntN(12))
	for _, u := range w.Cloud.Users {
		if u.Username == name || u.Mail == name+"@x.example" {
			return
		}
	}
	w.n++
	id := fmt.Sprintf("j%03d", w.n)
	w.Cloud.Users[id] = &identity.User{ID: id, Username: name, Mail: name + "@x.example", First: w.unique(), Last: w.unique()}
	if w.rnd.IntN(4) > 0 {
		w.Cloud.BoundUsers[id] = true
	}
	w.say("JC: %s made as %s, bound %v", name, id, w.Cloud.BoundUsers[id])
}

// edit notes an edit of a linked pair, and gives a value that was never there.
func (w *twin) edit(guid identity.GUID, field string, side identity.Side) string {
	made := w.unique()
	link, linked := w.Links[guid]
	u, c := w.Users[guid], w.Cloud.Users[link.JumpCloudID]
	if !linked || u == nil || c == nil {
		return made
	}
	e := edit{side: side, value: made}
	key := editKey{guid, field}
	other := value(u, field)
	if side == identity.AD {
		other = value(c, field)
	}
	if !w.seen[key][other] {
		e.pending = other
	}
	w.edits[key] = append(w.edits[key], e)
	return made
}

// settle makes passes until nothing is left to do.
func (w *twin) settle() {
	w.t.Helper()
	w.faults = false
	w.say("settle")
	for range 8 {
		p := w.plan()
		w.carry(p)
		if len(p.Actions()) == 0 {
			if again := w.plan(); slices.ContainsFunc(again.Results, func(r Result) bool { return r.Agreed != nil }) {
				w.fatal("something is agreed upon again and again: %+v", again.Results)
			}
			return
		}
	}
	p := w.plan()
	w.fatal("no end: %+v", p.Actions())
}

func (w *twin) plan() Plan {
	w.t.Helper()
	w.leavers()
	p, err := Both(w.World)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// pass is one in a direction, or in both.
func (w *twin) pass() {
	w.t.Helper()
	w.leavers()
	var p Plan
	var err error
	switch n := w.rnd.IntN(3); {
	case n == 0 && w.Use.Imports():
		w.say("import")
		p, err = Import(w.World)
	case n == 1:
		w.say("sync")
		p, err = Sync(w.World)
	default:
		w.say("both")
		p, err = Both(w.World)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.carry(p)
}

// alive are the pairs that are replicated.
func (w *twin) alive() map[identity.GUID]*identity.User {
	pairs := make(map[identity.GUID]*identity.User)
	for guid, l := range w.Links {
		u, c := w.Users[guid], w.Cloud.Users[l.JumpCloudID]
		if u == nil || c == nil {
			continue
		}
		bound := w.Cloud.BoundUsers[c.ID]
		for id := range w.Cloud.BoundGroups {
			bound = bound || slices.Contains(w.Cloud.Groups[id].MemberIDs, c.ID)
		}
		if bound {
			pairs[guid] = c
		}
	}
	return pairs
}

// checkEqual: both sides are the same, in what sync exports.
func (w *twin) checkEqual() {
	w.t.Helper()
	for guid, c := range w.alive() {
		u := w.Users[guid]
		if u.First != c.First || u.Last != c.Last {
			w.fatal("%s: AD has %s %s, JumpCloud %s %s", u.Username, u.First, u.Last, c.First, c.Last)
		}
		if len(w.Rules) > 0 && u.Profile.Department != c.Profile.Department {
			w.fatal("%s: AD has department %s, JumpCloud %s", u.Username, u.Profile.Department, c.Profile.Department)
		}
		if u.Disabled != c.Disabled && (w.Use.Imports() || c.Disabled || w.Links[guid].DisabledByUs) {
			w.fatal("%s: disabled in AD %v, at JumpCloud %v, %+v", u.Username, u.Disabled, c.Disabled, w.Links[guid])
		}
	}
	for guid, l := range w.GroupLinks {
		g, ok := w.Groups[guid]
		c, there := w.Cloud.Groups[l.GroupID]
		if !ok || !there || !w.Cloud.BoundGroups[l.GroupID] {
			continue
		}
		if g.Name != c.Name {
			w.fatal("group %.4s: AD has %s, JumpCloud %s", guid, g.Name, c.Name)
		}
		users, _ := w.below(guid)
		inAD := make(map[string]bool)
		for _, member := range users {
			if l, ok := w.Links[member]; ok && w.Cloud.Users[l.JumpCloudID] != nil {
				inAD[l.JumpCloudID] = true
			}
		}
		for _, id := range c.MemberIDs {
			if account := w.accountOf(id); !account.IsZero() && w.Users[account] != nil && !inAD[id] {
				w.fatal("group %s: %s is a member at JumpCloud alone, agreed %v", g.Name, id, l.Agreed)
			}
			delete(inAD, id)
		}
		direct, _ := newPlanner(w.World).members(guid)
		for id := range inAD {
			if direct[id] || w.Use.Imports() {
				w.fatal("group %s: %s is a member in AD alone, agreed %v", g.Name, id, l.Agreed)
			}
		}
	}
}

// checkEdits: the last edit of each field is there, or the plan said which one
// won over it.
func (w *twin) checkEdits() {
	w.t.Helper()
	alive := w.alive()
	story := strings.Join(w.story, "\n")
	for key, edits := range w.edits {
		if c := alive[key.guid]; c == nil || key.field == "department" && len(w.Rules) == 0 {
			continue
		}
		u := w.Users[key.guid]
		final := value(u, key.field)
		last := edits[len(edits)-1]
		told := func(lost string) bool {
			return strings.Contains(story, fmt.Sprintf("won: %s: AD's %q over JumpCloud's %q", key.field, final, lost)) ||
				strings.Contains(story, fmt.Sprintf("over JumpCloud's %q", lost)) || strings.Contains(story, fmt.Sprintf("over AD's %q", lost))
		}
		if final != last.value && !told(last.value) {
			w.fatal("%s of %s: %q is lost, %q is there, and nobody said so", key.field, u.Username, last.value, final)
		}
		if last.pending != "" && final == last.value && w.wasEdit(edits, last) && !told(last.pending) {
			w.fatal("%s of %s: %q is lost to %q, and nobody said so", key.field, u.Username, last.pending, final)
		}
	}
}

// wasEdit: what an edit met on the other side was itself an edit there, the
// last one, and not what the two had before.
func (w *twin) wasEdit(edits []edit, last edit) bool {
	for i := len(edits) - 2; i >= 0; i-- {
		if edits[i].side != last.side {
			return edits[i].value == last.pending
		}
	}
	return false
}

// TestS5_TwoWayConverges: whatever people do on both sides, in whatever order
// passes follow, and whatever fails on the way: in the end both sides are the
// same, no edit was undone without being told, and nothing flaps.
func TestS5_TwoWayConverges(t *testing.T) {
	for seed := range uint64(120) {
		w := newTwin(t, seed, Settings{Domain: "corp.example", ADID: "ad1", Use: identity.UseTwoWay, Mapping: identity.Mapping{BasicOnly: seed%2 == 1}})
		w.history(12)
	}
}

// TestS3_JumpCloudConverges: where JumpCloud is the authority AD is what it
// says, and JumpCloud is never written.
func TestS3_JumpCloudConverges(t *testing.T) {
	for seed := range uint64(60) {
		w := newTwin(t, seed, Settings{Domain: "corp.example", ADID: "ad1", Use: identity.UseJumpCloud})
		w.history(12)
	}
}

func (w *twin) history(rounds int) {
	w.t.Helper()
	for range rounds {
		made := 1 + w.rnd.IntN(5)
		for range made {
			if w.rnd.IntN(2) == 0 {
				w.editAD()
			} else {
				w.editCloud()
			}
		}
		w.faults = w.rnd.IntN(2) == 0
		for range w.rnd.IntN(3) {
			w.pass()
		}
		if w.rnd.IntN(3) == 0 {
			w.settle()
			w.checkEqual()
		}
	}
	w.settle()
	w.checkEqual()
	if w.Use == identity.UseTwoWay {
		w.checkEdits()
	}
}
