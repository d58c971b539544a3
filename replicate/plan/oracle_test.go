package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// company is a model of both sides: AD as random administrators leave it, and
// a JumpCloud that refuses what the real one refuses.
type company struct {
	t   *testing.T
	rnd *rand.Rand
	World
	made  int
	local map[string]identity.User // JumpCloud's own users, as they must stay
}

var (
	root  = identity.GUID{0xee}
	inner = identity.GUID{0xee, 1}
	deep  = identity.GUID{0xee, 2}
)

func newCompany(t *testing.T, seed uint64, s Settings) *company {
	c := &company{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), local: make(map[string]identity.User)}
	c.World = World{Settings: s, Now: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), Complete: true,
		Tree:  Tree{Users: make(map[identity.GUID]*identity.User), Groups: make(map[identity.GUID]identity.Group), ScopeGroup: root},
		Links: make(map[identity.GUID]identity.Link), GroupLinks: make(map[identity.GUID]identity.GroupLink),
		Cloud: Cloud{make(map[string]*identity.User), make(map[string]identity.Group), make(map[string]bool), make(map[string]bool), true}}
	// A cycle: each of the two inner groups holds the other.
	c.Groups[root] = identity.Group{GUID: root, Name: "JumpCloud", Security: true, InRoot: true, Members: []identity.GUID{inner}}
	c.Groups[inner] = identity.Group{GUID: inner, Name: "Inner", Security: true, InRoot: true, Members: []identity.GUID{deep}}
	c.Groups[deep] = identity.Group{GUID: deep, Name: "Deep", Security: true, InRoot: true, Members: []identity.GUID{inner}}
	for i := range 3 { // of names that no account asks for
		c.addLocal(fmt.Sprintf("local%d", i), fmt.Sprintf("local%d@jc.example", i))
	}
	return c
}

func (c *company) addLocal(name, mail string) {
	c.made++
	id := fmt.Sprintf("j%03d", c.made)
	u := identity.User{ID: id, Username: name, Mail: mail, First: "L", Last: "L"}
	c.Cloud.Users[id], c.local[id] = &u, u
}

// names are few, so that people meet, swap and take over names.
func (c *company) name() string { return fmt.Sprintf("user%d", c.rnd.IntN(8)) }

func (c *company) anyone() (identity.GUID, bool) {
	guids := slices.SortedFunc(maps.Keys(c.Users), compareGUID)
	if len(guids) == 0 {
		return identity.GUID{}, false
	}
	return guids[c.rnd.IntN(len(guids))], true
}

func (c *company) free(name string) bool {
	for _, u := range c.Users {
		if u.Username == name {
			return false
		}
	}
	return true
}

// mutate is one thing that an administrator does in AD.
func (c *company) mutate() {
	groups := []identity.GUID{root, inner, deep}
	group := c.Groups[groups[c.rnd.IntN(3)]]
	guid, ok := c.anyone()
	var u identity.User
	if ok {
		u = *c.Users[guid]
	}
	switch what := c.rnd.IntN(12); {
	case what < 3 || !ok:
		c.hire(group)
		return
	case what == 3: // deleted
		delete(c.Users, guid)
		for id, g := range c.Groups {
			g.Members = without(g.Members, guid)
			c.Groups[id] = g
		}
		return
	case what == 4:
		group.Members = without(group.Members, guid)
		c.Groups[group.GUID] = group
	case what == 5:
		group.Members = append(without(group.Members, guid), guid)
		c.Groups[group.GUID] = group
	case what == 6:
		if name := c.name(); c.free(name) {
			u.Username, u.Mail = name, name+"@corp.example"
		}
	case what == 7: // two swap their names
		if other, _ := c.anyone(); other != guid {
			o := *c.Users[other]
			u.Username, u.Mail, o.Username, o.Mail = o.Username, o.Mail, u.Username, u.Mail
			c.Users[other] = &o
		}
	case what == 8:
		u.Disabled = !u.Disabled
	case what == 9:
		u.Profile.Department, u.Last = fmt.Sprint(c.rnd.IntN(5)), fmt.Sprint("L", c.rnd.IntN(5))
		u.Manager.GUID, _ = c.anyone()
	case what == 10:
		u.InRoot = !u.InRoot
	case what == 11:
		u.Privileged = c.rnd.IntN(4) == 0
	}
	c.Users[guid] = &u
}

