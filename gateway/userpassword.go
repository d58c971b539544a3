package gateway

import (
	"bytes"
	"errors"
	"strings"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// userPassword is the password for nearly every directory but Active
// Directory: there it is an ordinary attribute that everybody may read, unless
// dSHeuristics says otherwise (fUserPwdSupport, MS-ADTS 3.1.1.3.1.5.2). To let
// a write pass would publish the password and change nothing.

// add relays an Add; one that sets a password is captured.
func (s *session) add(msg ldapwire.Message) error {
	req, err := ldapwire.ParseAddRequest(msg.Body)
	if err != nil {
		return s.answerLocally(msg, ldapwire.ResultProtocolError, "malformed add request")
	}
	found, refused := findAddedPassword(req)
	if refused != nil {
		return s.answerLocally(msg, refused.code, refused.why)
	}
	return s.setPassword(msg, string(req.DN), found)
}

// findAddedPassword looks for the password of a new account; of several
// values of unicodePwd the last one wins, as it does in AD.
func findAddedPassword(req ldapwire.AddRequest) (*newPassword, *requestRefusal) {
	var quoted, plain passwordMods
	var count writeCount
	mustChange := false
	for attr, ok := req.Next(); ok; attr, ok = req.Next() {
		count.add(attr.Values)
		mod := ldapwire.Modification{Op: ldapwire.ModAdd, Type: attr.Type, Values: attr.Values}
		switch {
		case ldapwire.IsAttr(attr.Type, ldapwire.AttrUserPassword):
			plain.add(mod)
		case ldapwire.IsAttr(attr.Type, ldapwire.AttrUnicodePwd):
			quoted.add(mod)
		case ldapwire.IsAttr(attr.Type, ldapwire.AttrPwdLastSet):
			mustChange = string(lastValue(attr.Values)) == "0"
		}
	}
	if refused := refusedWrites(&count, &quoted, &plain); refused != nil {
		return nil, refused
	}
	if plain.value != nil {
		if refused := plain.refusedPlain(quoted.seen); refused != nil {
			return nil, refused
		}
		return &newPassword{kind: identity.PasswordAdd, value: plain.value, plain: true, mustChange: mustChange}, nil
	}
	if quoted.value == nil {
		return nil, nil
	}
	return &newPassword{kind: identity.PasswordAdd, value: quoted.value, mustChange: mustChange}, nil
}

// refusedPlain says which writes of userPassword mean nothing: there is one
// password, and one way at a time to write it.
func (p *passwordMods) refusedPlain(quoted bool) *requestRefusal {
	switch {
	case quoted:
		return &requestRefusal{ldapwire.ResultUnwillingToPerform, "userPassword and unicodePwd in one request: which is the password?"}
	case p.strange:
		return &requestRefusal{ldapwire.ResultUnwillingToPerform, "userPassword can be added, deleted and replaced"}
	case p.added > 1 || p.deleted > 1:
		return &requestRefusal{ldapwire.ResultConstraintViolation, "userPassword with several values: an account has one password"}
	}
	return nil
}

// decodeUserPassword reads a password in UTF-8, and refuses one that could
// not be the account's.
func decodeUserPassword(value []byte) (secret.Bytes, *requestRefusal) {
	quoted, refused := quoteNewPassword(value)
	if refused != nil {
		return secret.Bytes{}, refused
	}
	clear(quoted)
	return secret.New(value), nil
}

// quoteNewPassword refuses a hash, and is quotePassword otherwise.
func quoteNewPassword(password []byte) ([]byte, *requestRefusal) {
	if isHashed(password) {
		return nil, &requestRefusal{ldapwire.ResultUnwillingToPerform, "a hashed password cannot be used: send the password itself"}
	}
	return quotePassword(password)
}

// quotePassword makes the value of unicodePwd; the caller clears it.
func quotePassword(password []byte) ([]byte, *requestRefusal) {
	if len(password) > longestPassword { // in UTF-16 it has at most twice the bytes
		return nil, &requestRefusal{ldapwire.ResultConstraintViolation, "0000052D: the password is too long"}
	}
	quoted, err := ldapwire.AppendUnicodePwd(nil, password)
	switch {
	case err == nil && len(quoted) > longestPassword:
		clear(quoted)
		return nil, &requestRefusal{ldapwire.ResultConstraintViolation, "0000052D: the password is too long"}
	case err == nil:
		return quoted, nil
	case errors.Is(err, ldapwire.ErrPwdEmpty):
		return nil, &requestRefusal{ldapwire.ResultConstraintViolation, "0000052D: an empty password is refused"}
	}
	return nil, &requestRefusal{ldapwire.ResultUnwillingToPerform, "0000001F: " + err.Error()}
}

// isHashed recognises what Unix tools store instead of a password: the name
// of a scheme in braces, such as {SSHA} or {CRYPT}, and the hash (RFC 2307
// section 5.3).
func isHashed(password []byte) bool {
	if len(password) == 0 || password[0] != '{' {
		return false
	}
	scheme, _, ok := bytes.Cut(password[1:], []byte("}"))
	if !ok || len(scheme) == 0 || len(scheme) > 32 {
		return false
	}
	for _, c := range scheme {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_./", c) >= 0) {
			return false
		}
	}
	return true
}

