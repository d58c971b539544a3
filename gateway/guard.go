package gateway

import (
	"container/list"
	"strings"
	"sync"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// guard keeps the binds that pass through the gateway from locking accounts
// (rule G7). It remembers, in memory only, which passwords a DC refused for
// which account, and answers a repetition with the DC's own answer. Different
// wrong passwords are let through only while the account cannot be locked by
// them; after that only the password that was last accepted passes.
//
// AD counts a refused password against an account until a bind succeeds, or
// until none was refused for the length of lockOutObservationWindow, which runs
// from the last refusal, not from the first (MS-SAMR 3.1.5.14.6; Samba does the
// same). guard counts in the same way, and counts a password while it is on its
// way, so that many at once do not get past it. The package comment says what
// that does not cover.
//
// A name that was never bound with success stands for itself: its logon forms
// (sam, DOMAIN\sam, sam@domain) share one count, its DN has another. With the
// first success the DC says whose name it is, and all forms of that account's
// name share one.
type guard struct {
	*marker
	now func() time.Time

	mu        sync.Mutex
	salt      uint64                   // of the newest subject; guarded by mu
	names     map[string]*subject      // by name or GUID, see nameKey; guarded by mu
	recent    *list.List               // of *subject never bound with success, most recent first; guarded by mu
	proven    *list.List               // of the others, the same; guarded by mu
	policies  map[string]lockoutPolicy // by domain; guarded by mu
	said      string                   // the last refusal's text, to keep one copy of it; guarded by mu
	addresses addressLimits            // guarded by mu
}

// Bounds of what guard remembers.
const (
	maxSubjects = 65_536 // of those once bound with success, and of the others
	maxWrong    = 16     // refused passwords of an account
	maxNames    = 32     // names of an account
	maxText     = 1024
)

// shortestMemory is how long a refused password is remembered at least. It is
// longer when the domain counts for longer: tried again after that, it is the
// first of a new count.
const shortestMemory = 30 * time.Minute

// freshness is how long after a success the same password may be tried by any
// number of sessions at once. Later one goes ahead, since the password may have
// been changed meanwhile. Should it change within this time, AD does not count
// the refusals: neither of the two passwords before the present one is counted.
const freshness = 2 * time.Second

// subject is an account, or a name whose account is not known.
type subject struct {
	salt    uint64 // makes equal passwords of two subjects unlike
	keys    []string
	element *list.Element
	in      *list.List // that element is in
	known   bool       // the DC said whose names these are
	forms   []string   // names' forms that it said it of, besides the domain's own; see formOf
	inquiry []string   // forms that it was asked about
	asked   time.Time  // when it was last asked

	own *lockoutPolicy // of its Password Settings Object; nil: its domain's, or not known

	good    fingerprint // last one that the DC took for right; zero: none
	proven  time.Time   // when it last did
	wrong   []refused
	trying  []*attempt
	fails   int            // as AD counts them
	failsOf map[string]int // of these, those under a form that may be another account's
	last    time.Time      // when the last of them came
	warned  bool           // that new passwords are held back
	changed chan struct{}
}

// refused is a password that the DC did not accept.
type refused struct {
	print  fingerprint
	answer guardAnswer
	at     time.Time
	// open: the DC did not answer, so nothing can be told from it, except that
	// the attempt may have been counted.
	open bool
	// again is how often it was asked again meanwhile.
	again int
}

// guardAnswer is what the client is told.
type guardAnswer struct {
	code ldapwire.ResultCode
	text string
}

// attempt is a password on its way to the DC. It must be settled.
type attempt struct {
	guard   *guard
	subject *subject
	domain  string
	name    string // its key
	form    string // of the name
	address string
	mark    mark
	prints  prints
	print   fingerprint // that it is remembered by
	apart   bool        // form may be another account's than the subject's other names
	asKnown bool        // print is for a subject that is known
	known   bool        // the last accepted password: not counted until it is refused
	done    bool        // guarded by guard.mu
}

// admission is what guard says about a bind: exactly one of its fields is set.
type admission struct {
	try    *attempt
	answer *guardAnswer
	held   string          // with answer: why the DC is not asked
	first  bool            // with answer: since the count began
	wait   <-chan struct{} // ask again when it is closed
}

// Reasons of admission.held, also label values.
const (
	heldRepeated  = "repeated"        // the DC refused this password before
	heldThrottled = "throttled"       // another new password could lock the account
	heldAddress   = "address_limited" // too many failures from this client address
)

func newGuard(now func() time.Time) *guard {
	return &guard{
		marker: newMarker(), now: now, names: make(map[string]*subject), recent: list.New(), proven: list.New(),
		policies: make(map[string]lockoutPolicy), addresses: newAddressLimits(),
	}
}

// A bindName is the name of a bind as the guard needs it.
type bindName struct{ domain, key, form string }

func newBindName(domain, name string) bindName {
	key := nameKey(domain, name)
	return bindName{domain, key, formOf(key, name)}
}

// admit decides about a password, given as its mark, for a name.
func (g *guard) admit(name bindName, address string, m mark) admission {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if g.names[name.key] == nil {
		switch {
		case !g.addresses.allow(address, now): // or it could fill the memory with invented names
			return addressHeld()
		case !g.makeRoom(g.recent, now):
			return admission{answer: &guardAnswer{ldapwire.ResultBusy, "too many names were tried; try again later"}, held: heldThrottled}
		}
	}
	s := g.subjectOf(name.key)
	policy := g.policyOf(s, name.domain)
	s.forget(now, policy)
	a := &attempt{guard: g, domain: name.domain, name: name.key, form: name.form, address: address, mark: m}
	a.isOf(s)
	a.known = !s.good.isZero() && a.prints.are(s.good)
	before := s.find(a.prints)
	switch {
	case before != nil && !before.open:
		if s.mayAskAgain(a, before, now, policy) && g.addresses.allow(address, now) {
			before.again++
			return s.start(a)
		}
		answer := before.answer
		return admission{answer: &answer, held: heldRepeated}
	case a.known && now.Sub(s.proven) < freshness:
		return s.start(a)
	case s.isTrying(a.print):
		return s.waitForChange() // what the DC says to one is true of both
	case a.known:
		return s.start(a)
	case !g.addresses.allow(address, now):
		return addressHeld()
	case policy.threshold == 0 || before != nil: // one without an answer was counted then
		return s.start(a)
	}
	budget, onTheWay := s.budget(policy), s.newOnes()
	switch {
	case s.fails+onTheWay < budget:
		return s.start(a)
	case onTheWay > 0:
		return s.waitForChange()
	}
	first := !s.warned
	s.warned = true
	return admission{answer: &guardAnswer{ldapwire.ResultInvalidCredentials, acceptSecurityContext52e}, held: heldThrottled, first: first}
}

func addressHeld() admission {
	return admission{answer: &guardAnswer{ldapwire.ResultBusy, "too many failed binds from this address; try again later"}, held: heldAddress}
}

// settled is called with the DC's answer to an attempt.
func (a *attempt) settled(res ldapwire.Result) {
	if a == nil {
		return
	}
	verdict, reason := Reason(res.Code, res.Diagnostic)
	a.finish(func(s *subject, now time.Time) {
		switch {
		case verdict == "accepted":
			a.accepted(s, now)
		case res.Code != ldapwire.ResultInvalidCredentials:
			// Nothing is said about the password.
		case reason == "bad_credentials" || reason == "unknown":
			a.refused(s, now, guardAnswer{res.Code, a.guard.textOf(res.Diagnostic)})
		case reason == "no_such_user":
			// There is no account to lock; it may be created in a minute.
			a.guard.addresses.take(a.address, now)
		case reason == "locked_out":
			// AD says that to any password, and does not count it.
		default:
			// Expired, disabled and the like are said to the right password
			// only. AD's count stays.
			a.right(s, now)
		}
	})
}

// unsettled is called when there is no answer; sent says whether the DC may
// have seen the password. After another end of the attempt it does nothing.
func (a *attempt) unsettled(sent bool) {
	if a == nil {
		return
	}
	a.finish(func(s *subject, now time.Time) {
		if !sent || a.known {
			return
		}
		before := s.find(a.prints)
		if before == nil || !before.open {
			a.count(s) // the DC may have counted it; its repetitions are not counted again
		}
		s.last = now
		if before == nil || before.open { // else what it was answered with is still true
			s.remember(a.prints, refused{print: a.print, at: now, open: true})
		}
	})
}

func (a *attempt) finish(apply func(*subject, time.Time)) {
	g := a.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	s := a.subject // another session's bind may just have given it another
	if a.done {
		return
	}
	a.done = true
	for i, other := range s.trying {
		if other == a {
			s.trying = append(s.trying[:i], s.trying[i+1:]...)
			break
		}
	}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	if now := g.names[a.name]; now != nil && (now != s || a.asKnown != s.known) {
		// Meanwhile the name turned out to be one of another subject, or of an
		// account.
		s = now
		a.isOf(s)
	}
	apply(s, g.now())
}

// subjectOf finds or makes the subject of a name; the caller holds mu.
func (g *guard) subjectOf(key string) *subject {
	if s := g.names[key]; s != nil {
		s.in.MoveToFront(s.element)
		return s
	}
	g.salt++
	s := &subject{salt: g.salt}
	g.put(s, g.recent)
	g.give(s, key)
	return s
}

// roomSearch bounds how many subjects are looked at for one to forget, as the
// lock is held meanwhile. The next search goes on where the last one ended.
const roomSearch = 256

// makeRoom forgets a subject of a list that AD counts nothing for, if there are
// too many; false: it found none. The caller holds mu.
func (g *guard) makeRoom(in *list.List, now time.Time) bool {
	if in.Len() < maxSubjects {
		return true
	}
	for range roomSearch {
		e := in.Back()
		s := e.Value.(*subject)
		if !g.counts(s, now) {
			g.drop(s)
			return true
		}
		in.MoveToFront(e)
	}
	return false
}

// put makes s the most recent one of a list; the caller holds mu.
func (g *guard) put(s *subject, in *list.List) {
	if s.element != nil {
		s.in.Remove(s.element)
	}
	s.in, s.element = in, in.PushFront(s)
}

// prove keeps a subject apart from invented names, which cannot then drive it
// and its right password out. The caller holds mu.
func (g *guard) prove(s *subject, now time.Time) {
	if s.in == g.recent && len(s.keys) > 0 && g.makeRoom(g.proven, now) {
		g.put(s, g.proven)
	}
}

// counts reports whether a subject has refusals that AD still counts, or may
// get one; the caller holds mu.
func (g *guard) counts(s *subject, now time.Time) bool {
	if len(s.trying) > 0 {
		return true
	}
	if s.fails == 0 || len(s.keys) == 0 {
		return false
	}
	domain, _, _ := strings.Cut(s.keys[0], "\x00")
	return now.Sub(s.last) <= g.policyOf(s, domain).window+time.Second
}

// give makes key a name of s; the caller holds mu.
func (g *guard) give(s *subject, key string) {
	switch before := g.names[key]; {
	case before == s:
		return
	case before != nil:
		before.lose(key)
		if len(before.keys) == 0 {
			g.drop(before)
		}
	}
	if len(s.keys) >= maxNames {
		delete(g.names, s.keys[0])
		s.keys = append(s.keys[:0], s.keys[1:]...)
	}
	s.keys = append(s.keys, key)
	g.names[key] = s
}

func (s *subject) lose(key string) {
	for i, k := range s.keys {
		if k == key {
			s.keys = append(s.keys[:i], s.keys[i+1:]...)
			return
		}
	}
}

// drop forgets a subject; the caller holds mu.
func (g *guard) drop(s *subject) {
	for _, k := range s.keys {
		delete(g.names, k)
	}
	s.keys = nil
	s.in.Remove(s.element)
}

// textOf is a DC's diagnostic text as it is remembered; the caller holds mu.
func (g *guard) textOf(diagnostic []byte) string {
	if len(diagnostic) > maxText {
		return acceptSecurityContext52e
	}
	if string(diagnostic) != g.said {
		g.said = string(diagnostic)
	}
	return g.said
}
