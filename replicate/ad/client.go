// Package ad is the replicator's client of Active Directory.
//
// A [Client] works with one service account on one domain, over LDAPS, and
// answers the questions the engine has: who is this account now, does this
// password work. It reads by objectGUID (`<GUID=...>` as a base, MS-ADTS
// 3.1.1.3.1.2.4), so a rename or move between two questions does not matter,
// and says which controller answered: another may not know yet, or still. A
// [Reader] follows all users and groups of the domain, for the import.
//
// An account is in scope when it is below the root container and a member,
// directly or through other groups, of the scope group. A root container or a
// group that is not found is an error ([ErrScope]), never a "no". Not counted
// is membership by primaryGroupID, which member and memberOf do not show.
//
// A connection is opened when it is needed, kept, and opened again after it
// failed; an operation that failed on a kept connection is tried once more on
// a new one, since all of them only read. Binds that test a password have a
// connection of their own, thrown away afterwards: a DC may keep an identity
// on a connection after a failed bind.
package ad

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/go-ldap/ldap/v3"
)

// Dialer gives new TLS connections to a domain controller; *dc.Set is one.
type Dialer interface {
	Dial(ctx context.Context) (*tls.Conn, string, error)
}

// Config describes a Client.
type Config struct {
	DCs Dialer
	// Account is the service account's bind name (DN, UPN or DOMAIN\name).
	Account  string
	Password secret.Bytes
	// RootDN is the container below which accounts are in scope; empty: the
	// whole domain.
	RootDN string
	// ScopeGroup is the group whose nested members are in scope: by
	// ScopeGroupGUID, which outlives a rename or a move, or, while that is
	// zero, by DN. Without either every account is in scope.
	ScopeGroup     string
	ScopeGroupGUID identity.GUID
	// Timeout bounds one request; zero means 30 s.
	Timeout time.Duration
}

// Client is safe for concurrent use; requests share one connection.
type Client struct {
	cfg   Config
	group groupName

	mu   sync.Mutex
	conn *session // nil: none; guarded by mu
}

// session is a connection and the controller at its other end.
type session struct {
	*ldap.Conn
	dc string

	// Guarded by Client.mu.
	searches int  // that use it now
	overdue  int  // of these, those whose time is over
	retired  bool // it gets no new searches, and is closed after the last
}

