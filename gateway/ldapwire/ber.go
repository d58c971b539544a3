package ldapwire

import "errors"

// Tags of universal types (X.690 section 8.1.2) and of fields that several
// messages share.
const (
	tagBoolean    = 0x01
	tagInteger    = 0x02
	tagOctets     = 0x04
	tagEnumerated = 0x0a
	tagSequence   = 0x30
	tagSet        = 0x31

	tagControls    = 0xa0 // LDAPMessage.controls
	tagReferral    = 0xa3 // LDAPResult.referral
	tagServerCreds = 0x87 // BindResponse.serverSaslCreds

	tagClassMask   = 0xc0
	tagApplication = 0x40
	tagContext     = 0x80
	tagConstructed = 0x20
	tagNumberMask  = 0x1f
)

// ErrMalformed is wrapped by every error about bytes that are not LDAP. What
// follows them in a stream cannot be read (RFC 4511 section 4.1.1).
var ErrMalformed = errors.New("malformed LDAP")

// malformed is an ErrMalformed with a reason. It carries no content of the
// message, and making one does not allocate.
type malformed string

func (m malformed) Error() string        { return ErrMalformed.Error() + ": " + string(m) }
func (m malformed) Is(target error) bool { return target == ErrMalformed }

const (
	errTruncated  = malformed("an element is longer than what holds it")
	errIndefinite = malformed("indefinite length (RFC 4511 section 5.1)")
	errLongLength = malformed("more than four length octets")
	errLongTag    = malformed("tag number above 30")
	errTag        = malformed("unexpected tag")
	errNumber     = malformed("integer out of range")
	errBoolean    = malformed("boolean is not one octet")
	errTrailing   = malformed("unexpected element at the end")
	errNotExact   = malformed("message does not end where its header says")
)

// maxLengthOctets is how many octets may follow the first one of a long-form
// length. Four express 4 GiB, far above any limit; Windows always sends four.
const maxLengthOctets = 4

// header decodes a tag and a definite length at the start of b (X.690 sections
// 8.1.2, 8.1.3). size is the number of octets both take; 0 with a nil error
// means that b ends too early to tell.
func header(b []byte) (tag byte, size int, length uint32, err error) {
	if len(b) == 0 {
		return 0, 0, 0, nil
	}
	tag = b[0]
	if tag&tagNumberMask == tagNumberMask {
		return tag, 0, 0, errLongTag
	}
	if len(b) == 1 {
		return tag, 0, 0, nil
	}
	first := b[1]
	if first < 0x80 {
		return tag, 2, uint32(first), nil
	}
	octets := int(first & 0x7f)
	switch {
	case octets == 0:
		return tag, 0, 0, errIndefinite
	case octets > maxLengthOctets:
		return tag, 0, 0, errLongLength
	case len(b) < 2+octets:
		return tag, 0, 0, nil
	}
	for _, o := range b[2 : 2+octets] {
		length = length<<8 | uint32(o)
	}
	return tag, 2 + octets, length, nil
}

// A cursor reads the elements of b one after the other. The first failure
// sticks, and later reads return zero values: a decoder runs straight through
// and looks at err once.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.b = nil
}

// more reports whether there is another element.
func (c *cursor) more() bool { return len(c.b) > 0 }

// peek returns the tag of the next element, 0 if there is none.
func (c *cursor) peek() byte {
	if len(c.b) == 0 {
		return 0
	}
	return c.b[0]
}

// element reads one element of any tag.
func (c *cursor) element() (tag byte, contents []byte) {
	// Nearly every element has a one-octet length.
	if b := c.b; len(b) >= 2 && b[1] < 0x80 && b[0]&tagNumberMask != tagNumberMask {
		if end := 2 + int(b[1]); end <= len(b) {
			c.b = b[end:]
			return b[0], b[2:end:end]
		}
	}
	return c.longElement()
}

func (c *cursor) longElement() (tag byte, contents []byte) {
	tag, size, length, err := header(c.b)
	if err != nil {
		c.fail(err)
		return 0, nil
	}
	if size == 0 || uint64(length) > uint64(len(c.b)-size) {
		c.fail(errTruncated)
		return 0, nil
	}
	end := size + int(length)
	contents = c.b[size:end:end]
	c.b = c.b[end:]
	return tag, contents
}

// expect reads one element of the given tag.
func (c *cursor) expect(tag byte) []byte {
	got, contents := c.element()
	if got != tag {
		c.fail(errTag) // keeps the first error, if element failed
		return nil
	}
	return contents
}

// optional reads an element if it has the given tag.
func (c *cursor) optional(tag byte) (contents []byte, ok bool) {
	if c.peek() != tag {
		return nil, false
	}
	_, contents = c.element()
	return contents, c.err == nil
}

// octets reads an OCTET STRING, which must be primitive (RFC 4511 section 5.1).
func (c *cursor) octets() []byte { return c.expect(tagOctets) }

// number reads an INTEGER or ENUMERATED from 0 to 2^31-1 (maxInt of RFC 4511).
func (c *cursor) number(tag byte) int32 {
	contents := c.expect(tag)
	if c.err != nil {
		return 0
	}
	n, ok := parseNumber(contents)
	if !ok {
		c.fail(errNumber)
	}
	return n
}

// parseNumber decodes the contents of an INTEGER between 0 and 2^31-1.
func parseNumber(contents []byte) (int32, bool) {
	if len(contents) == 0 || len(contents) > 4 || contents[0] >= 0x80 {
		return 0, false
	}
	var n int32
	for _, o := range contents {
		n = n<<8 | int32(o)
	}
	return n, true
}

// boolean reads a BOOLEAN; any octet but 0 is TRUE.
func (c *cursor) boolean() bool {
	contents := c.expect(tagBoolean)
	if c.err != nil {
		return false
	}
	if len(contents) != 1 {
		c.fail(errBoolean)
		return false
	}
	return contents[0] != 0
}

// finish skips unrecognised trailing elements, which must be well formed
// (RFC 4511 section 4: extensibility is implied), and returns the first error.
func (c *cursor) finish() error {
	for c.more() {
		c.element()
	}
	return c.err
}

// end refuses anything that is left, and returns the first error.
func (c *cursor) end() error {
	if c.more() {
		c.fail(errTrailing)
	}
	return c.err
}

// skip checks the elements of rest, which is unrecognised, and fails with them.
func (c *cursor) skip(rest []byte) {
	if len(rest) == 0 {
		return
	}
	in := cursor{b: rest}
	if err := in.finish(); err != nil {
		c.fail(err)
	}
}

// checkAll checks that b is a sequence of elements of one tag.
func checkAll(b []byte, tag byte) error {
	c := cursor{b: b}
	for c.more() {
		c.expect(tag)
	}
	return c.err
}
