package gateway

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

const guardDomain = "corp.example.test"

// guardRig is a guard before a model of AD: one account that counts refused
// passwords as AD does, and a clock that the test moves.
type guardRig struct {
	t     testing.TB
	g     *guard
	clock time.Time

	password  string
	state     string // sub-code for the right password; empty: success
	threshold int
	window    time.Duration
	bad       int
	lastBad   time.Time
	asked     int // binds that reached it
	locked    bool
}

func newGuardRig(t testing.TB) *guardRig {
	r := &guardRig{t: t, clock: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), password: "right", threshold: 5, window: 30 * time.Minute}
	r.g = newGuard(func() time.Time { return r.clock })
	return r
}

func (r *guardRig) mark(password string) mark {
	return r.g.markOf(secret.New([]byte(password)))
}

func (r *guardRig) admit(name, password string) admission {
	return r.g.admit(newBindName(guardDomain, name), "192.0.2.1", r.mark(password))
}

func diagnostic(subCode string) []byte {
	return []byte("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data " + subCode + ", v4563\x00")
}

// ask is the DC's answer to a password.
func (r *guardRig) ask(password string) ldapwire.Result {
	r.asked++
	if r.clock.Sub(r.lastBad) > r.window {
		r.bad = 0
	}
	refuse := func(subCode string) ldapwire.Result {
		return ldapwire.Result{Code: ldapwire.ResultInvalidCredentials, Diagnostic: diagnostic(subCode)}
	}
	switch {
	case r.locked:
		return refuse("775")
	case password != r.password:
		r.bad, r.lastBad = r.bad+1, r.clock
		r.locked = r.threshold > 0 && r.bad >= r.threshold
		return refuse("52e")
	case r.state != "":
		return refuse(r.state)
	}
	r.bad = 0
	return ldapwire.Result{}
}

// bind is a whole bind; it says what the client was told, and by whom.
func (r *guardRig) bind(name, password string) string {
	d := r.admit(name, password)
	switch {
	case d.wait != nil:
		r.t.Fatalf("bind %s: waits, and nothing is on its way", name)
	case d.answer != nil:
		if d.held == heldRepeated && string(d.answer.text) != string(diagnostic("52e")) {
			r.t.Errorf("answer %q, want the DC's own", d.answer.text)
		}
		return d.held
	}
	res := r.ask(password)
	d.try.settled(res)
	if res.Code == ldapwire.ResultSuccess && d.try.wantsAccount() {
		d.try.learn(r.account())
	}
	_, reason := Reason(res.Code, res.Diagnostic)
	return reason
}

func (r *guardRig) account() boundAccount {
	return boundAccount{
		account:   identity.Account{Domain: guardDomain, GUID: aliceGUID, DN: aliceDN, SAM: "alice"},
		upn:       "alice.liddell@example.test",
		canonical: "corp.example.test/People/alice",
		sid:       "S-1-5-21-1-2-3-1104",
		policy:    lockoutPolicy{threshold: r.threshold, window: r.window, read: r.clock},
	}
}

func (r *guardRig) want(name, password, want string) {
	r.t.Helper()
	if got := r.bind(name, password); got != want {
		r.t.Fatalf("%s with %q at %s: %s, want %s", name, password, r.clock.Format(time.TimeOnly), got, want)
	}
}

func (r *guardRig) later(d time.Duration) { r.clock = r.clock.Add(d) }

func TestG7_RepeatedPassword(t *testing.T) {
	r := newGuardRig(t)
	r.want("alice", "stale", "bad_credentials")
	for range 1000 {
		r.later(10 * time.Second)
		if got := r.bind("alice", "stale"); got != heldRepeated && got != "bad_credentials" {
			t.Fatalf("got %s, want a refusal", got)
		}
		if r.bad > r.threshold-2 {
			t.Fatalf("the DC counts %d, want one less than the budget at most", r.bad)
		}
	}
	if r.asked > 16 {
		t.Errorf("the DC was asked %d times in 2 h 47 min, want three times in half an hour at most", r.asked)
	}
	r.want("alice", "right", "ok")
	r.bind("alice", "stale")
	r.want("alice", "stale", heldRepeated)
	r.want("alice", "right", "ok")
}

