package plan

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// World is all that is known about both sides of one domain.
type World struct {
	Settings
	Now  time.Time
	Tree // AD
	// Complete: Tree comes from a complete read. Otherwise nobody is taken for
	// deleted (rule I8).
	Complete   bool
	Links      map[identity.GUID]identity.Link
	GroupLinks map[identity.GUID]identity.GroupLink
	// Cloud is JumpCloud's side.
	Cloud Cloud
	// Rules are the translation rules of the domain's AD object.
	Rules []identity.TranslationRule
}

// Cloud is JumpCloud's users and groups, by their ids, and which of them are
// bound to the domain's AD object, directly.
type Cloud struct {
	Users       map[string]*identity.User
	Groups      map[string]identity.Group // with the members of those that are linked or bound
	BoundUsers  map[string]bool
	BoundGroups map[string]bool
	// Complete: all four are from complete reads. [Sync] needs it, because what
	// is not there was deleted.
	Complete bool
}

// Result is the verdict about one account or group. Of direction import GUID
// is the key: an AD account or group. Of direction sync CloudID is: a JumpCloud
// user or group; GUID is zero until it has an AD object.
type Result struct {
	Direction identity.Direction
	GUID      identity.GUID
	CloudID   string
	Name      string
	Verdict
}

// Plan is what would be done, in the order it would be done in.
type Plan struct {
	// Results are those with an action, a reason to skip, a note, or something
	// to remember.
	Results []Result
	Notes   []string // about the domain as a whole
}

// Actions are those of all results.
func (p *Plan) Actions() []Action {
	n := 0
	for i := range p.Results {
		n += len(p.Results[i].Actions)
	}
	all := make([]Action, 0, n)
	for i := range p.Results {
		all = append(all, p.Results[i].Actions...)
	}
	return all
}

// ErrIncomplete: the plan could take people for deleted that were not read.
var ErrIncomplete = errors.New("not everything was read: nothing can be planned")

// Import plans everything that makes JumpCloud what AD asks for: first what
// ends, which frees names; then users by name, then managers, which may be
// users made just now; then groups. w stays as it is.
func Import(w World) (Plan, error) {
	if err := w.complete(identity.Import); err != nil {
		return Plan{}, err
	}
	p := newPlanner(w)
	p.importAll()
	return p.plan, nil
}

func (p *planner) importAll() {
	p.direction = identity.Import
	var ending []*account
	others := make([]*account, 0, len(p.accounts))
	linked := 0
	for _, a := range p.accounts {
		if a.link != nil {
			linked++
		}
		switch in := a.user != nil && p.out(a) == ""; {
		case a.link != nil && !in:
			ending = append(ending, a)
		case a.user != nil:
			others = append(others, a)
		}
	}
	if without := len(others) - linked; without > 0 { // of each of them something is said
		p.plan.Results = slices.Grow(p.plan.Results, without)
	}
	p.users(ending)
	p.users(others)
	p.managers(others)
	p.groups()
}

// planner carries out in mind what it plans, so that later steps see it.
type planner struct {
	World       // but for users and links, which are in accounts and people
	scope       groupScope
	rules       *Rules
	direction   identity.Direction
	accounts    map[identity.GUID]*account
	people      map[string]*person  // by JumpCloud id
	byName      map[string]*holders // by folded names and mail addresses that accounts in scope ask for
	byGroup     map[string]string   // JumpCloud group id by name
	groupOf     map[string]identity.GUID
	memberships map[identity.GUID]*membership
	round       int
	plan        Plan

	newAccounts pool[account]
	newPeople   pool[person]
	newHolders  pool[holders]
	newUsers    pool[identity.User]
	links       pool[identity.Link]
}

// newPlanner makes the indexes. Its maps are made as large as they become: to let
// them grow took an eighth of a first plan's time. See BENCHMARKS.md.
func newPlanner(w World) *planner {
	p := &planner{World: w, rules: NewRules(w.Rules), byGroup: make(map[string]string, len(w.Cloud.Groups)),
		groupOf: make(map[string]identity.GUID, len(w.GroupLinks)), memberships: make(map[identity.GUID]*membership, len(w.Groups))}
	p.gather(&w)
	p.Users, p.Links = nil, nil
	p.GroupLinks = cloneFor(w.GroupLinks)
	p.Cloud = Cloud{Groups: cloneFor(w.Cloud.Groups), BoundGroups: cloneFor(w.Cloud.BoundGroups), Complete: w.Cloud.Complete}
	p.takeScope()
	p.takeWanted()
	if p.Use.Syncs() {
		p.byGroups(func(of *person) { of.viaGroup = true })
	}
	for id, g := range p.Cloud.Groups {
		p.byGroup[g.Name] = id
	}
	for guid, l := range p.GroupLinks {
		p.groupOf[l.GroupID] = guid
	}
	return p
}

// takeScope follows the memberships of the scope group, and leaves out what
// sync paired of the accounts: see account.paired.
func (p *planner) takeScope() {
	users, groups := p.below(p.ScopeGroup)
	for _, a := range users {
		a.member = true
	}
	p.scope = newGroupScope(&p.Tree, groups)
	for guid, link := range p.GroupLinks {
		if link.BySync {
			p.scope.paired[guid] = true
		}
	}
}

