package ldapwire

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
)

// sample is the input of one round trip: what fuzzing varies.
type sample struct {
	id      int32
	n       int32
	a, b, c string
	value   []byte
}

// roundTrips encodes every kind of message from a sample and compares what the
// decoder makes of it. Each returns "" if it is the same.
func roundTrips(s sample) map[string]func() string {
	attrs := []AttributeValues{{s.a, [][]byte{s.value, {}}}, {s.b, nil}, {s.c, [][]byte{[]byte(s.a)}}}
	code := ResultCode(s.n)
	return map[string]func() string{
		"bind": func() string {
			body, why := bodyOf(AppendBindRequest(nil, s.id, s.a, s.value), s.id, OpBindRequest)
			b, err := ParseBindRequest(body)
			return same(why, err, b.Version == 3, string(b.Name) == s.a, b.Auth == AuthSimple,
				bytes.Equal(b.Password(body).Expose(), s.value), b.PasswordEmpty() == (len(s.value) == 0),
				b.PasswordHasNUL(body) == bytes.Contains(s.value, []byte{0}))
		},
		"SASL bind": func() string {
			body, why := bodyOf(AppendSASLBindRequest(nil, s.id, s.a, s.b, s.value), s.id, OpBindRequest)
			b, err := ParseBindRequest(body)
			return same(why, err, string(b.Name) == s.a, b.Auth == AuthSASL, string(b.Mechanism) == s.b,
				b.HasCredentials == (s.value != nil), bytes.Equal(b.Credentials(body).Expose(), s.value))
		},
		"bind response": func() string {
			body, why := bodyOf(AppendBindResponse(nil, s.id, code, s.a, s.b, s.value), s.id, OpBindResponse)
			r, creds, has, err := ParseBindResponse(body)
			return same(why, err, sameResult(r, code, s), has == (s.value != nil), bytes.Equal(creds, s.value))
		},
		"unbind": func() string {
			body, why := bodyOf(AppendUnbindRequest(nil, s.id), s.id, OpUnbindRequest)
			return same(why, nil, len(body) == 0)
		},
		"abandon": func() string {
			body, why := bodyOf(AppendAbandonRequest(nil, s.id, s.n), s.id, OpAbandonRequest)
			target, err := ParseAbandonRequest(body)
			return same(why, err, target == s.n)
		},
		"search": func() string {
			p := SearchParams{BaseDN: s.a, Scope: int(s.n), SizeLimit: int(s.n), TimeLimit: int(s.id), TypesOnly: s.n%2 == 0,
				Filter: appendElement(nil, 0x87, s.value), Attributes: []string{s.b, s.c}}
			body, why := bodyOf(AppendSearchRequest(nil, s.id, p), s.id, OpSearchRequest)
			r, err := ParseSearchRequest(body)
			return same(why, err, string(r.BaseDN) == s.a, r.Scope == p.Scope, r.Deref == 0, r.SizeLimit == p.SizeLimit,
				r.TimeLimit == p.TimeLimit, r.TypesOnly == p.TypesOnly, bytes.Equal(r.Filter, p.Filter),
				sameValues(r.Attributes, []byte(s.b), []byte(s.c)))
		},
		"modify": func() string {
			mods := []Mod{{ModOp(s.n), s.a, attrs[0].Values}, {ModDelete, s.b, nil}}
			body, why := bodyOf(AppendModifyRequest(nil, s.id, s.c, mods...), s.id, OpModifyRequest)
			m, err := ParseModifyRequest(body)
			first, ok1 := m.Next()
			second, ok2 := m.Next()
			_, ok3 := m.Next()
			return same(why, err, string(m.DN) == s.c, m.Len() == 2, ok1, ok2, !ok3, first.Op == ModOp(s.n),
				string(first.Type) == s.a, sameValues(first.Values, attrs[0].Values...),
				second.Op == ModDelete, string(second.Type) == s.b, sameValues(second.Values))
		},
		"add": func() string {
			body, why := bodyOf(AppendAddRequest(nil, s.id, s.c, attrs), s.id, OpAddRequest)
			r, err := ParseAddRequest(body)
			return same(why, err, string(r.DN) == s.c, r.Len() == len(attrs), sameAttributes(r.Next, attrs))
		},
		"search entry": func() string {
			body, why := bodyOf(AppendSearchEntry(nil, s.id, s.c, attrs), s.id, OpSearchResultEntry)
			r, err := ParseSearchEntry(body)
			return same(why, err, string(r.DN) == s.c, r.Len() == len(attrs), sameAttributes(r.Next, attrs))
		},
		"search reference": func() string {
			body, why := bodyOf(AppendSearchReference(nil, s.id, s.a, s.b), s.id, OpSearchResultReference)
			uris, err := ParseSearchReference(body)
			return same(why, err, sameValues(uris, []byte(s.a), []byte(s.b)))
		},
		"search done": func() string {
			body, why := bodyOf(AppendSearchDone(nil, s.id, code, s.a, s.b), s.id, OpSearchResultDone)
			r, err := ParseResult(body)
			return same(why, err, sameResult(r, code, s), r.Referral == nil)
		},
		"referral": func() string {
			body, why := bodyOf(AppendReferral(nil, s.id, OpModifyResponse, s.a, s.b, s.c, s.a), s.id, OpModifyResponse)
			r, err := ParseResult(body)
			return same(why, err, sameResult(r, ResultReferral, s), sameValues(r.URIs(), []byte(s.c), []byte(s.a)))
		},
		"delete": func() string {
			body, why := bodyOf(AppendDelRequest(nil, s.id, s.a), s.id, OpDelRequest)
			return same(why, nil, string(ParseDelRequest(body)) == s.a)
		},
		"modify DN": func() string {
			body, why := bodyOf(AppendModifyDNRequest(nil, s.id, s.a, s.b, s.n%2 == 0, s.c), s.id, OpModifyDNRequest)
			r, err := ParseModifyDNRequest(body)
			return same(why, err, string(r.DN) == s.a, string(r.NewRDN) == s.b, r.DeleteOldRDN == (s.n%2 == 0),
				r.HasNewSuperior == (s.c != ""), string(r.NewSuperior) == s.c)
		},
		"compare": func() string {
			body, why := bodyOf(AppendCompareRequest(nil, s.id, s.a, s.b, s.value), s.id, OpCompareRequest)
			r, err := ParseCompareRequest(body)
			return same(why, err, string(r.DN) == s.a, string(r.Type) == s.b, bytes.Equal(r.Value, s.value))
		},
		"extended": func() string {
			body, why := bodyOf(AppendExtendedRequest(nil, s.id, s.a, s.value, s.value != nil), s.id, OpExtendedRequest)
			r, err := ParseExtendedRequest(body)
			return same(why, err, string(r.Name) == s.a, r.HasValue == (s.value != nil), bytes.Equal(r.Value, s.value))
		},
		"extended response": func() string {
			frame := AppendExtendedResponse(nil, s.id, code, s.a, s.b, s.c, s.value, s.value != nil)
			body, why := bodyOf(frame, s.id, OpExtendedResponse)
			r, err := ParseExtendedResponse(body)
			return same(why, err, sameResult(r.Result, code, s), r.HasName == (s.c != ""), string(r.Name) == s.c,
				r.HasValue == (s.value != nil), bytes.Equal(r.Value, s.value))
		},
		"intermediate response": func() string {
			body, why := bodyOf(AppendIntermediateResponse(nil, s.id, s.a, s.value, s.value != nil), s.id, OpIntermediateResponse)
			r, err := ParseIntermediateResponse(body)
			return same(why, err, r.HasName == (s.a != ""), string(r.Name) == s.a,
				r.HasValue == (s.value != nil), bytes.Equal(r.Value, s.value))
		},
		"password modify": func() string {
			v := AppendPasswdModifyValue(nil, []byte(s.a), s.value, []byte(s.b))
			p, err := ParsePasswdModifyValue(v)
			return same("", err, string(p.UserIdentity) == s.a, p.HasUserIdentity, p.HasOld == (s.value != nil), p.HasNew,
				bytes.Equal(p.OldPassword(v).Expose(), s.value), string(p.NewPassword(v).Expose()) == s.b)
		},
		"generated password": func() string {
			v := AppendPasswdModifyResponse(nil, s.value)
			generated, ok, err := ParsePasswdModifyResponse(v)
			return same("", err, ok, bytes.Equal(generated.Expose(), s.value))
		},
		"controls": func() string {
			m, err := ParseMessage(AppendDelRequest(nil, s.id, s.a))
			if err != nil {
				return err.Error()
			}
			want := Control{OID: []byte(s.b), Criticality: s.n%2 == 0, Value: s.value, HasValue: s.value != nil}
			m, err = ParseMessage(AppendWithControls(nil, m, want, want))
			if err != nil {
				return err.Error()
			}
			list, err := m.ControlList()
			got, ok := list.Next()
			return same("", err, ok, list.Len() == 2, bytes.Equal(got.OID, want.OID), got.Criticality == want.Criticality,
				got.HasValue == want.HasValue, bytes.Equal(got.Value, want.Value), string(m.Body) == s.a, m.ID == s.id)
		},
	}
}

