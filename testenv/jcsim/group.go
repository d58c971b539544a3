package jcsim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// group is a user group: its fields as REST answers them, and its members.
// Guarded by Server.mu.
type group struct {
	doc     map[string]any
	members edges // ids of users
}

func (g *group) text(field string) string {
	text, _ := g.doc[field].(string)
	return text
}

func (g *group) dynamic() bool { return strings.HasPrefix(g.text("membershipMethod"), "DYNAMIC") }

// edges are the ids that an object is connected with, in the order in which
// they came.
type edges struct {
	ids []string
	has map[string]bool
}

func (e *edges) add(id string) bool {
	if e.has[id] {
		return false
	}
	if e.has == nil {
		e.has = make(map[string]bool)
	}
	e.ids, e.has[id] = append(e.ids, id), true
	return true
}

func (e *edges) remove(id string) bool {
	if !e.has[id] {
		return false
	}
	delete(e.has, id)
	i := slices.Index(e.ids, id)
	e.ids = slices.Delete(e.ids, i, i+1)
	return true
}

// Group is a user group as Go code gives and gets it.
type Group struct {
	ID          string // set by AddGroup
	Name        string
	Description string
	// MembershipMethod is NOTSET, STATIC, DYNAMIC_REVIEW_REQUIRED or
	// DYNAMIC_AUTOMATED; empty: STATIC.
	MembershipMethod string
	// Fields are more fields under their names in the v2 document.
	Fields map[string]any
}

// AddGroup creates a group and returns its id.
func (s *Server) AddGroup(g Group) (string, error) {
	fields := map[string]any{"name": g.Name, "description": g.Description}
	if g.MembershipMethod != "" {
		fields["membershipMethod"] = g.MembershipMethod
	}
	maps.Copy(fields, g.Fields)
	s.mu.Lock()
	defer s.mu.Unlock()
	made, err := s.createGroup(fields)
	if err != nil {
		return "", fmt.Errorf("add group %q: %w", g.Name, err)
	}
	s.groupEvent(by{}, "group_create", made)
	return made.text("id"), nil
}

// Groups gives all groups, oldest first.
func (s *Server) Groups() []Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Group
	for _, g := range s.groups {
		all = append(all, Group{ID: g.text("id"), Name: g.text("name"), Description: g.text("description"),
			MembershipMethod: g.text("membershipMethod"), Fields: maps.Clone(g.doc)})
	}
	return all
}

// Members gives the ids of a group's members, sorted.
func (s *Server) Members(groupID string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.group(groupID); g != nil {
		return slices.Sorted(slices.Values(g.members.ids))
	}
	return nil
}

// SetMember makes a user a member of a group, or not, whatever the group's
// membership method.
func (s *Server) SetMember(groupID, userID string, member bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.group(groupID)
	if g == nil || s.find(userID) == nil {
		return fmt.Errorf("set member %s of group %s: no such group or user", userID, groupID)
	}
	if member && g.members.add(userID) || !member && g.members.remove(userID) {
		s.edgeEvent(by{}, member, nodeGroup, groupID, nodeUser, userID)
	}
	return nil
}

// Associations gives the ids of the users and of the groups that are bound to
// an Active Directory object, sorted.
func (s *Server) Associations(adID string) (users, groups []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.directory(adID); d != nil {
		users, groups = slices.Sorted(slices.Values(d.users.ids)), slices.Sorted(slices.Values(d.groups.ids))
	}
	return users, groups
}

func (s *Server) group(id string) *group {
	for _, g := range s.groups {
		if g.text("id") == id {
			return g
		}
	}
	return nil
}

// errTaken is a name that another group has: REST answers it with 409.
var errTaken = errors.New("a group with that name exists")

func (s *Server) createGroup(fields map[string]any) (*group, error) {
	doc, err := s.groupFields(nil, fields)
	if err != nil {
		return nil, err
	}
	doc["id"], doc["type"], doc["organizationObjectId"] = s.newID(), "user_group", s.orgID
	g := &group{doc: doc}
	s.groups = append(s.groups, g)
	return g, nil
}

var membershipMethods = []string{"NOTSET", "STATIC", "DYNAMIC_REVIEW_REQUIRED", "DYNAMIC_AUTOMATED"}

// groupFields is the document of a group with just these fields: a write
// replaces all of it.
func (s *Server) groupFields(g *group, fields map[string]any) (map[string]any, error) {
	doc := map[string]any{"email": "", "description": "", "attributes": nil, "memberQuery": nil, "memberQueryExemptions": []any{},
		"memberSuggestionsNotify": false, "membershipMethod": "STATIC"}
	for name, value := range fields {
		var ok bool
		switch name {
		case "name", "description", "email", "membershipMethod":
			_, ok = value.(string)
		case "attributes", "memberQuery":
			_, ok = value.(map[string]any)
			ok = ok || value == nil
		case "memberQueryExemptions":
			_, ok = value.([]any)
		case "memberSuggestionsNotify":
			_, ok = value.(bool)
		default:
			continue
		}
		if !ok {
			return nil, invalid("%s has the wrong type", name)
		}
		doc[name] = value
	}
	name, _ := doc["name"].(string)
	method, _ := doc["membershipMethod"].(string)
	switch {
	case strings.TrimSpace(name) == "" || len(name) > maxText:
		return nil, invalid("name is required, and at most %d long", maxText)
	case !slices.Contains(membershipMethods, method):
		return nil, invalid("membershipMethod is not known")
	}
	for _, other := range s.groups {
		if other != g && strings.EqualFold(other.text("name"), name) {
			return nil, errTaken
		}
	}
	return doc, nil
}
