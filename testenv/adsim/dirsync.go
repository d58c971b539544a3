package adsim

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// dirSyncObjectSecurity lets an account follow what it may read, without a
// right for it (MS-ADTS 3.1.1.3.4.1.3).
const dirSyncObjectSecurity = 1

// dirSyncPage is how many objects an answer has; the size a client asks for is
// a hint.
const dirSyncPage = 200

// GrantReplication gives an account the right DS-Replication-Get-Changes.
func (d *Directory) GrantReplication(dn string) error { return d.grant(dn, mayReplicate) }

// GrantDeletedObjects lets an account read the container of deleted objects.
func (d *Directory) GrantDeletedObjects(dn string) error { return d.grant(dn, maySeeDeleted) }

type right int

const (
	mayReplicate right = 1 << iota
	maySeeDeleted
)

func (d *Directory) grant(dn string, r right) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, refusal := d.resolve(dn)
	if refusal != nil {
		return fmt.Errorf("grant a right to %s: %w", dn, refusal)
	}
	d.rights[e.guid] |= r
	return nil
}

// may reports whether actor has a right; administrators have both.
func (d *Directory) may(actor *entry, r right) bool {
	return d.rights[actor.guid]&r != 0 || d.memberOf(actor, "Domain Admins")
}

// stamp notes which attributes have changed with the USN.
func (e *entry) stamp(usn int64) {
	if e.stamps == nil {
		e.stamps = make(map[string]int64)
	}
	for name, a := range e.attrs {
		if !slices.Equal(e.was[name], a.values) {
			e.stamps[name] = usn
		}
	}
	for name := range e.was {
		if _, still := e.attrs[name]; !still {
			e.stamps[name] = usn
		}
	}
	e.was = make(map[string][]string, len(e.attrs))
	for name, a := range e.attrs {
		e.was[name] = slices.Clone(a.values)
	}
}

// DirSync returns the next objects that have changed since the cookie was
// given, with the attributes that have, and whether there are more.
func (d *Directory) DirSync(id Identity, s Search, flags int64, cookie string) (entries []Entry, next string, more bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	since, deleted, refusal := d.beginSync(id, s, flags, cookie)
	if refusal != nil {
		return nil, "", false, refusal
	}
	var changed []*entry
	for _, e := range d.ordered {
		if e.num("uSNChanged") > since && (deleted || !e.deleted) && d.inScope(e, d.head(), ldapwire.ScopeSubtree) && d.matches(s.Filter.p, e) == yes {
			changed = append(changed, e)
		}
	}
	slices.SortFunc(changed, func(a, b *entry) int { return int(a.num("uSNChanged") - b.num("uSNChanged")) })
	upTo := d.usn
	if more = len(changed) > dirSyncPage; more {
		changed = changed[:dirSyncPage]
		upTo = changed[dirSyncPage-1].num("uSNChanged")
	}
	for _, e := range changed {
		if attrs := d.changedSince(e, s, since); len(attrs) > 0 {
			attrs = append(attrs, Attribute{"objectGUID", e.get("objectGUID")}, Attribute{"instanceType", e.get("instanceType")})
			entries = append(entries, Entry{d.nameFor(e.dn, s), attrs})
		}
	}
	return entries, d.syncCookie(upTo), more, nil
}

func (d *Directory) beginSync(id Identity, s Search, flags int64, cookie string) (since int64, deleted bool, refusal *Refusal) {
	actor, refusal := d.actor(id)
	if refusal != nil {
		return 0, false, refusal
	}
	if flags&dirSyncObjectSecurity == 0 && !d.may(actor, mayReplicate) {
		return 0, false, denied(0x2105)
	}
	base, refusal := d.resolve(s.Base)
	if refusal != nil {
		return 0, false, refusal
	}
	if base.key != d.baseKey || s.Scope != ldapwire.ScopeSubtree {
		return 0, false, unwilling(win32InvalidParameter)
	}
	since, ok := d.parseSyncCookie(cookie)
	if !ok {
		return 0, false, badControl()
	}
	return since, flags&dirSyncObjectSecurity == 0 || d.may(actor, maySeeDeleted), nil
}

// changedSince selects attributes; one that was removed has no values.
func (d *Directory) changedSince(e *entry, s Search, since int64) (out []Attribute) {
	for _, at := range d.schema.list {
		asked, low, high := rangeOf(s.Attributes, at.name)
		if at.flags&(hidden|constructed) != 0 || !asked && len(s.Attributes) > 0 || e.stamps[strings.ToLower(at.name)] <= since {
			continue
		}
		values := d.namesFor(at, e.get(at.name), s)
		if len(values) == 0 {
			out = append(out, Attribute{at.name, nil})
			continue
		}
		out = append(out, ranged(at.name, values, low, high)...)
	}
	return out
}

const syncMagic = "MSDS"

func (d *Directory) syncCookie(usn int64) string {
	return syncMagic + string(binary.LittleEndian.AppendUint64(nil, uint64(usn))) + string(d.invocation[:])
}

// parseSyncCookie takes that of another database for no cookie: everything is
// told again.
func (d *Directory) parseSyncCookie(cookie string) (usn int64, ok bool) {
	if cookie == "" {
		return 0, true
	}
	rest, ok := strings.CutPrefix(cookie, syncMagic)
	if !ok || len(rest) != 8+len(d.invocation) {
		return 0, false
	}
	if rest[8:] != string(d.invocation[:]) {
		return 0, true
	}
	return int64(binary.LittleEndian.Uint64([]byte(rest))), true
}

// parseDirSync decodes a control value: flags, size, cookie.
func parseDirSync(value []byte) (flags int64, cookie string, ok bool) {
	p, err := ber.DecodePacketErr(value)
	if err != nil || len(p.Children) != 3 {
		return 0, "", false
	}
	flags, ok = p.Children[0].Value.(int64)
	return flags, text(p.Children[2]), ok
}

func dirSyncValue(more bool, cookie string) []byte {
	flag := int64(0)
	if more {
		flag = 1
	}
	p := ber.NewSequence("")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, flag, ""))
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 0, ""))
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, cookie, ""))
	return p.Bytes()
}

// nameFor is a DN as a search asks for it: with GUID and SID before it, or
// plain (MS-ADTS 3.1.1.3.4.1.5).
func (d *Directory) nameFor(dn string, s Search) string {
	if !s.ExtendedDN {
		return dn
	}
	n, _ := parseName(dn)
	e := d.byKey[n.key]
	if e == nil {
		return dn
	}
	id, sid := hex.EncodeToString(e.guid[:]), []byte(e.first("objectSid"))
	account := hexString(sid)
	if s.Dashes {
		id, account = e.guid.String(), sidString(sid)
	}
	if len(sid) > 0 {
		return "<GUID=" + id + ">;<SID=" + account + ">;" + dn
	}
	return "<GUID=" + id + ">;" + dn
}

func (d *Directory) namesFor(at attrType, values []string, s Search) []string {
	if at.syntax != dnString || !s.ExtendedDN {
		return values
	}
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = d.nameFor(v, s)
	}
	return out
}
