package adsim

import (
	"errors"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

func appendRefusal(dst []byte, m ldapwire.Message, r *Refusal) []byte {
	return ldapwire.AppendResult(dst, m.ID, m.Op.Response(), r.Code, r.MatchedDN, r.Text)
}

// refusalOf is the refusal in an error of the Directory, success if there is
// none.
func refusalOf(err error) *Refusal {
	var r *Refusal
	switch {
	case err == nil:
		return &Refusal{}
	case errors.As(err, &r):
		return r
	}
	return &Refusal{Code: ldapwire.ResultOther, Text: err.Error()}
}

// native answers a request without gldap. ok is false if it is malformed.
func (s *session) native(m ldapwire.Message, c controls) (answer []byte, ok bool) {
	var err error
	switch m.Op {
	case ldapwire.OpAbandonRequest:
		s.abandon(m)
		return nil, true
	case ldapwire.OpSearchRequest:
		return s.nativeSearch(m, c)
	case ldapwire.OpExtendedRequest:
		return s.nativeExtended(m)
	case ldapwire.OpBindRequest:
		ok, err = s.nativeBind(m)
	case ldapwire.OpModifyRequest:
		ok, err = s.nativeModify(m, c)
	case ldapwire.OpAddRequest:
		ok, err = s.nativeAdd(m)
	case ldapwire.OpDelRequest:
		ok, err = true, s.srv.Delete(s.identity(), string(ldapwire.ParseDelRequest(m.Body)))
	case ldapwire.OpModifyDNRequest:
		r, perr := ldapwire.ParseModifyDNRequest(m.Body)
		if ok = perr == nil; ok {
			err = s.srv.Rename(s.identity(), string(r.DN), string(r.NewRDN), string(r.NewSuperior))
		}
	case ldapwire.OpCompareRequest:
		ok, err = s.nativeCompare(m)
	}
	return appendRefusal(nil, m, refusalOf(err)), ok
}

func (s *session) nativeBind(m ldapwire.Message) (ok bool, err error) {
	b, err := ldapwire.ParseBindRequest(m.Body)
	switch {
	case err != nil:
		return false, nil
	case b.Version != 3:
		return true, &Refusal{Code: ldapwire.ResultProtocolError, Text: "00000057: LdapErr: DSID-0C090C4C, comment: Error decoding ldap message, data 0, v4563\x00"}
	case b.Auth != ldapwire.AuthSimple:
		return true, ldapErr(ldapwire.ResultAuthMethodNotSupported, 0x2027, "Invalid Authentication method")
	}
	password := b.Password(m.Body)
	defer password.Wipe()
	return true, s.bind(string(b.Name), password.Expose())
}

func (s *session) nativeModify(m ldapwire.Message, c controls) (ok bool, err error) {
	r, err := ldapwire.ParseModifyRequest(m.Body)
	if err != nil {
		return false, nil
	}
	var changes []Change
	for mod, more := r.Next(); more; mod, more = r.Next() {
		changes = append(changes, Change{Op: mod.Op, Name: string(mod.Type), Values: stringsOf(mod.Values)})
	}
	if newDN, ok := reanimation(changes); ok && c.showDeleted {
		return true, s.srv.Reanimate(s.identity(), string(r.DN), newDN)
	}
	return true, s.srv.Modify(s.identity(), string(r.DN), changes, c.permissive)
}

func (s *session) nativeAdd(m ldapwire.Message) (ok bool, err error) {
	r, err := ldapwire.ParseAddRequest(m.Body)
	if err != nil {
		return false, nil
	}
	var attrs []Attribute
	for a, more := r.Next(); more; a, more = r.Next() {
		attrs = append(attrs, Attribute{string(a.Type), stringsOf(a.Values)})
	}
	return true, s.srv.Add(s.identity(), string(r.DN), attrs)
}

func (s *session) nativeCompare(m ldapwire.Message) (ok bool, err error) {
	r, err := ldapwire.ParseCompareRequest(m.Body)
	if err != nil {
		return false, nil
	}
	equal, err := s.srv.Compare(s.identity(), string(r.DN), string(r.Type), string(r.Value))
	switch {
	case err != nil:
		return true, err
	case equal:
		return true, &Refusal{Code: ldapwire.ResultCompareTrue}
	}
	return true, &Refusal{Code: ldapwire.ResultCompareFalse}
}

func (s *session) nativeSearch(m ldapwire.Message, c controls) (answer []byte, ok bool) {
	r, err := ldapwire.ParseSearchRequest(m.Body)
	if err != nil {
		return nil, false
	}
	filter, err := ParseFilter(r.Filter)
	if err != nil {
		return appendRefusal(nil, m, badFilter()), true
	}
	q := Search{
		Base: string(r.BaseDN), Scope: r.Scope, SizeLimit: r.SizeLimit, TypesOnly: r.TypesOnly,
		Filter: filter, Attributes: stringsOf(r.Attributes), ShowDeleted: c.showDeleted, ExtendedDN: c.extendedDN, Dashes: c.dashes, WithoutSACL: c.withoutSACL,
	}
	if c.notify {
		return s.notification(m, r, q), true
	}
	if c.dirSync {
		return s.dirSync(m, q, c)
	}
	entries, references, cookie, err := s.search(q, c)
	for _, e := range entries {
		answer = ldapwire.AppendSearchEntry(answer, m.ID, e.DN, encodable(e.Attributes))
	}
	if len(references) > 0 && !c.domainScope {
		answer = ldapwire.AppendSearchReference(answer, m.ID, references...)
	}
	done := appendRefusal(nil, m, refusalOf(err))
	if !c.paged || err != nil {
		return append(answer, done...), true
	}
	return withControl(answer, done, oidPaged, pagedValue(cookie))
}

func withControl(answer, done []byte, oid string, value []byte) ([]byte, bool) {
	parsed, err := ldapwire.ParseMessage(done)
	if err != nil {
		return nil, false
	}
	return ldapwire.AppendWithControls(answer, parsed, ldapwire.Control{OID: []byte(oid), Value: value, HasValue: true}), true
}

func (s *session) dirSync(m ldapwire.Message, q Search, c controls) (answer []byte, ok bool) {
	entries, cookie, more, err := s.srv.DirSync(s.identity(), q, c.syncFlags, c.syncCookie)
	for _, e := range entries {
		answer = ldapwire.AppendSearchEntry(answer, m.ID, e.DN, encodable(e.Attributes))
	}
	done := appendRefusal(nil, m, refusalOf(err))
	if err != nil {
		return append(answer, done...), true
	}
	return withControl(answer, done, oidDirSync, dirSyncValue(more, cookie))
}

func badFilter() *Refusal {
	return ldapErr(ldapwire.ResultProtocolError, win32InvalidParameter, "Error decoding ldap filter")
}

func (s *session) nativeExtended(m ldapwire.Message) (answer []byte, ok bool) {
	r, err := ldapwire.ParseExtendedRequest(m.Body)
	if err != nil {
		return nil, false
	}
	if string(r.Name) == oidWhoAmI {
		return ldapwire.AppendExtendedResponse(nil, m.ID, ldapwire.ResultSuccess, "", "", "", []byte(s.srv.WhoAmI(s.identity())), true), true
	}
	if string(r.Name) == ldapwire.OIDStartTLS {
		return appendRefusal(nil, m, ldapErr(ldapwire.ResultOperationsError, 0, "TLS or SSL already in effect")), true
	}
	return appendRefusal(nil, m, ldapErr(ldapwire.ResultProtocolError, 0x203d, "Unknown extended request OID")), true
}

func stringsOf(v ldapwire.Values) []string {
	var out []string
	for b, ok := v.Next(); ok; b, ok = v.Next() {
		out = append(out, string(b))
	}
	return out
}

func encodable(attrs []Attribute) []ldapwire.AttributeValues {
	out := make([]ldapwire.AttributeValues, len(attrs))
	for i, a := range attrs {
		out[i].Type = a.Name
		for _, v := range a.Values {
			out[i].Values = append(out[i].Values, []byte(v))
		}
	}
	return out
}
