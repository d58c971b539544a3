package adsim

// A Content is a copy of a Directory's content, as a backup or a snapshot of its
// machine has it.
type Content struct {
	usn     int64
	rid     uint32
	entries []*entry
}

// Save copies the content.
func (d *Directory) Save() Content {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Content{d.usn, d.rid, cloneAll(d.ordered)}
}

func cloneAll(list []*entry) []*entry {
	out := make([]*entry, len(list))
	for i, e := range list {
		out[i] = e.clone()
	}
	return out
}

// Revert puts a state back as a reverted machine has it: USNs are given out
// for the second time, and nothing tells (USN rollback).
func (d *Directory) Revert(s Content) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.load(s)
}

// Restore puts a state back as a proper restore does: the database has a new
// invocationId (MS-ADTS 3.1.1.1.9).
func (d *Directory) Restore(s Content) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.load(s)
	d.invocation = newGUID()
	d.byKey["cn=ntds settings,"+parentKeyOf(d.serverDN())].set("invocationId", string(d.invocation[:]))
}

func parentKeyOf(dn string) string {
	n, _ := parseName(dn)
	return n.key
}

func (d *Directory) load(s Content) {
	d.usn, d.rid, d.ordered = s.usn, s.rid, cloneAll(s.entries)
	clear(d.byKey)
	clear(d.guids)
	clear(d.links)
	clear(d.logins)
	for _, e := range d.ordered {
		d.byKey[e.key], d.guids[e.guid] = e, e
		d.noteLogin(e)
	}
	for w := range d.watches {
		if base := d.guids[w.base.guid]; base != nil {
			w.base = base
		}
	}
}

// SetHost gives the server another dnsHostName: clients take it for another
// domain controller.
func (d *Directory) SetHost(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.host = name
}

// Reanimate brings a deleted entry back under a DN (MS-ADTS 3.1.1.5.3.7): one
// Modify that deletes isDeleted and replaces distinguishedName. Memberships and
// most attributes are lost, and an account is disabled.
func (d *Directory) Reanimate(id Identity, dn, newDN string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if refusal := d.reanimate(id, dn, newDN); refusal != nil {
		return refusal
	}
	return nil
}

func (d *Directory) reanimate(id Identity, dn, newDN string) *Refusal {
	actor, refusal := d.actor(id)
	if refusal != nil {
		return refusal
	}
	e, refusal := d.resolve(dn)
	if refusal != nil {
		return refusal
	}
	n, ok := parseName(newDN)
	parent := d.byKey[n.parent]
	switch {
	case !d.may(actor, maySeeDeleted):
		return noObject("")
	case !d.memberOf(actor, "Domain Admins"):
		return denied(win32AccessDenied)
	case !e.deleted || e.first("lastKnownParent") == "":
		return unwilling(0x2073)
	case !ok || parent == nil || parent.deleted:
		return badName()
	case d.byKey[n.key] != nil:
		return exists(0x2071)
	}
	delete(d.byKey, e.key)
	e.deleted = false
	for _, name := range []string{"isDeleted", "isRecycled", "lastKnownParent"} {
		e.set(name)
	}
	d.place(e, n, parent.dn)
	classes := e.get("objectClass")
	if c, ok := d.schema.classes[fold(classes[len(classes)-1])]; ok {
		e.set("objectCategory", "CN="+c.category+",CN=Schema,CN=Configuration,"+d.base)
	}
	switch {
	case e.is("user"):
		e.setNum("userAccountControl", e.num("userAccountControl")|uacDisabled)
		e.setNum("sAMAccountType", 805306368)
		e.setNum("primaryGroupID", 513)
		e.setNum("accountExpires", never)
		e.setNum("pwdLastSet", 0)
	case e.is("group"):
		e.setNum("groupType", -2147483646)
		e.setNum("sAMAccountType", 268435456)
	}
	d.byKey[e.key] = e
	d.touch(e)
	return nil
}

// reanimation recognises the changes of Reanimate.
func reanimation(changes []Change) (newDN string, ok bool) {
	deletes := false
	for _, c := range changes {
		switch fold(c.Name) {
		case "isdeleted":
			deletes = c.Op == 1 && len(c.Values) == 0
		case "distinguishedname":
			if len(c.Values) == 1 {
				newDN = c.Values[0]
			}
		}
	}
	return newDN, deletes && newDN != ""
}

// switchPrimary keeps memberships when an account's primary group changes: the
// new one must have it as a member, and has it by primaryGroupID alone then;
// the old one gets it as a member (MS-SAMR 3.1.1.8.2).
func (d *Directory) switchPrimary(was, e *entry) *Refusal {
	before, now := was.num("primaryGroupID"), e.num("primaryGroupID")
	if before == now || !e.is("user") {
		return nil
	}
	to := d.groupByRID(now)
	if to == nil || !to.hasMember(e) {
		return unwilling(win32MemberNotInGroup)
	}
	to.set("member", without(to.get("member"), e.dn)...)
	d.touch(to)
	if from := d.groupByRID(before); from != nil {
		from.set("member", append(without(from.get("member"), e.dn), e.dn)...)
		d.touch(from)
	}
	return nil
}

func without(values []string, value string) []string {
	var out []string
	for _, v := range values {
		if v != value {
			out = append(out, v)
		}
	}
	return out
}

func (d *Directory) groupByRID(rid int64) *entry {
	for _, e := range d.ordered {
		if e.is("group") && !e.deleted && e.rid() == rid {
			return e
		}
	}
	return nil
}
