package gateway

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// guardBind asks the lockout guard about a bind. The attempt, if there is one,
// must be settled with the DC's answer; when it is nil and the bind was not
// answered, there is nothing to guard.
func (s *session) guardBind(msg ldapwire.Message, req ldapwire.BindRequest) (a *attempt, answered bool, err error) {
	g, domain := s.srv.guard, s.home()
	if g == nil || domain == nil || domain.Foreign || len(req.Name) == 0 {
		return nil, false, nil
	}
	password := req.Password(msg.Body)
	m := g.markOf(password)
	password.Wipe()
	if s.guardedBy != domain.Name || s.guarded != string(req.Name) {
		s.guardedBy, s.guarded = domain.Name, string(req.Name)
		s.guardedAs = newBindName(domain.Name, s.guarded)
	}
	var patience <-chan time.Time
	for {
		d := g.admit(s.guardedAs, s.address, m)
		switch {
		case d.try != nil:
			return d.try, false, nil
		case d.answer != nil:
			return nil, true, s.answerGuarded(msg, d)
		}
		if patience == nil {
			timer := time.NewTimer(s.srv.cfg.BindTimeout)
			defer timer.Stop()
			patience = timer.C
		}
		select {
		case <-d.wait:
		case <-s.ctx.Done():
			return nil, true, s.ctx.Err()
		case <-patience:
			return nil, true, s.refuseBind(msg, ldapwire.ResultBusy, "other binds with this name are not answered yet; try again later")
		}
	}
}

// answerGuarded answers a bind that the DC is not asked about. The session is
// anonymous after it, as after any other that failed.
func (s *session) answerGuarded(msg ldapwire.Message, d admission) error {
	s.dropUpstream(true)
	s.srv.cfg.Metrics.guarded.WithLabelValues(d.held).Inc()
	if d.held == heldRepeated {
		s.srv.cfg.Metrics.bindVerdict(d.answer.code, []byte(d.answer.text))
	} else {
		s.srv.cfg.Metrics.binds.WithLabelValues("refused", "throttled").Inc()
	}
	if d.first {
		s.log.Warn("new passwords for this name are held back: another failure could lock the account", "name", clip(s.guarded), "address", s.address)
	}
	return s.answerLocally(msg, d.answer.code, d.answer.text, "name", clip(s.guarded), "guard", d.held)
}

// bindFailed settles an attempt without an answer.
func (a *attempt) bindFailed(err error) { a.unsettled(errors.Is(err, errUnanswered)) }

// learnBound asks the DC who the name of a successful bind is, once for each
// name, so that the forms of its name share one count. The client has its
// answer by then; its next request waits until this is done. wantsAccount has
// said that it should be asked.
func (s *session) learnBound(a *attempt) error {
	b, err := s.readBound()
	if errors.Is(err, errNotSent) || errors.Is(err, errUnanswered) {
		return s.upstreamGone(err)
	}
	if err != nil {
		s.details("bound account not known", "err", err)
		return nil
	}
	a.learn(b)
	return nil
}

// wantsAccount reports whether the DC should be asked whose name it was. Of
// sessions that bind at once, one asks.
func (a *attempt) wantsAccount() bool {
	if a == nil {
		return false
	}
	g := a.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	s := a.subject
	stale := now.Sub(g.policies[a.domain].read) >= policyAge
	if s.known && a.apart && a.asKnown && len(s.inquiry) < maxNames && !slices.Contains(s.inquiry, a.form) {
		s.inquiry = append(s.inquiry, a.form) // once: it may be another account's
		return true
	}
	if (s.known && !stale) || (!s.asked.IsZero() && now.Sub(s.asked) < policyAge) {
		return false
	}
	s.asked = now
	return true
}

// learn puts all names of an account together.
func (a *attempt) learn(b boundAccount) {
	g := a.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if !b.policy.read.IsZero() {
		g.policies[a.domain] = b.policy
	}
	now := g.now()
	named := g.names[a.name]
	if named != nil && named.known && named != g.names[accountKey(b.account)] && !isOwnForm(a.domain, a.form) {
		return // DOMAIN\name of another domain than the name's owner
	}
	s := g.accountOf(b.account, a.name)
	if a.form != "" && !isOwnForm(a.domain, a.form) && !slices.Contains(s.forms, a.form) && len(s.forms) < maxNames {
		s.forms = append(s.forms, a.form)
	}
	names := []string{a.name, accountKey(b.account), nameKey(a.domain, "<SID="+strings.ToLower(b.sid)+">")}
	for _, name := range []string{b.account.DN, b.upn, b.canonical} {
		if name != "" {
			names = append(names, nameKey(a.domain, name))
		}
	}
	if b.account.SAM != "" {
		names = append(names, nameKey(a.domain, `x\`+b.account.SAM))
	}
	for _, name := range names {
		g.give(s, name)
	}
	for _, other := range s.trying {
		other.isOf(s) // so that the same password is recognised under another form
	}
	before := a.subject
	a.isOf(s)
	if s != before { // of two subjects the account's goes on
		a.accepted(s, now)
		return
	}
	a.right(s, now) // not counted again: another may have been refused since
}

// accountOf is the subject of an account, or that of a name which becomes it;
// the caller holds mu.
func (g *guard) accountOf(account identity.Account, name string) *subject {
	s := g.names[accountKey(account)]
	if s == nil {
		g.makeRoom(g.recent, g.now()) // an account that was bound is remembered in any case
		s = g.subjectOf(name)
		if s.known { // of another account, which had this name before
			s.lose(name)
			delete(g.names, name)
			s = g.subjectOf(name)
		}
	}
	s.known = true
	return s
}

func accountKey(a identity.Account) string { return a.Domain + "\x00" + guidForm(a.GUID) }

// passwordChanged is called when a DC accepted a new password: it is the right
// one from now on, and what was wrong may be right. AD's count stays. Of the
// account its DN is enough.
func (g *guard) passwordChanged(account identity.Account, password secret.Bytes) {
	if g == nil {
		return
	}
	m := g.markOf(password)
	names := []string{nameKey(account.Domain, account.DN)}
	if account.SAM != "" {
		names = append(names, nameKey(account.Domain, `x\`+account.SAM))
	}
	if !account.GUID.IsZero() {
		names = append(names, accountKey(account))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range names {
		if s := g.names[name]; s != nil {
			s.wrong = nil
			s.good, s.proven = g.fingerprint(s.salt, m), time.Time{}
			g.prove(s, g.now())
		}
	}
}
