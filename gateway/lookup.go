package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// lookUp searches on the client's own connection, with the client's own
// rights. found is given each entry, which it must not keep.
func (s *session) lookUp(p ldapwire.SearchParams, found func(ldapwire.SearchEntry)) (ldapwire.Result, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.BindTimeout)
	defer cancel()
	answers := make(chan []byte, 4)
	id, err := s.flight.addOwn(request{op: ldapwire.OpSearchRequest, answer: answers})
	if err != nil {
		return ldapwire.Result{}, err
	}
	msg, err := s.exchange(ctx, id, answers, ldapwire.AppendSearchRequest(nil, id, p), func(msg ldapwire.Message) {
		if msg.Op != ldapwire.OpSearchResultEntry {
			return
		}
		if entry, err := ldapwire.ParseSearchEntry(msg.Body); err == nil {
			found(entry)
		}
	})
	if err != nil {
		return ldapwire.Result{}, err
	}
	res, err := ldapwire.ParseResult(msg.Body)
	if err != nil || msg.Op != ldapwire.OpSearchResultDone {
		return ldapwire.Result{}, errors.New("a search was answered with something else")
	}
	return res, nil
}

// readValue reads the first value of an attribute of one entry; nil when
// there is none that the client may see.
func (s *session) readValue(dn, attribute string) (value []byte, err error) {
	res, err := s.lookUp(ldapwire.SearchParams{BaseDN: dn, Scope: ldapwire.ScopeBase, SizeLimit: 1, Attributes: []string{attribute}},
		func(entry ldapwire.SearchEntry) { value = firstValue(entry, attribute) })
	if err != nil {
		return nil, err
	}
	switch res.Code {
	case ldapwire.ResultSuccess:
		return value, nil
	case ldapwire.ResultNoSuchObject, ldapwire.ResultInsufficientAccessRights:
		return nil, nil
	}
	return nil, fmt.Errorf("%s was not read: %s", attribute, res.Code)
}

// firstValue copies the first value of an attribute.
func firstValue(entry ldapwire.SearchEntry, attribute string) []byte {
	for attr, ok := entry.Next(); ok; attr, ok = entry.Next() {
		if !strings.EqualFold(string(attr.Type), attribute) {
			continue
		}
		if v, ok := attr.Values.Next(); ok {
			return append([]byte(nil), v...)
		}
	}
	return nil
}

// findOne returns the DN of the one entry below base that a filter finds;
// empty when there is none. More than one is a refusal.
func (s *session) findOne(base string, filter []byte) (dn string, err error) {
	entries := 0
	res, err := s.lookUp(ldapwire.SearchParams{BaseDN: base, Scope: ldapwire.ScopeSubtree, SizeLimit: 2, Filter: filter, Attributes: []string{"1.1"}},
		func(entry ldapwire.SearchEntry) {
			entries++
			dn = string(entry.DN)
		})
	switch {
	case err != nil:
		return "", err
	case entries > 1:
		return "", &requestRefusal{ldapwire.ResultUnwillingToPerform, "the user identity names more than one account"}
	case res.Code != ldapwire.ResultSuccess:
		return "", fmt.Errorf("the user identity was not looked up: %s", res.Code)
	}
	return dn, nil
}

// resolveUser finds the entry that the userIdentity of RFC 3062 names: a DN
// (also `<GUID=...>` and `<SID=...>`), a userPrincipalName, DOMAIN\account or
// a bare sAMAccountName. The text only ever is a base or a value of a filter.
func (s *session) resolveUser(name string) (dn string, err error) {
	switch {
	case name == "" || len(name) > longestDN:
		return "", &requestRefusal{ldapwire.ResultNoSuchObject, "the user identity is empty or too long"}
	case strings.Contains(name, "="):
		return name, nil
	}
	base, err := s.readValue("", "defaultNamingContext")
	if err != nil {
		return "", err
	}
	domain, account, qualified := strings.Cut(name, `\`)
	switch {
	case qualified:
		var same bool
		if same, err = s.isNetBIOSName(domain, base); same && err == nil {
			dn, err = s.findOne(string(base), equals("sAMAccountName", account))
		}
	case strings.Contains(name, "@"):
		dn, err = s.findByUPN(string(base), name)
	default:
		dn, err = s.findOne(string(base), equals("sAMAccountName", name))
	}
	if err == nil && dn == "" {
		err = &requestRefusal{ldapwire.ResultNoSuchObject, "the user identity names no account that this session can see"}
	}
	return dn, err
}

func equals(name, value string) []byte {
	return ldapwire.AppendEqualityFilter(nil, name, []byte(value))
}

// findByUPN also knows the UPN that every account has: its sAMAccountName and
// the domain's DNS name (MS-ADTS 5.1.1.1.1). An explicit one goes first.
func (s *session) findByUPN(base, name string) (string, error) {
	dn, err := s.findOne(base, equals("userPrincipalName", name))
	at := strings.LastIndexByte(name, '@')
	if err != nil || dn != "" || !strings.EqualFold(name[at+1:], s.up.domain.Name) {
		return dn, err
	}
	return s.findOne(base, equals("sAMAccountName", name[:at]))
}

// isNetBIOSName reports whether the naming context nc is the domain of that
// NetBIOS name; where the registration does not say it, by the forest's
// crossRef objects (MS-ADTS 6.1.1.2.1.1).
func (s *session) isNetBIOSName(name string, nc []byte) (bool, error) {
	if known := s.up.domain.NetBIOS; known != "" {
		return strings.EqualFold(name, known), nil
	}
	config, err := s.readValue("", "configurationNamingContext")
	if err != nil || len(config) == 0 {
		return false, err
	}
	dn, err := s.findOne("CN=Partitions,"+string(config),
		ldapwire.AppendAndFilter(nil, equals("nETBIOSName", name), ldapwire.AppendEqualityFilter(nil, "nCName", nc)))
	return dn != "", err
}

// resolveSelf names the session's own account by the SID that the DC has for
// it: the first of the root DSE's tokenGroups (MS-ADTS 3.1.1.3.2). Who am I?
// gives a name, which would have to be looked up.
func (s *session) resolveSelf() (string, error) {
	sid, err := s.readValue("", "tokenGroups")
	if err != nil {
		return "", err
	}
	text, ok := sidText(sid)
	if !ok {
		return "", &requestRefusal{ldapwire.ResultUnwillingToPerform, "the domain controller does not say who is bound: name the user"}
	}
	return "<SID=" + text + ">", nil
}

// sidText writes a SID as MS-DTYP 2.4.2.1 does; false when it is none.
func sidText(b []byte) (string, bool) {
	if len(b) < 8 || b[0] != 1 || len(b) != 8+4*int(b[1]) {
		return "", false
	}
	authority := binary.BigEndian.Uint64(append([]byte{0, 0}, b[2:8]...))
	text := "S-1-" + strconv.FormatUint(authority, 10)
	for sub := b[8:]; len(sub) > 0; sub = sub[4:] {
		text += "-" + strconv.FormatUint(uint64(binary.LittleEndian.Uint32(sub)), 10)
	}
	return text, true
}
