package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// SASL binds are refused, or with Config.RelaySASL passed on as they are: the
// gateway can read no token and prove nothing by it. Such a session is "not
// validated, not capturable": nothing is learnt from its binds, and it may not
// write a password where passwords are captured. Whoever is bound has not shown
// it to the gateway, and relaying NTLM is an attack as well as a feature; what
// such a session sets must not be carried on to another directory, and if it
// were relayed without a record the two would be out of step.
//
// After the bind the client may speak within a security layer (RFC 4513 section
// 5.2.1.4), which the gateway does not see being agreed on. It waits for the
// client's first octet, before the DC is read again: a message begins with 0x30,
// and a buffer of a layer with its length (RFC 4422 section 3.7), whose first
// octet is 0, as buffers are shorter than 16 MiB in every mechanism of AD.

// saslState is what SASL has made of a DC connection. Owned by the client loop.
type saslState struct {
	seen        bool   // a bind was answered: the connection is for no other session
	negotiating string // mechanism of a bind that is not finished; empty: none
	bound       bool   // the present identity is by SASL
	// mayBeLayered: the client has not spoken since the bind, and the answer
	// loop does not run.
	mayBeLayered bool
}

// refusedSASL says why a SASL bind is not relayed; nil: it is.
func (s *session) refusedSASL(req ldapwire.BindRequest) *requestRefusal {
	switch {
	case req.Version != 3:
		return &requestRefusal{ldapwire.ResultProtocolError, "only LDAP version 3 is supported"}
	case len(req.Mechanism) == 0: // RFC 4511 section 4.2
		return &requestRefusal{ldapwire.ResultAuthMethodNotSupported, "no SASL mechanism is named"}
	case isExternal(req.Mechanism):
		// It stands for the TLS connection, and the one to the DC is the gateway's.
		return &requestRefusal{ldapwire.ResultAuthMethodNotSupported, "SASL EXTERNAL cannot cross the gateway: the client's certificate ends here"}
	case s.inClear:
		// The DC sees a TLS connection and would ask for no signatures.
		return &requestRefusal{ldapwire.ResultConfidentialityRequired, "TLS is required for a SASL bind: use StartTLS first"}
	}
	return nil
}

func isExternal(mechanism []byte) bool { return strings.EqualFold(string(mechanism), "EXTERNAL") }

// canHaveLayer: these mechanisms of AD know security layers (MS-ADTS
// 3.1.1.3.4.5); AD refuses them within TLS, other directories need not.
func canHaveLayer(mechanism string) bool {
	return slices.ContainsFunc([]string{"GSSAPI", "GSS-SPNEGO", "DIGEST-MD5"}, func(m string) bool { return strings.EqualFold(m, mechanism) })
}

// bindSASL relays one step of a SASL bind. It has no name that could say which
// domain it is for (RFC 4513 section 5.2.1.2), so it is for the default one.
func (s *session) bindSASL(msg ldapwire.Message, req ldapwire.BindRequest) error {
	if refused := s.refusedSASL(req); refused != nil {
		return s.refuseBind(msg, refused.code, refused.why)
	}
	mechanism := string(req.Mechanism)
	if s.negotiating() != mechanism {
		s.abortSASL()
	}
	s.domain = defaultDomain(s.srv.cfg.Domains())
	if s.up != nil && s.up.domain != s.domain {
		s.dropUpstream(true)
	}
	continued := s.negotiating() != ""
	start := time.Now()
	answer, err := s.saslExchange(msg)
	if errors.Is(err, errNotSent) && !continued { // else only the lost connection knows how to go on
		s.dropUpstream(false)
		answer, err = s.saslExchange(msg)
	}
	if err != nil {
		s.dropUpstream(false)
		s.srv.cfg.Metrics.sasl.WithLabelValues("undecided").Inc()
		s.srv.cfg.Metrics.bindVerdict(ldapwire.ResultUnavailable, nil)
		return s.unreachable(msg, err)
	}
	res, err := ldapwire.ParseResult(answer.Body)
	if err != nil || answer.Op != ldapwire.OpBindResponse {
		s.dropUpstream(false)
		return &disconnect{ldapwire.ResultUnavailable, "the domain controller's answer to the bind is malformed"}
	}
	s.srv.cfg.Metrics.observe(ldapwire.OpBindRequest, res.Code, time.Since(start))
	lost := s.saslAnswered(mechanism, res)
	if err := s.out.write(answer.Raw, true); err != nil {
		return err
	}
	if lost != nil {
		return s.upstreamGone(lost)
	}
	if res.Code != ldapwire.ResultSuccess && res.Code != ldapwire.ResultSaslBindInProgress {
		s.dropUpstream(true) // it may still carry an earlier identity
	}
	return nil
}

