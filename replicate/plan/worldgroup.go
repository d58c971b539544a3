package plan

import (
	"cmp"
	"maps"
	"slices"

	"github.com/dirgate/dirgate/store/identity"
)

// groups plans AD's groups by name, and those that are linked yet.
func (p *planner) groups() {
	guids := slices.Collect(maps.Keys(p.Groups))
	for guid := range p.GroupLinks {
		if _, ok := p.Groups[guid]; !ok {
			guids = append(guids, guid)
		}
	}
	sortByName(guids, func(guid identity.GUID) string { return p.Groups[guid].Name }, compareGUID)
	for _, guid := range guids {
		_, linked := p.GroupLinks[guid]
		if g := p.Groups[guid]; !linked && !p.scope.groups[guid] && g.GUID == guid {
			continue // nobody expects it at JumpCloud
		}
		name := cmp.Or(p.Groups[guid].Name, p.GroupLinks[guid].Name)
		p.record(guid, name, Group(p.groupCase(guid)))
	}
}

// groupCase gathers what [Group] needs.
func (p *planner) groupCase(guid identity.GUID) GroupCase {
	c := GroupCase{Settings: p.Settings}
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
	c.AD, c.Out = &g, p.scope.out(&g, p.scope.paired[guid])
	if c.Out != "" {
		return c
	}
	if id, ok := p.byGroup[g.Name]; ok && (c.Link == nil || id != c.Link.GroupID) {
		holder := p.Cloud.Groups[id]
		c.Holder = &holder
		c.HolderBound = p.Cloud.BoundGroups[id]
		_, c.HolderLinked = p.groupOf[id]
	}
	p.want(guid, &c)
	if c.Use == identity.UseTwoWay && c.Link != nil {
		c.Direct, _ = p.members(guid)
		c.Namesakes = p.namesakes(guid, c.Link.Agreed)
	}
	return c
}

// want finds out who is to be a member.
func (p *planner) want(guid identity.GUID, c *GroupCase) {
	accounts, _ := p.below(guid)
	within := p.scope.groups[guid] // then they are all in scope, but for the container
	c.Want = make([]string, 0, len(accounts))
	for _, a := range accounts {
		if a.link == nil || !a.user.InRoot || !within && p.out(a) != "" {
			continue
		}
		c.Want = append(c.Want, a.cloud.id)
		if a.cloud.user == nil {
			if c.Gone == nil {
				c.Gone = make(map[string]bool)
			}
			c.Gone[a.cloud.id] = true
		}
	}
	slices.Sort(c.Want)
	of := cmp.Or(c.Cloud, c.Holder)
	if c.Use != identity.UseAD || of == nil { // else nobody asks
		return
	}
	for _, id := range of.MemberIDs {
		if _, wanted := slices.BinarySearch(c.Want, id); wanted {
			continue
		}
		if member := p.people[id]; member != nil && member.account != nil {
			if c.Managed == nil {
				c.Managed = make(map[string]bool)
			}
			c.Managed[id] = true
		}
	}
}

// namesakes are those of some JumpCloud users without an AD account of whose
// name there is a member in a group: the two were a pair that was let go.
func (p *planner) namesakes(group identity.GUID, ids []string) map[string]bool {
	var lone []string
	for _, id := range ids {
		if of := p.people[id]; of != nil && of.account == nil && of.user != nil {
			lone = append(lone, id)
		}
	}
	if len(lone) == 0 {
		return nil
	}
	names := make(map[string]bool)
	users, _ := p.below(group)
	for _, a := range users {
		names[fold(Username(p.Mapping, a.user))] = true
	}
	same := make(map[string]bool)
	for _, id := range lone {
		same[id] = names[fold(p.people[id].user.Username)]
	}
	return same
}
