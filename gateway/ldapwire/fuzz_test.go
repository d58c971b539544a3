package ldapwire

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// seeds returns one message of every kind.
func seeds() [][]byte {
	attrs := []AttributeValues{{"cn", [][]byte{[]byte("x"), []byte("y")}}, {"empty", nil}}
	passwd := AppendPasswdModifyValue(nil, []byte("cn=x"), []byte("old"), []byte("new"))
	del := AppendDelRequest(nil, 12, "cn=x")
	m, _ := ParseMessage(del)
	return [][]byte{
		AppendBindRequest(nil, 1, "cn=x", []byte("pw")),
		AppendSASLBindRequest(nil, 2, "", "PLAIN", []byte("\x00u\x00p")),
		AppendUnbindRequest(nil, 3),
		AppendAbandonRequest(nil, 4, 3),
		AppendSearchRequest(nil, 5, SearchParams{BaseDN: "dc=x", Attributes: []string{"cn", "mail"}}),
		AppendModifyRequest(nil, 6, "cn=x", Mod{ModDelete, "unicodePwd", [][]byte{utf16le(`"a"`)}}, Mod{ModAdd, "unicodePwd", [][]byte{utf16le(`"b"`)}}),
		AppendAddRequest(nil, 7, "cn=x", attrs),
		AppendCompareRequest(nil, 8, "cn=x", "cn", []byte("x")),
		AppendModifyDNRequest(nil, 9, "cn=x", "cn=y", true, "dc=z"),
		AppendExtendedRequest(nil, 10, OIDPasswordModify, passwd, true),
		AppendExtendedRequest(nil, 11, OIDCancel, []byte{0x30, 3, 2, 1, 11}, true),
		AppendWithControls(nil, m, Control{OID: []byte(OIDControlPagedResults), Criticality: true, Value: []byte("x"), HasValue: true}),
		AppendBindResponse(nil, 13, ResultSaslBindInProgress, "", "", []byte("c")),
		AppendSearchEntry(nil, 14, "cn=x", attrs),
		AppendSearchReference(nil, 15, "ldap://a/"),
		AppendSearchDone(nil, 16, ResultSuccess, "", ""),
		AppendReferral(nil, 17, OpModifyResponse, "", "", "ldap://w/"),
		AppendExtendedResponse(nil, 18, ResultSuccess, "", "", "1.2", AppendPasswdModifyResponse(nil, []byte("g")), true),
		AppendIntermediateResponse(nil, 19, "1.2", []byte("v"), true),
		AppendNoticeOfDisconnection(nil, ResultUnavailable, "going down"),
	}
}

// decodeAll runs every decoder over a message, and over each part of it, and
// checks what must hold for any input: errors are ErrMalformed, decoded slices
// lie in the message, and iterators give as many elements as they counted.
func decodeAll(t testing.TB, frame []byte) {
	t.Helper()
	inside := func(name string, part []byte) {
		if len(part) > 0 && !bytes.Contains(frame, part) {
			t.Fatalf("%s is not part of the message", name)
		}
	}
	malformed := func(err error) bool {
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("error is not ErrMalformed: %v", err)
		}
		return err == nil
	}
	malformed(CheckDepth(frame, 0))
	body := frame // decoders must cope with anything
	if m, err := ParseMessage(frame); malformed(err) {
		body = m.Body
		if n, err := FrameSize(frame, len(frame)); n != len(frame) || err != nil {
			t.Fatalf("FrameSize = %d, %v, want %d", n, err, len(frame))
		}
		_ = m.String()
		if list, err := m.ControlList(); malformed(err) {
			n := 0
			for c, ok := list.Next(); ok; c, ok = list.Next() {
				inside("control", c.OID)
				inside("control", c.Value)
				n++
			}
			if n != list.Len() {
				t.Fatalf("%d of %d controls", n, list.Len())
			}
		}
	}
	decodeRequests(t, body, inside, malformed)
	decodeResponses(t, body, inside, malformed)
}

