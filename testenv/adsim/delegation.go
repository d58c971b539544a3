package adsim

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// An allowance is an entry of a container's access list: what it lets an account
// do with the container, or with what is below it.
type allowance struct {
	account   guid
	container guid
	mask      string // CC, WP or CA
	what      string // class, attribute or right, as dsacls names them, in lower case
	class     string // of the objects below that it is about; empty: the container and the containers below
}

// dsaclsLine is the part of dsacls that delegates rights on users and groups.
var dsaclsLine = regexp.MustCompile(`^dsacls "([^"]+)" /I:([ST]) /G "([^":]+):(CC|WP|CA);([^;"]+?)(?:;([^;"]+))?"$`)

// DSACLs carries out a command of dsacls, as an administrator would: to allow
// creating objects of a class (CC), writing an attribute (WP), or resetting
// passwords (CA;Reset Password). It refuses what Windows would not understand.
func (d *Directory) DSACLs(line string) error {
	m := dsaclsLine.FindStringSubmatch(line)
	if m == nil {
		return fmt.Errorf("dsacls: %s: no such form here", line)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	container, refusal := d.resolve(m[1])
	if refusal != nil {
		return fmt.Errorf("dsacls: %s: %w", line, refusal)
	}
	domain, name, _ := strings.Cut(m[3], `\`)
	account := d.find("sAMAccountName", name)
	if account == nil || !strings.EqualFold(domain, d.netbios) {
		return fmt.Errorf("dsacls: no account %q", m[3])
	}
	a := allowance{account.guid, container.guid, m[4], strings.ToLower(m[5]), strings.ToLower(m[6])}
	_, isClass := d.schema.classes[a.what]
	_, isAttribute := d.schema.lookup(a.what)
	_, below := d.schema.classes[a.class]
	switch {
	case a.mask == "CC" && isClass && a.class == "" && m[2] == "T":
	case a.mask == "WP" && isAttribute && below && m[2] == "S":
	case a.mask == "CA" && a.what == resetRight && below && m[2] == "S":
	default:
		return fmt.Errorf("dsacls: %s: no such right, attribute or class", line)
	}
	d.allowances = append(d.allowances, a)
	return nil
}

// GrantSync delegates to an account what the sync account needs on a container,
// and no more.
func (d *Directory) GrantSync(account, container string) error {
	d.mu.Lock()
	e, refusal := d.resolve(account)
	d.mu.Unlock()
	if refusal != nil {
		return fmt.Errorf("grant sync to %s: %w", account, refusal)
	}
	name := d.netbios + `\` + e.first("sAMAccountName")
	for _, right := range []string{"T|CC;user", "T|CC;group", "S|CA;Reset Password;user",
		"S|WP;givenName;user", "S|WP;sn;user", "S|WP;userAccountControl;user",
		"S|WP;member;group", "S|WP;sAMAccountName;group", "S|WP;cn;group", "S|WP;name;group"} {
		inherit, what, _ := strings.Cut(right, "|")
		if err := d.DSACLs(fmt.Sprintf(`dsacls "%s" /I:%s /G "%s:%s"`, container, inherit, name, what)); err != nil {
			return err
		}
	}
	return nil
}

const resetRight = "reset password"

// delegated reports whether an allowance covers target. Privileged objects
// inherit none (AdminSDHolder, MS-ADTS 3.1.1.6.1).
func (d *Directory) delegated(actor, target *entry, mask, what string) bool {
	if target.num("adminCount") == 1 {
		return false
	}
	return slices.ContainsFunc(d.allowances, func(a allowance) bool {
		container := d.byGUID(a.container)
		if a.account != actor.guid || a.mask != mask || a.what != strings.ToLower(what) || container == nil || !within(target.key, container.key) {
			return false
		}
		return a.class == "" || container != target && classOfEntry(target) == a.class
	})
}

// classOfEntry is the most special class of an entry, which is what inherited
// entries are about.
func classOfEntry(e *entry) string {
	classes := e.get("objectClass")
	if len(classes) == 0 {
		return ""
	}
	return strings.ToLower(classes[len(classes)-1])
}

// mayReset reports whether actor may reset the password of target.
func (d *Directory) mayReset(actor, target *entry) bool {
	return d.manages(actor, target) || d.delegated(actor, target, "CA", resetRight)
}

// mayRename reports whether actor may give target another RDN (MS-ADTS
// 3.1.1.5.4.1).
func (d *Directory) mayRename(actor, target *entry) bool {
	return d.manages(actor, target) || d.delegated(actor, target, "WP", rdnAttribute(target)) && d.delegated(actor, target, "WP", "name")
}

// allowedClasses is allowedChildClassesEffective (MS-ADTS 3.1.1.4.5.10).
func (d *Directory) allowedClasses(actor, e *entry) (names []string) {
	for _, c := range d.schema.classes {
		if d.mayCreate(actor, e, c) {
			names = append(names, c.chain[len(c.chain)-1])
		}
	}
	slices.Sort(names)
	return names
}

// allowedAttributes is allowedAttributesEffective (MS-ADTS 3.1.1.4.5.12).
func (d *Directory) allowedAttributes(actor, e *entry) (names []string) {
	for _, at := range d.schema.list {
		if at.flags&(systemOnly|constructed) == 0 && d.mayWrite(actor, e, at) {
			names = append(names, at.name)
		}
	}
	return names
}

// ownerOf is who created an entry; objects that administrators create are
// Domain Admins' (MS-ADTS 6.1.3).
func (d *Directory) ownerOf(actor *entry) guid {
	if d.memberOf(actor, "Domain Admins") {
		return d.find("sAMAccountName", "Domain Admins").guid
	}
	return actor.guid
}

// securityDescriptor has the owner, and of the access list those entries that
// are about resetting the password and writing the name: the others are to be
// read from what they effect.
func (d *Directory) securityDescriptor(e *entry) string {
	owner := d.byGUID(e.owner)
	if owner == nil {
		owner = d.find("sAMAccountName", "Domain Admins")
	}
	b := []byte{1, 0, 0x04, 0x80} // SE_DACL_PRESENT, SE_SELF_RELATIVE (MS-DTYP 2.4.6)
	sid := owner.first("objectSid")
	for _, at := range []int{20, 0, 0, 20 + len(sid)} {
		b = binary.LittleEndian.AppendUint32(b, uint32(at))
	}
	b = append(b, sid...)
	var aces []byte
	count := 0
	for _, account := range d.ordered {
		if !account.is("user") || account.deleted {
			continue
		}
		if d.delegated(account, e, "CA", resetRight) {
			aces, count = append(aces, objectACE(0x100, "00299570-246d-11d0-a768-00aa006e0529", account)...), count+1
		}
		if d.delegated(account, e, "WP", "name") {
			aces, count = append(aces, objectACE(0x20, "bf967a0e-0de6-11d0-a285-00aa003049e2", account)...), count+1
		}
	}
	b = append(b, 4, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(8+len(aces)))
	b = binary.LittleEndian.AppendUint16(b, uint16(count))
	return string(append(append(b, 0, 0), aces...))
}

// objectACE is an ACCESS_ALLOWED_OBJECT_ACE (MS-DTYP 2.4.4.3).
func objectACE(mask uint32, object string, account *entry) []byte {
	sid := account.first("objectSid")
	b := binary.LittleEndian.AppendUint16([]byte{5, 0}, uint16(12+16+len(sid)))
	b = binary.LittleEndian.AppendUint32(b, mask)
	b = binary.LittleEndian.AppendUint32(b, 1) // an object type follows
	id, _ := parseGUID(object)
	return append(append(b, id[:]...), sid...)
}
