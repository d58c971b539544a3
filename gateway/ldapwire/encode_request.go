package ldapwire

import "slices"

// AppendBindRequest appends a simple bind of version 3. dst grows at most once,
// before the password is written to it.
func AppendBindRequest(dst []byte, id int32, name string, password []byte) []byte {
	dst = slices.Grow(dst, len(name)+len(password)+6*maxHeader)
	return message(dst, id, OpBindRequest, func(dst []byte) []byte {
		dst = appendNumber(dst, tagInteger, 3)
		dst = appendElement(dst, tagOctets, name)
		return appendElement(dst, byte(AuthSimple), password)
	})
}

// AppendSASLBindRequest appends a SASL bind. Nil credentials are absent, empty
// ones are not (RFC 4513 section 5.2.1.3). dst grows at most once.
func AppendSASLBindRequest(dst []byte, id int32, name, mechanism string, credentials []byte) []byte {
	dst = slices.Grow(dst, len(name)+len(mechanism)+len(credentials)+8*maxHeader)
	return message(dst, id, OpBindRequest, func(dst []byte) []byte {
		dst = appendNumber(dst, tagInteger, 3)
		dst = appendElement(dst, tagOctets, name)
		at := len(dst)
		dst = appendElement(dst, tagOctets, mechanism)
		if credentials != nil {
			dst = appendElement(dst, tagOctets, credentials)
		}
		return enclose(dst, at, byte(AuthSASL))
	})
}

// AppendUnbindRequest appends an unbind.
func AppendUnbindRequest(dst []byte, id int32) []byte {
	return message(dst, id, OpUnbindRequest, func(dst []byte) []byte { return dst })
}

// AppendAbandonRequest appends an abandon of the request with the ID target.
func AppendAbandonRequest(dst []byte, id, target int32) []byte {
	at := len(dst)
	dst = appendNumber(dst, tagInteger, id)
	dst = appendNumber(dst, byte(OpAbandonRequest), target)
	return enclose(dst, at, tagSequence)
}

// SearchParams is what to search. Aliases are never dereferenced: AD has none.
type SearchParams struct {
	BaseDN     string
	Scope      int // ScopeBase, ScopeOneLevel, ScopeSubtree
	SizeLimit  int // entries, up to 2^31-1; 0 is no limit
	TimeLimit  int // seconds, up to 2^31-1; 0 is no limit
	TypesOnly  bool
	Filter     []byte // whole element; nil is (objectClass=*)
	Attributes []string
}

// AppendSearchRequest appends a search.
func AppendSearchRequest(dst []byte, id int32, p SearchParams) []byte {
	return message(dst, id, OpSearchRequest, func(dst []byte) []byte {
		dst = appendElement(dst, tagOctets, p.BaseDN)
		dst = appendNumber(dst, tagEnumerated, int32(p.Scope))
		dst = appendNumber(dst, tagEnumerated, 0)
		dst = appendNumber(dst, tagInteger, int32(p.SizeLimit))
		dst = appendNumber(dst, tagInteger, int32(p.TimeLimit))
		dst = appendBoolean(dst, p.TypesOnly)
		if p.Filter == nil {
			dst = appendElement(dst, 0x87, "objectClass")
		}
		dst = append(dst, p.Filter...)
		return appendStrings(dst, tagSequence, p.Attributes)
	})
}

func appendStrings(dst []byte, tag byte, list []string) []byte {
	at := len(dst)
	for _, s := range list {
		dst = appendElement(dst, tagOctets, s)
	}
	return enclose(dst, at, tag)
}

// A Mod is a modification to encode.
type Mod struct {
	Op     ModOp
	Type   string
	Values [][]byte
}

