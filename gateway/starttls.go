package gateway

import (
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// A session of the plain listener begins in clear and is meant to become a
// TLS one at once. Until then it serves what a client needs to get there, and
// what holds nothing secret: StartTLS, reads of the root DSE, anonymous binds.

// refusedInClear says why a request other than a bind is not served before
// TLS; nil: it is.
func (s *session) refusedInClear(msg ldapwire.Message) *requestRefusal {
	switch msg.Op {
	case ldapwire.OpBindRequest, ldapwire.OpUnbindRequest, ldapwire.OpAbandonRequest:
		return nil // a bind is judged with its fellows, see bindInClear
	case ldapwire.OpExtendedRequest:
		req, err := ldapwire.ParseExtendedRequest(msg.Body)
		if err != nil {
			return &requestRefusal{ldapwire.ResultProtocolError, "malformed extended request"}
		}
		if string(req.Name) == ldapwire.OIDStartTLS {
			return nil
		}
	}
	switch {
	case isRootDSE(msg):
		return nil
	case !s.bound:
		return &requestRefusal{ldapwire.ResultConfidentialityRequired, "TLS is required: use StartTLS first"}
	case writesPassword(msg):
		return &requestRefusal{ldapwire.ResultConfidentialityRequired, "TLS is required to write a password: use StartTLS first"}
	}
	return nil
}

// bindInClear says why a simple bind is not made before TLS. An anonymous one
// gives nothing away.
func (s *session) bindInClear(req ldapwire.BindRequest) *requestRefusal {
	if req.PasswordEmpty() || s.limits.AllowPlaintextBind {
		return nil
	}
	return &requestRefusal{ldapwire.ResultConfidentialityRequired, "TLS is required for a simple bind: use StartTLS first"}
}

// isRootDSE says whether a request reads the root DSE, which everybody may
// (RFC 4512 section 5.1).
func isRootDSE(msg ldapwire.Message) bool {
	if msg.Op != ldapwire.OpSearchRequest {
		return false
	}
	req, err := ldapwire.ParseSearchRequest(msg.Body)
	return err == nil && len(req.BaseDN) == 0 && req.Scope == ldapwire.ScopeBase
}

// writesPassword says whether a password crosses the network in a request. A
// request that cannot be read is refused later, for that reason.
func writesPassword(msg ldapwire.Message) bool {
	isPassword := func(desc []byte) bool {
		return ldapwire.IsAttr(desc, ldapwire.AttrUnicodePwd) || ldapwire.IsAttr(desc, ldapwire.AttrUserPassword)
	}
	switch msg.Op {
	case ldapwire.OpModifyRequest:
		req, err := ldapwire.ParseModifyRequest(msg.Body)
		for mod, ok := req.Next(); err == nil && ok; mod, ok = req.Next() {
			if isPassword(mod.Type) {
				return true
			}
		}
	case ldapwire.OpAddRequest:
		req, err := ldapwire.ParseAddRequest(msg.Body)
		for attr, ok := req.Next(); err == nil && ok; attr, ok = req.Next() {
			if isPassword(attr.Type) {
				return true
			}
		}
	case ldapwire.OpCompareRequest: // a guess at one
		req, err := ldapwire.ParseCompareRequest(msg.Body)
		return err == nil && isPassword(req.Type)
	case ldapwire.OpExtendedRequest:
		req, err := ldapwire.ParseExtendedRequest(msg.Body)
		return err == nil && string(req.Name) == ldapwire.OIDPasswordModify
	}
	return false
}

// startTLS begins TLS on a connection of the plain listener (RFC 4511 section
// 4.14). What was said before it was said by anybody on the way, so nothing of
// it is kept: the session goes on anonymous and with another DC connection
// (RFC 4513 section 3.2), and bytes that arrived behind the request, before
// its answer, end it.
func (s *session) startTLS(msg ldapwire.Message, req ldapwire.ExtendedRequest) error {
	switch {
	case !s.inClear:
		return s.answerLocally(msg, ldapwire.ResultOperationsError, "TLS is already in use")
	case req.HasValue:
		return s.answerLocally(msg, ldapwire.ResultProtocolError, "StartTLS has no value")
	case s.flight.len() > 0:
		return s.answerLocally(msg, ldapwire.ResultOperationsError, "StartTLS while requests are outstanding")
	}
	id := msg.ID
	s.dropUpstream(true)
	s.serving.Wait() // its answer loop uses s.out
	s.becomeAnonymous()
	s.everBound = false
	if s.in.Buffered() > 0 {
		s.log.Warn("bytes between StartTLS and its answer: somebody may be injecting them")
		return errBye
	}
	answer := ldapwire.AppendExtendedResponse(nil, id, ldapwire.ResultSuccess, "", "", ldapwire.OIDStartTLS, nil, false)
	if err := s.out.write(answer, true); err != nil {
		return err
	}
	s.srv.cfg.Metrics.observe(ldapwire.OpExtendedRequest, ldapwire.ResultSuccess, 0)
	// A wake-up for the DC connection just dropped must not end the handshake;
	// one for a shutdown must.
	_ = s.raw.SetDeadline(time.Time{})
	s.idle = time.Time{}
	if s.draining.Load() {
		return errBye
	}
	return s.secure()
}