func bodyOf(frame []byte, id int32, op Op) ([]byte, string) {
	if n, err := FrameSize(frame, math.MaxInt32); n != len(frame) || err != nil {
		return nil, fmt.Sprintf("FrameSize = %d, %v, want %d", n, err, len(frame))
	}
	if err := CheckDepth(frame, 0); err != nil {
		return nil, err.Error()
	}
	m, err := ParseMessage(frame)
	if err != nil || m.ID != id || m.Op != op || m.Controls != nil {
		return nil, fmt.Sprintf("ParseMessage = %v, %v, want ID %d, %v", m, err, id, op)
	}
	return m.Body, ""
}

// same says which of the checks failed.
func same(why string, err error, checks ...bool) string {
	if why != "" || err != nil {
		return fmt.Sprint(why, err)
	}
	if i := slices.Index(checks, false); i >= 0 {
		return fmt.Sprintf("check %d failed", i)
	}
	return ""
}

func sameResult(r Result, code ResultCode, s sample) bool {
	return r.Code == code && string(r.MatchedDN) == s.a && string(r.Diagnostic) == s.b
}

func sameValues(got Values, want ...[]byte) bool {
	if got.Len() != len(want) {
		return false
	}
	for _, w := range want {
		if v, ok := got.Next(); !ok || !bytes.Equal(v, w) {
			return false
		}
	}
	_, more := got.Next()
	return !more
}

