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

// Method is how a [Reader] learns what has changed.
type Method string

const (
	// MethodAuto is DirSync where the account may, else USN.
	MethodAuto Method = ""
	// MethodDirSync asks for what was replicated since a cookie (MS-ADTS
	// 3.1.1.3.4.1.3). It takes the right Replicating Directory Changes.
	MethodDirSync Method = "dirsync"
	// MethodDirSyncVisible is DirSync with LDAP_DIRSYNC_OBJECT_SECURITY: any
	// account may, and is told of what it may read.
	MethodDirSyncVisible Method = "dirsync-visible"
	// MethodUSN searches for uSNChanged above the last one seen.
	MethodUSN Method = "usn"
)

// ReaderConfig describes a Reader.
type ReaderConfig struct {
	Config
	Method Method
	// PageSize is the number of entries in a page; zero means 500. AD gives
	// 1000 at most by default (MaxPageSize).
	PageSize int
	// Interval is how long [Reader.Wait] waits when nothing wakes it; zero
	// means 90 s.
	Interval time.Duration
}

// Reader reads a domain's users and groups: all of them ([Reader.Snapshot]),
// then what has changed ([Reader.Changes]). Changes are hints only: whatever
// is said to have changed is read again, whole, by its objectGUID, so that
// several changes, or one told twice, end in the same state.
//
// It reads the users below the root container, those outside that the scope
// group has as members, and all groups of the domain: membership may run
// through groups anywhere, and one outside the container comes into the scope
// without a change of its own.
//
// To an account that may not see deleted objects no change tells of a deletion
// (Samba never, Windows not by USN). Such a Reader asks for highestCommittedUSN
// twice a second while it waits, and wakes when it has moved. When there were
// writes that belong to no object that it was shown, its Batch says that it is
// time for [Reader.Missing]. Listing takes up no more than 1/20 of the time, and
// 30 s of that may be saved up. Until then a deletion waits.
//
// No change tells that an object was hidden from the service account, or when a
// password policy for some users (msDS-PasswordSettings) changes that it may
// not read: a Snapshot now and then does.
//
// A Reader belongs to one goroutine. It keeps a connection between calls, and
// the calls of one round talk to one controller.
type Reader struct {
	client   *Client
	method   Method
	pageSize int
	interval time.Duration
	conn     *session // nil: none
	memory   memory
	looked   looked
	watch    *watcher // nil: none
}

// NewReader checks cfg; it connects to nothing.
func NewReader(cfg ReaderConfig) (*Reader, error) {
	client, err := New(cfg.Config)
	if err != nil {
		return nil, err
	}
	switch cfg.Method {
	case MethodAuto, MethodDirSync, MethodDirSyncVisible, MethodUSN:
	default:
		return nil, fmt.Errorf("active directory reader: no method %q; want %q, %q or %q", cfg.Method, MethodDirSync, MethodDirSyncVisible, MethodUSN)
	}
	r := &Reader{client: client, method: cfg.Method, pageSize: cfg.PageSize, interval: cfg.Interval}
	if r.pageSize <= 0 {
		r.pageSize = 500
	}
	if r.interval <= 0 {
		r.interval = 90 * time.Second
	}
	return r, nil
}

// Close ends the connections and waits for what runs on them.
func (r *Reader) Close() {
	r.unwatch()
	r.drop()
}

func (r *Reader) connect(ctx context.Context) (conn *session, fresh bool, err error) {
	if r.conn != nil && !r.conn.IsClosing() {
		return r.conn, false, nil
	}
	conn, err = r.client.dial(ctx)
	if err != nil {
		return nil, false, err
	}
	if err := bindService(ctx, conn.Conn, r.client.cfg); err != nil {
		_ = conn.Close()
		return nil, false, err
	}
	r.conn = conn
	return conn, true, nil
}

// bindService tells a controller that does not answer from a refused account.
func bindService(ctx context.Context, conn *ldap.Conn, cfg Config) error {
	err := bind(ctx, conn, cfg.Account, cfg.Password)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials):
		return fmt.Errorf("%w %q: %w; see `dirgate domain rotate-credentials`", ErrAccountRefused, cfg.Account, err)
	case ldap.IsErrorAnyOf(err, ldap.ErrorNetwork, ldap.LDAPResultUnavailable, ldap.LDAPResultBusy):
		return fmt.Errorf("bind as service account %q: %w: %w", cfg.Account, ErrUnavailable, err)
	}
	return fmt.Errorf("bind as service account %q: %w", cfg.Account, err)
}

func (r *Reader) drop() {
	if r.conn != nil {
		_ = r.conn.Close()
		r.conn = nil
	}
}

// A peer is the controller that a round talks to, as it is now.
type peer struct {
	*session
	base       string // defaultNamingContext
	host       string // dnsHostName
	service    string // dsServiceName
	invocation identity.GUID
	usn        uint64 // highestCommittedUSN
	maxPwdAge  string // of the domain's head
}

