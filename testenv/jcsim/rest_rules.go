package jcsim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// Rule is a translation rule of an Active Directory object, as Go code gives
// and gets it.
type Rule struct {
	ID          string // set by AddRule
	Source      string
	Destination string
	SourceType  string // PATH, EXPR, CONSTANT or GOLANG_TEMPLATE
	Direction   string // EXPORT or IMPORT
	AppliedOn   []string
	Required    bool
	Default     bool // made by JumpCloud: clients cannot change it
}

// AddRule gives an Active Directory object a translation rule; it takes values
// that clients could not give, such as ones that JumpCloud may add some day.
func (s *Server) AddRule(adID string, r Rule) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.directory(adID)
	if d == nil {
		return "", fmt.Errorf("add translation rule to %s: no such Active Directory", adID)
	}
	doc := ruleDocument(r.Source, r.Destination, r.SourceType, r.Direction, r.AppliedOn)
	doc["objectId"], doc["required"], doc["default"], doc["editable"] = s.newID(), r.Required, r.Default, !r.Default
	d.rules = append(d.rules, doc)
	s.event(by{}, "integrationattribute_include", resource("active_directory", adID, nil), nil)
	return doc["objectId"].(string), nil
}

// RemoveRule takes a translation rule away.
func (s *Server) RemoveRule(adID, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.directory(adID); d != nil && d.removeRule(id) {
		s.event(by{}, "integrationattribute_exclude", resource("active_directory", adID, nil), nil)
		return nil
	}
	return fmt.Errorf("remove translation rule %s of %s: no such rule", id, adID)
}

func (d *directory) removeRule(id string) bool {
	n := len(d.rules)
	d.rules = slices.DeleteFunc(d.rules, func(r map[string]any) bool { return r["objectId"] == id })
	return len(d.rules) < n
}

func ruleDocument(source, destination, sourceType, direction string, appliedOn []string) map[string]any {
	return map[string]any{"source": source, "destination": destination, "sourceType": sourceType, "direction": direction,
		"appliedOn": appliedOn, "required": false, "default": false, "editable": true}
}

// ruleBody is what clients write of a rule.
type ruleBody struct {
	Source      string   `json:"source"`
	Destination string   `json:"destination"`
	SourceType  string   `json:"sourceType"`
	Direction   string   `json:"direction"`
	AppliedOn   []string `json:"appliedOn"`
}

var (
	ruleSources    = []string{"PATH", "EXPR", "CONSTANT", "GOLANG_TEMPLATE"}
	ruleDirections = []string{"EXPORT", "IMPORT"}
	ruleOccasions  = []string{"CREATE", "UPDATE"}
)

func (b *ruleBody) check() error {
	switch {
	case b.Source == "" || b.Destination == "":
		return invalid("source and destination are required")
	case !slices.Contains(ruleSources, b.SourceType):
		return invalid("sourceType is not known")
	case !slices.Contains(ruleDirections, b.Direction):
		return invalid("direction is not known")
	case len(b.AppliedOn) == 0 || slices.ContainsFunc(b.AppliedOn, func(on string) bool { return !slices.Contains(ruleOccasions, on) }):
		return invalid("appliedOn must hold CREATE, UPDATE or both")
	}
	return nil
}

// listRules is a list that v2 wraps in an object.
func (s *Server) listRules(r request, d *directory) answer {
	limit, skip, err := r.bounds()
	if err != nil {
		return refuse(err)
	}
	return success(http.StatusOK, map[string]any{"rules": page(d.rules, limit, skip), "totalCount": len(d.rules)})
}

func (s *Server) postRule(r request, d *directory) answer {
	var in ruleBody
	err := r.decode(&in)
	if err == nil {
		err = in.check()
	}
	if err != nil {
		return refuse(err)
	}
	doc := ruleDocument(in.Source, in.Destination, in.SourceType, in.Direction, in.AppliedOn)
	doc["objectId"] = s.newID()
	d.rules = append(d.rules, doc)
	s.event(r.by, "integrationattribute_include", resource("active_directory", d.ID, nil), nil)
	return success(http.StatusOK, map[string]any{}) // what the rule is, the list says
}

// withRule looks up {rule}, and keeps clients from JumpCloud's own.
func (s *Server) withRule(call func(request, *directory, map[string]any) answer) func(request) answer {
	return s.withDirectory(func(r request, d *directory) answer {
		i := slices.IndexFunc(d.rules, func(doc map[string]any) bool { return doc["objectId"] == r.PathValue("rule") })
		switch {
		case i < 0:
			return failure(http.StatusNotFound, "Not Found")
		case d.rules[i]["editable"] != true:
			return refuse(invalid("the rule cannot be changed"))
		}
		return call(r, d, d.rules[i])
	})
}

// putRule replaces all but the direction.
func (s *Server) putRule(r request, d *directory, doc map[string]any) answer {
	var in ruleBody
	err := r.decode(&in)
	if err == nil {
		in.Direction, _ = doc["direction"].(string)
		err = in.check()
	}
	if err != nil {
		return refuse(err)
	}
	next := ruleDocument(in.Source, in.Destination, in.SourceType, in.Direction, in.AppliedOn)
	next["objectId"] = doc["objectId"]
	maps.Copy(doc, next)
	s.event(r.by, "integrationattribute_include", resource("active_directory", d.ID, nil), nil)
	return success(http.StatusOK, doc)
}

func (s *Server) deleteRule(r request, d *directory, doc map[string]any) answer {
	id, _ := doc["objectId"].(string)
	d.removeRule(id)
	s.event(r.by, "integrationattribute_exclude", resource("active_directory", d.ID, nil), nil)
	return success(http.StatusOK, nil)
}
