package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// TestG7_FormsBeforeKnown: before the DC said whose names they are, what it
// said to one form of a name is not said to another; but all count together.
func TestG7_FormsBeforeKnown(t *testing.T) {
	forms := []string{"alice", `CORP\alice`, `CHILD\alice`, "alice@corp.example.test", "alice@corp"}
	for _, first := range forms {
		for _, other := range forms {
			r := newGuardRig(t)
			r.want(first, "x", "bad_credentials")
			r.want(first, "x", heldRepeated)
			if other != first {
				r.want(other, "x", "bad_credentials")
				r.want(other, "x", heldRepeated)
			}
		}
	}
	r := newGuardRig(t)
	for i := range r.threshold - 1 {
		r.want(forms[i], "x", "bad_credentials")
	}
	r.want(forms[4], "x", heldThrottled)
	if r.locked {
		t.Error("the account was locked")
	}
}

// TestG7_OtherAccountOfTheName: the right password of CHILD\alice neither is
// refused because CORP\alice was refused with it, nor clears what the DC counts
// against that one.
func TestG7_OtherAccountOfTheName(t *testing.T) {
	r := newGuardRig(t)
	settle := func(name, password string, res ldapwire.Result) {
		t.Helper()
		d := r.admit(name, password)
		if d.try == nil {
			t.Fatalf("%s with %q: not passed on: %s", name, password, d.held)
		}
		d.try.settled(res)
	}
	for i := range r.threshold - 3 {
		settle(`CORP\alice`, fmt.Sprint("guess", i), ldapwire.Result{Code: ldapwire.ResultInvalidCredentials, Diagnostic: diagnostic("52e")})
	}
	settle(`CHILD\alice`, "guess0", ldapwire.Result{})
	s := r.g.names[nameKey(guardDomain, "alice")]
	if s.fails != r.threshold-3 {
		t.Errorf("%d refusals are counted after a success of another form, want %d", s.fails, r.threshold-3)
	}
	r.want(`CORP\alice`, "right", "ok") // and the DC says who that is
	settle(`CORP\alice`, "wrong", ldapwire.Result{Code: ldapwire.ResultInvalidCredentials, Diagnostic: diagnostic("52e")})
	if d := r.admit(`CHILD\alice`, "wrong"); d.answer != nil && d.held == heldRepeated {
		t.Error("CHILD\\alice was answered with what the DC said to CORP\\alice")
	} else if d.try != nil {
		d.try.settled(ldapwire.Result{})
		if !d.try.wantsAccount() || d.try.wantsAccount() {
			t.Error("the DC is not asked whose form that is, or more than once")
		}
		d.try.learn(r.account()) // NetBIOS names need not be the domain's first label
	}
	r.want(`CHILD\alice`, "right", "ok")
	r.want(`CHILD\alice`, "x", "bad_credentials")
	r.want(`CORP\alice`, "x", heldRepeated)
}

// TestG7_PasswordSetLater: a password that was wrong, and is right since an
// administrator set it, binds after two minutes.
func TestG7_PasswordSetLater(t *testing.T) {
	r := newGuardRig(t)
	r.want("alice", "right", "ok")
	r.want("alice", "new", "bad_credentials")
	r.password = "new"
	r.later(askAgainAfter - time.Second)
	r.want("alice", "new", heldRepeated)
	r.later(2 * time.Second)
	d := r.admit("alice", "new")
	if d.try == nil {
		t.Fatalf("not asked again: %s", d.held)
	}
	if again := r.admit("alice", "new"); again.held != heldRepeated {
		t.Errorf("meanwhile: %+v, want the answer from memory", again)
	}
	d.try.settled(r.ask("new"))
	r.want("alice", "new", "ok")

	// Not at the cost of a new password's try.
	r.want("alice", "a", "bad_credentials")
	r.want("alice", "b", "bad_credentials")
	r.later(time.Hour / 3)
	r.want("alice", "a", heldRepeated)
	r.want("alice", "c", "bad_credentials")
	r.want("alice", "d", heldThrottled)
}

// TestG7_FloodKeepsGood: invented names do not drive out the right password of
// an account that AD counts nothing for.
func TestG7_FloodKeepsGood(t *testing.T) {
	r := newGuardRig(t)
	r.want("alice", "right", "ok")
	for i := range maxSubjects + 100 {
		r.admit(fmt.Sprint("nobody", i), "x").try.unsettled(false)
	}
	for i := range r.threshold - 2 {
		r.want("alice", fmt.Sprint("guess", i), "bad_credentials")
	}
	r.want("alice", "another", heldThrottled)
	r.want("alice", "right", "ok")
	if n, m := r.g.recent.Len(), r.g.proven.Len(); n > maxSubjects || m != 1 {
		t.Errorf("%d strangers and %d accounts, want %d and 1", n, m, maxSubjects)
	}
}