func (c *company) hire(group identity.Group) {
	name := c.name()
	if !c.free(name) {
		return
	}
	c.made++
	guid := identity.GUID{byte(c.made), byte(c.made >> 8), 1}
	c.Users[guid] = &identity.User{GUID: guid, DN: "CN=" + name, Username: name, Mail: name + "@corp.example",
		First: "F", Last: "L", InRoot: true, Profile: identity.Profile{DisplayName: name}}
	group.Members = append(group.Members, guid)
	c.Groups[group.GUID] = group
}

func without(members []identity.GUID, guid identity.GUID) []identity.GUID {
	return slices.DeleteFunc(slices.Clone(members), func(m identity.GUID) bool { return m == guid })
}

// do carries a plan out as JumpCloud would, refusals included.
func (c *company) do(p Plan) {
	c.t.Helper()
	for _, a := range p.Actions() {
		c.doOne(a)
	}
}

// real gives the id that a planned one ("new:...") got.
func (c *company) real(a Action) (userID, groupID string) {
	userID, groupID = a.UserID, a.GroupID
	if guid, isNew := strings.CutPrefix(userID, "new:"); isNew {
		g, _ := identity.ParseGUID(guid)
		userID = c.Links[g].JumpCloudID
	}
	if userID == "" {
		userID = c.Links[a.GUID].JumpCloudID
	}
	if groupID == "" || strings.HasPrefix(groupID, "new:") {
		groupID = c.GroupLinks[a.GUID].GroupID
	}
	return userID, groupID
}

func (c *company) doOne(a Action) {
	c.t.Helper()
	id, groupID := c.real(a)
	var u identity.User
	was, known := c.Cloud.Users[id]
	if known {
		u = *was
	}
	link := c.Links[a.GUID]
	if _, own := c.local[id]; own && link.JumpCloudID != id && a.Kind != Link && a.Kind != RemoveMember {
		c.t.Fatalf("%+v touches a user that JumpCloud has for itself", a)
	}
	needs := func(ok bool) {
		c.t.Helper()
		if !ok {
			c.t.Fatalf("%+v: JumpCloud refuses (user %+v)", a, u)
		}
	}
	switch a.Kind {
	case CreateUser:
		c.made++
		u = identity.User{ID: fmt.Sprintf("j%03d", c.made)}
		c.set(&u, a)
		c.Links[a.GUID] = identity.Link{GUID: a.GUID, JumpCloudID: u.ID, Username: u.Username}
		return
	case Link:
		needs(known)
		delete(c.local, id)
		c.Links[a.GUID] = identity.Link{GUID: a.GUID, JumpCloudID: id, Username: u.Username}
		return
	case Unlink:
		delete(c.Links, a.GUID)
		return
	case UpdateUser:
		needs(known)
		c.set(&u, a)
		return
	case DeleteUser:
		needs(known)
		delete(c.Cloud.Users, id)
		delete(c.Cloud.BoundUsers, id)
		for gid, g := range c.Cloud.Groups {
			g.MemberIDs = slices.DeleteFunc(slices.Clone(g.MemberIDs), func(m string) bool { return m == id })
			c.Cloud.Groups[gid] = g
		}
		return
	case Suspend, Activate:
		needs(known && u.Disabled == (a.Kind == Activate))
		u.Disabled = !u.Disabled
		link.SuspendedByUs = u.Disabled
		c.Links[a.GUID], c.Cloud.Users[id] = link, &u
	case BindUser:
		needs(known && !c.Cloud.BoundUsers[id])
		c.Cloud.BoundUsers[id] = true
	case UnbindUser:
		needs(known && c.Cloud.BoundUsers[id])
		delete(c.Cloud.BoundUsers, id)
		u.Restricted, u.DelegatedTo = "", ""
		c.Cloud.Users[id], c.local[id] = &u, u
	case ExpirePassword:
		needs(known)
	default:
		c.doGroup(a, id, groupID, needs)
	}
}

