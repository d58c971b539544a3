package delegate

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// ADPolicy is the password policy that holds for an account: the domain's, or
// that of its Password Settings Object.
type ADPolicy struct {
	MinLength  int           `json:"minLength"` // characters
	Complexity bool          `json:"complexity"`
	MinAge     time.Duration `json:"-"`
	History    int           `json:"history"` // passwords that may not be used again
	// Whole: everything could be read. Otherwise AD alone knows the rest.
	Whole bool `json:"-"`
}

// CloudPolicy is JumpCloud's. Zero values are rules that are not set.
type CloudPolicy struct {
	MinLength      int  `json:"minLength,omitempty"` // characters
	Lowercase      bool `json:"lowercase,omitempty"`
	Uppercase      bool `json:"uppercase,omitempty"`
	Numeric        bool `json:"numeric,omitempty"`
	Symbolic       bool `json:"symbolic,omitempty"`
	NoUsername     bool `json:"noUsername,omitempty"`
	NoSequences    bool `json:"noSequences,omitempty"`
	DisallowCommon bool `json:"disallowCommon,omitempty"` // which ones JumpCloud alone knows
	History        int  `json:"history,omitempty"`        // passwords; JumpCloud alone knows them
	// MaxTries is how many wrong passwords lock a user (0: none do), and LockTime
	// for how long; 0: not known.
	MaxTries int           `json:"-"`
	LockTime time.Duration `json:"-"`
}

// Policies are the rules that a new password is held against, to be shown
// before it is chosen. A nil side does not take part.
type Policies struct {
	AD        *ADPolicy    `json:"ad,omitempty"`
	JumpCloud *CloudPolicy `json:"jumpcloud,omitempty"`
}

// Names are the names that may not be in a password.
type Names struct{ SAM, Display, CloudUsername string }

// CheckAD holds a password against AD's rules as far as they can be checked
// outside AD: not against the history. set is when the present password was
// set; zero: it may be changed at any time.
//
// Complexity is that of MS-SAMR 3.1.1.7.2: characters of three of the five
// kinds capital letter, small letter, digit, other letter, everything else;
// and neither the account's name, if it has three characters or more, nor a
// part of the display name of three or more. As in Windows that is compared
// without regard to case.
func CheckAD(p ADPolicy, names Names, password secret.Bytes, set, now time.Time) []Violation {
	var out []Violation
	add := func(rule Rule, limit int, format string, args ...any) {
		out = append(out, Violation{Side: identity.AD, Rule: rule, Limit: limit, Text: fmt.Sprintf(format, args...)})
	}
	text := password.Expose()
	if n := utf8.RuneCount(text); n < p.MinLength {
		add(RuleMinLength, p.MinLength, "Use at least %d characters.", p.MinLength)
	}
	if p.Complexity {
		if kinds(text) < 3 {
			add(RuleComplexity, 3, "Mix at least three of these: capital letters, small letters, digits, symbols.")
		}
		if holdsName(text, names) {
			add(RuleNameInside, 0, "Leave your name and your user name out.")
		}
	}
	if wait := p.MinAge - now.Sub(set); p.MinAge > 0 && !set.IsZero() && wait > 0 {
		add(RuleMinAge, int(p.MinAge/time.Second), "The password was changed a short while ago. It can be changed again in %s.", span(wait))
	}
	return out
}

// span is a duration in words, rounded up.
func span(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}} {
		if n := int((d + u.unit - 1) / u.unit); d >= u.unit {
			return plural(n, u.name)
		}
	}
	return plural(int((d+time.Minute-1)/time.Minute), "minute")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// kinds counts the kinds of characters.
func kinds(text []byte) int {
	var seen [5]bool
	for rest := text; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		switch {
		case unicode.IsUpper(r):
			seen[0] = true
		case unicode.IsLower(r):
			seen[1] = true
		case '0' <= r && r <= '9':
			seen[2] = true
		case unicode.IsLetter(r):
			seen[3] = true
		default:
			seen[4] = true
		}
	}
	n := 0
	for _, s := range seen {
		if s {
			n++
		}
	}
	return n
}

