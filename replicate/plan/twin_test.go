package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// twin is a model of both sides with people who edit both, of what a store
// keeps, and of sides that refuse what the real ones refuse.
type twin struct {
	t   *testing.T
	rnd *rand.Rand
	World
	n       int
	faults  bool
	writes  int // requests to either side that set a field, a state or a name
	story   []string
	edits   map[editKey][]edit
	seen    map[editKey]map[string]bool // values that were on both sides
	deleted map[string]bool             // JumpCloud users whom a plan may delete
}

type editKey struct {
	guid  identity.GUID
	field string
}

// edit is one that was acknowledged. pending is one on the other side that had
// not been carried over when it was made.
type edit struct {
	side           identity.Side
	value, pending string
}

func newTwin(t *testing.T, seed uint64, s Settings) *twin {
	w := &twin{t: t, rnd: rand.New(rand.NewPCG(seed, 11)), edits: make(map[editKey][]edit), seen: make(map[editKey]map[string]bool), deleted: make(map[string]bool)}
	w.World = World{Settings: s, Now: may, Complete: true,
		Tree:  Tree{Users: make(map[identity.GUID]*identity.User), Groups: make(map[identity.GUID]identity.Group), ScopeGroup: root},
		Links: make(map[identity.GUID]identity.Link), GroupLinks: make(map[identity.GUID]identity.GroupLink),
		Cloud: Cloud{make(map[string]*identity.User), make(map[string]identity.Group), make(map[string]bool), make(map[string]bool), true}}
	w.Groups[root] = identity.Group{GUID: root, Name: "Scope", DN: "CN=Scope", Security: true, InRoot: true, Members: []identity.GUID{inner, deep}}
	w.Groups[inner] = identity.Group{GUID: inner, Name: "Inner", DN: "CN=Inner", Security: true, InRoot: true, Members: []identity.GUID{deep}}
	w.Groups[deep] = identity.Group{GUID: deep, Name: "Deep", DN: "CN=Deep", Security: true, InRoot: true}
	if seed%2 == 0 {
		w.Rules = []identity.TranslationRule{departmentRule}
	}
	return w
}

var departmentRule = identity.TranslationRule{ID: "r1", Source: "department", Destination: "department", SourceType: identity.RulePath,
	Direction: identity.RuleExport, AppliedOn: []identity.RuleOccasion{identity.RuleOnCreate, identity.RuleOnUpdate}}

func (w *twin) say(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

func (w *twin) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.story[max(0, len(w.story)-60):], "\n"))
}

func (w *twin) unique() string {
	w.n++
	return fmt.Sprintf("v%d", w.n)
}

func pick[K comparable, V any](w *twin, m map[K]V, less func(a, b K) int) (key K, ok bool) {
	keys := slices.SortedFunc(maps.Keys(m), less)
	if len(keys) == 0 {
		return key, false
	}
	return keys[w.rnd.IntN(len(keys))], true
}

// doer does what an action asks for, as one of the sides.
func (w *twin) do(a Action) {
	w.t.Helper()
	w.say("  %s %s %s guid %.4s user %s group %s %v (%s)", a.Direction, a.Kind, a.Name, a.GUID, a.UserID, a.GroupID, a.Fields, a.Reason)
	if a.Kind.InAD() {
		w.doAD(a)
	} else {
		w.doCloud(a)
	}
	w.compare()
}

// compare notes what both sides have.
func (w *twin) compare() {
	for guid, l := range w.Links {
		u, c := w.Users[guid], w.Cloud.Users[l.JumpCloudID]
		if u == nil || c == nil {
			continue
		}
		for _, field := range []string{FieldFirst, FieldLast, "department"} {
			key := editKey{guid, field}
			if w.seen[key] == nil {
				w.seen[key] = make(map[string]bool)
			}
			if has := value(u, field); has == value(c, field) {
				w.seen[key][has] = true
			}
		}
	}
}

// account and group give the AD object that an action is about.
func (w *twin) account(a Action) identity.GUID {
	if !a.GUID.IsZero() {
		return a.GUID
	}
	return w.accountOf(a.UserID)
}