func (c *company) doGroup(a Action, id, groupID string, needs func(bool)) {
	c.t.Helper()
	g, known := c.Cloud.Groups[groupID]
	switch a.Kind {
	case CreateGroup:
		c.made++
		g = identity.Group{ID: fmt.Sprintf("g%03d", c.made), Name: a.Fields[0].To}
		c.GroupLinks[a.GUID] = identity.GroupLink{GUID: a.GUID, GroupID: g.ID, Created: true}
	case DeleteGroup:
		needs(known)
		delete(c.Cloud.Groups, groupID)
		delete(c.Cloud.BoundGroups, groupID)
		return
	case UnlinkGroup:
		delete(c.GroupLinks, a.GUID)
		return
	case BindGroup:
		needs(known)
		c.Cloud.BoundGroups[groupID] = true
		return
	case AddMember:
		_, user := c.Cloud.Users[id]
		needs(known && user && !slices.Contains(g.MemberIDs, id))
		g.MemberIDs = append(slices.Clone(g.MemberIDs), id)
		slices.Sort(g.MemberIDs)
		c.agree(a.GUID, id)
	case RemoveMember:
		needs(known && slices.Contains(g.MemberIDs, id) && slices.Contains(c.GroupLinks[a.GUID].Agreed, id))
		g.MemberIDs = slices.DeleteFunc(slices.Clone(g.MemberIDs), func(m string) bool { return m == id })
	default:
		c.t.Fatalf("%+v: not in this model", a)
	}
	c.Cloud.Groups[g.ID] = g
}

func (c *company) agree(group identity.GUID, userID string) {
	link := c.GroupLinks[group]
	link.Agreed = append(slices.Clone(link.Agreed), userID)
	c.GroupLinks[group] = link
}

// set writes fields; names and addresses are unique at JumpCloud.
func (c *company) set(u *identity.User, a Action) {
	c.t.Helper()
	for _, f := range a.Fields {
		if guid, isNew := strings.CutPrefix(f.To, "new:"); isNew {
			g, _ := identity.ParseGUID(guid)
			f.To = c.Links[g].JumpCloudID
		}
		if !Set(u, f.Name, f.To) {
			c.t.Fatalf("%+v: no field %q", a, f.Name)
		}
	}
	for id, other := range c.Cloud.Users {
		if id != u.ID && (strings.EqualFold(other.Username, u.Username) || strings.EqualFold(other.Mail, u.Mail)) {
			c.t.Fatalf("%+v: JumpCloud refuses: %s has username %q and mail %q", a, id, other.Username, other.Mail)
		}
	}
	c.Cloud.Users[u.ID] = u
}

