package ldapwire

import (
	"bytes"
	"fmt"

	"github.com/dirgate/dirgate/store/secret"
)

// An AuthChoice is the tag of a bind's credentials (RFC 4511 section 4.2).
// Others than these two exist: Microsoft's Sicily package uses 0x89 to 0x8b
// (MS-ADTS 5.1.1.1.3).
type AuthChoice byte

// Authentication choices.
const (
	AuthSimple AuthChoice = 0x80
	AuthSASL   AuthChoice = 0xa3
)

// A BindRequest is a bind without its credentials: it only knows where in the
// body they are.
type BindRequest struct {
	Version        int // 3 for LDAPv3; 0 to 2^31-1 is accepted here
	Name           []byte
	Auth           AuthChoice
	Mechanism      []byte // AuthSASL only
	HasCredentials bool   // AuthSASL only: absent and empty differ (RFC 4513 section 5.2.1.3)

	start, end int // of the password, or of the SASL credentials
}

// ParseBindRequest decodes the body of a bind. It refuses anything behind the
// credentials: nothing is defined there, and a second choice would be one that
// a different reader could prefer.
func ParseBindRequest(body []byte) (BindRequest, error) {
	c := cursor{b: body}
	b := BindRequest{Version: int(c.number(tagInteger)), Name: c.octets()}
	tag, credentials := c.element()
	b.end = len(body) - len(c.b)
	b.start = b.end - len(credentials)
	if c.err == nil && tag&tagClassMask != tagContext {
		c.fail(errTag)
	}
	if err := c.end(); err != nil {
		return BindRequest{}, fmt.Errorf("parse bind request: %w", err)
	}
	b.Auth = AuthChoice(tag)
	if b.Auth == AuthSASL {
		if err := b.parseSASL(credentials); err != nil {
			return BindRequest{}, fmt.Errorf("parse bind request: %w", err)
		}
	}
	return b, nil
}

func (b *BindRequest) parseSASL(contents []byte) error {
	c := cursor{b: contents}
	b.Mechanism = c.octets()
	credentials, ok := c.optional(tagOctets)
	b.HasCredentials = ok
	b.start = b.end - len(credentials)
	return c.end()
}

func (b BindRequest) credentials(body []byte) []byte {
	if b.start < 0 || b.end < b.start || b.end > len(body) {
		return nil // not the body it was parsed from
	}
	return body[b.start:b.end]
}

// Password copies the password of a simple bind out of the body b was parsed
// from; empty for other binds. The caller must Wipe it.
func (b BindRequest) Password(body []byte) secret.Bytes {
	if b.Auth != AuthSimple {
		return secret.Bytes{}
	}
	return secret.New(b.credentials(body))
}

// Credentials copies the SASL credentials out of the body b was parsed from;
// empty for other binds. The caller must Wipe them.
func (b BindRequest) Credentials(body []byte) secret.Bytes {
	if b.Auth != AuthSASL {
		return secret.Bytes{}
	}
	return secret.New(b.credentials(body))
}

// PasswordEmpty reports whether a simple bind has an empty password: it is
// anonymous, or with a name, unauthenticated (RFC 4513 sections 5.1.1, 5.1.2).
func (b BindRequest) PasswordEmpty() bool { return b.Auth == AuthSimple && b.start == b.end }

// PasswordLen returns how many bytes the password of a simple bind has.
func (b BindRequest) PasswordLen() int {
	if b.Auth != AuthSimple {
		return 0
	}
	return b.end - b.start
}

// PasswordHasNUL reports whether the password of a simple bind contains a NUL:
// servers may check only what comes before it.
func (b BindRequest) PasswordHasNUL(body []byte) bool {
	return b.Auth == AuthSimple && bytes.IndexByte(b.credentials(body), 0) >= 0
}
