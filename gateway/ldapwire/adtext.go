package ldapwire

import "bytes"

// SubCode returns the Win32 error that AD puts after "data" in the diagnostic
// of a refused bind, such as 0x52e in
//
//	80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v4563
//
// Other texts of AD also have "data" with another meaning; ok is false for
// these. DSID and version differ between builds and are not looked at.
func SubCode(diagnostic []byte) (code uint32, ok bool) {
	_, rest, found := bytes.Cut(diagnostic, []byte("AcceptSecurityContext"))
	if !found {
		return 0, false
	}
	_, rest, found = bytes.Cut(rest, []byte(", data "))
	if !found {
		return 0, false
	}
	code, n := hexPrefix(rest)
	if n == 0 || n > 8 {
		return 0, false
	}
	if len(rest) > n && rest[n] != ',' && rest[n] != ' ' && rest[n] != 0 {
		return 0, false
	}
	return code, true
}

// Win32Code returns the error at the start of AD's diagnostics, such as 0x52d
// in "0000052D: SvcErr: DSID-031A12D2, problem 5003 (WILL_NOT_PERFORM), data 0".
func Win32Code(diagnostic []byte) (code uint32, ok bool) {
	code, n := hexPrefix(diagnostic)
	if n != 8 || len(diagnostic) < 9 || diagnostic[8] != ':' {
		return 0, false
	}
	return code, true
}

// hexPrefix reads the hexadecimal digits at the start of b. It stops after
// nine, one more than fit.
func hexPrefix(b []byte) (v uint32, digits int) {
	for _, c := range b {
		switch {
		case digits > 8:
			return v, digits
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return v, digits
		}
		v = v<<4 | uint32(c)
		digits++
	}
	return v, digits
}