func TestG7_DifferentPasswords(t *testing.T) {
	r := newGuardRig(t)
	for i := range r.threshold - 1 {
		r.want("alice", fmt.Sprint("guess", i), "bad_credentials")
		r.later(r.window / 2) // AD's time runs from the last refusal
	}
	r.want("alice", "another", heldThrottled)
	r.want("alice", "right", heldThrottled)
	r.want("alice", "guess3", heldRepeated)
	r.later(r.window + 2*time.Second)
	r.want("alice", "right", "ok")
	if r.locked {
		t.Error("the account was locked")
	}
}

func TestG7_KnownPasswordPasses(t *testing.T) {
	r := newGuardRig(t)
	r.want("alice", "right", "ok")
	for i := range r.threshold - 2 { // one is kept back for "right"
		r.want("alice", fmt.Sprint("guess", i), "bad_credentials")
	}
	r.want("alice", "another", heldThrottled)
	r.later(time.Minute)
	r.password = "changed at the DC"
	r.want("alice", "right", "bad_credentials")
	r.want("alice", "right", heldRepeated)
	r.want("alice", r.password, heldThrottled)
	if r.locked || r.bad != r.threshold-1 {
		t.Errorf("the DC counts %d, locked %v; want %d and not locked", r.bad, r.locked, r.threshold-1)
	}
	r.later(r.window + 2*time.Second)
	r.want("alice", r.password, "ok")

	for i := range r.threshold - 2 {
		r.want("alice", fmt.Sprint("later", i), "bad_credentials")
	}
	r.want("alice", "another", heldThrottled)
	r.want("alice", r.password, "ok") // clears the count, as at the DC
	r.want("alice", "another", "bad_credentials")
	r.want("alice", "later0", heldRepeated)
}

func TestG7_FormsOfAName(t *testing.T) {
	forms := []string{
		aliceDN, `CN=al\69ce,ou = people, DC=CORP,DC=example,dc=test`, "alice.liddell@example.test", "alice@corp.example.test",
		`CORP\Alice`, "alice", "corp.example.test/People/alice", "<GUID=" + aliceGUID.String() + ">",
		"<GUID=" + fmt.Sprintf("%x", aliceGUID[:]) + ">", "S-1-5-21-1-2-3-1104",
		"<SID=S-1-5-21-1-2-3-1104>", "<sid=" + "010500000000000515000000010000000200000003000000" + "50040000" + ">",
	}
	for _, first := range forms {
		r := newGuardRig(t)
		r.want(first, "right", "ok")
		for i := range r.threshold - 2 {
			r.want(forms[i], fmt.Sprint("guess", i), "bad_credentials")
		}
		for _, form := range forms {
			r.want(form, "guess0", heldRepeated)
			r.want(form, "new", heldThrottled)
		}
		for _, form := range forms {
			r.want(form, "right", "ok")
		}
		if len(r.g.names) > maxNames || r.g.proven.Len() != 1 {
			t.Errorf("%d names of %d subjects, want one subject", len(r.g.names), r.g.recent.Len())
		}
	}
}

func TestG7_RightPasswordRefused(t *testing.T) {
	for _, state := range []string{"530", "531", "532", "533", "701", "773"} {
		r := newGuardRig(t)
		r.state = state
		for range 100 {
			if got := r.bind("alice", "right"); got == heldRepeated || got == heldThrottled {
				t.Fatalf("%s: the right password was not passed on: %s", state, got)
			}
		}
		for i := range 100 {
			r.bind("alice", fmt.Sprint("guess", i))
		}
		r.state = ""
		r.want("alice", "right", "ok")
		if r.locked {
			t.Errorf("%s: the account was locked", state)
		}
	}
}

func TestG7_OtherAnswersAreNotRemembered(t *testing.T) {
	for _, res := range []ldapwire.Result{
		{Code: ldapwire.ResultInvalidCredentials, Diagnostic: diagnostic("525")},
		{Code: ldapwire.ResultInvalidCredentials, Diagnostic: diagnostic("775")},
		{Code: ldapwire.ResultBusy}, {Code: ldapwire.ResultUnavailable}, {Code: ldapwire.ResultUnwillingToPerform},
	} {
		r := newGuardRig(t)
		for range 20 {
			d := r.admit("alice", "x")
			if d.try == nil {
				t.Fatalf("after %s %s: not passed on", res.Code, res.Diagnostic)
			}
			d.try.settled(res)
		}
	}
}

