package gateway

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// bindWait is a bind on its way to the DC.
//
// While it is, the client loop is back at reading the client, but nothing that
// it reads gets to the session before the bind is over (afterBind). A bind that
// the DC accepts the answer loop completes by itself, so that the client's
// answer does not wait for another goroutine to run: that is a fifth of what a
// bind costs. Whatever else comes, the answer loop hands it to the client loop
// and wakes it.
//
// The object is used again for the session's next bind, unless it was given up:
// then an answer loop may still have it in hand.
type bindWait struct {
	// Set by the client loop before the request is sent.
	id      int32
	name    string // as the client gave it
	attempt *attempt
	lesson  *lesson // nil: nothing to learn
	start   time.Time
	until   time.Time

	state atomic.Int32
	done  chan struct{} // may have a value when state has become final

	// Set by the answer loop before state becomes final.
	ended  time.Time
	learn  bool   // whose name it was is to be asked
	answer []byte // a copy, when it was handed over
}

// States of a bindWait.
const (
	bindWaiting  = iota
	bindClaimed  // the answer loop is at work on the answer
	bindAccepted // final: all is done except for the client loop's own state
	bindHanded   // final: the answer is the client loop's to deal with
	bindGivenUp  // final: an answer is nobody's
)

func newBindWait() *bindWait { return &bindWait{done: make(chan struct{}, 1)} }

func (b *bindWait) isWaiting() bool { return b.state.Load() == bindWaiting }

// isOver reports whether the client has its answer, and nothing is left to do
// but to say so to the session.
func (b *bindWait) isOver() bool {
	return b.state.Load() == bindAccepted && !b.learn && b.lesson == nil
}

// wants reports whether the client loop should not go on waiting for the client.
func (b *bindWait) wants() bool { return !b.isWaiting() && !b.isOver() }

// end is the answer loop's last touch.
func (b *bindWait) end(state int32) {
	b.state.Store(state)
	select {
	case b.done <- struct{}{}:
	default:
	}
}

// bindAtDC sends a bind that the guard lets through. Its answer is dealt with
// while the client loop waits for the client's next request.
func (s *session) bindAtDC(msg ldapwire.Message, req ldapwire.BindRequest) error {
	start := time.Now()
	name := string(req.Name) // the message does not outlive this call
	attempt, answered, err := s.guardBind(msg, req)
	if err != nil || answered {
		return err
	}
	if s.bindWait == nil {
		s.bindWait = newBindWait()
	}
	b := s.bindWait
	b.id, b.name, b.attempt, b.start, b.until = msg.ID, name, attempt, start, start.Add(s.srv.cfg.BindTimeout)
	b.learn, b.answer = false, nil
	b.lesson = s.newLesson(msg, req, attempt)
	err = s.sendBind(msg, b)
	if errors.Is(err, errNotSent) {
		// The DC had closed an idle connection: nothing was tried yet.
		s.dropUpstream(false)
		err = s.sendBind(msg, b)
	}
	if err != nil {
		return s.bindUnanswered(b, err)
	}
	s.binding = true
	s.keepBind(msg)
	if s.in.Buffered() > 0 { // the client has said more, which afterBind did not see
		return s.finishBind()
	}
	return nil
}

func (s *session) sendBind(msg ldapwire.Message, b *bindWait) error {
	if err := s.upstreamReady(); err != nil {
		return err
	}
	b.state.Store(bindWaiting)
	r := request{op: msg.Op, bind: b}
	if s.flight.addExchange(msg.ID, r) != nil {
		// Nothing is outstanding, so it is suspect; on a new connection it is not.
		s.dropUpstream(true)
		if err := s.upstreamReady(); err != nil {
			return err
		}
		if err := s.flight.addExchange(msg.ID, r); err != nil {
			return err
		}
	}
	if s.up.isGone() {
		s.flight.remove(msg.ID)
		return errors.Join(errNotSent, s.up.err)
	}
	if err := s.up.out.write(msg.Raw, true); err != nil {
		// Part of it, or all, may have left: only the DC knows.
		s.flight.remove(msg.ID)
		return errors.Join(errUnanswered, err)
	}
	return nil
}

// answerBind is the answer loop's part, with the final answer to a bind.
func (s *session) answerBind(b *bindWait, msg ldapwire.Message) {
	if !b.state.CompareAndSwap(bindWaiting, bindClaimed) {
		s.flight.landedOne()
		return
	}
	b.ended = time.Now()
	res, err := ldapwire.ParseResult(msg.Body)
	if err != nil || msg.Op != ldapwire.OpBindResponse || res.Code != ldapwire.ResultSuccess {
		b.answer = slices.Clone(msg.Raw)
		s.flight.landedOne()
		s.wake() // before the end: no wake-up may come once the session has gone on
		b.end(bindHanded)
		return
	}
	b.attempt.settled(res)
	s.countBind(b, res)
	s.forward(msg)
	s.flight.landedOne()
	if b.learn = b.attempt.wantsAccount(); b.learn || b.lesson != nil {
		s.wake()
	}
	b.end(bindAccepted)
}

func (s *session) countBind(b *bindWait, res ldapwire.Result) {
	s.srv.cfg.Metrics.observe(ldapwire.OpBindRequest, res.Code, b.ended.Sub(b.start))
	s.srv.cfg.Metrics.bindVerdict(res.Code, res.Diagnostic)
}

