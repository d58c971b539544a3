package ldapwire

import (
	"bytes"
	"testing"
)

func TestParseBindRequest(t *testing.T) {
	tests := []struct {
		name, in     string
		version      int
		dn           string
		auth         AuthChoice
		mechanism    string
		password     string
		credentials  string
		hasCreds     bool
		empty, isNUL bool
	}{
		{name: "anonymous", in: "02 01 03 04 00 80 00", version: 3, auth: AuthSimple, empty: true},
		{name: "unauthenticated", in: "02 01 03 04 04 63 6e 3d 78 80 00", version: 3, dn: "cn=x", auth: AuthSimple, empty: true},
		{name: "simple", in: "02 01 03 04 04 63 6e 3d 78 80 02 70 77", version: 3, dn: "cn=x", auth: AuthSimple, password: "pw"},
		{name: "long lengths", in: "02 84 00000001 03 04 84 00000004 63 6e 3d 78 80 84 00000002 70 77",
			version: 3, dn: "cn=x", auth: AuthSimple, password: "pw"},
		{name: "NUL in the password", in: "02 01 03 04 01 78 80 04 70 77 00 78",
			version: 3, dn: "x", auth: AuthSimple, password: "pw\x00x", isNUL: true},
		{name: "version 2", in: "02 01 02 04 00 80 00", version: 2, auth: AuthSimple, empty: true},
		{name: "SASL without credentials", in: "02 01 03 04 00 a3 0a 04 08 45 58 54 45 52 4e 41 4c",
			version: 3, auth: AuthSASL, mechanism: "EXTERNAL"},
		{name: "SASL with empty credentials", in: "02 01 03 04 00 a3 0c 04 08 45 58 54 45 52 4e 41 4c 04 00",
			version: 3, auth: AuthSASL, mechanism: "EXTERNAL", hasCreds: true},
		{name: "SASL PLAIN", in: "02 01 03 04 00 a3 0d 04 05 50 4c 41 49 4e 04 04 00 75 00 70",
			version: 3, auth: AuthSASL, mechanism: "PLAIN", credentials: "\x00u\x00p", hasCreds: true},
		{name: "Sicily discovery", in: "02 01 03 04 00 89 00", version: 3, auth: 0x89},
		{name: "Sicily negotiation", in: "02 01 03 04 00 8a 02 70 77", version: 3, auth: 0x8a},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := unhex(t, tt.in)
			b, err := ParseBindRequest(in)
			if err != nil {
				t.Fatal(err)
			}
			if b.Version != tt.version || string(b.Name) != tt.dn || b.Auth != tt.auth ||
				string(b.Mechanism) != tt.mechanism || b.HasCredentials != tt.hasCreds {
				t.Errorf("got %+v", b)
			}
			if got := string(b.Password(in).Expose()); got != tt.password {
				t.Errorf("Password = %q, want %q", got, tt.password)
			}
			if got := string(b.Credentials(in).Expose()); got != tt.credentials {
				t.Errorf("Credentials = %q, want %q", got, tt.credentials)
			}
			if b.PasswordEmpty() != tt.empty || b.PasswordHasNUL(in) != tt.isNUL {
				t.Errorf("PasswordEmpty = %t, PasswordHasNUL = %t", b.PasswordEmpty(), b.PasswordHasNUL(in))
			}
			if got := b.Password(nil); tt.password != "" && !got.IsEmpty() {
				t.Error("Password of another body is not empty")
			}
		})
	}
}

// TestG2_PasswordIsACopy checks that a wiped or overwritten message does not
// change the password taken from it, nor the other way round.
func TestG2_PasswordIsACopy(t *testing.T) {
	in := body(t, AppendBindRequest(nil, 1, "cn=x", []byte("pw")), OpBindRequest)
	b, err := ParseBindRequest(in)
	if err != nil {
		t.Fatal(err)
	}
	pw := b.Password(in)
	clear(in)
	if got := string(pw.Expose()); got != "pw" {
		t.Errorf("after the message was cleared: %q", got)
	}
}

