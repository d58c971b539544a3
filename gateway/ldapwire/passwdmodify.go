package ldapwire

import (
	"fmt"
	"slices"

	"github.com/dirgate/dirgate/store/secret"
)

// Fields of PasswdModifyRequestValue and its response (RFC 3062 section 2).
const (
	tagUserIdentity = 0x80
	tagOldPassword  = 0x81
	tagNewPassword  = 0x82
	tagGenPassword  = 0x80
)

// A PasswdModify is the value of a password modify request (RFC 3062), without
// the passwords: it only knows where in the value they are.
type PasswdModify struct {
	UserIdentity    []byte // may or may not be a DN
	HasUserIdentity bool   // absent: the bound user
	HasOld          bool
	HasNew          bool // absent: the server is asked to generate one

	old, new span
}

// A span is where contents lie in a value.
type span struct{ start, end int }

func (s span) copyFrom(value []byte) secret.Bytes {
	if s.start < 0 || s.end < s.start || s.end > len(value) {
		return secret.Bytes{} // not the value it was parsed from
	}
	return secret.New(value[s.start:s.end])
}

// ParsePasswdModifyValue decodes the value of a password modify request. It
// refuses fields that are repeated or out of order.
func ParsePasswdModifyValue(value []byte) (PasswdModify, error) {
	c := cursor{b: value}
	in := cursor{b: c.expect(tagSequence), err: c.err}
	if err := c.end(); err != nil {
		return PasswdModify{}, fmt.Errorf("parse password modify value: %w", err)
	}
	// The sequence ends where the value does, so what is left of it tells how
	// far the cursor has come.
	field := func(tag byte) (span, bool) {
		contents, ok := in.optional(tag)
		end := len(value) - len(in.b)
		return span{end - len(contents), end}, ok
	}
	var p PasswdModify
	p.UserIdentity, p.HasUserIdentity = in.optional(tagUserIdentity)
	p.old, p.HasOld = field(tagOldPassword)
	p.new, p.HasNew = field(tagNewPassword)
	for in.more() {
		if tag, _ := in.element(); tagUserIdentity <= tag && tag <= tagNewPassword {
			in.fail(errTrailing)
		}
	}
	if in.err != nil {
		return PasswdModify{}, fmt.Errorf("parse password modify value: %w", in.err)
	}
	return p, nil
}

// OldPassword copies the old password out of the value p was parsed from; empty
// if it is absent. The caller must Wipe it.
func (p PasswdModify) OldPassword(value []byte) secret.Bytes {
	if !p.HasOld {
		return secret.Bytes{}
	}
	return p.old.copyFrom(value)
}

// NewPassword copies the new password out of the value p was parsed from; empty
// if it is absent. The caller must Wipe it.
func (p PasswdModify) NewPassword(value []byte) secret.Bytes {
	if !p.HasNew {
		return secret.Bytes{}
	}
	return p.new.copyFrom(value)
}

// AppendPasswdModifyValue appends the value of a password modify request. A nil
// field is absent, an empty one is not. dst grows at most once.
func AppendPasswdModifyValue(dst []byte, userIdentity, oldPassword, newPassword []byte) []byte {
	dst = slices.Grow(dst, len(userIdentity)+len(oldPassword)+len(newPassword)+4*maxHeader)
	at := len(dst)
	if userIdentity != nil {
		dst = appendElement(dst, tagUserIdentity, userIdentity)
	}
	if oldPassword != nil {
		dst = appendElement(dst, tagOldPassword, oldPassword)
	}
	if newPassword != nil {
		dst = appendElement(dst, tagNewPassword, newPassword)
	}
	return enclose(dst, at, tagSequence)
}

// ParsePasswdModifyResponse decodes the value of a password modify response:
// the generated password, if there is one. The caller must Wipe it.
func ParsePasswdModifyResponse(value []byte) (generated secret.Bytes, ok bool, err error) {
	c := cursor{b: value}
	in := cursor{b: c.expect(tagSequence), err: c.err}
	password, ok := in.optional(tagGenPassword)
	if err := in.finish(); err != nil {
		c.fail(err)
	}
	if err := c.end(); err != nil {
		return secret.Bytes{}, false, fmt.Errorf("parse password modify response: %w", err)
	}
	if !ok {
		return secret.Bytes{}, false, nil
	}
	return secret.New(password), true, nil
}

// AppendPasswdModifyResponse appends the value of a password modify response
// with a generated password. dst grows at most once.
func AppendPasswdModifyResponse(dst []byte, generated []byte) []byte {
	dst = slices.Grow(dst, len(generated)+2*maxHeader)
	at := len(dst)
	dst = appendElement(dst, tagGenPassword, generated)
	return enclose(dst, at, tagSequence)
}
