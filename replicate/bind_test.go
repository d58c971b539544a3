package replicate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/go-ldap/ldap/v3"
)

// proved offers a password as the gateway does when a bind proved it.
func (w *world) proved(a identity.Account, password string) (identity.BindOutcome, error) {
	w.t.Helper()
	u, err := w.peers.AD.User(w.t.Context(), a)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &BindRecorder{Store: w.store, Log: quiet(), Peers: func(string) (*Peers, error) { return w.peers, nil }}
	return r.RecordBind(w.t.Context(), identity.Change{Kind: identity.PasswordBind, Direction: identity.Import,
		Account: a, PwdLastSet: u.PwdLastSet, DC: u.DC}, secret.New([]byte(password)))
}

func (w *world) wantProved(a identity.Account, password string, want identity.BindOutcome) {
	w.t.Helper()
	if got, err := w.proved(a, password); err != nil || got != want {
		w.t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func (w *world) lastSeq() identity.Seq {
	w.t.Helper()
	stats, err := w.store.Stats()
	if err != nil {
		w.t.Fatal(err)
	}
	return stats.LastSeq
}

// resetAtDC sets a password without the gateway.
func (w *world) resetAtDC(dn, password string) {
	w.t.Helper()
	c, err := ldap.DialURL(w.ad.URL(), ldap.DialWithTLSConfig(w.ca.Client("127.0.0.1")))
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind(w.ad.AdminDN(), "Admin.Pass1"); err != nil {
		w.t.Fatal(err)
	}
	value, err := ldapwire.AppendUnicodePwd(nil, []byte(password))
	if err != nil {
		w.t.Fatal(err)
	}
	req := ldap.NewModifyRequest(dn, nil)
	req.Replace("unicodePwd", []string{string(value)})
	if err := c.Modify(req); err != nil {
		w.t.Fatal(err)
	}
}

// TestG6_BindReplicated: the password of a bind goes to JumpCloud, and is in
// sync from then on; so is the one of a captured change, by its pwdLastSet.
func TestG6_BindReplicated(t *testing.T) {
	w := newWorld(t)
	w.clock.add(2 * time.Hour)
	w.wantProved(w.alice, "Start.Pass1", identity.BindRecorded)
	w.wantProved(w.alice, "Start.Pass1", identity.BindPending)
	w.step()
	w.want(1, identity.StatusApplied, "")
	if !w.accepts("alice", "Start.Pass1") {
		t.Error("JumpCloud does not accept the password")
	}
	last := w.lastSeq()
	w.wantProved(w.alice, "Start.Pass1", identity.BindInSync)
	if now := w.lastSeq(); now != last {
		t.Errorf("%d records were written", now-last)
	}

	// A captured change: its pwdLastSet is known once it is applied.
	seq := w.intend(w.alice, "Second.Pass2")
	w.resetAtDC(w.alice.DN, "Second.Pass2")
	w.settle(seq, identity.OutcomeAccepted)
	w.step()
	w.want(seq, identity.StatusApplied, "")
	w.wantProved(w.alice, "Second.Pass2", identity.BindInSync)

	// Another one, which nobody saw.
	w.clock.add(time.Hour)
	w.resetAtDC(w.alice.DN, "Third.Pass3")
	w.wantProved(w.alice, "Third.Pass3", identity.BindRecorded)
	w.step()
	if !w.accepts("alice", "Third.Pass3") {
		t.Error("JumpCloud does not accept the third password")
	}
}

// TestG6_Overtaken: a proven password that waits while it is changed in AD is
// not given to JumpCloud.
func TestG6_Overtaken(t *testing.T) {
	w := newWorld(t)
	w.wantProved(w.alice, "Start.Pass1", identity.BindRecorded)
	w.clock.add(time.Hour)
	w.resetAtDC(w.alice.DN, "Second.Pass2")
	w.step()
	w.want(1, identity.StatusDiscarded, "changed in AD")
	if w.accepts("alice", "Start.Pass1") {
		t.Error("JumpCloud was given a password that is not the account's any more")
	}
}

// TestG6_NotWanted: nothing is sealed for who is not replicated.
func TestG6_NotWanted(t *testing.T) {
	w := newWorld(t)
	add := func(u adsim.User) identity.Account {
		t.Helper()
		u.Password = secret.New([]byte("Some.Pass1"))
		if _, err := w.ad.AddUser(u); err != nil {
			t.Fatal(err)
		}
		return w.account(u.Name)
	}
	outside := add(adsim.User{Name: "outsider"})
	w.addToJumpCloud("outsider")
	unknown := add(adsim.User{Name: "stranger", Groups: []string{adsim.ScopeGroup}}) // not in JumpCloud
	for _, a := range []identity.Account{outside, unknown} {
		w.wantProved(a, "Some.Pass1", identity.BindNotWanted)
	}
	w.addToJumpCloud("stranger")
	w.cloud.Close()
	if got, err := w.proved(unknown, "Some.Pass1"); err == nil || got != "" {
		t.Errorf("without JumpCloud: got %q, %v, want an error", got, err)
	} else if strings.Contains(err.Error(), "Some.Pass1") {
		t.Error("the error holds the password")
	}
	r := &BindRecorder{Store: w.store, Log: quiet(), Peers: func(string) (*Peers, error) { return nil, errors.New("not registered") }}
	if _, err := r.RecordBind(t.Context(), identity.Change{Kind: identity.PasswordBind, Direction: identity.Import, Account: w.alice, PwdLastSet: 1},
		secret.New([]byte("x"))); err == nil {
		t.Error("a domain that is not registered is no error")
	}
	if last := w.lastSeq(); last != 0 {
		t.Errorf("%d records were written", last)
	}
	if _, err := w.store.Secret(1, w.opener); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a password was sealed: %v", err)
	}
}

func TestG6_PasswordSet(t *testing.T) {
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	set := func(t time.Time) int64 { return t.UnixNano()/100 + 116_444_736_000_000_000 }
	entry := identity.Entry{Change: identity.Change{Kind: identity.PasswordChange, At: at, PwdLastSet: 100}, Since: at.Add(time.Second)}
	for _, tt := range []struct {
		name string
		now  int64
		ours bool
	}{
		{"a moment later", set(at.Add(time.Second)), true},
		{"by a clock that is behind", set(at.Add(-setSkew)), true},
		{"long before", set(at.Add(-setSkew - time.Second)), false},
		{"of a later change", set(at.Add(setSkew + 2*time.Second)), false},
		{"not readable", 0, false},
		{"not moved yet", 100, false},
	} {
		want := int64(0)
		if tt.ours {
			want = tt.now
		}
		if got := passwordSet(entry, tt.now, DefaultAnswerLimit); got != want {
			t.Errorf("%s: got %d, want %d", tt.name, got, want)
		}
	}
	entry.Kind = identity.PasswordBind
	if got := passwordSet(entry, set(at), DefaultAnswerLimit); got != 100 {
		t.Errorf("of a bind: got %d, want what it proved", got)
	}
}
