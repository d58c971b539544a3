package jumpcloud

import (
	"context"
	"errors"
	"net/http"
	"unicode/utf8"

	"github.com/dirgate/dirgate/store/secret"
)

// SetPassword sets a user's password, once. JumpCloud answers 400 for one that
// breaks its policy; for this request it names the rule in its message only.
// pw must be UTF-8 without NUL; it stays the caller's.
func (c *Client) SetPassword(ctx context.Context, id string, pw secret.Bytes) error {
	path, err := idPath("/api/systemusers/", id, "/password")
	if err != nil {
		return err
	}
	body, err := passwordBody(pw)
	if err != nil {
		return &apiError{op: "POST " + c.basePath + path, stage: notSent, cause: err}
	}
	defer body.wipe()
	return c.do(ctx, call{method: http.MethodPost, path: path, body: body, hide: pw})
}

// passwordBody is {"password":...}, in one buffer that never grows: encoding/json
// would leave copies behind.
func passwordBody(pw secret.Bytes) (*body, error) {
	raw := pw.Expose()
	switch {
	case len(raw) == 0:
		return nil, errors.New("the password is empty")
	case !utf8.Valid(raw):
		return nil, errors.New("the password is not valid UTF-8")
	}
	const head = `{"password":`
	text := make([]byte, 0, len(head)+maxEscaped*len(raw)+len(`""}`))
	text = appendJSON(append(text, head...), raw)
	return &body{bytes: append(text, '}')}, nil
}

// maxEscaped is how many bytes one byte of text can need.
const maxEscaped = len(`\u0000`)

// appendJSON appends UTF-8 text as a JSON string (RFC 8259 section 7).
func appendJSON(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, b := range text {
		switch {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		default:
			dst = append(dst, b)
		}
	}
	return append(dst, '"')
}
