package gateway

import (
	"bytes"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// asksRootDSE tells a base search of the empty DN from all others, at the
// cost of looking at a few bytes for nearly all of them. The length of the DN
// may be written in up to five octets, and Windows writes five.
func asksRootDSE(body []byte) bool {
	if len(body) < 2 || body[0] != 0x04 || body[1] != 0 && body[1]&0xf8 != 0x80 {
		return false
	}
	for i := 2; i < 2+int(body[1]&0x7f); i++ {
		if i >= len(body) || body[i] != 0 {
			return false
		}
	}
	req, err := ldapwire.ParseSearchRequest(body)
	return err == nil && len(req.BaseDN) == 0 && req.Scope == ldapwire.ScopeBase
}

// searchRootDSE relays a search of the root DSE. The answer is corrected for
// what the gateway does itself and for what it does not let through.
func (s *session) searchRootDSE(msg ldapwire.Message) error {
	req, err := ldapwire.ParseSearchRequest(msg.Body)
	if err != nil {
		return s.relay(msg)
	}
	edit := rootDSEEdit{typesOnly: req.TypesOnly, passwordModify: !s.srv.cfg.NoPasswordTranslation, sasl: s.srv.cfg.RelaySASL && !s.inClear}
	for attr, ok := req.Attributes.Next(); ok; attr, ok = req.Attributes.Next() {
		edit.asked = edit.asked || string(attr) == "+" || ldapwire.IsAttr(attr, ldapwire.AttrSupportedExtension)
	}
	return s.relayRewritten(msg, edit.rewrite)
}

// rootDSEEdit is what is done to one answer.
type rootDSEEdit struct {
	asked          bool // for supportedExtension: it is there even if the DC has none
	typesOnly      bool
	passwordModify bool // RFC 3062 is offered
	sasl           bool // SASL is relayed, but EXTERNAL
}

// rewrite takes supportedSASLMechanisms out where SASL is refused, and
// fast bind and batch requests out of supportedExtension, for the same
// reason; password modify (RFC 3062), which AD does not have, is put in.
func (e rootDSEEdit) rewrite(msg ldapwire.Message) []byte {
	if msg.Op != ldapwire.OpSearchResultEntry {
		return msg.Raw
	}
	touched, seen := false, false
	edit := func(a ldapwire.Attribute) []byte {
		switch {
		case ldapwire.IsAttr(a.Type, ldapwire.AttrSupportedSASLMechanisms):
			touched = true
			return e.mechanisms(a)
		case ldapwire.IsAttr(a.Type, ldapwire.AttrSupportedExtension):
			touched, seen = true, true
			return e.extensions(a)
		}
		return a.Raw
	}
	edited, err := ldapwire.AppendEditedEntry(nil, msg, edit, nil)
	if err == nil && !seen && e.asked && e.passwordModify {
		touched = true
		tail := e.extensions(ldapwire.Attribute{Type: []byte(ldapwire.AttrSupportedExtension.String())})
		edited, err = ldapwire.AppendEditedEntry(nil, msg, edit, tail)
	}
	if err != nil || !touched {
		return msg.Raw // malformed: the client's decoder decides
	}
	return edited
}

// mechanisms writes supportedSASLMechanisms without what is refused.
func (e rootDSEEdit) mechanisms(a ldapwire.Attribute) []byte {
	if !e.sasl {
		return nil
	}
	external := false
	var values [][]byte
	for v, ok := a.Values.Next(); ok; v, ok = a.Values.Next() {
		if isExternal(v) {
			external = true
			continue
		}
		values = append(values, bytes.Clone(v))
	}
	switch {
	case !external:
		return a.Raw
	case len(values) == 0:
		return nil // an attribute without values would be malformed (RFC 4511 section 4.1.7)
	}
	return ldapwire.AppendAttribute(nil, ldapwire.AttributeValues{Type: string(a.Type), Values: values})
}

// extensions writes supportedExtension with other values.
func (e rootDSEEdit) extensions(a ldapwire.Attribute) []byte {
	if e.typesOnly && a.Raw != nil {
		return a.Raw
	}
	var values [][]byte
	for v, ok := a.Values.Next(); ok; v, ok = a.Values.Next() {
		switch string(v) {
		case ldapwire.OIDFastBind, ldapwire.OIDBatchRequest, ldapwire.OIDPasswordModify:
			continue
		}
		values = append(values, bytes.Clone(v))
	}
	if e.passwordModify && !e.typesOnly {
		values = append(values, []byte(ldapwire.OIDPasswordModify))
	}
	if len(values) == 0 && !e.typesOnly {
		return nil // an attribute without values would be malformed (RFC 4511 section 4.1.7)
	}
	return ldapwire.AppendAttribute(nil, ldapwire.AttributeValues{Type: string(a.Type), Values: values})
}
