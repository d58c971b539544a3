package ad

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// looked is when deletions that nobody tells were looked for, for an account
// that may not see deleted objects.
type looked struct {
	blind bool   // it may not
	host  string // dnsHostName of the controller that was asked
	usn   uint64 // its highestCommittedUSN before that
	next  time.Time
}

const (
	// lookEvery is how often a controller is asked whether anything was written
	// to it: one search of the root DSE. Without a write nothing was deleted.
	lookEvery = 500 * time.Millisecond
	// lookShare bounds the listing of everything to one part in so many of the
	// time, however large the domain is.
	lookShare = 20
)

// nextLook is when everything may be listed again, after a listing.
func nextLook(began, ended time.Time) time.Time {
	return ended.Add(max(lookEvery, (lookShare-1)*ended.Sub(began)))
}

// due says that an object may have been deleted since the last look, and that
// it is time for another.
func (l *looked) due(host string, usn uint64) bool {
	return l.blind && !time.Now().Before(l.next) && (host != l.host || usn != l.usn)
}

// wait is how long to wait before asking whether it is due.
func (l *looked) wait() time.Duration { return max(lookEvery, time.Until(l.next)) }

// mayBeMissing asks the controller whether anything was written to it since
// the last look. It uses the kept connection alone, and is true when there is
// none: to connect, and to be refused, is up to a read, whose errors count.
func (r *Reader) mayBeMissing(ctx context.Context) bool {
	if r.conn == nil || r.conn.IsClosing() {
		return true
	}
	root, err := r.one(ctx, r.conn, "", "dnsHostName", "highestCommittedUSN")
	if err != nil {
		return true
	}
	usn, err := strconv.ParseUint(root.GetAttributeValue("highestCommittedUSN"), 10, 64)
	return err != nil || r.looked.due(root.GetAttributeValue("dnsHostName"), usn)
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
	r.looked.host, r.looked.usn, r.looked.next = p.host, p.usn, nextLook(began, time.Now())
	return missing, nil
}
