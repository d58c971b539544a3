package samba

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// A Right is what a service account may do beyond reading.
type Right int

// Rights.
const (
	// DirSync allows replicating directory changes, flags 0 (MS-ADTS
	// 3.1.1.3.4.1.3).
	DirSync Right = iota
	// ReadDeleted allows reading deleted objects.
	ReadDeleted
	// ResetPasswords allows resetting passwords, demanding a change at the
	// next logon and unlocking, of users under OU=People.
	ResetPasswords
	// ManagePeople allows creating, changing and deleting users and groups
	// under OU=People.
	ManagePeople
	// Sync allows what the sync account needs under OU=People, and no more:
	// creating users and groups; of users resetting the password and writing
	// first and last name and userAccountControl; of groups writing the names
	// and the members.
	Sync
)

// AddServiceAccount adds an account under OU=Service whose password does not
// expire, and returns its DN. Like any account it can read the directory,
// deleted objects excepted.
func (dc *DC) AddServiceAccount(tb testing.TB, name string, password []byte, rights ...Right) (dn string) {
	tb.Helper()
	dn = dc.addUser(tb, "CN="+name+",OU=Service,"+dc.BaseDN, name, password,
		ldap.Attribute{Type: "userAccountControl", Vals: []string{"66048"}})
	for _, right := range rights {
		dc.grant(tb, dn, right)
	}
	return dn
}

// Schema and control access identifiers (MS-ADSC, MS-ADTS 5.1.3.2.1).
const (
	classUser           = "bf967aba-0de6-11d0-a285-00aa003049e2"
	classGroup          = "bf967a9c-0de6-11d0-a285-00aa003049e2"
	attrPwdLastSet      = "bf967a0a-0de6-11d0-a285-00aa003049e2"
	attrLockoutTime     = "28630ebf-41d5-11d1-a9c1-0000f80367c1"
	forceChangePassword = "00299570-246d-11d0-a768-00aa006e0529"
	getChanges          = "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2"

	attrGivenName          = "f0f8ff8e-1191-11d0-a060-00aa006c33ed"
	attrSN                 = "bf967a41-0de6-11d0-a285-00aa003049e2"
	attrUserAccountControl = "bf967a68-0de6-11d0-a285-00aa003049e2"
	attrSAMAccountName     = "3e0abfd0-126a-11d0-a060-00aa006c33ed"
	attrCN                 = "bf96793f-0de6-11d0-a285-00aa003049e2"
	attrName               = "bf967a0e-0de6-11d0-a285-00aa003049e2"
	attrMember             = "bf9679c0-0de6-11d0-a285-00aa003049e2"
)

func (dc *DC) grant(tb testing.TB, dn string, right Right) {
	tb.Helper()
	const below = inherit | inheritOnly
	switch right {
	case DirSync:
		dc.allow(tb, dc.BaseDN, dn, ace{0, controlAccess, getChanges, ""})
	case ReadDeleted:
		dc.allow(tb, "CN=Deleted Objects,"+dc.BaseDN, dn, ace{inherit, list | readProperty | readControl, "", ""})
	case ResetPasswords:
		dc.allow(tb, dc.PeopleDN(), dn,
			ace{below, controlAccess, forceChangePassword, classUser},
			ace{below, readProperty | writeProperty, attrPwdLastSet, classUser},
			ace{below, readProperty | writeProperty, attrLockoutTime, classUser})
	case ManagePeople:
		var aces []ace
		for _, class := range []string{classUser, classGroup} {
			aces = append(aces, ace{inherit, createChild | deleteChild, class, ""}, ace{below, genericAll, "", class})
		}
		dc.allow(tb, dc.PeopleDN(), dn, aces...)
	case Sync:
		aces := []ace{{below, controlAccess, forceChangePassword, classUser}}
		for class, attributes := range map[string][]string{classUser: {attrGivenName, attrSN, attrUserAccountControl},
			classGroup: {attrSAMAccountName, attrCN, attrName, attrMember}} {
			aces = append(aces, ace{inherit, createChild, class, ""})
			for _, attribute := range attributes {
				aces = append(aces, ace{below, writeProperty, attribute, class})
			}
		}
		dc.allow(tb, dc.PeopleDN(), dn, aces...)
	default:
		tb.Fatalf("grant right %d to %s: no such right", right, dn)
	}
}

// An ace is an access control entry that allows something (MS-DTYP 2.4.4.2,
// 2.4.4.3). object is a class, an attribute or a control access right, and
// inherited the class of the objects below that the entry is for; either may be
// empty.
type ace struct {
	flags             byte
	mask              uint32
	object, inherited string
}

// Flags and rights of an ace (MS-DTYP 2.4.4.1, MS-ADTS 5.1.3.2).
const (
	inherit     = 0x02
	inheritOnly = 0x08

	createChild   = 0x1
	deleteChild   = 0x2
	list          = 0x4
	readProperty  = 0x10
	writeProperty = 0x20
	controlAccess = 0x100
	readControl   = 0x2_0000
	genericAll    = 0x1000_0000
)

