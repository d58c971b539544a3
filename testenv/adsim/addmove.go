package adsim

import (
	"slices"
	"strings"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// Add creates an entry.
func (d *Directory) Add(id Identity, dn string, attrs []Attribute) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if refusal := d.add(id, dn, attrs); refusal != nil {
		return refusal
	}
	return nil
}

func (d *Directory) add(id Identity, dn string, attrs []Attribute) *Refusal {
	actor, refusal := d.actor(id)
	if refusal != nil {
		return refusal
	}
	n, ok := parseName(dn)
	if !ok || n.key == "" {
		return badName()
	}
	if d.byKey[n.key] != nil {
		return exists(0x2071)
	}
	parent := d.byKey[n.parent]
	if parent == nil {
		return noObject(d.bestMatch(n.key))
	}
	c, refusal := d.classOf(attrs)
	if refusal != nil {
		return refusal
	}
	if !d.mayCreate(actor, parent, c) {
		return denied(win32AccessDenied)
	}
	e, refusal := d.draft(n, parent, c, attrs)
	if refusal != nil {
		return refusal
	}
	e.owner = d.ownerOf(actor)
	d.insert(e)
	return nil
}

// classOf finds the most special class of a new entry.
func (d *Directory) classOf(attrs []Attribute) (class, *Refusal) {
	var best class
	for _, a := range attrs {
		if !strings.EqualFold(a.Name, "objectClass") {
			continue
		}
		for _, v := range a.Values {
			c, ok := d.schema.classes[strings.ToLower(v)]
			if !ok {
				if strings.EqualFold(v, "top") || strings.EqualFold(v, "organizationalPerson") || strings.EqualFold(v, "domain") {
					continue
				}
				return class{}, noAttribute("objectClass")
			}
			if len(c.chain) > len(best.chain) {
				best = c
			}
		}
	}
	if best.chain == nil {
		return class{}, updateErr(ldapwire.ResultObjectClassViolation, 0x2014, "6002 (OBJ_CLASS_VIOLATION)")
	}
	return best, nil
}

// draft makes a new entry that is not yet in the directory.
func (d *Directory) draft(n name, parent *entry, c class, attrs []Attribute) (*entry, *Refusal) {
	leaf := c.chain[len(c.chain)-1]
	e := d.blank(n.attr+"="+escapeDN(n.value)+","+parent.dn, leaf)
	if e.is("user") || e.is("group") {
		// An account name of its own making, until a better one comes.
		d.makePrincipal(e, "$"+strings.ToUpper(newGUID().String()[:8]), 0)
	}
	if e.is("user") {
		e.setNum("userAccountControl", uacNormal|uacDisabled|uacNotRequired)
	}
	var password string
	for _, a := range attrs {
		at, ok := d.schema.lookup(a.Name)
		switch {
		case !ok:
			return nil, unknownAttribute()
		case at.name == "objectClass", strings.EqualFold(at.name, n.attr), at.name == "distinguishedName", at.name == "name":
			continue
		case at.name == pwdAttr:
			for _, v := range a.Values {
				password = v
			}
			continue
		case at.flags&(systemOnly|constructed) != 0:
			return nil, constraint(0x209a, at.name)
		}
		values, refusal := d.checkValues(at, a.Values)
		if refusal != nil {
			return nil, refusal
		}
		if at.flags&singleValued != 0 && len(values) > 1 {
			return nil, constraint(0x2081, at.name)
		}
		e.set(at.name, values...)
	}
	if password != "" {
		if refusal := d.firstPassword(e, password); refusal != nil {
			return nil, refusal
		}
	}
	if refusal := d.consistent(nil, e); refusal != nil {
		return nil, refusal
	}
	return e, nil
}

func (d *Directory) firstPassword(e *entry, value string) *Refusal {
	password, ok := decodePassword(value)
	if !ok {
		return unwilling(win32GenFailure)
	}
	if !d.policy().permits(password, e.first("sAMAccountName"), e.first("displayName")) {
		return unwilling(win32PasswordPolicy)
	}
	must := e.first("pwdLastSet") == "0" && e.secret.current != nil
	d.setPassword(e, password)
	if must {
		e.setNum("pwdLastSet", 0)
	}
	return nil
}

// Delete removes a leaf. What is left is a tombstone under CN=Deleted Objects
// (MS-ADTS 3.1.1.5.5.1.1).
func (d *Directory) Delete(id Identity, dn string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if refusal := d.remove(id, dn); refusal != nil {
		return refusal
	}
	return nil
}

func (d *Directory) remove(id Identity, dn string) *Refusal {
	actor, refusal := d.actor(id)
	if refusal != nil {
		return refusal
	}
	e, refusal := d.resolve(dn)
	if refusal != nil {
		return refusal
	}
	switch {
	case e.deleted:
		return noObject("")
	case !d.manages(actor, e):
		return denied(win32AccessDenied)
	case e.key == d.baseKey:
		return unwilling(0x2073)
	case d.hasChildren(e):
		return updateErr(ldapwire.ResultNotAllowedOnNonLeaf, 0x2015, "6003 (CANT_ON_NON_LEAF)")
	}
	d.unlink(e, "")
	d.bury(e)
	return nil
}

