package adsim

import (
	"bytes"

	ber "github.com/go-asn1-ber/asn1-ber"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// Controls the front understands; of these, gldap has a type for the first.
const (
	oidPaged            = ldapwire.OIDControlPagedResults
	oidShowDeleted      = ldapwire.OIDControlShowDeleted
	oidPermissiveModify = "1.2.840.113556.1.4.1413"
	oidDomainScope      = "1.2.840.113556.1.4.1339"
	oidSDFlags          = "1.2.840.113556.1.4.801"
	oidExtendedDN       = "1.2.840.113556.1.4.529"
	oidNotification     = "1.2.840.113556.1.4.528"
	oidDirSync          = "1.2.840.113556.1.4.841"
)

// controls are those of a request.
type controls struct {
	paged       bool
	page        int
	cookie      string
	showDeleted bool
	permissive  bool
	domainScope bool
	extendedDN  bool
	dashes      bool
	notify      bool
	dirSync     bool
	syncFlags   int64
	syncCookie  string
	withoutSACL bool
	other       bool // something gldap cannot pass on faithfully
}

// parseControls reads the controls of a message. Unknown ones are ignored,
// unless they are critical.
func parseControls(m ldapwire.Message) (controls, *Refusal) {
	list, err := m.ControlList()
	if err != nil {
		return controls{}, &Refusal{Code: ldapwire.ResultProtocolError, Text: "00000057: LdapErr: DSID-0C090C4C, comment: Error decoding ldap message, data 0, v4563\x00"}
	}
	var c controls
	for ctl, ok := list.Next(); ok; ctl, ok = list.Next() {
		switch string(ctl.OID) {
		case oidPaged:
			size, cookie, ok := parsePaged(ctl.Value)
			if !ok {
				return controls{}, badControl()
			}
			c.paged, c.page, c.cookie = true, size, cookie
		case oidShowDeleted:
			c.showDeleted, c.other = true, true
		case oidPermissiveModify:
			c.permissive, c.other = true, true
		case oidDomainScope:
			c.domainScope, c.other = true, true
		case oidExtendedDN:
			// SEQUENCE { Flag INTEGER }, and none is 0
			c.extendedDN, c.dashes, c.other = true, bytes.HasSuffix(ctl.Value, []byte{2, 1, 1}), true
		case oidNotification:
			c.notify, c.other = true, true
		case oidDirSync:
			var ok bool
			if c.syncFlags, c.syncCookie, ok = parseDirSync(ctl.Value); !ok {
				return controls{}, badControl()
			}
			c.dirSync, c.other = true, true
		case oidSDFlags:
			c.withoutSACL, c.other = sdFlags(ctl.Value)&8 == 0, true
		default:
			if ctl.Criticality {
				return controls{}, badControl()
			}
			c.other = true
		}
	}
	return c, nil
}

// parsePaged decodes a paged results value (RFC 2696 section 2).
func parsePaged(value []byte) (size int, cookie string, ok bool) {
	p, err := ber.DecodePacketErr(value)
	if err != nil || len(p.Children) != 2 {
		return 0, "", false
	}
	n, ok := p.Children[0].Value.(int64)
	if !ok || n < 0 || n > 1<<31-1 {
		return 0, "", false
	}
	return int(n), text(p.Children[1]), true
}

// sdFlags are the parts of a security descriptor that are asked for (MS-ADTS
// 3.1.1.3.4.1.11); 8 is the audit list.
func sdFlags(value []byte) int64 {
	p, err := ber.DecodePacketErr(value)
	if err != nil || len(p.Children) != 1 {
		return 15
	}
	flags, ok := p.Children[0].Value.(int64)
	if !ok || flags&15 == 0 {
		return 15
	}
	return flags
}

// pagedValue encodes the value of a response's control.
func pagedValue(cookie string) []byte {
	p := ber.NewSequence("")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 0, ""))
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, cookie, ""))
	return p.Bytes()
}
