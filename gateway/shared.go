package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// Shared is what keeps accounts from being locked, and changes of one password
// apart, wherever in the process they come from: a Server and others that bind
// as accounts at the same controllers count the same failures (rule G7), and
// record changes in the order in which the controllers make them.
//
// It is here, and not in a package of its own, since the guard's memory is made
// for what a session knows: names whose account is not known yet. Others know
// the account before they bind, and need the few methods below.
type Shared struct {
	guard *guard
	turns *turns
}

// NewShared makes one with an empty memory.
func NewShared() *Shared { return newShared(time.Now) }

func newShared(now func() time.Time) *Shared {
	return &Shared{guard: newGuard(now), turns: newTurns()}
}

// SetPolicy says what locks the accounts of a domain: threshold refusals (0:
// none do), and after window without one the count starts anew. Until then 5
// and 30 minutes are assumed.
func (s *Shared) SetPolicy(domain string, threshold int, window time.Duration) {
	s.guard.mu.Lock()
	defer s.guard.mu.Unlock()
	s.guard.policies[domain] = lockoutPolicy{threshold: threshold, window: window, read: s.guard.now()}
}

// SetAccountPolicy says the same of one account, to which a Password Settings
// Object applies (msDS-ResultantPSO). A threshold below 0 takes it back.
func (s *Shared) SetAccountPolicy(account identity.Account, threshold int, window time.Duration) {
	g := s.guard
	if threshold >= 0 {
		g.know(account)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch known := g.names[accountKey(account)]; {
	case known == nil:
	case threshold < 0:
		known.own = nil
	default:
		known.own = &lockoutPolicy{threshold: threshold, window: window}
	}
}

// Turn waits until no other change of the account's password is on its way;
// done gives the turn on. The error is ctx's.
func (s *Shared) Turn(ctx context.Context, account identity.Account) (done func(), err error) {
	return s.turns.take(ctx, turnKey(account))
}

// PasswordChanged is called when a controller accepted a new password.
func (s *Shared) PasswordChanged(account identity.Account, password secret.Bytes) {
	s.guard.passwordChanged(account, password)
}

// Admit decides about a password for an account that the directory has named:
// its names are one from now on. An account without GUID is a name that is
// nobody's, and is counted all the same.
//
// When settle is not nil the controller may be asked, and settle must be called
// once: with its answer, or with nil, and whether the controller may have seen
// the password. Otherwise held says why it must not be asked: "repeated" (the
// answer is the one that it gave before), "throttled" or "address_limited". It
// waits for binds of the same account that are on their way, as long as ctx
// lasts.
func (s *Shared) Admit(ctx context.Context, account identity.Account, address string, password secret.Bytes) (settle func(answer *ldapwire.Result, sent bool), held string, answer ldapwire.Result, err error) {
	g := s.guard
	name := newBindName(account.Domain, account.DN)
	if !account.GUID.IsZero() {
		name = bindName{domain: account.Domain, key: accountKey(account)}
		g.know(account)
	}
	m := g.markOf(password)
	for {
		d := g.admit(name, address, m)
		switch {
		case d.try != nil:
			return d.try.settle, "", ldapwire.Result{}, nil
		case d.answer != nil:
			return nil, d.held, ldapwire.Result{Code: d.answer.code, Diagnostic: []byte(d.answer.text)}, nil
		}
		select {
		case <-d.wait:
		case <-ctx.Done():
			return nil, "", ldapwire.Result{}, errors.New("other binds of this account are not answered yet; try again later")
		}
	}
}

// settle is settled, or unsettled.
func (a *attempt) settle(answer *ldapwire.Result, sent bool) {
	if answer == nil {
		a.unsettled(sent)
		return
	}
	a.settled(*answer)
}

// know makes the names of an account that the directory has named one subject,
// with the failures that were counted for each of them.
func (g *guard) know(account identity.Account) {
	keys := []string{nameKey(account.Domain, account.DN)}
	if account.SAM != "" {
		keys = append(keys, nameKey(account.Domain, `x\`+account.SAM))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.names[accountKey(account)]
	for i := 0; s == nil && i < len(keys); i++ {
		if named := g.names[keys[i]]; named != nil && !named.known {
			s = named
		}
	}
	if s == nil {
		g.makeRoom(g.recent, g.now())
		s = g.subjectOf(accountKey(account))
	}
	s.known = true
	g.give(s, accountKey(account))
	for _, key := range keys {
		if other := g.names[key]; other != nil && other != s && !other.known {
			s.absorb(other)
		}
		g.give(s, key)
	}
}

// absorb takes over what AD counts for another name of the account, and what is
// on its way.
func (s *subject) absorb(other *subject) {
	s.fails += other.fails
	if s.own == nil {
		s.own = other.own
	}
	for form, n := range other.failsOf {
		if s.failsOf == nil {
			s.failsOf = make(map[string]int)
		}
		s.failsOf[form] += n
	}
	if other.last.After(s.last) {
		s.last = other.last
	}
	for _, a := range other.trying {
		s.trying = append(s.trying, a)
		a.isOf(s)
	}
	other.trying, other.fails, other.failsOf = nil, 0, nil
	if other.changed != nil {
		close(other.changed) // who waits there asks again, by a name that is s's now
		other.changed = nil
	}
}