func (d *Directory) hasChildren(e *entry) bool {
	return slices.ContainsFunc(d.ordered, func(c *entry) bool { return parentKey(c.key) == e.key })
}

// unlink takes e out of all link attributes, or puts its new DN there.
func (d *Directory) unlink(e *entry, newDN string) {
	for _, other := range d.ordered {
		for _, link := range []string{"member", "manager", "managedBy"} {
			values := other.get(link)
			i := slices.Index(values, e.dn)
			if i < 0 {
				continue
			}
			if newDN != "" { // the same link: the other entry has not changed
				values[i] = newDN
				if was := other.was[strings.ToLower(link)]; i < len(was) {
					was[i] = newDN
				}
				continue
			}
			other.set(link, slices.Delete(slices.Clone(values), i, i+1)...)
			d.touch(other)
		}
	}
}

// bury turns an entry into its tombstone.
func (d *Directory) bury(e *entry) {
	kept := make(map[string]attribute)
	for _, name := range []string{"objectClass", "objectGUID", "objectSid", "sAMAccountName", "userAccountControl", "instanceType", "uSNCreated", "whenCreated"} {
		if a, ok := e.attrs[strings.ToLower(name)]; ok {
			kept[strings.ToLower(name)] = a
		}
	}
	last := ""
	if parent, ok := d.byKey[parentKey(e.key)]; ok {
		last = parent.dn
	}
	rdn, value := rdnAttribute(e), e.first("name")
	delete(d.byKey, e.key)
	e.attrs, e.secret, e.deleted = kept, passwords{}, true
	n := name{attr: rdn, value: value + "\nDEL:" + e.guid.String()}
	bin := "CN=Deleted Objects," + d.base
	parsed, _ := parseName(n.attr + "=" + escapeDN(n.value) + "," + bin)
	n.key = parsed.key
	d.place(e, n, bin)
	e.set("isDeleted", "TRUE")
	e.set("isRecycled", "TRUE")
	if last != "" {
		e.set("lastKnownParent", last)
	}
	d.byKey[e.key] = e
	d.touch(e)
}

// Rename gives an entry a new RDN, and a new parent if there is one
// (RFC 4511 section 4.9). Everything below moves along.
func (d *Directory) Rename(id Identity, dn, newRDN, newSuperior string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if refusal := d.rename(id, dn, newRDN, newSuperior); refusal != nil {
		return refusal
	}
	return nil
}

func (d *Directory) rename(id Identity, dn, newRDN, newSuperior string) *Refusal {
	actor, refusal := d.actor(id)
	if refusal != nil {
		return refusal
	}
	e, refusal := d.resolve(dn)
	if refusal != nil {
		return refusal
	}
	parent := d.byKey[parentKey(e.key)]
	if newSuperior != "" {
		if parent, refusal = d.resolve(newSuperior); refusal != nil {
			return refusal
		}
	}
	n, ok := parseName(newRDN)
	switch {
	case !ok || n.key == "" || n.parent != "":
		return badName()
	case !strings.EqualFold(n.attr, rdnAttribute(e)):
		return updateErr(ldapwire.ResultNamingViolation, 0x2099, "6001 (NAMING_VIOLATION)")
	case parent == nil || e.deleted || within(parent.key, e.key):
		return unwilling(0x2073)
	case !d.mayRename(actor, e) || newSuperior != "" && !(d.manages(actor, e) && d.manages(actor, parent)):
		return denied(win32AccessDenied)
	}
	n.key = n.key + "," + parent.key
	if other := d.byKey[n.key]; other != nil && other != e {
		return exists(0x2071)
	}
	d.move(e, n, parent.dn)
	return nil
}

// move renames e and what is below it.
func (d *Directory) move(e *entry, n name, above string) {
	oldKey := d.relocate(e, n, above)
	delete(e.was, "name") // a move is a change of the name, too
	d.touch(e)
	d.moveBelow(e, oldKey)
}

// moveBelow renames what is below e, which does not change with it.
func (d *Directory) moveBelow(e *entry, oldKey string) {
	for _, c := range slices.Clone(d.ordered) {
		if c != e && parentKey(c.key) == oldKey {
			n := name{attr: rdnAttribute(c), value: c.first("name"), key: strings.TrimSuffix(c.key, oldKey) + e.key}
			d.moveBelow(c, d.relocate(c, n, e.dn))
		}
	}
}

// relocate gives e a name, also in what links to it.
func (d *Directory) relocate(e *entry, n name, above string) (oldKey string) {
	oldKey = e.key
	d.unlink(e, n.attr+"="+escapeDN(n.value)+","+above)
	delete(d.byKey, oldKey)
	d.place(e, n, above)
	d.byKey[e.key] = e
	return oldKey
}

// Compare reports whether an attribute has a value.
func (d *Directory) Compare(id Identity, dn, attr, value string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, refusal := d.actor(id); refusal != nil {
		return false, refusal
	}
	e, refusal := d.resolve(dn)
	if refusal != nil {
		return false, refusal
	}
	at, ok := d.schema.lookup(attr)
	if !ok {
		return false, unknownAttribute()
	}
	values := d.searchable(e, at)
	if len(values) == 0 {
		return false, noAttribute(at.name)
	}
	want := d.assertion(at, value)
	return slices.ContainsFunc(values, func(v string) bool { return at.compare(v, want) == 0 }), nil
}