// check holds JumpCloud against what a naive reading of the rules says, with
// nothing of the planner's.
func (c *company) check() {
	c.t.Helper()
	inScope := func(guid identity.GUID) bool {
		in := false
		for _, g := range c.Groups { // every group here is within the scope group
			in = in || slices.Contains(g.Members, guid)
		}
		u, ok := c.Users[guid]
		return ok && in && u.InRoot
	}
	for guid, u := range c.Users {
		link, linked := c.Links[guid]
		switch {
		case u.Privileged || c.held(*u):
			continue // left as it was
		case !inScope(guid) && linked:
			c.t.Fatalf("%s left the scope and is still linked", u.Username)
		case inScope(guid) && !u.Disabled && !linked:
			c.t.Fatalf("%s is in scope and has no user", u.Username)
		case !linked:
			continue
		}
		got := c.Cloud.Users[link.JumpCloudID]
		want := [...]string{u.Username, u.Mail, u.Last, u.Profile.Department, u.DN}
		if is := [...]string{got.Username, got.Mail, got.Last, got.Profile.Department, got.ExternalDN}; is != want {
			c.t.Fatalf("%s: got %q, want %q", u.Username, is, want)
		}
		foreign := got.Disabled && !link.SuspendedByUs // was suspended when it was taken over
		if got.Disabled != u.Disabled && !foreign || !c.Cloud.BoundUsers[got.ID] {
			c.t.Fatalf("%s: suspended %v (AD disabled %v), bound %v", u.Username, got.Disabled, u.Disabled, c.Cloud.BoundUsers[got.ID])
		}
		if boss, ok := c.Links[u.Manager.GUID]; ok && u.Manager.GUID != u.GUID && got.Manager.ID != boss.JumpCloudID {
			c.t.Fatalf("%s: manager %q, want %q", u.Username, got.Manager.ID, boss.JumpCloudID)
		}
		if got.Manager.ID == got.ID {
			c.t.Fatalf("%s is its own manager, which JumpCloud refuses", u.Username)
		}
	}
	for guid := range c.Links {
		if _, ok := c.Users[guid]; !ok {
			c.t.Fatalf("%s was deleted and is still linked", guid)
		}
	}
	for id, u := range c.local {
		if is := c.Cloud.Users[id]; *is != u {
			c.t.Fatalf("JumpCloud's own user changed from %+v to %+v", u, is)
		}
	}
	c.checkGroups(inScope)
}

// held: the name belongs to a user that may not be touched: JumpCloud's own, or
// that of an account with privileges.
func (c *company) held(u identity.User) bool {
	own := c.Links[u.GUID].JumpCloudID
	for id, other := range c.Cloud.Users {
		if id == own || !strings.EqualFold(other.Username, u.Username) && !strings.EqualFold(other.Mail, u.Mail) {
			continue
		}
		if _, local := c.local[id]; local {
			return true
		}
		for guid, link := range c.Links {
			if link.JumpCloudID == id && c.Users[guid] != nil && c.Users[guid].Privileged {
				return true
			}
		}
	}
	return false
}

func (c *company) checkGroups(inScope func(identity.GUID) bool) {
	c.t.Helper()
	// Deep and Inner hold each other: both have what either has.
	want := map[identity.GUID]map[string]bool{root: {}, inner: {}, deep: {}}
	for guid, link := range c.Links {
		if !inScope(guid) {
			continue
		}
		if slices.Contains(c.Groups[inner].Members, guid) || slices.Contains(c.Groups[deep].Members, guid) {
			want[inner][link.JumpCloudID], want[deep][link.JumpCloudID] = true, true
		}
		want[root][link.JumpCloudID] = true
	}
	for guid, members := range want {
		g := c.Cloud.Groups[c.GroupLinks[guid].GroupID]
		if got, want := g.MemberIDs, slices.Sorted(maps.Keys(members)); !slices.Equal(got, want) {
			c.t.Fatalf("group %s: got members %v, want %v", g.Name, got, want)
		}
	}
}

// TestImportConverges: whatever administrators do, the plan can be carried
// out step by step, leaves what the rules say, and then has nothing to do.
func TestImportConverges(t *testing.T) {
	for _, actions := range []identity.Actions{{}, {Dissociation: identity.ActionUnbind}} {
		for seed := range uint64(150) {
			c := newCompany(t, seed, Settings{Domain: "corp.example", ADID: "ad1", Use: identity.UseAD, Actions: actions})
			for range 30 {
				for range 1 + c.rnd.IntN(5) {
					c.mutate()
				}
				p := mustPlan(t, c.World)
				c.do(p)
				c.check()
				if again := mustPlan(t, c.World); len(again.Actions()) > 0 {
					t.Fatalf("seed %d: a second plan has %+v after %+v", seed, again.Actions(), p.Actions())
				}
			}
		}
	}
}

func mustPlan(t *testing.T, w World) Plan {
	t.Helper()
	p, err := Import(w)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
