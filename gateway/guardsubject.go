package gateway

import (
	"slices"
	"time"
)

// budget is how many refusals an account may collect from new passwords. The
// last accepted password always passes; it may have become wrong meanwhile, and
// that refusal is kept back for it.
func (s *subject) budget(p lockoutPolicy) int {
	budget := p.threshold - 1
	if !s.good.isZero() {
		budget--
	}
	return max(budget, 1)
}

func (s *subject) start(a *attempt) admission {
	s.trying = append(s.trying, a)
	return admission{try: a}
}

func (s *subject) waitForChange() admission {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return admission{wait: s.changed}
}

func (s *subject) isTrying(print fingerprint) bool {
	for _, a := range s.trying {
		if a.print.equal(print) {
			return true
		}
	}
	return false
}

// newOnes counts the attempts on their way that may become refusals.
func (s *subject) newOnes() int {
	n := 0
	for _, a := range s.trying {
		if !a.known {
			n++
		}
	}
	return n
}

func (s *subject) find(p prints) *refused {
	for i := range s.wrong {
		if p.are(s.wrong[i].print) {
			return &s.wrong[i]
		}
	}
	return nil
}

// forget drops what time has made void.
func (s *subject) forget(now time.Time, p lockoutPolicy) {
	if now.Sub(s.last) > p.window+time.Second {
		s.fails, s.failsOf, s.warned = 0, nil, false
	}
	memory := max(p.window, shortestMemory) + time.Minute
	kept := s.wrong[:0]
	for _, w := range s.wrong {
		if now.Sub(w.at) < memory {
			kept = append(kept, w)
		}
	}
	clear(s.wrong[len(kept):])
	s.wrong = kept
}

// remove forgets one refused password.
func (s *subject) remove(p prints) {
	kept := s.wrong[:0]
	for _, w := range s.wrong {
		if !p.are(w.print) {
			kept = append(kept, w)
		}
	}
	clear(s.wrong[len(kept):])
	s.wrong = kept
}

func (s *subject) remember(p prints, w refused) {
	s.remove(p)
	if len(s.wrong) >= maxWrong {
		s.wrong = append(s.wrong[:0], s.wrong[1:]...)
	}
	s.wrong = append(s.wrong, w)
}

// askAgainAfter is when a refused password may be asked about again, since an
// administrator may have set it meanwhile: then, and after four times as long.
const askAgainAfter = 2 * time.Minute

// mayAskAgain reports whether a refused password may be tried once more. Its
// refusal counts like that of a new one, and must leave room for a new one.
func (s *subject) mayAskAgain(a *attempt, before *refused, now time.Time, p lockoutPolicy) bool {
	if now.Sub(before.at) < askAgainAfter<<(2*min(before.again, 8)) || s.isTrying(a.print) {
		return false
	}
	return p.threshold == 0 || s.fails+s.newOnes()+1 < s.budget(p)
}

// isOf gives an attempt the marks that its password has for a subject; the
// caller holds mu.
func (a *attempt) isOf(s *subject) {
	a.subject, a.asKnown = s, s.known
	a.apart = !s.known || !isOwnForm(a.domain, a.form) && !slices.Contains(s.forms, a.form)
	a.prints = a.guard.prints(s.salt, a.mark, a.form)
	a.print = a.prints.plain
	if a.apart {
		a.print = a.prints.formed
		if s.known {
			a.prints.plain = a.print // what was said to the account is not said to this name
		}
	}
}

// count counts a refusal.
func (a *attempt) count(s *subject) {
	s.fails++
	if a.apart {
		if s.failsOf == nil {
			s.failsOf = make(map[string]int)
		}
		s.failsOf[a.form]++
	}
}

// uncount is what a success does to AD's count: that of an account which may be
// another stays.
func (a *attempt) uncount(s *subject) {
	if a.apart {
		s.fails -= s.failsOf[a.form]
		delete(s.failsOf, a.form)
	} else {
		s.fails = 0
		for form, n := range s.failsOf {
			if isOwnForm(a.domain, form) || slices.Contains(s.forms, form) {
				delete(s.failsOf, form)
				continue
			}
			s.fails += n
		}
	}
	s.warned = false
}

// right is called when a DC took the password for right, whether or not it let
// the account in.
func (a *attempt) right(s *subject, now time.Time) {
	s.remove(a.prints)
	if a.apart && s.known {
		return // another account's, for all that is known
	}
	s.good, s.proven = a.print, now
	a.guard.prove(s, now)
}

func (a *attempt) accepted(s *subject, now time.Time) {
	if !s.good.isZero() && !a.prints.are(s.good) && !(a.apart && s.known) {
		s.wrong = nil // another password than before: what was wrong may be right
	}
	a.right(s, now)
	a.uncount(s)
}

func (a *attempt) refused(s *subject, now time.Time, answer guardAnswer) {
	s.forget(now, a.guard.policyOf(s, a.domain))
	if !s.good.isZero() && a.prints.are(s.good) {
		// The password was changed: what was wrong may be right.
		s.good, s.wrong = fingerprint{}, nil
	}
	a.count(s)
	s.last = now
	w := refused{print: a.print, answer: answer, at: now}
	if before := s.find(a.prints); before != nil {
		w.again = before.again
	}
	s.remember(a.prints, w)
	a.guard.addresses.take(a.address, now)
}