func (w *twin) accountOf(id string) identity.GUID {
	for guid, l := range w.Links {
		if l.JumpCloudID == id {
			return guid
		}
	}
	return identity.GUID{}
}

func (w *twin) group(a Action) identity.GUID {
	if !a.GUID.IsZero() {
		return a.GUID
	}
	for guid, l := range w.GroupLinks {
		if l.GroupID == a.GroupID {
			return guid
		}
	}
	return identity.GUID{}
}

func (w *twin) doAD(a Action) {
	w.t.Helper()
	guid := w.account(a)
	if was, ok := w.Users[guid]; ok && (was.Privileged || !was.InRoot) && a.Kind != ADAddMember && a.Kind != ADRemoveMember {
		w.fatal("%+v writes an account that is not to be written", a)
	}
	switch a.Kind {
	case ADCreateUser:
		w.n++
		u := &identity.User{Side: identity.AD, GUID: identity.GUID{byte(w.n), byte(w.n >> 8), 9}, InRoot: true}
		w.setAD(u, a.Fields)
		w.Links[u.GUID] = identity.Link{GUID: u.GUID, JumpCloudID: a.UserID, Username: u.Username, BySync: true, MadeInAD: true}
		return
	case ADUpdateUser:
		u := *w.Users[guid]
		w.setAD(&u, a.Fields)
		w.writes++
	case ADDisable, ADEnable:
		u := *w.Users[guid]
		if u.Disabled == (a.Kind == ADDisable) {
			w.fatal("%+v: it is so already", a)
		}
		u.Disabled = !u.Disabled
		w.Users[guid] = &u
		w.writes++
	default:
		w.doADGroup(a)
	}
}

func (w *twin) setAD(u *identity.User, fields []Field) {
	for _, f := range fields {
		switch f.Name {
		case AttrSAM:
			u.Username = f.To
		case AttrUPN:
			u.UPN = f.To
		case AttrCN:
			u.DN = "CN=" + f.To
		default:
			Set(u, importedFrom(f.Name), f.To)
		}
	}
	for _, g := range w.Groups {
		if strings.EqualFold(g.Name, u.Username) || g.DN == u.DN {
			w.fatal("AD refuses: group %s has the name of %+v", g.DN, u)
		}
	}
	for guid, other := range w.Users {
		if guid != u.GUID && (strings.EqualFold(other.Username, u.Username) || other.UPN != "" && strings.EqualFold(other.UPN, u.UPN) || other.DN == u.DN) {
			w.fatal("AD refuses: %+v has a name of %+v", other, u)
		}
	}
	w.Users[u.GUID] = u
}

func (w *twin) doADGroup(a Action) {
	w.t.Helper()
	if a.Kind == ADCreateGroup {
		w.n++
		g := identity.Group{GUID: identity.GUID{byte(w.n), byte(w.n >> 8), 8}, Name: a.Fields[0].To, DN: "CN=" + a.Fields[0].To, Security: true, InRoot: true}
		w.Groups[g.GUID] = g
		w.GroupLinks[g.GUID] = identity.GroupLink{GUID: g.GUID, GroupID: a.GroupID, Name: g.Name, BySync: true, MadeInAD: true}
		return
	}
	guid := w.group(a)
	g, ok := w.Groups[guid]
	if !ok {
		w.fatal("%+v: no such AD group", a)
	}
	member := a.Member
	if member.IsZero() {
		member = w.accountOf(a.UserID)
	}
	has := slices.Contains(g.Members, member)
	switch a.Kind {
	case ADRenameGroup:
		g.Name, g.DN = a.Fields[0].To, "CN="+a.Fields[0].To
		w.writes++
	case ADAddMember:
		if _, ok := w.Users[member]; !ok || has {
			w.fatal("%+v: AD has no such account, or it is a member", a)
		}
		g.Members = append(slices.Clone(g.Members), member)
		w.writes++
	case ADRemoveMember:
		if !has {
			w.fatal("%+v: not a member", a)
		}
		g.Members = without(g.Members, member)
		w.writes++
	default:
		w.fatal("%+v: not in this model", a)
	}
	w.Groups[guid] = g
}

