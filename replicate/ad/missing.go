package ad

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// looked is what is known of deletions that nobody tells, of an account that
// may not see deleted objects.
type looked struct {
	blind bool   // it may not
	host  string // dnsHostName of the controller that changes were read from
	usn   uint64 // and its highestCommittedUSN then
	// hidden: something was written since the last look that the account was
	// not shown. A deletion is such a write.
	hidden bool
	credit time.Duration // how long may be listed
	at     time.Time     // when that was so; zero: never
}

const (
	// lookEvery is how often a controller is asked whether anything was written
	// to it: one search of the root DSE.
	lookEvery = 500 * time.Millisecond
	// lookShare bounds the listing of everything to one part in so many of the
	// time, however large the domain is; lookBurst is how much of that may be
	// saved up, so that a listing need not wait after a quiet time: some of a
	// domain of many thousand users.
	lookShare = 20
	lookBurst = 30 * time.Second
)

// wrote notes what was read up to a USN: so many of the writes since the last
// read belong to objects that were shown.
func (l *looked) wrote(host string, since, usn uint64, shown int) {
	if host != l.host || usn-since != uint64(shown) {
		l.hidden = true
	}
	l.host, l.usn = host, usn
}

// afford says that there is time for a listing.
func (l *looked) afford(now time.Time) bool {
	if l.at.IsZero() {
		l.credit = lookBurst
	} else {
		l.credit = min(lookBurst, l.credit+now.Sub(l.at)/lookShare)
	}
	l.at = now
	return l.credit > 0
}

// due says that it is time to look.
func (l *looked) due(now time.Time) bool { return l.blind && l.hidden && l.afford(now) }

// done notes a look.
func (l *looked) done(began, ended time.Time) {
	l.afford(ended)
	l.credit -= ended.Sub(began)
	l.hidden = false
}

// mayBeMissing says that something may have been deleted since the last look:
// it is known already, or the controller was written to. It uses the kept
// connection alone, and is true when there is none: to connect, and to be
// refused, is up to a read, whose errors count.
func (r *Reader) mayBeMissing(ctx context.Context) bool {
	if r.looked.due(time.Now()) || r.conn == nil || r.conn.IsClosing() {
		return true
	}
	root, err := r.one(ctx, r.conn, "", "dnsHostName", "highestCommittedUSN")
	if err != nil {
		return true
	}
	usn, err := strconv.ParseUint(root.GetAttributeValue("highestCommittedUSN"), 10, 64)
	return err != nil || usn != r.looked.usn || root.GetAttributeValue("dnsHostName") != r.looked.host
}

// SeesDeleted says whether the account may see the domain's deleted objects,
// so that deletions are told to it; base is the domain's DN. Without that they
// are looked for.
func (c *Client) SeesDeleted(ctx context.Context, base string) (bool, error) {
	res, _, err := c.search(ctx, deletedObjects(base), ldap.ScopeBaseObject, "(objectClass=*)", []string{"objectGUID"}, ldap.NewControlMicrosoftShowDeleted())
	return shown(res, err)
}

// Deleted says whether Active Directory has a deleted object with this
// objectGUID: it keeps one for the tombstone lifetime, 180 days by default
// (MS-ADTS 3.1.1.5.5). It is not known where the account may not see deleted
// objects. base is the domain's DN.
func (c *Client) Deleted(ctx context.Context, base string, guid identity.GUID) (deleted, known bool, err error) {
	sees, err := c.SeesDeleted(ctx, base)
	if err != nil || !sees {
		return false, false, err
	}
	filter := "(&(isDeleted=TRUE)(objectGUID=" + escapeBytes(guid[:]) + "))"
	res, _, err := c.search(ctx, base, ldap.ScopeWholeSubtree, filter, []string{"objectGUID"}, ldap.NewControlMicrosoftShowDeleted())
	if err != nil {
		return false, false, fmt.Errorf("look for the deleted object %s: %w", byGUID(guid), err)
	}
	return len(res.Entries) > 0, true, nil
}

func deletedObjects(base string) string { return "CN=Deleted Objects," + base }

// shown judges a read of the container of deleted objects: it may be listed
// itself, and nothing of it be read.
func shown(res *ldap.SearchResult, err error) (bool, error) {
	if errors.Is(err, ErrNotFound) || ldap.IsErrorWithCode(err, ldap.LDAPResultInsufficientAccessRights) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the container of deleted objects: %w", err)
	}
	return len(res.Entries) == 1 && res.Entries[0].GetAttributeValue("objectGUID") != "", nil
}

// ShowDeleted are the commands that let an account see deleted objects: an
// administrator of the domain runs them one after the other.
func ShowDeleted(base, account string) [2]string {
	container := deletedObjects(base)
	return [2]string{fmt.Sprintf("dsacls \"%s\" /takeownership", container), fmt.Sprintf("dsacls \"%s\" /G \"%s:LCRP\"", container, account)}
}

// Missing says which of the objects that are known to exist do not any more,
// or are hidden from the account, by listing the objectGUIDs of all that there
// are: about 100 bytes for each user and group of the domain. A Batch with
// DeletionsUnseen asks for it.
func (r *Reader) Missing(ctx context.Context, known []identity.GUID) (missing []identity.GUID, err error) {
	began := time.Now()
	p, err := r.open(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("look for deleted objects: %w", err)
	}
	there := make(map[identity.GUID]bool)
	see := func(e *ldap.Entry) error {
		guid, err := identity.GUIDFromBytes(e.GetRawAttributeValue("objectGUID"))
		there[guid] = true
		return err
	}
	req := r.request(p.base, ldap.ScopeWholeSubtree, "(|(objectClass=user)(objectClass=group))", []string{"objectGUID"})
	if err := r.paged(ctx, p.session, req, see); err != nil {
		return nil, fmt.Errorf("look for deleted objects: %w", err)
	}
	var gone []identity.GUID
	for _, guid := range known {
		if !there[guid] {
			gone = append(gone, guid)
		}
	}
	// One that moved between two pages is there all the same.
	if err := r.reread(ctx, p, gone, []string{"objectGUID"}, see); err != nil {
		return nil, fmt.Errorf("look for deleted objects: %w", err)
	}
	for _, guid := range gone {
		if !there[guid] {
			missing = append(missing, guid)
		}
	}
	r.looked.done(began, time.Now())
	return missing, nil
}
