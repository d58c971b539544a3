package ad

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dirgate/dirgate/store/secret"
)

// TestS2_RandomPassword draws passwords that any policy of AD's allows.
func TestS2_RandomPassword(t *testing.T) {
	seen := make(map[string]bool)
	for range 200 {
		p, err := randomPassword(0, "ab", "Jo-Xyz Q", "éé")
		if err != nil {
			t.Fatal(err)
		}
		text := string(p.Expose())
		if len(text) != 24 || seen[text] || !hasAllClasses(p.Expose()) || strings.Contains(strings.ToLower(text), "xyz") {
			t.Fatal("a password is short, seen before, lacks a class or has a name in it")
		}
		seen[text] = true
	}
	for length, want := range map[int]int{7: 24, 30: 30, 128: 128} {
		if p, err := randomPassword(length); err != nil || len(p.Expose()) != want {
			t.Errorf("minPwdLength %d: got %d characters, %v, want %d", length, len(p.Expose()), err, want)
		}
	}
	if _, err := randomPassword(129); err == nil {
		t.Error("minPwdLength 129: got a password, want an error")
	}
	for _, tt := range []struct {
		password string
		names    []string
		want     bool
	}{
		{"xxALICExx", []string{"alice"}, true}, {"xxArcherxx", []string{"Alice Archer"}, true}, {"xxalxx", []string{"al"}, false},
		{"xxarcxx", []string{"Alice,Arc"}, true}, {"nothing", []string{"alice", "bob"}, false},
	} {
		if got := hasNamePart([]byte(tt.password), tt.names); got != tt.want {
			t.Errorf("%q has a part of %q: got %v", tt.password, tt.names, got)
		}
	}
}

// TestS4_UnicodePwd encodes as MS-ADTS 3.1.1.3.1.5.1 shows.
func TestS4_UnicodePwd(t *testing.T) {
	for in, want := range map[string]string{
		"N3w-Passw0rd": "22004e00330077002d00500061007300730077003000720064002200",
		`a"b`:          "2200610022006200" + "2200", "é": "2200e9002200", "😑": "22003dd811de2200",
	} {
		got, err := unicodePwd(secret.New([]byte(in)))
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%q: got %x, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "a\x00b", "a\xff", "\xed\xa0\x80"} {
		if got, err := unicodePwd(secret.New([]byte(in))); !errors.Is(err, errUnfit) {
			t.Errorf("%q: got %x, %v, want errUnfit", in, got, err)
		}
	}
}

// TestS2_Names checks what names AD can have, and how an entry is called.
func TestS2_Names(t *testing.T) {
	for name, ok := range map[string]bool{
		"alice": true, "a.b-c_d": true, "Zoë": true, "exactly.twenty.chars": true, "twenty.one.characters": false,
		"": false, "a@b": false, "a,b": false, `a\b`: false, "ends.": false, " space": false, "a\x01b": false, "\xff": false,
	} {
		if err := checkAccountName(name, maxUserName); (err == nil) != ok || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("user %q: got %v, want ok %v", name, err, ok)
		}
	}
	for name, ok := range map[string]bool{"Team@Work and a long name": true, "R&D": true, "a/b": false, strings.Repeat("x", 257): false} {
		if err := checkAccountName(name, maxGroupName); (err == nil) != ok {
			t.Errorf("group %q: got %v, want ok %v", name, err, ok)
		}
	}
	for _, tt := range []struct {
		cn, username string
		want         []string
	}{
		{"Ann Lee", "ann", []string{"Ann Lee", "Ann Lee (ann)"}}, {"", "ann", []string{"ann"}}, {" \n", "ann", []string{"ann"}},
		{"a\nb", "ann", []string{"a b", "a b (ann)"}},
		{strings.Repeat("é", 70), "ann", []string{strings.Repeat("é", 64), strings.Repeat("é", 58) + " (ann)"}},
	} {
		got := commonNames(tt.cn, tt.username)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.cn, got, tt.want)
		}
	}
	for _, cn := range []string{"a,b", " a", "a ", "#a", `a\b`, "a=b", `a"b`, "a+b", "é", "<a>"} {
		if got := rdnValue(rdn(cn) + ",DC=x"); got != cn {
			t.Errorf("%q: read back as %q", cn, got)
		}
	}
}

// FuzzParseDescriptor: what a controller sends cannot end the process, and
// every SID that is found is whole.
func FuzzParseDescriptor(f *testing.F) {
	const sid = "0105000000000005150000000102030405060708090a0b0c50040000"
	f.Add(unhexBytes("0100048014000000000000000000000030000000" + sid + "0400480001000000" + "05003800000100000100000070952900" + "6d24d011a76800aa006e0529" + sid))
	f.Add([]byte{1, 0, 4, 128})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDescriptor(b)
		if err != nil {
			return
		}
		for _, a := range append(d.aces, ace{sid: d.owner}) {
			if len(a.sid) > 0 && len(a.sid) != 8+4*int(a.sid[1]) {
				t.Errorf("a SID of %d bytes", len(a.sid))
			}
			if text := sidText(a.sid); !utf8.ValidString(text) {
				t.Errorf("SID %q", text)
			}
		}
	})
}

func unhexBytes(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}

// TestS3_AccessList holds that the first entry that speaks of a right decides.
func TestS3_AccessList(t *testing.T) {
	me, other := unhexBytes("010100000000000515000000"), unhexBytes("010100000000000516000000")
	reset, another := guids(rightGUIDReset)[0], guids(attrGUIDName)[0]
	for _, tt := range []struct {
		name string
		aces []ace
		want bool
	}{
		{"none", nil, false},
		{"the right", []ace{{mask: controlAccess, right: reset, sid: me}}, true},
		{"all rights", []ace{{mask: controlAccess, sid: me}}, true},
		{"full control", []ace{{mask: genericAll, sid: me}}, true},
		{"another right", []ace{{mask: controlAccess, right: another, sid: me}}, false},
		{"another bit", []ace{{mask: writeProperty, right: reset, sid: me}}, false},
		{"somebody else's", []ace{{mask: controlAccess, right: reset, sid: other}}, false},
		{"denied before", []ace{{deny: true, mask: controlAccess, right: reset, sid: me}, {mask: controlAccess, sid: me}}, false},
		{"denied after", []ace{{mask: controlAccess, sid: me}, {deny: true, mask: controlAccess, right: reset, sid: me}}, true},
	} {
		if got := (descriptor{aces: tt.aces}).allows(controlAccess, guids(rightGUIDReset), [][]byte{me}); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