// New checks cfg; it connects to nothing.
func New(cfg Config) (*Client, error) {
	if cfg.DCs == nil || cfg.Account == "" || cfg.Password.IsEmpty() {
		return nil, errors.New("active directory client: a dialer, a service account and its password are required")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	return &Client{cfg: cfg}, nil
}

// Close ends the connection, if there is one.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// ErrNotFound is returned for an entry that does not exist, or that the
// service account may not see.
var ErrNotFound = errors.New("no such entry in Active Directory")

var userAttributes = []string{"objectGUID", "sAMAccountName", "userPrincipalName", "mail",
	"givenName", "sn", "userAccountControl", "adminCount", "pwdLastSet", "objectClass"}

// userAccountControl, MS-ADTS 2.2.16.
const (
	accountDisable = 0x2
	trustAccounts  = 0x800 | 0x1000 | 0x2000 // of a trusted domain, a workstation, a controller
)

// User reads an account by its GUID or, when that is not known, by its DN.
func (c *Client) User(ctx context.Context, account identity.Account) (identity.User, error) {
	base := account.DN
	if !account.GUID.IsZero() {
		base = byGUID(account.GUID)
	}
	users, err := c.users(ctx, base, ldap.ScopeBaseObject, "(objectClass=user)")
	if err != nil {
		return identity.User{}, fmt.Errorf("read AD account %s: %w", base, err)
	}
	return users[0], nil
}

// FindUser finds the one account below base with this sAMAccountName or
// userPrincipalName.
func (c *Client) FindUser(ctx context.Context, base, name string) (identity.User, error) {
	quoted := ldap.EscapeFilter(name)
	filter := "(&(objectCategory=person)(objectClass=user)(|(sAMAccountName=" + quoted + ")(userPrincipalName=" + quoted + ")))"
	users, err := c.users(ctx, base, ldap.ScopeWholeSubtree, filter)
	if err != nil {
		return identity.User{}, fmt.Errorf("find AD account %q: %w", name, err)
	}
	if len(users) > 1 {
		return identity.User{}, fmt.Errorf("find AD account %q: %d accounts have that name", name, len(users))
	}
	return users[0], nil
}

func (c *Client) users(ctx context.Context, base string, scope int, filter string) ([]identity.User, error) {
	res, dc, err := c.search(ctx, base, scope, filter, userAttributes)
	if err != nil {
		return nil, err
	}
	if len(res.Entries) == 0 {
		return nil, ErrNotFound
	}
	var users []identity.User
	for _, e := range res.Entries {
		u, err := userFrom(e)
		if err != nil {
			return nil, err
		}
		u.DC = dc
		if u.InScope, err = c.inScope(ctx, u); err != nil {
			return nil, fmt.Errorf("scope of %q: %w", e.DN, err)
		}
		users = append(users, u)
	}
	return users, nil
}

func userFrom(e *ldap.Entry) (identity.User, error) {
	guid, err := identity.GUIDFromBytes(e.GetRawAttributeValue("objectGUID"))
	if err != nil {
		return identity.User{}, fmt.Errorf("entry %q: %w", e.DN, err)
	}
	control, _ := strconv.ParseInt(e.GetAttributeValue("userAccountControl"), 10, 64)
	isComputer := func(class string) bool { return strings.EqualFold(class, "computer") }
	lastSet, _ := strconv.ParseInt(e.GetAttributeValue("pwdLastSet"), 10, 64)
	return identity.User{
		Side: identity.AD, GUID: guid, DN: e.DN,
		Username: e.GetAttributeValue("sAMAccountName"), UPN: e.GetAttributeValue("userPrincipalName"),
		Mail: e.GetAttributeValue("mail"), First: e.GetAttributeValue("givenName"), Last: e.GetAttributeValue("sn"),
		Disabled: control&accountDisable != 0, Privileged: e.GetAttributeValue("adminCount") == "1",
		PwdLastSet: lastSet, MustChange: e.GetAttributeValue("pwdLastSet") == "0",
		Computer: control&trustAccounts != 0 || slices.ContainsFunc(e.GetAttributeValues("objectClass"), isComputer),
	}, nil
}

func (c *Client) search(ctx context.Context, base string, scope int, filter string, attrs []string, controls ...ldap.Control) (*ldap.SearchResult, string, error) {
	req := ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, int(c.cfg.Timeout/time.Second), false, filter, attrs, controls)
	for attempt := 0; ; attempt++ {
		conn, fresh, err := c.connect(ctx)
		if err != nil {
			return nil, "", err
		}
		stop := context.AfterFunc(ctx, func() { c.overrun(conn) }) // go-ldap knows no context
		res, err := conn.Search(req)
		c.release(conn, !stop())
		if err != nil && ctx.Err() != nil {
			return nil, "", fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
		switch {
		case err == nil:
			return res, conn.dc, nil
		case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
			return nil, "", ErrNotFound
		case ldap.IsErrorAnyOf(err, ldap.ErrorNetwork, ldap.LDAPResultUnavailable, ldap.LDAPResultBusy) || conn.IsClosing():
			c.retireAfter(conn)
			if fresh || attempt > 0 {
				return nil, "", fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		default:
			return nil, "", err
		}
	}
}

// ErrUnavailable: no DC answered; nothing is known, try again later.
var ErrUnavailable = errors.New("active directory does not answer")

func (c *Client) connect(ctx context.Context) (conn *session, fresh bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && !c.conn.IsClosing() {
		c.conn.searches++
		return c.conn, false, nil
	}
	conn, err = c.dial(ctx)
	if err != nil {
		return nil, false, err
	}
	if err := bind(ctx, conn.Conn, c.cfg.Account, c.cfg.Password); err != nil {
		_ = conn.Close()
		return nil, false, fmt.Errorf("bind as service account %q: %w", c.cfg.Account, err)
	}
	conn.searches = 1
	c.conn = conn
	return conn, true, nil
}

// overrun is called when the time of a search on conn is over. Others of the
// same connection are not disturbed: it gets no new ones, and is closed when
// nobody waits for it any more. That ends the search at once if it is alone, or
// else by the connection's own time limit.
func (c *Client) overrun(conn *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.overdue++
	c.retire(conn)
}

// release is called when a search on conn has ended.
func (c *Client) release(conn *session, wasOverdue bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.searches--
	if wasOverdue {
		conn.overdue--
	}
	if conn.retired {
		c.retire(conn)
	}
}

// retire is given the lock.
func (c *Client) retire(conn *session) {
	conn.retired = true
	if c.conn == conn {
		c.conn = nil
	}
	if conn.overdue >= conn.searches {
		_ = conn.Close()
	}
}

func (c *Client) dial(ctx context.Context) (*session, error) {
	raw, dc, err := c.cfg.DCs.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	conn := ldap.NewConn(raw, true)
	conn.SetTimeout(c.cfg.Timeout)
	conn.Start()
	return &session{Conn: conn, dc: dc}, nil
}

// retireAfter is for a connection on which a search has failed.
func (c *Client) retireAfter(conn *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retire(conn)
}

// bind lends the secret to go-ldap, whose API wants a string, without making
// a string of it that could never be wiped. The library copies it into the
// request it sends and keeps nothing.
func bind(ctx context.Context, conn *ldap.Conn, name string, password secret.Bytes) error {
	b := password.Expose()
	if len(b) == 0 {
		return errors.New("no password: a bind would prove nothing (RFC 4513 section 5.1.2)")
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	return conn.Bind(name, unsafe.String(unsafe.SliceData(b), len(b)))
}
