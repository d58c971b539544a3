package ldapwire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestFrameSize(t *testing.T) {
	const max = 1000
	tests := []struct {
		name string
		in   string
		want int
		err  error
	}{
		{"nothing", "", 0, nil},
		{"tag only", "30", 0, nil},
		{"short form", "30 05", 7, nil},
		{"body not needed", "30 7f 02", 129, nil},
		{"length octets missing", "30 84 00 00", 0, nil},
		{"one length octet", "30 81 80", 131, nil},
		{"as Windows sends it", "30 84 00 00 00 0c", 18, nil},
		{"length in more octets than needed", "30 82 00 05", 9, nil},
		{"exactly the limit", "30 82 03 e4", 1000, nil},
		{"one over the limit", "30 82 03 e5", 0, ErrTooLarge},
		{"2 GiB claimed", "30 84 7f ff ff ff", 0, ErrTooLarge},
		{"4 GiB claimed", "30 84 ff ff ff ff", 0, ErrTooLarge},
		{"too short for an ID and an operation", "30 04", 0, ErrMalformed},
		{"empty", "30 00", 0, ErrMalformed},
		{"empty in long form", "30 84 00 00 00 00", 0, ErrMalformed},
		{"indefinite", "30 80", 0, ErrMalformed},
		{"five length octets", "30 85", 0, ErrMalformed},
		{"eight length octets with leading zeroes", "30 88 00 00 00 00 00 00 00 0c", 0, ErrMalformed},
		{"eight length octets", "30 88 ff ff ff ff ff ff ff ff", 0, ErrMalformed},
		{"reserved length octet", "30 ff", 0, ErrMalformed},
		{"primitive sequence", "10 05", 0, ErrMalformed},
		{"set", "31 05", 0, ErrMalformed},
		{"TLS", "16 03 01 02 00", 0, ErrMalformed},
		{"HTTP, first byte", "47", 0, ErrMalformed},
		{"OpenLDAP CVE-2015-6908", "ff848484848477830a623e59320000002f", 0, ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FrameSize(unhex(t, tt.in), max)
			if got != tt.want || !errors.Is(err, tt.err) || (tt.err == nil) != (err == nil) {
				t.Errorf("FrameSize(%s) = %d, %v, want %d, %v", tt.in, got, err, tt.want, tt.err)
			}
		})
	}
	if _, err := FrameSize([]byte{0x30, 5}, -1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("FrameSize with a negative limit: got %v, want ErrTooLarge", err)
	}
}

func TestParseMessage(t *testing.T) {
	tests := []struct {
		name     string
		in       string
		id       int32
		op       Op
		body     string
		controls string // "-": absent
	}{
		{"unbind", "30 05 02 01 01 42 00", 1, OpUnbindRequest, "", "-"},
		{"abandon", "30 06 02 01 06 50 01 05", 6, OpAbandonRequest, "05", "-"},
		{"anonymous bind", "30 0c 02 01 01 60 07 02 01 03 04 00 80 00", 1, OpBindRequest, "02 01 03 04 00 80 00", "-"},
		{"the same as Windows sends it",
			"30 84 00 00 00 10 02 01 01 60 84 00 00 00 07 02 01 03 04 00 80 00", 1, OpBindRequest, "02 01 03 04 00 80 00", "-"},
		{"notice of disconnection",
			"3024020100781f0a0102040004008a16312e332e362e312e342e312e313436362e3230303336", 0, OpExtendedResponse,
			"0a0102040004008a16312e332e362e312e342e312e313436362e3230303336", "-"},
		{"cancel of itself (CVE-2020-36227)", "30190201027714800b312e332e362e312e312e3881053003020102", 2, OpExtendedRequest,
			"800b312e332e362e312e312e3881053003020102", "-"},
		{"highest ID", "30 08 02 04 7f ff ff ff 42 00", 1<<31 - 1, OpUnbindRequest, "", "-"},
		{"ID with leading zeroes", "30 08 02 04 00 00 00 07 42 00", 7, OpUnbindRequest, "", "-"},
		{"unknown operation", "30 05 02 01 01 5e 00", 1, Op(0x5e), "", "-"},
		{"no controls in the list", "30 07 02 01 01 42 00 a0 00", 1, OpUnbindRequest, "", ""},
		{"controls", "30 0d 02 01 01 4a 00 a0 06 30 04 04 02 31 2e", 1, OpDelRequest, "", "30 04 04 02 31 2e"},
		{"unrecognised trailing elements", "30 0c 02 01 01 42 00 81 01 ff a2 02 05 00", 1, OpUnbindRequest, "", "-"},
		{"unbind with contents", "30 08 02 01 01 42 03 41 41 41", 1, OpUnbindRequest, "41 41 41", "-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			frame := unhex(t, tt.in)
			m, err := ParseMessage(frame)
			if err != nil {
				t.Fatal(err)
			}
			if m.ID != tt.id || m.Op != tt.op || !bytes.Equal(m.Raw, frame) || !bytes.Equal(m.Body, unhex(t, tt.body)) {
				t.Errorf("got ID %d, op %v, body %x, raw %x", m.ID, m.Op, m.Body, m.Raw)
			}
			if absent := tt.controls == "-"; absent != (m.Controls == nil) || !absent && !bytes.Equal(m.Controls, unhex(t, tt.controls)) {
				t.Errorf("controls: got %x (nil: %t), want %s", m.Controls, m.Controls == nil, tt.controls)
			}
			if err := CheckDepth(frame, 0); err != nil {
				t.Errorf("CheckDepth: %v", err)
			}
		})
	}
}

