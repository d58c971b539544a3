package gateway

import (
	"errors"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// handle decides about one request. An error ends the session.
func (s *session) handle(msg ldapwire.Message) error {
	if msg.ID == 0 { // that of unsolicited notifications (RFC 4511 section 4.1.1.1)
		return &disconnect{ldapwire.ResultProtocolError, "message ID 0 in a request"}
	}
	if s.inClear {
		if refused := s.refusedInClear(msg); refused != nil {
			return s.answerLocally(msg, refused.code, refused.why)
		}
	}
	if refused := overLimit(msg); refused != nil && msg.Op.IsRequest() {
		return s.refuse(msg, refused)
	}
	if s.negotiating() != "" && msg.Op.IsRequest() && msg.Op != ldapwire.OpBindRequest && msg.Op != ldapwire.OpUnbindRequest {
		return s.interruptSASL(msg)
	}
	s.routeRequest(msg)
	if s.isForeign() && isRelayedToForeign(msg) {
		return s.relay(msg)
	}
	switch msg.Op {
	case ldapwire.OpBindRequest:
		return s.bind(msg, nil)
	case ldapwire.OpUnbindRequest:
		return errBye
	case ldapwire.OpAbandonRequest:
		return s.abandon(msg)
	case ldapwire.OpSearchRequest:
		if asksRootDSE(msg.Body) {
			return s.searchRootDSE(msg)
		}
	case ldapwire.OpModifyRequest:
		return s.modify(msg)
	case ldapwire.OpAddRequest:
		return s.add(msg)
	case ldapwire.OpExtendedRequest:
		return s.extended(msg)
	}
	if !msg.Op.IsRequest() {
		return &disconnect{ldapwire.ResultProtocolError, "not a request"}
	}
	return s.relay(msg)
}

// refuse answers a request that is too much. A bind ends the identity before it
// (RFC 4513 section 4), whatever becomes of it; unbind and abandon have no
// answer.
func (s *session) refuse(msg ldapwire.Message, refused *requestRefusal) error {
	switch msg.Op {
	case ldapwire.OpBindRequest:
		return s.bind(msg, refused)
	case ldapwire.OpUnbindRequest:
		return errBye
	case ldapwire.OpAbandonRequest:
		return nil
	}
	return s.answerLocally(msg, refused.code, refused.why)
}

// errIDInUse ends a session; errIDSuspect refuses one request.
var (
	errIDInUse   error = &disconnect{ldapwire.ResultProtocolError, "message ID is in use by an outstanding request"}
	errIDSuspect       = errors.New("an abandoned request may still be answered under this message ID")
)

// relay sends a request to the DC as it is. The answer loop does the rest.
func (s *session) relay(msg ldapwire.Message) error { return s.relayRewritten(msg, nil) }

// relayRewritten is relay, with rewrite applied to each message of the answer.
func (s *session) relayRewritten(msg ldapwire.Message, rewrite func(ldapwire.Message) []byte) error {
	if room, err := s.waitForRoom(); err != nil || !room {
		if err == nil {
			err = s.answerLocally(msg, ldapwire.ResultBusy, "too many requests are outstanding")
		}
		return err
	}
	if err := s.upstreamReady(); err != nil {
		return s.unreachable(msg, err)
	}
	if !s.flight.add(msg.ID, request{op: msg.Op, at: time.Now(), rewrite: rewrite, copy: s.repeatOf(msg)}) {
		return errIDInUse
	}
	return s.send(msg)
}

// waitForRoom waits until one request more may be outstanding; false: it took
// too long. The next ones then do not wait until there is room again: a client
// that has gone is noticed only by reading what it had still sent.
func (s *session) waitForRoom() (room bool, err error) {
	until := time.Now().Add(s.srv.cfg.RoomTimeout)
	for s.flight.len() >= s.srv.cfg.MaxOutstanding {
		left := time.Until(until)
		if s.crowded || left <= 0 {
			s.crowded = true
			return false, nil
		}
		if err := s.waitLanding(left); err != nil {
			s.crowded = errors.Is(err, errSlow)
			if s.crowded {
				err = nil
			}
			return false, err
		}
	}
	s.crowded = false
	return true, nil
}

// errSlow ends a session whose client cannot go on without an answer.
var errSlow = &disconnect{ldapwire.ResultUnavailable, "the domain controller does not answer"}

// send puts a message on its way to the DC; next flushes when the client has
// nothing more to say at once.
func (s *session) send(msg ldapwire.Message) error {
	if err := s.up.out.write(msg.Raw, false); err != nil {
		return s.upstreamGone(err)
	}
	return nil
}

// unreachable answers a request that no DC can be asked about.
func (s *session) unreachable(msg ldapwire.Message, err error) error {
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	why := "no domain controller can be reached"
	if errors.Is(err, errNoDomain) {
		why = "no domain is registered with dirgate"
	}
	s.log.Warn("request not sent", "msg_id", msg.ID, "op", msg.Op.String(), "err", err)
	if msg.Op == ldapwire.OpAbandonRequest {
		return nil
	}
	if err := s.answerLocally(msg, ldapwire.ResultUnavailable, why); err != nil {
		return err
	}
	return ending(err)
}

// abandon passes on (RFC 4511 section 4.11): there is no answer, and the
// abandoned request may get none.
func (s *session) abandon(msg ldapwire.Message) error {
	target, err := ldapwire.ParseAbandonRequest(msg.Body)
	if err != nil || s.up == nil {
		return nil // nothing can be outstanding; an abandon is never answered
	}
	s.flight.abandon(target)
	return s.send(msg)
}

func (s *session) extended(msg ldapwire.Message) error {
	req, err := ldapwire.ParseExtendedRequest(msg.Body)
	if err != nil {
		return s.answerLocally(msg, ldapwire.ResultProtocolError, "malformed extended request")
	}
	switch string(req.Name) {
	case ldapwire.OIDStartTLS:
		return s.startTLS(msg, req) // TLS is the gateway's own
	case ldapwire.OIDFastBind:
		// It lets binds run side by side and cannot be undone, against the
		// serialisation that identity rests on.
		return s.answerLocally(msg, ldapwire.ResultProtocolError, "fast bind is not supported by the gateway")
	case ldapwire.OIDBatchRequest:
		// It can carry password writes that nobody would see.
		return s.answerLocally(msg, ldapwire.ResultUnwillingToPerform, "batch requests are not supported by the gateway")
	case ldapwire.OIDPasswordModify:
		return s.passwordModify(msg, req)
	}
	return s.relay(msg)
}

// clientLook is how often a session that waits for its DC, and so does not read
// its client, looks whether there is one still.
const clientLook = time.Second

// waitLanding waits until an outstanding request is answered.
func (s *session) waitLanding(limit time.Duration) error {
	if s.up != nil {
		if err := s.up.out.flush(); err != nil {
			return s.upstreamGone(err)
		}
	}
	until := time.Now().Add(limit)
	timer := time.NewTimer(min(limit, clientLook))
	defer timer.Stop()
	var gone <-chan struct{}
	if s.up != nil {
		gone = s.up.gone
	}
	for {
		select {
		case <-s.flight.landed:
			return nil
		case <-gone:
			return s.upstreamGone(s.up.err)
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-timer.C:
			if s.socket.HungUp() {
				return errBye
			}
			left := time.Until(until)
			if left <= 0 {
				return errSlow
			}
			timer.Reset(min(left, clientLook))
		}
	}
}

// waitDrained waits until nothing is outstanding; false when that took too
// long, or the DC or the client is gone.
func (s *session) waitDrained(limit time.Duration) bool {
	until := time.Now().Add(limit)
	for s.flight.len() > 0 {
		if s.waitLanding(time.Until(until)) != nil {
			return false
		}
	}
	return true
}

// bind runs a Bind alone: after everything outstanding, before anything else.
// refused says why it is not made, if that is known beforehand.
func (s *session) bind(msg ldapwire.Message, refused *requestRefusal) error {
	if !s.waitDrained(s.srv.cfg.DrainTimeout) {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if s.socket.HungUp() {
			return errBye
		}
		s.dropUpstream(true) // abandons what does not end, such as a change notification
	}
	if err := s.learnNow(); err != nil {
		return err
	}
	s.dropLesson() // of another identity than the one to come, whatever became of it
	s.becomeAnonymous()
	if refused != nil {
		return s.refuseBind(msg, refused.code, refused.why)
	}
	req, err := ldapwire.ParseBindRequest(msg.Body)
	if err != nil {
		return s.refuseBind(msg, ldapwire.ResultProtocolError, "malformed bind request")
	}
	if req.Auth == ldapwire.AuthSASL && s.srv.cfg.RelaySASL {
		return s.bindSASL(msg, req)
	}
	s.leaveSASL()
	if code, why := refusedBind(req, msg.Body); code != ldapwire.ResultSuccess {
		return s.refuseBind(msg, code, why)
	}
	if s.inClear {
		if refused := s.bindInClear(req); refused != nil {
			return s.refuseBind(msg, refused.code, refused.why)
		}
	}
	msg, req, done, err := s.routeBind(msg, req)
	if err != nil {
		return s.refuseBind(msg, ldapwire.ResultProtocolError, "malformed bind request")
	}
	defer done()
	err = s.bindAtDC(msg, req)
	if !s.bound && !s.binding {
		s.domain = nil
	}
	return err
}

// refusedBind says why a bind never reaches a DC; success: it does.
func refusedBind(req ldapwire.BindRequest, body []byte) (ldapwire.ResultCode, string) {
	switch {
	case req.Version != 3:
		return ldapwire.ResultProtocolError, "only LDAP version 3 is supported"
	case req.Auth != ldapwire.AuthSimple:
		return ldapwire.ResultAuthMethodNotSupported, "only simple binds can cross the gateway"
	case len(req.Name) > 0 && req.PasswordEmpty():
		// RFC 4513 section 5.1.2: it would "succeed" without proving anything,
		// and counts towards AD's lockout.
		return ldapwire.ResultUnwillingToPerform, "a name without a password is not a bind"
	case req.PasswordHasNUL(body):
		// A DC may read it as the part before the NUL.
		return ldapwire.ResultInvalidCredentials, acceptSecurityContext52e
	case req.PasswordLen() > longestBindPassword, len(req.Name) > longestDN:
		// Nobody has such a password or name, and hashing one takes a DC long.
		return ldapwire.ResultInvalidCredentials, acceptSecurityContext52e
	}
	return ldapwire.ResultSuccess, ""
}

// acceptSecurityContext52e is what AD says to a wrong password; clients look
// for the sub-code after "data".
const acceptSecurityContext52e = "80090308: LdapErr: DSID-0C090000, comment: AcceptSecurityContext error, data 52e, v0000"

// becomeAnonymous is what the arrival of a Bind does to the session (RFC 4513
// section 4). A DC connection that never carried an identity is kept.
func (s *session) becomeAnonymous() {
	s.kept.wipe()
	if s.bound {
		s.bound, s.name = false, ""
		s.trust(false)
	}
}

// refuseBind answers a bind itself. The DC has not seen it, so the identity
// of an earlier bind would still be on its connection.
func (s *session) refuseBind(msg ldapwire.Message, code ldapwire.ResultCode, why string) error {
	s.dropUpstream(true)
	s.srv.cfg.Metrics.bindVerdict(code, []byte(why))
	return s.answerLocally(msg, code, why)
}

// clip bounds text from the network before it is logged or stored.
func clip(text string) string {
	const longest = 256
	if len(text) > longest {
		return text[:longest] + "..."
	}
	return text
}
