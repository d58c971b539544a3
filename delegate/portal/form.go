package portal

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/dirgate/dirgate/store/secret"
)

// maxForm bounds the body of a request, in bytes: a name and three passwords,
// every byte of them escaped.
const maxForm = 16 << 10

var (
	errForm      = errors.New("malformed form")
	errFormLarge = fmt.Errorf("%w: more than %d bytes", errForm, maxForm)
)

// form is the fields of a request. All are secrets, right out of the body.
type form map[string]secret.Bytes

// text is a field that is not a secret.
func (f form) text(name string) string { return string(f[name].Expose()) }

func (f form) wipe() {
	for _, v := range f {
		v.Wipe()
	}
}

// readForm reads application/x-www-form-urlencoded (WHATWG URL 5.1): net/http
// would make strings of the passwords, which cannot be wiped. A field that is
// not in want, or is there twice, is an error. The caller wipes the form.
func readForm(body io.Reader, want ...string) (form, error) {
	raw := make([]byte, maxForm+1) // never moved, so that no copy is left
	defer clear(raw)
	n, err := io.ReadFull(body, raw)
	switch {
	case err == nil:
		return nil, errFormLarge
	case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("read the form: %w", err)
	}
	return parseForm(raw[:n], want)
}

func parseForm(raw []byte, want []string) (form, error) {
	f := make(form)
	for len(raw) > 0 {
		var pair []byte
		pair, raw, _ = bytes.Cut(raw, []byte("&"))
		if len(pair) == 0 {
			continue
		}
		key, value, _ := bytes.Cut(pair, []byte("="))
		name := ""
		for _, w := range want {
			if w == string(key) { // our names need no escapes
				name = w
			}
		}
		if _, twice := f[name]; name == "" || twice {
			f.wipe()
			return nil, fmt.Errorf("%w: a field is unknown or is there twice", errForm)
		}
		plain, ok := unescape(value)
		if !ok {
			f.wipe()
			return nil, fmt.Errorf("%w: a percent sign is not followed by two hex digits", errForm)
		}
		f[name] = plain
	}
	return f, nil
}

// unescape decodes a value into memory of its own.
func unescape(value []byte) (secret.Bytes, bool) {
	out := make([]byte, 0, len(value)+1)
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case '+':
			out = append(out, ' ')
		case '%':
			if i+2 >= len(value) {
				clear(out)
				return secret.Bytes{}, false
			}
			high, ok1 := hexDigit(value[i+1])
			low, ok2 := hexDigit(value[i+2])
			if !ok1 || !ok2 {
				clear(out)
				return secret.Bytes{}, false
			}
			out = append(out, high<<4|low)
			i += 2
		default:
			out = append(out, c)
		}
	}
	return secret.Take(out), true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