func TestRequestsRefused(t *testing.T) {
	bind := func(b []byte) error { _, err := ParseBindRequest(b); return err }
	modify := func(b []byte) error { _, err := ParseModifyRequest(b); return err }
	add := func(b []byte) error { _, err := ParseAddRequest(b); return err }
	search := func(b []byte) error { _, err := ParseSearchRequest(b); return err }
	ext := func(b []byte) error { _, err := ParseExtendedRequest(b); return err }
	compare := func(b []byte) error { _, err := ParseCompareRequest(b); return err }
	modifyDN := func(b []byte) error { _, err := ParseModifyDNRequest(b); return err }
	abandon := func(b []byte) error { _, err := ParseAbandonRequest(b); return err }
	cancel := func(b []byte) error { _, err := ParseCancelValue(b); return err }
	passwd := func(b []byte) error { _, err := ParsePasswdModifyValue(b); return err }
	controls := func(b []byte) error { _, err := Message{Controls: b}.ControlList(); return err }
	tests := []struct {
		name  string
		parse func([]byte) error
		in    string
	}{
		{"bind: nothing", bind, ""},
		{"bind: no credentials", bind, "02 01 03 04 00"},
		{"bind: two passwords", bind, "02 01 03 04 00 80 01 41 80 01 42"},
		{"bind: password and SASL", bind, "02 01 03 04 00 80 01 41 a3 02 04 00"},
		{"bind: constructed name", bind, "02 01 03 24 03 04 01 41 80 01 41"},
		{"bind: constructed password is another choice, universal is none", bind, "02 01 03 04 00 04 01 41"},
		{"bind: password longer than the body", bind, "02 01 03 04 00 80 02 41"},
		{"bind: negative version", bind, "02 01 ff 04 00 80 00"},
		{"bind: SASL without a mechanism", bind, "02 01 03 04 00 a3 00"},
		{"bind: SASL with a second set of credentials", bind, "02 01 03 04 00 a3 06 04 00 04 00 04 00"},
		{"modify: nothing", modify, ""},
		{"modify: no list", modify, "04 00"},
		{"modify: list of values", modify, "04 00 30 02 04 00"},
		{"modify: no operation", modify, "04 00 30 08 30 06 30 04 04 00 31 00"},
		{"modify: no set", modify, "04 00 30 09 30 07 0a 01 00 30 02 04 00"},
		{"modify: sequence instead of set", modify, "04 00 30 0b 30 09 0a 01 00 30 04 04 00 30 00"},
		{"modify: constructed value", modify, "04 00 30 0d 30 0b 0a 01 00 30 06 04 00 31 02 24 00"},
		{"modify: second one broken", modify, "04 00 30 0d 30 09 0a 01 00 30 04 04 00 31 00 30 00"},
		{"modify: negative operation", modify, "04 00 30 0b 30 09 0a 01 ff 30 04 04 00 31 00"},
		{"modify: element cut short behind the values", modify, "04 00 30 0d 30 0b 0a 01 00 30 06 04 00 31 00 82 01"},
		{"modify: element cut short behind the attribute", modify, "04 00 30 0d 30 0b 0a 01 00 30 04 04 00 31 00 82 01"},
		{"add: no attributes", add, "04 00"},
		{"add: attribute without values", add, "04 00 30 04 30 02 04 00"},
		{"add: value that is no string", add, "04 00 30 08 30 06 04 00 31 02 02 00"},
		{"search: no filter", search, "04 00 0a 01 00 0a 01 00 02 01 00 02 01 00 01 01 00"},
		{"search: universal filter", search, "04 00 0a 01 00 0a 01 00 02 01 00 02 01 00 01 01 00 04 00 30 00"},
		{"search: no attribute list", search, "04 00 0a 01 00 0a 01 00 02 01 00 02 01 00 01 01 00 87 00"},
		{"search: two-octet boolean", search, "04 00 0a 01 00 0a 01 00 02 01 00 02 01 00 01 02 00 00 87 00 30 00"},
		{"search: negative size limit", search, "04 00 0a 01 00 0a 01 00 02 01 80 02 01 00 01 01 00 87 00 30 00"},
		{"search: attribute that is no string", search, "04 00 0a 01 00 0a 01 00 02 01 00 02 01 00 01 01 00 87 00 30 02 05 00"},
		{"extended: nothing", ext, ""},
		{"extended: value only", ext, "81 00"},
		{"extended: constructed name", ext, "a0 00"},
		{"compare: no value", compare, "04 00 30 02 04 00"},
		{"modify DN: no boolean", modifyDN, "04 00 04 00"},
		{"abandon: nothing", abandon, ""},
		{"abandon: negative", abandon, "ff"},
		{"abandon: five octets", abandon, "00 00 00 00 01"},
		{"cancel: something behind", cancel, "30 03 02 01 02 00"},
		{"password modify: nothing", passwd, ""},
		{"password modify: something behind", passwd, "30 00 80 00"},
		{"password modify: new twice", passwd, "30 06 82 01 41 82 01 42"},
		{"password modify: old behind new", passwd, "30 06 82 01 41 81 01 42"},
		{"control: no OID", controls, "30 00"},
		{"control: not a sequence", controls, "04 00"},
		{"control: second one broken", controls, "30 04 04 02 31 2e 30 01 04"},
		{"control: two-octet boolean", controls, "30 06 04 00 01 02 00 00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantErr(t, tt.parse(unhex(t, tt.in)), ErrMalformed) })
	}
}

// TestG4_ModifyRequest walks a password change as in MS-ADTS 3.1.1.3.1.5.1,
// encoded by hand, with long lengths and an unrecognised element everywhere one
// may be.
func TestG4_ModifyRequest(t *testing.T) {
	in := unhex(t, `04 04 63 6e 3d 78
		30 84 00 00 00 2a
		  30 0f 0a 01 01 30 08 04 01 61 31 03 04 01 6f 82 00
		  30 17 0a 01 00 30 10 04 01 41 31 09 04 81 01 6e 04 00 04 01 6d 82 00 82 00
		82 00`)
	m, err := ParseModifyRequest(in)
	if err != nil {
		t.Fatal(err)
	}
	if string(m.DN) != "cn=x" || m.Len() != 2 {
		t.Errorf("got DN %q, %d modifications", m.DN, m.Len())
	}
	type mod struct {
		op     ModOp
		name   string
		values []string
	}
	want := []mod{{ModDelete, "a", []string{"o"}}, {ModAdd, "A", []string{"n", "", "m"}}}
	for _, w := range want {
		got, ok := m.Next()
		if !ok || got.Op != w.op || string(got.Type) != w.name || got.Values.Len() != len(w.values) {
			t.Fatalf("got %v, %t, want %v", got, ok, w)
		}
		for _, wv := range w.values {
			if v, ok := got.Values.Next(); !ok || string(v) != wv {
				t.Errorf("%s: got value %q, %t, want %q", w.name, v, ok, wv)
			}
		}
		if v, ok := got.Values.Next(); ok {
			t.Errorf("%s: got another value %q", w.name, v)
		}
	}
	if got, ok := m.Next(); ok {
		t.Errorf("got another modification %v", got)
	}
	var none ModifyRequest
	if _, ok := none.Next(); ok {
		t.Error("the zero ModifyRequest has a modification")
	}
}

func TestG4_PasswdModify(t *testing.T) {
	tests := []struct {
		name, in       string
		user, old, new string // "-": absent
	}{
		{"nothing: generate one for me", "30 00", "-", "-", "-"},
		{"all", "30 09 80 01 75 81 01 6f 82 01 6e", "u", "o", "n"},
		{"new only", "30 03 82 01 6e", "-", "-", "n"},
		{"empty is not absent", "30 04 81 00 82 00", "-", "", ""},
		{"long lengths", "30 84 0000000c 81 84 00000001 6f 82 81 02 6e 6e", "-", "o", "nn"},
		{"unrecognised element behind", "30 05 82 01 6e 85 00", "-", "-", "n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := unhex(t, tt.in)
			p, err := ParsePasswdModifyValue(in)
			if err != nil {
				t.Fatal(err)
			}
			field := func(name, got string, has bool, want string) {
				if has != (want != "-") || has && got != want || !has && got != "" {
					t.Errorf("%s: got %q, present %t, want %q", name, got, has, want)
				}
			}
			field("user", string(p.UserIdentity), p.HasUserIdentity, tt.user)
			field("old", string(p.OldPassword(in).Expose()), p.HasOld, tt.old)
			field("new", string(p.NewPassword(in).Expose()), p.HasNew, tt.new)
			if other := p.NewPassword(in[:1]); !other.IsEmpty() {
				t.Error("NewPassword of another value is not empty")
			}
		})
	}
}

