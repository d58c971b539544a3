package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
)

// target is what the DC said about the entry before its password was changed.
type target struct {
	account    identity.Account
	pwdLastSet int64
}

// lockTarget reads the entry and takes the account's turn, which done gives
// on. What was read is from within the turn.
func (s *session) lockTarget(dn string) (t target, done func(), err error) {
	ended := s.srv.turns.ended.Load()
	if t, err = s.readTarget(dn); err != nil {
		return t, nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.BindTimeout)
	defer cancel()
	done, err = s.srv.turns.take(ctx, turnKey(t.account))
	if err != nil {
		return t, nil, errors.New("another change of this account's password is not finished; try again later")
	}
	if s.srv.turns.ended.Load() == ended {
		return t, done, nil
	}
	before := turnKey(t.account)
	if t, err = s.readTarget(dn); err == nil && turnKey(t.account) != before {
		err = errors.New("the account was replaced meanwhile; try again")
	}
	if err != nil {
		done()
		return t, nil, err
	}
	return t, done, nil
}

// readTarget reads the entry on the client's own connection, with the
// client's own rights. An entry that does not exist for the client leaves the
// GUID zero: the DC will refuse the change. Any other failure is an error,
// since a change must not be recorded for nobody, or for somebody else.
func (s *session) readTarget(dn string) (target, error) {
	t := target{account: identity.Account{Domain: s.up.domain.Name, DN: dn}}
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.BindTimeout)
	defer cancel()
	answers := make(chan []byte, 4)
	id, err := s.flight.addOwn(request{op: ldapwire.OpSearchRequest, answer: answers})
	if err != nil {
		return t, err
	}
	frame := ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{
		BaseDN: dn, Scope: ldapwire.ScopeBase, SizeLimit: 1,
		Attributes: []string{"objectGUID", "sAMAccountName", "pwdLastSet"},
	})
	entries := 0
	msg, err := s.exchange(ctx, id, answers, frame, func(msg ldapwire.Message) {
		if msg.Op == ldapwire.OpSearchResultEntry {
			entries++
			t.read(msg.Body)
		}
	})
	if err != nil {
		return t, err
	}
	res, err := ldapwire.ParseResult(msg.Body)
	switch {
	case err != nil || msg.Op != ldapwire.OpSearchResultDone:
		return t, errors.New("the target's entry was answered with something else")
	case res.Code == ldapwire.ResultSuccess && entries == 1 && !t.account.GUID.IsZero():
		return t, nil
	case res.Code == ldapwire.ResultSuccess && entries == 0,
		res.Code == ldapwire.ResultNoSuchObject, res.Code == ldapwire.ResultInsufficientAccessRights:
		return target{account: identity.Account{Domain: s.up.domain.Name, DN: dn}}, nil
	}
	return t, fmt.Errorf("the target's entry was not read: %s, %d entries", res.Code, entries)
}

func (t *target) read(body []byte) {
	entry, err := ldapwire.ParseSearchEntry(body)
	if err != nil {
		return
	}
	t.account.DN = string(entry.DN)
	for attr, ok := entry.Next(); ok; attr, ok = entry.Next() {
		value, ok := attr.Values.Next()
		if !ok {
			continue
		}
		switch {
		case bytes.EqualFold(attr.Type, []byte("objectGUID")):
			t.account.GUID, _ = identity.GUIDFromBytes(value)
		case bytes.EqualFold(attr.Type, []byte("sAMAccountName")):
			t.account.SAM = clip(string(value))
		case bytes.EqualFold(attr.Type, []byte("pwdLastSet")):
			t.pwdLastSet, _ = strconv.ParseInt(string(value), 10, 64)
		}
	}
}
