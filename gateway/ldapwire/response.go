package ldapwire

import "fmt"

// A Result is the LDAPResult part of a response (RFC 4511 section 4.1.9).
// AD's texts often end with a NUL.
type Result struct {
	Code       ResultCode
	MatchedDN  []byte
	Diagnostic []byte
	Referral   []byte // contents of the referral field; nil if absent
}

// URIs iterates over the referral's URIs, which were checked with the result.
func (r Result) URIs() Values { return Values{r.Referral} }

// ParseResult decodes the LDAPResult of any response that has one: all final
// responses. What follows it is skipped.
func ParseResult(body []byte) (Result, error) {
	r, c := parseResult(body)
	if err := c.finish(); err != nil {
		return Result{}, fmt.Errorf("parse result: %w", err)
	}
	return r, nil
}

func parseResult(body []byte) (Result, cursor) {
	c := cursor{b: body}
	r := Result{
		Code:       ResultCode(c.number(tagEnumerated)),
		MatchedDN:  c.octets(),
		Diagnostic: c.octets(),
	}
	if referral, ok := c.optional(tagReferral); ok {
		r.Referral = referral
		if err := checkAll(referral, tagOctets); err != nil {
			c.fail(err)
		}
	}
	return r, c
}

// ParseBindResponse decodes a BindResponse (RFC 4511 section 4.2.2). Absent
// and empty serverSaslCreds differ (RFC 4513 section 5.2.1.3).
func ParseBindResponse(body []byte) (r Result, serverCreds []byte, hasCreds bool, err error) {
	r, c := parseResult(body)
	serverCreds, hasCreds = c.optional(tagServerCreds)
	if err := c.finish(); err != nil {
		return Result{}, nil, false, fmt.Errorf("parse bind response: %w", err)
	}
	return r, serverCreds, hasCreds, nil
}

// An ExtendedResponse is the answer to an extended request, or an unsolicited
// notification (RFC 4511 sections 4.12, 4.4). It prints without its value.
type ExtendedResponse struct {
	Result
	Name, Value       []byte
	HasName, HasValue bool
}

// Format writes code and name, and the size of the value, for every verb.
func (r ExtendedResponse) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "extended response %q: %s, value of %d bytes", r.Name, r.Code, len(r.Value))
}

// ParseExtendedResponse decodes an ExtendedResponse.
func ParseExtendedResponse(body []byte) (ExtendedResponse, error) {
	res, c := parseResult(body)
	r := ExtendedResponse{Result: res}
	r.Name, r.HasName = c.optional(0x8a)
	r.Value, r.HasValue = c.optional(0x8b)
	if err := c.finish(); err != nil {
		return ExtendedResponse{}, fmt.Errorf("parse extended response: %w", err)
	}
	return r, nil
}

// An IntermediateResponse comes before the final response, any number of times
// (RFC 4511 section 4.13). It prints without its value.
type IntermediateResponse struct {
	Name, Value       []byte
	HasName, HasValue bool
}

// Format writes the name and the size of the value, for every verb.
func (r IntermediateResponse) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "intermediate response %q, value of %d bytes", r.Name, len(r.Value))
}

// ParseIntermediateResponse decodes an IntermediateResponse.
func ParseIntermediateResponse(body []byte) (IntermediateResponse, error) {
	c := cursor{b: body}
	var r IntermediateResponse
	r.Name, r.HasName = c.optional(0x80)
	r.Value, r.HasValue = c.optional(0x81)
	if err := c.finish(); err != nil {
		return IntermediateResponse{}, fmt.Errorf("parse intermediate response: %w", err)
	}
	return r, nil
}

// ParseSearchReference decodes a SearchResultReference into its URIs (RFC 4511
// section 4.5.3).
func ParseSearchReference(body []byte) (Values, error) {
	if err := checkAll(body, tagOctets); err != nil {
		return Values{}, fmt.Errorf("parse search reference: %w", err)
	}
	return Values{body}, nil
}