func (w *twin) cloudID(a Action) (user, group string) {
	user, group = a.UserID, a.GroupID
	if guid, made := Made(user); made {
		user = w.Links[guid].JumpCloudID
	}
	if user == "" {
		user = w.Links[a.GUID].JumpCloudID
	}
	if _, made := Made(group); made || group == "" {
		group = w.GroupLinks[a.GUID].GroupID
	}
	return user, group
}

func (w *twin) doCloud(a Action) {
	w.t.Helper()
	id, groupID := w.cloudID(a)
	var u identity.User
	was, known := w.Cloud.Users[id]
	if known {
		u = *was
	}
	needs := func(ok bool) {
		w.t.Helper()
		if !ok {
			w.fatal("%+v: JumpCloud refuses (user %+v)", a, u)
		}
	}
	switch a.Kind {
	case CreateUser:
		w.n++
		u = identity.User{ID: fmt.Sprintf("j%03d", w.n)}
		w.setCloud(&u, a.Fields)
		w.Links[a.GUID] = identity.Link{GUID: a.GUID, JumpCloudID: u.ID, Username: u.Username}
	case Link:
		needs(known && w.accountOf(id).IsZero() && w.Links[a.GUID].JumpCloudID == "")
		w.Links[a.GUID] = identity.Link{GUID: a.GUID, JumpCloudID: id, Username: u.Username, BySync: a.Direction == identity.Sync}
	case Unlink:
		delete(w.Links, a.GUID)
		maps.DeleteFunc(w.edits, func(k editKey, _ []edit) bool { return k.guid == a.GUID }) // another pair may follow
	case UpdateUser:
		needs(known)
		w.setCloud(&u, a.Fields)
		w.writes++
	case DeleteUser:
		needs(known && w.deleted[id])
		w.forget(id)
	case Suspend, Activate:
		needs(known && u.Disabled == (a.Kind == Activate))
		u.Disabled = !u.Disabled
		w.Cloud.Users[id] = &u
		w.writes++
	case BindUser:
		needs(known && !w.Cloud.BoundUsers[id])
		w.Cloud.BoundUsers[id] = true
	case UnbindUser:
		needs(known)
		delete(w.Cloud.BoundUsers, id)
	default:
		w.doCloudGroup(a, id, groupID, needs)
	}
}

func (w *twin) forget(id string) {
	delete(w.Cloud.Users, id)
	delete(w.Cloud.BoundUsers, id)
	for gid, g := range w.Cloud.Groups {
		g.MemberIDs = slices.DeleteFunc(slices.Clone(g.MemberIDs), func(m string) bool { return m == id })
		w.Cloud.Groups[gid] = g
	}
}

func (w *twin) doCloudGroup(a Action, id, groupID string, needs func(bool)) {
	w.t.Helper()
	g, known := w.Cloud.Groups[groupID]
	switch a.Kind {
	case CreateGroup:
		w.n++
		g = identity.Group{ID: fmt.Sprintf("g%03d", w.n), Name: a.Fields[0].To}
		w.GroupLinks[a.GUID] = identity.GroupLink{GUID: a.GUID, GroupID: g.ID, Name: g.Name, Created: true}
	case LinkGroup:
		needs(known)
		w.GroupLinks[a.GUID] = identity.GroupLink{GUID: a.GUID, GroupID: groupID, Name: g.Name, BySync: a.Direction == identity.Sync}
		return
	case UnlinkGroup:
		delete(w.GroupLinks, a.GUID)
		return
	case UpdateGroup:
		needs(known)
		g.Name = a.Fields[0].To
		w.writes++
	case BindGroup:
		needs(known)
		w.Cloud.BoundGroups[groupID] = true
		return
	case UnbindGroup:
		delete(w.Cloud.BoundGroups, groupID)
		return
	case AddMember:
		_, user := w.Cloud.Users[id]
		needs(known && user && !slices.Contains(g.MemberIDs, id))
		g.MemberIDs = append(slices.Clone(g.MemberIDs), id)
		slices.Sort(g.MemberIDs)
		w.writes++
	case RemoveMember:
		needs(known && slices.Contains(g.MemberIDs, id))
		g.MemberIDs = slices.DeleteFunc(slices.Clone(g.MemberIDs), func(m string) bool { return m == id })
		w.writes++
	default:
		w.fatal("%+v: not in this model", a)
	}
	w.Cloud.Groups[g.ID] = g
}

