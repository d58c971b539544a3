package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	var all []Action
	for _, r := range p.Results {
		all = append(all, r.Actions...)
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
	var ending, others []identity.GUID
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
	wanted         map[string][]identity.GUID // accounts in scope by folded username, and by mail
	byName, byMail map[string][]string        // JumpCloud ids
	byGroup        map[string]string          // JumpCloud group id by name
	groupOf        map[string]identity.GUID   // AD group by JumpCloud group id
	linkOf         map[string]identity.GUID   // AD account by JumpCloud id
	viaGroup       map[string]bool            // users who are bound by a group
	plan           Plan
}

func newPlanner(w World) *planner {
	p := &planner{World: w, scope: w.Scope(), rules: NewRules(w.Rules), wanted: make(map[string][]identity.GUID),
		byName: make(map[string][]string), byMail: make(map[string][]string), byGroup: make(map[string]string),
		groupOf: make(map[string]identity.GUID), linkOf: make(map[string]identity.GUID)}
	p.Links, p.GroupLinks = maps.Clone(w.Links), maps.Clone(w.GroupLinks)
	p.Cloud = Cloud{maps.Clone(w.Cloud.Users), maps.Clone(w.Cloud.Groups), maps.Clone(w.Cloud.BoundUsers), maps.Clone(w.Cloud.BoundGroups), w.Cloud.Complete}
	p.makeMaps()
	for guid, u := range p.Users {
		if name, mail, ok := p.asks(u); ok {
			p.wanted[name] = append(p.wanted[name], guid)
			p.wanted[mail] = append(p.wanted[mail], guid)
		}
	}
	for id, u := range p.Cloud.Users {
		p.index(id, u)
	}
	for id, g := range p.Cloud.Groups {
		p.byGroup[g.Name] = id
	}
	for guid, l := range p.Links {
		p.linkOf[l.JumpCloudID] = guid
	}
	for guid, l := range p.GroupLinks {
		p.groupOf[l.GroupID] = guid
	}
	if p.Use == identity.UseTwoWay {
		p.viaGroup = p.byGroups()
	}
	return p
}

// makeMaps: a clone of nil is nil.
func (p *planner) makeMaps() {
	if p.Links == nil {
		p.Links = make(map[identity.GUID]identity.Link)
	}
	if p.GroupLinks == nil {
		p.GroupLinks = make(map[identity.GUID]identity.GroupLink)
	}
	if p.Cloud.Users == nil {
		p.Cloud.Users = make(map[string]*identity.User)
	}
	if p.Cloud.Groups == nil {
		p.Cloud.Groups = make(map[string]identity.Group)
	}
	if p.Cloud.BoundUsers == nil {
		p.Cloud.BoundUsers = make(map[string]bool)
	}
	if p.Cloud.BoundGroups == nil {
		p.Cloud.BoundGroups = make(map[string]bool)
	}
}

// asks gives the folded username and mail address that an account asks for;
// not ok: it gets no user.
func (p *planner) asks(u *identity.User) (name, mail string, ok bool) {
	if u.Computer || u.Privileged || p.service(u) || p.scope.User(u) != "" {
		return "", "", false
	}
	c := UserCase{Settings: p.Settings, AD: u}
	want, unusable := c.want()
	return fold(want.Username), fold(want.Mail), unusable == ""
}

func (p *planner) index(id string, u *identity.User) {
	name, mail := fold(u.Username), fold(u.Mail)
	p.byName[name] = append(p.byName[name], id)
	p.byMail[mail] = append(p.byMail[mail], id)
}

func (p *planner) unindex(id string, u *identity.User) {
	is := func(other string) bool { return other == id }
	name, mail := fold(u.Username), fold(u.Mail)
	p.byName[name] = slices.DeleteFunc(p.byName[name], is)
	p.byMail[mail] = slices.DeleteFunc(p.byMail[mail], is)
}

// users plans accounts by name, so that a plan reads well and two plans of
// the same world are equal.
func (p *planner) users(guids []identity.GUID) {
	p.sort(guids)
	for _, guid := range guids {
		p.user(guid)
	}
}

func (p *planner) sort(guids []identity.GUID) {
	slices.SortFunc(guids, func(a, b identity.GUID) int {
		return cmp.Or(strings.Compare(p.name(a), p.name(b)), compareGUID(a, b))
	})
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
	if link, ok := p.Links[guid]; ok {
		c.Link = &link
		if cloud, ok := p.Cloud.Users[link.JumpCloudID]; ok {
			c.Cloud, c.Bound = cloud, p.Cloud.BoundUsers[link.JumpCloudID] || released(&link) && p.viaGroup[link.JumpCloudID]
		}
	}
	u, ok := p.Users[guid]
	if !ok {
		return c
	}
	c.AD, c.Out, c.Admin = u, p.scope.User(u), p.scope.Admin(guid)
	c.ManagerID = p.managerID(u)
	name, mail, asks := p.asks(u)
	if !asks {
		return c
	}
	if c.Link == nil {
		c.Rival = p.rival(guid, name, mail)
	}
	c.Holders = p.holders(guid, name, mail)
	return c
}

// rival names another account in scope that asks for the same username or
// mail address. Neither of two new ones gets a user: which of them is meant
// only a person can tell.
func (p *planner) rival(guid identity.GUID, name, mail string) string {
	for _, asked := range []struct{ what, value string }{{"username", name}, {"mail address", mail}} {
		for _, other := range p.wanted[asked.value] {
			if other != guid {
				return fmt.Sprintf("%s %q is that of %s too: change one of them", asked.what, asked.value, p.Users[other].DN)
			}
		}
	}
	return ""
}

// holders are the JumpCloud users with the name or the address, other than
// the account's own.
func (p *planner) holders(guid identity.GUID, name, mail string) (holders []Holder) {
	own := p.Links[guid].JumpCloudID
	ids := slices.Concat(p.byName[name], p.byMail[mail])
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if id == own {
			continue
		}
		h := Holder{User: *p.Cloud.Users[id], Bound: p.Cloud.BoundUsers[id]}
		if other, ok := p.linkOf[id]; ok {
			link := p.Links[other]
			h.Link = &link
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
	slices.SortFunc(guids, func(a, b identity.GUID) int {
		return cmp.Or(strings.Compare(p.Groups[a].Name, p.Groups[b].Name), compareGUID(a, b))
	})
	managed := make(map[string]bool, len(p.Links))
	for _, link := range p.Links {
		managed[link.JumpCloudID] = true
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
	for _, member := range p.scope.Members(guid) {
		if link, ok := p.Links[member]; ok {
			c.Want = append(c.Want, link.JumpCloudID)
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
	for guid := range users {
		names[fold(Username(p.Mapping, p.Users[guid]))] = true
	}
	same := make(map[string]bool)
	for _, id := range lone {
		same[id] = names[fold(p.Cloud.Users[id].Username)]
	}
	return same
}
