package ldapwire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// TestHandover: what is looked at is not lost, to messages or to who reads on.
func TestHandover(t *testing.T) {
	message := AppendSearchDone(nil, 5, ResultSuccess, "", "")
	layered := []byte{0, 0, 0, 2, 'x', 'y'}
	for name, source := range map[string]io.Reader{
		"in one piece":  bytes.NewReader(append(bytes.Clone(message), layered...)),
		"byte for byte": iotest.OneByteReader(bytes.NewReader(append(bytes.Clone(message), layered...))),
	} {
		t.Run(name, func(t *testing.T) {
			rd := NewReader(source, 0)
			for range 2 {
				if b, err := rd.First(); b != 0x30 || err != nil {
					t.Fatalf("first byte %#x, %v; want 0x30", b, err)
				}
			}
			if msg, err := rd.Next(); err != nil || !bytes.Equal(msg.Raw, message) {
				t.Fatalf("message %x, %v; want %x", msg.Raw, err, message)
			}
			if b, err := rd.First(); b != 0 || err != nil {
				t.Fatalf("first byte %#x, %v; want 0", b, err)
			}
			rest := rd.TakeRest()
			if rd.Buffered() != 0 || len(rest) == 0 {
				t.Errorf("%d bytes handed over, %d kept", len(rest), rd.Buffered())
			}
			more, err := io.ReadAll(source)
			if rest = append(rest, more...); err != nil || !bytes.Equal(rest, layered) {
				t.Errorf("the rest is %x, %v; want %x", rest, err, layered)
			}
			if _, err := rd.First(); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v, want EOF", err)
			}
		})
	}
}

func TestFirstAfterMalformed(t *testing.T) {
	rd := NewReader(bytes.NewReader([]byte{0, 1, 2, 3}), 0)
	if _, err := rd.Next(); !errors.Is(err, ErrMalformed) {
		t.Fatal(err)
	}
	if _, err := rd.First(); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want that the stream stays unreadable", err)
	}
}
