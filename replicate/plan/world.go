package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
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
	var ending []identity.GUID
	others := make([]identity.GUID, 0, len(p.Users))
	for guid := range p.Links {
		if u, ok := p.Users[guid]; !ok || p.scope.User(u) != "" {
			ending = append(ending, guid)
		}
	}
	for guid, u := range p.Users {
		if _, linked := p.Links[guid]; !linked || p.scope.User(u) == "" {
			others = append(others, guid)
		}
	}
	if without := len(others) - len(p.Links); without > 0 { // of each of them something is said
		p.plan.Results = slices.Grow(p.plan.Results, without)
	}
	p.users(ending)
	p.users(others)
	p.managers(others)
	p.groups()
}

// planner carries out in mind what it plans, so that later steps see it.
type planner struct {
	World
	scope          *Scope
	rules          *Rules
	direction      identity.Direction
	wanted         index[identity.GUID]     // accounts in scope by folded username, and by mail
	byName, byMail index[string]            // JumpCloud ids
	byGroup        map[string]string        // JumpCloud group id by name
	groupOf        map[string]identity.GUID // AD group by JumpCloud group id
	linkOf         map[string]identity.GUID // AD account by JumpCloud id
	viaGroup       map[string]bool          // users who are bound by a group
	pairs          int                      // how many users there may be on both sides
	plan           Plan
}

// newPlanner makes the indexes, which is about a third of what a plan costs that
// finds nothing to do. Its maps are made as large as they become: to let them
// grow took an eighth of a first plan's time. See BENCHMARKS.md.
func newPlanner(w World) *planner {
	p := &planner{World: w, scope: w.Scope(), rules: NewRules(w.Rules), byGroup: make(map[string]string, len(w.Cloud.Groups)),
		groupOf: make(map[string]identity.GUID, len(w.GroupLinks))}
	p.takeWanted()
	if p.Use.Syncs() {
		p.viaGroup = p.byGroups()
		p.pairs = max(p.pairs, min(len(p.viaGroup)+len(w.Cloud.BoundUsers), len(w.Cloud.Users)))
	}
	p.Links, p.GroupLinks = cloneFor(w.Links, p.pairs), cloneFor(w.GroupLinks, 0)
	p.Cloud = Cloud{cloneFor(w.Cloud.Users, p.pairs), cloneFor(w.Cloud.Groups, 0), cloneFor(w.Cloud.BoundUsers, p.pairs), cloneFor(w.Cloud.BoundGroups, 0), w.Cloud.Complete}
	known := max(p.pairs, len(p.Cloud.Users))
	p.byName, p.byMail = newIndex[string](known), newIndex[string](known)
	for id, u := range p.Cloud.Users {
		p.index(id, u)
	}
	for id, g := range p.Cloud.Groups {
		p.byGroup[g.Name] = id
	}
	p.linkOf = make(map[string]identity.GUID, max(p.pairs, len(p.Links)))
	for guid, l := range p.Links {
		p.linkOf[l.JumpCloudID] = guid
	}
	for guid, l := range p.GroupLinks {
		p.groupOf[l.GroupID] = guid
	}
	return p
}

// takeWanted finds out what the accounts in scope want to be called.
func (p *planner) takeWanted() {
	p.wanted = newIndex[identity.GUID](0)
	if !p.Use.Imports() {
		return
	}
	p.wanted = newIndex[identity.GUID](2 * len(p.Users))
	for guid, u := range p.Users {
		if name, mail, ok := p.asks(u); ok {
			p.wanted.add(name, guid)
			p.wanted.add(mail, guid)
			p.pairs++
		}
	}
}

// asks gives the folded username and mail address that an account asks for;
// not ok: it gets no user.
func (p *planner) asks(u *identity.User) (name, mail string, ok bool) {
	if p.scope.User(u) != "" {
		return "", "", false
	}
	return p.names(u)
}

// names is asks of an account in scope.
func (p *planner) names(u *identity.User) (name, mail string, ok bool) {
	if u.Computer || u.Privileged || p.service(u) || p.unusable(u) != "" {
		return "", "", false
	}
	return fold(Username(p.Mapping, u)), fold(u.JoinMail()), true
}

