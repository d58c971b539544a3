package ldapwire

import (
	"encoding/binary"
	"errors"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dirgate/dirgate/store/secret"
)

// Why a value is not a password that can be captured and replicated. None of
// them carries any part of the value.
var (
	ErrPwdNotQuoted = errors.New("unicodePwd is not in double quotes")
	ErrPwdOddLength = errors.New("unicodePwd has an odd number of bytes, so it is not UTF-16")
	ErrPwdNUL       = errors.New("password contains NUL")
	ErrPwdSurrogate = errors.New("password contains an unpaired surrogate")
	ErrPwdEmpty     = errors.New("password is empty")
	ErrPwdNotUTF8   = errors.New("password is not valid UTF-8")
)

const quote = '"'

// DecodeUnicodePwd returns the password in a value of unicodePwd: UTF-16LE in
// double quotes, of which only the first and the last code unit are taken off
// (MS-ADTS 3.1.1.3.1.5.1). The result is UTF-8, not normalised, and the caller's
// to Wipe. Errors: ErrPwdOddLength, ErrPwdNotQuoted, ErrPwdEmpty, ErrPwdNUL,
// ErrPwdSurrogate.
//
// AD accepts some of what is refused here, with the effect that no simple bind
// can ever use the password, or that it cannot be written as JSON.
func DecodeUnicodePwd(value []byte) (secret.Bytes, error) {
	if len(value)%2 != 0 {
		return secret.Bytes{}, ErrPwdOddLength
	}
	if len(value) < 4 || unit(value) != quote || unit(value[len(value)-2:]) != quote {
		return secret.Bytes{}, ErrPwdNotQuoted
	}
	value = value[2 : len(value)-2]
	if len(value) == 0 {
		return secret.Bytes{}, ErrPwdEmpty
	}
	size := 0
	for rest := value; len(rest) > 0; {
		r, n := decodeRune(rest)
		switch {
		case r == 0:
			return secret.Bytes{}, ErrPwdNUL
		case r < 0:
			return secret.Bytes{}, ErrPwdSurrogate
		}
		size += utf8.RuneLen(r)
		rest = rest[n:]
	}
	// Sized first, so that no half-written copy is left behind by growing.
	password := make([]byte, 0, size)
	for rest := value; len(rest) > 0; {
		r, n := decodeRune(rest)
		password = utf8.AppendRune(password, r)
		rest = rest[n:]
	}
	return secret.Take(password), nil
}

func unit(b []byte) rune { return rune(binary.LittleEndian.Uint16(b)) }

// decodeRune reads one character of UTF-16LE, -1 for an unpaired surrogate.
func decodeRune(b []byte) (r rune, size int) {
	r = unit(b)
	if !utf16.IsSurrogate(r) {
		return r, 2
	}
	if len(b) >= 4 {
		// U+FFFD is what DecodeRune says of a bad pair, and no good one means.
		if pair := utf16.DecodeRune(r, unit(b[2:])); pair != utf8.RuneError {
			return pair, 4
		}
	}
	return -1, 2
}

// AppendUnicodePwd appends the value of unicodePwd for a password in UTF-8.
// dst grows at most once, before the password is written to it. Errors:
// ErrPwdEmpty, ErrPwdNUL, ErrPwdNotUTF8; dst is then returned as it was.
func AppendUnicodePwd(dst []byte, password []byte) ([]byte, error) {
	if len(password) == 0 {
		return dst, ErrPwdEmpty
	}
	size := 4
	for rest := password; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == 0:
			return dst, ErrPwdNUL
		case r == utf8.RuneError && n == 1:
			return dst, ErrPwdNotUTF8
		}
		size += 2 * utf16.RuneLen(r)
		rest = rest[n:]
	}
	dst = slices.Grow(dst, size)
	dst = append(dst, quote, 0)
	for rest := password; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
			dst = binary.LittleEndian.AppendUint16(dst, uint16(hi))
			r = lo
		}
		dst = binary.LittleEndian.AppendUint16(dst, uint16(r))
		rest = rest[n:]
	}
	return append(dst, quote, 0), nil
}
