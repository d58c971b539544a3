package gateway

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// fileTimeOf is t in units of 100 ns since 1601.
func fileTimeOf(t time.Time) int64 { return t.UnixNano()/100 + 116_444_736_000_000_000 }

func TestG6_Proof(t *testing.T) {
	const minAge = 65 * time.Minute
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	user := func(age time.Duration, change ...func(*passwordFacts)) passwordFacts {
		f := passwordFacts{dcTime: now, pwdLastSet: fileTimeOf(now.Add(-age)), saysSet: true, control: 0x200}
		for _, c := range change {
			c(&f)
		}
		return f
	}
	for _, tt := range []struct {
		name  string
		facts passwordFacts
		why   string // part of the reason; empty: it is proof
		again time.Duration
	}{
		{"years old", user(3 * 365 * 24 * time.Hour), "", 0},
		{"just old enough", user(minAge + time.Second), "", 0},
		{"never expires", user(2*time.Hour, func(f *passwordFacts) { f.control |= 0x10000 }), "", 0},
		{"exactly at the limit", user(minAge), "may still be accepted", time.Minute},
		{"within the grace", user(59 * time.Minute), "may still be accepted", 7 * time.Minute},
		{"within the margin", user(64 * time.Minute), "may still be accepted", 2 * time.Minute},
		{"set just now", user(0), "may still be accepted", 66 * time.Minute},
		{"set in the future of the controller's clock", user(-48 * time.Hour), "may still be accepted", 66 * time.Minute},
		{"temporary", user(0, func(f *passwordFacts) { f.pwdLastSet = 0 }), "temporary", lookAgain},
		{"negative", user(0, func(f *passwordFacts) { f.pwdLastSet = -1 }), "temporary", lookAgain},
		{"pwdLastSet not readable", user(2*time.Hour, func(f *passwordFacts) { f.saysSet = false }), "does not say", lookAgain},
		{"no clock", user(2*time.Hour, func(f *passwordFacts) { f.dcTime = time.Time{} }), "does not say", lookAgain},
		{"privileged", user(2*time.Hour, func(f *passwordFacts) { f.privileged = true }), "privileged", lookAgain},
		{"control not readable", user(2*time.Hour, func(f *passwordFacts) { f.control = 0 }), "not a person's", lookAgain},
		{"a workstation", user(2*time.Hour, func(f *passwordFacts) { f.control = 0x1000 }), "not a person's", lookAgain},
		{"a controller", user(2*time.Hour, func(f *passwordFacts) { f.control = 0x2200 }), "not a person's", lookAgain},
		{"smart card", user(2*time.Hour, func(f *passwordFacts) { f.control |= 0x40000 }), "smart card", lookAgain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			why, again := proves(tt.facts, minAge)
			if (why == "") != (tt.why == "") || !strings.Contains(why, tt.why) || again != tt.again {
				t.Errorf("got %q, again in %v; want %q, in %v", why, again, tt.why, tt.again)
			}
		})
	}
}

func TestG6_PasswordFacts(t *testing.T) {
	var f passwordFacts
	for _, a := range [][2]string{{"pwdlastset", "134168256000000000"}, {"useraccountcontrol", "66048"}, {"admincount", "0"}, {"other", "7"}} {
		f.read(a[0], a[1])
	}
	if f.pwdLastSet != 134168256000000000 || !f.saysSet || f.control != 66048 || f.privileged {
		t.Errorf("got %+v", f)
	}
	f.read("admincount", "1")
	f.read("admincount", "0")
	if !f.privileged {
		t.Error("an account that is marked is not privileged")
	}
	var bad passwordFacts
	bad.read("pwdlastset", "yesterday")
	if bad.saysSet {
		t.Error("a pwdLastSet that is no number counts")
	}
}

func TestGeneralizedTime(t *testing.T) {
	want := time.Date(2026, 11, 23, 9, 34, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"20261123093400.0Z": want, "20261123093400Z": want, "20261123093400.5Z": want.Add(500 * time.Millisecond),
		"": {}, "20261123093400": {}, "20261323093400.0Z": {}, strconv.Itoa(1): {},
	} {
		if got := generalizedTime(text); !got.Equal(want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestG6_PrivilegedSIDs(t *testing.T) {
	for sid, want := range map[string]bool{
		"S-1-5-21-1-2-3-500": true, "S-1-5-21-1-2-3-512": true, "S-1-5-21-1-2-3-519": true, "S-1-5-32-544": true, "S-1-5-32-551": true,
		"S-1-5-21-1-2-3-513": false, "S-1-5-21-1-2-3-1104": false, "S-1-5-32-545": false, "S-1-5-11": false, "S-1-1-0": false,
		"S-1-5-21-1-2-512": false, "S-1-5-21-1-2-3-5120": false, "": false,
	} {
		if got := isPrivilegedSID(sid); got != want {
			t.Errorf("%q: got %v, want %v", sid, got, want)
		}
	}
}
