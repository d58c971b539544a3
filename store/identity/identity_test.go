package identity

import (
	"encoding/json"
	"testing"
)

// TestGUID holds the mixed byte order of objectGUID (MS-DTYP 2.3.4.2).
func TestGUID(t *testing.T) {
	raw := []byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	const text = "00112233-4455-6677-8899-aabbccddeeff"
	g, err := GUIDFromBytes(raw)
	if err != nil || g.String() != text {
		t.Fatalf("got %s, %v; want %s", g, err, text)
	}
	back, err := ParseGUID(text)
	if err != nil || back != g {
		t.Errorf("got %v, %v; want %v", back, err, g)
	}
	b, err := json.Marshal(g)
	if err != nil || string(b) != `"`+text+`"` {
		t.Errorf("got %s, %v", b, err)
	}
	var decoded GUID
	if err := json.Unmarshal(b, &decoded); err != nil || decoded != g {
		t.Errorf("got %v, %v", decoded, err)
	}
	if g.IsZero() || !(GUID{}).IsZero() {
		t.Error("only the zero GUID is zero")
	}
	for _, bad := range []string{"", text[1:], text + "0", "zz112233-4455-6677-8899-aabbccddeeff", "{" + text[1:35] + "}", "001122334455-6677-8899-aabbccddeeff-"} {
		if g, err := ParseGUID(bad); err == nil {
			t.Errorf("ParseGUID(%q) = %s, want an error", bad, g)
		}
	}
	for _, n := range []int{0, 15, 17} {
		if _, err := GUIDFromBytes(make([]byte, n)); err == nil {
			t.Errorf("a GUID of %d bytes was accepted", n)
		}
	}
}

func TestParseSeq(t *testing.T) {
	if s, err := ParseSeq("18446744073709551615"); err != nil || s.String() != "18446744073709551615" {
		t.Errorf("got %s, %v", s, err)
	}
	for _, bad := range []string{"", "0", "-1", "1.5", "seven", "18446744073709551616"} {
		if s, err := ParseSeq(bad); err == nil {
			t.Errorf("ParseSeq(%q) = %s, want an error", bad, s)
		}
	}
}

func TestNouns(t *testing.T) {
	if Import.From() != AD || Sync.From() != JumpCloud {
		t.Error("import comes from AD, sync from JumpCloud")
	}
	for status, final := range map[Status]bool{StatusUnsettled: false, StatusPending: false, StatusApplied: true, StatusRefused: true,
		StatusSuperseded: true, StatusDead: true, StatusDiscarded: true, StatusHeld: true} {
		if status.Final() != final {
			t.Errorf("%s.Final() = %v", status, !final)
		}
	}
	if got := (User{UPN: "a@b"}).JoinMail(); got != "a@b" {
		t.Errorf("without mail: %q", got)
	}
	if got := (User{UPN: "a@b", Mail: "c@d"}).JoinMail(); got != "c@d" {
		t.Errorf("with mail: %q", got)
	}
}
