package jcsim

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// withGroup looks up {id}.
func (s *Server) withGroup(call func(request, *group) answer) func(request) answer {
	return func(r request) answer {
		if g := s.group(r.PathValue("id")); g != nil {
			return call(r, g)
		}
		return failure(http.StatusNotFound, "Not Found")
	}
}

func (s *Server) listGroups(r request) answer {
	fits, err := parseV2Filters(r.URL.Query()["filter"])
	if err != nil {
		return refuse(err)
	}
	found := []map[string]any{}
	for _, g := range s.groups {
		if fits(g.doc) {
			found = append(found, g.doc)
		}
	}
	sortDocs(found, strings.Split(cmp.Or(r.URL.Query().Get("sort"), "id"), ","))
	return listed(r, found)
}

// parseV2Filters reads v2's FIELD:OPERATOR:VALUE, of which all must hold.
func parseV2Filters(values []string) (filter, error) {
	var all []filter
	for _, text := range strings.Split(strings.Join(values, ","), ",") {
		if text == "" {
			continue
		}
		field, rest, ok1 := strings.Cut(text, ":")
		op, value, ok2 := strings.Cut(rest, ":")
		if !ok1 || !ok2 || op != "eq" && op != "ne" {
			return nil, invalid("filter must be field:eq:value or field:ne:value")
		}
		all = append(all, func(doc map[string]any) bool { return (plain(doc[field]) == value) == (op == "eq") })
	}
	return allOf(all), nil
}

func (s *Server) postGroup(r request) answer {
	fields := make(map[string]any)
	if err := r.decode(&fields); err != nil {
		return refuse(err)
	}
	g, err := s.createGroup(fields)
	if err != nil {
		return refuseGroup(err)
	}
	s.groupEvent(r.by, "group_create", g)
	return success(http.StatusCreated, g.doc)
}

// refuseGroup answers an error of createGroup or groupFields.
func refuseGroup(err error) answer {
	if errors.Is(err, errTaken) {
		return failure(http.StatusConflict, err.Error())
	}
	return refuse(err)
}

func (s *Server) getGroup(_ request, g *group) answer { return success(http.StatusOK, g.doc) }

// putGroup replaces all that clients may write.
func (s *Server) putGroup(r request, g *group) answer {
	fields := make(map[string]any)
	if err := r.decode(&fields); err != nil {
		return refuse(err)
	}
	doc, err := s.groupFields(g, fields)
	if err != nil {
		return refuseGroup(err)
	}
	maps.Copy(g.doc, doc)
	s.groupEvent(r.by, "group_update", g)
	return success(http.StatusOK, g.doc)
}

func (s *Server) deleteGroup(r request, g *group) answer {
	s.removeGroup(r.by, g)
	return success(http.StatusOK, g.doc)
}

func (s *Server) removeGroup(who by, g *group) {
	s.groups = slices.DeleteFunc(s.groups, func(other *group) bool { return other == g })
	for _, d := range s.directories {
		d.groups.remove(g.text("id"))
	}
	s.groupEvent(who, "group_delete", g)
}

func (s *Server) listMembers(r request, g *group) answer {
	return listedAs(r, g.members.ids, func(id string) map[string]any { return connection("user", id) })
}

// connection is an edge as lists of v2 show it.
func connection(kind, id string) map[string]any {
	return map[string]any{"attributes": nil, "to": map[string]any{"type": kind, "id": id, "attributes": nil}}
}

// edgeChange is the body of a request that changes an edge.
type edgeChange struct {
	Op   string `json:"op"`
	Type string `json:"type"`
	ID   string `json:"id"`
}

// apply carries the change out. JumpCloud does not document what it answers to
// one that changes nothing; 409 and 404 are what was seen of it.
func (c edgeChange) apply(to *edges) answer {
	switch {
	case c.Op == "add" && !to.add(c.ID):
		return failure(http.StatusConflict, "Already Exists")
	case c.Op == "remove" && !to.remove(c.ID), c.Op == "update" && !to.has[c.ID]:
		return failure(http.StatusNotFound, "Not Found")
	case c.Op != "add" && c.Op != "remove" && c.Op != "update":
		return refuse(invalid("op must be add, remove or update"))
	}
	return success(http.StatusNoContent, nil)
}

func (s *Server) postMember(r request, g *group) answer {
	var in edgeChange
	if err := r.decode(&in); err != nil {
		return refuse(err)
	}
	switch {
	case in.Type != "user":
		return refuse(invalid("type must be user"))
	case s.find(in.ID) == nil:
		return failure(http.StatusNotFound, "Not Found")
	case g.dynamic():
		return refuse(invalid("the members of a dynamic group are worked out by its rule"))
	}
	a := in.apply(&g.members)
	if in.changed(a) {
		s.edgeEvent(r.by, in.Op == "add", nodeGroup, g.text("id"), nodeUser, in.ID)
	}
	return a
}

// changed reports whether apply made an edge or took one away.
func (c edgeChange) changed(a answer) bool { return a.code == http.StatusNoContent && c.Op != "update" }

// listAssociations are the users, the groups, or both, that are bound to an
// Active Directory directly.
func (s *Server) listAssociations(r request, d *directory) answer {
	type edge struct{ kind, id string }
	var all []edge
	for target := range strings.SplitSeq(strings.Join(r.URL.Query()["targets"], ","), ",") {
		bound, ok := map[string][]string{"user": d.users.ids, "user_group": d.groups.ids}[target]
		if !ok {
			return refuse(invalid("targets must be user, user_group or both"))
		}
		for _, id := range bound {
			all = append(all, edge{target, id})
		}
	}
	return listedAs(r, all, func(e edge) map[string]any { return connection(e.kind, e.id) })
}

// boundOf are the Active Directories that a user or group is bound to
// directly, as it lists them itself.
func (s *Server) boundOf(r request, bound func(*directory) *edges, id string) answer {
	if targets := strings.Join(r.URL.Query()["targets"], ","); targets != "active_directory" {
		return refuse(invalid("targets must be active_directory"))
	}
	var ids []string
	for _, d := range s.directories {
		if bound(d).has[id] {
			ids = append(ids, d.ID)
		}
	}
	return listedAs(r, ids, func(id string) map[string]any { return connection("active_directory", id) })
}

func (s *Server) userAssociations(r request, u *user) answer {
	return s.boundOf(r, func(d *directory) *edges { return &d.users }, u.id())
}

func (s *Server) groupAssociations(r request, g *group) answer {
	return s.boundOf(r, func(d *directory) *edges { return &d.groups }, g.text("id"))
}

func (s *Server) postAssociation(r request, d *directory) answer {
	var in edgeChange
	if err := r.decode(&in); err != nil {
		return refuse(err)
	}
	apply := func(to *edges, node string) answer {
		a := in.apply(to)
		if in.changed(a) {
			s.edgeEvent(r.by, in.Op == "add", nodeDirectory, d.ID, node, in.ID)
		}
		return a
	}
	switch {
	case in.Type == "user" && s.find(in.ID) != nil:
		return apply(&d.users, nodeUser)
	case in.Type == "user_group" && s.group(in.ID) != nil:
		return apply(&d.groups, nodeGroup)
	case in.Type != "user" && in.Type != "user_group":
		return refuse(invalid("type must be user or user_group"))
	}
	return failure(http.StatusNotFound, "Not Found")
}
