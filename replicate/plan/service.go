package plan

import (
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// isService is why an account with which dirgate signs in is left alone: a
// JumpCloud user of it would be one nobody needs, and a disabling or a rename
// that came from there would end the replication.
const isService = "dirgate's own service account: not replicated"

// service reports whether an account is one of the domain's two service
// accounts. A link that one has from before stays as it is.
func (s *Settings) service(u *identity.User) bool {
	return s.signsInAs(s.ImportAccount, u) || s.signsInAs(s.SyncAccount, u)
}

// signsInAs reports whether a DC takes a bind name for an account, as far as
// names can tell (MS-ADTS 5.1.1.1.1): a DN, a userPrincipalName, sAMAccountName
// @ the domain, DOMAIN\sAMAccountName, or, since the gateway takes it (rule G3),
// the sAMAccountName alone. Whose domain stands before the backslash is not
// looked at: a namesake that is skipped is told so, and the other mistake would
// be the worse one.
func (s *Settings) signsInAs(name string, u *identity.User) bool {
	if name == "" {
		return false
	}
	if strings.EqualFold(name, u.UPN) || strings.EqualFold(name, u.Username) {
		return true
	}
	if local, domain, ok := strings.Cut(name, "@"); ok && strings.EqualFold(domain, s.Domain) {
		return strings.EqualFold(local, u.Username)
	}
	if strings.Contains(name, "=") { // which no sAMAccountName has
		return sameDN(name, u.DN)
	}
	_, sam, ok := strings.Cut(name, `\`)
	return ok && strings.EqualFold(sam, u.Username)
}

// sameDN compares two spellings of a DN that differ in the case of letters, and
// in spaces around commas and equals signs, at most: RFC 4514 section 2 has none
// there, and DCs take them.
func sameDN(a, b string) bool {
	for more := true; more; {
		var one, other string
		var moreB bool
		one, a, more = cutRDN(a)
		other, b, moreB = cutRDN(b)
		attr, value, _ := strings.Cut(one, "=")
		otherAttr, otherValue, _ := strings.Cut(other, "=")
		if more != moreB || !sameTrimmed(attr, otherAttr) || !sameTrimmed(value, otherValue) {
			return false
		}
	}
	return true
}

func sameTrimmed(a, b string) bool {
	return strings.EqualFold(strings.Trim(a, " "), strings.Trim(b, " "))
}

// cutRDN cuts a DN at its first comma that is not escaped.
func cutRDN(dn string) (rdn, rest string, more bool) {
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',':
			return dn[:i], dn[i+1:], true
		}
	}
	return dn, "", false
}
