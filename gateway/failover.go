package gateway

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// When a DC connection ends, its session is moved to another one (rule G9).
// What the client sees of it depends on what was outstanding:
//
//   - nothing: the session goes on, and is connected and bound again when its
//     next request comes. Ten thousand idle sessions of a DC that restarts
//     so cost nothing, where binding all of them at once would be a flood;
//   - a Compare, or a Search of which no part has come: it is sent again, once,
//     over the new connection;
//   - anything else is answered with unavailable (52). A write is never sent
//     twice: it may have been made.

// lost is a request that a DC did not answer.
type lost struct {
	id int32
	request
}

// lose gives the requests that were relayed, to be sent again or answered; the
// oldest comes first. Exchanges are left to who waits for them.
func (f *flight) lose() []lost {
	f.mu.Lock()
	var all []lost
	for id, r := range f.pending {
		if r.answer == nil && r.bind == nil {
			all = append(all, lost{id, r})
		}
	}
	f.mu.Unlock()
	slices.SortFunc(all, func(a, b lost) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) })
	return all
}

// canMove reports whether another DC connection can take this one's place.
func (s *session) canMove() bool {
	return s.srv.cfg.Reconnect && s.ctx.Err() == nil && !s.draining.Load() && (!s.bound || !s.kept.isEmpty())
}

// upstreamGone is called when the DC connection failed. nil: the session goes
// on, without a DC connection or with another one.
func (s *session) upstreamGone(cause error) error {
	s.log.Warn("domain controller connection lost", "dc", s.up.name, "outstanding", s.flight.len(), "err", cause)
	up := s.up
	pending := s.leaveLost()
	if s.canMove() {
		return s.moveRequests(pending)
	}
	s.srv.cfg.Metrics.moves.WithLabelValues("ended").Inc()
	for _, l := range pending {
		l.copy.release()
		if s.srv.cfg.Reconnect {
			if err := s.answerLost(l); err != nil {
				return err
			}
		}
	}
	if errors.Is(cause, errNotice) {
		_ = s.out.write(up.notice, true) // the client has its words, and needs no others
		return errBye
	}
	return &disconnect{ldapwire.ResultUnavailable, "the domain controller's connection was lost; connect again"}
}

// leaveLost drops a DC connection that failed and returns what was outstanding
// on it. Its answer loop has ended by then, so nothing of it can follow.
func (s *session) leaveLost() []lost {
	up := s.up
	close(up.retired)
	up.out.stop()
	_ = up.conn.NetConn().Close()
	<-up.ended
	s.toDC.forget()
	s.up = nil
	s.upNow.Store(nil)
	pending := s.flight.lose()
	s.flight.clear()
	return pending
}

// moveRequests sends again what can be sent again and answers the rest.
func (s *session) moveRequests(pending []lost) error {
	again := pending[:0]
	for _, l := range pending {
		if l.copy.repeatable() {
			again = append(again, l)
			continue
		}
		l.copy.release()
		if err := s.answerLost(l); err != nil {
			return err
		}
	}
	if len(again) == 0 {
		return nil
	}
	defer func() {
		for _, l := range again {
			l.copy.release()
		}
	}()
	if err := s.upstreamReady(); err != nil {
		for _, l := range again {
			if err := s.answerLost(l); err != nil {
				return err
			}
		}
		return ending(err)
	}
	for _, l := range again {
		// All of them first, so that each is answered should this connection be
		// lost too. Without a copy: a request that a DC breaks down under is not
		// to be tried on all of them.
		s.flight.add(l.id, request{op: l.op, at: l.at, rewrite: l.rewrite})
	}
	for _, l := range again {
		if err := s.up.out.write(*l.copy.frame, false); err != nil {
			return s.upstreamGone(err)
		}
	}
	if err := s.up.out.flush(); err != nil {
		return s.upstreamGone(err)
	}
	return nil
}

// ending is err if the session must end with it, else nil.
func ending(err error) error {
	var d *disconnect
	if errors.As(err, &d) || errors.Is(err, errBye) {
		return err
	}
	return nil
}

// answerLost answers a request in place of a DC that did not.
func (s *session) answerLost(l lost) error {
	why := "the domain controller's connection was lost, and it is not known whether the request took effect: look before repeating it"
	switch l.op {
	case ldapwire.OpSearchRequest:
		why = "the domain controller's connection was lost before the search was answered in full: search again"
	case ldapwire.OpCompareRequest:
		why = "the domain controller's connection was lost: compare again"
	}
	return s.answerLocally(ldapwire.Message{ID: l.id, Op: l.op}, ldapwire.ResultUnavailable, why)
}

// attemptsToMove is how many DC connections are tried for one request. More
// than one, because the first may break as the lost one did.
const attemptsToMove = 2

