package ad

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// Attribute is an attribute with the values it is to have; none: it is removed.
type Attribute struct {
	Name   string
	Values []string
	// Was, if it is not nil, is what the attribute had for all that is known;
	// empty: nothing. An account that has something else, and not Values, is not
	// written.
	Was *string
}

// mayWrite refuses attributes that a Writer does not write, and values that
// are none.
func (w *Writer) mayWrite(attrs []Attribute) error {
	seen := make(map[string]bool)
	for _, a := range attrs {
		name := strings.ToLower(a.Name)
		switch {
		case !w.may[name]:
			return fmt.Errorf("%w: sync does not write the attribute %q of a user; take it out of the translation rules", ErrName, a.Name)
		case seen[name]:
			return fmt.Errorf("%w: the attribute %q is given twice", ErrName, a.Name)
		}
		seen[name] = true
		for _, v := range a.Values {
			if v == "" || !utf8.ValidString(v) {
				return fmt.Errorf("%w: a value of the attribute %q is empty or no UTF-8", ErrName, a.Name)
			}
		}
	}
	return nil
}

// Bounds of the schema: sAMAccountName of a user as logon allows it (MS-SAMR
// 3.1.1.8.4 has 20), of a group, and cn.
const (
	maxUserName  = 20
	maxGroupName = 256
	maxCN        = 64
)

// checkAccountName refuses what cannot be a sAMAccountName (MS-SAMR
// 3.1.1.6, "account name" constraints).
func checkAccountName(name string, most int) error {
	switch {
	case name == "" || !utf8.ValidString(name):
		return fmt.Errorf("%w: an empty sAMAccountName, or no UTF-8", ErrName)
	case utf8.RuneCountInString(name) > most:
		return fmt.Errorf("%w: %q has %d characters; a sAMAccountName has %d at most", ErrName, name, utf8.RuneCountInString(name), most)
	case strings.ContainsAny(name, `"/\[]:;|=,+*?<>`) || most == maxUserName && strings.Contains(name, "@") || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf(`%w: %q; a sAMAccountName has none of " / \ [ ] : ; | = , + * ? < >, no @ for a user, and no control characters`, ErrName, name)
	case strings.HasSuffix(name, ".") || strings.TrimSpace(name) != name:
		return fmt.Errorf("%w: %q; a sAMAccountName does not end with a dot, and has no space at either end", ErrName, name)
	}
	return nil
}

// commonNames are the names that a new entry is tried with, one after the
// other: the first may be taken by another entry of the container.
func commonNames(cn, username string) []string {
	cn = strings.Join(strings.FieldsFunc(cn, unicode.IsControl), " ")
	if strings.TrimSpace(cn) == "" {
		return []string{username}
	}
	suffix := " (" + username + ")"
	names := []string{cut(cn, maxCN)}
	if utf8.RuneCountInString(suffix) < maxCN {
		names = append(names, strings.TrimRight(cut(cn, maxCN-utf8.RuneCountInString(suffix)), " ")+suffix)
	}
	return names
}

// cut shortens a name to a number of characters.
func cut(name string, most int) string {
	runes := []rune(name)
	return string(runes[:min(len(runes), most)])
}

// rdn is a relative distinguished name (RFC 4514 section 2.4). An equals sign
// need not be escaped, but Samba takes it for the next name otherwise.
func rdn(cn string) string { return "CN=" + strings.ReplaceAll(ldap.EscapeDN(cn), "=", `\=`) }

// rdnValue is the value of the first RDN of a DN.
func rdnValue(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 || len(parsed.RDNs[0].Attributes) == 0 {
		return ""
	}
	return parsed.RDNs[0].Attributes[0].Value
}
