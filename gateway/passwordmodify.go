package gateway

import (
	"bytes"
	"crypto/rand"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// passwordModify is the Password Modify operation (RFC 3062), which AD does
// not have. It becomes a Modify of unicodePwd on the client's own connection:
// a change where the client gives the old password, else a reset, for which AD
// wants the client to have the right. The answer is AD's.
func (s *session) passwordModify(msg ldapwire.Message, req ldapwire.ExtendedRequest) error {
	if s.srv.cfg.NoPasswordTranslation {
		return s.answerLocally(msg, ldapwire.ResultProtocolError, "password modify (RFC 3062) is not supported")
	}
	var fields ldapwire.PasswdModify
	if req.HasValue {
		var err error
		if fields, err = ldapwire.ParsePasswdModifyValue(req.Value); err != nil {
			return s.answerLocally(msg, ldapwire.ResultProtocolError, "malformed password modify request")
		}
	}
	if refused := s.refusedWrite(""); refused != nil {
		return s.answerLocally(msg, refused.code, refused.why)
	}
	if err := s.upstreamReady(); err != nil {
		return s.unreachable(msg, err)
	}
	w := &passwordWrite{msg: msg, kind: identity.PasswordReset}
	mods, refused := passwordModifyMods(w, fields, req.Value)
	defer mods.wipe()
	if refused != nil {
		w.wipe()
		return s.answerLocally(msg, refused.code, refused.why)
	}
	w.prepare = func(s *session, w *passwordWrite) (err error) {
		if fields.HasUserIdentity {
			w.dn, err = s.resolveUser(string(fields.UserIdentity))
		} else {
			w.dn, err = s.resolveSelf()
		}
		if err != nil {
			return err
		}
		frame, err := withControls(ldapwire.AppendModifyRequest(nil, msg.ID, w.dn, mods...), msg)
		if err == nil {
			w.sendInstead(frame)
		}
		return err
	}
	return s.write(w)
}

// pwdMods are modifications of unicodePwd, whose values are passwords.
type pwdMods []ldapwire.Mod

func (m pwdMods) wipe() {
	for _, mod := range m {
		for _, v := range mod.Values {
			clear(v)
		}
	}
}

// passwordModifyMods says what to do to unicodePwd, and sets kind and
// password of w.
func passwordModifyMods(w *passwordWrite, fields ldapwire.PasswdModify, value []byte) (mods pwdMods, refused *requestRefusal) {
	if fields.HasNew {
		w.password = fields.NewPassword(value)
	} else {
		w.password, w.generated = generatePassword(), true
	}
	quoted, refused := quoteNewPassword(w.password.Expose())
	if refused != nil {
		return nil, refused
	}
	name := ldapwire.AttrUnicodePwd.String()
	if !fields.HasOld {
		return pwdMods{{Op: ldapwire.ModReplace, Type: name, Values: [][]byte{quoted}}}, nil
	}
	w.kind = identity.PasswordChange
	mods = pwdMods{{Op: ldapwire.ModAdd, Type: name, Values: [][]byte{quoted}}}
	old := fields.OldPassword(value)
	defer old.Wipe()
	quotedOld, refused := quotePassword(old.Expose())
	if refused != nil {
		refused.why = "old password: " + refused.why
		return mods, refused
	}
	return pwdMods{{Op: ldapwire.ModDelete, Type: name, Values: [][]byte{quotedOld}}, mods[0]}, nil
}

// What generated passwords are made of: no characters that look alike, none
// that a shell or a form would change.
const (
	generatedLength = 20 // some 118 bits
	generatedLower  = "abcdefghijkmnpqrstuvwxyz"
	generatedUpper  = "ABCDEFGHJKLMNPQRSTUVWXYZ"
	generatedDigits = "23456789"
	generatedSigns  = "-_+=.:@%"
)

// generatePassword makes a password that common policies accept: long, and of
// four classes of characters.
func generatePassword() secret.Bytes {
	const all = generatedLower + generatedUpper + generatedDigits + generatedSigns // 64: no bias in 6 bits
	password := make([]byte, generatedLength)
	for {
		_, _ = rand.Read(password) // never fails
		for i, b := range password {
			password[i] = all[b%byte(len(all))]
		}
		if bytes.ContainsAny(password, generatedLower) && bytes.ContainsAny(password, generatedUpper) &&
			bytes.ContainsAny(password, generatedDigits) && bytes.ContainsAny(password, generatedSigns) {
			return secret.Take(password)
		}
	}
}
