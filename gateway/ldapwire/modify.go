package ldapwire

import "fmt"

// Values iterates over the values of an attribute, without copying. It prints
// without them. A copy of a Values iterates by itself.
type Values struct {
	b []byte // checked: OCTET STRINGs only
}

// Len returns how many values are left to read. It counts them.
func (v Values) Len() int {
	n := 0
	for _, ok := v.Next(); ok; _, ok = v.Next() {
		n++
	}
	return n
}

// Next returns the next value.
func (v *Values) Next() (value []byte, ok bool) {
	if len(v.b) == 0 {
		return nil, false
	}
	c := cursor{b: v.b}
	_, value = c.element()
	v.b = c.b
	return value, c.err == nil
}

// Format writes the number of values, for every verb.
func (v Values) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%d values", v.Len()) }

// An Attribute is a PartialAttribute (RFC 4511 section 4.1.7).
type Attribute struct {
	Type   []byte // the description: with options, as sent
	Values Values
	Raw    []byte // the whole element
}

// Format writes type and number of values, for every verb.
func (a Attribute) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%q: %d values", a.Type, a.Values.Len())
}

// attribute reads the SEQUENCE of type and SET of values, but looks neither at
// the values nor behind the SET.
func (c *cursor) attribute() (a Attribute, rest []byte) {
	before := c.b
	in := cursor{b: c.expect(tagSequence)}
	a.Raw = before[:len(before)-len(c.b)]
	a.Type = in.octets()
	a.Values.b = in.expect(tagSet)
	if in.err != nil {
		c.fail(in.err)
		return Attribute{}, nil
	}
	return a, in.b
}

// checkAttribute reads what attribute does, and checks all of it.
func (c *cursor) checkAttribute() {
	a, rest := c.attribute()
	if err := checkAll(a.Values.b, tagOctets); err != nil {
		c.fail(err)
	}
	c.skip(rest)
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
	_, _ = fmt.Fprintf(f, "%s %q: %d values", m.Op, m.Type, m.Values.Len())
}

// modification reads the SEQUENCE of operation and attribute, but no deeper
// than attribute does.
func (c *cursor) modification() Modification {
	in := cursor{b: c.expect(tagSequence)}
	op := ModOp(in.number(tagEnumerated))
	a, _ := in.attribute()
	if in.err != nil {
		c.fail(in.err)
		return Modification{}
	}
	return Modification{Op: op, Type: a.Type, Values: a.Values}
}

// checkModification reads what modification does, and checks all of it.
func (c *cursor) checkModification() {
	in := cursor{b: c.expect(tagSequence)}
	in.number(tagEnumerated)
	in.checkAttribute()
	if in.err != nil {
		c.fail(in.err)
	}
	c.skip(in.b)
}

// A ModifyRequest is a Modify (RFC 4511 section 4.6), checked as a whole when
// it is parsed; Next then iterates. It prints without values. A copy iterates
// by itself.
type ModifyRequest struct {
	DN   []byte
	list []byte // checked; what is left to read
	n    int
}

// ParseModifyRequest decodes and checks the body of a Modify.
func ParseModifyRequest(body []byte) (ModifyRequest, error) {
	c := cursor{b: body}
	m := ModifyRequest{DN: c.octets()}
	m.list = c.expect(tagSequence)
	check := cursor{b: m.list}
	for ; check.more(); m.n++ {
		check.checkModification()
	}
	if check.err != nil {
		c.fail(check.err)
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
	if len(m.list) == 0 {
		return Modification{}, false
	}
	c := cursor{b: m.list}
	mod := c.modification()
	m.list = c.b
	return mod, c.err == nil
}

// Format writes the DN and the number of modifications, for every verb.
func (m ModifyRequest) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "modify %q: %d modifications", m.DN, m.n)
}

// attributeList iterates over attributes, checked as a whole beforehand.
type attributeList struct {
	b []byte // what is left to read
	n int
}

func newAttributeList(b []byte) (attributeList, error) {
	l := attributeList{b: b}
	check := cursor{b: b}
	for ; check.more(); l.n++ {
		check.checkAttribute()
	}
	return l, check.err
}

func (l *attributeList) next() (Attribute, bool) {
	if len(l.b) == 0 {
		return Attribute{}, false
	}
	c := cursor{b: l.b}
	a, _ := c.attribute()
	l.b = c.b
	return a, c.err == nil
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