// TestCancelOfItself decodes the message that made OpenLDAP loop
// (CVE-2020-36227): the gateway must be able to see it.
func TestCancelOfItself(t *testing.T) {
	m, err := ParseMessage(unhex(t, "30190201027714800b312e332e362e312e312e3881053003020102"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseExtendedRequest(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ParseCancelValue(r.Value)
	if string(r.Name) != OIDCancel || id != m.ID || err != nil {
		t.Errorf("got %v, cancels %d, %v, want %s of %d", r, id, err, OIDCancel, m.ID)
	}
}

// TestControls decodes the example of RFC 2696 section 3, and controls with and
// without the optional fields.
func TestControls(t *testing.T) {
	paged := appendNumber(nil, tagInteger, 100)
	paged = appendElement(paged, tagOctets, "")
	paged = enclose(paged, 0, tagSequence)
	want := []Control{
		{OID: []byte(OIDControlPagedResults), Criticality: true, Value: paged, HasValue: true},
		{OID: []byte(OIDControlManageDsaIT)},
		{OID: []byte(OIDControlNotification), Criticality: true},
		{OID: []byte("1.2.3"), HasValue: true, Value: []byte{}},
	}
	m, err := ParseMessage(AppendDelRequest(nil, 7, "cn=x"))
	if err != nil {
		t.Fatal(err)
	}
	if m, err = ParseMessage(AppendWithControls(nil, m, want...)); err != nil {
		t.Fatal(err)
	}
	if m.ID != 7 || string(m.Body) != "cn=x" {
		t.Errorf("got %v, body %q", m, m.Body)
	}
	list, err := m.ControlList()
	if err != nil || list.Len() != len(want) {
		t.Fatalf("ControlList = %v, %v", list, err)
	}
	for _, w := range want {
		got, ok := list.Next()
		if !ok || !bytes.Equal(got.OID, w.OID) || got.Criticality != w.Criticality ||
			got.HasValue != w.HasValue || !bytes.Equal(got.Value, w.Value) {
			t.Errorf("got %v, want %v", got, w)
		}
	}
	if _, ok := list.Next(); ok {
		t.Error("got another control")
	}
	// FALSE written out, and another octet than FF for TRUE.
	m.Controls = unhex(t, "30 05 04 00 01 01 00 30 05 04 00 01 01 01")
	if list, err = m.ControlList(); err != nil {
		t.Fatal(err)
	}
	no, _ := list.Next()
	yes, _ := list.Next()
	if no.Criticality || !yes.Criticality {
		t.Errorf("criticality: got %t, %t, want false, true", no.Criticality, yes.Criticality)
	}
	if list, err := (Message{}).ControlList(); err != nil || list.Len() != 0 {
		t.Errorf("without controls: got %v, %v", list, err)
	}
}
