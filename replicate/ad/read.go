package ad

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// ErrIncomplete: an answer is known to lack something. Nothing may be
// concluded from what is absent in it.
var ErrIncomplete = errors.New("incomplete answer")

// Controls of MS-ADTS 3.1.1.3.4.1.
const (
	oidExtendedDN  = "1.2.840.113556.1.4.529"
	oidDomainScope = "1.2.840.113556.1.4.1339"
)

// withGUIDs makes every DN in an answer begin with <GUID=...>; in its value,
// SEQUENCE { Flag INTEGER }, 1 asks for the form with dashes.
func withGUIDs() ldap.Control {
	return ldap.NewControlString(oidExtendedDN, true, "\x30\x03\x02\x01\x01")
}

func (r *Reader) request(base string, scope int, filter string, attrs []string, controls ...ldap.Control) *ldap.SearchRequest {
	// Without referrals to other naming contexts: any that come all the same
	// stand for something that is missing.
	controls = append(controls, ldap.NewControlString(oidDomainScope, false, ""))
	return ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, int(r.client.cfg.Timeout/time.Second), false, filter, attrs, controls)
}

// search asks once: what follows on another connection may be another
// controller's.
func (r *Reader) search(ctx context.Context, conn *session, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // go-ldap knows no context
	res, err := conn.Search(req)
	stop()
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		return nil, ErrNotFound
	case err != nil && (ldap.IsErrorAnyOf(err, ldap.ErrorNetwork, ldap.LDAPResultUnavailable, ldap.LDAPResultBusy) || conn.IsClosing()):
		r.drop()
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultAdminLimitExceeded, ldap.LDAPResultReferral):
		return nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
	case err != nil:
		return nil, err
	case len(res.Referrals) > 0:
		return nil, fmt.Errorf("%w: %s refers to %q for a part", ErrIncomplete, conn.dc, res.Referrals[0])
	}
	return res, nil
}

// paged searches page by page (RFC 2696) and hands over each entry.
func (r *Reader) paged(ctx context.Context, conn *session, req *ldap.SearchRequest, each func(*ldap.Entry) error) error {
	page := ldap.NewControlPaging(uint32(r.pageSize))
	req.Controls = append(req.Controls, page)
	for {
		res, err := r.search(ctx, conn, req)
		if err != nil {
			return err
		}
		for _, e := range res.Entries {
			if err := each(e); err != nil {
				return err
			}
		}
		next, ok := ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok {
			return fmt.Errorf("%w: a page does not say whether another follows (RFC 2696)", ErrIncomplete)
		}
		if len(next.Cookie) == 0 {
			return nil
		}
		page.SetCookie(next.Cookie)
	}
}

// batchSize is how many objects are asked for in one filter.
const batchSize = 100

// reread reads objects by objectGUID, wherever they are; deleted ones are not
// found.
func (r *Reader) reread(ctx context.Context, p *peer, guids []identity.GUID, attrs []string, each func(*ldap.Entry) error) error {
	for some := range slices.Chunk(guids, batchSize) {
		var filter strings.Builder
		filter.WriteString("(|")
		for _, g := range some {
			filter.WriteString("(objectGUID=" + escapeBytes(g[:]) + ")")
		}
		filter.WriteString(")")
		if err := r.paged(ctx, p.session, r.request(p.base, ldap.ScopeWholeSubtree, filter.String(), attrs, withGUIDs()), each); err != nil {
			return err
		}
	}
	return nil
}

// splitDN takes a DN with its GUID apart (MS-ADTS 3.1.1.3.4.1.5):
// <GUID=...>;<SID=...>;CN=...
func splitDN(extended string) (guid identity.GUID, dn string, err error) {
	dn = extended
	for strings.HasPrefix(dn, "<") {
		part, rest, ok := strings.Cut(dn, ">;")
		if !ok {
			break
		}
		if value, ok := strings.CutPrefix(part, "<GUID="); ok {
			if guid, err = identity.ParseGUID(value); err != nil {
				return guid, dn, err
			}
		}
		dn = rest
	}
	if guid.IsZero() {
		return guid, dn, fmt.Errorf("DN %q: without a GUID, which was asked for", extended)
	}
	return guid, dn, nil
}

