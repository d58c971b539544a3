package gateway

import (
	"bytes"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

func TestAsksRootDSE(t *testing.T) {
	body := func(p ldapwire.SearchParams) []byte {
		msg, err := ldapwire.ParseMessage(ldapwire.AppendSearchRequest(nil, 1, p))
		if err != nil {
			t.Fatal(err)
		}
		return msg.Body
	}
	root := body(ldapwire.SearchParams{})
	wide := append([]byte{4, 0x84, 0, 0, 0, 0}, root[2:]...)
	for name, tt := range map[string]struct {
		body []byte
		want bool
	}{
		"root DSE":                {root, true},
		"as Windows writes it":    {wide, true},
		"one length octet":        {append([]byte{4, 0x81, 0}, root[2:]...), true},
		"whole tree":              {body(ldapwire.SearchParams{Scope: ldapwire.ScopeSubtree}), false},
		"an entry":                {body(ldapwire.SearchParams{BaseDN: aliceDN}), false},
		"an entry, wide":          {append([]byte{4, 0x84, 0, 0, 0, 1, 'x'}, root[2:]...), false},
		"a long DN":               {body(ldapwire.SearchParams{BaseDN: strings.Repeat("x", 300)}), false},
		"nothing":                 {nil, false},
		"cut short":               {[]byte{4, 0x84, 0, 0}, false},
		"malformed":               {[]byte{4, 0, 10, 1}, false},
		"five length octets":      {append([]byte{4, 0x85, 0, 0, 0, 0, 0}, root[2:]...), false},
		"a DN of indefinite size": {append([]byte{4, 0x80}, root[2:]...), false},
	} {
		if got := asksRootDSE(tt.body); got != tt.want {
			t.Errorf("%s: got %t, want %t", name, got, tt.want)
		}
	}
	ordinary := body(ldapwire.SearchParams{BaseDN: aliceDN})
	if n := testing.AllocsPerRun(100, func() { asksRootDSE(ordinary) }); n != 0 {
		t.Errorf("%v allocations for a search that is not the root DSE's, want none", n)
	}
}

// TestG4_RootDSE holds what the answer offers, by what was asked and what the
// DC has.
func TestG4_RootDSE(t *testing.T) {
	const rfc3062 = ldapwire.OIDPasswordModify
	full := []ldapwire.AttributeValues{
		attrOf("supportedLDAPVersion", "3", "2"),
		attrOf("supportedSASLMechanisms", "GSSAPI", "GSS-SPNEGO"),
		attrOf("supportedExtension", ldapwire.OIDStartTLS, ldapwire.OIDFastBind, ldapwire.OIDBatchRequest, ldapwire.OIDWhoAmI),
		attrOf("dnsHostName", "dc1"),
	}
	short := []ldapwire.AttributeValues{attrOf("dnsHostName", "dc1"), attrOf("SUPPORTEDSASLMECHANISMS", "GSSAPI")}
	const offered = "supportedExtension=" + ldapwire.OIDStartTLS + "=" + ldapwire.OIDWhoAmI
	for _, tt := range []struct {
		name      string
		asked     []string
		typesOnly bool
		off       bool
		has       []ldapwire.AttributeValues
		want      string
	}{
		{"everything", []string{"*", "+"}, false, false, full, "supportedLDAPVersion=3=2 " + offered + "=" + rfc3062 + " dnsHostName=dc1"},
		{"translation is off", []string{"*", "+"}, false, true, full, "supportedLDAPVersion=3=2 " + offered + " dnsHostName=dc1"},
		{"nothing named, the DC has it", nil, false, false, full, "supportedLDAPVersion=3=2 " + offered + "=" + rfc3062 + " dnsHostName=dc1"},
		{"nothing named, the DC has it not", nil, false, false, short, "dnsHostName=dc1"},
		{"by name, the DC has it not", []string{"SUPPORTEDextension"}, false, false, short[:1], "dnsHostName=dc1 supportedExtension=" + rfc3062},
		{"by OID, the DC has it not", []string{"1.3.6.1.4.1.1466.101.120.7"}, false, false, short[:1], "dnsHostName=dc1 supportedExtension=" + rfc3062},
		{"operational ones, the DC has it not", []string{"+"}, false, false, short, "dnsHostName=dc1 supportedExtension=" + rfc3062},
		{"operational ones, off", []string{"+"}, false, true, short, "dnsHostName=dc1"},
		{"others", []string{"dnsHostName"}, false, false, short[:1], "dnsHostName=dc1"},
		{"types only", []string{"+"}, true, false, []ldapwire.AttributeValues{attrOf("dnsHostName"), attrOf("supportedExtension"), attrOf("supportedSASLMechanisms")}, "dnsHostName supportedExtension"},
		{"types only, the DC has it not", []string{"+"}, true, false, []ldapwire.AttributeValues{attrOf("dnsHostName")}, "dnsHostName supportedExtension"},
		{"only what is taken out", []string{"+"}, false, true, []ldapwire.AttributeValues{attrOf("supportedExtension", ldapwire.OIDFastBind)}, ""},
		{"the DC has RFC 3062 itself", []string{"+"}, false, false, []ldapwire.AttributeValues{attrOf("supportedExtension", rfc3062)}, "supportedExtension=" + rfc3062},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := newRig(t, func(p *peer) {
				for msg := range p.requests() {
					p.send(ldapwire.AppendSearchEntry(nil, msg.ID, "", tt.has), ldapwire.AppendSearchDone(nil, msg.ID, 0, "", ""))
				}
			}, func(c *Config) { c.NoPasswordTranslation = tt.off })
			c := r.dial()
			c.send(ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{Attributes: tt.asked, TypesOnly: tt.typesOnly}))
			entry := c.want(ldapwire.OpSearchResultEntry)
			if got := entryText(t, entry); entry.ID != 2 || got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			c.wantResult(ldapwire.OpSearchResultDone, 2, ldapwire.ResultSuccess)
		})
	}
}

