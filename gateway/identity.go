package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
)

// boundAccount is whom the DC took the session for, and what locks accounts in
// its domain (rule G2: the text of the bind name says neither).
type boundAccount struct {
	account   identity.Account
	upn       string
	canonical string // canonicalName
	sid       string // as text
	head      string // DN of the domain's head
	facts     passwordFacts
	policy    lockoutPolicy
}

var errNotSaid = errors.New("the domain controller does not say who is bound")

// readBound asks the DC who the session is, and what locks its account. It
// takes three short requests, on the client's connection and with its rights:
// every account may read this about itself and its domain. An error that wraps
// errNotSent or errUnanswered means that the connection is lost.
func (s *session) readBound() (boundAccount, error) {
	b, err := s.readIdentity()
	if err == nil {
		b.policy, err = s.readPolicy(b.head)
	}
	return b, err
}

// readIdentity is readBound without the policy, in two requests.
func (s *session) readIdentity() (boundAccount, error) {
	b := boundAccount{account: identity.Account{Domain: s.up.domain.Name}}
	err := s.ownSearch("", []string{"tokenGroups", "defaultNamingContext", "currentTime"}, func(_ []byte, name string, values ldapwire.Values) {
		switch name {
		case "tokengroups":
			b.readToken(values)
		case "defaultnamingcontext":
			b.head = firstText(values)
		case "currenttime":
			b.facts.dcTime = generalizedTime(firstText(values))
		}
	})
	if err != nil {
		return b, err
	}
	if b.sid == "" || b.head == "" || b.sid == anonymousLogon {
		return b, errNotSaid
	}
	isAccount := false
	err = s.ownSearch("<SID="+b.sid+">", []string{"objectGUID", "sAMAccountName", "sAMAccountType", "userPrincipalName", "canonicalName",
		"pwdLastSet", "userAccountControl", "adminCount"},
		func(dn []byte, name string, values ldapwire.Values) {
			b.account.DN = string(dn)
			switch value := firstText(values); name {
			case "objectguid":
				b.account.GUID, _ = identity.GUIDFromBytes([]byte(value))
			case "samaccountname":
				b.account.SAM = clip(value)
			case "samaccounttype":
				kind, _ := strconv.ParseInt(value, 10, 64)
				isAccount = kind>>28 == 3 // SAM_USER_OBJECT and its like, no group
			case "userprincipalname":
				b.upn = value
			case "canonicalname":
				b.canonical = value
			default:
				b.facts.read(name, value)
			}
		})
	if err != nil {
		return b, err
	}
	if b.account.GUID.IsZero() || !isAccount {
		return b, errNotSaid
	}
	return b, nil
}

// readToken reads the SIDs that the session has: the account's own comes
// first, its groups follow, nested ones too.
func (b *boundAccount) readToken(values ldapwire.Values) {
	for value, ok := values.Next(); ok; value, ok = values.Next() {
		sid, ok := sidText(value)
		if b.sid == "" {
			b.sid = sid
		}
		b.facts.privileged = b.facts.privileged || !ok || isPrivilegedSID(sid)
	}
}

func firstText(values ldapwire.Values) string {
	value, _ := values.Next()
	return string(value)
}

// anonymousLogon is the SID of a session without an identity (MS-DTYP 2.4.2.4).
const anonymousLogon = "S-1-5-7"

// readPolicy reads what locks accounts from the domain's head.
func (s *session) readPolicy(head string) (lockoutPolicy, error) {
	p := lockoutPolicy{threshold: -1}
	err := s.ownSearch(head, []string{"lockoutThreshold", "lockOutObservationWindow"}, func(_ []byte, name string, values ldapwire.Values) {
		value, _ := values.Next()
		n, err := strconv.ParseInt(string(value), 10, 64)
		switch {
		case err != nil:
		case name == "lockoutthreshold" && 0 <= n && n <= math.MaxUint16:
			p.threshold = int(n)
		case name == "lockoutobservationwindow":
			p.window = fromInterval(n)
		}
	})
	if err != nil {
		return p, err
	}
	if p.threshold < 0 || (p.threshold > 0 && p.window <= 0) {
		return lockoutPolicy{}, nil // not readable: what is assumed stays
	}
	p.read = s.srv.guard.now()
	return p, nil
}

// fromInterval reads a negative count of 100 ns (MS-ADTS 3.1.1.2.2.2).
func fromInterval(n int64) time.Duration {
	if n < -math.MaxInt64/100 {
		return math.MaxInt64 / 2 // never; half, so that adding to it does not overflow
	}
	return time.Duration(-n * 100)
}

// ownSearch reads one entry; take is given its DN and each attribute, by its
// name in lower case.
func (s *session) ownSearch(base string, attributes []string, take func(dn []byte, name string, values ldapwire.Values)) error {
	res, err := s.lookUp(ldapwire.SearchParams{BaseDN: base, Scope: ldapwire.ScopeBase, SizeLimit: 1, Attributes: attributes},
		func(entry ldapwire.SearchEntry) {
			for attr, ok := entry.Next(); ok; attr, ok = entry.Next() {
				take(entry.DN, string(bytes.ToLower(attr.Type)), attr.Values)
			}
		})
	if err == nil && res.Code != ldapwire.ResultSuccess {
		err = fmt.Errorf("read %q: %s", clip(base), res.Code)
	}
	return err
}
