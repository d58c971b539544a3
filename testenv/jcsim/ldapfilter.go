package jcsim

import (
	"slices"
	"strconv"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// truth is the three-valued logic of filters (RFC 4511 4.5.1.7).
type truth int

const (
	isFalse truth = iota
	isUndefined
	isTrue
)

// matcher says whether an entry fits.
type matcher func(entry) truth

// schema names the attributes of RFC 4519 and 2307 that entries here can have,
// in lower case, and whether their values are compared with case.
var schema = map[string]bool{
	"objectclass": false, "uid": false, "cn": false, "sn": false, "givenname": false, "mail": false, "o": false, "ou": false,
	"uidnumber": false, "gidnumber": false, "homedirectory": true, "loginshell": true, "memberof": false, "jcldapadmin": false,
	"description": false, "member": false, "displayname": false, "title": false, "telephonenumber": false,
}

// compileFilter makes a matcher of RFC 4515 text.
func compileFilter(text string) (matcher, error) {
	p, err := ldap.CompileFilter(text)
	if err != nil {
		return nil, err
	}
	return compile(p), nil
}

func compile(p *ber.Packet) matcher {
	switch p.Tag {
	case ldap.FilterAnd:
		return fold(p.Children, isTrue, func(a, b truth) truth { return min(a, b) })
	case ldap.FilterOr:
		return fold(p.Children, isFalse, func(a, b truth) truth { return max(a, b) })
	case ldap.FilterNot:
		inner := compile(p.Children[0])
		return func(e entry) truth { return isTrue - inner(e) }
	case ldap.FilterPresent:
		name := p.Data.String()
		return func(e entry) truth {
			if !known(name) {
				return isUndefined
			}
			return truthOf(len(e.values(name)) > 0)
		}
	case ldap.FilterEqualityMatch, ldap.FilterApproxMatch:
		return compare(p, func(have, want string) bool { return have == want })
	case ldap.FilterGreaterOrEqual:
		return compare(p, func(have, want string) bool { return order(have, want) >= 0 })
	case ldap.FilterLessOrEqual:
		return compare(p, func(have, want string) bool { return order(have, want) <= 0 })
	case ldap.FilterSubstrings:
		return substrings(p)
	}
	return func(entry) truth { return isUndefined } // extensible match: no rule is known
}

func fold(parts []*ber.Packet, start truth, join func(a, b truth) truth) matcher {
	var all []matcher
	for _, p := range parts {
		all = append(all, compile(p))
	}
	return func(e entry) truth {
		result := start
		for _, m := range all {
			result = join(result, m(e))
		}
		return result
	}
}

func known(name string) bool {
	_, ok := schema[strings.ToLower(name)]
	return ok
}

func truthOf(b bool) truth {
	if b {
		return isTrue
	}
	return isFalse
}

// normal prepares a value for comparison (RFC 4518, roughly: case and space).
func normal(name, value string) string {
	if schema[strings.ToLower(name)] {
		return value
	}
	return strings.ToLower(strings.Join(strings.Fields(value), " "))
}

func compare(p *ber.Packet, holds func(have, want string) bool) matcher {
	name := p.Children[0].Data.String()
	want := normal(name, p.Children[1].Data.String())
	return func(e entry) truth {
		if !known(name) {
			return isUndefined
		}
		return truthOf(slices.ContainsFunc(e.values(name), func(v string) bool { return holds(normal(name, v), want) }))
	}
}

// order compares numbers as numbers and the rest as text.
func order(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX != nil || errY != nil {
		return strings.Compare(a, b)
	}
	return int(max(-1, min(1, x-y)))
}

func substrings(p *ber.Packet) matcher {
	name := p.Children[0].Data.String()
	return func(e entry) truth {
		if !known(name) {
			return isUndefined
		}
		return truthOf(slices.ContainsFunc(e.values(name), func(v string) bool { return hasParts(name, v, p.Children[1].Children) }))
	}
}

func hasParts(name, value string, parts []*ber.Packet) bool {
	rest := normal(name, value)
	for _, part := range parts {
		text := normal(name, part.Data.String())
		switch part.Tag {
		case ldap.FilterSubstringsInitial:
			if !strings.HasPrefix(rest, text) {
				return false
			}
			rest = rest[len(text):]
		case ldap.FilterSubstringsFinal:
			return strings.HasSuffix(rest, text)
		default:
			_, after, ok := strings.Cut(rest, text)
			if !ok {
				return false
			}
			rest = after
		}
	}
	return true
}