// saslExchange sends one step and waits for its answer.
func (s *session) saslExchange(msg ldapwire.Message) (ldapwire.Message, error) {
	if err := s.upstreamReady(); err != nil {
		return ldapwire.Message{}, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.BindTimeout)
	defer cancel()
	answers := make(chan []byte, 1)
	r := request{op: msg.Op, answer: answers}
	if s.flight.addExchange(msg.ID, r) != nil {
		// Nothing is outstanding, so it is suspect; on a new connection it is not.
		s.dropUpstream(true)
		if err := s.upstreamReady(); err != nil {
			return ldapwire.Message{}, err
		}
		if err := s.flight.addExchange(msg.ID, r); err != nil {
			return ldapwire.Message{}, err
		}
	}
	return s.exchange(ctx, msg.ID, answers, msg.Raw, s.forward)
}

// saslAnswered moves the session to the state that the DC's answer gives it.
// The error is that of a DC connection lost meanwhile.
func (s *session) saslAnswered(mechanism string, res ldapwire.Result) (lost error) {
	s.up.sasl = saslState{seen: true}
	if res.Code == ldapwire.ResultSaslBindInProgress {
		s.up.sasl.negotiating = mechanism
		return nil
	}
	s.srv.cfg.Metrics.bindVerdict(res.Code, res.Diagnostic)
	if res.Code != ldapwire.ResultSuccess {
		s.srv.cfg.Metrics.sasl.WithLabelValues("refused").Inc()
		s.log.Info("sasl bind refused", "mechanism", clip(mechanism), "result", res.Code.String(), "dc", s.up.name)
		return nil
	}
	s.srv.cfg.Metrics.sasl.WithLabelValues("accepted").Inc()
	s.log.Info("sasl bind accepted by the domain controller: session not validated, not capturable", "mechanism", clip(mechanism), "dc", s.up.name)
	s.up.sasl.bound = true
	s.bound, s.everBound, s.name = true, true, "SASL "+clip(mechanism)
	s.trust(true)
	if !canHaveLayer(mechanism) {
		return nil
	}
	s.up.sasl.mayBeLayered = true
	return s.holdAnswers()
}

// abortSASL ends a negotiation that the client does not go on with (RFC 4511
// section 4.2.1). The DC connection is in the middle of it.
func (s *session) abortSASL() {
	if s.negotiating() != "" {
		s.dropUpstream(true)
	}
}

// negotiating is the mechanism of a bind that is not finished; empty: none.
func (s *session) negotiating() string {
	if s.up == nil {
		return ""
	}
	return s.up.sasl.negotiating
}

// leaveSASL is what a bind of another kind does.
func (s *session) leaveSASL() {
	s.abortSASL()
	if s.up != nil {
		s.up.sasl.bound = false
	}
}

// interruptSASL answers an operation between two steps of a bind. RFC 4511
// section 4.2.1 wants operationsError while the bind is not finished, and the
// DC connection may still carry the identity of before.
func (s *session) interruptSASL(msg ldapwire.Message) error {
	if msg.Op == ldapwire.OpAbandonRequest {
		return nil // a bind cannot be abandoned (RFC 4511 section 4.11)
	}
	s.abortSASL()
	return s.answerLocally(msg, ldapwire.ResultOperationsError, "the SASL bind is not finished")
}

// refusedToSASL says why a session bound by SASL may not write a password; nil:
// it may, or is bound otherwise.
func (s *session) refusedToSASL() *requestRefusal {
	if s.up == nil || !s.up.sasl.bound || !s.up.domain.Capture {
		return nil
	}
	s.srv.cfg.Metrics.sasl.WithLabelValues("write_refused").Inc()
	s.log.Warn("password change refused: the session is bound by SASL, so it is not capturable", "dc", s.up.name)
	return &requestRefusal{ldapwire.ResultUnwillingToPerform, "a session bound by SASL cannot set passwords through the gateway: use a simple bind over TLS"}
}

// holdAnswers ends the answer loop and keeps the connection: what the DC sends
// next may not be LDAP. The error is that of a connection that was lost.
func (s *session) holdAnswers() error {
	up := s.up
	up.parked.Store(true)
	_ = up.conn.SetReadDeadline(time.Unix(1, 0))
	<-up.ended
	up.parked.Store(false)
	if up.isGone() {
		up.sasl.mayBeLayered = false
		return up.err
	}
	return up.conn.SetReadDeadline(time.Time{})
}

// errLayered: the client's next octets are those of a security layer.
var errLayered = errors.New("a SASL security layer has begun")

// read reads one request, or finds that there are no requests any more.
func (s *session) read() (ldapwire.Message, error) {
	if s.up != nil && s.up.sasl.mayBeLayered {
		first, err := s.in.First()
		if err != nil {
			return ldapwire.Message{}, err
		}
		if first == 0 {
			return ldapwire.Message{}, errLayered
		}
		s.up.sasl.mayBeLayered = false
		s.useUpstream(s.up)
	}
	return s.in.Next()
}