// samePeerTries is how often a controller is dialled for in hope of a certain
// one, before a full compare with another is taken.
const samePeerTries = 3

// open connects, to the controller want if it can be had, and asks it what it
// is.
func (r *Reader) open(ctx context.Context, want string) (*peer, error) {
	for try := 1; ; try++ {
		conn, fresh, err := r.connect(ctx)
		if err != nil {
			return nil, err
		}
		p, err := r.ask(ctx, conn)
		switch {
		case errors.Is(err, ErrUnavailable) && !fresh:
			continue // the kept connection had ended
		case err != nil:
			return nil, err
		case want == "" || p.host == want || try >= samePeerTries:
			return p, nil
		}
		r.drop()
	}
}

func (r *Reader) ask(ctx context.Context, conn *session) (*peer, error) {
	p := &peer{session: conn}
	root, err := r.one(ctx, conn, "", "dnsHostName", "dsServiceName", "highestCommittedUSN", "defaultNamingContext")
	if err != nil {
		return nil, fmt.Errorf("read the root DSE: %w", err)
	}
	p.base, p.host, p.service = root.GetAttributeValue("defaultNamingContext"), root.GetAttributeValue("dnsHostName"), root.GetAttributeValue("dsServiceName")
	p.usn, err = strconv.ParseUint(root.GetAttributeValue("highestCommittedUSN"), 10, 64)
	if err != nil || p.base == "" || p.service == "" {
		return nil, errors.New("read the root DSE: highestCommittedUSN, dsServiceName or defaultNamingContext is missing; is this an Active Directory domain controller?")
	}
	service, err := r.one(ctx, conn, p.service, "invocationId")
	if err != nil {
		return nil, fmt.Errorf("read the invocationId of %s: %w", p.host, err)
	}
	if p.invocation, err = identity.GUIDFromBytes(service.GetRawAttributeValue("invocationId")); err != nil {
		return nil, fmt.Errorf("read the invocationId of %s at %q: %w; the account needs to read that object", p.host, p.service, err)
	}
	head, err := r.one(ctx, conn, p.base, "maxPwdAge")
	if err != nil {
		return nil, fmt.Errorf("read the domain's head: %w", err)
	}
	p.maxPwdAge = head.GetAttributeValue("maxPwdAge")
	return p, nil
}

// one reads one entry.
func (r *Reader) one(ctx context.Context, conn *session, dn string, attrs ...string) (*ldap.Entry, error) {
	res, err := r.search(ctx, conn, r.request(dn, ldap.ScopeBaseObject, "(objectClass=*)", attrs))
	if err != nil {
		return nil, err
	}
	if len(res.Entries) != 1 {
		return nil, fmt.Errorf("read %q: %w", dn, ErrNotFound)
	}
	return res.Entries[0], nil
}

// FindAdminsGroup finds the domain's group "JumpCloud Admins", by
// sAMAccountName; the zero GUID: there is none.
func (r *Reader) FindAdminsGroup(ctx context.Context) (identity.GUID, error) {
	p, err := r.open(ctx, "")
	if err != nil {
		return identity.GUID{}, err
	}
	group, err := r.adminsGroup(ctx, p)
	return group.guid, err
}

const adminsGroup = "JumpCloud Admins"

// place is what the scope is measured by.
type place struct {
	root  string        // DN of the root container
	scope identity.GUID // of the scope group; zero: none
}

func (r *Reader) place(ctx context.Context, p *peer) (place, error) {
	cfg, at := r.client.cfg, place{root: p.base}
	if cfg.RootDN != "" {
		root, err := r.one(ctx, p.session, cfg.RootDN, "distinguishedName")
		if errors.Is(err, ErrNotFound) {
			return at, fmt.Errorf("%w: the root container %q is not found; if it was renamed, run `dirgate domain register` again with the new --root-dn", ErrScope, cfg.RootDN)
		}
		if err != nil {
			return at, fmt.Errorf("root container: %w", err)
		}
		at.root = root.DN
	}
	name := cfg.ScopeGroup
	if !cfg.ScopeGroupGUID.IsZero() {
		name = byGUID(cfg.ScopeGroupGUID)
	}
	if name == "" {
		return at, nil
	}
	group, err := r.one(ctx, p.session, name, "objectGUID", "objectClass")
	if errors.Is(err, ErrNotFound) || err == nil && classOf(group) != classGroup {
		return at, fmt.Errorf("%w: the scope group %q (%s) is not found; if it was deleted, run `dirgate domain register` again with another --scope-group",
			ErrScope, cfg.ScopeGroup, name)
	}
	if err == nil {
		at.scope, err = identity.GUIDFromBytes(group.GetRawAttributeValue("objectGUID"))
	}
	if err != nil {
		return at, fmt.Errorf("scope group: %w", err)
	}
	return at, nil
}
