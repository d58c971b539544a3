package adsim

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// A Change is one modification of a Modify.
type Change struct {
	Op     ldapwire.ModOp
	Name   string
	Values []string
}

// Modify changes an entry: all of it or nothing (RFC 4511 section 4.6).
// Permissive is control 1413: adding a value that is there, or deleting one
// that is not, is no error.
func (d *Directory) Modify(id Identity, dn string, changes []Change, permissive bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if refusal := d.modify(id, dn, changes, permissive); refusal != nil {
		return refusal
	}
	return nil
}

func (d *Directory) modify(id Identity, dn string, changes []Change, permissive bool) *Refusal {
	actor, refusal := d.actor(id)
	if refusal != nil {
		return refusal
	}
	target, refusal := d.resolve(dn)
	if refusal != nil {
		return refusal
	}
	if target.deleted {
		return noObject("")
	}
	e := target.clone()
	write, any := gatherPassword(changes)
	for _, c := range changes {
		if isPassword(c) {
			continue
		}
		if refusal := d.modifyAttribute(actor, target, e, c, permissive); refusal != nil {
			return refusal
		}
	}
	if any {
		// After pwdLastSet, which would otherwise be overwritten: 0 in the
		// same request stands for a password that must be changed.
		asked := e.first("pwdLastSet")
		if refusal := d.writePassword(actor, target, e, write); refusal != nil {
			return refusal
		}
		if asked == "0" && asksPwdLastSet(changes) {
			e.set("pwdLastSet", "0")
		}
	}
	if refusal := d.consistent(target, e); refusal != nil {
		return refusal
	}
	if !any && sameAttributes(target, e) {
		return nil // AD writes nothing then, and counts no USN
	}
	if refusal := d.switchPrimary(target, e); refusal != nil {
		return refusal
	}
	target.attrs, target.secret = e.attrs, e.secret
	d.touch(target)
	return nil
}

func asksPwdLastSet(changes []Change) bool {
	return slices.ContainsFunc(changes, func(c Change) bool { return strings.EqualFold(c.Name, "pwdLastSet") })
}

func sameAttributes(a, b *entry) bool {
	if len(a.attrs) != len(b.attrs) {
		return false
	}
	for k, v := range a.attrs {
		if !slices.Equal(v.values, b.attrs[k].values) {
			return false
		}
	}
	return true
}

func (d *Directory) modifyAttribute(actor, target, e *entry, c Change, permissive bool) *Refusal {
	at, ok := d.schema.lookup(c.Name)
	if !ok {
		return unknownAttribute()
	}
	if at.flags&(systemOnly|constructed) != 0 {
		return constraint(0x209a, at.name)
	}
	if !d.mayWrite(actor, target, at) {
		return denied(0x2098)
	}
	if strings.EqualFold(at.name, rdnAttribute(e)) {
		return &Refusal{Code: ldapwire.ResultNotAllowedOnRDN, Text: "00002016: UpdErr: DSID-030A0A13, problem 6004 (CANT_ON_RDN), data 0\n\x00"}
	}
	values, refusal := d.checkValues(at, c.Values)
	if refusal != nil {
		return refusal
	}
	next, refusal := apply(at, e.get(at.name), c.Op, values, permissive)
	if refusal != nil {
		return refusal
	}
	if at.flags&singleValued != 0 && len(next) > 1 {
		return constraint(0x2081, at.name)
	}
	if at.name == "member" {
		next = slices.DeleteFunc(next, func(v string) bool { return v == e.dn })
	}
	e.set(at.name, next...)
	return nil
}

// rdnAttribute is cn, ou or dc.
func rdnAttribute(e *entry) string {
	attr, _, _ := strings.Cut(e.dn, "=")
	return attr
}

