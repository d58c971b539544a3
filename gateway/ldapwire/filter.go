package ldapwire

// Filters are built from values, never from text (RFC 4511 section 4.5.1), so
// nothing in a value needs an escape.

// AppendEqualityFilter appends the filter (name=value).
func AppendEqualityFilter(dst []byte, name string, value []byte) []byte {
	at := len(dst)
	dst = appendElement(dst, tagOctets, name)
	dst = appendElement(dst, tagOctets, value)
	return enclose(dst, at, 0xa3)
}

// AppendAndFilter appends the filter that all of the given ones hold.
func AppendAndFilter(dst []byte, filters ...[]byte) []byte {
	at := len(dst)
	for _, f := range filters {
		dst = append(dst, f...)
	}
	return enclose(dst, at, 0xa0)
}