// below reports whether an object is below a container, or it; both DNs are of
// one controller's spelling.
func below(dn, container string) bool {
	at := len(dn) - len(container)
	switch {
	case at == 0:
		return strings.EqualFold(dn, container)
	case at < 2 || dn[at-1] != ',' || !strings.EqualFold(dn[at:], container):
		return false
	}
	before := dn[:at-1] // an escaped comma belongs to a name
	return (len(before)-len(strings.TrimRight(before, `\`)))%2 == 0
}

// rangeTries is how often a group is read that changes while it is.
const rangeTries = 3

var errMoved = errors.New("the group has changed meanwhile")

// members reads the direct members of a group, beginning with what its entry
// has. Of many values AD gives a range at a time (MS-ADTS 3.1.1.3.1.3.3).
func (r *Reader) members(ctx context.Context, p *peer, guid identity.GUID, e *ldap.Entry) ([]identity.GUID, error) {
	var err error
	for range rangeTries {
		var found []identity.GUID
		if found, err = r.ranges(ctx, p, guid, e); err == nil {
			slices.SortFunc(found, compareGUID)
			return slices.Compact(found), nil
		}
		if !errors.Is(err, errMoved) {
			break
		}
		var again error
		if e, again = r.memberRange(ctx, p, guid, 0); again != nil {
			return nil, again
		}
	}
	return nil, fmt.Errorf("%w: members of %q: %w", ErrIncomplete, e.DN, err)
}

func (r *Reader) memberRange(ctx context.Context, p *peer, guid identity.GUID, from int) (*ldap.Entry, error) {
	attrs := []string{fmt.Sprintf("member;range=%d-*", from), "uSNChanged"}
	res, err := r.search(ctx, p.session, r.request(byGUID(guid), ldap.ScopeBaseObject, "(objectClass=*)", attrs, withGUIDs()))
	if err != nil {
		return nil, fmt.Errorf("read members of %s: %w", guid, err)
	}
	if len(res.Entries) != 1 {
		return nil, fmt.Errorf("read members of %s: %w", guid, ErrNotFound)
	}
	return res.Entries[0], nil
}

func (r *Reader) ranges(ctx context.Context, p *peer, guid identity.GUID, e *ldap.Entry) (found []identity.GUID, err error) {
	usn := e.GetAttributeValue("uSNChanged")
	for {
		values, low, last, err := memberValues(e)
		if err != nil {
			return nil, err
		}
		if low != len(found) || e.GetAttributeValue("uSNChanged") != usn {
			return nil, errMoved
		}
		for _, v := range values {
			member, _, err := splitDN(v)
			if err != nil {
				return nil, err
			}
			found = append(found, member)
		}
		if last {
			return found, nil
		}
		if e, err = r.memberRange(ctx, p, guid, len(found)); err != nil {
			return nil, err
		}
	}
}

// memberValues finds the values of member in an entry: all, or a range of them
// that begins at low. last says that no more follow.
func memberValues(e *ldap.Entry) (values []string, low int, last bool, err error) {
	last = true
	for _, a := range e.Attributes {
		name := strings.ToLower(a.Name)
		spec, ranged := strings.CutPrefix(name, "member;range=")
		switch {
		case name == "member" && values == nil:
			values = a.Values
		case ranged:
			from, to, _ := strings.Cut(spec, "-")
			if low, err = strconv.Atoi(from); err != nil {
				return nil, 0, false, fmt.Errorf("attribute %q of %q: %w", a.Name, e.DN, err)
			}
			last = to == "*"
			if high, err := strconv.Atoi(to); !last && (err != nil || len(a.Values) == 0 || high-low+1 != len(a.Values)) {
				return nil, 0, false, fmt.Errorf("attribute %q of %q: %d values", a.Name, e.DN, len(a.Values))
			}
			return a.Values, low, last, nil
		}
	}
	return values, 0, last, nil
}
