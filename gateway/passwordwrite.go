package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// passwordWrite is one request that sets a password, under whatever name the
// client asked for it: what the DC is sent, and what is recorded of it.
type passwordWrite struct {
	msg        ldapwire.Message // the client's request
	kind       identity.ChangeKind
	mustChange bool
	dn         string       // the target
	password   secret.Bytes // the new one

	// prepare completes the write by asking the DC, once the message ID is
	// taken; nil when nothing is to be asked. A *requestRefusal refuses.
	prepare func(*session, *passwordWrite) error
	frame   []byte // what the DC is sent, under the client's message ID
	own     bool   // frame was made by the gateway
	// generated: the client has asked for the password.
	generated bool
}

// sent is the operation that the DC is asked for.
func (w *passwordWrite) sent() ldapwire.Op {
	if w.kind == identity.PasswordAdd {
		return ldapwire.OpAddRequest
	}
	return ldapwire.OpModifyRequest
}

// sendInstead makes frame what the DC is sent.
func (w *passwordWrite) sendInstead(frame []byte) { w.frame, w.own = frame, true }

func (w *passwordWrite) wipe() {
	w.password.Wipe()
	if w.own {
		clear(w.frame)
	}
}

// write runs a password write: read the target, record the intent, ask the
// DC, record the outcome, answer the client.
func (s *session) write(w *passwordWrite) error {
	defer w.wipe()
	start := time.Now()
	answers := make(chan []byte, 1)
	// The ID is taken before anything else is done under another one.
	err := s.flight.addExchange(w.msg.ID, request{op: w.msg.Op, answer: answers})
	if errors.Is(err, errIDSuspect) {
		return s.captureBusy(w.msg, w.kind, err.Error()+"; connect again")
	}
	if err != nil {
		return err
	}
	if w.prepare != nil {
		if err := w.prepare(s, w); err != nil {
			return s.notPrepared(w, err)
		}
	}
	if !s.up.domain.Capture {
		return s.writeUnrecorded(w, answers, start)
	}
	target, done, err := s.lockAccount(w)
	if err != nil {
		return s.notPrepared(w, err)
	}
	done = sync.OnceFunc(done)
	defer done()
	attempt, err := s.guardChange(w, target.account)
	if err != nil {
		return s.notPrepared(w, err)
	}
	seq, err := s.recordIntent(identity.Change{
		Kind: w.kind, Direction: identity.Import, Actor: clip(s.name),
		Account:    target.account,
		PwdLastSet: target.pwdLastSet, MustChange: w.mustChange, DC: s.up.name,
	}, w.password)
	if err != nil {
		attempt.unsettled(false)
		s.flight.remove(w.msg.ID)
		s.log.Error("password change not recorded, so not sent: check the disk of data_dir", "err", err)
		s.srv.cfg.Metrics.captures.WithLabelValues(string(w.kind), "not_recorded").Inc()
		return s.answerLocally(w.msg, ldapwire.ResultUnavailable, "dirgate could not record the change, so it was not sent to the domain controller")
	}
	answer, err := s.writeExchange(w, answers)
	attempt.changeSettled(answer, err)
	outcome, reason := settle(w.sent(), answer, err)
	account, created, lost := target.account, false, error(nil)
	if outcome == identity.OutcomeAccepted && w.kind == identity.PasswordAdd {
		account, reason, lost = s.readCreated(w.dn)
		created = !account.GUID.IsZero()
	}
	if created {
		s.recordCreated(seq, account)
	} else {
		s.recordOutcome(seq, outcome, reason)
	}
	if outcome == identity.OutcomeAccepted {
		s.srv.guard.passwordChanged(account, w.password)
	}
	s.log.Info("password change", "seq", seq, "account", account.GUID.String(), "kind", w.kind, "outcome", outcome, "reason", clip(reason))
	if err := s.answerWrite(w, answer, err, outcome, start); err != nil {
		return err
	}
	if lost != nil {
		return s.upstreamGone(lost)
	}
	if outcome != identity.OutcomeAccepted {
		return nil
	}
	done()
	return s.keepChanged(w, account)
}