func TestG7_PasswordChangeClears(t *testing.T) {
	r := newGuardRig(t)
	r.want("alice", "next", "bad_credentials")
	r.want("alice", "right", "ok")
	r.want("alice", "next", heldRepeated)
	r.password = "next"
	r.g.passwordChanged(r.account().account, secret.New([]byte("next")))
	r.want("alice", "right", "bad_credentials")
	for range 1000 {
		r.want("alice", "right", heldRepeated)
	}
	r.want("alice", "next", "ok")

	// A change that the gateway does not see shows when the old one fails.
	r.want("alice", "third", "bad_credentials")
	r.password = "third"
	r.want("alice", "third", heldRepeated)
	r.want("alice", "next", "bad_credentials")
	r.want("alice", "third", "ok")
}

func TestG7_Policy(t *testing.T) {
	t.Run("higher threshold", func(t *testing.T) {
		r := newGuardRig(t)
		r.threshold = 10
		r.want("alice", "right", "ok")
		for i := range 8 {
			r.want("alice", fmt.Sprint(i), "bad_credentials")
		}
		r.want("alice", "x", heldThrottled)
	})
	t.Run("no lockout", func(t *testing.T) {
		r := newGuardRig(t)
		r.threshold = 0
		r.want("alice", "right", "ok")
		for i := range 100 {
			r.want("alice", fmt.Sprint(i), "bad_credentials")
		}
		r.want("alice", "99", heldRepeated)
		if n := len(r.g.names[nameKey(guardDomain, "alice")].wrong); n != maxWrong {
			t.Errorf("%d passwords remembered, want %d", n, maxWrong)
		}
	})
	t.Run("long window", func(t *testing.T) {
		r := newGuardRig(t)
		r.window = 3 * time.Hour
		r.want("alice", "right", "ok")
		for range 20 * 60 {
			r.bind("alice", "stale")
			r.later(time.Minute)
		}
		if r.bad > 2 || r.asked > 20 {
			t.Errorf("the DC counts %d after %d binds, want 2 in 3 hours", r.bad, r.asked)
		}
	})
}

// TestG7_AtOnce: many sessions try at the same time, and none has its answer.
func TestG7_AtOnce(t *testing.T) {
	t.Run("different passwords", func(t *testing.T) {
		r := newGuardRig(t)
		var tries []*attempt
		for i := range 100 {
			d := r.admit("alice", fmt.Sprint(i))
			if d.try != nil {
				tries = append(tries, d.try)
			} else if d.wait == nil {
				t.Fatalf("%d: answered %s, want it to wait for the others", i, d.held)
			}
		}
		if len(tries) != r.threshold-1 {
			t.Fatalf("%d passed at once, want %d", len(tries), r.threshold-1)
		}
		for _, a := range tries {
			a.settled(r.ask("wrong"))
		}
		r.want("alice", "x", heldThrottled)
	})
	t.Run("the same password", func(t *testing.T) {
		r := newGuardRig(t)
		first := r.admit("alice", "right")
		second := r.admit("alice", "right")
		if first.try == nil || second.wait == nil {
			t.Fatalf("got %+v and %+v, want the second to wait for the first", first, second)
		}
		first.try.settled(r.ask("right"))
		<-second.wait
		for range 50 { // and now together
			if d := r.admit("alice", "right"); d.try == nil {
				t.Fatalf("got %+v, want it passed on", d)
			}
		}
	})
	t.Run("a known password that may have been changed", func(t *testing.T) {
		r := newGuardRig(t)
		r.want("alice", "right", "ok")
		r.later(time.Minute)
		r.password = "changed"
		first := r.admit("alice", "right")
		for range 50 {
			if d := r.admit("alice", "right"); d.wait == nil {
				t.Fatalf("got %+v, want it to wait", d)
			}
		}
		first.try.settled(r.ask("right"))
		r.want("alice", "right", heldRepeated)
	})
	t.Run("no answer", func(t *testing.T) {
		r := newGuardRig(t)
		for range 20 {
			d := r.admit("alice", "right")
			if d.try == nil {
				t.Fatalf("got %+v: an outage of the DC must not use the account's budget up", d)
			}
			d.try.unsettled(true)
		}
		r.want("alice", "right", "ok")
		d := r.admit("bob", "x")
		d.try.unsettled(false)
		if s := d.try.subject; s.fails != 0 || len(s.wrong) != 0 {
			t.Error("a bind that was not sent was counted")
		}
	})
}

