package ldapwire

import "slices"

// appendResultFields appends an LDAPResult without its tag.
func appendResultFields(dst []byte, code ResultCode, matchedDN, diagnostic string) []byte {
	dst = appendNumber(dst, tagEnumerated, int32(code))
	dst = appendElement(dst, tagOctets, matchedDN)
	return appendElement(dst, tagOctets, diagnostic)
}

// AppendResult appends a response that is nothing but an LDAPResult. op is the
// operation of the response: see [Op.Response].
func AppendResult(dst []byte, id int32, op Op, code ResultCode, matchedDN, diagnostic string) []byte {
	return message(dst, id, op, func(dst []byte) []byte {
		return appendResultFields(dst, code, matchedDN, diagnostic)
	})
}

// AppendReferral appends a response of resultCode referral with its URIs, of
// which there must be one at least (RFC 4511 section 4.1.10).
func AppendReferral(dst []byte, id int32, op Op, matchedDN, diagnostic string, uris ...string) []byte {
	return message(dst, id, op, func(dst []byte) []byte {
		dst = appendResultFields(dst, ResultReferral, matchedDN, diagnostic)
		return appendStrings(dst, tagReferral, uris)
	})
}

// AppendBindResponse appends the response to a bind. Nil serverCreds are
// absent, empty ones are not (RFC 4513 section 5.2.1.3).
func AppendBindResponse(dst []byte, id int32, code ResultCode, matchedDN, diagnostic string, serverCreds []byte) []byte {
	return message(dst, id, OpBindResponse, func(dst []byte) []byte {
		dst = appendResultFields(dst, code, matchedDN, diagnostic)
		if serverCreds != nil {
			dst = appendElement(dst, tagServerCreds, serverCreds)
		}
		return dst
	})
}

// AppendExtendedResponse appends the response to an extended request; no name
// if it is empty. Absent and empty values differ. dst grows at most once, before
// the value, which may be a generated password, is written to it.
func AppendExtendedResponse(dst []byte, id int32, code ResultCode, matchedDN, diagnostic, name string, value []byte, hasValue bool) []byte {
	dst = slices.Grow(dst, len(matchedDN)+len(diagnostic)+len(name)+len(value)+8*maxHeader)
	return message(dst, id, OpExtendedResponse, func(dst []byte) []byte {
		dst = appendResultFields(dst, code, matchedDN, diagnostic)
		if name != "" {
			dst = appendElement(dst, 0x8a, name)
		}
		if hasValue {
			dst = appendElement(dst, 0x8b, value)
		}
		return dst
	})
}

// AppendNoticeOfDisconnection appends the unsolicited notification that ends a
// session (RFC 4511 section 4.4.1).
func AppendNoticeOfDisconnection(dst []byte, code ResultCode, diagnostic string) []byte {
	return AppendExtendedResponse(dst, 0, code, "", diagnostic, OIDNoticeOfDisconnection, nil, false)
}

// AppendIntermediateResponse appends an intermediate response; no name if it is
// empty.
func AppendIntermediateResponse(dst []byte, id int32, name string, value []byte, hasValue bool) []byte {
	return message(dst, id, OpIntermediateResponse, func(dst []byte) []byte {
		if name != "" {
			dst = appendElement(dst, 0x80, name)
		}
		if hasValue {
			dst = appendElement(dst, 0x81, value)
		}
		return dst
	})
}

// AppendSearchEntry appends an entry found by a search.
func AppendSearchEntry(dst []byte, id int32, dn string, attrs []AttributeValues) []byte {
	return appendEntry(dst, id, OpSearchResultEntry, dn, attrs)
}

// AppendSearchDone appends the end of a search.
func AppendSearchDone(dst []byte, id int32, code ResultCode, matchedDN, diagnostic string) []byte {
	return AppendResult(dst, id, OpSearchResultDone, code, matchedDN, diagnostic)
}

// AppendSearchReference appends a reference found by a search: URIs, of which
// there must be one at least.
func AppendSearchReference(dst []byte, id int32, uris ...string) []byte {
	return message(dst, id, OpSearchResultReference, func(dst []byte) []byte {
		for _, uri := range uris {
			dst = appendElement(dst, tagOctets, uri)
		}
		return dst
	})
}