// TestG1_RootDSEUntouched: an answer with nothing to correct stays as it is,
// whatever lengths it is written with.
func TestG1_RootDSEUntouched(t *testing.T) {
	entry := []byte{0x30, 0x84, 0, 0, 0, 17, 2, 1, 2, byte(ldapwire.OpSearchResultEntry), 0x84, 0, 0, 0, 8, 4, 0, 0x30, 0x84, 0, 0, 0, 0}
	msg, err := ldapwire.ParseMessage(entry)
	if err != nil {
		t.Fatal(err)
	}
	if got := (rootDSEEdit{passwordModify: true}).rewrite(msg); !bytes.Equal(got, entry) {
		t.Errorf("got %x, want %x", got, entry)
	}
	if got := (rootDSEEdit{passwordModify: true, asked: true}).rewrite(msg); !bytes.Contains(got, []byte(ldapwire.OIDPasswordModify)) {
		t.Errorf("got %x, want the OID in it", got)
	}
}

// TestG1_OtherEntriesAreNotRewritten: an entry below the root may have
// attributes of these names.
func TestG1_OtherEntriesAreNotRewritten(t *testing.T) {
	entry := ldapwire.AppendSearchEntry(nil, 2, aliceDN, []ldapwire.AttributeValues{attrOf("supportedSASLMechanisms", "GSSAPI"), attrOf("supportedExtension", ldapwire.OIDFastBind)})
	r, _ := newRig(t, func(p *peer) {
		if msg, err := p.read(); err == nil {
			p.send(entry, ldapwire.AppendSearchDone(nil, msg.ID, 0, "", ""))
			_, _ = p.read()
		}
	})
	c := r.dial()
	c.send(ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{BaseDN: aliceDN, Attributes: []string{"+"}}))
	if msg := c.want(ldapwire.OpSearchResultEntry); !bytes.Equal(msg.Raw, entry) {
		t.Errorf("got %x, want %x", msg.Raw, entry)
	}
}

func attrOf(name string, values ...string) ldapwire.AttributeValues {
	return ldapwire.AttributeValues{Type: name, Values: modOf(0, name, values...).Values}
}

func entryText(tb testing.TB, msg ldapwire.Message) string {
	tb.Helper()
	entry, err := ldapwire.ParseSearchEntry(msg.Body)
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for attr, ok := entry.Next(); ok; attr, ok = entry.Next() {
		line := string(attr.Type)
		for v, ok := attr.Values.Next(); ok; v, ok = attr.Values.Next() {
			line += "=" + string(v)
		}
		out = append(out, line)
	}
	return strings.Join(out, " ")
}

// FuzzRootDSE: whatever a DC answers, what is sent on is a message that can
// be read if the DC's could, under the same ID, and offers no SASL.
func FuzzRootDSE(f *testing.F) {
	f.Add(ldapwire.AppendSearchEntry(nil, 5, "", []ldapwire.AttributeValues{attrOf("supportedExtension", ldapwire.OIDFastBind), attrOf("supportedSASLMechanisms", "GSSAPI")}), true, true)
	f.Add(ldapwire.AppendSearchEntry(nil, 5, "", nil), true, false)
	f.Add(ldapwire.AppendSearchDone(nil, 5, 0, "", ""), false, false)
	f.Fuzz(func(t *testing.T, frame []byte, asked, typesOnly bool) {
		msg, err := ldapwire.ParseMessage(frame)
		if err != nil {
			return
		}
		got, err := ldapwire.ParseMessage(rootDSEEdit{asked: asked, typesOnly: typesOnly, passwordModify: true}.rewrite(msg))
		if err != nil || got.ID != msg.ID || got.Op != msg.Op {
			t.Fatalf("%v became %v, %v", msg, got, err)
		}
		if _, err := ldapwire.ParseSearchEntry(msg.Body); err != nil || msg.Op != ldapwire.OpSearchResultEntry {
			if !bytes.Equal(got.Raw, frame) {
				t.Fatal("what is no entry was changed")
			}
			return
		}
		entry, err := ldapwire.ParseSearchEntry(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		for attr, ok := entry.Next(); ok; attr, ok = entry.Next() {
			if ldapwire.IsAttr(attr.Type, ldapwire.AttrSupportedSASLMechanisms) {
				t.Fatal("SASL is offered")
			}
		}
	})
}
