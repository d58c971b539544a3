package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// Benchmarks of 100,000 users in 1,000 groups. First is a domain of which
// nothing was replicated yet, Settled one in which there is nothing to do. See
// BENCHMARKS.md.

func BenchmarkImport(b *testing.B) {
	measure(b, bigWorld(twoWay), Import, 101_001)
}

func BenchmarkSync(b *testing.B) {
	measure(b, bigCloud(jcIsAuthority), Sync, 101_000)
}

func BenchmarkSettled(b *testing.B) {
	for _, use := range []identity.UseCase{identity.UseAD, identity.UseTwoWay} {
		b.Run("import, "+string(use), func(b *testing.B) {
			s := twoWay
			s.Use = use
			measure(b, settled(b, bigWorld(s), Import), Import, 0)
		})
	}
	b.Run("sync, jumpcloud", func(b *testing.B) {
		measure(b, settled(b, bigCloud(jcIsAuthority), Sync), Sync, 0)
	})
	b.Run("both, two-way", func(b *testing.B) {
		measure(b, settled(b, bigWorld(twoWay), Import), Both, 0)
	})
}

// measure reports the CPU time of the process too, which other load on the
// machine changes less than the time that passes.
func measure(b *testing.B, w World, plan func(World) (Plan, error), results int) {
	b.ReportAllocs()
	began := cpu(b)
	for b.Loop() {
		p, err := plan(w)
		if err != nil || len(p.Results) != results {
			b.Fatalf("%d results, want %d (%v)", len(p.Results), results, err)
		}
	}
	b.ReportMetric((cpu(b)-began).Seconds()/float64(b.N), "cpu-s/op")
}

func cpu(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func bigWorld(s Settings) World {
	const users, groups = 100_000, 1_000
	w := World{Settings: s, Now: may, Complete: true, Cloud: Cloud{Complete: true},
		Tree: Tree{Users: make(map[identity.GUID]*identity.User, users), Groups: make(map[identity.GUID]identity.Group), ScopeGroup: root}}
	top := identity.Group{GUID: root, Name: "JumpCloud", DN: "CN=JumpCloud", Security: true, InRoot: true}
	for g := range groups {
		name := fmt.Sprint("group", g)
		group := identity.Group{GUID: identity.GUID{byte(g), byte(g >> 8), 2}, Name: name, DN: "CN=" + name, Security: true, InRoot: true}
		for i := g; i < users; i += groups {
			guid := identity.GUID{byte(i), byte(i >> 8), byte(i >> 16), 3}
			name := fmt.Sprint("user", i)
			w.Users[guid] = &identity.User{GUID: guid, DN: "CN=" + name, Username: name, Mail: name + "@corp.example", First: "F", Last: "L", InRoot: true}
			group.Members = append(group.Members, guid)
		}
		w.Groups[group.GUID] = group
		top.Members = append(top.Members, group.GUID)
	}
	w.Groups[root] = top
	return w
}

func bigCloud(s Settings) World {
	w := World{Settings: s, Now: may, Complete: true,
		Cloud: Cloud{Users: make(map[string]*identity.User), Groups: make(map[string]identity.Group), BoundUsers: make(map[string]bool), BoundGroups: make(map[string]bool), Complete: true}}
	for g := range 1_000 {
		group := identity.Group{ID: fmt.Sprint("g", g), Name: fmt.Sprint("group", g)}
		for i := g; i < 100_000; i += 1_000 {
			id := fmt.Sprint("u", i)
			name := fmt.Sprint("user", i)
			w.Cloud.Users[id] = &identity.User{ID: id, Username: name, Mail: name + "@corp.example", First: "F", Last: name}
			group.MemberIDs = append(group.MemberIDs, id)
		}
		slices.Sort(group.MemberIDs)
		w.Cloud.Groups[group.ID], w.Cloud.BoundGroups[group.ID] = group, true
	}
	return w
}

// settled is a world after its plans were carried out and agreed upon.
func settled(b *testing.B, w World, plan func(World) (Plan, error)) World {
	b.Helper()
	p := newPlanner(w)
	if w.Use.Imports() {
		p.importAll()
	} else {
		p.syncAll()
	}
	w.Users, w.Links, w.Groups, w.GroupLinks = make(map[identity.GUID]*identity.User), make(map[identity.GUID]identity.Link), p.Groups, p.GroupLinks
	for guid, a := range p.accounts {
		w.Users[guid] = a.user
		if a.link != nil {
			w.Links[guid] = *p.linkOf(a)
		}
	}
	p.Cloud.Users, p.Cloud.BoundUsers = make(map[string]*identity.User), make(map[string]bool)
	for id, of := range p.people {
		p.Cloud.Users[id] = of.user
		if of.bound {
			p.Cloud.BoundUsers[id] = true
		}
	}
	w.Cloud = given(p.Cloud)
	for guid, link := range w.Links {
		link.JumpCloudID = idGiven(link.JumpCloudID)
		w.Links[guid] = link
	}
	for guid, link := range w.GroupLinks {
		link.GroupID = idGiven(link.GroupID)
		w.GroupLinks[guid] = link
		if g := w.Cloud.Groups[link.GroupID]; link.Agreed != nil {
			link.Agreed = g.MemberIDs
			w.GroupLinks[guid] = link
		}
	}
	next, err := plan(w)
	if err != nil || len(next.Actions()) > 0 {
		b.Fatalf("%d actions are left (%v)", len(next.Actions()), err)
	}
	for _, r := range next.Results {
		guid := r.GUID
		if link, ok := w.Links[guid]; ok {
			w.Links[guid] = Agree(link, r.Verdict)
		}
		if link, ok := w.GroupLinks[guid]; ok {
			w.GroupLinks[guid] = AgreeGroup(link, r.Verdict)
		}
	}
	return w
}

// idGiven is the id that JumpCloud gave to what a plan made.
func idGiven(id string) string { return strings.TrimPrefix(id, prefixNew) }

func given(c Cloud) Cloud {
	now := Cloud{make(map[string]*identity.User), make(map[string]identity.Group), make(map[string]bool), make(map[string]bool), c.Complete}
	for id, u := range c.Users {
		u.ID = idGiven(id)
		now.Users[u.ID] = u
	}
	for id, g := range c.Groups {
		g.ID, g.MemberIDs = idGiven(id), slices.Clone(g.MemberIDs)
		for i := range g.MemberIDs {
			g.MemberIDs[i] = idGiven(g.MemberIDs[i])
		}
		now.Groups[g.ID] = g
	}
	for id := range maps.Keys(c.BoundUsers) {
		now.BoundUsers[idGiven(id)] = true
	}
	for id := range maps.Keys(c.BoundGroups) {
		now.BoundGroups[idGiven(id)] = true
	}
	return now
}
