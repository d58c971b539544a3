package ad

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// ErrNoReplication: the service account may not follow changes with DirSync.
var ErrNoReplication = errors.New("the right Replicating Directory Changes is missing")

// changeFilter finds what matters: users and groups, what may contain them,
// since nothing is said of its content when it moves, and password policies.
const changeFilter = "(|(objectClass=user)(objectClass=group)(objectClass=organizationalUnit)(objectClass=container)(objectClass=msDS-PasswordSettings))"

// A hint says that an object has changed; it is true of it that it is deleted.
type hints map[identity.GUID]bool

func (h hints) add(e *ldap.Entry) error {
	guid, err := identity.GUIDFromBytes(e.GetRawAttributeValue("objectGUID"))
	if err != nil {
		return fmt.Errorf("changed entry %q: %w", e.DN, err)
	}
	h[guid] = e.GetAttributeValue("isDeleted") == "TRUE"
	return nil
}

// dirSync asks once for what was changed since the cookie.
func (r *Reader) dirSync(ctx context.Context, p *peer, m Method, cookie []byte, h hints) (next []byte, more bool, err error) {
	flags := int64(0)
	if m == MethodDirSyncVisible {
		flags = ldap.DirSyncObjectSecurity
	}
	attrs := append(mirrored(), "objectGUID", "name", "isDeleted", "msDS-MaximumPasswordAge", "msDS-PSOAppliesTo")
	const most = 1 << 20 // bytes in an answer, as far as the server minds
	req := r.request(p.base, ldap.ScopeWholeSubtree, changeFilter, attrs, ldap.NewRequestControlDirSync(flags, most, cookie))
	res, err := r.search(ctx, p.session, req)
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultInsufficientAccessRights):
		return nil, false, fmt.Errorf("%w on %q: grant it with `dsacls \"%s\" /G \"ACCOUNT:CA;Replicating Directory Changes\"` (not Replicating Directory Changes All, which gives out password hashes): %w",
			ErrNoReplication, p.base, p.base, err)
	case len(cookie) > 0 && refusedCookie(err):
		return nil, false, fullCompare("%s refuses the DirSync cookie: %v", p.host, err)
	case err != nil:
		return nil, false, fmt.Errorf("DirSync: %w", err)
	}
	answer, ok := ldap.FindControl(res.Controls, ldap.ControlTypeDirSync).(*ldap.ControlDirSync)
	if !ok || len(answer.Cookie) == 0 {
		return nil, false, fmt.Errorf("DirSync: %w: no cookie came", ErrIncomplete)
	}
	for _, e := range res.Entries {
		if err := h.add(e); err != nil {
			return nil, false, err
		}
	}
	return answer.Cookie, answer.Flags != 0, nil
}

// refusedCookie: servers differ in how they say so. What else these results
// could mean, a full compare is right for it, too.
func refusedCookie(err error) bool {
	return ldap.IsErrorAnyOf(err, ldap.LDAPResultUnavailableCriticalExtension, ldap.LDAPResultUnwillingToPerform,
		ldap.LDAPResultProtocolError, ldap.LDAPResultOperationsError, ldap.LDAPResultOther)
}

// firstCookie goes through all there is, for the cookie at the end of it. The
// filter and the attributes are those of later: whether a cookie is good for
// others is not documented.
func (r *Reader) firstCookie(ctx context.Context, p *peer, m Method) (cookie []byte, err error) {
	for more := true; more; {
		if cookie, more, err = r.dirSync(ctx, p, m, cookie, make(hints)); err != nil {
			return nil, err
		}
	}
	return cookie, nil
}

// byUSN finds what has a higher USN than the last one seen, deleted objects
// among it as far as the account may see them. Every write has a USN of its
// own, and an object that of its last: shown is for how many of the USNs up to
// p.usn an object was found.
func (r *Reader) byUSN(ctx context.Context, p *peer, last uint64, h hints) (shown int, err error) {
	if last == p.usn {
		return 0, nil
	}
	seen := make(map[uint64]bool)
	filter := "(&(uSNChanged>=" + strconv.FormatUint(last+1, 10) + ")" + changeFilter + ")"
	req := r.request(p.base, ldap.ScopeWholeSubtree, filter, []string{"objectGUID", "isDeleted", "uSNChanged"}, ldap.NewControlMicrosoftShowDeleted())
	err = r.paged(ctx, p.session, req, func(e *ldap.Entry) error {
		if usn, err := strconv.ParseUint(e.GetAttributeValue("uSNChanged"), 10, 64); err == nil && usn > last && usn <= p.usn {
			seen[usn] = true
		}
		return h.add(e)
	})
	if err != nil {
		return 0, fmt.Errorf("search by uSNChanged: %w", err)
	}
	return len(seen), nil
}

// seesDeleted asks whether the account may read the container of deleted
// objects; without that, nothing is told of deletions. Controllers of Windows
// tell them by DirSync all the same, Samba's do not.
func (r *Reader) seesDeleted(ctx context.Context, p *peer) (bool, error) {
	req := r.request(deletedObjects(p.base), ldap.ScopeBaseObject, "(objectClass=*)", []string{"objectGUID"}, ldap.NewControlMicrosoftShowDeleted())
	sees, err := shown(r.search(ctx, p.session, req))
	if err == nil {
		r.looked.blind = !sees
	}
	return sees, err
}

func deletionsUnseen(base string) string {
	grant := ShowDeleted(base, "ACCOUNT")
	return fmt.Sprintf("the service account may not see deleted objects, so deletions are found by listing everything: grant it with `%s`, then `%s`", grant[0], grant[1])
}
