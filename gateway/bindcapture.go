package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// BindRecorder takes passwords that binds proved (rule G6).
type BindRecorder interface {
	// RecordBind decides whether replication wants the password of
	// change.Account and lacks it, and only then keeps it, sealed. PwdLastSet of
	// change is that of the password. Of a bind at a Foreign directory, direction
	// sync, Account has its bind DN, and the domain of [Domain.Of], alone. It may take a while, and is called for a
	// few accounts at a time. An error means that nothing was recorded.
	RecordBind(ctx context.Context, change identity.Change, password secret.Bytes) (identity.BindOutcome, error)
}

// lesson is the password of a bind, until it is known whether that proves
// something that replication wants.
type lesson struct {
	print    fingerprint
	password secret.Bytes
	up       *upstream // where the bind was accepted; nil: it was not, so far
	waits    int       // how often the client was silent, but waited for an answer
}

// lessonPause is how long a client must be silent until its DC connection is
// used for a lesson.
const lessonPause = 50 * time.Millisecond

// lessonWaits is how often that is put off because the client waits for an
// answer: about a second in all.
const lessonWaits = 20

// newLesson keeps the password of a bind that goes to the DC, if something may
// be learnt from it; else nil. What is known already costs a look into a map.
func (s *session) newLesson(msg ldapwire.Message, req ldapwire.BindRequest, a *attempt) *lesson {
	l, domain := s.srv.lessons, s.home()
	if l == nil || domain == nil || !domain.learns() || len(req.Name) == 0 || s.inClear || req.Auth != ldapwire.AuthSimple {
		return nil
	}
	if a != nil {
		print := l.fingerprint(a.name, a.mark)
		if l.isKnown(print) {
			return nil
		}
		return &lesson{print: print, password: req.Password(msg.Body)}
	}
	password := req.Password(msg.Body)
	print := l.fingerprint(nameKey(domain.Name, string(req.Name)), l.marks.markOf(password))
	if l.isKnown(print) {
		password.Wipe()
		return nil
	}
	return &lesson{print: print, password: password}
}

// forget is the end of a lesson, wherever it came to.
func (l *lesson) forget() {
	if l != nil {
		l.password.Wipe()
	}
}

// keepLesson is called when the bind of a lesson was accepted. The lesson waits
// until the client is silent.
func (s *session) keepLesson(l *lesson) {
	if l == nil || !s.srv.lessons.claim(l.print) {
		l.forget()
		return
	}
	l.up = s.up
	s.lesson = l
}

// dropLesson leaves a lesson to the next bind.
func (s *session) dropLesson() {
	if s.lesson != nil {
		s.srv.lessons.leave(s.lesson.print, 0)
		s.lesson.forget()
		s.lesson = nil
	}
}

// learn is called by the client loop when the client is silent, binds anew or
// has gone. It asks the DC, as the session and with two short requests, when
// the password was set. The error is the DC connection's, which is lost.
func (s *session) learn() error {
	l := s.lesson
	if l == nil {
		return nil
	}
	if s.up == nil || s.up != l.up || s.up.isGone() {
		s.dropLesson() // the session has another connection by now
		return nil
	}
	s.lesson = nil
	defer l.forget()
	if domain := s.up.domain; domain.Foreign {
		// What the user has to do with AD, the recorder finds out.
		s.record(l, identity.Change{Kind: identity.PasswordBind, Direction: identity.Sync, Actor: clip(s.name),
			Account: identity.Account{Domain: domain.Of, DN: s.name}, DC: s.up.name})
		return nil
	}
	b, err := s.readIdentity()
	if errors.Is(err, errNotSent) || errors.Is(err, errUnanswered) {
		return err
	}
	why, again := "", lookAgain
	if err != nil {
		why = err.Error()
	} else {
		why, again = proves(b.facts, s.srv.lessons.minAge)
	}
	if why != "" {
		s.srv.lessons.leave(l.print, again)
		s.learnt(b.account, "unproven", why)
		return nil
	}
	s.record(l, identity.Change{
		Kind: identity.PasswordBind, Direction: identity.Import, Actor: clip(s.name),
		Account: b.account, PwdLastSet: b.facts.pwdLastSet, DC: s.up.name,
	})
	return nil
}

// learnNow is learn for a session that goes on. While an answer is due to the
// client nothing is asked: a DC may answer in order, and what takes it longer
// than BindTimeout would be taken for the loss of the connection.
func (s *session) learnNow() error {
	if s.lesson != nil && s.flight.len() > 0 {
		if s.lesson.waits++; s.lesson.waits >= lessonWaits {
			s.dropLesson()
		}
		return nil
	}
	if err := s.learn(); err != nil && s.up != nil {
		return s.upstreamGone(err)
	}
	return nil
}

// learnAtEnd is learn for a session whose client has gone, within cleanTime. If
// the DC connection is lost by it, leaveUpstream sees that.
func (s *session) learnAtEnd() {
	if s.lesson == nil {
		return
	}
	if s.ctx.Err() == nil && !s.draining.Load() {
		timer := time.AfterFunc(cleanTime, s.cancel)
		_ = s.learn()
		timer.Stop()
	}
	s.dropLesson()
}

// record hands a proven password over, so that the session need not wait.
func (s *session) record(l *lesson, change identity.Change) {
	all := s.srv.lessons
	select {
	case all.waiting <- struct{}{}:
	default:
		all.leave(l.print, lessonClaim)
		s.learnt(change.Account, "busy", "too many are waiting")
		return
	}
	password := l.password.Clone()
	s.srv.running.Go(func() {
		defer func() { <-all.waiting }()
		defer password.Wipe()
		select {
		case all.working <- struct{}{}:
		case <-all.ctx.Done():
			return
		}
		defer func() { <-all.working }()
		ctx, cancel := context.WithTimeout(all.ctx, lessonTime)
		defer cancel()
		outcome, err := all.recorder.RecordBind(ctx, change, password)
		s.recorded(l.print, change.Account, outcome, err)
	})
}

// recorded says what became of a password, and when to look at it again.
func (s *session) recorded(print fingerprint, account identity.Account, outcome identity.BindOutcome, err error) {
	all := s.srv.lessons
	switch {
	case err != nil:
		all.leave(print, lessonClaim)
		s.srv.cfg.Metrics.captures.WithLabelValues(captureBind, "failed").Inc()
		s.log.Warn("password of a bind not recorded; the next bind is another chance", "account", account.GUID.String(), "err", err)
		return
	case outcome == identity.BindRecorded || outcome == identity.BindInSync:
		all.leave(print, all.settled)
	case outcome == identity.BindEarly:
		all.leave(print, lessonClaim)
	default:
		all.leave(print, lookAgain)
	}
	s.learnt(account, string(outcome), "")
}

// captureBind is the kind of the metric.
const captureBind = "bind"

func (s *session) learnt(account identity.Account, outcome, why string) {
	s.srv.cfg.Metrics.captures.WithLabelValues(captureBind, outcome).Inc()
	if outcome == string(identity.BindRecorded) {
		s.log.Info("password learnt from a bind", "account", account.GUID.String())
		return
	}
	s.details("nothing learnt from a bind", "account", account.GUID.String(), "outcome", outcome, "why", why)
}