// errNoTranslation refuses what AD would publish.
var errNoTranslation = &requestRefusal{ldapwire.ResultUnwillingToPerform,
	"userPassword is an ordinary, readable attribute in Active Directory; write unicodePwd instead"}

// translateUserPassword decides what becomes of a write of userPassword: it
// passes where it is the password, and else is made one of unicodePwd, with
// the rights of the client and everything else in the request as it was.
func translateUserPassword(s *session, w *passwordWrite) error {
	supported, err := s.userPasswordSupported()
	if err != nil || supported {
		return err
	}
	if s.srv.cfg.NoPasswordTranslation {
		return errNoTranslation
	}
	translate := translateModify
	if w.kind == identity.PasswordAdd {
		translate = translateAdd
	}
	frame, err := translate(w.msg)
	if err != nil {
		return err
	}
	w.sendInstead(frame)
	return nil
}

// userPasswordSupported asks the DC whether userPassword is the password,
// once per connection: a DC applies the setting to new ones.
func (s *session) userPasswordSupported() (bool, error) {
	if s.up.userPassword != nil {
		return *s.up.userPassword, nil
	}
	config, err := s.readValue("", "configurationNamingContext")
	if err != nil || len(config) == 0 {
		return false, err
	}
	heuristics, err := s.readValue("CN=Directory Service,CN=Windows NT,CN=Services,"+string(config), "dSHeuristics")
	if err != nil {
		return false, err
	}
	supported := userPwdSupport(heuristics)
	s.up.userPassword = &supported
	return supported, nil
}

// userPwdSupport reads fUserPwdSupport, the ninth character of dSHeuristics:
// anything but 0 and 2 (MS-ADTS 6.1.1.2.4.1.2).
func userPwdSupport(heuristics []byte) bool {
	return len(heuristics) >= 9 && heuristics[8] != '0' && heuristics[8] != '2'
}

// translateModify writes unicodePwd for userPassword, each modification where
// it was.
func translateModify(msg ldapwire.Message) ([]byte, error) {
	req, err := ldapwire.ParseModifyRequest(msg.Body)
	if err != nil {
		return nil, err
	}
	var values translatedValues
	defer values.wipe()
	mods := make([]ldapwire.Mod, 0, req.Len())
	for mod, ok := req.Next(); ok; mod, ok = req.Next() {
		name, list, err := values.of(mod.Type, mod.Values)
		if err != nil {
			return nil, err
		}
		mods = append(mods, ldapwire.Mod{Op: mod.Op, Type: name, Values: list})
	}
	return withControls(ldapwire.AppendModifyRequest(nil, msg.ID, string(req.DN), mods...), msg)
}

// translateAdd does the same for an Add.
func translateAdd(msg ldapwire.Message) ([]byte, error) {
	req, err := ldapwire.ParseAddRequest(msg.Body)
	if err != nil {
		return nil, err
	}
	var values translatedValues
	defer values.wipe()
	attrs := make([]ldapwire.AttributeValues, 0, req.Len())
	for attr, ok := req.Next(); ok; attr, ok = req.Next() {
		name, list, err := values.of(attr.Type, attr.Values)
		if err != nil {
			return nil, err
		}
		attrs = append(attrs, ldapwire.AttributeValues{Type: name, Values: list})
	}
	return withControls(ldapwire.AppendAddRequest(nil, msg.ID, string(req.DN), attrs), msg)
}

// translatedValues are the passwords written on the way.
type translatedValues [][]byte

func (t *translatedValues) wipe() {
	for _, v := range *t {
		clear(v)
	}
}

// of gives name and values of an attribute, those of unicodePwd in place of
// those of userPassword.
func (t *translatedValues) of(name []byte, values ldapwire.Values) (string, [][]byte, error) {
	isPassword := ldapwire.IsAttr(name, ldapwire.AttrUserPassword)
	var list [][]byte
	for v, ok := values.Next(); ok; v, ok = values.Next() {
		if isPassword {
			quoted, refused := quoteNewPassword(v)
			if refused != nil {
				return "", nil, refused
			}
			*t = append(*t, quoted)
			v = quoted
		}
		list = append(list, v)
	}
	if isPassword {
		return ldapwire.AttrUnicodePwd.String(), list, nil
	}
	return string(name), list, nil
}

// withControls puts the client's controls on a request made from its own. The
// frame, which holds a password, is cleared if it is not the result.
func withControls(frame []byte, client ldapwire.Message) ([]byte, error) {
	if client.Controls == nil {
		return frame, nil
	}
	defer clear(frame)
	msg, err := ldapwire.ParseMessage(frame)
	if err != nil {
		return nil, err
	}
	return ldapwire.AppendMessage(nil, msg.ID, msg.Op, msg.Body, client.Controls), nil
}
