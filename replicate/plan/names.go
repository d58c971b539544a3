package plan

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dirgate/dirgate/store/identity"
)

const (
	// maxUserSAM: AD takes up to 20 characters in the sAMAccountName of a user
	// (MS-ADTS 3.1.1.6 and MS-SAMR 3.1.1.6); a group's may be longer, but its
	// name is also a cn.
	maxUserSAM = 20
	maxCN      = 64 // rangeUpper of cn (MS-ADA1 2.110)
	// notInSAM are the characters that no sAMAccountName may have, and @, by
	// which a name could be taken for a userPrincipalName.
	notInSAM = "\"/\\[]:;|=,+*?<>@"
)

// badSAM says why AD would not take a name; empty: it would.
func badSAM(name string, most int) string {
	switch n := utf8.RuneCountInString(name); {
	case strings.TrimSpace(name) == "":
		return "it is empty"
	case n > most:
		return fmt.Sprintf("it has %d characters, and AD takes %d", n, most)
	case strings.HasSuffix(name, "."):
		return "it ends with a dot"
	case strings.TrimSpace(name) != name:
		return "it begins or ends with a space"
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune(notInSAM, r) {
			return fmt.Sprintf("AD allows no %q in it", r)
		}
	}
	return ""
}

// commonNames are the names under which a user may be made, the nicest first.
// The writer escapes them (RFC 4514).
func commonNames(u *identity.User, sam string) (names []string) {
	full := strings.Join(strings.Fields(u.First+" "+u.Last), " ")
	for _, name := range []string{full, full + " (" + sam + ")", sam} {
		if full == "" {
			name = sam
		}
		if utf8.RuneCountInString(name) <= maxCN {
			names = append(names, name)
		}
	}
	return names
}

// rdn is the value of the first RDN of a DN, without the escapes of RFC 4514.
func rdn(dn string) string {
	_, text, _ := strings.Cut(dn, "=")
	if end := strings.IndexAny(text, `,+\`); end < 0 {
		return text
	} else if text[end] != '\\' {
		return text[:end]
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch ch := text[i]; {
		case ch == ',' || ch == '+':
			return b.String()
		case ch != '\\' || i+1 == len(text):
			b.WriteByte(ch)
		case i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			b.WriteByte(unhex(text[i+1])<<4 | unhex(text[i+2]))
			i += 2
		default:
			i++
			b.WriteByte(text[i])
		}
	}
	return b.String()
}

func isHex(ch byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", ch) >= 0 }

func unhex(ch byte) byte {
	switch {
	case ch <= '9':
		return ch - '0'
	case ch <= 'F':
		return ch - 'A' + 10
	}
	return ch - 'a' + 10
}
