package delegate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// TestD2_Verdicts: each state of an account has its reason, told to the right
// password only.
func TestD2_Verdicts(t *testing.T) {
	w := newWorld(t)
	for name, want := range map[string]string{
		"alice": "accepted ad", "bob": "accepted ad", "carol": "refused disabled ad", "dave": "refused must_change ad",
		"erin": "refused locked_out ad", "frank": "refused expired ad",
	} {
		w.want(name, right, want)
		if name != "erin" {
			w.want(name, "Wrong.Pass1", "refused bad_credentials")
		}
	}
	w.want("nobody", "Wrong.Pass1", "refused bad_credentials")
	w.want("alice", "", "refused bad_credentials")
	w.want("", right, "refused bad_credentials")
	w.want("alice", strings.Repeat("x", MaxPassword+1), "refused bad_credentials")
	for name, attribute := range map[string]adsim.Attribute{
		"ended": {Name: "accountExpires", Values: []string{"130000000000000000"}},
		"night": {Name: "logonHours", Values: []string{strings.Repeat("\x00", 21)}},
	} {
		if _, err := w.ad.AddUser(adsim.User{Name: name, Password: pw(right), Attributes: []adsim.Attribute{attribute}}); err != nil {
			t.Fatal(err)
		}
	}
	w.want("ended", right, "refused account_expired ad")
	w.want("night", right, "refused not_permitted_now ad")
}

// TestNames: all forms of a name are one account's.
func TestNames(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"alice", "ALICE", `CORP\alice`, w.domain.Name + `\alice`, "alice@" + w.domain.Name, "CN=alice,OU=People," + w.domain.BaseDN} {
		w.want(name, right, "accepted ad")
	}
	if _, err := w.ad.AddUser(adsim.User{Name: "gus", Password: pw(right), Mail: "gus.green@mail.example.test"}); err != nil {
		t.Fatal(err)
	}
	w.want("gus.green@mail.example.test", right, "accepted ad")
	for _, name := range []string{`OTHER\alice`, "CN=alice,OU=People,DC=other", "alice*", "alice)(objectClass=*", "alice@other.example.test"} {
		w.want(name, right, "refused bad_credentials")
	}
}

