package adsim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// A Filter is a search filter (RFC 4511 section 4.5.1.7).
type Filter struct{ p *ber.Packet }

// ParseFilter decodes an encoded filter, whose nesting was checked before.
func ParseFilter(b []byte) (Filter, error) {
	p, err := ber.DecodePacketErr(b)
	if err != nil {
		return Filter{}, fmt.Errorf("parse filter: %w", err)
	}
	if err := checkFilter(p); err != nil {
		return Filter{}, fmt.Errorf("parse filter: %w", err)
	}
	return Filter{p}, nil
}

// FilterFromText compiles the text form of a filter (RFC 4515).
func FilterFromText(s string) (Filter, error) {
	p, err := ldap.CompileFilter(s)
	if err != nil {
		return Filter{}, fmt.Errorf("parse filter: %w", err)
	}
	return ParseFilter(p.Bytes()) // as decoded, which the compiler's packets are not
}

var errFilter = errors.New("not a filter")

// checkFilter makes sure that matching finds the children it expects.
func checkFilter(p *ber.Packet) error {
	children := len(p.Children)
	ok := p.ClassType == ber.ClassContext
	switch int(p.Tag) {
	case ldap.FilterAnd, ldap.FilterOr:
		for _, c := range p.Children {
			if err := checkFilter(c); err != nil {
				return err
			}
		}
	case ldap.FilterNot:
		if !ok || children != 1 {
			return errFilter
		}
		return checkFilter(p.Children[0])
	case ldap.FilterEqualityMatch, ldap.FilterGreaterOrEqual, ldap.FilterLessOrEqual, ldap.FilterApproxMatch:
		ok = ok && children == 2
	case ldap.FilterSubstrings:
		ok = ok && children == 2 && len(p.Children[1].Children) > 0
	case ldap.FilterPresent:
		ok = ok && children == 0
	case ldap.FilterExtensibleMatch:
		ok = ok && children >= 1
	default:
		ok = false
	}
	if !ok {
		return errFilter
	}
	return nil
}

// Rules of AD for extensible matching (MS-ADTS 3.1.1.3.4.4).
const (
	ruleBitAnd  = "1.2.840.113556.1.4.803"
	ruleBitOr   = "1.2.840.113556.1.4.804"
	ruleInChain = "1.2.840.113556.1.4.1941"
)

// A truth is a value of LDAP's three-valued logic.
type truth int