// connectBound connects the session and makes it who it was. An error that is
// a *disconnect ends the session; after any other it is still bound, has no DC
// connection, and may try again with its next request.
func (s *session) connectBound() error {
	if err := s.renewDomain(); err != nil {
		return err
	}
	var err error
	for range attemptsToMove {
		if err = s.connect(); err != nil {
			break
		}
		if !s.bound {
			return nil
		}
		if err = s.rebind(); err == nil {
			s.srv.cfg.Metrics.moves.WithLabelValues("moved").Inc()
			s.log.Info("session moved", "dc", s.up.name)
			return nil
		}
		s.srv.pool.discard(s.up.domain, s.up.name)
		s.dropUpstream(false)
		if ending(err) != nil {
			s.srv.cfg.Metrics.moves.WithLabelValues("ended").Inc()
			s.becomeAnonymous()
			return err
		}
	}
	s.srv.cfg.Metrics.moves.WithLabelValues("failed").Inc()
	return err
}

// renewDomain finds the registration of the bound domain, which may have
// changed since, with its controllers.
func (s *session) renewDomain() error {
	if !s.bound || s.domain == nil {
		return nil
	}
	all := s.srv.cfg.Domains()
	if slices.Contains(all, s.domain) {
		return nil
	}
	for _, d := range all {
		if d.Name == s.domain.Name && d.Foreign == s.domain.Foreign {
			s.domain = d
			return nil
		}
	}
	s.becomeAnonymous()
	return &disconnect{ldapwire.ResultUnavailable, "the domain is not registered with dirgate any more"}
}

// errRefusedAgain ends a session whose bind a DC accepts no longer. Its client
// connects again and is told why.
var errRefusedAgain error = &disconnect{ldapwire.ResultUnavailable,
	"the domain controller's connection was lost, and the bind was not accepted again; connect again"}

// rebind repeats the bind of the session on a new DC connection. The lockout
// guard sees it like any other: of many sessions with a password that was
// changed meanwhile one is refused by a DC, the others by the guard.
func (s *session) rebind() error {
	if s.kept.isEmpty() {
		return errRefusedAgain
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.BindTimeout)
	defer cancel()
	answers := make(chan []byte, 1)
	id, err := s.flight.addOwn(request{op: ldapwire.OpBindRequest, answer: answers})
	if err != nil {
		return err
	}
	frame := s.kept.frame(id)
	defer clear(frame)
	attempt, err := s.guardRebind(ctx, frame)
	if err != nil {
		s.flight.remove(id)
		return err
	}
	defer attempt.unsettled(true) // unless it was settled
	answer, err := s.exchange(ctx, id, answers, frame, func(ldapwire.Message) {})
	if err != nil {
		attempt.bindFailed(err)
		return err
	}
	res, err := ldapwire.ParseResult(answer.Body)
	if err != nil || answer.Op != ldapwire.OpBindResponse {
		return errors.New("the answer to the repeated bind is malformed")
	}
	attempt.settled(res)
	s.srv.cfg.Metrics.bindVerdict(res.Code, res.Diagnostic)
	switch res.Code {
	case ldapwire.ResultSuccess:
		return nil
	case ldapwire.ResultBusy, ldapwire.ResultUnavailable: // of the DC, not of the password
		return errors.New("the repeated bind was answered with " + res.Code.String())
	}
	verdict, reason := Reason(res.Code, res.Diagnostic)
	s.log.Info("repeated bind refused", "name", clip(s.name), "verdict", verdict, "reason", reason, "dc", s.up.name)
	return errRefusedAgain
}

// guardRebind is guardBind for a bind that no client waits for.
func (s *session) guardRebind(ctx context.Context, frame []byte) (*attempt, error) {
	g, domain := s.srv.guard, s.up.domain
	if g == nil || domain.Foreign {
		return nil, nil
	}
	msg, err := ldapwire.ParseMessage(frame)
	if err != nil {
		return nil, err
	}
	req, err := ldapwire.ParseBindRequest(msg.Body)
	if err != nil {
		return nil, err
	}
	password := req.Password(msg.Body)
	m := g.markOf(password)
	password.Wipe()
	name := newBindName(domain.Name, string(req.Name))
	for {
		d := g.admit(name, s.address, m)
		switch {
		case d.try != nil:
			return d.try, nil
		case d.answer != nil:
			s.srv.cfg.Metrics.guarded.WithLabelValues(d.held).Inc()
			if d.answer.code == ldapwire.ResultBusy {
				return nil, errors.New(d.answer.text)
			}
			s.log.Info("repeated bind held back by the lockout guard", "name", clip(s.name), "why", d.held)
			return nil, errRefusedAgain
		}
		select {
		case <-d.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
