package delegate

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dirgate/dirgate/store/identity"
)

// nameKind is the form of a name.
type nameKind int

const (
	nameSAM  nameKind = iota // sAMAccountName, or JumpCloud's username
	nameMail                 // userPrincipalName or mail address
	nameDN
	nameCloud // of a DN in JumpCloud's LDAP
	nameGUID  // the DN <GUID=objectGUID> (MS-ADTS 3.1.1.3.1.2.4)
)

// name is a name as a user writes it, by its form.
type name struct {
	kind   nameKind
	domain string // NetBIOS or DNS name; empty: not said
	text   string
}

// parseName reads a name; false: it is nobody's.
func parseName(text string) (name, bool) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > MaxDN || len(text) > MaxName && !strings.Contains(text, "=") || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return name{}, false
	}
	if domain, sam, ok := strings.Cut(text, `\`); ok && !strings.Contains(domain, "=") {
		return name{kind: nameSAM, domain: domain, text: sam}, domain != "" && sam != ""
	}
	if strings.Contains(text, "=") {
		if uid, ok := cloudUID(text); ok {
			return name{kind: nameCloud, text: uid}, uid != ""
		}
		if hex, ok := strings.CutPrefix(strings.ToUpper(text), "<GUID="); ok {
			guid, err := identity.ParseGUID(strings.ToLower(strings.TrimSuffix(hex, ">")))
			return name{kind: nameGUID, text: guid.String()}, err == nil
		}
		return name{kind: nameDN, text: text}, true
	}
	if local, suffix, ok := strings.Cut(text, "@"); ok {
		return name{kind: nameMail, text: text}, local != "" && suffix != ""
	}
	return name{kind: nameSAM, text: text}, true
}

// cloudUID is NAME of uid=NAME,ou=Users,o=ORG,dc=jumpcloud,dc=com. JumpCloud's
// usernames need no escapes.
func cloudUID(dn string) (string, bool) {
	lower := strings.ToLower(strings.ReplaceAll(dn, " ", ""))
	if !strings.HasPrefix(lower, "uid=") || !strings.HasSuffix(lower, ",dc=jumpcloud,dc=com") {
		return "", false
	}
	uid, rest, _ := strings.Cut(lower[len("uid="):], ",")
	return uid, strings.HasPrefix(rest, "ou=users,o=") && !strings.ContainsAny(uid, `\"+`)
}

// keyIn is the same for the spellings of one name in a domain, for the throttle:
// NAME, DOMAIN\NAME and NAME@domain are one, as those of an account are.
func (n name) keyIn(domain string) string {
	text := n.text
	if local, suffix, ok := strings.Cut(text, "@"); ok && n.kind == nameMail && strings.EqualFold(suffix, domain) {
		text = local
	}
	return strings.ToLower(domain + "\x00" + text)
}