// TestNames_Long: a DN may be longer than a name, and the account is found by its
// objectGUID wherever it is, and by nothing that only looks like one.
func TestNames_Long(t *testing.T) {
	w := newWorld(t)
	long, err := w.ad.AddUser(adsim.User{Name: strings.Repeat("long", 100), Password: pw(right)})
	if err != nil {
		t.Fatal(err)
	}
	v := w.Validate(t.Context(), long, pw(right), "192.0.2.1")
	if len(long) <= MaxName || v.Verdict != Accepted {
		t.Fatalf("a DN of %d bytes: %+v", len(long), v)
	}
	byGUID := "<GUID=" + v.User.GUID.String() + ">"
	for _, name := range []string{byGUID, strings.ToLower(byGUID)} {
		w.want(name, right, "accepted ad")
		if info, err := w.Password(t.Context(), name); err != nil || info.User.DN != long {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	w.wantChange("<GUID="+w.Validate(t.Context(), "alice", pw(right), "").User.GUID.String()+">", right, fresh, Changed, "")
	w.want("alice", fresh, "accepted ad")
	for _, name := range []string{"<GUID=" + strings.Repeat("0", 8) + "-0000-0000-0000-000000000009>", "<GUID=>", "<GUID=x>", "<SID=S-1-5-18>",
		strings.Repeat("x", MaxName+1), "CN=" + strings.Repeat("x", MaxDN)} {
		w.want(name, right, "refused bad_credentials")
	}
}

// TestD1_WhoIsAsked: the authority's directory is asked, and no other.
func TestD1_WhoIsAsked(t *testing.T) {
	w := newWorld(t)
	const theirs = "Cloud.Pass1"
	for _, name := range []string{"alice", "zoe"} {
		if _, err := w.cloud.AddUser(jcsim.User{Username: name, Email: name + "@corp.example.test", Password: pw(theirs), LDAPBound: true}); err != nil {
			t.Fatal(err)
		}
		w.facts.users[name] = CloudUser{ID: "id-" + name, Username: name, HasPassword: true}
	}
	set := func(change func(*CloudUser)) {
		u := CloudUser{ID: "id-alice", Username: "alice", HasPassword: true}
		change(&u)
		w.facts.mu.Lock()
		defer w.facts.mu.Unlock()
		w.facts.users["alice"] = u
	}
	w.want("zoe", theirs, "accepted jumpcloud")
	w.want("uid=zoe,ou=Users,o="+w.cloud.OrgID()+",dc=jumpcloud,dc=com", theirs, "accepted jumpcloud")
	w.want("zoe", right, "refused bad_credentials")
	w.want("alice", theirs, "accepted jumpcloud")
	w.want("alice", right, "refused bad_credentials")
	set(func(u *CloudUser) { u.DelegatedToAD = true })
	w.want("alice", right, "accepted ad")
	w.want("alice", theirs, "refused bad_credentials")
	w.facts.state = DelegationWaiting
	w.want("alice", right, "refused delegation_pending")
	w.want("alice", theirs, "refused bad_credentials") // a stranger learns nothing
	w.facts.state = DelegationDisabled
	w.want("alice", theirs, "accepted jumpcloud")
	w.domain.Capture = false
	set(func(u *CloudUser) { u.PasswordByAD = true })
	w.want("alice", right, "refused not_delegated")
}

// TestD1_NobodyHasDecided: an account of AD that JumpCloud, the authority, does
// not know is nobody's, whatever password is typed.
func TestD1_NobodyHasDecided(t *testing.T) {
	w := newWorld(t, func(w *world) { w.domain.UseCase = identity.UseJumpCloud })
	w.want("alice", right, "refused bad_credentials")
	w.want("alice", "Wrong.Pass1", "refused bad_credentials")
	w.want("carol", right, "refused bad_credentials") // disabled
	w.wantChange("alice", right, fresh, ChangeRefused, BadCredentials)
	w.wantOutcomes()
	w.inCloud("alice")
	w.want("alice", theirs, "accepted jumpcloud")
}

// TestD2_Undecided: what is not known is neither a yes nor a no.
func TestD2_Undecided(t *testing.T) {
	t.Run("JumpCloud does not say who decides", func(t *testing.T) {
		w := newWorld(t)
		w.facts.err = errors.New("503")
		w.want("alice", right, "undecided dc_unavailable")
		w.domain.UseCase = identity.UseAD
		w.want("alice", right, "accepted ad")
	})
	t.Run("JumpCloud's LDAP is gone", func(t *testing.T) {
		w := newWorld(t)
		w.facts.users["alice"] = CloudUser{ID: "1", Username: "alice"}
		_ = w.cloud.Close()
		w.want("alice", right, "undecided dc_unavailable jumpcloud")
	})
	t.Run("no controller", func(t *testing.T) {
		w := newWorld(t)
		w.want("alice", right, "accepted ad")
		_ = w.ad.Close()
		w.want("alice", right, "undecided dc_unavailable")
		w.want("alice", "Wrong.Pass1", "undecided dc_unavailable")
		w.want("nobody", right, "undecided dc_unavailable")
	})
	t.Run("the controller is busy", func(t *testing.T) {
		w := newWorld(t)
		w.want("alice", right, "accepted ad")
		w.ad.Inject(adsim.Fault{Kind: adsim.Answer, Op: ldapwire.OpBindRequest, Times: 1, Code: ldapwire.ResultBusy})
		w.want("alice", right, "undecided dc_unavailable ad")
		w.want("alice", right, "accepted ad")
	})
	t.Run("no answer in time", func(t *testing.T) {
		w := newWorld(t, func(w *world) { w.cfg.Timeout = 200 * time.Millisecond })
		w.want("alice", right, "accepted ad")
		w.ad.Inject(adsim.Fault{Kind: adsim.Hang, Op: ldapwire.OpBindRequest, Times: 1})
		w.want("alice", right, "undecided dc_unavailable ad")
	})
	t.Run("the service account is refused", func(t *testing.T) {
		w := newWorld(t, func(w *world) { w.domain.Account = "nobody@" + w.domain.Name })
		w.want("alice", right, "undecided dc_unavailable")
	})
	t.Run("the caller has gone", func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := short(w.Validate(ctx, "alice", pw(right), "")); !strings.HasPrefix(got, "undecided") {
			t.Errorf("got %q", got)
		}
	})
}

// TestG7_DelegateGuard: wrong passwords do not lock the account, and the right
// one is not kept out for long.
func TestG7_DelegateGuard(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Throttle.PerUser = 1000 })
	w.want("alice", right, "accepted ad")
	held := 0
	for i := range 30 {
		switch got := w.ask("alice", "Wrong.Pass"+string(rune('a'+i))); got {
		case "refused bad_credentials":
		case "undecided throttled":
			held++
		default:
			t.Fatalf("try %d: %q", i, got)
		}
	}
	if held == 0 {
		t.Error("nothing was held back")
	}
	w.want("alice", right, "accepted ad")
	w.want("alice", "Wrong.Passa", "refused bad_credentials") // remembered
	w.want("erin", right, "refused locked_out ad")
}

