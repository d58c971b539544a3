package ldapwire

import (
	"bytes"
	"testing"
)

// The workloads are those of a busy application: a search for one user by name
// and its answer of six attributes, a login, and a password change.
func benchSearch() []byte {
	eq := appendElement(nil, tagOctets, "sAMAccountName")
	eq = enclose(appendElement(eq, tagOctets, "jdoe"), 0, 0xa3)
	class := appendElement(nil, tagOctets, "objectClass")
	class = enclose(appendElement(class, tagOctets, "user"), 0, 0xa3)
	return AppendSearchRequest(nil, 42, SearchParams{BaseDN: "dc=example,dc=com", Scope: ScopeSubtree, SizeLimit: 2,
		Filter:     enclose(append(eq, class...), 0, 0xa0),
		Attributes: []string{"cn", "sn", "givenName", "mail", "memberOf", "objectGUID"}})
}

func benchEntry() []byte {
	one := func(v string) [][]byte { return [][]byte{[]byte(v)} }
	return AppendSearchEntry(nil, 42, "CN=John Doe,OU=Users,DC=example,DC=com", []AttributeValues{
		{"cn", one("John Doe")}, {"sn", one("Doe")}, {"givenName", one("John")}, {"mail", one("jdoe@example.com")},
		{"memberOf", append(one("CN=Staff,OU=Groups,DC=example,DC=com"), one("CN=VPN,OU=Groups,DC=example,DC=com")...)},
		{"objectGUID", one("0123456789abcdef")}})
}

func benchModify() []byte {
	return AppendModifyRequest(nil, 42, "CN=John Doe,OU=Users,DC=example,DC=com",
		Mod{ModDelete, "unicodePwd", [][]byte{utf16le(`"Old-Passw0rd"`)}},
		Mod{ModAdd, "unicodePwd", [][]byte{utf16le(`"New-Passw0rd"`)}})
}

// hot are the functions that run for every message, or every message of a kind;
// none of them may allocate.
func hot(t testing.TB) map[string]func() error {
	search, entry, modify := benchSearch(), benchEntry(), benchModify()
	bind := AppendBindRequest(nil, 42, "CN=John Doe,OU=Users,DC=example,DC=com", []byte("Old-Passw0rd"))
	done := AppendSearchDone(nil, 42, ResultSuccess, "", "")
	refused := AppendResult(nil, 42, OpBindResponse, ResultInvalidCredentials, "",
		"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v4563\x00")
	withControls, _ := ParseMessage(search)
	controls, err := ParseMessage(AppendWithControls(nil, withControls, Control{OID: []byte(OIDControlPagedResults), HasValue: true}))
	if err != nil {
		t.Fatal(err)
	}
	searchBody, entryBody := body(t, search, OpSearchRequest), body(t, entry, OpSearchResultEntry)
	modifyBody, bindBody := body(t, modify, OpModifyRequest), body(t, bind, OpBindRequest)
	doneBody, refusedBody := body(t, done, OpSearchResultDone), body(t, refused, OpBindResponse)
	ext := body(t, AppendExtendedRequest(nil, 42, OIDWhoAmI, nil, false), OpExtendedRequest)
	buf := make([]byte, 0, 4096)
	return map[string]func() error{
		"FrameSize":              func() error { _, err := FrameSize(search, DefaultMaxMessage); return err },
		"ParseMessage search":    func() error { _, err := ParseMessage(search); return err },
		"ParseMessage done":      func() error { _, err := ParseMessage(done); return err },
		"CheckDepth search":      func() error { return CheckDepth(search, 0) },
		"CheckDepth entry":       func() error { return CheckDepth(entry, 0) },
		"CheckDepth done":        func() error { return CheckDepth(done, 0) },
		"ParseResult":            func() error { _, err := ParseResult(doneBody); return err },
		"ParseSearchRequest":     func() error { _, err := ParseSearchRequest(searchBody); return err },
		"ParseBindRequest":       func() error { _, err := ParseBindRequest(bindBody); return err },
		"ParseExtendedRequest":   func() error { _, err := ParseExtendedRequest(ext); return err },
		"ControlList":            func() error { _, err := controls.ControlList(); return err },
		"modify to unicodePwd":   func() error { return walkModify(modifyBody) },
		"walk search entry":      func() error { return walkEntry(entryBody) },
		"refused bind, sub-code": func() error { return subCode(refusedBody) },
		"AppendResult": func() error {
			buf = AppendResult(buf[:0], 42, OpModifyResponse, ResultUnavailable, "", "no domain controller can be reached")
			return nil
		},
		"AppendSearchRequest": func() error {
			buf = AppendSearchRequest(buf[:0], 42, SearchParams{BaseDN: "", Attributes: benchAttributes})
			return nil
		},
	}
}

var benchAttributes = []string{"objectGUID", "sAMAccountName", "pwdLastSet"}

func walkModify(body []byte) error {
	m, err := ParseModifyRequest(body)
	for mod, ok := m.Next(); ok; mod, ok = m.Next() {
		if !IsAttr(mod.Type, AttrUnicodePwd) || IsAttr(mod.Type, AttrUserPassword) {
			return ErrMalformed
		}
		for _, ok := mod.Values.Next(); ok; _, ok = mod.Values.Next() {
		}
	}
	return err
}

func walkEntry(body []byte) error {
	e, err := ParseSearchEntry(body)
	for a, ok := e.Next(); ok; a, ok = e.Next() {
		for _, ok := a.Values.Next(); ok; _, ok = a.Values.Next() {
		}
	}
	return err
}

func subCode(body []byte) error {
	r, err := ParseResult(body)
	if code, ok := SubCode(r.Diagnostic); !ok || code != 0x52e {
		return ErrMalformed
	}
	return err
}

func TestG10_NoAllocations(t *testing.T) {
	for name, f := range hot(t) {
		t.Run(name, func(t *testing.T) {
			if err := f(); err != nil {
				t.Fatal(err)
			}
			if got := testing.AllocsPerRun(100, func() { _ = f() }); got != 0 {
				t.Errorf("%v allocations", got)
			}
		})
	}
}

func BenchmarkHot(b *testing.B) {
	for name, f := range hot(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = f()
			}
		})
	}
}

// BenchmarkReader reads search entries with everything the reader does to each:
// framing, envelope, nesting, clearing.
func BenchmarkReader(b *testing.B) {
	rd := NewReader(&loopReader{page: bytes.Repeat(benchEntry(), 100)}, DefaultMaxMessage)
	b.ReportAllocs()
	b.SetBytes(int64(len(benchEntry())))
	for b.Loop() {
		if _, err := rd.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeUnicodePwd(b *testing.B) {
	value := utf16le(`"New-Passw0rd"`)
	b.ReportAllocs()
	for b.Loop() {
		pw, err := DecodeUnicodePwd(value)
		if err != nil {
			b.Fatal(err)
		}
		pw.Wipe()
	}
}
