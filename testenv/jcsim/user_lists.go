package jcsim

import (
	"errors"
	"slices"
	"strings"
)

// entryChecks hold the entries of lists to their form.
var entryChecks = map[string]func([]any) error{
	"restrictedFields": checkRestricted,
	"phoneNumbers":     textEntries("type", "number"),
	"addresses":        textEntries("type", "poBox", "extendedAddress", "streetAddress", "locality", "region", "postalCode", "country"),
	"attributes":       textEntries("name", "value"),
}

var (
	restrictable = strings.Fields(`addresses company costCenter department description displayname email employeeIdentifier
		employeeType firstname jobTitle lastname location middlename password phoneNumbers sudo username`)
	authorities = []string{"active_directory", "federated_identity_provider", "scim"}
)

func checkRestricted(list []any) error {
	for _, item := range list {
		entry, _ := item.(map[string]any)
		field, _ := entry["field"].(string)
		kind, _ := entry["type"].(string)
		id, _ := entry["id"].(string)
		switch {
		case !slices.Contains(restrictable, field):
			return errors.New("no such field can be restricted")
		case !slices.Contains(authorities, kind):
			return errors.New("no such type of authority")
		case id == "" || len(id) > 24:
			return errors.New("id must be that of the authority")
		}
	}
	return nil
}

// textEntries checks entries of text only. What lists show besides, such as
// an id, is not for clients to write.
func textEntries(names ...string) func([]any) error {
	return func(list []any) error {
		for _, item := range list {
			entry, ok := item.(map[string]any)
			if !ok {
				return errors.New("an entry must be an object")
			}
			for name, value := range entry {
				text, ok := value.(string)
				if !ok || len(text) > maxText || !slices.Contains(names, name) {
					return errors.New("an entry has something that is not written there")
				}
			}
		}
		return nil
	}
}

// withIDs gives the entries that JumpCloud numbers their ids, in a copy.
func (s *Server) withIDs(list []any) []any {
	numbered := make([]any, 0, len(list))
	for _, item := range list {
		entry := map[string]any{"id": s.newID()}
		for name, value := range item.(map[string]any) { // textEntries let it pass
			entry[name] = value
		}
		numbered = append(numbered, entry)
	}
	return numbered
}

// RestrictedWrites is what becomes of writes to a user's restricted fields.
// JumpCloud does not document it for the API keys of administrators.
type RestrictedWrites int

const (
	RestrictedAllowed RestrictedWrites = iota // they are carried out
	RestrictedDropped                         // they are left out, and the rest is carried out
	RestrictedRefused                         // the whole request is refused with 400
)

// SetRestrictedWrites chooses it; at first they are allowed.
func (s *Server) SetRestrictedWrites(how RestrictedWrites) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restricted = how
}

// restrict applies that to a request for u, whose fields are cut where need be.
func (s *Server) restrict(u *user, fields map[string]any) error {
	list, _ := u.doc["restrictedFields"].([]any)
	for _, item := range list {
		name, _ := item.(map[string]any)["field"].(string) // checkRestricted let it pass
		if _, given := fields[name]; !given || s.restricted == RestrictedAllowed {
			continue
		}
		if s.restricted == RestrictedRefused {
			return invalid("%s is read only", name)
		}
		delete(fields, name)
	}
	return nil
}

// UseElsewhere makes an address that of a user of another organisation: none
// here can have it.
func (s *Server) UseElsewhere(email string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.elsewhere[strings.ToLower(email)] = true
}

// SetNewUserState sets the state of users made without one.
func (s *Server) SetNewUserState(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newState = state
}