func TestG7_AddressLimit(t *testing.T) {
	r := newGuardRig(t)
	r.want("alice", "right", "ok")
	refuse := func(name string) {
		t.Helper()
		d := r.admit(name, "Spring2026")
		if d.try == nil {
			t.Fatalf("%s: held back: %s", name, d.held)
		}
		d.try.settled(ldapwire.Result{Code: ldapwire.ResultInvalidCredentials, Diagnostic: diagnostic("52e")})
	}
	for i := range failuresAtOnce {
		refuse(fmt.Sprint("user", i))
	}
	r.want("bob", "Spring2026", heldAddress)
	r.want("alice", "right", "ok") // known
	if d := r.g.admit(newBindName(guardDomain, "bob"), "192.0.2.2", r.mark("x")); d.try == nil {
		t.Error("another address is held back too")
	}
	r.later(time.Second)
	for i := range failuresPerSecond {
		refuse(fmt.Sprint("late", i))
	}
	r.want("bob", "Spring2026", heldAddress)
}

func TestAddressLimits(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	l := newAddressLimits()
	for range failuresAtOnce {
		l.take("2001:db8::1", now)
	}
	if l.allow("2001:db8::ffff", now) || !l.allow("2001:db8:0:1::1", now) {
		t.Error("an IPv6 host is not known by its /64")
	}
	for i := range maxAddresses + 10 {
		l.take(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), now)
	}
	if n := len(l.buckets); n > maxAddresses {
		t.Errorf("%d addresses remembered, want %d at most", n, maxAddresses)
	}
}

func TestG7_Bounded(t *testing.T) {
	r := newGuardRig(t)
	for i := range maxSubjects + 100 {
		r.g.admit(bindName{domain: guardDomain, key: fmt.Sprint("user", i)}, "192.0.2.1", mark{}).try.unsettled(false)
	}
	if n := len(r.g.names); n != maxSubjects || r.g.recent.Len() != n {
		t.Errorf("%d names, %d subjects, want %d", n, r.g.recent.Len(), maxSubjects)
	}
}

// TestG7_FloodKeepsCounts: however many names are invented, those that AD counts
// refusals for are remembered.
func TestG7_FloodKeepsCounts(t *testing.T) {
	r := newGuardRig(t)
	for i := range r.threshold - 1 {
		r.want("alice", fmt.Sprint("guess", i), "bad_credentials")
	}
	pending := r.admit("bob", "x")
	for i := range maxSubjects + 100 {
		r.admit(fmt.Sprint("nobody", i), "x").try.unsettled(false)
	}
	r.want("alice", "another", heldThrottled)
	if d := r.admit("bob", "x"); d.wait == nil {
		t.Error("an attempt on its way was forgotten")
	}
	pending.try.unsettled(false)

	for range failuresAtOnce {
		r.g.addresses.take("192.0.2.1", r.clock)
	}
	before := r.g.salt
	r.want("invented", "x", heldAddress)
	if r.g.salt != before {
		t.Error("a name from an address over its limit was remembered")
	}
	r.later(time.Minute)

	for _, s := range r.g.names {
		s.fails, s.last = 1, r.clock
	}
	if d := r.admit("one more", "x"); d.answer == nil || d.answer.code != ldapwire.ResultBusy {
		t.Errorf("got %+v, want busy: there is no room", d)
	}
	if n := r.g.recent.Len(); n != maxSubjects {
		t.Errorf("%d subjects, want %d", n, maxSubjects)
	}
}

