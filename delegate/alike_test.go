package delegate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// TestD2_Alike: what wrong passwords are answered with, one after the other, is
// the same for names of either side and for one that is nobody's, whatever
// JumpCloud says or does not say, whatever limits there are, and whether the
// passwords differ or not.
func TestD2_Alike(t *testing.T) {
	states := map[string]func(*world){
		"quiet":                        func(*world) {},
		"names are not looked for":     func(w *world) { w.facts.noNames = errors.New("too many") },
		"JumpCloud stops short of AD":  func(w *world) { w.facts.p = CloudPolicy{MaxTries: 3, LockTime: time.Hour} },
		"AD stops short of JumpCloud":  func(w *world) { w.facts.p = CloudPolicy{MaxTries: 8, LockTime: time.Hour} },
		"both stop, and names too":     func(w *world) { w.facts.p, w.facts.noNames = CloudPolicy{MaxTries: 4}, errors.New("too many") },
		"no LDAP of JumpCloud":         func(w *world) { w.domain.CloudLDAP = nil },
		"no LDAP of JumpCloud, noisy":  func(w *world) { w.domain.CloudLDAP, w.facts.noNames = nil, errors.New("too many") },
		"JumpCloud does not answer":    func(w *world) { w.facts.noNames, w.facts.err = errors.New("503"), errors.New("503") },
		"everybody is JumpCloud's":     func(w *world) { w.domain.UseCase = identity.UseJumpCloud },
		"everybody is AD's":            func(w *world) { w.domain.UseCase = identity.UseAD },
		"the throttle stops the first": func(w *world) { w.cfg.Throttle = Throttle{PerUser: 2, PerUserEvery: time.Hour} },
	}
	for state, set := range states {
		for _, differ := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", state, differ), func(t *testing.T) {
				t.Parallel()
				now := time.Now()
				w := newWorld(t, set, func(w *world) { w.cfg.Now = func() time.Time { return now } })
				if w.domain.UseCase != identity.UseAD { // nobody else is asked there
					w.inCloud("zoe")
					w.inCloud("carol") // of both, and JumpCloud's
				}
				w.inCloud("bob", func(u *CloudUser) { u.DelegatedToAD = true })
				want := w.strange("nobody", differ)
				for _, name := range []string{"alice", "bob", "carol", "zoe", "nobody.else@" + w.domain.Name} {
					got := w.strange(name, differ)
					if !slices.Equal(got, want) {
						t.Errorf("%s:\n got %s\nwant %s", name, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
					}
				}
			})
		}
	}
}

// strange is what a stranger sees of wrong passwords for a name: the answers,
// and how often JumpCloud was asked who has that name.
func (w *world) strange(name string, differ bool) (seen []string) {
	w.t.Helper()
	for i := range 12 {
		password := "Wrong.Pass"
		if differ {
			password += string(rune('a' + i))
		}
		before := w.facts.asked
		v := w.Validate(w.t.Context(), name, pw(password), "192.0.2."+fmt.Sprint(len(name)))
		seen = append(seen, fmt.Sprintf("%s %s %d", strings.TrimSpace(string(encode(v))), v.RetryAfter.Round(time.Second), w.facts.asked-before))
	}
	return seen
}

// TestD2_AlikeSpares: a budget that is used up keeps out nobody who knows the
// password, and what is not known is not refused.
func TestD2_AlikeSpares(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.facts.noNames = errors.New("too many")
		w.facts.p = CloudPolicy{MaxTries: 2}
	})
	w.facts.users["bob"] = CloudUser{ID: "2", Username: "bob", DelegatedToAD: true}
	w.inCloud("zoe")
	for range 2 {
		w.want("alice", right, "accepted ad")
		w.want("bob", right, "accepted ad")
	}
	w.want("zoe", theirs, "undecided dc_unavailable")
	w.want("alice", "Wrong.Pass1", "undecided dc_unavailable")
	w.want("alice", "Wrong.Pass2", "undecided throttled")
	w.want("alice", right, "accepted ad")
	w.facts.noNames = nil
	w.want("zoe", theirs, "accepted jumpcloud")
}

// TestD2_AlikeTold: callers who are told which names exist get answers that are
// not made alike, and cost JumpCloud nothing.
func TestD2_AlikeTold(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.TellUnknown, w.facts.noNames = true, errors.New("too many") })
	w.want("alice", "Wrong.Pass1", "refused bad_credentials")
	w.want("nobody", "Wrong.Pass1", "undecided dc_unavailable")
	w.facts.noNames = nil
	w.want("nobody", "Wrong.Pass2", "refused no_such_user")
}

// TestD2_RefusalTime: wrong passwords take longer to answer where JumpCloud may
// be asked, of all names.
func TestD2_RefusalTime(t *testing.T) {
	const slow = 150 * time.Millisecond
	for use, least := range map[identity.UseCase]time.Duration{identity.UseTwoWay: slow, identity.UseJumpCloud: slow, identity.UseAD: 0} {
		w := newWorld(t, func(w *world) { w.cfg.CloudRefusalTime, w.domain.UseCase = slow, use })
		for _, name := range []string{"alice", "nobody", "", `x\y\z`} {
			start := time.Now()
			w.want(name, "Wrong.Pass1", "refused bad_credentials")
			if took := time.Since(start); took < least {
				t.Errorf("%s, %q: took %s, want %s or more", use, name, took, least)
			}
		}
	}
}
