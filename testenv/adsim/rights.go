package adsim

import "strings"

// actor is the entry of an identity, if it is still there.
func (d *Directory) actor(id Identity) (*entry, *Refusal) {
	if id.Anonymous() {
		return nil, notBound()
	}
	e := d.byGUID(id.guid)
	if e == nil || e.deleted {
		return nil, notBound()
	}
	return e, nil
}

// memberOf reports membership in a group of CN=Users, direct or nested.
func (d *Directory) memberOf(e *entry, group string) bool {
	for _, g := range d.groupsOf(e) {
		if strings.EqualFold(g.first("sAMAccountName"), group) {
			return true
		}
	}
	return false
}

// groupsOf is the transitive membership of an account, primary group included.
func (d *Directory) groupsOf(e *entry) []*entry {
	var found []*entry
	seen := map[guid]bool{e.guid: true}
	next := []*entry{e}
	for len(next) > 0 {
		m := next[0]
		next = next[1:]
		for _, g := range d.ordered {
			if !seen[g.guid] && g.is("group") && (g.hasMember(m) || m.num("primaryGroupID") == g.rid() && m.num("primaryGroupID") != 0) {
				seen[g.guid] = true
				found = append(found, g)
				next = append(next, g)
			}
		}
	}
	return found
}

func (e *entry) hasMember(m *entry) bool {
	for _, dn := range e.get("member") {
		if dn == m.dn { // values are kept as the member's own DN
			return true
		}
	}
	return false
}

// manages reports whether actor has full control of target: administrators
// always, account operators of unprotected users and groups.
func (d *Directory) manages(actor, target *entry) bool {
	if d.memberOf(actor, "Domain Admins") {
		return true
	}
	account := target.is("user") || target.is("group")
	return account && target.num("adminCount") != 1 && d.memberOf(actor, "Account Operators")
}

// mayCreate reports whether actor may add an entry of a class below parent.
func (d *Directory) mayCreate(actor, parent *entry, c class) bool {
	if d.memberOf(actor, "Domain Admins") {
		return true
	}
	leaf := c.chain[len(c.chain)-1]
	if d.delegated(actor, parent, "CC", leaf) {
		return true
	}
	return (leaf == "user" || leaf == "group") && parent.is("organizationalUnit") && d.memberOf(actor, "Account Operators")
}

// mayWrite reports whether actor may write an attribute of target.
func (d *Directory) mayWrite(actor, target *entry, at attrType) bool {
	return d.manages(actor, target) || d.delegated(actor, target, "WP", at.name) || at.flags&personal != 0 && actor == target
}