func (p *planner) index(id string, u *identity.User) {
	p.byName.add(fold(u.Username), id)
	p.byMail.add(fold(u.Mail), id)
}

func (p *planner) unindex(id string, u *identity.User) {
	p.byName.remove(fold(u.Username), id)
	p.byMail.remove(fold(u.Mail), id)
}

// users plans accounts by name.
func (p *planner) users(guids []identity.GUID) {
	sortByName(guids, p.name, compareGUID)
	for _, guid := range guids {
		p.user(guid)
	}
}

// name is what people know an account by.
func (p *planner) name(guid identity.GUID) string {
	if u, ok := p.Users[guid]; ok {
		return u.Username
	}
	return p.Links[guid].Username
}

func (p *planner) user(guid identity.GUID) {
	v := User(p.userCase(guid))
	p.record(guid, p.name(guid), v)
}

func (p *planner) record(guid identity.GUID, name string, v Verdict) {
	for i := range v.Actions {
		v.Actions[i].Direction = p.direction
		p.carryOut(v.Actions[i])
		p.mark(v.Actions[i])
	}
	p.carryOutMembers(v.Actions)
	p.keep(Result{Direction: p.direction, GUID: guid, Name: name, Verdict: v})
}

func (p *planner) keep(r Result) {
	if len(r.Actions) > 0 || r.Skip != "" || r.Note != "" || r.Agreed != nil || len(r.Won) > 0 {
		p.plan.Results = append(p.plan.Results, r)
	}
}

// userCase gathers what [User] needs.
func (p *planner) userCase(guid identity.GUID) UserCase {
	c := UserCase{Settings: p.Settings, Rules: p.rules, Now: p.Now}
	if link, ok := p.linked(guid); ok {
		c.Link = link
		if cloud, ok := p.Cloud.Users[link.JumpCloudID]; ok {
			c.Cloud, c.Bound = cloud, p.Cloud.BoundUsers[link.JumpCloudID] || released(link) && p.viaGroup[link.JumpCloudID]
		}
	}
	u, ok := p.Users[guid]
	if !ok {
		return c
	}
	c.AD, c.Out, c.Admin = u, p.scope.User(u), p.scope.Admin(guid)
	c.ManagerID = p.managerID(u)
	if c.Out != "" {
		return c
	}
	name, mail, ok := p.names(u)
	if !ok {
		return c
	}
	if c.Link == nil {
		c.Rival = p.rival(guid, name, mail)
	}
	c.Holders = p.holders(guid, name, mail)
	return c
}

// linked copies the link of an account, if it has one.
func (p *planner) linked(guid identity.GUID) (*identity.Link, bool) {
	link, ok := p.Links[guid]
	if !ok {
		return nil, false
	}
	return new(link), true
}

// rival names another account in scope that asks for the same username or
// mail address. Neither of two new ones gets a user: which of them is meant
// only a person can tell.
func (p *planner) rival(guid identity.GUID, name, mail string) string {
	for _, asked := range []struct{ what, value string }{{"username", name}, {"mail address", mail}} {
		if others := p.wanted.others(nil, asked.value, guid); len(others) > 0 {
			first := p.Users[slices.MinFunc(others, compareGUID)]
			return fmt.Sprintf("%s %q is that of %s too: change one of them", asked.what, asked.value, first.DN)
		}
	}
	return ""
}

// holders are the JumpCloud users with the name or the address, other than
// the account's own.
func (p *planner) holders(guid identity.GUID, name, mail string) (holders []Holder) {
	own := p.Links[guid].JumpCloudID
	ids := p.byMail.others(p.byName.others(nil, name, own), mail, own)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		h := Holder{User: *p.Cloud.Users[id], Bound: p.Cloud.BoundUsers[id]}
		if other, ok := p.linkOf[id]; ok {
			h.Link, _ = p.linked(other)
			if u, ok := p.Users[other]; ok {
				h.Username, h.Mail, _ = p.asks(u)
			}
		}
		holders = append(holders, h)
	}
	return holders
}