// lockAccount takes the turn of the account that is written to. One that is
// about to be created has none but its DN.
func (s *session) lockAccount(w *passwordWrite) (t target, done func(), err error) {
	if w.kind != identity.PasswordAdd {
		return s.lockTarget(w.dn)
	}
	t.account = identity.Account{Domain: s.up.domain.Name, DN: w.dn}
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.BindTimeout)
	defer cancel()
	if done, err = s.srv.turns.take(ctx, turnKey(t.account)); err != nil {
		return t, nil, errors.New("another account of that name is being created; try again later")
	}
	return t, done, nil
}

// readCreated reads the account that was created with its password: the log
// needs the objectGUID, for a name may soon be another's. If it cannot be
// read, reason says so. lost is an error that the DC connection did not
// survive.
func (s *session) readCreated(dn string) (account identity.Account, reason string, lost error) {
	t, err := s.readTarget(dn)
	switch {
	case errors.Is(err, errNotSent) || errors.Is(err, errUnanswered):
		return t.account, "accepted, but objectGUID was not read: " + err.Error(), err
	case err != nil:
		return t.account, "accepted, but objectGUID was not read: " + err.Error(), nil
	case t.account.GUID.IsZero():
		return t.account, "accepted, but the session may not read the account's objectGUID", nil
	}
	return t.account, "", nil
}

// writeUnrecorded is write for a domain whose passwords are not captured.
func (s *session) writeUnrecorded(w *passwordWrite, answers <-chan []byte, start time.Time) error {
	account := identity.Account{Domain: s.up.domain.Name, DN: w.dn}
	if s.srv.guard != nil && w.kind == identity.PasswordChange {
		t, err := s.readTarget(w.dn) // the guard counts by account, not by spelling
		if err != nil {
			return s.notPrepared(w, err)
		}
		account = t.account
	}
	attempt, err := s.guardChange(w, account)
	if err != nil {
		return s.notPrepared(w, err)
	}
	answer, err := s.writeExchange(w, answers)
	attempt.changeSettled(answer, err)
	outcome, _ := settle(w.sent(), answer, err)
	if outcome == identity.OutcomeAccepted {
		s.srv.guard.passwordChanged(account, w.password)
	}
	if err := s.answerWrite(w, answer, err, outcome, start); err != nil || outcome != identity.OutcomeAccepted {
		return err
	}
	return s.keepChanged(w, account)
}

// answerWrite tells the client what became of its request.
func (s *session) answerWrite(w *passwordWrite, answer ldapwire.Message, err error, outcome identity.Outcome, start time.Time) error {
	switch {
	case errors.Is(err, errNotSent):
		return s.captureFailed(w.msg, w.kind, string(outcome), "the domain controller's connection was lost; nothing was changed")
	case outcome == identity.OutcomeUnknown:
		return s.captureFailed(w.msg, w.kind, string(outcome), "the domain controller did not answer; the password may or may not have been changed")
	}
	if s.up.domain.Capture {
		s.srv.cfg.Metrics.captures.WithLabelValues(string(w.kind), string(outcome)).Inc()
	}
	frame, code, own := w.reply(answer)
	s.srv.cfg.Metrics.observe(w.msg.Op, code, time.Since(start))
	err = s.out.write(frame, true)
	if own {
		clear(frame) // it may hold a generated password
	}
	return err
}

// reply turns the DC's answer, which is well formed, into the client's. own:
// it was made by the gateway.
func (w *passwordWrite) reply(answer ldapwire.Message) (frame []byte, code ldapwire.ResultCode, own bool) {
	res, err := ldapwire.ParseResult(answer.Body)
	if err != nil || !w.own {
		return answer.Raw, res.Code, false
	}
	matched, diagnostic := string(res.MatchedDN), string(res.Diagnostic)
	if res.Code == ldapwire.ResultReferral {
		// Another controller would get the request as the client wrote it, and
		// not as it was translated.
		res.Code, matched = ldapwire.ResultUnwillingToPerform, ""
		diagnostic = "the domain controller refers password changes to another one: register a writable one"
	} else if w.msg.Op != ldapwire.OpExtendedRequest {
		return answer.Raw, res.Code, false
	}
	if w.msg.Op != ldapwire.OpExtendedRequest {
		return ldapwire.AppendResult(nil, w.msg.ID, w.msg.Op.Response(), res.Code, matched, diagnostic), res.Code, true
	}
	var value []byte
	if w.generated && res.Code == ldapwire.ResultSuccess {
		value = ldapwire.AppendPasswdModifyResponse(nil, w.password.Expose())
		defer clear(value)
	}
	return ldapwire.AppendExtendedResponse(nil, w.msg.ID, res.Code, matched, diagnostic, "", value, value != nil), res.Code, true
}

