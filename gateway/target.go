package gateway

import (
	"bytes"
	"context"
	"strconv"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
)

// target is what the DC said about the entry before its password was changed.
type target struct {
	account    identity.Account
	pwdLastSet int64
}

// readTarget reads the entry on the client's own connection, with the
// client's own rights. An entry that cannot be read leaves the GUID zero: if
// the DC accepts the change all the same, the replicator finds it by DN.
func (s *session) readTarget(dn string) (target, error) {
	t := target{account: identity.Account{Domain: s.up.domain.Name, DN: dn}}
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.BindTimeout)
	defer cancel()
	answers := make(chan []byte, 4)
	id := s.flight.addOwn(request{op: ldapwire.OpSearchRequest, answer: answers})
	frame := ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{
		BaseDN: dn, Scope: ldapwire.ScopeBase, SizeLimit: 1,
		Attributes: []string{"objectGUID", "sAMAccountName", "pwdLastSet"},
	})
	_, err := s.exchange(ctx, id, answers, frame, func(msg ldapwire.Message) {
		if msg.Op == ldapwire.OpSearchResultEntry {
			t.read(msg.Body)
		}
	})
	return t, err
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
