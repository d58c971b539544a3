package main

import (
	"encoding/binary"
	"errors"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// Message IDs of the load are always four bytes long, so that the one of an
// encoded request can be replaced without moving anything.
const (
	firstID = 0x0100_0000
	lastID  = 0x7fff_0000
)

// request is an encoded request to be sent many times.
type request struct {
	frame   []byte
	idAt    int         // where the four bytes of the message ID are
	final   ldapwire.Op // what answers it
	entries int         // how many entries come before the final answer
}

// newRequest takes a frame that was encoded with firstID.
func newRequest(frame []byte, entries int) (request, error) {
	msg, err := ldapwire.ParseMessage(frame)
	if err != nil {
		return request{}, err
	}
	at, err := idOffset(frame)
	if err != nil {
		return request{}, err
	}
	return request{frame: frame, idAt: at, final: msg.Op.Response(), entries: entries}, nil
}

// idOffset finds the message ID's content octets: after the tag and length of
// the envelope, and the tag and length of an INTEGER of four bytes.
func idOffset(frame []byte) (int, error) {
	header := 2
	if len(frame) > 1 && frame[1]&0x80 != 0 { // long form, RFC 4511 section 5.1 and X.690 section 8.1.3.5
		header += int(frame[1] & 0x7f)
	}
	const integer = 0x02
	if len(frame) < header+6 || frame[header] != integer || frame[header+1] != 4 {
		return 0, errors.New("find message ID: want one of four bytes")
	}
	return header + 2, nil
}

// appendTo appends the request under a message ID of at least firstID.
func (r *request) appendTo(dst []byte, id int32) []byte {
	at := len(dst) + r.idAt
	dst = append(dst, r.frame...)
	binary.BigEndian.PutUint32(dst[at:], uint32(id))
	return dst
}

// attributes are what a search asks for; people's entries have them all.
var attributes = []string{"cn", "sn", "givenName", "mail", "description", "telephoneNumber"}

// findUser searches for one person by uid.
func findUser(n int) (request, error) {
	return search(equals("uid", uid(n)), 1)
}

// findAll searches for every person.
func findAll(people int) (request, error) {
	return search(equals("objectClass", "inetOrgPerson"), people)
}

func search(filter []byte, entries int) (request, error) {
	return newRequest(ldapwire.AppendSearchRequest(nil, firstID, ldapwire.SearchParams{
		BaseDN: suffix, Scope: ldapwire.ScopeSubtree, Filter: filter, Attributes: attributes,
	}), entries)
}

// bindAs is a simple bind of a person with the right password.
func bindAs(n int) (request, error) {
	return newRequest(ldapwire.AppendBindRequest(nil, firstID, userDN(n), []byte(password)), 0)
}

// equals encodes an equalityMatch filter (RFC 4511 section 4.5.1.7.1) of less
// than 128 bytes.
func equals(attr, value string) []byte {
	const equalityMatch, octets = 0xa3, 0x04
	f := []byte{equalityMatch, byte(4 + len(attr) + len(value)), octets, byte(len(attr))}
	f = append(f, attr...)
	f = append(f, octets, byte(len(value)))
	return append(f, value...)
}