// notPrepared answers a password write that the DC has not seen.
func (s *session) notPrepared(w *passwordWrite, err error) error {
	s.flight.remove(w.msg.ID)
	var refused *requestRefusal
	if errors.As(err, &refused) {
		return s.answerLocally(w.msg, refused.code, refused.why)
	}
	s.log.Warn("target of a password change not read", "err", err)
	if errors.Is(err, errUnanswered) || errors.Is(err, errNotSent) {
		return s.captureFailed(w.msg, w.kind, "not_recorded", "the domain controller does not answer; nothing was changed")
	}
	return s.captureBusy(w.msg, w.kind, "nothing was changed: "+err.Error())
}

// captureFailed answers a password write whose DC connection was lost, and
// ends the session: its identity is lost with that connection.
func (s *session) captureFailed(msg ldapwire.Message, kind identity.ChangeKind, outcome, why string) error {
	if s.up != nil && s.up.domain.Capture {
		s.srv.cfg.Metrics.captures.WithLabelValues(string(kind), outcome).Inc()
	}
	s.dropUpstream(false)
	s.becomeAnonymous()
	if err := s.answerLocally(msg, ldapwire.ResultUnavailable, why); err != nil {
		return err
	}
	return &disconnect{ldapwire.ResultUnavailable, "the domain controller's connection was lost; connect again"}
}

// captureBusy answers a password write that cannot be handled now; the DC
// has not seen it, and the session goes on.
func (s *session) captureBusy(msg ldapwire.Message, kind identity.ChangeKind, why string) error {
	s.srv.cfg.Metrics.captures.WithLabelValues(string(kind), "not_recorded").Inc()
	return s.answerLocally(msg, ldapwire.ResultBusy, why)
}

// recordIntent and recordOutcome do not depend on the client or on the
// session's end: once the DC may have the request, its trace must be written.
func (s *session) recordIntent(change identity.Change, password secret.Bytes) (identity.Seq, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.srv.cfg.RecordTimeout)
	defer cancel()
	return s.srv.cfg.Capture.AppendIntent(ctx, change, password)
}

func (s *session) recordOutcome(seq identity.Seq, outcome identity.Outcome, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.srv.cfg.RecordTimeout)
	defer cancel()
	s.outcomeRecorded(seq, outcome, s.srv.cfg.Capture.Settle(ctx, seq, outcome, clip(reason)))
}

// recordCreated is recordOutcome for an account that was created.
func (s *session) recordCreated(seq identity.Seq, account identity.Account) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.srv.cfg.RecordTimeout)
	defer cancel()
	s.outcomeRecorded(seq, identity.OutcomeAccepted, s.srv.cfg.Capture.SettleAccount(ctx, seq, account, ""))
}

func (s *session) outcomeRecorded(seq identity.Seq, outcome identity.Outcome, err error) {
	if err != nil {
		// The intent is on disk: it will be settled by evidence.
		s.log.Error("outcome of a password change not recorded; it will be settled by evidence", "seq", seq, "outcome", outcome, "err", err)
	}
}

// writeExchange sends the request, once.
func (s *session) writeExchange(w *passwordWrite, answers <-chan []byte) (ldapwire.Message, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.CaptureTimeout)
	defer cancel()
	return s.exchange(ctx, w.msg.ID, answers, w.frame, s.forward)
}

// settle turns the DC's answer to the request sent, or its absence, into an
// outcome.
func settle(sent ldapwire.Op, answer ldapwire.Message, err error) (identity.Outcome, string) {
	if errors.Is(err, errNotSent) {
		return identity.OutcomeRefused, "not sent: " + err.Error()
	}
	if err != nil {
		return identity.OutcomeUnknown, err.Error()
	}
	res, err := ldapwire.ParseResult(answer.Body)
	if err != nil || answer.Op != sent.Response() {
		return identity.OutcomeUnknown, "the answer is malformed"
	}
	if res.Code == ldapwire.ResultSuccess {
		return identity.OutcomeAccepted, ""
	}
	return identity.OutcomeRefused, fmt.Sprintf("%s: %s", res.Code, bytes.TrimRight(res.Diagnostic, "\x00"))
}
