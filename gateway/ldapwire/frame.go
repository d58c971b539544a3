package ldapwire

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
)

// Limits bounds what is read from a peer. A zero field means its default.
type Limits struct {
	// MaxMessage is the longest message in bytes, header included.
	// Default: DefaultMaxMessage.
	MaxMessage int
	// MaxDepth is how deep elements may nest; the message itself is level 1.
	// Default: DefaultMaxDepth, also the highest.
	MaxDepth int
}

const (
	// DefaultMaxMessage is the limit for peers that proved who they are, in
	// bytes. OpenLDAP and Samba stop at the same size, Windows at 10 MiB.
	DefaultMaxMessage = 16 << 20
	// DefaultMaxMessageUnbound is the limit for strangers, in bytes: OpenLDAP's
	// and Samba's, too.
	DefaultMaxMessageUnbound = 256 << 10
	// DefaultMaxDepth is how deep elements may nest. A search request needs
	// two levels around its filter and one per nested and, or, not; 389-ds
	// allows 40 of these, decoders that recurse have died of far more.
	DefaultMaxDepth = 100

	// MaxMessageID is the highest message ID (RFC 4511 section 4.1.1.1).
	MaxMessageID = math.MaxInt32

	// minContents is the shortest contents of an LDAPMessage: a one-octet
	// messageID and an empty unbind.
	minContents = 5
)

func (l Limits) withDefaults() Limits {
	if l.MaxMessage <= 0 {
		l.MaxMessage = DefaultMaxMessage
	}
	if l.MaxDepth <= 0 || l.MaxDepth > DefaultMaxDepth {
		l.MaxDepth = DefaultMaxDepth
	}
	return l
}

// ErrTooLarge is returned for a message longer than the limit. Its bytes were
// not read, so the stream cannot be resumed: the peer is owed a notice of
// disconnection (RFC 4511 section 4.4.1).
var ErrTooLarge = errors.New("LDAP message larger than the limit")

// ErrTooDeep is returned for a message nested more deeply than the limit. It
// is also an ErrMalformed.
var ErrTooDeep error = malformed("nested too deeply")

const (
	errNotMessage = malformed("not an LDAP message")
	errTooShort   = malformed("message too short")
	errNoOp       = malformed("no operation in the message")
	errControls   = malformed("misplaced controls")
)

// FrameSize returns how many bytes the first message in b takes, as its header
// declares: tag, length octets and contents. It is 0, with a nil error, if the
// header is incomplete. The message need not be in b. Errors: ErrMalformed, and
// ErrTooLarge if the message is longer than max bytes.
func FrameSize(b []byte, max int) (n int, err error) {
	if len(b) > 0 && b[0] != tagSequence {
		return 0, errNotMessage
	}
	_, size, length, err := header(b)
	if err != nil || size == 0 {
		return 0, err
	}
	if length < minContents {
		return 0, errTooShort
	}
	if int64(size)+int64(length) > int64(max) {
		return 0, ErrTooLarge
	}
	return size + int(length), nil
}

// CheckDepth checks that all elements of a frame fit their parents, have
// definite lengths, and nest at most maxDepth levels (at most
// DefaultMaxDepth, also the meaning of 0). It looks into constructed elements
// only, so values are opaque, and uses constant space. Errors: ErrMalformed,
// ErrTooDeep.
func CheckDepth(frame []byte, maxDepth int) (err error) {
	if uint64(len(frame)) > math.MaxUint32 {
		return ErrTooLarge
	}
	maxDepth = Limits{MaxDepth: maxDepth}.withDefaults().MaxDepth
	var ends [DefaultMaxDepth]uint32 // where the elements around pos end
	depth, pos, end := 0, 0, len(frame)
	for {
		for pos == end {
			if depth == 0 {
				return nil
			}
			depth--
			end = int(ends[depth])
		}
		tag, size, length := frame[pos], 2, uint32(0)
		if end-pos >= 2 && frame[pos+1] < 0x80 && tag&tagNumberMask != tagNumberMask {
			length = uint32(frame[pos+1])
		} else if tag, size, length, err = header(frame[pos:end]); err != nil {
			return err
		}
		if size == 0 || uint64(length) > uint64(end-pos-size) {
			return errTruncated
		}
		pos += size
		if tag&tagConstructed == 0 {
			pos += int(length)
			continue
		}
		if depth == maxDepth {
			return ErrTooDeep
		}
		ends[depth] = uint32(end)
		depth++
		end = pos + int(length)
	}
}

// A Message is one LDAPMessage (RFC 4511 section 4.1.1). Its slices share
// memory with the frame it was parsed from.
//
// Printed, logged or marshalled, it shows ID, operation and size, never bytes.
type Message struct {
	Raw      []byte // the whole message
	ID       int32  // 0 for unsolicited notifications
	Op       Op     // tag of the operation; may be unknown
	Body     []byte // contents of the operation
	Controls []byte // contents of the controls; nil if absent
}

// ParseMessage decodes the envelope of a frame, which must be exactly one
// message. It looks neither into the operation nor into the controls.
func ParseMessage(frame []byte) (Message, error) {
	outer := cursor{b: frame}
	in := cursor{b: outer.expect(tagSequence)}
	if outer.err != nil {
		return Message{}, outer.err
	}
	if outer.more() {
		return Message{}, errNotExact
	}
	m := Message{Raw: frame, ID: in.number(tagInteger)}
	if in.err != nil {
		return Message{}, in.err
	}
	if !in.more() {
		return Message{}, errNoOp
	}
	tag, body := in.element()
	if in.err == nil && tag&tagClassMask != tagApplication {
		in.fail(errTag)
	}
	m.Op, m.Body = Op(tag), body
	if controls, ok := in.optional(tagControls); ok {
		m.Controls = controls
	}
	for in.more() {
		// Neither a second set of controls, nor one that a reader with other
		// ideas about order could find.
		if tag, _ := in.element(); tag&^tagConstructed == tagContext {
			in.fail(errControls)
		}
	}
	if in.err != nil {
		return Message{}, in.err
	}
	return m, nil
}

// String returns ID, operation and size.
func (m Message) String() string {
	return fmt.Sprintf("message %d: %s, %d bytes", m.ID, m.Op, len(m.Raw))
}

// Format writes what String returns, for every verb.
func (m Message) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// LogValue returns a group of msg_id, op and size.
func (m Message) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("msg_id", int(m.ID)), slog.String("op", m.Op.String()), slog.Int("size", len(m.Raw)))
}

// MarshalText returns what String returns.
func (m Message) MarshalText() ([]byte, error) { return []byte(m.String()), nil }
