package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// A DC counts a wrong old password in a change as it counts one in a bind, and
// anybody may try it on anybody. So the old password is guarded as well.

// tooManyTries is what a client is told whose change is not passed on.
const tooManyTries = "00000056: the old password is wrong, or too many wrong ones were tried: dirgate did not ask the domain controller; try again later"

// Win32 errors of a change whose old password is wrong (winerror.h:
// ERROR_INVALID_PASSWORD, and STATUS_WRONG_PASSWORD as some DCs say it).
const (
	errorInvalidPassword = 0x56
	statusWrongPassword  = 0x56a
)

// guardChange asks the lockout guard about the old password of a change. The
// attempt must be settled; nil: there is nothing to guard.
func (s *session) guardChange(w *passwordWrite, account identity.Account) (*attempt, error) {
	g := s.srv.guard
	if g == nil || w.kind != identity.PasswordChange {
		return nil, nil
	}
	old, ok := oldPassword(w.frame)
	if !ok {
		return nil, nil // no password that a DC could take for right or wrong
	}
	defer old.Wipe()
	key := nameKey(account.Domain, account.DN)
	if !account.GUID.IsZero() {
		key = accountKey(account)
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.BindTimeout)
	defer cancel()
	m := g.markOf(old)
	for {
		d := g.admit(bindName{domain: account.Domain, key: key}, s.address, m)
		switch {
		case d.try != nil:
			return d.try, nil
		case d.answer != nil:
			s.srv.cfg.Metrics.guarded.WithLabelValues(d.held).Inc()
			if d.held == heldAddress {
				return nil, &requestRefusal{ldapwire.ResultBusy, d.answer.text}
			}
			return nil, &requestRefusal{ldapwire.ResultConstraintViolation, tooManyTries}
		}
		select {
		case <-d.wait:
		case <-ctx.Done():
			return nil, errors.New("binds of this account are not answered yet; try again later")
		}
	}
}

// oldPassword is the value of unicodePwd that a Modify deletes, or, where
// userPassword was left as it is, of that.
func oldPassword(frame []byte) (old secret.Bytes, ok bool) {
	msg, err := ldapwire.ParseMessage(frame)
	if err != nil {
		return old, false
	}
	req, err := ldapwire.ParseModifyRequest(msg.Body)
	if err != nil {
		return old, false
	}
	var value, plain []byte
	for mod, more := req.Next(); more; mod, more = req.Next() {
		switch {
		case mod.Op != ldapwire.ModDelete:
		case ldapwire.IsAttr(mod.Type, ldapwire.AttrUnicodePwd):
			value = lastValue(mod.Values)
		case ldapwire.IsAttr(mod.Type, ldapwire.AttrUserPassword):
			plain = lastValue(mod.Values)
		}
	}
	switch {
	case len(value) > longestPassword || len(plain) > longestPassword:
		return old, false
	case value == nil && plain != nil:
		return secret.New(plain), true
	case value == nil:
		return old, false
	}
	old, err = ldapwire.DecodeUnicodePwd(value)
	return old, err == nil
}

// changeSettled is called with what became of a guarded change.
func (a *attempt) changeSettled(answer ldapwire.Message, err error) {
	if a == nil {
		return
	}
	if err != nil {
		a.bindFailed(err)
		return
	}
	res, err := ldapwire.ParseResult(answer.Body)
	if err != nil {
		a.unsettled(true)
		return
	}
	code, _ := ldapwire.Win32Code(res.Diagnostic)
	a.finish(func(s *subject, now time.Time) {
		if res.Code == ldapwire.ResultConstraintViolation && (code == errorInvalidPassword || code == statusWrongPassword) {
			a.refused(s, now, guardAnswer{ldapwire.ResultInvalidCredentials, acceptSecurityContext52e})
		}
	})
}
