package ldapwire

import "fmt"

// Search scopes (RFC 4511 section 4.5.1.2).
const (
	ScopeBase     = 0
	ScopeOneLevel = 1
	ScopeSubtree  = 2
)

// A SearchRequest is a Search (RFC 4511 section 4.5.1). It prints without its
// filter, which may hold what only the client should know.
type SearchRequest struct {
	BaseDN     []byte
	Scope      int // ScopeBase and so on; others may occur
	Deref      int // 0 never, 1 in searching, 2 finding the base, 3 always
	SizeLimit  int // entries; 0 is no limit
	TimeLimit  int // seconds; 0 is no limit
	TypesOnly  bool
	Filter     []byte // whole element, tag included; not looked into
	Attributes Values // descriptions asked for; none means all
}

// ParseSearchRequest decodes the body of a Search.
func ParseSearchRequest(body []byte) (SearchRequest, error) {
	c := cursor{b: body}
	s := SearchRequest{
		BaseDN:    c.octets(),
		Scope:     int(c.number(tagEnumerated)),
		Deref:     int(c.number(tagEnumerated)),
		SizeLimit: int(c.number(tagInteger)),
		TimeLimit: int(c.number(tagInteger)),
		TypesOnly: c.boolean(),
	}
	before := c.b
	tag, _ := c.element()
	if c.err == nil && tag&tagClassMask != tagContext {
		c.fail(errTag)
	}
	s.Filter = before[:len(before)-len(c.b)]
	s.Attributes.b = c.expect(tagSequence)
	if err := checkAll(s.Attributes.b, tagOctets); err != nil {
		c.fail(err)
	}
	if err := c.finish(); err != nil {
		return SearchRequest{}, fmt.Errorf("parse search request: %w", err)
	}
	return s, nil
}

// Format writes base, scope and sizes, for every verb.
func (s SearchRequest) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "search %q: scope %d, filter of %d bytes, %d attributes",
		s.BaseDN, s.Scope, len(s.Filter), s.Attributes.Len())
}

// FilterElements counts the BER elements that the filter is made of, nested
// ones included: three for (name=value). What is malformed is not counted.
func (s SearchRequest) FilterElements() (n int) {
	for b := s.Filter; ; n++ {
		tag, size, length, err := header(b)
		if err != nil || size == 0 {
			return n
		}
		// The contents of a constructed element are elements themselves.
		b = b[size:]
		if tag&tagConstructed == 0 {
			b = b[min(uint64(length), uint64(len(b))):]
		}
	}
}
