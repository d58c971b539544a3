package jcsim

import (
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store/secret"
)

// user is a system user: its fields as REST answers them, and what REST never
// shows. Guarded by Server.mu.
type user struct {
	doc       map[string]any
	passwords []secret.Bytes // oldest first; the last is the present one
	ldap      bool           // bound to the LDAP directory
}

func (u *user) text(field string) string {
	text, _ := u.doc[field].(string)
	return text
}

func (u *user) flag(field string) bool {
	on, _ := u.doc[field].(bool)
	return on
}

func (u *user) id() string { return u.text("_id") }

// User is a user as Go code gives and gets it.
type User struct {
	ID        string // set by AddUser
	Username  string
	Email     string
	FirstName string
	LastName  string
	State     string // STAGED, ACTIVATED or SUSPENDED; empty: ACTIVATED
	// Password is given to AddUser, past the policy; never returned.
	Password secret.Bytes
	// LDAPBound: the user is in the LDAP directory and may bind.
	LDAPBound bool
	// LDAPBindingUser: the user may also search; it implies LDAPBound.
	LDAPBindingUser bool
	// Fields are more fields under their names in the v1 document.
	Fields map[string]any

	// Read only.
	Activated, Locked, PasswordExpired bool
	PasswordDate                       string // empty: never set
}

// AddUser creates a user and returns its id.
func (s *Server) AddUser(u User) (string, error) {
	fields := map[string]any{"username": u.Username, "email": u.Email, "firstname": u.FirstName, "lastname": u.LastName,
		"ldap_binding_user": u.LDAPBindingUser}
	if u.State != "" {
		fields["state"] = u.State
	}
	maps.Copy(fields, u.Fields)
	s.mu.Lock()
	defer s.mu.Unlock()
	made, err := s.create(fields)
	if err != nil {
		return "", fmt.Errorf("add user %q: %w", u.Username, err)
	}
	if !u.Password.IsEmpty() {
		made.setPassword(u.Password.Expose(), s.policy, s.now())
	}
	made.ldap = u.LDAPBound || u.LDAPBindingUser
	return made.id(), nil
}

// User gives one user.
func (s *Server) User(id string) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.find(id); u != nil {
		return s.export(u), true
	}
	return User{}, false
}

// Users gives all users, oldest first.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []User
	for _, u := range s.users {
		all = append(all, s.export(u))
	}
	return all
}

// BindToLDAP puts a user into the LDAP directory or takes it out, as an
// association with the LDAP server does.
func (s *Server) BindToLDAP(id string, bound bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.find(id)
	if u == nil {
		return fmt.Errorf("bind user %s to ldap: no such user", id)
	}
	u.ldap = bound
	return nil
}

func (s *Server) export(u *user) User {
	return User{
		ID: u.id(), Username: u.text("username"), Email: u.text("email"),
		FirstName: u.text("firstname"), LastName: u.text("lastname"), State: u.text("state"),
		LDAPBound: u.ldap, LDAPBindingUser: u.flag("ldap_binding_user"), Fields: maps.Clone(u.doc),
		Activated: u.flag("activated"), Locked: u.flag("account_locked"),
		PasswordExpired: u.expired(s.now()), PasswordDate: u.text("password_date"),
	}
}

func (s *Server) find(id string) *user {
	for _, u := range s.users {
		if u.id() == id {
			return u
		}
	}
	return nil
}

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
		"_id": s.newID(), "organization": s.orgID, "created": stamp(s.now()), "state": "ACTIVATED", "suspended": false,
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
	if err := s.assign(u, fields, []string{"STAGED", "ACTIVATED", "SUSPENDED"}); err != nil {
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
	}
	if on, given := fields["suspended"].(bool); given {
		next["state"] = map[bool]string{true: "SUSPENDED", false: "ACTIVATED"}[on]
	}
	if value, given := fields["state"]; given {
		state, _ := value.(string)
		if !slices.Contains(states, state) {
			return invalid("state must be one of %s", strings.Join(states, ", "))
		}
		next["state"] = state
	}
	next["suspended"] = next["state"] == "SUSPENDED"
	if locked, given := fields["account_locked"].(bool); given {
		lock(next, locked, stamp(s.now()))
	}
	if err := s.checkNames(u, next); err != nil {
		return err
	}
	u.doc = next
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
		if text, ok = value.(string); ok && len(text) > 1024 {
			return invalid("%s is longer than 1024", name)
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
	for _, other := range s.users {
		if other == u {
			continue
		}
		if strings.EqualFold(other.text("username"), username) {
			return invalid("username %s is in use", username)
		}
		if strings.EqualFold(other.text("email"), email) {
			return invalid("email %s is in use", email)
		}
	}
	return nil
}