func decodeRequests(t testing.TB, body []byte, inside func(string, []byte), malformed func(error) bool) {
	t.Helper()
	if b, err := ParseBindRequest(body); malformed(err) {
		inside("name", b.Name)
		inside("mechanism", b.Mechanism)
		pw, creds := b.Password(body), b.Credentials(body)
		inside("password", pw.Expose())
		inside("credentials", creds.Expose())
		if b.Auth == AuthSimple && b.PasswordEmpty() != pw.IsEmpty() {
			t.Fatal("PasswordEmpty and Password disagree")
		}
		if b.PasswordHasNUL(body) != bytes.Contains(pw.Expose(), []byte{0}) {
			t.Fatal("PasswordHasNUL and Password disagree")
		}
	}
	if m, err := ParseModifyRequest(body); malformed(err) {
		n := 0
		for mod, ok := m.Next(); ok; mod, ok = m.Next() {
			drain(t, mod.Type, mod.Values, inside)
			n++
		}
		if n != m.Len() {
			t.Fatalf("%d of %d modifications", n, m.Len())
		}
	}
	if a, err := ParseAddRequest(body); malformed(err) {
		drainAttributes(t, a.Len(), a.Next, inside)
	}
	if s, err := ParseSearchRequest(body); malformed(err) {
		inside("filter", s.Filter)
		drain(t, s.BaseDN, s.Attributes, inside)
	}
	if r, err := ParseCompareRequest(body); malformed(err) {
		inside("value", r.Value)
	}
	if r, err := ParseModifyDNRequest(body); malformed(err) {
		inside("new superior", r.NewSuperior)
	}
	if id, err := ParseAbandonRequest(body); malformed(err) && id < 0 {
		t.Fatalf("abandons %d", id)
	}
	value := body
	if r, err := ParseExtendedRequest(body); malformed(err) {
		inside("name", r.Name)
		value = r.Value
	}
	_, err := ParseCancelValue(value)
	malformed(err)
	if p, err := ParsePasswdModifyValue(value); malformed(err) {
		inside("user", p.UserIdentity)
		inside("old", p.OldPassword(value).Expose())
		inside("new", p.NewPassword(value).Expose())
	}
}

func decodeResponses(t testing.TB, body []byte, inside func(string, []byte), malformed func(error) bool) {
	t.Helper()
	if r, err := ParseResult(body); malformed(err) {
		inside("matched DN", r.MatchedDN)
		drain(t, r.Diagnostic, r.URIs(), inside)
		if r.Code < 0 {
			t.Fatalf("result code %d", r.Code)
		}
		_, _ = SubCode(r.Diagnostic)
		_, _ = Win32Code(r.Diagnostic)
	}
	if _, creds, _, err := ParseBindResponse(body); malformed(err) {
		inside("credentials", creds)
	}
	if r, err := ParseExtendedResponse(body); malformed(err) {
		inside("value", r.Value)
		if generated, _, err := ParsePasswdModifyResponse(r.Value); malformed(err) {
			inside("password", generated.Expose())
		}
	}
	if r, err := ParseIntermediateResponse(body); malformed(err) {
		inside("value", r.Value)
	}
	if e, err := ParseSearchEntry(body); malformed(err) {
		drainAttributes(t, e.Len(), e.Next, inside)
	}
	if uris, err := ParseSearchReference(body); malformed(err) {
		drain(t, nil, uris, inside)
	}
}

func drainAttributes(t testing.TB, want int, next func() (Attribute, bool), inside func(string, []byte)) {
	t.Helper()
	n := 0
	for a, ok := next(); ok; a, ok = next() {
		drain(t, a.Type, a.Values, inside)
		n++
	}
	if n != want {
		t.Fatalf("%d of %d attributes", n, want)
	}
}

func drain(t testing.TB, name []byte, values Values, inside func(string, []byte)) {
	t.Helper()
	inside("name", name)
	for _, a := range []Attr{AttrUnicodePwd, AttrUserPassword, AttrPwdLastSet} {
		_ = IsAttr(name, a)
	}
	n, want := 0, values.Len()
	for v, ok := values.Next(); ok; v, ok = values.Next() {
		inside("value", v)
		if pw, err := DecodeUnicodePwd(v); err == nil {
			pw.Wipe()
		}
		n++
	}
	if n != want || values.Len() != 0 {
		t.Fatalf("%d of %d values, %d left", n, want, values.Len())
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Add(nested(DefaultMaxDepth))
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := bytes.Clone(frame)
		decodeAll(t, frame)
		if !bytes.Equal(frame, before) {
			t.Fatal("decoding changed the message")
		}
		compareWithBER(t, frame)
	})
}

