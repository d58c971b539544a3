package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// longestName bounds the names that are kept as they are, in bytes; of a longer
// one a hash is kept.
const longestName = 512

// nameKey is the same for spellings of a bind name (MS-ADTS 5.1.1.1.1) that
// surely are the same account's: case, white space, the escapes of a DN, hex or
// dashes in a GUID or SID. DOMAIN\sam, sam@domain and sam share a key although
// they need not be the same account: sharing a count is the safe side. It is
// never used to say who somebody is.
func nameKey(domain, name string) string {
	form := nameForm(domain, strings.TrimSpace(name))
	if len(form) > longestName {
		sum := sha256.Sum256([]byte(form))
		form = "long:" + string(sum[:])
	}
	return domain + "\x00" + form
}

// formOf is what nameKey leaves out of a logon name: DOMAIN\ or @suffix. Names
// that differ in nothing else share a count, but may be different accounts'; so
// what a DC said to a password under one of them is not said to it under
// another before the DC has said that they are one account's. Empty: the key
// has it all.
func formOf(key, name string) string {
	if _, kind, _ := strings.Cut(key, "\x00"); !strings.HasPrefix(kind, "sam:") {
		return ""
	}
	name = strings.ToLower(strings.TrimSpace(name))
	if before, _, ok := strings.Cut(name, `\`); ok {
		return before + `\`
	}
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		return name[at:]
	}
	return "bare"
}

// isOwnForm reports whether a form is one of the domain itself, which stands for
// the same account as the other own ones once that account is known.
func isOwnForm(domain, form string) bool {
	label, _, _ := strings.Cut(domain, ".")
	return form == "" || form == "bare" || form == label+`\` || form == "@"+label || form == "@"+domain
}

func nameForm(domain, name string) string {
	if form, ok := bracketForm(name); ok {
		return form
	}
	if dn, ok := canonicalDN(name); ok {
		return "dn:" + dn
	}
	name = strings.ToLower(name)
	if strings.HasPrefix(name, "s-1-") {
		return "sid:" + name
	}
	if _, sam, ok := strings.Cut(name, `\`); ok {
		return "sam:" + sam
	}
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		label, _, _ := strings.Cut(domain, ".")
		if suffix := name[at+1:]; suffix == domain || suffix == label {
			return "sam:" + name[:at]
		}
		return "upn:" + name
	}
	if strings.Contains(name, "/") { // a canonical name; the last slash may be a line feed
		return "canonical:" + strings.ReplaceAll(name, "\n", "/")
	}
	return "sam:" + name
}

// bracketForm reads <GUID=...> and <SID=...> (MS-ADTS 3.1.1.3.1.2.4).
func bracketForm(name string) (string, bool) {
	inner, ok := strings.CutPrefix(name, "<")
	if !ok {
		return "", false
	}
	inner, _, _ = strings.Cut(inner, ">")
	kind, value, _ := strings.Cut(strings.ToLower(inner), "=")
	kind, value = strings.TrimSpace(kind), strings.TrimSpace(value)
	raw, err := hex.DecodeString(value)
	switch kind {
	case "guid":
		if g, err := identity.ParseGUID(value); err == nil {
			return guidForm(g), true
		}
		if g, gerr := identity.GUIDFromBytes(raw); err == nil && gerr == nil {
			return guidForm(g), true
		}
	case "sid":
		if sid, ok := sidText(raw); err == nil && ok {
			return "sid:" + strings.ToLower(sid), true
		}
	}
	return kind + ":" + value, true
}

func guidForm(g identity.GUID) string { return "guid:" + g.String() }

// canonicalDN spells a DN (RFC 4514) in one way; false: it is none.
func canonicalDN(name string) (string, bool) {
	var out strings.Builder
	for rest := name; ; {
		kind, after, ok := strings.Cut(rest, "=")
		kind = strings.ToLower(strings.TrimSpace(kind))
		if !ok || kind == "" || strings.ContainsAny(kind, `\@/,;+"<>#`) {
			return "", false
		}
		value, end, ok := dnValue(after)
		if !ok {
			return "", false
		}
		out.WriteString(attributeName(kind))
		out.WriteByte('=')
		out.WriteString(value)
		if end >= len(after) {
			return out.String(), true
		}
		out.WriteByte(0)
		rest = after[end+1:]
	}
}

// dnValue reads an attribute value up to its separator, at end. The result is
// unescaped, in lower case, with single spaces.
func dnValue(text string) (value string, end int, ok bool) {
	if end = strings.IndexAny(text, ",;+\"\\\x00"); end < 0 {
		return plainValue(text), len(text), true
	} else if c := text[end]; c == ',' || c == ';' || c == '+' {
		return plainValue(text[:end]), end, true
	}
	end = 0
	var b []byte
	quoted := false
scan:
	for ; end < len(text); end++ {
		switch c := text[end]; {
		case c == '"':
			quoted = !quoted
		case c == '\\':
			if end+1 >= len(text) {
				return "", 0, false
			}
			if end+2 < len(text) {
				if raw, err := hex.DecodeString(text[end+1 : end+3]); err == nil {
					b = append(b, raw[0])
					end += 2
					continue
				}
			}
			end++
			b = append(b, text[end])
		case !quoted && (c == ',' || c == ';' || c == '+'):
			break scan
		case c != 0:
			b = append(b, c)
		}
	}
	return plainValue(string(b)), end, true
}

// plainValue is a value without escapes in lower case and with single spaces.
func plainValue(value string) string {
	value = strings.ToLower(unwrapHex(strings.TrimSpace(value)))
	if strings.Contains(value, "  ") || strings.ContainsAny(value, "\t\n\v\f\r") {
		return strings.Join(strings.Fields(value), " ")
	}
	return value
}

// unwrapHex reads the form #hex, which holds a BER string.
func unwrapHex(value string) string {
	digits, ok := strings.CutPrefix(value, "#")
	if !ok {
		return value
	}
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) < 2 || raw[1] >= 0x80 || int(raw[1]) != len(raw)-2 {
		return value
	}
	return string(raw[2:])
}

// attributeName is the short name of what DNs in AD consist of.
func attributeName(kind string) string {
	switch strings.TrimPrefix(kind, "oid.") {
	case "2.5.4.3", "commonname":
		return "cn"
	case "2.5.4.11", "organizationalunitname":
		return "ou"
	case "0.9.2342.19200300.100.1.25", "domaincomponent":
		return "dc"
	case "2.5.4.10", "organizationname":
		return "o"
	case "2.5.4.7", "localityname":
		return "l"
	case "2.5.4.6", "countryname":
		return "c"
	case "0.9.2342.19200300.100.1.1", "userid":
		return "uid"
	}
	return kind
}
