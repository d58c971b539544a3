package jsonbody

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dirgate/dirgate/store/secret"
)

// Max bounds the body of a request, in bytes: a name and two passwords,
// every character of them escaped.
const Max = 16 << 10

// ErrForm is a body that is not what an operation takes.
var ErrForm = errors.New("malformed request")

// Read reads a JSON object (RFC 8259) whose values are strings, and whose
// members are exactly those wanted. The values are secrets, right out of the
// body: nothing else keeps a copy, and the body is wiped. The caller wipes them.
//
// The error says what is wrong with the form, and never what is in it.
func Read(body io.Reader, want ...string) (map[string]secret.Bytes, error) {
	raw, err := readAll(body)
	defer clear(raw)
	if err != nil {
		return nil, err
	}
	values, err := parseObject(raw, want)
	if err != nil {
		for _, v := range values {
			v.Wipe()
		}
		return nil, err
	}
	return values, nil
}

// readAll is io.ReadAll into one buffer that is never moved, so that it leaves
// no copies.
func readAll(body io.Reader) ([]byte, error) {
	raw := make([]byte, Max+1)
	n, err := io.ReadFull(body, raw)
	switch {
	case err == nil:
		return raw, ErrTooLarge
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return raw[:n], nil
	}
	return raw, fmt.Errorf("read the request: %w", err)
}

// ErrTooLarge is a body of more than Max bytes. It is an ErrForm.
var ErrTooLarge = fmt.Errorf("%w: at most %d bytes are taken", ErrForm, Max)

func parseObject(raw []byte, want []string) (map[string]secret.Bytes, error) {
	values := make(map[string]secret.Bytes)
	s := scanner{b: raw}
	if !s.take('{') {
		return values, fmt.Errorf("%w: want a JSON object", ErrForm)
	}
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return values, fmt.Errorf("%w: want a comma or the end of the object", ErrForm)
		}
		key, err := s.text()
		if err != nil {
			return values, err
		}
		member := ""
		for _, w := range want {
			if w == string(key) {
				member = w
			}
		}
		clear(key)
		if _, twice := values[member]; member == "" || twice {
			return values, fmt.Errorf("%w: a member is unknown or is there twice; want %q", ErrForm, want)
		}
		if !s.take(':') {
			return values, fmt.Errorf("%w: want a colon", ErrForm)
		}
		value, err := s.text()
		if err != nil {
			return values, err
		}
		values[member] = secret.Take(value)
	}
	if s.space(); len(s.b) > 0 {
		return values, fmt.Errorf("%w: something follows the object", ErrForm)
	}
	if len(values) != len(want) {
		return values, fmt.Errorf("%w: want the members %q", ErrForm, want)
	}
	return values, nil
}

// scanner reads JSON from the front of b.
type scanner struct{ b []byte }

func (s *scanner) space() {
	for len(s.b) > 0 && (s.b[0] == ' ' || s.b[0] == '\t' || s.b[0] == '\n' || s.b[0] == '\r') {
		s.b = s.b[1:]
	}
}

func (s *scanner) take(c byte) bool {
	s.space()
	if len(s.b) == 0 || s.b[0] != c {
		return false
	}
	s.b = s.b[1:]
	return true
}

// text reads a string into memory of its own, which never moves.
func (s *scanner) text() ([]byte, error) {
	if !s.take('"') {
		return nil, fmt.Errorf("%w: want a string", ErrForm)
	}
	end := 0
	for ; end < len(s.b) && s.b[end] != '"'; end++ {
		if s.b[end] == '\\' {
			end++
		}
	}
	if end >= len(s.b) {
		return nil, fmt.Errorf("%w: a string has no end", ErrForm)
	}
	quoted := s.b[:end]
	s.b = s.b[end+1:]
	out := make([]byte, 0, len(quoted)+utf8.UTFMax)
	for len(quoted) > 0 {
		c, size := utf8.DecodeRune(quoted)
		switch {
		case c == utf8.RuneError && size <= 1, c < ' ':
			clear(out)
			return nil, fmt.Errorf("%w: a string is not UTF-8, or has a control character that is not escaped", ErrForm)
		case c == '\\':
			var ok bool
			if c, size, ok = unescape(quoted); !ok {
				clear(out)
				return nil, fmt.Errorf("%w: a string has an escape that stands for nothing", ErrForm)
			}
		}
		out = utf8.AppendRune(out, c)
		quoted = quoted[size:]
	}
	return out, nil
}

// unescape reads one escape, and how long it is.
func unescape(b []byte) (r rune, size int, ok bool) {
	if len(b) < 2 {
		return 0, 0, false
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2, true
	case 'b':
		return '\b', 2, true
	case 'f':
		return '\f', 2, true
	case 'n':
		return '\n', 2, true
	case 'r':
		return '\r', 2, true
	case 't':
		return '\t', 2, true
	case 'u':
	default:
		return 0, 0, false
	}
	r, ok = hex4(b[2:])
	if !ok || !utf16.IsSurrogate(r) {
		return r, 6, ok
	}
	if len(b) < 12 || b[6] != '\\' || b[7] != 'u' {
		return 0, 0, false // half of a pair stands for nothing
	}
	low, ok := hex4(b[8:])
	r = utf16.DecodeRune(r, low)
	return r, 12, ok && r != utf8.RuneError
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		r <<= 4
		switch {
		case '0' <= c && c <= '9':
			r |= rune(c - '0')
		case 'a' <= c && c <= 'f':
			r |= rune(c - 'a' + 10)
		case 'A' <= c && c <= 'F':
			r |= rune(c - 'A' + 10)
		default:
			return 0, false
		}
	}
	return r, true
}
