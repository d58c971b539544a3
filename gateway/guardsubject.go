package gateway

import "time"

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

func (s *subject) find(print fingerprint) *refused {
	for i := range s.wrong {
		if s.wrong[i].print.equal(print) {
			return &s.wrong[i]
		}
	}
	return nil
}

// forget drops what time has made void.
func (s *subject) forget(now time.Time, p lockoutPolicy) {
	if now.Sub(s.last) > p.window+time.Second {
		s.fails, s.warned = 0, false
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
func (s *subject) remove(print fingerprint) {
	for i := range s.wrong {
		if s.wrong[i].print.equal(print) {
			s.wrong = append(s.wrong[:i], s.wrong[i+1:]...)
			return
		}
	}
}

func (s *subject) remember(w refused) {
	s.remove(w.print)
	if len(s.wrong) >= maxWrong {
		s.wrong = append(s.wrong[:0], s.wrong[1:]...)
	}
	s.wrong = append(s.wrong, w)
}