// append appends the entry for the one whose SID it is.
func (a ace) append(b, sid []byte) []byte {
	kind, size := byte(0), 8+len(sid)
	if a.object != "" || a.inherited != "" {
		kind, size = 5, size+4
	}
	var present uint32
	var guids []byte
	for i, guid := range []string{a.object, a.inherited} {
		if guid != "" {
			present |= 1 << i
			guids = appendGUID(guids, guid)
		}
	}
	b = append(b, kind, a.flags)
	b = binary.LittleEndian.AppendUint16(b, uint16(size+len(guids)))
	b = binary.LittleEndian.AppendUint32(b, a.mask)
	if kind == 5 {
		b = binary.LittleEndian.AppendUint32(b, present)
		b = append(b, guids...)
	}
	return append(b, sid...)
}

// appendGUID appends a GUID of this file: the first three parts are little endian.
func appendGUID(b []byte, text string) []byte {
	g, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(g) != 16 {
		panic("no GUID: " + text)
	}
	return append(b, g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15])
}

// allow puts entries for the account before those of an object's DACL. It does
// so over LDAP: samba-tool takes a second of the processor for it.
func (dc *DC) allow(tb testing.TB, object, account string, aces ...ace) {
	tb.Helper()
	sid := dc.rawSID(tb, account)
	controls := []ldap.Control{&ldap.ControlMicrosoftSDFlags{Criticality: true, ControlValue: 4}, ldap.NewControlMicrosoftShowDeleted()} // 4: the DACL
	conn := dc.Conn(tb)
	res, err := conn.Search(ldap.NewSearchRequest(object, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"nTSecurityDescriptor"}, controls))
	if err != nil || len(res.Entries) != 1 {
		tb.Fatalf("read the DACL of %s: %v", object, err)
	}
	sd, err := prepend(res.Entries[0].GetRawAttributeValue("nTSecurityDescriptor"), sid, aces)
	if err != nil {
		tb.Fatalf("read the DACL of %s: %v", object, err)
	}
	req := ldap.NewModifyRequest(object, controls)
	req.Replace("nTSecurityDescriptor", []string{string(sd)})
	if err := conn.Modify(req); err != nil {
		tb.Fatalf("write the DACL of %s: %v", object, err)
	}
}

// prepend gives a security descriptor (MS-DTYP 2.4.6) with the DACL of another
// and entries before it.
func prepend(sd, sid []byte, aces []ace) ([]byte, error) {
	const header, aclHeader = 20, 8
	if len(sd) < header {
		return nil, errors.New("no security descriptor")
	}
	at := binary.LittleEndian.Uint32(sd[16:])
	if at < header || uint64(at)+aclHeader > uint64(len(sd)) {
		return nil, errors.New("no DACL")
	}
	old := sd[at:]
	size, count := binary.LittleEndian.Uint16(old[2:]), binary.LittleEndian.Uint16(old[4:])
	if size < aclHeader || int(size) > len(old) {
		return nil, errors.New("a DACL that ends early")
	}
	var entries []byte
	for _, a := range aces {
		entries = a.append(entries, sid)
	}
	out := append([]byte{1, 0}, sd[2:4]...) // the revision, and the flags as they are
	out = append(out, make([]byte, 12)...)  // no owner, group, SACL
	out = binary.LittleEndian.AppendUint32(out, header)
	out = append(out, 4, 0) // the revision of an ACL with object entries
	out = binary.LittleEndian.AppendUint16(out, size+uint16(len(entries)))
	out = binary.LittleEndian.AppendUint16(out, count+uint16(len(aces)))
	out = append(append(out, 0, 0), entries...)
	return append(out, old[aclHeader:size]...), nil
}

func (dc *DC) rawSID(tb testing.TB, dn string) []byte {
	tb.Helper()
	res, err := dc.Conn(tb).Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"objectSid"}, nil))
	if err != nil || len(res.Entries) != 1 {
		tb.Fatalf("read the SID of %s: %v", dn, err)
	}
	sid := res.Entries[0].GetRawAttributeValue("objectSid")
	if len(sid) < 8 || len(sid) != 8+4*int(sid[1]) {
		tb.Fatalf("read the SID of %s: it has none", dn)
	}
	return sid
}

// SID is the objectSid of an object, as text (MS-DTYP 2.4.2.1).
func (dc *DC) SID(tb testing.TB, dn string) string {
	tb.Helper()
	sid := dc.rawSID(tb, dn)
	text := fmt.Sprintf("S-%d-%d", sid[0], binary.BigEndian.Uint64(append([]byte{0, 0}, sid[2:8]...)))
	for part := sid[8:]; len(part) > 0; part = part[4:] {
		text += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(part))
	}
	return text
}