// AppendModifyRequest appends a Modify. dst grows at most once, before the
// values are written to it.
func AppendModifyRequest(dst []byte, id int32, dn string, mods ...Mod) []byte {
	size := len(dn) + 5*maxHeader
	for _, mod := range mods {
		size += attributeSize(mod.Type, mod.Values) + 2*maxHeader
	}
	dst = slices.Grow(dst, size)
	return message(dst, id, OpModifyRequest, func(dst []byte) []byte {
		dst = appendElement(dst, tagOctets, dn)
		list := len(dst)
		for _, mod := range mods {
			at := len(dst)
			dst = appendNumber(dst, tagEnumerated, int32(mod.Op))
			dst = appendAttribute(dst, mod.Type, mod.Values)
			dst = enclose(dst, at, tagSequence)
		}
		return enclose(dst, list, tagSequence)
	})
}

// AttributeValues is an attribute to encode.
type AttributeValues struct {
	Type   string
	Values [][]byte
}

// attributeSize is at least what appendAttribute appends, and needs to do it.
func attributeSize(name string, values [][]byte) int {
	size := len(name) + 3*maxHeader
	for _, v := range values {
		size += len(v) + maxHeader
	}
	return size
}

func appendAttribute(dst []byte, name string, values [][]byte) []byte {
	at := len(dst)
	dst = appendElement(dst, tagOctets, name)
	set := len(dst)
	for _, v := range values {
		dst = appendElement(dst, tagOctets, v)
	}
	dst = enclose(dst, set, tagSet)
	return enclose(dst, at, tagSequence)
}

// appendEntry appends the message of an Add or a SearchResultEntry.
func appendEntry(dst []byte, id int32, op Op, dn string, attrs []AttributeValues) []byte {
	size := len(dn) + 5*maxHeader
	for _, a := range attrs {
		size += attributeSize(a.Type, a.Values)
	}
	dst = slices.Grow(dst, size)
	return message(dst, id, op, func(dst []byte) []byte {
		dst = appendElement(dst, tagOctets, dn)
		list := len(dst)
		for _, a := range attrs {
			dst = appendAttribute(dst, a.Type, a.Values)
		}
		return enclose(dst, list, tagSequence)
	})
}

// AppendAddRequest appends an Add. dst grows at most once, before the values
// are written to it.
func AppendAddRequest(dst []byte, id int32, dn string, attrs []AttributeValues) []byte {
	return appendEntry(dst, id, OpAddRequest, dn, attrs)
}

// AppendDelRequest appends a delete.
func AppendDelRequest(dst []byte, id int32, dn string) []byte {
	return message(dst, id, OpDelRequest, func(dst []byte) []byte { return append(dst, dn...) })
}

// AppendCompareRequest appends a Compare.
func AppendCompareRequest(dst []byte, id int32, dn, name string, value []byte) []byte {
	return message(dst, id, OpCompareRequest, func(dst []byte) []byte {
		dst = appendElement(dst, tagOctets, dn)
		at := len(dst)
		dst = appendElement(dst, tagOctets, name)
		dst = appendElement(dst, tagOctets, value)
		return enclose(dst, at, tagSequence)
	})
}

// AppendModifyDNRequest appends a ModifyDN; no newSuperior if it is empty.
func AppendModifyDNRequest(dst []byte, id int32, dn, newRDN string, deleteOldRDN bool, newSuperior string) []byte {
	return message(dst, id, OpModifyDNRequest, func(dst []byte) []byte {
		dst = appendElement(dst, tagOctets, dn)
		dst = appendElement(dst, tagOctets, newRDN)
		dst = appendBoolean(dst, deleteOldRDN)
		if newSuperior != "" {
			dst = appendElement(dst, 0x80, newSuperior)
		}
		return dst
	})
}

// AppendExtendedRequest appends an extended request. Absent and empty values
// differ. dst grows at most once, before the value is written to it.
func AppendExtendedRequest(dst []byte, id int32, name string, value []byte, hasValue bool) []byte {
	dst = slices.Grow(dst, len(name)+len(value)+5*maxHeader)
	return message(dst, id, OpExtendedRequest, func(dst []byte) []byte {
		dst = appendElement(dst, 0x80, name)
		if hasValue {
			dst = appendElement(dst, 0x81, value)
		}
		return dst
	})
}
