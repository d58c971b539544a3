package ad

import (
	"context"
	"errors"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/go-ldap/ldap/v3"
)

// TestL1_UnknownWrites loses the answer of each write after it took place, and
// before: both are unknown, and the same call again ends in one and the same.
func TestL1_UnknownWrites(t *testing.T) {
	w := simulated(t).world(t)
	writer := w.delegated()
	user, group, member := w.guid(w.dn("u0")), w.guid(w.dn("deep")), w.guid(w.dn("u5"))
	password := secret.New([]byte("Another.Word9"))
	for _, tt := range []struct {
		name  string
		op    ldapwire.Op
		write func() (identity.GUID, error)
	}{
		{"create", ldapwire.OpAddRequest, func() (identity.GUID, error) {
			u, err := writer.CreateUser(t.Context(), newUser("lost"))
			return u.GUID, err
		}},
		{"create group", ldapwire.OpAddRequest, func() (identity.GUID, error) {
			g, err := writer.CreateGroup(t.Context(), "lost group")
			return g.GUID, err
		}},
		{"update", ldapwire.OpModifyRequest, func() (identity.GUID, error) {
			u, err := writer.UpdateUser(t.Context(), user, []Attribute{{Name: "sn", Values: []string{"Lost"}}})
			return u.GUID, err
		}},
		{"password", ldapwire.OpModifyRequest, func() (identity.GUID, error) {
			u, err := writer.SetPassword(t.Context(), user, password)
			return u.GUID, err
		}},
		{"enable", ldapwire.OpModifyRequest, func() (identity.GUID, error) {
			u, err := writer.Enable(t.Context(), user)
			return u.GUID, err
		}},
		{"rename", ldapwire.OpModifyDNRequest, func() (identity.GUID, error) {
			g, err := writer.RenameGroup(t.Context(), group, "deeper")
			return g.GUID, err
		}},
		{"rename, the account name", ldapwire.OpModifyRequest, func() (identity.GUID, error) {
			g, err := writer.RenameGroup(t.Context(), group, "deepest")
			return g.GUID, err
		}},
		{"add members", ldapwire.OpModifyRequest, func() (identity.GUID, error) {
			return group, writer.AddMembers(t.Context(), group, []identity.GUID{member})
		}},
		{"remove members", ldapwire.OpModifyRequest, func() (identity.GUID, error) {
			return group, writer.RemoveMembers(t.Context(), group, []identity.GUID{member})
		}},
	} {
		for _, kind := range []adsim.FaultKind{adsim.DropBefore, adsim.DropAfter} {
			remove := w.sim.Inject(adsim.Fault{Kind: kind, Op: tt.op, Times: 1})
			if _, err := tt.write(); !errors.Is(err, ErrUnknown) || errors.Is(err, ErrUnavailable) {
				t.Errorf("%s, fault %d: got %v, want ErrUnknown", tt.name, kind, err)
			}
			remove()
		}
		guid, err := tt.write()
		if err != nil {
			t.Errorf("%s: again: %v", tt.name, err)
		}
		if again, err := tt.write(); err != nil || again != guid {
			t.Errorf("%s: once more: got %s, %v, want %s", tt.name, again, err, guid)
		}
	}
	if got := w.count("(sAMAccountName=lost*)"); got != 2 {
		t.Errorf("%d objects were made, want a user and a group", got)
	}
	if err := w.bindsAs(w.dn("u0"), password); err != nil {
		t.Errorf("the password does not bind: %v", err)
	}
	if got := w.attribute(w.dn("deepest"), "sAMAccountName"); got != "deepest" {
		t.Errorf("the group is called %q", got)
	}
}

func (w *world) count(filter string) int {
	w.t.Helper()
	res, err := w.admin.Search(ldap.NewSearchRequest(w.base, ldap.ScopeWholeSubtree, 0, 0, 0, false, filter, []string{"1.1"}, nil))
	w.must("search "+filter, err)
	return len(res.Entries)
}

// TestL1_NotSent tells what was not written from what may have been: a kept
// connection that has ended is replaced, and a controller that says "not now" is
// believed.
func TestL1_NotSent(t *testing.T) {
	w := simulated(t).world(t)
	writer := w.delegated()
	user := w.guid(w.dn("u0"))
	update := func(ctx context.Context) error {
		_, err := writer.UpdateUser(ctx, user, []Attribute{{Name: "sn", Values: []string{"Late"}}})
		return err
	}
	w.sim.Inject(adsim.Fault{Kind: adsim.DropBefore, Op: ldapwire.OpSearchRequest, Times: 1})
	if err := update(t.Context()); err != nil {
		t.Errorf("a kept connection that ended: %v", err)
	}
	for _, code := range []ldapwire.ResultCode{ldapwire.ResultBusy, ldapwire.ResultUnavailable} {
		remove := w.sim.Inject(adsim.Fault{Kind: adsim.Answer, Op: ldapwire.OpModifyRequest, Code: code})
		if _, err := writer.SetPassword(t.Context(), user, secret.New([]byte("Another.Word9"))); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknown) {
			t.Errorf("answer %d: got %v, want ErrUnavailable", code, err)
		}
		remove()
	}
	// What is so already needs no request, so that none is refused.
	remove := w.sim.Inject(adsim.Fault{Kind: adsim.Answer, Op: ldapwire.OpModifyRequest, Code: ldapwire.ResultBusy})
	if err := update(t.Context()); err != nil {
		t.Errorf("an attribute that has its value: %v, want nothing to be sent", err)
	}
	if _, err := writer.Disable(t.Context(), user); err != nil {
		t.Errorf("an account that is disabled: %v, want nothing to be sent", err)
	}
	if err := writer.AddMembers(t.Context(), w.guid(w.dn("deep")), []identity.GUID{w.guid(w.dn("u1"))}); err != nil {
		t.Errorf("a member that is one: %v, want nothing to be sent", err)
	}
	remove()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := update(ended); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknown) {
		t.Errorf("a context that is over: got %v, want ErrUnavailable", err)
	}
	// Over while the controller has the request.
	w.sim.Inject(adsim.Fault{Kind: adsim.DropAfter, Op: ldapwire.OpModifyRequest, Times: 1})
	if _, err := writer.UpdateUser(t.Context(), user, []Attribute{{Name: "sn", Values: []string{"Later"}}}); !errors.Is(err, ErrUnknown) {
		t.Errorf("an answer that was lost: got %v, want ErrUnknown", err)
	}
	w.must("close", w.sim.Close())
	if err := update(t.Context()); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknown) {
		t.Errorf("no controller: got %v, want ErrUnavailable", err)
	}
}

// TestS3_ConcurrentControl changes another bit of userAccountControl between
// the Writer's reading and writing: it is kept.
func TestS3_ConcurrentControl(t *testing.T) {
	w := simulated(t).world(t)
	writer := w.delegated()
	u, err := writer.CreateUser(t.Context(), newUser("busy"))
	w.must("create", err)
	changed := false
	got, err := writer.control(t.Context(), "disable", u.GUID, func(bits int64) int64 {
		if !changed {
			changed = true
			w.replace(u.DN, "userAccountControl", "66048")
		}
		return bits | accountDisable
	})
	if err != nil || !got.Disabled || w.attribute(u.DN, "userAccountControl") != "66050" {
		t.Errorf("got %+v, %v, %s; want 66050", got, err, w.attribute(u.DN, "userAccountControl"))
	}
}
