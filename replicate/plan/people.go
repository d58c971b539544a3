package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// account is one of AD, with all that is known of it in a plan. The accounts and
// the people hold one another, so that a plan looks into a map once for each of
// them and not at every step: with 100,000 users nearly every look is a miss of
// the processor's cache, and those were most of what a plan cost.
type account struct {
	guid   identity.GUID
	user   *identity.User // nil: AD does not have it
	member bool           // of the scope group, however deep
	paired bool           // by sync, when the plan began
	link   *identity.Link // nil: none; what created says is missing in it yet
	cloud  *person        // whom link names
	// created made the user, and Link.Agreed is to be made of it. That is put
	// off until somebody asks, which for most of a first import is never.
	created *Action
	// name and mail are what it asks for; nil: it gets no user.
	name, mail *holders
	round      int // of the last [planner.below] that met it
}

// person is a user of JumpCloud.
type person struct {
	id         string
	user       *identity.User // nil: JumpCloud does not have it
	bound      bool           // to the AD object, directly
	viaGroup   bool           // bound by a group, when the plan began
	reached    bool           // bound in either way, when sync began
	account    *account       // which is linked to it
	name, mail *holders       // nil: no account asks for the like
}

// holders are those who have a folded name or mail address.
type holders struct {
	asking        several[account] // accounts in scope
	users, mailed several[person]
}

// several is nearly always one thing: the others are kept apart, since a slice
// for every name costs as much as all the rest.
type several[V any] struct {
	one  *V
	more *[]*V // besides the one
}

func (s *several[V]) add(v *V) {
	switch {
	case s.one == nil:
		s.one = v
	case s.more == nil:
		s.more = &[]*V{v}
	default:
		*s.more = append(*s.more, v)
	}
}

func (s *several[V]) remove(v *V) {
	if s.more == nil {
		if s.one == v {
			s.one = nil
		}
		return
	}
	rest := slices.DeleteFunc(*s.more, func(other *V) bool { return other == v })
	if s.one == v {
		s.one, rest = rest[0], rest[1:]
	}
	if *s.more = rest; len(rest) == 0 {
		s.more = nil
	}
}

// others appends to a list all but one.
func (s *several[V]) others(list []*V, not *V) []*V {
	if s.one != nil && s.one != not {
		list = append(list, s.one)
	}
	if s.more != nil {
		for _, other := range *s.more {
			if other != not {
				list = append(list, other)
			}
		}
	}
	return list
}

// pool makes values many at a time.
type pool[V any] struct{ free []V }

func (p *pool[V]) take() *V {
	if len(p.free) == 0 {
		p.free = make([]V, poolSize)
	}
	v := &p.free[0]
	p.free = p.free[1:]
	return v
}

const poolSize = 64

// sortByName sorts objects by name, and those of one name by their key, so that
// a plan reads well and two plans of the same world are equal. Each name is
// looked up once, and not in every comparison.
func sortByName[V any](all []V, name func(V) string, compare func(a, b V) int) {
	type named struct {
		name string
		of   V
	}
	list := make([]named, len(all))
	for i, v := range all {
		list[i] = named{name(v), v}
	}
	slices.SortFunc(list, func(a, b named) int {
		return cmp.Or(strings.Compare(a.name, b.name), compare(a.of, b.of))
	})
	for i := range list {
		all[i] = list[i].of
	}
}

func compareAccount(a, b *account) int { return compareGUID(a.guid, b.guid) }

func comparePerson(a, b *person) int { return strings.Compare(a.id, b.id) }

// gather puts together who is on both sides.
func (p *planner) gather(w *World) {
	accounts, people := max(len(w.Users), len(w.Links)), max(len(w.Cloud.Users), len(w.Links))
	if p.Use.Syncs() && len(w.Cloud.BoundGroups)+len(w.Cloud.BoundUsers) > 0 {
		accounts = max(accounts, people)
	}
	if p.Use.Imports() {
		people = max(accounts, people)
	}
	p.accounts, p.people = make(map[identity.GUID]*account, accounts), make(map[string]*person, people)
	for guid, u := range w.Users {
		p.account(guid).user = u
	}
	for id, u := range w.Cloud.Users {
		p.person(id).user = u
	}
	for guid, link := range w.Links {
		a, own := p.account(guid), p.links.take()
		*own = link
		a.paired = link.BySync
		a.link, a.cloud = own, p.person(link.JumpCloudID)
		a.cloud.account = a
	}
	for id, bound := range w.Cloud.BoundUsers {
		if of := p.people[id]; of != nil {
			of.bound = bound
		}
	}
}

