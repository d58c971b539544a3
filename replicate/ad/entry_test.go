package ad

import (
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

func TestSplitDN(t *testing.T) {
	const guid = "00112233-4455-6677-8899-aabbccddeeff"
	for _, tt := range []struct{ in, dn, err string }{
		{"<GUID=" + guid + ">;<SID=S-1-5-32-544>;CN=a,DC=x", "CN=a,DC=x", ""},
		{"<GUID=" + guid + ">;CN=<b>;c,DC=x", "CN=<b>;c,DC=x", ""},
		{"CN=a,DC=x", "", "without"},
		{"<SID=S-1-5-32-544>;CN=a,DC=x", "", "without"},
		{"<GUID=0011>;CN=a,DC=x", "", "form"},
		{"<GUID=" + guid, "", "without"},
		{"", "", "without"},
	} {
		got, dn, err := splitDN(tt.in)
		if (err != nil) != (tt.err != "") || err == nil && (dn != tt.dn || got.String() != guid) {
			t.Errorf("%q: got %s, %q, %v", tt.in, got, dn, err)
		}
	}
}

func TestI1_Below(t *testing.T) {
	const root = "OU=People,DC=x"
	for dn, want := range map[string]bool{
		"CN=a,OU=People,DC=x": true, "CN=a,ou=people,dc=X": true, "OU=People,DC=x": true, `CN=a\\,OU=People,DC=x`: true,
		`CN=a\,OU=People,DC=x`: false, "CN=aOU=People,DC=x": false, "OU=NoPeople,DC=x": false, "DC=x": false, ",OU=People,DC=x": false, "": false,
	} {
		if got := below(dn, root); got != want {
			t.Errorf("%q: got %v, want %v", dn, got, want)
		}
	}
}

func TestPointInTime(t *testing.T) {
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Time{"": {}, "0": {}, "9223372036854775807": {}, "2650467744000000000": {}, "x": {},
		"-1": {}, "134117966450000000": day} {
		if got := pointInTime(value); !got.Equal(want) {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

// TestI8_UnreadableIsNoState: an account that may not be read is neither
// enabled nor gone.
func TestI8_UnreadableIsNoState(t *testing.T) {
	const name = "<GUID=00112233-4455-6677-8899-aabbccddeeff>;CN=a,OU=People,DC=x"
	p, at := &peer{session: &session{}}, place{root: "OU=People,DC=x"}
	guid := []string{"0123456789abcdef"}
	if u, err := p.readableUser(ldap.NewEntry(name, map[string][]string{"objectGUID": guid, "sAMAccountName": {"a"}}), at); err == nil {
		t.Errorf("without userAccountControl: got %+v, want an error", u)
	}
	if g, err := p.readableGroup(ldap.NewEntry(name, map[string][]string{"sAMAccountName": {"a"}}), at); err == nil {
		t.Errorf("without groupType: got %+v, want an error", g)
	}
}

// TestI4_PasswordExpires: the policy's age is added by the controller.
func TestI4_PasswordExpires(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		w := d.world(t)
		quoted, err := ldapwire.AppendUnicodePwd(nil, []byte("Start.Pass1"))
		w.must("quote", err)
		w.replace(w.dn("u1"), "unicodePwd", string(quoted))
		m := w.mirror(w.newReader(MethodAuto))
		u := m.users[w.guid(w.dn("u1"))]
		if want := identity.FileTime(u.PwdLastSet).Add(42 * 24 * time.Hour); u.PwdLastSet == 0 || u.MustChange || !u.PasswordExpires.Equal(want) {
			t.Errorf("password set %d, must change %v, expires %v, want %v", u.PwdLastSet, u.MustChange, u.PasswordExpires, want)
		}
		w.replace(w.base, "maxPwdAge", "-8640000000000")
		_, err = m.r.Changes(t.Context(), m.cursor)
		wantReason(t, "another policy", err, "maxPwdAge")
	})
}

func FuzzSplitDN(f *testing.F) {
	f.Add("<GUID=00112233-4455-6677-8899-aabbccddeeff>;<SID=S-1-5-32-544>;CN=a,DC=x")
	f.Add("<>;<")
	f.Fuzz(func(t *testing.T, in string) {
		if guid, _, err := splitDN(in); err == nil && guid.IsZero() {
			t.Errorf("%q: no GUID, and no error", in)
		}
	})
}

func FuzzMemberValues(f *testing.F) {
	f.Add("member;range=0-1", "a", "b")
	f.Add("member;range=9-*", "", "")
	f.Fuzz(func(t *testing.T, name, a, b string) {
		values, _, last, err := memberValues(ldap.NewEntry("CN=g", map[string][]string{name: {a, b}}))
		if err == nil && !last && len(values) == 0 {
			t.Errorf("%q: a range of nothing that goes on", name)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add([]byte(`{"v":2,"host":"dc1","method":"usn","usn":1}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if p, err := parseCursor(in); err == nil && p.Version != positionVersion {
			t.Errorf("%q: version %d was taken", in, p.Version)
		}
	})
}
