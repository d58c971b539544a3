package jcsim

import (
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
)

// States of a user.
const (
	staged    = "STAGED"
	activated = "ACTIVATED"
	suspended = "SUSPENDED"
)

const maxText = 1024 // of a field

var (
	usernameForm  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)
	textFields    = strings.Fields("username email firstname middlename lastname displayname description jobTitle department company costCenter employeeType employeeIdentifier location manager alternateEmail managedAppleId external_dn external_source_type external_password_expiration_date public_key")
	boolFields    = strings.Fields("ldap_binding_user samba_service_user sudo passwordless_sudo enable_managed_uid enable_user_portal_multifactor allow_public_key password_never_expires externally_managed disableDeviceMaxLoginAttempts")
	numberFields  = strings.Fields("unix_uid unix_guid")
	listFields    = strings.Fields("addresses phoneNumbers attributes relationships tags restrictedFields ssh_keys")
	mappingFields = strings.Fields("mfa recoveryEmail delegatedAuthority")
)

// errInvalid is a value that REST answers with 400.
var errInvalid = errors.New("validation error")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errInvalid, fmt.Sprintf(format, args...))
}

// create makes a user of fields given by a client.
func (s *Server) create(fields map[string]any) (*user, error) {
	u := &user{doc: map[string]any{
		"_id": s.newID(), "organization": s.orgID, "created": stamp(s.now()), "state": activated, "suspended": false,
		"activated": false, "account_locked": false, "account_locked_date": nil, "badLoginAttempts": 0.0,
		"password_date": nil, "password_expired": false, "password_expiration_date": nil, "password_never_expires": false,
		"firstname": "", "lastname": "", "displayname": "", "external_dn": "", "external_source_type": "",
		"externally_managed": false, "ldap_binding_user": false, "sudo": false, "totp_enabled": false,
		"delegatedAuthority": nil, "restrictedFields": []any{}, "attributes": []any{}, "addresses": []any{}, "phoneNumbers": []any{},
		"creationSource": "jumpcloud:api", "unix_uid": float64(5000 + len(s.users)), "unix_guid": float64(5000 + len(s.users)),
	}}
	for _, required := range []string{"username", "email"} {
		if text, _ := fields[required].(string); text == "" {
			return nil, invalid("%s is required", required)
		}
	}
	u.doc["state"] = s.newState
	if err := s.assign(u, fields, []string{staged, activated, suspended}); err != nil {
		return nil, err
	}
	s.users = append(s.users, u)
	return u, nil
}

// assign sets the fields that a client may write, or none of them. Fields it
// may not write, or that nobody knows, are ignored as JumpCloud does.
func (s *Server) assign(u *user, fields map[string]any, states []string) error {
	next := maps.Clone(u.doc)
	for name, value := range fields {
		if err := assignField(next, name, value); err != nil {
			return err
		}
		if name == "phoneNumbers" || name == "addresses" {
			next[name] = s.withIDs(value.([]any)) // assignField let it pass
		}
	}
	if on, given := fields["suspended"].(bool); given {
		next["state"] = map[bool]string{true: suspended, false: activated}[on]
	}
	if value, given := fields["state"]; given {
		state, _ := value.(string)
		if !slices.Contains(states, state) {
			return invalid("state must be one of %s", strings.Join(states, ", "))
		}
		next["state"] = state
	}
	next["suspended"] = next["state"] == suspended
	if locked, given := fields["account_locked"].(bool); given {
		lock(next, locked, stamp(s.now()))
	}
	if err := s.checkLinks(u, next); err != nil {
		return err
	}
	if err := s.checkNames(u, next); err != nil {
		return err
	}
	if _, given := fields["externally_managed"]; given {
		next["restrictedFields"] = s.externallyManaged(next["externally_managed"] == true)
	}
	oldName, oldEmail := "", ""
	if s.byID[u.id()] == u {
		oldName, oldEmail = u.text("username"), u.text("email")
	}
	u.doc = next
	s.index(u, oldName, oldEmail)
	u.ldap = u.ldap || u.flag("ldap_binding_user")
	return nil
}

func lock(doc map[string]any, locked bool, at string) {
	doc["account_locked"], doc["account_locked_date"] = locked, nil
	if locked {
		doc["account_locked_date"] = at
	} else {
		doc["badLoginAttempts"] = 0.0
	}
}

func assignField(doc map[string]any, name string, value any) error {
	var ok bool
	switch {
	case slices.Contains(textFields, name):
		var text string
		if text, ok = value.(string); ok && len(text) > maxText {
			return invalid("%s is longer than %d", name, maxText)
		}
	case slices.Contains(boolFields, name):
		_, ok = value.(bool)
	case slices.Contains(numberFields, name):
		_, ok = value.(float64)
	case slices.Contains(listFields, name):
		_, ok = value.([]any)
	case slices.Contains(mappingFields, name):
		if _, ok = value.(map[string]any); value == nil && name == "delegatedAuthority" {
			ok = true
		}
	default:
		return nil
	}
	if !ok {
		return invalid("%s has the wrong type", name)
	}
	if check := entryChecks[name]; check != nil {
		if err := check(value.([]any)); err != nil {
			return invalid("%s: %v", name, err)
		}
	}
	if text, isText := value.(string); isText && name == "external_password_expiration_date" && text != "" {
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			return invalid("%s is not a date", name)
		}
	}
	doc[name] = value
	return nil
}

// checkNames holds username and email to their forms, and unique.
func (s *Server) checkNames(u *user, next map[string]any) error {
	username, _ := next["username"].(string)
	email, _ := next["email"].(string)
	if !usernameForm.MatchString(username) {
		return invalid("username must start with a letter and hold only letters, digits, dots, hyphens and underscores")
	}
	if addr, err := mail.ParseAddress(email); err != nil || addr.Address != email {
		return invalid("email is not an address")
	}
	if other := s.byName[strings.ToLower(username)]; other != nil && other != u {
		return invalid("username %s is in use", username)
	}
	other := s.byEmail[strings.ToLower(email)]
	if other != nil && other != u || s.elsewhere[strings.ToLower(email)] {
		return invalid("email %s is in use", email)
	}
	return nil
}

// checkLinks holds what a user's document refers to.
func (s *Server) checkLinks(u *user, next map[string]any) error {
	if manager, _ := next["manager"].(string); manager != "" && (s.find(manager) == nil || manager == u.id()) {
		return invalid("manager is not another user")
	}
	authority, _ := next["delegatedAuthority"].(map[string]any)
	if authority == nil {
		return nil
	}
	id, _ := authority["id"].(string)
	if authority["name"] != "ActiveDirectory" || s.directory(id) == nil {
		return invalid("delegatedAuthority must name ActiveDirectory and the id of an Active Directory")
	}
	return nil
}

// externallyManaged is what the deprecated field makes of restrictedFields:
// whatever an administrator had set is lost.
func (s *Server) externallyManaged(on bool) []any {
	if !on || len(s.directories) == 0 {
		return []any{}
	}
	return []any{map[string]any{"field": "password", "type": "active_directory", "id": s.directories[0].ID}}
}
