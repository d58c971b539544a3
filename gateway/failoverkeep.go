package gateway

import (
	"errors"
	"sync"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// keptBind is the newest accepted bind of a session, to be made again on
// another DC connection. It is not sealed: a key to open it would lie in the
// same memory. It is wiped by the next bind, and when the session ends.
type keptBind struct {
	bytes secret.Bytes // the body of the request, then its controls
	body  int          // length of the former
	// owner is whom the DC took the session for; zero: not said. Read when it is
	// needed (asked).
	owner identity.GUID
	asked bool
}

func (k *keptBind) isEmpty() bool { return k.bytes.IsEmpty() }

func (k *keptBind) keep(msg ldapwire.Message) {
	k.wipe()
	own := make([]byte, 0, len(msg.Body)+len(msg.Controls))
	own = append(append(own, msg.Body...), msg.Controls...)
	k.bytes, k.body = secret.Take(own), len(msg.Body)
}

func (k *keptBind) wipe() {
	k.bytes.Wipe()
	*k = keptBind{}
}

// renew puts another password into the bind.
func (k *keptBind) renew(password secret.Bytes) error {
	frame := k.frame(1)
	defer clear(frame)
	msg, err := ldapwire.ParseMessage(frame)
	if err != nil {
		return err
	}
	req, err := ldapwire.ParseBindRequest(msg.Body)
	if err != nil {
		return err
	}
	renewed := ldapwire.AppendBindRequest(nil, 1, string(req.Name), password.Expose())
	defer clear(renewed)
	with, err := ldapwire.ParseMessage(renewed)
	if err != nil {
		return err
	}
	owner, asked := k.owner, k.asked
	with.Controls = msg.Controls
	k.keep(with)
	k.owner, k.asked = owner, asked
	return nil
}

// keepChanged is called when a DC accepted a new password for an account, and
// the client knows. If the account is the session's own, its next DC gets the
// new one: the old one would be refused and, as the session's last bind, end
// it. The error is that of a DC connection that is lost.
func (s *session) keepChanged(w *passwordWrite, account identity.Account) error {
	if s.kept.isEmpty() || w.kind == identity.PasswordAdd {
		return nil
	}
	own, err := s.isOwn(account)
	if err != nil {
		if w.kind == identity.PasswordChange { // of its own password, as a rule
			s.kept.wipe()
		}
		return s.upstreamGone(err)
	}
	if own && s.kept.renew(w.password) != nil {
		s.kept.wipe()
	}
	return nil
}

// isOwn reports whether an account is that which the DC took the session for.
// The error is that of a DC connection that is lost.
func (s *session) isOwn(account identity.Account) (bool, error) {
	if !s.kept.asked {
		b, err := s.readIdentity()
		if errors.Is(err, errNotSent) || errors.Is(err, errUnanswered) {
			return false, err
		}
		s.kept.asked = true
		if err == nil {
			s.kept.owner = b.account.GUID
		}
	}
	if account.GUID.IsZero() { // not captured, so that only its DN was needed
		t, err := s.readTarget(account.DN)
		if errors.Is(err, errNotSent) || errors.Is(err, errUnanswered) {
			return false, err
		}
		account = t.account
	}
	return !account.GUID.IsZero() && account.GUID == s.kept.owner, nil
}

// frame makes the request anew; the caller clears it.
func (k *keptBind) frame(id int32) []byte {
	all := k.bytes.Expose()
	body, controls := all[:k.body], all[k.body:]
	if len(controls) == 0 {
		controls = nil
	}
	return ldapwire.AppendMessage(make([]byte, 0, len(all)+32), id, ldapwire.OpBindRequest, body, controls)
}

// keepBind remembers a bind on its way, which finishBind forgets if the DC does
// not accept it.
func (s *session) keepBind(msg ldapwire.Message) {
	if s.srv.cfg.Reconnect && s.bindWait.name != "" {
		s.kept.keep(msg)
	}
}

// repeat is a request as it was sent, kept as long as it is outstanding and
// none of its answer has come. The zero value: it is not kept.
type repeat struct{ frame *[]byte }

// longestRepeat bounds what is kept of one request, in bytes. Longer searches
// are answered with unavailable when their DC connection is lost.
const longestRepeat = 4 << 10

var repeats = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// repeatOf keeps a request that can be sent twice: it only reads.
func (s *session) repeatOf(msg ldapwire.Message) repeat {
	if !s.srv.cfg.Reconnect || len(msg.Raw) > longestRepeat ||
		(msg.Op != ldapwire.OpSearchRequest && msg.Op != ldapwire.OpCompareRequest) {
		return repeat{}
	}
	frame := repeats.Get().(*[]byte)
	*frame = append((*frame)[:0], msg.Raw...)
	return repeat{frame}
}

// release gives the memory back; a filter may hold what others must not see.
func (r repeat) release() {
	if r.frame != nil {
		clear(*r.frame)
		repeats.Put(r.frame)
	}
}

// repeatable reports whether any DC would give the same answer. A control that
// is not known may mean something to one DC only.
func (r repeat) repeatable() bool {
	if r.frame == nil {
		return false
	}
	msg, err := ldapwire.ParseMessage(*r.frame)
	if err != nil {
		return false
	}
	controls, err := msg.ControlList()
	if err != nil {
		return false
	}
	for c, ok := controls.Next(); ok; c, ok = controls.Next() {
		if string(c.OID) == ldapwire.OIDControlPagedResults {
			if !isFirstPage(c.Value) {
				return false
			}
			continue
		}
		if !stateless(string(c.OID)) {
			return false
		}
	}
	return true
}

// stateless reports whether a control of a search says all there is to know:
// no cookie, and nothing that goes on after the answer.
func stateless(oid string) bool {
	switch oid {
	case ldapwire.OIDControlManageDsaIT, ldapwire.OIDControlServerSort, ldapwire.OIDControlExtendedDN,
		ldapwire.OIDControlShowDeleted, ldapwire.OIDControlShowRecycled, ldapwire.OIDControlPasswordPolicy,
		"1.2.840.113556.1.4.801",  // LDAP_SERVER_SD_FLAGS_OID, MS-ADTS 3.1.1.3.4.1.11
		"1.2.840.113556.1.4.1339", // LDAP_SERVER_DOMAIN_SCOPE_OID
		"1.2.840.113556.1.4.1340", // LDAP_SERVER_SEARCH_OPTIONS_OID
		"1.2.840.113556.1.4.1504", // LDAP_SERVER_ASQ_OID
		"1.2.840.113556.1.4.1948", // LDAP_SERVER_RANGE_OPTION_OID
		"1.2.840.113556.1.4.2065": // LDAP_SERVER_SHOW_DEACTIVATED_LINK_OID
		return true
	}
	return false
}

// isFirstPage reports whether the value of a paged results control (RFC 2696:
// a sequence of an integer and the cookie) has no cookie, which would belong
// to the DC that made it. In doubt it has one.
func isFirstPage(value []byte) bool {
	const shortest = 2 + 3 + 2 // sequence, integer of one byte, no cookie
	if len(value) < shortest || value[0] != 0x30 {
		return false
	}
	rest, size := value[2:], value[1]
	if size == 0x84 && len(rest) > 4 { // as Windows writes it
		rest, size = rest[4:], rest[3]
	}
	if int(size) != len(rest) || len(rest) < shortest-2 || rest[0] != 0x02 || int(rest[1]) > len(rest)-4 {
		return false
	}
	cookie := rest[2+int(rest[1]):]
	return string(cookie) == "\x04\x00" || string(cookie) == "\x04\x84\x00\x00\x00\x00"
}