// managerID is the JumpCloud user of an account's manager, if there is one.
// JumpCloud lets nobody be their own manager.
func (p *planner) managerID(u *identity.User) string {
	if u.Manager.GUID.IsZero() {
		return ""
	}
	id := p.Links[u.Manager.GUID].JumpCloudID
	if _, there := p.Cloud.Users[id]; !there || u.Manager.GUID == u.GUID {
		return ""
	}
	return id
}

// managers looks again at who has a manager: it may have become a user.
func (p *planner) managers(guids []identity.GUID) {
	for _, guid := range guids {
		id := p.managerID(p.Users[guid])
		if id == "" {
			continue
		}
		if u, ok := p.Cloud.Users[p.Links[guid].JumpCloudID]; ok && u.Manager.ID != id {
			p.user(guid)
		}
	}
}

func (p *planner) groups() {
	guids := slices.Collect(maps.Keys(p.Groups))
	for guid := range p.GroupLinks {
		if _, ok := p.Groups[guid]; !ok {
			guids = append(guids, guid)
		}
	}
	sortByName(guids, func(guid identity.GUID) string { return p.Groups[guid].Name }, compareGUID)
	var managed map[string]bool
	if p.Use == identity.UseAD { // else nobody asks
		managed = make(map[string]bool, len(p.Links))
		for _, link := range p.Links {
			managed[link.JumpCloudID] = true
		}
	}
	for _, guid := range guids {
		_, linked := p.GroupLinks[guid]
		if g := p.Groups[guid]; !linked && !p.scope.groups[guid] && g.GUID == guid {
			continue // nobody expects it at JumpCloud
		}
		name := cmp.Or(p.Groups[guid].Name, p.GroupLinks[guid].Name)
		p.record(guid, name, Group(p.groupCase(guid, managed)))
	}
}

// groupCase gathers what [Group] needs.
func (p *planner) groupCase(guid identity.GUID, managed map[string]bool) GroupCase {
	c := GroupCase{Settings: p.Settings, Managed: managed}
	if link, ok := p.GroupLinks[guid]; ok {
		c.Link = &link
		if cloud, ok := p.Cloud.Groups[link.GroupID]; ok {
			c.Cloud, c.Bound = &cloud, p.Cloud.BoundGroups[link.GroupID]
		}
	}
	g, ok := p.Groups[guid]
	if !ok {
		return c
	}
	c.AD, c.Out = &g, p.scope.Group(&g)
	if c.Out != "" {
		return c
	}
	if id, ok := p.byGroup[g.Name]; ok && (c.Link == nil || id != c.Link.GroupID) {
		holder := p.Cloud.Groups[id]
		c.Holder = &holder
		c.HolderBound = p.Cloud.BoundGroups[id]
		_, c.HolderLinked = p.groupOf[id]
	}
	members := p.scope.Members(guid)
	c.Want = make([]string, 0, len(members))
	for _, member := range members {
		link, ok := p.Links[member]
		if !ok {
			continue
		}
		c.Want = append(c.Want, link.JumpCloudID)
		if p.Cloud.Users[link.JumpCloudID] == nil {
			if c.Gone == nil {
				c.Gone = make(map[string]bool)
			}
			c.Gone[link.JumpCloudID] = true
		}
	}
	slices.Sort(c.Want)
	if c.Use == identity.UseTwoWay && c.Link != nil {
		c.Direct, _ = p.members(guid)
		c.Namesakes = p.namesakes(guid, c.Link.Agreed)
	}
	return c
}

// namesakes are those of some JumpCloud users without an AD account of whose
// name there is a member in a group: the two were a pair that was let go.
func (p *planner) namesakes(group identity.GUID, ids []string) map[string]bool {
	var lone []string
	for _, id := range ids {
		if _, linked := p.linkOf[id]; !linked && p.Cloud.Users[id] != nil {
			lone = append(lone, id)
		}
	}
	if len(lone) == 0 {
		return nil
	}
	names := make(map[string]bool)
	users, _ := p.below(group)
	for _, guid := range users {
		names[fold(Username(p.Mapping, p.Users[guid]))] = true
	}
	same := make(map[string]bool)
	for _, id := range lone {
		same[id] = names[fold(p.Cloud.Users[id].Username)]
	}
	return same
}