// afterBind is the client as its Reader reads it: what comes while a bind is on
// its way is kept until that is over, since it was not sent under the identity
// of before, and the limits of after are not known yet.
type afterBind struct{ s *session }

func (r afterBind) Read(b []byte) (int, error) {
	n, err := r.s.client.Read(b)
	if n > 0 && r.s.binding {
		if r.s.ending = r.s.finishBind(); r.s.ending != nil {
			clear(b[:n])
			return 0, r.s.ending
		}
	}
	return n, err
}

// wokenBinding decides what a failed read of the client means while a bind is
// on its way; goOn: read again.
func (s *session) wokenBinding(err error, now time.Time) (goOn bool, _ error) {
	b, isDeadline := s.bindWait, errors.Is(err, os.ErrDeadlineExceeded)
	isQuiet := b.isOver()
	if isDeadline && b.isWaiting() && now.Before(b.until) && !s.draining.Load() && !s.up.isGone() {
		return true, nil
	}
	if err := s.finishBind(); err != nil {
		return false, err
	}
	s.idle = time.Now().Add(s.patience())
	return isDeadline && !isQuiet && !s.draining.Load() && !s.up.isGone(), nil
}

// finishBind waits until the bind on its way is over, and gives the session the
// state that follows from it.
func (s *session) finishBind() error {
	b := s.bindWait
	state, cause := s.awaitBind(b)
	s.binding = false
	defer func() {
		if !s.bound {
			s.domain = nil
			s.kept.wipe()
		}
	}()
	switch state {
	case bindAccepted:
		return s.bindWasAccepted(b)
	case bindHanded:
		s.readAgain()
		return s.bindNotAccepted(b)
	}
	return s.bindUnanswered(b, errors.Join(errUnanswered, cause))
}

// awaitBind waits for a final state. An answer that arrived before the
// connection was lost still counts.
func (s *session) awaitBind(b *bindWait) (state int32, cause error) {
	if state = b.state.Load(); state >= bindAccepted {
		return state, nil
	}
	timer := time.NewTimer(time.Until(b.until))
	defer timer.Stop()
	for cause == nil {
		select {
		case <-b.done: // perhaps that of the bind before
			if state = b.state.Load(); state >= bindAccepted {
				return state, nil
			}
		case <-timer.C:
			cause = context.DeadlineExceeded
		case <-s.ctx.Done():
			cause = s.ctx.Err()
		case <-s.up.gone:
			cause = s.up.err
		}
	}
	if b.state.CompareAndSwap(bindWaiting, bindGivenUp) {
		s.bindWait = nil
		return bindGivenUp, cause
	}
	for { // the answer loop is at work on it
		if state = b.state.Load(); state >= bindAccepted {
			return state, nil
		}
		<-b.done
	}
}

// readAgain takes a wake-up of the answer loop back, which is for nothing else
// than the bind.
func (s *session) readAgain() {
	s.deadline = time.Time{}
	_ = s.client.SetReadDeadline(s.idle)
	s.wakeIfWanted()
}

// bindWasAccepted is what is left to do when the client has its answer.
func (s *session) bindWasAccepted(b *bindWait) error {
	s.bound, s.name = b.name != "", b.name
	if s.bound {
		s.everBound = true
		s.trust(true)
	}
	if s.logsDetails {
		s.log.Debug("bind accepted", "name", clip(b.name), "dc", s.up.name, "took", b.ended.Sub(b.start))
	}
	if !b.learn && b.lesson == nil {
		return nil
	}
	s.readAgain()
	s.keepLesson(b.lesson)
	b.lesson = nil
	if !b.learn {
		return nil
	}
	return s.learnBound(b.attempt)
}

// bindNotAccepted deals with an answer that is no success.
func (s *session) bindNotAccepted(b *bindWait) error {
	b.lesson.forget()
	answer, err := ldapwire.ParseMessage(b.answer)
	var res ldapwire.Result
	if err == nil {
		res, err = ldapwire.ParseResult(answer.Body)
	}
	if err != nil || answer.Op != ldapwire.OpBindResponse {
		b.attempt.unsettled(true)
		s.dropUpstream(false)
		return &disconnect{ldapwire.ResultUnavailable, "the domain controller's answer to the bind is malformed"}
	}
	b.attempt.settled(res)
	s.countBind(b, res)
	verdict, reason := Reason(res.Code, res.Diagnostic)
	s.log.Info("bind refused", "name", clip(b.name), "verdict", verdict, "reason", reason, "dc", s.up.name)
	if err := s.out.write(answer.Raw, true); err != nil {
		return err
	}
	s.dropUpstream(true) // it may still carry an earlier identity
	return nil
}

// bindUnanswered answers a bind in the DC's place.
func (s *session) bindUnanswered(b *bindWait, err error) error {
	b.attempt.bindFailed(err)
	b.lesson.forget()
	if s.up != nil {
		s.srv.pool.discard(s.up.domain, s.up.name)
	}
	s.dropUpstream(false)
	s.srv.cfg.Metrics.bindVerdict(ldapwire.ResultUnavailable, nil)
	return s.unreachable(ldapwire.Message{ID: b.id, Op: ldapwire.OpBindRequest}, err)
}