const (
	undefined truth = iota
	no
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// matches evaluates a filter for an entry. view holds the values a client would
// see, so that nobody can search for what cannot be read.
func (d *Directory) matches(p *ber.Packet, e *entry) truth {
	switch int(p.Tag) {
	case ldap.FilterAnd:
		result := yes
		for _, c := range p.Children {
			switch d.matches(c, e) {
			case no:
				return no
			case undefined:
				result = undefined
			}
		}
		return result
	case ldap.FilterOr:
		result := no
		for _, c := range p.Children {
			switch d.matches(c, e) {
			case yes:
				return yes
			case undefined:
				result = undefined
			}
		}
		return result
	case ldap.FilterNot:
		switch d.matches(p.Children[0], e) {
		case yes:
			return no
		case no:
			return yes
		}
		return undefined
	}
	return d.matchItem(p, e)
}

func (d *Directory) matchItem(p *ber.Packet, e *entry) truth {
	if int(p.Tag) == ldap.FilterPresent {
		at, ok := d.schema.lookup(text(p))
		return truthOf(ok && len(d.searchable(e, at)) > 0)
	}
	if int(p.Tag) == ldap.FilterExtensibleMatch {
		return d.matchExtensible(p, e)
	}
	at, ok := d.schema.lookup(text(p.Children[0]))
	if !ok {
		return undefined
	}
	values := d.searchable(e, at)
	if int(p.Tag) == ldap.FilterSubstrings {
		return truthOf(slices.ContainsFunc(values, func(v string) bool { return matchSubstrings(at, v, p.Children[1].Children) }))
	}
	want := d.assertion(at, text(p.Children[1]))
	return truthOf(slices.ContainsFunc(values, func(v string) bool {
		c := at.compare(v, want)
		switch int(p.Tag) {
		case ldap.FilterGreaterOrEqual:
			return c >= 0
		case ldap.FilterLessOrEqual:
			return c <= 0
		}
		return c == 0
	}))
}

// searchable is what a filter sees of an attribute.
func (d *Directory) searchable(e *entry, at attrType) []string {
	switch {
	case at.flags&(hidden|constructed) != 0:
		return nil
	case at.name == "memberOf":
		return d.backLinks(e, "member")
	case at.name == "directReports":
		return d.backLinks(e, "manager")
	}
	return e.get(at.name)
}

// assertion is a value to compare with: a class name stands for its category,
// and a GUID may be written with dashes.
func (d *Directory) assertion(at attrType, value string) string {
	switch at.name {
	case "objectCategory":
		if c, ok := d.schema.classes[strings.ToLower(value)]; ok {
			return "CN=" + c.category + ",CN=Schema,CN=Configuration," + d.base
		}
	case "objectGUID":
		if g, ok := parseGUID(value); ok && len(value) == 36 {
			return string(g[:])
		}
	case "objectSid":
		if e := d.byID("SID", value); e != nil {
			return e.first("objectSid")
		}
	}
	return value
}

func (a attrType) compare(v, want string) int {
	if a.syntax == integer {
		x, err := strconv.ParseInt(v, 10, 64)
		y, err2 := strconv.ParseInt(want, 10, 64)
		if err == nil && err2 == nil {
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		}
	}
	return strings.Compare(a.normal(v), a.normal(want))
}

func matchSubstrings(a attrType, value string, parts []*ber.Packet) bool {
	if a.syntax == dnString {
		return false // AD has no substring match for names
	}
	value = a.normal(value)
	for _, part := range parts {
		want := text(part)
		if a.syntax == unicodeString {
			want = strings.ToLower(want)
		}
		switch int(part.Tag) {
		case ldap.FilterSubstringsInitial:
			if !strings.HasPrefix(value, want) {
				return false
			}
			value = value[len(want):]
		case ldap.FilterSubstringsFinal:
			if !strings.HasSuffix(value, want) {
				return false
			}
		default:
			i := strings.Index(value, want)
			if i < 0 {
				return false
			}
			value = value[i+len(want):]
		}
	}
	return true
}

func (d *Directory) matchExtensible(p *ber.Packet, e *entry) truth {
	var rule, attr, value string
	for _, c := range p.Children {
		switch int(c.Tag) {
		case ldap.MatchingRuleAssertionMatchingRule:
			rule = text(c)
		case ldap.MatchingRuleAssertionType:
			attr = text(c)
		case ldap.MatchingRuleAssertionMatchValue:
			value = text(c)
		}
	}
	at, ok := d.schema.lookup(attr)
	if !ok {
		return undefined
	}
	switch rule {
	case ruleBitAnd, ruleBitOr:
		mask, err := strconv.ParseInt(value, 10, 64)
		if err != nil || at.syntax != integer {
			return undefined
		}
		return truthOf(slices.ContainsFunc(d.searchable(e, at), func(v string) bool {
			n, err := strconv.ParseInt(v, 10, 64)
			return err == nil && (rule == ruleBitAnd && n&mask == mask || rule == ruleBitOr && n&mask != 0)
		}))
	case ruleInChain:
		if at.syntax != dnString {
			return undefined
		}
		return truthOf(d.inChain(e, at, at.normal(value), make(map[guid]bool)))
	}
	return undefined
}

// inChain follows a link attribute from entry to entry until it meets target.
func (d *Directory) inChain(e *entry, at attrType, target string, seen map[guid]bool) bool {
	if seen[e.guid] {
		return false
	}
	seen[e.guid] = true
	for _, dn := range d.searchable(e, at) {
		key := at.normal(dn)
		if key == target {
			return true
		}
		if next, ok := d.byKey[key]; ok && d.inChain(next, at, target, seen) {
			return true
		}
	}
	return false
}

// text is the contents of a primitive element.
func text(p *ber.Packet) string {
	if p.Data == nil {
		return ""
	}
	return p.Data.String()
}
