package ad

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/dirgate/dirgate/store/secret"
)

// Length of random passwords, in characters: 24 of 70 make 147 bits. AD can ask
// for 14, and for up to 128 with RelaxMinimumPasswordLengthLimits.
const (
	randomLength    = 24
	maxRandomLength = 128
)

// Characters of random passwords, by the classes that complexity counts
// (MS-SAMR 3.1.1.7.2).
var passwordClasses = [...]string{"ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghijkmnopqrstuvwxyz", "23456789", "!#$%&()*+-./:=?@_"}

// randomPassword has characters of all four classes, at least the domain's
// minPwdLength, and none of the names in it, which complexity forbids.
func randomPassword(minLength int, names ...string) (secret.Bytes, error) {
	length := max(randomLength, minLength)
	if length > maxRandomLength {
		return secret.Bytes{}, fmt.Errorf("make a random password: the domain's minPwdLength is %d, and passwords of more than %d characters are not made", minLength, maxRandomLength)
	}
	password := make([]byte, length)
	for {
		fillRandom(password)
		if hasAllClasses(password) && !hasNamePart(password, names) {
			return secret.Take(password), nil
		}
	}
}

// fillRandom draws every character evenly from all classes.
func fillRandom(password []byte) {
	all := strings.Join(passwordClasses[:], "")
	limit := 256 - 256%len(all) // above it, the remainder would favour some
	var b [1]byte
	for i := 0; i < len(password); {
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		if int(b[0]) < limit {
			password[i] = all[int(b[0])%len(all)]
			i++
		}
	}
	b[0] = 0
}

func hasAllClasses(password []byte) bool {
	for _, class := range passwordClasses {
		found := false
		for _, c := range password {
			found = found || strings.IndexByte(class, c) >= 0
		}
		if !found {
			return false
		}
	}
	return true
}

// hasNamePart reports a part of a name, of three characters or more, without
// regard to case.
func hasNamePart(password []byte, names []string) bool {
	lower := make([]byte, len(password))
	defer clear(lower)
	for i, c := range password {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	for _, name := range names {
		for _, part := range strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(",.-_ #\t", r) }) {
			if utf8.RuneCountInString(part) >= 3 && strings.Contains(lend(lower), strings.ToLower(part)) {
				return true
			}
		}
	}
	return false
}

// lend gives bytes to an API that wants a string, without a copy that could
// never be wiped. The string must not outlive the bytes.
func lend(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// errUnfit is for passwords that AD would take, and no bind could name then.
var errUnfit = errors.New("the password is empty, has a NUL, or is no UTF-8; it would lock its owner out")

// unicodePwd is the value of that attribute: the password in quotes, in
// UTF-16LE (MS-ADTS 3.1.1.3.1.5.1). The caller clears it.
func unicodePwd(password secret.Bytes) ([]byte, error) {
	plain := password.Expose()
	if len(plain) == 0 || !utf8.Valid(plain) || strings.IndexByte(lend(plain), 0) >= 0 {
		return nil, errUnfit
	}
	out := make([]byte, 0, 2*len(plain)+4) // UTF-16 never takes more
	put := func(unit uint16) { out = append(out, byte(unit), byte(unit>>8)) }
	put('"')
	for rest := plain; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		rest = rest[n:]
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			put(uint16(high))
			put(uint16(low))
			continue
		}
		put(uint16(r))
	}
	put('"')
	return out, nil
}
