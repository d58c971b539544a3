package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// sharedRig is a guardRig whose guard others use too.
type sharedRig struct {
	*guardRig
	shared  *Shared
	account identity.Account
}

func newSharedRig(t *testing.T) *sharedRig {
	r := &sharedRig{guardRig: newGuardRig(t)}
	r.shared = &Shared{guard: r.g, turns: newTurns()}
	r.account = identity.Account{Domain: guardDomain, GUID: identity.GUID{1}, DN: "CN=Alice,DC=corp,DC=example,DC=test", SAM: "alice"}
	return r
}

// signIn is a bind from elsewhere in the process.
func (r *sharedRig) signIn(password string) string {
	settle, held, answer, err := r.shared.Admit(r.t.Context(), r.account, "192.0.2.9", secret.New([]byte(password)))
	switch {
	case err != nil:
		r.t.Fatal(err)
	case settle == nil:
		_, reason := Reason(answer.Code, answer.Diagnostic)
		return held + " " + reason
	}
	res := r.ask(password)
	settle(&res, true)
	_, reason := Reason(res.Code, res.Diagnostic)
	return reason
}

// TestG7_SharedCount: failures through the gateway and from elsewhere are
// counted together, whatever names the gateway was given.
func TestG7_SharedCount(t *testing.T) {
	r := newSharedRig(t)
	for i, name := range []string{"alice", r.account.DN} {
		r.bind(name, "wrong"+string(rune('a'+i)))
	}
	for _, password := range []string{"wrong1", "wrong2", "wrong3", "wrong4"} {
		r.signIn(password)
	}
	if r.bad >= r.threshold {
		t.Errorf("%d failures reached the controller: the account is locked", r.bad)
	}
	if got := r.signIn("wrong5"); got != "throttled bad_credentials" {
		t.Errorf("one more wrong password: %q", got)
	}
	asked := r.asked
	r.bind(`CORP\alice`, "wrong6")
	if r.asked != asked {
		t.Error("the gateway passed on what would have locked the account")
	}
	r.clock = r.clock.Add(31 * time.Minute)
	if got := r.signIn("right"); got != "ok" {
		t.Errorf("the right password: %q", got)
	}
}

// TestG7_SharedRefusal: what was refused on one side is not asked about on the
// other.
func TestG7_SharedRefusal(t *testing.T) {
	r := newSharedRig(t)
	r.signIn("wrong")
	asked := r.asked
	r.bind("alice", "wrong")
	if got := r.signIn("wrong"); got != "repeated bad_credentials" || r.asked != asked {
		t.Errorf("the repetition: %q, %d binds more", got, r.asked-asked)
	}
	r.shared.PasswordChanged(r.account, secret.New([]byte("wrong")))
	r.password = "wrong"
	if got := r.signIn("wrong"); got != "ok" {
		t.Errorf("after the change: %q", got)
	}
}

// TestG7_SharedOnTheWay: a bind that is on its way under a name counts for the
// account as soon as its name is known, and who waits for it is not forgotten.
func TestG7_SharedOnTheWay(t *testing.T) {
	r := newSharedRig(t)
	first := r.admit("alice", "wrong")
	waits := r.admit("alice", "wrong")
	second := r.admit(r.account.DN, "other")
	if first.try == nil || waits.wait == nil || second.try == nil {
		t.Fatalf("got %+v, %+v, %+v", first, waits, second)
	}
	settle, _, _, err := r.shared.Admit(t.Context(), r.account, "192.0.2.9", secret.New([]byte("third")))
	if err != nil || settle == nil {
		t.Fatal("the third was not admitted", err)
	}
	refused := ldapwire.Result{Code: ldapwire.ResultInvalidCredentials, Diagnostic: diagnostic("52e")}
	first.try.settled(refused)
	second.try.settled(refused)
	settle(&refused, true)
	select {
	case <-waits.wait:
	case <-time.After(10 * time.Second):
		t.Error("who waited was forgotten")
	}
	if got := r.g.names[accountKey(r.account)].fails; got != 3 {
		t.Errorf("%d failures are counted, want 3", got)
	}
}

// TestG7_SharedPolicy: the domain's own threshold holds.
func TestG7_SharedPolicy(t *testing.T) {
	r := newSharedRig(t)
	r.threshold = 2
	r.shared.SetPolicy(guardDomain, 2, 30*time.Minute)
	for _, password := range []string{"wrong1", "wrong2", "wrong3"} {
		r.signIn(password)
	}
	if r.locked {
		t.Error("the account is locked")
	}
}

// TestSharedTurn: changes of one account wait for one another.
func TestSharedTurn(t *testing.T) {
	r := newSharedRig(t)
	done, err := r.shared.Turn(t.Context(), r.account)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.shared.Turn(ctx, r.account); err == nil {
		t.Error("two changes of one account at once")
	}
	done()
	if done, err = r.shared.Turn(t.Context(), r.account); err != nil {
		t.Fatal(err)
	}
	done()
}

// TestG7_OwnPolicy: an account with a Password Settings Object is locked by that
// one's threshold, through the gateway too; other accounts by the domain's.
func TestG7_OwnPolicy(t *testing.T) {
	for name, tt := range map[string]struct{ threshold, most int }{"stricter": {3, 2}, "laxer": {9, 8}, "none": {-1, 4}} {
		t.Run(name, func(t *testing.T) {
			r := newSharedRig(t)
			r.shared.SetAccountPolicy(r.account, 2, time.Minute)
			r.shared.SetAccountPolicy(r.account, tt.threshold, 30*time.Minute)
			if tt.threshold > 0 {
				r.threshold = tt.threshold
			}
			for i := range 10 {
				password := "wrong" + string(rune('a'+i))
				if i%2 == 0 {
					r.bind("alice", password)
				} else {
					r.signIn(password)
				}
			}
			if r.bad != tt.most || r.locked {
				t.Errorf("%d failures reached the controller, want %d", r.bad, tt.most)
			}
		})
	}
}
