package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// passwordWrite is what a Modify would do to unicodePwd (MS-ADTS
// 3.1.1.3.1.5.1).
type passwordWrite struct {
	kind       identity.ChangeKind
	value      []byte // the new value as sent; valid as long as the message
	mustChange bool
}

// longestDN bounds the target of a password change, in bytes: it is stored
// with the change. AD's own names are far shorter.
const longestDN = 4096

// longestPassword bounds a value of unicodePwd, in bytes: 2047 UTF-16 code
// units and the quotes. AD's own limit is 256; a value of a megabyte keeps a
// DC busy for a minute.
const longestPassword = 4096

// requestRefusal is a request that must not reach the DC.
type requestRefusal struct {
	code ldapwire.ResultCode
	why  string
}

// modify relays a Modify; one that sets a password is captured.
func (s *session) modify(msg ldapwire.Message) error {
	req, err := ldapwire.ParseModifyRequest(msg.Body)
	if err != nil {
		return s.answerLocally(msg, ldapwire.ResultProtocolError, "malformed modify request")
	}
	dn := string(req.DN)
	write, refused := findPasswordWrite(req)
	if refused != nil {
		return s.answerLocally(msg, refused.code, refused.why)
	}
	if write == nil {
		return s.relay(msg)
	}
	if len(dn) > longestDN {
		return s.answerLocally(msg, ldapwire.ResultInvalidDNSyntax, "DN longer than "+strconv.Itoa(longestDN)+" bytes")
	}
	if !s.bound {
		// AD answers the same; nothing is recorded for strangers.
		return s.answerLocally(msg, ldapwire.ResultOperationsError,
			"000004DC: a successful bind must be completed on the connection before a password is changed")
	}
	if err := s.upstreamReady(); err != nil {
		return s.unreachable(msg, err)
	}
	if !s.up.domain.Capture {
		return s.relay(msg)
	}
	password, refused := decodePassword(write.value)
	if refused != nil {
		return s.answerLocally(msg, refused.code, refused.why)
	}
	defer password.Wipe()
	return s.capture(msg, dn, *write, password)
}

// findPasswordWrite looks for a new value of unicodePwd among all the
// modifications, in any order; the last one wins, as it does in AD. nil: the
// request sets no password (what it then does to unicodePwd, AD refuses).
func findPasswordWrite(req ldapwire.ModifyRequest) (*passwordWrite, *requestRefusal) {
	var value []byte
	var replaces, proves, mustChange bool
	for mod, ok := req.Next(); ok; mod, ok = req.Next() {
		switch {
		case ldapwire.IsAttr(mod.Type, ldapwire.AttrUserPassword):
			if mod.Op == ldapwire.ModDelete || mod.Values.Len() == 0 {
				continue // takes a published password away
			}
			return nil, &requestRefusal{ldapwire.ResultUnwillingToPerform,
				"userPassword is an ordinary, readable attribute in Active Directory; write unicodePwd instead"}
		case ldapwire.IsAttr(mod.Type, ldapwire.AttrPwdLastSet):
			last := lastValue(mod.Values)
			mustChange = mod.Op != ldapwire.ModDelete && string(last) == "0"
		case ldapwire.IsAttr(mod.Type, ldapwire.AttrUnicodePwd):
			last := lastValue(mod.Values)
			if mod.Op == ldapwire.ModDelete {
				proves = proves || last != nil
				continue
			}
			replaces = replaces || mod.Op == ldapwire.ModReplace
			if last != nil {
				value = last
			}
		}
	}
	if value == nil {
		return nil, nil
	}
	kind := identity.PasswordReset
	if proves && !replaces {
		kind = identity.PasswordChange
	}
	return &passwordWrite{kind: kind, value: value, mustChange: mustChange}, nil
}

func lastValue(values ldapwire.Values) (last []byte) {
	for v, ok := values.Next(); ok; v, ok = values.Next() {
		last = v
	}
	return last
}

// decodePassword reads the new value, and refuses one that could not be
// replicated: what the DC accepts must be what is captured.
func decodePassword(value []byte) (secret.Bytes, *requestRefusal) {
	if len(value) > longestPassword {
		return secret.Bytes{}, &requestRefusal{ldapwire.ResultConstraintViolation, "0000052D: the password is too long"}
	}
	password, err := ldapwire.DecodeUnicodePwd(value)
	switch {
	case err == nil:
		return password, nil
	case errors.Is(err, ldapwire.ErrPwdEmpty):
		return secret.Bytes{}, &requestRefusal{ldapwire.ResultConstraintViolation,
			"0000052D: an empty password is refused"}
	case errors.Is(err, ldapwire.ErrPwdNUL), errors.Is(err, ldapwire.ErrPwdSurrogate):
		return secret.Bytes{}, &requestRefusal{ldapwire.ResultUnwillingToPerform,
			"0000001F: a password with NUL or an unpaired surrogate cannot be used for simple binds"}
	}
	return secret.Bytes{}, &requestRefusal{ldapwire.ResultUnwillingToPerform,
		"0000001F: unicodePwd must be the password in double quotes, encoded as UTF-16LE"}
}