// TestG7_NeverLocks: whatever is tried, by whichever form of the name, at once
// or one after the other, the account is not locked and its password binds.
func TestG7_NeverLocks(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		r := newGuardRig(t)
		r.threshold = 3 + rnd.IntN(8)
		r.window = time.Duration(1+rnd.IntN(90)) * time.Minute
		forms := []string{"alice", "alice@corp", "alice@corp.example.test", `corp\alice`}
		r.g.policies[guardDomain] = r.account().policy
		if seed%2 == 0 { // else the DC says only later whose names these are
			r.want("alice", "right", "ok")
			forms = append(forms, aliceDN, "alice.liddell@example.test")
		}
		for range 400 {
			r.later(time.Duration(rnd.ExpFloat64() * float64(r.window) / 4))
			if rnd.IntN(40) == 0 {
				r.password = fmt.Sprint("right", rnd.IntN(3))
			}
			type try struct {
				a        *attempt
				password string
			}
			var tries []try
			for range 1 + rnd.IntN(6) {
				password := fmt.Sprint("right", rnd.IntN(12))
				if d := r.admit(forms[rnd.IntN(len(forms))], password); d.try != nil {
					tries = append(tries, try{d.try, password})
				}
			}
			rnd.Shuffle(len(tries), func(i, j int) { tries[i], tries[j] = tries[j], tries[i] })
			for _, it := range tries {
				res := r.ask(it.password)
				it.a.settled(res)
				if res.Code == ldapwire.ResultSuccess && it.a.wantsAccount() {
					it.a.learn(r.account())
				}
			}
			if r.locked {
				t.Fatalf("seed %d: locked with a threshold of %d", seed, r.threshold)
			}
		}
		r.later(2*r.window + 2*time.Hour)
		r.want("alice", r.password, "ok")
	}
}

func TestNameKey(t *testing.T) {
	same := [][]string{
		{"alice", "ALICE ", `CORP\alice`, "alice@corp.example.test", "Alice@CORP"},
		{"cn=alice,dc=x", "CN = alice , DC=x", `cn=\61lice,dc=x`, `CN="alice",DC=x`, "2.5.4.3=alice;dc=X", "cn=#0c05616c696365,dc=x", `cn=\ alice\20,DC=x`},
		{"cn=a b,dc=x", "cn=A  b,dc=x"},
		{"corp.example.test/People/alice", "corp.example.test/People\nalice"},
		{`cn=liddell\, alice,dc=x`, `cn=liddell\2c alice,dc=x`, `cn="liddell, alice",dc=x`},
	}
	seen := map[string]string{}
	for _, group := range same {
		want := nameKey(guardDomain, group[0])
		if other, ok := seen[want]; ok {
			t.Errorf("%q and %q share a key", group[0], other)
		}
		seen[want] = group[0]
		for _, name := range group[1:] {
			if got := nameKey(guardDomain, name); got != want {
				t.Errorf("%q: key %q, want that of %q, %q", name, got, group[0], want)
			}
		}
	}
	for _, name := range []string{"alice@other.test", "bob", "cn=alice,dc=y", "cn=alice", "<GUID=x>", "<", "=", `cn=\`, "s-1-5", "#", `a\b=c`} {
		key := nameKey(guardDomain, name)
		if other, ok := seen[key]; ok {
			t.Errorf("%q and %q share a key", name, other)
		}
		seen[key] = name
	}
	if key := nameKey(guardDomain, string(make([]byte, 1<<20))); len(key) > 2*longestName {
		t.Errorf("a key of %d bytes", len(key))
	}
}

func FuzzNameKey(f *testing.F) {
	for _, name := range []string{"alice", "cn=alice,dc=x", `cn="a,b"+uid=\2c;dc=x`, "<GUID=00>", "<SID=01>", `x\y`, "a@b", "a/b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		key := nameKey(guardDomain, name)
		if got := nameKey(guardDomain, " "+name+" "); got != key {
			t.Errorf("key %q with white space around, want %q", got, key)
		}
	})
}

// BenchmarkGuard is what a bind with the known password costs.
func BenchmarkGuard(b *testing.B) {
	r := newGuardRig(b)
	r.want(aliceDN, "right", "ok")
	password := secret.New([]byte("right"))
	name := newBindName(guardDomain, aliceDN) // a session keeps that of its newest bind
	b.ReportAllocs()
	for b.Loop() {
		d := r.g.admit(name, "192.0.2.1", r.g.markOf(password))
		d.try.settled(ldapwire.Result{})
		if d.try.wantsAccount() {
			b.Fatal("asks again who is bound")
		}
	}
}
