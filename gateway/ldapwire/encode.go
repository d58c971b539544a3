package ldapwire

import "slices"

// The encoders write contents first and put the header before them when the
// length is known: lengths are minimal, and there is no arithmetic to get wrong.

// maxHeader is the most a header can take: a tag and five length octets.
const maxHeader = 6

// appendHeader appends a tag and a minimal definite length.
func appendHeader(dst []byte, tag byte, length int) []byte {
	dst = append(dst, tag)
	switch {
	case length < 0x80:
		return append(dst, byte(length))
	case length < 1<<8:
		return append(dst, 0x81, byte(length))
	case length < 1<<16:
		return append(dst, 0x82, byte(length>>8), byte(length))
	case length < 1<<24:
		return append(dst, 0x83, byte(length>>16), byte(length>>8), byte(length))
	}
	return append(dst, 0x84, byte(length>>24), byte(length>>16), byte(length>>8), byte(length))
}

// appendElement appends an element with the given contents.
func appendElement[T []byte | string](dst []byte, tag byte, contents T) []byte {
	dst = appendHeader(dst, tag, len(contents))
	return append(dst, contents...)
}

// enclose makes dst[at:] the contents of one element.
func enclose(dst []byte, at int, tag byte) []byte {
	var header [maxHeader]byte
	return slices.Insert(dst, at, appendHeader(header[:0], tag, len(dst)-at)...)
}

// appendNumber appends an INTEGER or ENUMERATED in as few octets as possible.
func appendNumber(dst []byte, tag byte, n int32) []byte {
	octets := 1
	for v := n; v > 0x7f || v < -0x80; v >>= 8 {
		octets++
	}
	dst = append(dst, tag, byte(octets))
	for octets--; octets >= 0; octets-- {
		dst = append(dst, byte(n>>(8*octets)))
	}
	return dst
}

func appendBoolean(dst []byte, v bool) []byte {
	octet := byte(0)
	if v {
		octet = 0xff
	}
	return append(dst, tagBoolean, 1, octet)
}

// message appends the message whose operation has the contents that body
// appends.
func message(dst []byte, id int32, op Op, body func(dst []byte) []byte) []byte {
	at := len(dst)
	dst = appendNumber(dst, tagInteger, id)
	inner := len(dst)
	dst = enclose(body(dst), inner, byte(op))
	return enclose(dst, at, tagSequence)
}