func sameAttributes(next func() (Attribute, bool), want []AttributeValues) bool {
	for _, w := range want {
		a, ok := next()
		if !ok || string(a.Type) != w.Type || !sameValues(a.Values, w.Values...) {
			return false
		}
	}
	_, more := next()
	return !more
}

func TestRoundTrips(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 70_000))
	samples := []sample{
		{id: 1},
		{id: 0, n: 127, a: "cn=x", b: "y", c: "z", value: []byte("v")},
		{id: 127, n: 128, a: "cn=x", value: []byte{}},
		{id: 128, n: 255, a: long[:127], b: long[:128], c: long[:255], value: []byte(long[:256])},
		{id: 32767, n: 32768, a: long[:65535], b: long[:65536], c: "ü", value: []byte{0, 0xff}},
		{id: math.MaxInt32, n: math.MaxInt32, a: long, b: long, c: long, value: bytes.Repeat([]byte(long), 250)},
	}
	for i, s := range samples {
		for name, run := range roundTrips(s) {
			t.Run(fmt.Sprintf("%s %d", name, i), func(t *testing.T) {
				if why := run(); why != "" {
					t.Error(why)
				}
			})
		}
	}
}

// TestP4_EncodersGrowOnce checks that encoding a password into a slice without
// room leaves no half-written copy behind: room is made before it is written.
func TestP4_EncodersGrowOnce(t *testing.T) {
	pw := bytes.Repeat([]byte("p"), 300)
	encoders := map[string]func([]byte) []byte{
		"bind":      func(dst []byte) []byte { return AppendBindRequest(dst, math.MaxInt32, "cn=x", pw) },
		"SASL bind": func(dst []byte) []byte { return AppendSASLBindRequest(dst, math.MaxInt32, "cn=x", "PLAIN", pw) },
		"modify": func(dst []byte) []byte {
			return AppendModifyRequest(dst, math.MaxInt32, "cn=x", Mod{ModDelete, "a", [][]byte{pw}}, Mod{ModAdd, "a", [][]byte{pw, pw}})
		},
		"add": func(dst []byte) []byte {
			return AppendAddRequest(dst, math.MaxInt32, "cn=x", []AttributeValues{{"a", [][]byte{pw}}, {"b", [][]byte{pw, pw}}})
		},
		"extended": func(dst []byte) []byte {
			return AppendExtendedRequest(dst, math.MaxInt32, OIDPasswordModify, pw, true)
		},
		"extended response": func(dst []byte) []byte {
			return AppendExtendedResponse(dst, math.MaxInt32, 4096, "a", "b", "c", pw, true)
		},
		"password modify":    func(dst []byte) []byte { return AppendPasswdModifyValue(dst, pw, pw, pw) },
		"generated password": func(dst []byte) []byte { return AppendPasswdModifyResponse(dst, pw) },
		"unicodePwd": func(dst []byte) []byte {
			dst, _ = AppendUnicodePwd(dst, pw)
			return dst
		},
	}
	var sink []byte
	once := testing.AllocsPerRun(20, func() { sink = slices.Grow([]byte(nil), 1000) }) // 2 with the race detector
	for name, encode := range encoders {
		t.Run(name, func(t *testing.T) {
			if got := testing.AllocsPerRun(20, func() { sink = encode(nil) }); got != once || len(sink) == 0 {
				t.Errorf("%v allocations, want %v", got, once)
			}
		})
	}
}
