package jcsim

import (
	"bytes"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dirgate/dirgate/store/secret"
)

// PasswordPolicy is an organisation's, under the names of the v1 document's
// organizationsettings.passwordPolicy. The zero value allows any password that
// is not empty.
type PasswordPolicy struct {
	EnableMinLength                     bool `json:"enableMinLength"`
	MinLength                           int  `json:"minLength,omitempty"` // characters
	NeedsLowercase                      bool `json:"needsLowercase"`
	NeedsUppercase                      bool `json:"needsUppercase"`
	NeedsNumeric                        bool `json:"needsNumeric"`
	NeedsSymbolic                       bool `json:"needsSymbolic"`
	EnableMaxHistory                    bool `json:"enableMaxHistory"`
	MaxHistory                          int  `json:"maxHistory,omitempty"` // passwords, 1 to 24
	DisallowUsernameSubstring           bool `json:"-"`                    // allowUsernameSubstring, turned round for the zero value
	DisallowCommonlyUsedPasswords       bool `json:"disallowCommonlyUsedPasswords"`
	DisallowSequentialOrRepetitiveChars bool `json:"disallowSequentialOrRepetitiveChars"`
	EnablePasswordExpirationInDays      bool `json:"enablePasswordExpirationInDays"`
	PasswordExpirationInDays            int  `json:"passwordExpirationInDays,omitempty"`
	EnableMaxLoginAttempts              bool `json:"enableMaxLoginAttempts"`
	MaxLoginAttempts                    int  `json:"maxLoginAttempts,omitempty"`
}

// SetPolicy replaces the password policy; passwords already set stay.
func (s *Server) SetPolicy(p PasswordPolicy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = p
}

// check names the rules that a password breaks. JumpCloud documents the names
// specialCharacter and passwordHistory; the others are in their manner.
func (p PasswordPolicy) check(pw []byte, u *user) []string {
	var broken []string
	must := func(name string, holds bool) {
		if !holds {
			broken = append(broken, name)
		}
	}
	has := func(is func(rune) bool) bool { return bytes.ContainsFunc(pw, is) }
	symbol := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	must("minLength", !p.EnableMinLength || utf8.RuneCount(pw) >= p.MinLength)
	must("lowercase", !p.NeedsLowercase || has(unicode.IsLower))
	must("uppercase", !p.NeedsUppercase || has(unicode.IsUpper))
	must("number", !p.NeedsNumeric || has(unicode.IsDigit))
	must("specialCharacter", !p.NeedsSymbolic || has(symbol))
	lower := bytes.ToLower(pw)
	defer clear(lower)
	must("username", !p.DisallowUsernameSubstring || !bytes.Contains(lower, bytes.ToLower([]byte(u.text("username")))))
	must("commonlyUsed", !p.DisallowCommonlyUsedPasswords || !common[string(lower)])
	must("sequentialOrRepetitive", !p.DisallowSequentialOrRepetitiveChars || !sequential(pw))
	must("passwordHistory", !p.EnableMaxHistory || !u.usedBefore(pw, p.MaxHistory))
	return broken
}

// common is a handful of the passwords that every list has.
var common = map[string]bool{"password": true, "password1": true, "password1!": true, "passw0rd": true, "p@ssw0rd": true,
	"123456": true, "12345678": true, "123456789": true, "qwerty": true, "qwerty123": true, "letmein": true, "welcome1": true}

// sequential reports three characters in a row that are equal or follow one
// another.
func sequential(pw []byte) bool {
	for i := 2; i < len(pw); i++ {
		a, b := int(pw[i-1])-int(pw[i-2]), int(pw[i])-int(pw[i-1])
		if a == b && a >= -1 && a <= 1 {
			return true
		}
	}
	return false
}

// usedBefore reports whether pw is among the last n passwords.
func (u *user) usedBefore(pw []byte, n int) bool {
	given := secret.New(pw)
	defer given.Wipe()
	for i := len(u.passwords) - 1; i >= max(0, len(u.passwords)-n); i-- {
		if u.passwords[i].Equal(given) {
			return true
		}
	}
	return false
}

// setPassword stores a password that was checked.
func (u *user) setPassword(pw []byte, p PasswordPolicy, now time.Time) {
	u.passwords = append(u.passwords, secret.New(pw))
	if extra := len(u.passwords) - max(1, p.MaxHistory); extra > 0 {
		for _, old := range u.passwords[:extra] {
			old.Wipe()
		}
		u.passwords = append([]secret.Bytes(nil), u.passwords[extra:]...)
	}
	u.doc["activated"], u.doc["password_expired"] = true, false
	u.doc["password_date"], u.doc["password_expiration_date"] = stamp(now), nil
	if p.EnablePasswordExpirationInDays {
		u.doc["password_expiration_date"] = stamp(now.AddDate(0, 0, p.PasswordExpirationInDays))
	}
}

// expired reports whether the password must not be used any more.
func (u *user) expired(now time.Time) bool {
	if u.flag("password_expired") {
		return true
	}
	at, err := time.Parse(time.RFC3339, u.text("password_expiration_date"))
	return err == nil && !u.flag("password_never_expires") && !now.Before(at)
}