// capture runs a password write: read the target, record the intent, ask the
// DC, record the outcome, answer the client.
func (s *session) capture(msg ldapwire.Message, dn string, write passwordWrite, password secret.Bytes) error {
	start := time.Now()
	cfg := &s.srv.cfg
	answers := make(chan []byte, 1)
	// The ID is taken before anything else is done under another one.
	err := s.flight.addExchange(msg.ID, request{op: msg.Op, answer: answers})
	if errors.Is(err, errIDSuspect) {
		return s.captureBusy(msg, write.kind, err.Error()+"; connect again")
	}
	if err != nil {
		return err
	}
	target, done, err := s.lockTarget(dn)
	if err != nil {
		s.flight.remove(msg.ID)
		s.log.Warn("target of a password change not read", "err", err)
		if errors.Is(err, errUnanswered) || errors.Is(err, errNotSent) {
			return s.captureFailed(msg, write.kind, "not_recorded", "the domain controller does not answer; nothing was changed")
		}
		return s.captureBusy(msg, write.kind, "nothing was changed: "+err.Error())
	}
	defer done()
	change := identity.Change{
		Kind: write.kind, Direction: identity.Import, Actor: clip(s.name),
		Account:    target.account,
		PwdLastSet: target.pwdLastSet, MustChange: write.mustChange, DC: s.up.name,
	}
	seq, err := s.recordIntent(change, password)
	if err != nil {
		s.flight.remove(msg.ID)
		s.log.Error("password change not recorded, so not sent: check the disk of data_dir", "err", err)
		cfg.Metrics.captures.WithLabelValues(string(write.kind), "not_recorded").Inc()
		return s.answerLocally(msg, ldapwire.ResultUnavailable, "dirgate could not record the change, so it was not sent to the domain controller")
	}
	answer, err := s.writeExchange(msg, answers)
	outcome, reason := settle(answer, err)
	s.recordOutcome(seq, outcome, reason)
	s.log.Info("password change", "seq", seq, "account", target.account.GUID.String(), "kind", write.kind, "outcome", outcome, "reason", clip(reason))
	switch {
	case errors.Is(err, errNotSent):
		return s.captureFailed(msg, write.kind, string(outcome), "the domain controller's connection was lost; nothing was changed")
	case outcome == identity.OutcomeUnknown:
		return s.captureFailed(msg, write.kind, string(outcome), "the domain controller did not answer; the password may or may not have been changed")
	}
	cfg.Metrics.captures.WithLabelValues(string(write.kind), string(outcome)).Inc()
	if res, err := ldapwire.ParseResult(answer.Body); err == nil {
		cfg.Metrics.observe(msg.Op, res.Code, time.Since(start))
	}
	return s.out.write(answer.Raw, true)
}

// captureFailed answers a password write whose DC connection was lost, and
// ends the session: its identity is lost with that connection.
func (s *session) captureFailed(msg ldapwire.Message, kind identity.ChangeKind, outcome, why string) error {
	s.srv.cfg.Metrics.captures.WithLabelValues(string(kind), outcome).Inc()
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
	if err := s.srv.cfg.Capture.Settle(ctx, seq, outcome, clip(reason)); err != nil {
		// The intent is on disk: it will be settled by evidence.
		s.log.Error("outcome of a password change not recorded; it will be settled by evidence", "seq", seq, "outcome", outcome, "err", err)
	}
}

// writeExchange sends the Modify as it came.
func (s *session) writeExchange(msg ldapwire.Message, answers <-chan []byte) (ldapwire.Message, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.CaptureTimeout)
	defer cancel()
	return s.exchange(ctx, msg.ID, answers, msg.Raw, s.forward)
}

// settle turns the DC's answer, or its absence, into an outcome.
func settle(answer ldapwire.Message, err error) (identity.Outcome, string) {
	if errors.Is(err, errNotSent) {
		return identity.OutcomeRefused, "not sent: " + err.Error()
	}
	if err != nil {
		return identity.OutcomeUnknown, err.Error()
	}
	res, err := ldapwire.ParseResult(answer.Body)
	if err != nil || answer.Op != ldapwire.OpModifyResponse {
		return identity.OutcomeUnknown, "the answer is malformed"
	}
	if res.Code == ldapwire.ResultSuccess {
		return identity.OutcomeAccepted, ""
	}
	return identity.OutcomeRefused, fmt.Sprintf("%s: %s", res.Code, bytes.TrimRight(res.Diagnostic, "\x00"))
}
