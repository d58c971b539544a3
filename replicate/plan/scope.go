package plan

import (
	"bytes"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// Tree is one side's users and groups as AD has them: what a complete read
// gave, brought up to date with the changes since.
type Tree struct {
	Users  map[identity.GUID]*identity.User
	Groups map[identity.GUID]identity.Group
	// ScopeGroup holds everybody who is replicated, directly or through other
	// groups. Zero: all users below the root container are, and no groups.
	ScopeGroup identity.GUID
	// AdminsGroup is the domain's "JumpCloud Admins"; zero: there is none.
	AdminsGroup identity.GUID
}

// Scope is what of a [Tree] is replicated (rules I1 and I5).
type Scope struct {
	tree   Tree
	users  map[identity.GUID]bool // members of the scope group, however deep
	groups groupScope
	paired map[identity.GUID]bool // accounts that sync paired
}

// groupScope is what of it concerns groups.
type groupScope struct {
	all         bool                   // no scope group
	groups      map[identity.GUID]bool // the scope group and those within it
	adminsGroup identity.GUID
	admins      map[identity.GUID]bool
	paired      map[identity.GUID]bool // groups that sync paired
}

// Scope is that of a world: what sync paired is within it too, as long as it
// is below the root container.
func (w *World) Scope() *Scope {
	s := NewScope(w.Tree)
	for guid, link := range w.Links {
		if link.BySync {
			s.paired[guid] = true
		}
	}
	for guid, link := range w.GroupLinks {
		if link.BySync {
			s.groups.paired[guid] = true
		}
	}
	return s
}

// NewScope follows the memberships of a tree; cycles among groups do no harm.
func NewScope(t Tree) *Scope {
	users, groups := t.below(t.ScopeGroup)
	s := &Scope{tree: t, users: make(map[identity.GUID]bool, len(users)), groups: newGroupScope(&t, groups), paired: make(map[identity.GUID]bool)}
	for _, guid := range users {
		s.users[guid] = true
	}
	return s
}

func newGroupScope(t *Tree, groups map[identity.GUID]bool) groupScope {
	s := groupScope{all: t.ScopeGroup.IsZero(), groups: groups, adminsGroup: t.AdminsGroup, admins: make(map[identity.GUID]bool), paired: make(map[identity.GUID]bool)}
	for _, member := range t.Groups[t.AdminsGroup].Members {
		s.admins[member] = true
	}
	return s
}

// below finds the users and groups of a group, itself included. The users are
// in the order of their GUIDs.
func (t *Tree) below(top identity.GUID) (users []identity.GUID, groups map[identity.GUID]bool) {
	groups = make(map[identity.GUID]bool)
	if _, ok := t.Groups[top]; !ok {
		return nil, groups
	}
	groups[top] = true
	for todo := []identity.GUID{top}; len(todo) > 0; {
		last := len(todo) - 1
		group := t.Groups[todo[last]]
		todo = todo[:last]
		users = slices.Grow(users, len(group.Members))
		for _, member := range group.Members {
			if _, ok := t.Groups[member]; ok {
				if !groups[member] {
					groups[member] = true
					todo = append(todo, member)
				}
			} else if _, ok := t.Users[member]; ok {
				users = append(users, member)
			}
		}
	}
	slices.SortFunc(users, compareGUID) // costs little: members are sorted
	return slices.Compact(users), groups
}

// User says why an account is not in scope; empty: it is.
func (s *Scope) User(u *identity.User) (out string) {
	return outOfScope(u, s.groups.all || s.users[u.GUID] || s.paired[u.GUID])
}

// outOfScope is [Scope.User] of an account that is among those to replicate, or
// not.
func outOfScope(u *identity.User, among bool) (out string) {
	switch {
	case !u.InRoot:
		return "outside the domain's root container"
	case !among:
		return "not a member of the scope group"
	}
	return ""
}

// Group says why a group is not mirrored; empty: it is.
func (s *Scope) Group(g *identity.Group) (out string) {
	return s.groups.out(g, s.groups.paired[g.GUID])
}

func (s *groupScope) out(g *identity.Group, paired bool) (out string) {
	switch {
	case s.all && !paired:
		return "the domain has no scope group"
	case !s.groups[g.GUID] && !paired:
		return "not the scope group, nor within it"
	case g.GUID == s.adminsGroup:
		return "JumpCloud Admins is a right, and no group"
	case !g.Security:
		return "a distribution group"
	case !g.InRoot:
		return "outside the domain's root container"
	}
	return ""
}

// Admin reports whether an account is a direct member of JumpCloud Admins.
func (s *Scope) Admin(guid identity.GUID) bool { return s.groups.admins[guid] }

// Members are the users in scope of a group and of those within it, by GUID.
func (s *Scope) Members(group identity.GUID) []identity.GUID {
	users, _ := s.tree.below(group)
	within := s.groups.groups[group] // then they are all in scope, but for the container
	return slices.DeleteFunc(users, func(guid identity.GUID) bool {
		u := s.tree.Users[guid]
		return !u.InRoot || !within && s.User(u) != ""
	})
}

func compareGUID(a, b identity.GUID) int { return bytes.Compare(a[:], b[:]) }

// fold is the key of a name that is the same in any case of letters.
func fold(name string) string { return strings.ToLower(name) }