func (w *twin) setCloud(u *identity.User, fields []Field) {
	w.t.Helper()
	for _, f := range fields {
		if guid, made := Made(f.To); made {
			f.To = w.Links[guid].JumpCloudID
		}
		if !Set(u, f.Name, f.To) {
			w.fatal("no field %q", f.Name)
		}
	}
	for id, other := range w.Cloud.Users {
		if id != u.ID && (strings.EqualFold(other.Username, u.Username) || strings.EqualFold(other.Mail, u.Mail)) {
			w.fatal("JumpCloud refuses: %+v has a name of %+v", other, u)
		}
	}
	w.Cloud.Users[u.ID] = u
}

// carry does a plan as an engine does, with its book-keeping; faults cut
// results short, before a write or after it.
func (w *twin) carry(p Plan) {
	w.t.Helper()
	stuck := make(map[string]bool) // users and groups of which a step failed
	for _, r := range p.Results {
		for _, won := range r.Won {
			w.say("  won: %s", won)
		}
		if !slices.ContainsFunc(r.Actions, func(a Action) bool { return a.Kind == Link || a.Kind == LinkGroup }) {
			w.agree(r.GUID, r.Verdict)
		}
		for _, a := range r.Actions {
			user, _ := w.cloudID(a)
			if stuck[user] || w.waits(a) {
				break
			}
			fault := 9
			if w.faults {
				fault = w.rnd.IntN(12)
			}
			if fault == 0 {
				w.say("  fault: %s not done", a.Kind)
				stuck[user] = true
				break
			}
			if a.Kind == Suspend || a.Kind == ADDisable {
				w.applied(a)
			}
			w.do(a)
			if creates := a.Kind == CreateUser || a.Kind == ADCreateUser || a.Kind == CreateGroup || a.Kind == ADCreateGroup; fault == 1 && !creates {
				w.say("  fault: %s done, and nobody knows", a.Kind)
				stuck[user] = true
				break
			}
			w.applied(a)
			if a.Kind == Link || a.Kind == LinkGroup {
				w.agree(a.GUID, r.Verdict)
			}
		}
	}
}

// waits: the user or group that it is about was not made.
func (w *twin) waits(a Action) bool {
	user, group := w.cloudID(a)
	switch a.Kind {
	case AddMember, RemoveMember:
		_, there := w.Cloud.Users[user]
		return !there || group == ""
	case ADAddMember, ADRemoveMember:
		return a.Member.IsZero() && w.accountOf(a.UserID).IsZero() || w.group(a).IsZero()
	case UpdateUser, BindUser, Suspend, Activate:
		_, there := w.Cloud.Users[user]
		for _, f := range a.Fields {
			if guid, made := Made(f.To); made && w.Links[guid].JumpCloudID == "" {
				return true
			}
		}
		return !there
	case BindGroup:
		return group == ""
	}
	return false
}

func (w *twin) agree(guid identity.GUID, v Verdict) {
	if link, ok := w.Links[guid]; ok {
		w.Links[guid] = Agree(link, v)
	}
	if link, ok := w.GroupLinks[guid]; ok {
		w.GroupLinks[guid] = AgreeGroup(link, v)
	}
}

func (w *twin) applied(a Action) {
	if guid := w.account(a); !guid.IsZero() && a.GroupID == "" {
		if link, ok := w.Links[guid]; ok {
			w.Links[guid] = Applied(link, a)
		}
	}
	guid := w.group(a)
	if link, ok := w.GroupLinks[guid]; ok {
		a.UserID, _ = w.cloudID(a)
		w.GroupLinks[guid] = AppliedGroup(link, a)
	}
}