func TestParseMessageRefuses(t *testing.T) {
	tests := []struct{ name, in string }{
		{"nothing", ""},
		{"half", "30 05 02 01"},
		{"byte behind", "30 05 02 01 01 42 00 00"},
		{"not a sequence", "31 05 02 01 01 42 00"},
		{"no ID", "30 05 42 03 41 41 41"},
		{"negative ID", "30 05 02 01 ff 42 00"},
		{"ID 2^31", "30 08 02 04 80 00 00 00 42 00"},
		{"ID 2^31 in five octets", "30 09 02 05 00 80 00 00 00 42 00"},
		{"empty ID", "30 05 02 00 42 01 00"},
		{"enumerated ID", "30 05 0a 01 01 42 00"},
		{"no operation", "30 05 02 03 00 00 01"},
		{"operation longer than the message", "30 05 02 01 01 42 01"},
		{"operation of class context", "30 05 02 01 01 80 00"},
		{"operation of class universal", "30 05 02 01 01 04 00"},
		{"operation of indefinite length", "30 07 02 01 01 60 80 00 00"},
		{"operation with a long tag", "30 06 02 01 01 7f 1f 00"},
		{"primitive controls", "30 07 02 01 01 42 00 80 00"},
		{"controls twice", "30 09 02 01 01 42 00 a0 00 a0 00"},
		{"controls behind something else", "30 09 02 01 01 42 00 81 00 a0 00"},
		{"trailing element cut short", "30 07 02 01 01 42 00 81 01"},
		{"operation twice the length octets", "30 0b 02 01 01 42 85 00 00 00 00 00 00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := ParseMessage(unhex(t, tt.in))
			wantErr(t, err, ErrMalformed)
			if m.Raw != nil || m.ID != 0 || m.Op != 0 {
				t.Errorf("got %v with an error", m)
			}
		})
	}
}

// nested returns a message whose operation holds n elements, each in the one
// before.
func nested(n int) []byte {
	b := []byte{}
	for range n {
		b = enclose(b, 0, 0xa0)
	}
	return message(nil, 1, OpSearchRequest, func(dst []byte) []byte { return append(dst, b...) })
}

func TestG8_CheckDepth(t *testing.T) {
	tests := []struct {
		name  string
		frame []byte
		max   int
		want  error
	}{
		{"two levels in two", nested(0), 2, nil},
		{"three in two", nested(1), 2, ErrTooDeep},
		{"the default", nested(DefaultMaxDepth - 2), 0, nil},
		{"one more", nested(DefaultMaxDepth - 1), 0, ErrTooDeep},
		{"limits above the default are lowered", nested(DefaultMaxDepth - 1), 1 << 30, ErrTooDeep},
		{"values are opaque", unhex(t, "30 06 04 04 30 80 30 80"), 2, nil},
		{"child longer than its parent", unhex(t, "30 06 30 02 04 02 41 41"), 0, ErrMalformed},
		{"sibling longer than its parent", unhex(t, "30 07 30 03 04 01 41 04 02"), 0, ErrMalformed},
		{"indefinite inside", unhex(t, "30 04 30 80 00 00"), 0, ErrMalformed},
		{"header cut short inside", unhex(t, "30 03 04 82 01"), 0, ErrMalformed},
		{"cut short", unhex(t, "30 04 04 01"), 0, ErrMalformed},
		{"long tag inside", unhex(t, "30 03 1f 81 00"), 0, ErrMalformed},
		{"many siblings", message(nil, 1, OpSearchRequest, func(dst []byte) []byte {
			return append(dst, bytes.Repeat([]byte{0x30, 0}, 100_000)...)
		}), 3, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckDepth(tt.frame, tt.max)
			if !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
				t.Errorf("CheckDepth = %v, want %v", err, tt.want)
			}
		})
	}
	if !errors.Is(ErrTooDeep, ErrMalformed) {
		t.Error("ErrTooDeep is not an ErrMalformed")
	}
}

