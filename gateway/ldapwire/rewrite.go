package ldapwire

import "slices"

// AppendMessage appends a message of an operation whose contents are given.
// Nil controls are absent; others are the contents of the controls field, as
// in [Message]. dst grows at most once, before body is written to it.
func AppendMessage(dst []byte, id int32, op Op, body, controls []byte) []byte {
	dst = slices.Grow(dst, len(body)+len(controls)+4*maxHeader)
	at := len(dst)
	dst = appendNumber(dst, tagInteger, id)
	dst = appendElement(dst, byte(op), body)
	if controls != nil {
		dst = appendElement(dst, tagControls, controls)
	}
	return enclose(dst, at, tagSequence)
}

// AppendEditedEntry appends the SearchResultEntry msg with other attributes:
// edit is called for each and returns what takes its place, in which the
// attribute itself may be (a.Raw), or nothing; tail follows the last. Whatever
// edit leaves alone stays as it is, byte for byte. Build replacements with
// [AppendAttribute].
func AppendEditedEntry(dst []byte, msg Message, edit func(a Attribute) []byte, tail []byte) ([]byte, error) {
	entry, err := ParseSearchEntry(msg.Body)
	if err != nil {
		return dst, err
	}
	body := make([]byte, 0, len(msg.Body)+len(tail)+2*maxHeader)
	body = appendElement(body, tagOctets, entry.DN)
	list := len(body)
	for a, ok := entry.Next(); ok; a, ok = entry.Next() {
		body = append(body, edit(a)...)
	}
	body = enclose(append(body, tail...), list, tagSequence)
	return AppendMessage(dst, msg.ID, msg.Op, body, msg.Controls), nil
}

// AppendAttribute appends a PartialAttribute (RFC 4511 section 4.1.7).
func AppendAttribute(dst []byte, a AttributeValues) []byte {
	return appendAttribute(dst, a.Type, a.Values)
}
