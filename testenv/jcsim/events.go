package jcsim

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"time"
)

// by is who asked for a change. The zero value is an administrator in the
// console.
type by struct{ method, id string }

const (
	adminID      = "5f0000000000000000000002" // of the console's administrator
	keyOwnerID   = "5f0000000000000000000003" // whose API key it is
	accountID    = "5f0000000000000000000004" // of the service account
	byKey        = "api-key"
	byAccount    = "service-account"
	bySession    = "session"
	retention    = 90 * 24 * time.Hour
	maxEvents    = 200_000
	insightsPath = "/insights/directory/v1/events"
)

// eventRow is an event of Directory Insights.
type eventRow struct {
	at  time.Time // to the millisecond
	id  string
	doc map[string]any
}

func (e eventRow) compare(other eventRow) int {
	return cmp.Or(e.at.Compare(other.at), cmp.Compare(e.id, other.id))
}

// insights is what Directory Insights has. Guarded by Server.mu.
type insights struct {
	off     bool
	holding bool
	rows    []eventRow // ascending by compare
	held    []eventRow
}

// SetInsights says whether the organisation has Directory Insights, as at
// first. Without it the API answers 402, and events are collected nevertheless.
func (s *Server) SetInsights(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insights.off = !on
}

// HoldEvents makes events late: those of what happens from now on are not
// shown before ReleaseEvents, with the time at which it happened.
func (s *Server) HoldEvents() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insights.holding = true
}

// ReleaseEvents ends HoldEvents.
func (s *Server) ReleaseEvents() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insights.rows = append(s.insights.rows, s.insights.held...)
	slices.SortFunc(s.insights.rows, eventRow.compare)
	s.insights.held, s.insights.holding = nil, false
}

// InsightsURL is the base of Directory Insights' API.
func (s *Server) InsightsURL() string { return s.URL() + "/insights/directory/v1" }

// AddEvent tells an event that no change of the simulator's belongs to. Its id,
// time, organisation and service are added where they are missing.
func (s *Server) AddEvent(doc map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addEvent(maps.Clone(doc))
}

// event tells a change. Callers hold mu.
func (s *Server) event(who by, kind string, resource, more map[string]any) {
	doc := map[string]any{"event_type": kind, "auth_method": cmp.Or(who.method, bySession), "success": true, "resource": resource,
		"initiated_by": map[string]any{"type": "admin", "id": cmp.Or(who.id, adminID), "email": "admin@corp.example"}, "@version": "1",
		"client_ip": "192.0.2.1", "provider": nil}
	if resource == nil {
		delete(doc, "resource")
	}
	maps.Copy(doc, more)
	s.addEvent(doc)
}

func (s *Server) addEvent(doc map[string]any) {
	at := s.now().UTC().Truncate(time.Millisecond)
	for name, value := range map[string]any{"id": s.newID(), "timestamp": stamp(at), "organization": s.orgID, "service": "directory"} {
		if _, given := doc[name]; !given {
			doc[name] = value
		}
	}
	if text, _ := doc["timestamp"].(string); text != "" {
		if given, err := time.Parse(time.RFC3339, text); err == nil {
			at = given.UTC()
		}
	}
	id, _ := doc["id"].(string)
	row := eventRow{at, id, doc}
	if s.insights.holding {
		s.insights.held = append(s.insights.held, row)
		return
	}
	if len(s.insights.rows) >= maxEvents {
		s.insights.rows = slices.Delete(s.insights.rows, 0, maxEvents/2)
	}
	i, _ := slices.BinarySearchFunc(s.insights.rows, row, eventRow.compare)
	s.insights.rows = slices.Insert(s.insights.rows, i, row)
}

func resource(kind, id string, more map[string]any) map[string]any {
	r := map[string]any{"type": kind, "id": id}
	maps.Copy(r, more)
	return r
}

// userEvent tells a change of a user; was is its document before.
func (s *Server) userEvent(who by, kind string, u *user, was map[string]any) {
	more := make(map[string]any)
	if was != nil {
		changes := []any{}
		for _, name := range slices.Sorted(maps.Keys(u.doc)) {
			if !reflect.DeepEqual(was[name], u.doc[name]) {
				changes = append(changes, map[string]any{"field": name, "from": was[name], "to": u.doc[name]})
			}
		}
		more["changes"] = changes
	}
	s.event(who, kind, resource("user", u.id(), map[string]any{"username": u.text("username")}), more)
}

func (s *Server) groupEvent(who by, kind string, g *group) {
	s.event(who, kind, resource("user_group", g.text("id"), map[string]any{"name": g.text("name")}), nil)
}

// edgeEvent tells that an edge came or went. Types and operation are spelled
// in capitals there.
func (s *Server) edgeEvent(who by, add bool, fromType, from, toType, to string) {
	op := map[bool]string{true: "ADD", false: "REMOVE"}[add]
	end := func(kind, id string) map[string]any { return map[string]any{"type": kind, "object_id": id, "name": ""} }
	s.event(who, "association_change", nil, map[string]any{"association": map[string]any{"op": op, "action_source": "",
		"connection": map[string]any{"from": end(fromType, from), "to": end(toType, to)}}})
}

const (
	nodeUser      = "USER"
	nodeGroup     = "USER_GROUP"
	nodeDirectory = "ACTIVE_DIRECTORY"
)
