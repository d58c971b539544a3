package adsim

import (
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// A name is a parsed distinguished name.
type name struct {
	key    string // to compare: case and spacing folded
	parent string // key of the name above
	attr   string // of the first RDN, in upper case
	value  string // of the first RDN, as written
	above  string // the name above, as written
}

// parseName parses a DN (RFC 4514). AD has no RDNs of several values.
func parseName(dn string) (name, bool) {
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		return name{}, false
	}
	var n name
	keys := make([]string, len(parsed.RDNs))
	texts := make([]string, len(parsed.RDNs))
	for i, rdn := range parsed.RDNs {
		if len(rdn.Attributes) != 1 || rdn.Attributes[0].Value == "" {
			return name{}, false
		}
		a := rdn.Attributes[0]
		keys[i] = strings.ToLower(a.Type) + "=" + ldap.EscapeDN(fold(a.Value))
		texts[i] = strings.ToUpper(a.Type) + "=" + ldap.EscapeDN(a.Value)
	}
	n.key = strings.Join(keys, ",")
	if len(keys) > 0 {
		n.parent = strings.Join(keys[1:], ",")
		n.above = strings.Join(texts[1:], ",")
		n.attr = strings.ToUpper(parsed.RDNs[0].Attributes[0].Type)
		n.value = parsed.RDNs[0].Attributes[0].Value
	}
	return n, true
}

// parentKey is the key of the name above key.
func parentKey(key string) string {
	for i := 0; i < len(key); i++ {
		switch key[i] {
		case '\\':
			i++
		case ',':
			return key[i+1:]
		}
	}
	return ""
}

// within reports whether key is base or below it.
func within(key, base string) bool {
	return key == base || strings.HasSuffix(key, ","+base)
}

// fold makes strings that AD's Unicode syntax takes for equal the same.
func fold(s string) string {
	return strings.Join(strings.Fields(strings.ToLower(s)), " ")
}

// dnsToDN turns corp.example.test into DC=corp,DC=example,DC=test.
func dnsToDN(domain string) string {
	return "DC=" + strings.ReplaceAll(domain, ".", ",DC=")
}
