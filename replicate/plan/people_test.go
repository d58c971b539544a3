package plan

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// TestSeveral holds it against a list.
func TestSeveral(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	values := make([]int, 6)
	var s several[int]
	var naive []*int
	for range 5_000 {
		v := &values[rnd.IntN(len(values))]
		if rnd.IntN(2) == 0 {
			if !slices.Contains(naive, v) { // as users are
				s.add(v)
				naive = append(naive, v)
			}
		} else {
			s.remove(v)
			naive = slices.DeleteFunc(naive, func(other *int) bool { return other == v })
		}
		not := &values[rnd.IntN(len(values))]
		got := s.others(nil, not)
		if len(slices.Compact(got)) != len(got) || !maps.Equal(setOf(got), setOf(slices.DeleteFunc(slices.Clone(naive), func(v *int) bool { return v == not }))) {
			t.Fatalf("without %p: got %v of %v", not, got, naive)
		}
		if held := s.more != nil; held != (len(naive) > 1) || held && len(*s.more) != len(naive)-1 {
			t.Fatalf("%+v is held of %v", s, naive)
		}
	}
}

func setOf(all []*int) map[*int]bool {
	m := make(map[*int]bool, len(all))
	for _, v := range all {
		m[v] = true
	}
	return m
}

func TestCloneFor(t *testing.T) {
	for _, m := range []map[string]int{nil, {}, {"a": 1}, {"a": 1, "b": 2}} {
		clone := cloneFor(m)
		if clone == nil || !maps.Equal(clone, m) {
			t.Errorf("%v: got %v", m, clone)
		}
		if clone["c"] = 3; m["c"] != 0 {
			t.Errorf("%v: the clone is the map itself", m)
		}
	}
}

// TestNewID holds what is written at one go against GUID's own text.
func TestNewID(t *testing.T) {
	guid := identity.GUID{0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff}
	id := newID(guid)
	if want := prefixNew + guid.String(); id != want {
		t.Errorf("got %s, want %s", id, want)
	}
	if made, ok := Made(id); !ok || made != guid {
		t.Errorf("%s is of %v, %v", id, made, ok)
	}
}

func TestJoinMail(t *testing.T) {
	for _, u := range []identity.User{{}, {UPN: "a@b"}, {Mail: "c@d"}, {UPN: "a@b", Mail: "c@d"}} {
		if got := joinMail(&u); got != u.JoinMail() {
			t.Errorf("%+v: got %q, want %q", u, got, u.JoinMail())
		}
	}
}

// TestRDN: with escapes (RFC 4514 section 2.4) and without.
func TestRDN(t *testing.T) {
	for dn, want := range map[string]string{"": "", "CN=Anna": "Anna", "CN=Anna,DC=x": "Anna", "CN=Anna+OU=y,DC=x": "Anna",
		`CN=Liddell\, Anna,DC=x`: "Liddell, Anna", `CN=a\2Cb\+c,DC=x`: "a,b+c", `CN=a,DC=x\,y`: "a"} {
		if got := rdn(dn); got != want {
			t.Errorf("%s: got %q, want %q", dn, got, want)
		}
	}
}
