package ldapwire

import "fmt"

// An ExtendedRequest asks for an operation by OID (RFC 4511 section 4.12). It
// prints without its value.
type ExtendedRequest struct {
	Name     []byte
	Value    []byte
	HasValue bool
}

// ParseExtendedRequest decodes the body of an extended request.
func ParseExtendedRequest(body []byte) (ExtendedRequest, error) {
	c := cursor{b: body}
	r := ExtendedRequest{Name: c.expect(0x80)}
	r.Value, r.HasValue = c.optional(0x81)
	if err := c.finish(); err != nil {
		return ExtendedRequest{}, fmt.Errorf("parse extended request: %w", err)
	}
	return r, nil
}

// Format writes the name and the size of the value, for every verb.
func (r ExtendedRequest) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "extended request %q, value of %d bytes", r.Name, len(r.Value))
}

// ParseCancelValue decodes the value of a Cancel request: the ID of the message
// to cancel (RFC 3909 section 2.1).
func ParseCancelValue(value []byte) (int32, error) {
	c := cursor{b: value}
	in := cursor{b: c.expect(tagSequence), err: c.err}
	id := in.number(tagInteger)
	if err := in.finish(); err != nil {
		c.fail(err)
	}
	if err := c.end(); err != nil {
		return 0, fmt.Errorf("parse cancel value: %w", err)
	}
	return id, nil
}

// ParseAbandonRequest decodes the body of an abandon: the ID of the message to
// abandon (RFC 4511 section 4.11).
func ParseAbandonRequest(body []byte) (int32, error) {
	id, ok := parseNumber(body)
	if !ok {
		return 0, fmt.Errorf("parse abandon request: %w", errNumber)
	}
	return id, nil
}

// ParseDelRequest returns the DN in the body of a delete, which is nothing else
// (RFC 4511 section 4.8).
func ParseDelRequest(body []byte) (dn []byte) { return body }

// A CompareRequest is a Compare (RFC 4511 section 4.10). It prints without the
// value.
type CompareRequest struct {
	DN, Type, Value []byte
}

// ParseCompareRequest decodes the body of a Compare.
func ParseCompareRequest(body []byte) (CompareRequest, error) {
	c := cursor{b: body}
	r := CompareRequest{DN: c.octets()}
	in := cursor{b: c.expect(tagSequence), err: c.err}
	r.Type, r.Value = in.octets(), in.octets()
	if err := in.finish(); err != nil {
		c.fail(err)
	}
	if err := c.finish(); err != nil {
		return CompareRequest{}, fmt.Errorf("parse compare request: %w", err)
	}
	return r, nil
}

// Format writes DN and type, for every verb.
func (r CompareRequest) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "compare %q: %q", r.DN, r.Type)
}

// A ModifyDNRequest renames or moves an entry (RFC 4511 section 4.9).
type ModifyDNRequest struct {
	DN, NewRDN     []byte
	DeleteOldRDN   bool
	NewSuperior    []byte
	HasNewSuperior bool
}

// ParseModifyDNRequest decodes the body of a ModifyDN.
func ParseModifyDNRequest(body []byte) (ModifyDNRequest, error) {
	c := cursor{b: body}
	r := ModifyDNRequest{DN: c.octets(), NewRDN: c.octets(), DeleteOldRDN: c.boolean()}
	r.NewSuperior, r.HasNewSuperior = c.optional(0x80)
	if err := c.finish(); err != nil {
		return ModifyDNRequest{}, fmt.Errorf("parse modify DN request: %w", err)
	}
	return r, nil
}