// FuzzReader splits a stream at arbitrary points: the same messages must come
// out as when it arrives at once, ending in the same error, and between them
// they are the stream.
func FuzzReader(f *testing.F) {
	f.Add(bytes.Join(seeds(), nil), []byte{1, 2, 3, 200}, uint16(500))
	all, _ := stream()
	f.Add(all, []byte{255, 0, 7}, uint16(60_000))
	f.Fuzz(func(t *testing.T, in, splits []byte, max uint16) {
		whole, wholeErr := readAll(NewReader(bytes.NewReader(in), int(max)))
		split, splitErr := readAll(NewReader(&splitReader{in: in, splits: splits}, int(max)))
		if wholeErr.Error() != splitErr.Error() || !bytes.Equal(whole, split) {
			t.Fatalf("at once: %d bytes, %v; split: %d bytes, %v", len(whole), wholeErr, len(split), splitErr)
		}
		if !bytes.HasPrefix(in, whole) {
			t.Fatal("messages are not what was sent")
		}
		if (wholeErr == io.EOF) != (len(whole) == len(in)) {
			t.Fatalf("%d of %d bytes came out, then %v", len(whole), len(in), wholeErr)
		}
	})
}

func readAll(rd *Reader) (out []byte, err error) {
	for {
		ready := rd.Ready()
		m, err := rd.Next()
		if err == errSplit && !ready {
			continue
		}
		if err != nil {
			return out, err
		}
		out = append(out, m.Raw...)
	}
}

var errSplit = errors.New("timeout")

// splitReader gives as many bytes per Read as splits says, in turn; 0 is a
// timeout.
type splitReader struct {
	in, splits []byte
	at         int
}

func (s *splitReader) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := len(s.in)
	if len(s.splits) > 0 {
		n = int(s.splits[s.at%len(s.splits)])
		s.at++
		if n == 0 && s.at <= 1000 {
			return 0, errSplit
		}
		n = max(n, 1)
	}
	n = copy(p[:min(n, len(p))], s.in)
	s.in = s.in[n:]
	return n, nil
}

// FuzzDecodeUnicodePwd checks that a value accepted is exactly what encoding the
// password again gives, and the other way round.
func FuzzDecodeUnicodePwd(f *testing.F) {
	for _, s := range []string{`"N3w-Passw0rd"`, `""`, `"`, `"a"b"`} {
		f.Add(utf16le(s))
	}
	f.Add([]byte("P\u00e4ss\U0001f600"))
	f.Add([]byte("\"\x00\x3d\xd8\x11\xde\"\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if pw, err := DecodeUnicodePwd(b); err == nil {
			back, err := AppendUnicodePwd(nil, pw.Expose())
			if err != nil || !bytes.Equal(back, b) {
				t.Fatalf("%x decodes to %q, which encodes to %x, %v", b, pw.Expose(), back, err)
			}
		} else if !pw.IsEmpty() {
			t.Fatal("a password with an error")
		}
		if v, err := AppendUnicodePwd(nil, b); err == nil {
			back, err := DecodeUnicodePwd(v)
			if err != nil || !bytes.Equal(back.Expose(), b) {
				t.Fatalf("%q encodes to %x, which decodes to %q, %v", b, v, back.Expose(), err)
			}
		}
	})
}

func FuzzEncodeDecode(f *testing.F) {
	f.Add(int32(1), int32(2), "cn=x", "y", "z", []byte("v"))
	f.Add(int32(1<<31-1), int32(128), "", "", "", []byte{})
	f.Fuzz(func(t *testing.T, id, n int32, a, b, c string, value []byte) {
		s := sample{id: max(id, 0), n: max(n, 0), a: a, b: b, c: c, value: value}
		if id < 0 {
			s.value = nil
		}
		for name, run := range roundTrips(s) {
			if why := run(); why != "" {
				t.Fatalf("%s: %s", name, why)
			}
		}
	})
}
