package adsim

import (
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Policy is the domain's password and lockout policy. The zero Policy means
// [DefaultPolicy].
type Policy struct {
	MinLength        int // characters
	History          int // earlier passwords that cannot be used again
	MinAge           time.Duration
	MaxAge           time.Duration // 0: passwords do not expire
	Complexity       bool
	LockoutThreshold int           // wrong passwords; 0: no lockout
	LockoutDuration  time.Duration // 0: until it is unlocked
	LockoutWindow    time.Duration // after which wrong passwords are forgotten
}

// DefaultPolicy is that of a new domain, but for the minimum age, which is a
// day there.
func DefaultPolicy() Policy {
	return Policy{MinLength: 7, History: 24, MaxAge: 42 * 24 * time.Hour, Complexity: true,
		LockoutDuration: 30 * time.Minute, LockoutWindow: 30 * time.Minute}
}

// store writes the policy to the head of the domain, where it lives.
func (p Policy) store(head *entry) {
	head.setNum("minPwdLength", int64(p.MinLength))
	head.setNum("pwdHistoryLength", int64(p.History))
	head.setNum("minPwdAge", interval(p.MinAge))
	head.setNum("maxPwdAge", interval(p.MaxAge))
	if p.MaxAge == 0 {
		head.setNum("maxPwdAge", math.MinInt64)
	}
	head.setNum("pwdProperties", 0)
	if p.Complexity {
		head.setNum("pwdProperties", 1)
	}
	head.setNum("lockoutThreshold", int64(p.LockoutThreshold))
	head.setNum("lockoutDuration", interval(p.LockoutDuration))
	if p.LockoutDuration == 0 {
		head.setNum("lockoutDuration", math.MinInt64)
	}
	head.setNum("lockOutObservationWindow", interval(p.LockoutWindow))
}

// interval is a duration as AD stores it: negative, in 100 ns.
func interval(d time.Duration) int64 { return -int64(d / 100) }

// policy reads the policy in force.
func (d *Directory) policy() Policy {
	head := d.head()
	return Policy{
		MinLength: int(head.num("minPwdLength")), History: int(head.num("pwdHistoryLength")),
		MinAge: duration(head.num("minPwdAge")), MaxAge: duration(head.num("maxPwdAge")),
		Complexity:       head.num("pwdProperties")&1 != 0,
		LockoutThreshold: int(head.num("lockoutThreshold")), LockoutDuration: duration(head.num("lockoutDuration")),
		LockoutWindow: duration(head.num("lockOutObservationWindow")),
	}
}

// duration is the reverse of interval. What is too long for Go counts as
// unlimited, 0.
func duration(n int64) time.Duration {
	if n >= 0 || n < -math.MaxInt64/100 {
		return 0
	}
	return time.Duration(-n * 100)
}

// permits checks length and complexity (MS-SAMR 3.1.1.7.1, 3.1.1.7.2).
func (p Policy) permits(password []byte, account, display string) bool {
	if utf8.RuneCount(password) < p.MinLength {
		return false
	}
	if !p.Complexity {
		return true
	}
	var upper, lower, digit, symbol, other bool
	for _, r := range string(password) {
		switch {
		case unicode.IsUpper(r):
			upper = true
		case unicode.IsLower(r):
			lower = true
		case r >= '0' && r <= '9':
			digit = true
		case unicode.IsLetter(r):
			other = true
		default:
			symbol = true
		}
	}
	kinds := 0
	for _, has := range []bool{upper, lower, digit, symbol, other} {
		if has {
			kinds++
		}
	}
	return kinds >= 3 && !containsName(string(password), account, display)
}

// containsName reports whether the password contains the account name, or a
// part of the display name; names shorter than three characters do not count.
func containsName(password, account, display string) bool {
	password = strings.ToLower(password)
	parts := strings.FieldsFunc(display, func(r rune) bool { return strings.ContainsRune(",.-_ #\t", r) })
	for _, part := range append(parts, account) {
		if utf8.RuneCountInString(part) >= 3 && strings.Contains(password, strings.ToLower(part)) {
			return true
		}
	}
	return false
}