// apply makes the new values of an attribute.
func apply(at attrType, have []string, op ldapwire.ModOp, values []string, permissive bool) ([]string, *Refusal) {
	contains := func(list []string, v string) bool {
		return slices.ContainsFunc(list, func(h string) bool { return at.compare(h, v) == 0 })
	}
	next := slices.Clone(have)
	switch op {
	case ldapwire.ModReplace:
		return values, nil
	case ldapwire.ModAdd:
		for _, v := range values {
			if contains(next, v) {
				if permissive {
					continue
				}
				if at.name == "member" {
					return nil, exists(win32MemberInGroup)
				}
				return nil, attributeErr(ldapwire.ResultAttributeOrValueExists, 0x2083, "1006 (ATT_OR_VALUE_EXISTS)", at.name)
			}
			next = append(next, v)
		}
		return next, nil
	case ldapwire.ModDelete:
		if len(values) == 0 {
			if len(have) == 0 && !permissive {
				return nil, noAttribute(at.name)
			}
			return nil, nil
		}
		for _, v := range values {
			if !contains(next, v) {
				if permissive {
					continue
				}
				if at.name == "member" {
					return nil, unwilling(win32MemberNotInGroup)
				}
				return nil, noAttribute(at.name)
			}
			next = slices.DeleteFunc(next, func(h string) bool { return at.compare(h, v) == 0 })
		}
		return next, nil
	}
	return nil, &Refusal{Code: ldapwire.ResultProtocolError, Text: "00000057: LdapErr: DSID-0C090C4C, comment: Error decoding ldap message, data 0, v4563\x00"}
}

// checkValues checks values against the attribute's syntax, and puts DNs in the
// form the directory keeps them in.
func (d *Directory) checkValues(at attrType, values []string) ([]string, *Refusal) {
	out := slices.Clone(values)
	for i, v := range out {
		if v == "" {
			return nil, badSyntax(at.name)
		}
		switch at.syntax {
		case integer:
			if _, err := strconv.ParseInt(v, 10, 64); err != nil {
				return nil, badSyntax(at.name)
			}
		case dnString:
			e, refusal := d.resolve(v)
			if refusal != nil {
				return nil, refusal
			}
			if e.deleted {
				return nil, noObject("")
			}
			out[i] = e.dn
		}
	}
	return out, nil
}

// consistent checks and completes what depends on several attributes. was is
// the entry before, or nil.
func (d *Directory) consistent(was, e *entry) *Refusal {
	for _, unique := range []string{"sAMAccountName", "userPrincipalName"} {
		v := e.first(unique)
		if v == "" {
			continue
		}
		other := d.find(unique, v)
		if other == nil || was != nil && other == was {
			continue
		}
		if unique == "sAMAccountName" {
			return exists(win32UserExists)
		}
		return constraint(0x21c8, unique)
	}
	if !e.is("user") {
		return nil
	}
	if len([]rune(e.first("sAMAccountName"))) > 20 && !e.is("computer") {
		return constraint(0x523, "sAMAccountName")
	}
	return d.consistentAccount(was, e)
}

func (d *Directory) consistentAccount(was, e *entry) *Refusal {
	// A lockout and an expired password are not stored here.
	uac := e.num("userAccountControl") &^ (uacLockout | uacExpired)
	e.setNum("userAccountControl", uac)
	enabled := uac&uacDisabled == 0
	if enabled && uac&uacNotRequired == 0 && e.secret.current == nil {
		return unwilling(win32PasswordPolicy)
	}
	before := &entry{}
	if was != nil {
		before = was
	}
	if v := e.first("lockoutTime"); v != before.first("lockoutTime") {
		switch v {
		case "0", "":
			e.setNum("lockoutTime", 0)
			e.setNum("badPwdCount", 0)
		default:
			return unwilling(win32InvalidParameter)
		}
	}
	if v := e.first("pwdLastSet"); v != before.first("pwdLastSet") && !e.secret.changed.After(before.secret.changed) {
		switch v {
		case "0", "":
			e.setNum("pwdLastSet", 0)
		case "-1":
			e.setNum("pwdLastSet", filetime(d.now()))
		default:
			return unwilling(win32InvalidParameter)
		}
	}
	return nil
}