// shortestPart is the length from which on a part of a name counts.
const shortestPart = 3

func holdsName(text []byte, names Names) bool {
	parts := strings.FieldsFunc(names.Display, func(r rune) bool { return strings.ContainsRune(",.-_ #\t", r) })
	for _, part := range append(parts, names.SAM) {
		if utf8.RuneCountInString(part) >= shortestPart && containsFold(text, part) {
			return true
		}
	}
	return false
}

// containsFold compares without regard to case, and leaves no copy of text.
func containsFold(text []byte, part string) bool {
	for i := range text {
		if end := i + len(part); end <= len(text) && bytes.EqualFold(text[i:end], []byte(part)) {
			return true
		}
	}
	return false
}

// CheckCloud holds a password against JumpCloud's rules, as far as they can be
// checked outside JumpCloud.
func CheckCloud(p CloudPolicy, names Names, password secret.Bytes) []Violation {
	var out []Violation
	add := func(broken bool, rule Rule, limit int, text string) {
		if broken {
			out = append(out, Violation{Side: identity.JumpCloud, Rule: rule, Limit: limit, Text: text})
		}
	}
	text := password.Expose()
	has := func(of func(rune) bool) bool {
		for rest := text; len(rest) > 0; {
			r, size := utf8.DecodeRune(rest)
			if of(r) {
				return true
			}
			rest = rest[size:]
		}
		return false
	}
	symbol := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	add(utf8.RuneCount(text) < p.MinLength, RuleMinLength, p.MinLength, fmt.Sprintf("Use at least %d characters.", p.MinLength))
	add(p.Lowercase && !has(unicode.IsLower), RuleLowercase, 0, "Use a small letter.")
	add(p.Uppercase && !has(unicode.IsUpper), RuleUppercase, 0, "Use a capital letter.")
	add(p.Numeric && !has(unicode.IsDigit), RuleNumeric, 0, "Use a digit.")
	add(p.Symbolic && !has(symbol), RuleSymbolic, 0, "Use a symbol, such as ! or -.")
	add(p.NoUsername && names.CloudUsername != "" && containsFold(text, names.CloudUsername), RuleNameInside, 0, "Leave your user name out.")
	add(p.NoSequences && sequential(text), RuleSequential, 0, "Leave out sequences such as abc or 123 and repetitions such as aaa.")
	return out
}

// sequential finds three characters in a row that repeat, rise or fall by one.
func sequential(text []byte) bool {
	for i := 2; i < len(text); i++ {
		a, b, c := int(text[i-2]), int(text[i-1]), int(text[i])
		if step := b - a; c-b == step && -1 <= step && step <= 1 && a < utf8.RuneSelf && b < utf8.RuneSelf && c < utf8.RuneSelf {
			return true
		}
	}
	return false
}

// checkForm holds a password against what no directory can take.
func checkForm(password secret.Bytes) []Violation {
	text := password.Expose()
	switch {
	case len(text) > MaxPassword || units(text) > maxADPassword:
		return []Violation{{Side: identity.AD, Rule: RuleMaxLength, Limit: maxADPassword, Text: fmt.Sprintf("Use at most %d characters.", maxADPassword)}}
	case !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0:
		return []Violation{{Side: identity.AD, Rule: RuleCharacters, Text: "Leave out characters that are not text."}}
	}
	return nil
}

// units is how long a text is in UTF-16, in which characters beyond the Basic
// Multilingual Plane, such as emoji, count twice.
func units(text []byte) int {
	n := 0
	for rest := text; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		n += max(1, utf16.RuneLen(r))
	}
	return n
}

// maxADPassword is how long a password of AD may be, in UTF-16 units
// (MS-SAMR 2.2.6.21: 256).
const maxADPassword = 256