// TestG8_DepthBomb feeds 15 MB of nothing but nesting, which overflows the stack
// of decoders that recurse.
func TestG8_DepthBomb(t *testing.T) {
	const size = 15_000_000
	bombs := map[string][]byte{
		"indefinite": append(unhex(t, "30 84 00 e4 e1 bf"), bytes.Repeat([]byte{0x30, 0x80}, size/2)...),
		"definite":   nestedLong(size / 6),
	}
	for name, bomb := range bombs {
		t.Run(name, func(t *testing.T) {
			wantErr(t, CheckDepth(bomb, 0), ErrMalformed)
			m, err := NewReader(bytes.NewReader(bomb), DefaultMaxMessage).Next()
			wantErr(t, err, ErrMalformed)
			if m.Raw != nil {
				t.Error("got a message")
			}
		})
	}
}

// nestedLong returns n nested sequences with four length octets each, the
// outermost of them a message with an ID.
func nestedLong(n int) []byte {
	b := make([]byte, 0, 6*n+16)
	left := 6*n - 6
	for range n {
		b = append(b, 0x60, 0x84, byte(left>>24), byte(left>>16), byte(left>>8), byte(left))
		left -= 6
	}
	return join([]byte{0x30, 0x84}, be32(len(b)+3), []byte{2, 1, 1}, b)
}

func be32(n int) []byte { return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestP4_NothingPrintsBytes prints every decoded request in every way there is,
// and looks for the password.
func TestP4_NothingPrintsBytes(t *testing.T) {
	const canary = "canary-Passw0rd"
	parse := func(frame []byte) Message {
		m, err := ParseMessage(frame)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	must := func(v any, err error) any {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	pwd := []byte(canary)
	attrs := []AttributeValues{{"userPassword", [][]byte{pwd}}}
	bind := parse(AppendBindRequest(nil, 1, "cn=x", pwd))
	sasl := parse(AppendSASLBindRequest(nil, 1, "", "PLAIN", pwd))
	modify := parse(AppendModifyRequest(nil, 1, "cn=x", Mod{ModReplace, "userPassword", [][]byte{pwd}}))
	add := parse(AppendAddRequest(nil, 1, "cn=x", attrs))
	entry := parse(AppendSearchEntry(nil, 1, "cn=x", attrs))
	ext := parse(AppendExtendedRequest(nil, 1, OIDPasswordModify, pwd, true))
	extResponse := parse(AppendExtendedResponse(nil, 1, 0, "", "", "", pwd, true))
	intermediate := parse(AppendIntermediateResponse(nil, 1, "", pwd, true))
	compare := parse(AppendCompareRequest(nil, 1, "cn=x", "userPassword", pwd))
	search := parse(AppendSearchRequest(nil, 1, SearchParams{Filter: appendElement(nil, 0x87, canary)}))
	controls := parse(AppendWithControls(nil, bind, Control{OID: []byte("1.2"), Value: pwd, HasValue: true}))
	passwd := AppendPasswdModifyValue(nil, nil, pwd, pwd)

	modifyReq, err := ParseModifyRequest(modify.Body)
	_ = must(nil, err)
	m := modifyReq
	modification, _ := m.Next()
	addReq, err := ParseAddRequest(add.Body)
	_ = must(nil, err)
	a := addReq
	attribute, _ := a.Next()
	list, err := controls.ControlList()
	_ = must(nil, err)
	l := list
	control, _ := l.Next()
	bindReq, err := ParseBindRequest(bind.Body)
	_ = must(nil, err)

	values := map[string]any{
		"bind message": bind, "pointer": &bind, "nested": struct{ M Message }{bind}, "controls message": controls,
		"bind": bindReq, "bind in a hidden field": struct{ b BindRequest }{bindReq},
		"password": bindReq.Password(bind.Body),
		"sasl":     must(ParseBindRequest(sasl.Body)), "modify": modifyReq, "modification": modification,
		"values": modification.Values, "add": addReq, "attribute": attribute, "control list": list, "control": control,
		"entry": must(ParseSearchEntry(entry.Body)), "extended": must(ParseExtendedRequest(ext.Body)),
		"extended response": must(ParseExtendedResponse(extResponse.Body)),
		"intermediate":      must(ParseIntermediateResponse(intermediate.Body)),
		"compare":           must(ParseCompareRequest(compare.Body)), "search": must(ParseSearchRequest(search.Body)),
		"password modify": must(ParsePasswdModifyValue(passwd)),
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				fmt.Fprintf(&out, format+"\n", v)
			}
			slog.New(slog.NewTextHandler(&out, nil)).Info("text", "v", v)
			text := out.String()
			for _, leak := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary),
				strings.Trim(fmt.Sprint(pwd), "[]"), strings.Trim(fmt.Sprintf("%#v", pwd), "[]byte{}")} {
				if strings.Contains(text, leak) {
					t.Errorf("found the password in\n%s", text)
				}
			}
		})
	}
	out, err := json.Marshal(bind)
	if err != nil || string(out) != `"message 1: bind, 33 bytes"` {
		t.Errorf("json.Marshal = %s, %v", out, err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("read", "msg", bind)
	if want := `"msg":{"msg_id":1,"op":"bind","size":33}`; !strings.Contains(log.String(), want) {
		t.Errorf("logged %s, want %s in it", log.String(), want)
	}
}
