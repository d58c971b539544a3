// Package ldapwire is the gateway's codec for LDAP messages (RFC 4511): it
// finds where a message ends, says what it is, decodes the operations the
// gateway must understand, and encodes the few it sends itself.
//
// A [Message] keeps the exact bytes of the whole message, so a relay can
// forward operations, controls and results it does not understand, or has no
// reason to change. A [Reader] yields one message at a time from a byte
// stream. The Parse functions decode a message's Body without copying; the
// Append functions add an encoded message to a slice.
//
// # What is accepted
//
// LDAP is BER with restrictions (RFC 4511 section 5.1). Where a lenient
// decoder would let the gateway and the domain controller read one message
// two ways, this one refuses:
//
//   - indefinite lengths, constructed OCTET STRINGs, and tag numbers above 30;
//   - an element that does not fit its parent, or a message that does not end
//     where its header says;
//   - more than four length octets, even if the first ones are zero, and
//     INTEGERs or ENUMERATEDs of more than four octets;
//   - controls that are repeated or not third in the message, anything after
//     the credentials of a bind, and a field of a password change given twice.
//
// It accepts what is unambiguous: lengths longer than necessary, which Windows
// clients send throughout (30 84 00 00 00 0c), any octet but 0 for TRUE,
// INTEGERs with redundant leading octets, and, as section 4 demands,
// unrecognised elements at the end of a SEQUENCE. Names, attribute descriptions
// and values are handed on as they are, whether or not they are UTF-8.
//
// # Guarantees
//
// No input makes a function panic, recurse, or allocate more than a small
// multiple of the bytes that arrived: a length that is only claimed allocates
// nothing. Size is judged by the header alone, nesting before anything is
// decoded. Looking at a message and decoding one allocates nothing, except
// where a password is copied out.
//
// Slices in decoded values point into the message, and those of a Reader are
// overwritten with zeroes by the next [Reader.Next]. What is to be kept must be
// copied. Credentials are not handed out as slices: a decoded bind or password
// change remembers where they are, and copies them into a [secret.Bytes] on
// demand, which the caller must Wipe. Decoded requests print without the values
// in them.
//
// # Not guaranteed
//
// Attribute values of a Modify or Add are plain slices, passwords among them,
// and a decoded message inside an unexported field of another struct is beyond
// the reach of its own redaction. Names, filters and values are not checked
// against any syntax, result codes not against the operation; size and nesting
// aside, limits (values, modifications, controls) are the caller's, who finds
// the counts in the decoded values.
//
// The package opens no sockets, starts no goroutines and logs nothing.
//
// Specifications: RFC 4511 (protocol), RFC 3062 (password modify), RFC 3909
// (cancel), ITU-T X.690 section 8 (BER), MS-ADTS 3.1.1.3.1.5 (unicodePwd).
package ldapwire