// out says why an account is not in scope; empty: it is.
func (p *planner) out(a *account) string {
	return outOfScope(a.user, p.scope.all || a.member || a.paired)
}

// takeWanted finds out what the accounts in scope want to be called, and who at
// JumpCloud is.
func (p *planner) takeWanted() {
	if !p.Use.Imports() {
		return
	}
	p.byName = make(map[string]*holders, 2*len(p.accounts))
	for _, a := range p.accounts {
		if a.user == nil || p.out(a) != "" {
			continue
		}
		if name, mail, ok := p.names(a.user); ok {
			a.name, a.mail = p.holdersOf(name), p.holdersOf(mail)
			a.name.asking.add(a)
			a.mail.asking.add(a)
		}
	}
	for _, of := range p.people {
		if of.user != nil {
			p.index(of)
		}
	}
}

// names gives the folded username and mail address that an account in scope
// asks for; not ok: it gets no user.
func (p *planner) names(u *identity.User) (name, mail string, ok bool) {
	if u.Computer || u.Privileged || p.service(u) || p.unusable(u) != "" {
		return "", "", false
	}
	return fold(Username(p.Mapping, u)), fold(joinMail(u)), true
}

// users plans accounts by name.
func (p *planner) users(all []*account) {
	sortByName(all, (*account).called, compareAccount)
	for _, a := range all {
		p.user(a)
	}
}

// called is what people know an account by.
func (a *account) called() string {
	switch {
	case a.user != nil:
		return a.user.Username
	case a.link != nil:
		return a.link.Username
	}
	return ""
}

func (p *planner) user(a *account) {
	v := User(p.userCase(a))
	p.record(a.guid, a.called(), v)
}

// record does a verdict in mind, and keeps it.
func (p *planner) record(guid identity.GUID, name string, v Verdict) {
	members := false
	for i := range v.Actions {
		a := &v.Actions[i]
		a.Direction = p.direction
		if a.Kind == AddMember || a.Kind == RemoveMember {
			members = true
			continue
		}
		p.carryOut(a)
		p.mark(a)
	}
	if members {
		p.carryOutMembers(v.Actions)
	}
	p.keep(Result{Direction: p.direction, GUID: guid, Name: name, Verdict: v})
}

func (p *planner) keep(r Result) {
	if len(r.Actions) > 0 || r.Skip != "" || r.Note != "" || r.Agreed != nil || len(r.Won) > 0 {
		p.plan.Results = append(p.plan.Results, r)
	}
}

// userCase gathers what [User] needs.
func (p *planner) userCase(a *account) UserCase {
	c := UserCase{Settings: p.Settings, Rules: p.rules, Now: p.Now, Link: p.linkOf(a), AD: a.user}
	if c.Link != nil && a.cloud.user != nil {
		c.Cloud, c.Bound = a.cloud.user, a.cloud.bound || a.cloud.viaGroup && released(c.Link)
	}
	if a.user == nil {
		return c
	}
	c.Out, c.Admin = p.out(a), p.scope.admins[a.guid]
	c.ManagerID = p.managerID(a.user)
	if c.Out != "" || a.name == nil {
		return c
	}
	if c.Link == nil {
		c.Rival = p.rival(a)
	}
	c.Holders = p.holders(a)
	return c
}

// rival names another account in scope that asks for the same username or
// mail address. Neither of two new ones gets a user: which of them is meant
// only a person can tell.
func (p *planner) rival(a *account) string {
	for i, asked := range []*holders{a.name, a.mail} {
		others := asked.asking.others(nil, a)
		if len(others) == 0 {
			continue
		}
		name, mail, _ := p.names(a.user)
		what, value := "username", name
		if i > 0 {
			what, value = "mail address", mail
		}
		return fmt.Sprintf("%s %q is that of %s too: change one of them", what, value, slices.MinFunc(others, compareAccount).user.DN)
	}
	return ""
}

// holders are the JumpCloud users with the name or the address, other than
// the account's own.
func (p *planner) holders(a *account) (list []Holder) {
	others := a.mail.mailed.others(a.name.users.others(nil, a.cloud), a.cloud)
	slices.SortFunc(others, comparePerson)
	for _, of := range slices.Compact(others) {
		h := Holder{User: *of.user, Bound: of.bound}
		if other := of.account; other != nil {
			h.Link = p.linkOf(other)
			if other.name != nil {
				h.Username, h.Mail, _ = p.names(other.user)
			}
		}
		list = append(list, h)
	}
	return list
}

// managerID is the JumpCloud user of an account's manager, if there is one.
// JumpCloud lets nobody be their own manager.
func (p *planner) managerID(u *identity.User) string {
	if u.Manager.GUID.IsZero() || u.Manager.GUID == u.GUID {
		return ""
	}
	if a := p.accounts[u.Manager.GUID]; a != nil && a.cloud != nil && a.cloud.user != nil {
		return a.cloud.id
	}
	return ""
}

// managers looks again at who has a manager: it may have become a user.
func (p *planner) managers(all []*account) {
	for _, a := range all {
		id := p.managerID(a.user)
		if id == "" {
			continue
		}
		if a.cloud != nil && a.cloud.user != nil && a.cloud.user.Manager.ID != id {
			p.user(a)
		}
	}
}
