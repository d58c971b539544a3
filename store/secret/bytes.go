package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"runtime"
)

// Redacted is what every textual form of a secret says.
const Redacted = "[REDACTED]"

// Bytes holds a secret, normally a password in UTF-8. Every way of printing,
// logging or marshalling it gives [Redacted]; it cannot be compared with ==.
//
// The bytes sit behind a func value, because methods alone do not protect a
// value that lies in an unexported field of some other struct: package fmt
// cannot call them there and prints what it can reach, even through one
// pointer. It cannot reach into a closure.
//
// The zero value is an empty secret. Copies of a Bytes share the same memory,
// so one Wipe empties them all. A Bytes is not safe for use while another
// goroutine wipes it.
type Bytes struct {
	_    [0]func() // not comparable
	hold func(wipe bool) []byte
}

// New copies b into a secret of its own. The caller still owns b, and should
// clear it.
func New(b []byte) Bytes {
	own := make([]byte, len(b))
	copy(own, b)
	return take(own)
}

// Take makes a secret of b itself, without a copy. The caller must not use b
// afterwards.
func Take(b []byte) Bytes { return take(b) }

func take(own []byte) Bytes {
	return Bytes{hold: func(wipe bool) []byte {
		if wipe {
			clear(own)
			runtime.KeepAlive(&own[:1][0])
			own = own[:0]
		}
		return own
	}}
}

// Expose returns the secret itself, not a copy: valid until Wipe, not to be
// kept, converted to a string or changed.
func (s Bytes) Expose() []byte {
	if s.hold == nil {
		return nil
	}
	return s.hold(false)
}

// IsEmpty reports whether there is no secret, or it was wiped.
func (s Bytes) IsEmpty() bool { return len(s.Expose()) == 0 }

// Clone copies the secret, so that one copy can be wiped and the other kept.
func (s Bytes) Clone() Bytes { return New(s.Expose()) }

// Equal compares in constant time (for equal lengths).
func (s Bytes) Equal(other Bytes) bool {
	return subtle.ConstantTimeCompare(s.Expose(), other.Expose()) == 1
}

// Wipe overwrites the secret with zeroes and empties it. It may be called
// more than once.
func (s Bytes) Wipe() {
	if s.hold != nil && len(s.hold(false)) > 0 {
		s.hold(true)
	}
}

// String returns [Redacted].
func (Bytes) String() string { return Redacted }

// GoString returns [Redacted].
func (Bytes) GoString() string { return Redacted }

// Format writes [Redacted] for every verb.
func (Bytes) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// MarshalText returns [Redacted].
func (Bytes) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON returns [Redacted] as a JSON string.
func (Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// LogValue returns [Redacted].
func (Bytes) LogValue() slog.Value { return slog.StringValue(Redacted) }
