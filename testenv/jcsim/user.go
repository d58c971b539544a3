package jcsim

import (
	"cmp"
	"fmt"
	"maps"
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
	fields["state"] = cmp.Or(u.State, activated)
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
	s.userEvent(by{}, "user_create", made, nil)
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

// UserByName gives the user of that name, whatever its case.
func (s *Server) UserByName(name string) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.byName[strings.ToLower(name)]; u != nil {
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

func (s *Server) find(id string) *user { return s.byID[id] }

// remove takes a user out of everything. Callers hold mu.
func (s *Server) remove(u *user) {
	for _, pw := range u.passwords {
		pw.Wipe()
	}
	s.users = slices.DeleteFunc(s.users, func(other *user) bool { return other == u })
	delete(s.byID, u.id())
	delete(s.byName, strings.ToLower(u.text("username")))
	delete(s.byEmail, strings.ToLower(u.text("email")))
	for _, g := range s.groups {
		g.members.remove(u.id())
	}
	for _, d := range s.directories {
		d.users.remove(u.id())
	}
}

// index keeps the users findable after one was made or renamed.
func (s *Server) index(u *user, oldName, oldEmail string) {
	delete(s.byName, strings.ToLower(oldName))
	delete(s.byEmail, strings.ToLower(oldEmail))
	s.byID[u.id()] = u
	s.byName[strings.ToLower(u.text("username"))] = u
	s.byEmail[strings.ToLower(u.text("email"))] = u
}
