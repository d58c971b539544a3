package ldapwire

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// unhex decodes hexadecimal digits, ignoring spaces and line ends.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatalf("bad vector: %v", err)
	}
	return b
}

// body parses a message and returns the contents of its operation.
func body(t testing.TB, frame []byte, want Op) []byte {
	t.Helper()
	m, err := ParseMessage(frame)
	if err != nil {
		t.Fatalf("ParseMessage(%x): %v", frame, err)
	}
	if m.Op != want {
		t.Fatalf("ParseMessage(%x): op %v, want %v", frame, m.Op, want)
	}
	return m.Body
}

func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("got error %v, want %v", got, want)
	}
}
