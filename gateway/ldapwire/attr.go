package ldapwire

import "bytes"

// An Attr is an attribute the gateway must recognise however it is written.
type Attr int

// Attributes.
const (
	AttrUnicodePwd   Attr = iota + 1 // 1.2.840.113556.1.4.90
	AttrUserPassword                 // 2.5.4.35
	AttrPwdLastSet                   // 1.2.840.113556.1.4.96

	AttrSupportedExtension      // 1.3.6.1.4.1.1466.101.120.7
	AttrSupportedSASLMechanisms // 1.3.6.1.4.1.1466.101.120.14
)

// String returns the attribute's name.
func (a Attr) String() string {
	name, _ := a.forms()
	return name
}

func (a Attr) forms() (name, oid string) {
	switch a {
	case AttrUnicodePwd:
		return "unicodePwd", "1.2.840.113556.1.4.90"
	case AttrUserPassword:
		return "userPassword", "2.5.4.35"
	case AttrPwdLastSet:
		return "pwdLastSet", "1.2.840.113556.1.4.96"
	case AttrSupportedExtension:
		return "supportedExtension", "1.3.6.1.4.1.1466.101.120.7"
	case AttrSupportedSASLMechanisms:
		return "supportedSASLMechanisms", "1.3.6.1.4.1.1466.101.120.14"
	}
	return "", ""
}

// IsAttr reports whether an attribute description (RFC 4512 section 2.5) names
// a, in any case, as an OID, with "OID." before it, with options behind it,
// with white space around it. What follows a NUL is ignored, as by servers that
// keep names as C strings. It is generous on purpose: the price of one match too
// many is a look at a value; of one too few, a password change that nobody saw.
func IsAttr(desc []byte, a Attr) bool {
	name, oid := a.forms()
	if name == "" || len(desc) < min(len(name), len(oid)) {
		return false
	}
	if i := bytes.IndexByte(desc, 0); i >= 0 {
		desc = desc[:i]
	}
	if i := bytes.IndexByte(desc, ';'); i >= 0 {
		desc = desc[:i]
	}
	desc = trimSpace(desc)
	if equalFold(desc, name) {
		return true
	}
	if len(desc) > 4 && equalFold(desc[:4], "oid.") {
		desc = desc[4:]
	}
	return equalOID(desc, oid)
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// equalFold compares ASCII without regard to case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if lower(c) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// equalOID compares with an OID without leading zeroes; b may have some.
func equalOID(b []byte, oid string) bool {
	arcStart := true
	for i := 0; i < len(oid); i++ {
		for arcStart && len(b) > 1 && b[0] == '0' && b[1] != '.' {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != oid[i] {
			return false
		}
		arcStart = oid[i] == '.'
		b = b[1:]
	}
	return len(b) == 0
}
