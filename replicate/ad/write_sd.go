package ad

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// A descriptor is what matters here of a security descriptor.
type descriptor struct {
	owner []byte // SID
	aces  []ace
}

// An ace is an entry of the access list that counts for the object itself.
type ace struct {
	deny  bool
	mask  uint32
	right [16]byte // zero: all of what mask says
	sid   []byte
}

var errDescriptor = errors.New("no self-relative security descriptor (MS-DTYP 2.4.6)")

// parseDescriptor reads a self-relative security descriptor.
func parseDescriptor(b []byte) (d descriptor, err error) {
	if len(b) < 20 || b[0] != 1 {
		return d, errDescriptor
	}
	if at := binary.LittleEndian.Uint32(b[4:]); at != 0 {
		if d.owner, err = parseSID(b, at); err != nil {
			return d, err
		}
	}
	at := binary.LittleEndian.Uint32(b[16:])
	if at == 0 {
		return d, nil
	}
	if uint64(at)+8 > uint64(len(b)) {
		return d, errDescriptor
	}
	rest, count := b[at+8:], binary.LittleEndian.Uint16(b[at+4:])
	for range count {
		if len(rest) < 4 {
			return d, errDescriptor
		}
		size := int(binary.LittleEndian.Uint16(rest[2:]))
		if size < 4 || size > len(rest) {
			return d, errDescriptor
		}
		a, counts, err := parseACE(rest[:size])
		if err != nil {
			return d, err
		}
		if counts {
			d.aces = append(d.aces, a)
		}
		rest = rest[size:]
	}
	return d, nil
}

// Types and flags of access control entries (MS-DTYP 2.4.4).
const (
	aceAllow, aceDeny             = 0, 1
	aceAllowObject, aceDenyObject = 5, 6
	aceInheritOnly                = 0x08
	aceHasType, aceHasInherited   = 1, 2
)

// parseACE reads one entry; counts is false for those of other types and those
// that only what is below inherits.
func parseACE(b []byte) (a ace, counts bool, err error) {
	kind, flags := b[0], b[1]
	if flags&aceInheritOnly != 0 {
		return a, false, nil
	}
	object := kind == aceAllowObject || kind == aceDenyObject
	if !object && kind != aceAllow && kind != aceDeny {
		return a, false, nil
	}
	a.deny = kind == aceDeny || kind == aceDenyObject
	at := uint32(8)
	if len(b) < 8 {
		return a, false, errDescriptor
	}
	a.mask = binary.LittleEndian.Uint32(b[4:])
	if object {
		if len(b) < 12 {
			return a, false, errDescriptor
		}
		at = 12
		if b[8]&aceHasType != 0 {
			if len(b) < 28 {
				return a, false, errDescriptor
			}
			copy(a.right[:], b[12:])
			at += 16
		}
		if b[8]&aceHasInherited != 0 {
			at += 16
		}
	}
	a.sid, err = parseSID(b, at)
	return a, true, err
}

// parseSID takes the SID at an offset (MS-DTYP 2.4.2.2).
func parseSID(b []byte, at uint32) ([]byte, error) {
	if uint64(at)+8 > uint64(len(b)) || b[at] != 1 {
		return nil, errDescriptor
	}
	end := uint64(at) + 8 + 4*uint64(b[at+1])
	if b[at+1] > 15 || end > uint64(len(b)) {
		return nil, errDescriptor
	}
	return bytes.Clone(b[at:end]), nil
}

// sidText is S-1-...
func sidText(sid []byte) string {
	if len(sid) < 8 || len(sid) != 8+4*int(sid[1]) {
		return hex.EncodeToString(sid)
	}
	var authority uint64
	for _, c := range sid[2:8] {
		authority = authority<<8 | uint64(c)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "S-%d-%d", sid[0], authority)
	for at := 8; at < len(sid); at += 4 {
		fmt.Fprintf(&b, "-%d", binary.LittleEndian.Uint32(sid[at:]))
	}
	return b.String()
}

// Bits of an access mask (MS-ADTS 5.1.3.2).
const (
	writeProperty = 0x20
	controlAccess = 0x100
	genericAll    = 0x10000000
)

// allows reports whether a bit of the mask is granted to one of the SIDs, for
// one of the rights, attributes or sets of attributes: the first entry that
// speaks of it decides (MS-ADTS 5.1.3.3).
func (d descriptor) allows(bit uint32, rights [][16]byte, sids [][]byte) bool {
	for _, a := range d.aces {
		mine := false
		for _, sid := range sids {
			mine = mine || bytes.Equal(a.sid, sid)
		}
		if mine && a.mask&(bit|genericAll) != 0 && (a.right == [16]byte{} || slices.Contains(rights, a.right)) {
			return !a.deny
		}
	}
	return false
}

// descriptor reads the owner and the access list of an object, which takes the
// right Read Permissions that AD gives to everybody on users and groups.
func (d *desk) descriptor(ctx context.Context, dn string) (descriptor, error) {
	const ownerAndAccessList = 1 | 4
	req := ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"nTSecurityDescriptor"},
		[]ldap.Control{&ldap.ControlMicrosoftSDFlags{Criticality: true, ControlValue: ownerAndAccessList}})
	var res *ldap.SearchResult
	err := d.during(ctx, func() (err error) {
		res, err = d.Search(req)
		return err
	})
	if err != nil {
		return descriptor{}, d.readError(ctx, err)
	}
	if len(res.Entries) != 1 {
		return descriptor{}, ErrNotFound
	}
	raw := res.Entries[0].GetRawAttributeValue("nTSecurityDescriptor")
	if len(raw) == 0 {
		return descriptor{}, unreadable(dn, "nTSecurityDescriptor", "Read permissions")
	}
	sd, err := parseDescriptor(raw)
	if err != nil {
		return descriptor{}, fmt.Errorf("security descriptor of %q: %w", dn, err)
	}
	return sd, nil
}