// TestThrottle: refusals of one client, and of one name, have an end, also of a
// name that is nobody's; a right password costs nothing.
func TestThrottle(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.cfg.Throttle = Throttle{PerClient: 4, PerClientEvery: time.Hour, PerUser: 2, PerUserEvery: time.Hour}
	})
	for range 10 {
		w.want("alice", right, "accepted ad")
	}
	for _, name := range []string{"nobody", "bob"} {
		w.want(name, "Wrong.Pass1", "refused bad_credentials")
		w.want(name, "Wrong.Pass2", "refused bad_credentials")
		if name == "nobody" {
			w.want(name, "Wrong.Pass3", "undecided throttled")
		}
	}
	v := w.Validate(t.Context(), "alice", pw(right), "192.0.2.1")
	if v.Reason != Throttled || v.RetryAfter <= 0 || v.RetryAfter > time.Hour+time.Second {
		t.Errorf("the client's budget: got %+v", v)
	}
	if got := short(w.Validate(t.Context(), "alice", pw(right), "192.0.2.2")); got != "accepted ad" {
		t.Errorf("another client: %q", got)
	}
}

// TestD3_FirstSignIn: the password of a sign-in is handed over once, where it is
// wanted and proven.
func TestD3_FirstSignIn(t *testing.T) {
	record := func(w *world) { w.cfg.Record = w }
	w := newWorld(t, record)
	if err := w.ad.AgePassword("CN=alice,OU=People," + w.domain.BaseDN); err != nil {
		t.Fatal(err)
	}
	// As old as 2012 it would be expired, were it not told to last.
	if err := w.neverExpires("alice"); err != nil {
		t.Fatal(err)
	}
	w.want("alice", right, "accepted ad")
	select {
	case c := <-w.recorded:
		if c.Kind != identity.PasswordBind || c.Account.SAM != "alice" || c.Account.GUID.IsZero() || c.PwdLastSet == 0 || c.DC == "" {
			t.Errorf("got %+v", c)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was recorded\n" + w.log.buf.String())
	}
	w.want("alice", right, "accepted ad") // settled
	w.want("bob", right, "accepted ad")   // set just now: the one before may still be accepted
	w.Close()
	if len(w.recorded) != 0 {
		t.Errorf("also recorded: %+v", <-w.recorded)
	}

	never := newWorld(t, record, func(w *world) { w.domain.Capture = false })
	if err := never.neverExpires("alice"); err != nil {
		t.Fatal(err)
	}
	if err := never.ad.AgePassword("CN=alice,OU=People," + never.domain.BaseDN); err != nil {
		t.Fatal(err)
	}
	never.want("alice", right, "accepted ad")
	never.Close()
	if len(never.recorded) != 0 {
		t.Error("recorded although password-sync is validate-only")
	}
}

func (w *world) neverExpires(name string) error {
	id, err := w.ad.Bind(w.ad.AdminDN(), []byte("Admin.Pass1"))
	if err != nil {
		return err
	}
	return w.ad.Modify(id, "CN="+name+",OU=People,"+w.domain.BaseDN, []adsim.Change{{Op: ldapwire.ModReplace, Name: "userAccountControl", Values: []string{"66048"}}}, false)
}