// account is the one with a GUID, which is made if there is none.
func (p *planner) account(guid identity.GUID) *account {
	a := p.accounts[guid]
	if a == nil {
		a = p.newAccounts.take()
		a.guid = guid
		p.accounts[guid] = a
	}
	return a
}

// person is the one with an id, which is made if there is none.
func (p *planner) person(id string) *person {
	of := p.people[id]
	if of == nil {
		of = p.newPeople.take()
		of.id = id
		p.people[id] = of
	}
	return of
}

// holdersOf are those of a folded name, which are made if there are none.
func (p *planner) holdersOf(name string) *holders {
	h := p.byName[name]
	if h == nil {
		h = p.newHolders.take()
		p.byName[name] = h
	}
	return h
}

// linkOf is an account's link with all that is known of it; nil: none.
func (p *planner) linkOf(a *account) *identity.Link {
	if a.created != nil {
		*a.link = Applied(*a.link, *a.created)
		a.created = nil
	}
	return a.link
}

// link pairs two for good.
func (p *planner) link(a *account, of *person) {
	own := p.links.take()
	*own = identity.Link{Domain: p.Domain, GUID: a.guid, JumpCloudID: of.id, Username: of.user.Username} // it exists: it was found, or made
	a.link, a.created, a.cloud = own, nil, of
	of.account = a
}

func (p *planner) unlink(a *account) {
	if a.cloud != nil {
		a.cloud.account = nil
	}
	a.link, a.created, a.cloud = nil, nil, nil
}

// mark keeps in the link what an action has it remember.
func (p *planner) mark(a *Action) {
	if of := p.accounts[a.GUID]; of != nil && of.link != nil {
		switch a.Kind {
		case CreateUser:
			of.created = a
		case BindUser: // says nothing of what is agreed
			*of.link = Applied(*of.link, *a)
		default:
			link := p.linkOf(of)
			*link = Applied(*link, *a)
		}
		return
	}
	if link, ok := p.GroupLinks[a.GUID]; ok {
		p.GroupLinks[a.GUID] = AppliedGroup(link, *a)
	}
}

// index lets a user be found by its name and address, by accounts that ask for
// the like. Only the import looks.
func (p *planner) index(of *person) {
	if of.name = p.byName[fold(of.user.Username)]; of.name != nil {
		of.name.users.add(of)
	}
	if of.mail = p.byName[fold(of.user.Mail)]; of.mail != nil {
		of.mail.mailed.add(of)
	}
}

func (p *planner) unindex(of *person) {
	if of.name != nil {
		of.name.users.remove(of)
	}
	if of.mail != nil {
		of.mail.mailed.remove(of)
	}
	of.name, of.mail = nil, nil
}

// membership is who is in a group itself.
type membership struct {
	accounts []*account // that AD has
	groups   []identity.GUID
}

// membersOf looks a group's members up once for a plan.
func (p *planner) membersOf(group identity.GUID) *membership {
	if m, ok := p.memberships[group]; ok {
		return m
	}
	list := p.Groups[group].Members
	m := &membership{accounts: make([]*account, 0, len(list))}
	for _, member := range list {
		if _, ok := p.Groups[member]; ok {
			m.groups = append(m.groups, member)
		} else if a := p.accounts[member]; a != nil && a.user != nil {
			m.accounts = append(m.accounts, a)
		}
	}
	p.memberships[group] = m
	return m
}

// below finds the accounts and groups of a group, itself included, in no order.
func (p *planner) below(top identity.GUID) (users []*account, groups map[identity.GUID]bool) {
	groups = make(map[identity.GUID]bool)
	if _, ok := p.Groups[top]; !ok {
		return nil, groups
	}
	p.round++
	groups[top] = true
	for todo := []identity.GUID{top}; len(todo) > 0; {
		last := len(todo) - 1
		m := p.membersOf(todo[last])
		todo = todo[:last]
		users = slices.Grow(users, len(m.accounts))
		for _, a := range m.accounts {
			if a.round != p.round {
				a.round = p.round
				users = append(users, a)
			}
		}
		for _, group := range m.groups {
			if !groups[group] {
				groups[group] = true
				todo = append(todo, group)
			}
		}
	}
	return users, groups
}
