package gateway

import (
	"errors"
	"strconv"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// newPassword is what a request would do to the password (MS-ADTS
// 3.1.1.3.1.5).
type newPassword struct {
	kind       identity.ChangeKind
	value      []byte // the new value as sent; valid as long as the message
	plain      bool   // it is that of userPassword: UTF-8, and not of unicodePwd
	mustChange bool
}

// longestDN bounds the target of a password change, in bytes: it is stored
// with the change. AD's own names are far shorter.
const longestDN = 4096

// longestPassword bounds a value of unicodePwd, in bytes: 2047 UTF-16 code
// units and the quotes. AD's own limit is 256; a value of a megabyte keeps a
// DC busy for a minute.
const longestPassword = 4096

// requestRefusal is a request that must not reach the DC.
type requestRefusal struct {
	code ldapwire.ResultCode
	why  string
}

func (r *requestRefusal) Error() string { return r.why }

// modify relays a Modify; one that sets a password is captured.
func (s *session) modify(msg ldapwire.Message) error {
	req, err := ldapwire.ParseModifyRequest(msg.Body)
	if err != nil {
		return s.answerLocally(msg, ldapwire.ResultProtocolError, "malformed modify request")
	}
	found, refused := findPasswordWrite(req)
	if refused != nil {
		return s.answerLocally(msg, refused.code, refused.why)
	}
	return s.setPassword(msg, string(req.DN), found)
}

// setPassword handles a Modify or an Add that sets the password found in it;
// nil: it sets none.
func (s *session) setPassword(msg ldapwire.Message, dn string, found *newPassword) error {
	if found == nil {
		return s.relay(msg)
	}
	if refused := s.refusedWrite(dn); refused != nil {
		return s.answerLocally(msg, refused.code, refused.why)
	}
	if err := s.upstreamReady(); err != nil {
		return s.unreachable(msg, err)
	}
	guarded := s.srv.guard != nil && found.kind == identity.PasswordChange
	if !found.plain && !s.up.domain.Capture && !guarded {
		return s.relay(msg)
	}
	w := &passwordWrite{msg: msg, kind: found.kind, mustChange: found.mustChange, dn: dn, frame: msg.Raw}
	var refused *requestRefusal
	if found.plain {
		w.prepare = translateUserPassword
		w.password, refused = decodeUserPassword(found.value)
	} else {
		w.password, refused = decodePassword(found.value)
	}
	if refused != nil {
		return s.answerLocally(msg, refused.code, refused.why)
	}
	return s.write(w)
}

// refusedWrite says why the session may not write any password of an entry;
// nil: it may.
func (s *session) refusedWrite(dn string) *requestRefusal {
	if len(dn) > longestDN {
		return &requestRefusal{ldapwire.ResultInvalidDNSyntax, "DN longer than " + strconv.Itoa(longestDN) + " bytes"}
	}
	if !s.bound {
		// AD answers the same; nothing is recorded for strangers.
		return &requestRefusal{ldapwire.ResultOperationsError,
			"000004DC: a successful bind must be completed on the connection before a password is changed"}
	}
	return s.refusedToSASL()
}

// findPasswordWrite looks for a new password among all the modifications, in
// any order; the last value of unicodePwd wins, as it does in AD. nil: the
// request sets no password (what it then does to unicodePwd, AD refuses, and
// userPassword it takes away).
func findPasswordWrite(req ldapwire.ModifyRequest) (*newPassword, *requestRefusal) {
	var quoted, plain passwordMods
	var count writeCount
	mustChange := false
	for mod, ok := req.Next(); ok; mod, ok = req.Next() {
		count.add(mod.Values)
		switch {
		case ldapwire.IsAttr(mod.Type, ldapwire.AttrUserPassword):
			plain.add(mod)
		case ldapwire.IsAttr(mod.Type, ldapwire.AttrPwdLastSet):
			last := lastValue(mod.Values)
			mustChange = mod.Op != ldapwire.ModDelete && string(last) == "0"
		case ldapwire.IsAttr(mod.Type, ldapwire.AttrUnicodePwd):
			quoted.add(mod)
		}
	}
	if refused := refusedWrites(&count, &quoted, &plain); refused != nil {
		return nil, refused
	}
	if plain.value != nil {
		if refused := plain.refusedPlain(quoted.seen); refused != nil {
			return nil, refused
		}
		return &newPassword{kind: plain.kind(), value: plain.value, plain: true, mustChange: mustChange}, nil
	}
	if quoted.value == nil {
		return nil, nil
	}
	return &newPassword{kind: quoted.kind(), value: quoted.value, mustChange: mustChange}, nil
}

// passwordMods is what the modifications of one attribute come to.
type passwordMods struct {
	seen             bool
	value            []byte // the last new one
	replaces, proves bool
	added, deleted   int // values
	longest          int // bytes of one
	strange          bool
}

func (p *passwordMods) add(mod ldapwire.Modification) {
	p.seen = true
	var last []byte
	for v, ok := mod.Values.Next(); ok; v, ok = mod.Values.Next() {
		last = v
		p.longest = max(p.longest, len(v))
		if mod.Op == ldapwire.ModDelete {
			p.deleted++
		} else {
			p.added++
		}
	}
	if mod.Op == ldapwire.ModDelete {
		p.proves = p.proves || last != nil
		return
	}
	p.replaces = p.replaces || mod.Op == ldapwire.ModReplace
	p.strange = p.strange || (mod.Op != ldapwire.ModReplace && mod.Op != ldapwire.ModAdd)
	if last != nil {
		p.value = last
	}
}

func (p *passwordMods) kind() identity.ChangeKind {
	if p.proves && !p.replaces {
		return identity.PasswordChange
	}
	return identity.PasswordReset
}

func lastValue(values ldapwire.Values) (last []byte) {
	for v, ok := values.Next(); ok; v, ok = values.Next() {
		last = v
	}
	return last
}

// decodePassword reads the new value, and refuses one that could not be
// replicated: what the DC accepts must be what is captured.
func decodePassword(value []byte) (secret.Bytes, *requestRefusal) {
	if len(value) > longestPassword {
		return secret.Bytes{}, &requestRefusal{ldapwire.ResultConstraintViolation, "0000052D: the password is too long"}
	}
	password, err := ldapwire.DecodeUnicodePwd(value)
	switch {
	case err == nil:
		return password, nil
	case errors.Is(err, ldapwire.ErrPwdEmpty):
		return secret.Bytes{}, &requestRefusal{ldapwire.ResultConstraintViolation,
			"0000052D: an empty password is refused"}
	case errors.Is(err, ldapwire.ErrPwdNUL), errors.Is(err, ldapwire.ErrPwdSurrogate):
		return secret.Bytes{}, &requestRefusal{ldapwire.ResultUnwillingToPerform,
			"0000001F: a password with NUL or an unpaired surrogate cannot be used for simple binds"}
	}
	return secret.Bytes{}, &requestRefusal{ldapwire.ResultUnwillingToPerform,
		"0000001F: unicodePwd must be the password in double quotes, encoded as UTF-16LE"}
}
