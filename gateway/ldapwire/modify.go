package ldapwire

import "fmt"

// Values iterates over the values of an attribute, without copying. It prints
// without them. A copy of a Values iterates by itself.
type Values struct {
	c cursor
	n int
}

// Len returns how many values there are, whatever was read of them.
func (v Values) Len() int { return v.n }

// Next returns the next value.
func (v *Values) Next() (value []byte, ok bool) {
	if !v.c.more() {
		return nil, false
	}
	value = v.c.octets()
	return value, v.c.err == nil
}

// Format writes the number of values, for every verb.
func (v Values) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%d values", v.n) }

// An Attribute is a PartialAttribute (RFC 4511 section 4.1.7).
type Attribute struct {
	Type   []byte // the description: with options, as sent
	Values Values
}

// Format writes type and number of values, for every verb.
func (a Attribute) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%q: %d values", a.Type, a.Values.n)
}

// attribute reads the SEQUENCE of type and SET of values, and checks all of it.
func (c *cursor) attribute() Attribute {
	in := cursor{b: c.expect(tagSequence), err: c.err}
	a := Attribute{Type: in.octets()}
	a.Values.c.b = in.expect(tagSet)
	n, err := countAll(a.Values.c.b, tagOctets)
	a.Values.n = n
	if err != nil {
		in.fail(err)
	}
	if err := in.finish(); err != nil {
		c.fail(err)
		return Attribute{}
	}
	return a
}

// A ModOp is what a Modification does (RFC 4511 section 4.6, RFC 4525). Others
// than these may occur.
type ModOp int

// Modification operations.
const (
	ModAdd       ModOp = 0
	ModDelete    ModOp = 1
	ModReplace   ModOp = 2
	ModIncrement ModOp = 3
)

// String returns "add", "delete", "replace", "increment" or "modOp(N)".
func (op ModOp) String() string {
	switch op {
	case ModAdd:
		return "add"
	case ModDelete:
		return "delete"
	case ModReplace:
		return "replace"
	case ModIncrement:
		return "increment"
	}
	return fmt.Sprintf("modOp(%d)", int(op))
}

// A Modification is one change of a ModifyRequest.
type Modification struct {
	Op     ModOp
	Type   []byte // the attribute description: with options, as sent
	Values Values
}

// Format writes operation, type and number of values, for every verb.
func (m Modification) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%s %q: %d values", m.Op, m.Type, m.Values.n)
}

func (c *cursor) modification() Modification {
	in := cursor{b: c.expect(tagSequence), err: c.err}
	op := ModOp(in.number(tagEnumerated))
	a := in.attribute()
	if err := in.finish(); err != nil {
		c.fail(err)
		return Modification{}
	}
	return Modification{Op: op, Type: a.Type, Values: a.Values}
}

// A ModifyRequest is a Modify (RFC 4511 section 4.6), checked as a whole when
// it is parsed; Next then iterates. It prints without values. A copy iterates
// by itself.
type ModifyRequest struct {
	DN   []byte
	list cursor
	n    int
}

// ParseModifyRequest decodes and checks the body of a Modify.
func ParseModifyRequest(body []byte) (ModifyRequest, error) {
	c := cursor{b: body}
	m := ModifyRequest{DN: c.octets()}
	m.list.b = c.expect(tagSequence)
	for check := m.list; check.more(); m.n++ {
		if check.modification(); check.err != nil {
			c.fail(check.err)
		}
	}
	if err := c.finish(); err != nil {
		return ModifyRequest{}, fmt.Errorf("parse modify request: %w", err)
	}
	return m, nil
}

// Len returns how many modifications there are, whatever was read of them.
func (m ModifyRequest) Len() int { return m.n }

// Next returns the next modification.
func (m *ModifyRequest) Next() (Modification, bool) {
	if !m.list.more() {
		return Modification{}, false
	}
	mod := m.list.modification()
	return mod, m.list.err == nil
}

// Format writes the DN and the number of modifications, for every verb.
func (m ModifyRequest) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "modify %q: %d modifications", m.DN, m.n)
}

// attributeList iterates over attributes, checked as a whole beforehand.
type attributeList struct {
	c cursor
	n int
}

func newAttributeList(b []byte) (attributeList, error) {
	l := attributeList{c: cursor{b: b}}
	check := l.c
	for ; check.more(); l.n++ {
		check.attribute()
	}
	return l, check.err
}

func (l *attributeList) next() (Attribute, bool) {
	if !l.c.more() {
		return Attribute{}, false
	}
	a := l.c.attribute()
	return a, l.c.err == nil
}

// An AddRequest is an Add (RFC 4511 section 4.7), checked as a whole when it is
// parsed; Next then iterates. It prints without values.
type AddRequest struct {
	DN   []byte
	list attributeList
}

// ParseAddRequest decodes and checks the body of an Add.
func ParseAddRequest(body []byte) (AddRequest, error) {
	dn, list, err := parseEntry(body)
	if err != nil {
		return AddRequest{}, fmt.Errorf("parse add request: %w", err)
	}
	return AddRequest{DN: dn, list: list}, nil
}

// Len returns how many attributes there are, whatever was read of them.
func (a AddRequest) Len() int { return a.list.n }

// Next returns the next attribute.
func (a *AddRequest) Next() (Attribute, bool) { return a.list.next() }

// Format writes the DN and the number of attributes, for every verb.
func (a AddRequest) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "add %q: %d attributes", a.DN, a.list.n)
}

// A SearchEntry is a SearchResultEntry (RFC 4511 section 4.5.2), checked as a
// whole when it is parsed; Next then iterates. It prints without values.
type SearchEntry struct {
	DN   []byte
	list attributeList
}

// ParseSearchEntry decodes and checks the body of a SearchResultEntry.
func ParseSearchEntry(body []byte) (SearchEntry, error) {
	dn, list, err := parseEntry(body)
	if err != nil {
		return SearchEntry{}, fmt.Errorf("parse search entry: %w", err)
	}
	return SearchEntry{DN: dn, list: list}, nil
}

// Len returns how many attributes there are, whatever was read of them.
func (e SearchEntry) Len() int { return e.list.n }

// Next returns the next attribute.
func (e *SearchEntry) Next() (Attribute, bool) { return e.list.next() }

// Format writes the DN and the number of attributes, for every verb.
func (e SearchEntry) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "entry %q: %d attributes", e.DN, e.list.n)
}

// parseEntry decodes what an Add and a SearchResultEntry have in common.
func parseEntry(body []byte) (dn []byte, list attributeList, err error) {
	c := cursor{b: body}
	dn = c.octets()
	list, err = newAttributeList(c.expect(tagSequence))
	if err != nil {
		c.fail(err)
	}
	return dn, list, c.finish()
}
