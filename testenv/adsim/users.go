package adsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/dirgate/dirgate/store/secret"
)

// BaseDN is the head of the domain.
func (d *Directory) BaseDN() string { return d.base }

// Domain is the domain's DNS name.
func (d *Directory) Domain() string { return d.domain }

// NetBIOS is the domain's short name.
func (d *Directory) NetBIOS() string { return d.netbios }

// AdminDN is the administrator.
func (d *Directory) AdminDN() string { return "CN=Administrator,CN=Users," + d.base }

// A State is what keeps an account from binding.
type State int

// States.
const (
	Enabled State = iota
	Disabled
	MustChange // the password must be changed first
	Locked     // after too many wrong passwords
	Expired    // the password is
)

// A User is an account to add. The password is copied; without one the account
// is disabled.
type User struct {
	Name       string // sAMAccountName and, without a display name, cn
	Password   secret.Bytes
	GivenName  string
	Surname    string
	Mail       string // Name@domain if empty
	Container  string // DN; OU=People if empty
	Groups     []string
	State      State
	Attributes []Attribute // further ones
}

// An Account is what tests and the first five minutes need to know of a user.
type Account struct{ DN, Name, UPN string }

// AddUser adds a user past all rules, and returns the DN.
func (d *Directory) AddUser(u User) (dn string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	container := u.Container
	if container == "" {
		container = "OU=People," + d.base
	}
	n, ok := parseName("CN=" + escapeDN(u.Name) + "," + container)
	if !ok || d.byKey[n.parent] == nil {
		return "", fmt.Errorf("add user %s: there is no container %q", u.Name, container)
	}
	if d.byKey[n.key] != nil || d.find("sAMAccountName", u.Name) != nil {
		return "", fmt.Errorf("add user %s: the name is taken", u.Name)
	}
	var groups []*entry
	for _, name := range u.Groups {
		g := d.find("sAMAccountName", name)
		if g == nil || !g.is("group") {
			return "", fmt.Errorf("add user %s: there is no group %q", u.Name, name)
		}
		groups = append(groups, g)
	}
	e := d.createAccount("CN="+escapeDN(u.Name)+","+d.byKey[n.parent].dn, "user", u.Name, 0)
	e.set("userPrincipalName", u.Name+"@"+d.domain)
	e.setNum("userAccountControl", uacNormal)
	if u.Mail == "" {
		u.Mail = u.Name + "@" + d.domain
	}
	for _, a := range append([]Attribute{{"givenName", []string{u.GivenName}}, {"sn", []string{u.Surname}}, {"mail", []string{u.Mail}}}, u.Attributes...) {
		if at, ok := d.schema.lookup(a.Name); ok && !slices.Contains(a.Values, "") {
			e.set(at.name, a.Values...)
		}
	}
	if u.Password.IsEmpty() {
		u.State = Disabled
	} else {
		d.setPassword(e, u.Password.Expose())
	}
	d.setState(e, u.State)
	for _, g := range groups {
		g.set("member", append(slices.Clone(g.get("member")), e.dn)...)
		d.touch(g)
	}
	d.touch(e)
	return e.dn, nil
}

// SetState puts an account into a state, which a client cannot do for all of
// them.
func (d *Directory) SetState(dn string, s State) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, refusal := d.resolve(dn)
	if refusal != nil {
		return fmt.Errorf("set the state of %s: %w", dn, refusal)
	}
	d.setState(e, s)
	d.touch(e)
	return nil
}

// AgePassword makes the password of an account as old as 2012, without another
// effect on it.
func (d *Directory) AgePassword(dn string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, refusal := d.resolve(dn)
	if refusal != nil {
		return fmt.Errorf("age the password of %s: %w", dn, refusal)
	}
	age(e)
	d.touch(e)
	return nil
}

func age(e *entry) {
	e.setNum("pwdLastSet", filetime(time.Date(2012, 1, 1, 0, 0, 0, 0, time.UTC)))
}

func (d *Directory) setState(e *entry, s State) {
	uac := e.num("userAccountControl") &^ uacDisabled
	e.set("lockoutTime")
	switch s {
	case Disabled:
		uac |= uacDisabled
	case MustChange:
		e.setNum("pwdLastSet", 0)
	case Locked:
		e.setNum("lockoutTime", filetime(d.now()))
	case Expired:
		age(e)
	}
	e.setNum("userAccountControl", uac)
}

// AddGroup adds a global security group under OU=Groups, and returns its DN.
func (d *Directory) AddGroup(name string, members ...string) (dn string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dn = "CN=" + escapeDN(name) + ",OU=Groups," + d.base
	n, ok := parseName(dn)
	if !ok || d.byKey[n.key] != nil || d.find("sAMAccountName", name) != nil {
		return "", fmt.Errorf("add group %s: the name is taken, or none", name)
	}
	var dns []string
	for _, m := range members {
		e, refusal := d.resolve(m)
		if refusal != nil {
			return "", fmt.Errorf("add group %s: member %s: %w", name, m, refusal)
		}
		dns = append(dns, e.dn)
	}
	g := d.createAccount(dn, "group", name, 0)
	g.set("member", dns...)
	d.touch(g)
	return g.dn, nil
}

// Users lists the accounts of people, oldest first.
func (d *Directory) Users() []Account {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Account
	for _, e := range d.ordered {
		if e.is("user") && !e.is("computer") && !e.deleted {
			out = append(out, Account{e.dn, e.first("sAMAccountName"), e.first("userPrincipalName")})
		}
	}
	return out
}

// ScopeGroup is the group of those that Populate wants to be replicated.
const ScopeGroup = "JumpCloud"

// Populate adds the content for the first five minutes: six people, of whom
// four cannot bind for different reasons, in a scope group.
func Populate(d *Directory, password secret.Bytes) ([]Account, error) {
	people := []User{
		{Name: "alice", GivenName: "Alice", Surname: "Archer"},
		{Name: "bob", GivenName: "Bob", Surname: "Baker"},
		{Name: "carol", GivenName: "Carol", Surname: "Cooper", State: Disabled},
		{Name: "dave", GivenName: "Dave", Surname: "Dyer", State: MustChange},
		{Name: "erin", GivenName: "Erin", Surname: "Eskew", State: Locked},
		{Name: "frank", GivenName: "Frank", Surname: "Fisher", State: Expired},
	}
	if _, err := d.AddGroup(ScopeGroup); err != nil {
		return nil, fmt.Errorf("populate: %w", err)
	}
	var accounts []Account
	for _, u := range people {
		u.Password, u.Groups = password, []string{ScopeGroup}
		u.Attributes = []Attribute{{"displayName", []string{u.GivenName + " " + u.Surname}}}
		dn, err := d.AddUser(u)
		if err != nil {
			return nil, fmt.Errorf("populate: %w", err)
		}
		accounts = append(accounts, Account{dn, u.Name, u.Name + "@" + d.domain})
	}
	return accounts, nil
}
