package delegate

import (
	"context"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
)

// bindsAtJumpCloud reports whether a password is a user's in JumpCloud's LDAP.
func (w *world) bindsAtJumpCloud(name, password string) bool {
	w.t.Helper()
	conn, err := newConn(w.t.Context(), w.domain.CloudLDAP.Dial)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.close()
	res, err := conn.bind(context.WithoutCancel(w.t.Context()), w.cloud.UserDN(name), pw(password))
	if err != nil {
		w.t.Fatal(err)
	}
	return res.Code == ldapwire.ResultSuccess
}

// TestD4_RenamedMeanwhile: the old password is proved by a name, and the new one
// set by an id. When the two are not one user's any more, none is set.
func TestD4_RenamedMeanwhile(t *testing.T) {
	for name, moved := range map[string]func(users map[string]CloudUser, id string, nth int){
		"before the proof": func(users map[string]CloudUser, id string, nth int) { rename(users, id, "zoe.before") },
		"after the proof": func(users map[string]CloudUser, id string, nth int) {
			if nth > 1 {
				rename(users, id, "zoe.after")
			}
		},
		"deleted": func(users map[string]CloudUser, id string, nth int) {
			if nth > 1 {
				rename(users, id, "")
			}
		},
		"now AD's": func(users map[string]CloudUser, id string, nth int) {
			u := users["zoe"]
			u.PasswordByAD = true
			users["zoe"] = u
		},
	} {
		w := newWorld(t, func(w *world) { w.cfg.Set = w })
		id := w.inCloud("zoe")
		w.facts.moved = func(nth int) { moved(w.facts.users, id, nth) }
		r := w.change("zoe", theirs, fresh)
		if r.Outcome != ChangeUnknown || r.Reason != Unavailable || r.Sent {
			t.Errorf("%s: got %+v", name, r)
		}
		if w.bindsAtJumpCloud("zoe", fresh) || !w.bindsAtJumpCloud("zoe", theirs) {
			t.Errorf("%s: the password was changed", name)
		}
		w.wantOutcomes()
	}
	w := newWorld(t, func(w *world) { w.cfg.Set = w })
	w.inCloud("zoe")
	w.wantChange("zoe", theirs, fresh, Changed, "")
	if !w.bindsAtJumpCloud("zoe", fresh) || w.facts.anew != 2 {
		t.Errorf("nothing moved: not changed, or read %d times instead of right before the proof and after it", w.facts.anew)
	}
}

// rename gives a user another name, and its own to another user.
func rename(users map[string]CloudUser, id, to string) {
	for name, u := range users {
		if u.ID == id && name != to {
			delete(users, name)
			users[name] = CloudUser{ID: "other", Username: name, HasPassword: true}
			if to != "" {
				u.Username = to
				users[to] = u
			}
			return
		}
	}
}

// TestD4_JumpCloudsAndDelegated: with the use case jumpcloud a password is
// changed at JumpCloud, also of a user whose sign-ins AD checks, and travels to
// AD from there; where it would not, it is not changed.
func TestD4_JumpCloudsAndDelegated(t *testing.T) {
	for _, capture := range []bool{true, false} {
		w := newWorld(t, func(w *world) {
			w.cfg.Set, w.domain.UseCase, w.domain.Capture = w, identity.UseJumpCloud, capture
		})
		w.inCloud("alice", func(u *CloudUser) { u.DelegatedToAD = true })
		w.inCloud("dave", func(u *CloudUser) { u.DelegatedToAD = true }) // must change it
		w.want("alice", right, "accepted ad")
		w.want("alice", theirs, "refused bad_credentials")
		w.wantChange("alice", theirs, fresh, ChangeRefused, BadCredentials)
		w.wantOutcomes()
		if !capture {
			w.wantChange("alice", right, fresh, ChangeRefused, NotSupported)
			w.wantOutcomes()
			continue
		}
		w.wantChange("alice", right, fresh, Changed, "")
		w.wantChange("dave", right, fresh, Changed, "")
		w.wantOutcomes(identity.OutcomeAccepted, identity.OutcomeAccepted)
		if c := w.intents[0]; c.Direction != identity.Sync || c.Account.SAM != "alice" {
			t.Errorf("recorded %+v", c)
		}
		if !w.bindsAtJumpCloud("alice", fresh) || !w.bindsAtJumpCloud("dave", fresh) {
			t.Error("JumpCloud does not have the new one")
		}
		w.want("alice", right, "accepted ad") // it travels later
		w.facts.state = DelegationWaiting
		w.wantChange("alice", right, "Quite.Another.7", ChangeRefused, DelegationPending)
	}
}
