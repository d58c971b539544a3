package ad

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// WriterConfig describes a Writer.
type WriterConfig struct {
	// Config is that of the delegated sync account. Below RootDN, and nowhere
	// else, the Writer writes; new objects are made in it. Empty: new objects
	// are made in CN=Users, and the whole domain counts as below.
	Config
	// Attributes are further attributes of users that may be written, beside
	// those of [identity.ExportAttributes].
	Attributes []string
}

// Writer changes users and groups of a domain, as sync asks for: it creates,
// updates, disables and enables, sets passwords, and keeps groups. It never
// deletes an object, never writes to one that adminCount marks as privileged or
// that Active Directory comes with (Guest, Domain Users, Group Policy Creator
// Owners), and never to one outside the root container.
//
// What a write depends on is read just before it, and what it made just after,
// on the same connection and so from the same controller: another need not have
// either yet. AD has no assertion control (RFC 4528), so between reading
// adminCount and writing somebody may mark the object; AD itself takes the
// delegated rights from it then (AdminSDHolder, MS-ADTS 3.1.1.6.1).
//
// Every call can be repeated: what is already so is not written again, and
// succeeds. An error tells what became of the write:
//
//   - [ErrUnavailable]: nothing was written; try again later.
//   - [ErrUnknown]: a write was sent, and its answer was not seen. The same call
//     again reads first, and goes on from what it finds.
//   - [ErrRights], [ErrPolicy], [ErrExists], [ErrPrivileged], [ErrOutside],
//     [ErrName], [ErrNotFound] and all others: refused; nothing was written,
//     and nothing will be until a person changes something.
//
// A Writer is safe for concurrent use. Its calls run one after the other on one
// connection, so that a later one sees what an earlier one wrote.
type Writer struct {
	client *Client
	may    map[string]bool // attributes of users, in lower case
	turn   chan struct{}   // holds a token while nobody works
	desk   *desk           // nil: none; belongs to who has the token
}

// NewWriter checks cfg; it connects to nothing.
func NewWriter(cfg WriterConfig) (*Writer, error) {
	client, err := New(cfg.Config)
	if err != nil {
		return nil, err
	}
	w := &Writer{client: client, may: make(map[string]bool), turn: make(chan struct{}, 1)}
	for _, name := range append(identity.ExportAttributes(), cfg.Attributes...) {
		w.may[strings.ToLower(name)] = true
	}
	w.turn <- struct{}{}
	return w, nil
}

// Close waits for the call that runs, and ends the connection.
func (w *Writer) Close() {
	<-w.turn
	w.drop()
	w.turn <- struct{}{}
}

func (w *Writer) drop() {
	if w.desk != nil {
		_ = w.desk.Close()
		w.desk = nil
	}
}

// A desk is a bound connection with what the Writer knows of its controller's
// domain.
type desk struct {
	*session
	timeout time.Duration
	base    string // defaultNamingContext
	schema  string // schemaNamingContext
	root    string // DN of the root container
	within  string // DN below which may be written
	me      trustee
}

// A trustee is the service account, as commands and security descriptors name
// it.
type trustee struct {
	name   string // CORP\jcsync
	sid    []byte
	groups [][]byte // SIDs of its groups
}

// do gives work the connection. A kept connection may have ended unnoticed, so
// work that has written nothing is done once more on a new one.
func (w *Writer) do(ctx context.Context, work func(context.Context, *desk) error) error {
	select {
	case <-w.turn:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	defer func() { w.turn <- struct{}{} }()
	for {
		kept := w.desk != nil && !w.desk.IsClosing()
		if !kept {
			w.drop()
			d, err := w.open(ctx)
			if err != nil {
				return err
			}
			w.desk = d
		}
		err := work(ctx, w.desk)
		if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknown) {
			w.drop()
		}
		if !kept || ctx.Err() != nil || !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknown) {
			return err
		}
	}
}

// open connects, binds and looks around.
func (w *Writer) open(ctx context.Context) (*desk, error) {
	conn, err := w.client.dial(ctx)
	if err != nil {
		return nil, err
	}
	d := &desk{session: conn, timeout: w.client.cfg.Timeout}
	err = bindService(ctx, conn.Conn, w.client.cfg)
	if err == nil {
		err = d.lookAround(ctx, w.client.cfg)
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return nil, err
	}
	return d, nil
}

func (d *desk) lookAround(ctx context.Context, cfg Config) error {
	dse, err := d.one(ctx, "", "defaultNamingContext", "schemaNamingContext", "tokenGroups")
	if err != nil {
		return fmt.Errorf("read the root DSE of %s: %w", d.dc, err)
	}
	d.base, d.schema = dse.GetAttributeValue("defaultNamingContext"), dse.GetAttributeValue("schemaNamingContext")
	if d.base == "" {
		return fmt.Errorf("read the root DSE of %s: no defaultNamingContext; is this an Active Directory domain controller?", d.dc)
	}
	d.me.name = cfg.Account
	// The first SID is the account's own, the others are its groups'
	// (MS-ADTS 3.1.1.3.2.25).
	if sids := dse.GetRawAttributeValues("tokenGroups"); len(sids) > 0 {
		d.me.sid, d.me.groups = sids[0], sids[1:]
		e, err := d.one(ctx, "<SID="+sidText(d.me.sid)+">", "msDS-PrincipalName", "sAMAccountName")
		switch {
		case errors.Is(err, ErrUnavailable):
			return err
		case err != nil: // the bind name will do
		case e.GetAttributeValue("msDS-PrincipalName") != "":
			d.me.name = e.GetAttributeValue("msDS-PrincipalName")
		default:
			d.me.name = e.GetAttributeValue("sAMAccountName") + "@" + dnsName(d.base)
		}
	}
	d.root, d.within = cfg.RootDN, cfg.RootDN
	if cfg.RootDN == "" {
		d.root, d.within = "CN=Users,"+d.base, d.base
	}
	root, err := d.one(ctx, d.root, "distinguishedName")
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: the root container %q is not found; if it was renamed, run `dirgate domain register` again with the new --root-dn", ErrScope, d.root)
	}
	if err != nil {
		return fmt.Errorf("read the root container %q: %w", d.root, err)
	}
	d.root = root.DN
	if cfg.RootDN != "" {
		d.within = root.DN
	}
	return nil
}

// one reads one entry.
func (d *desk) one(ctx context.Context, dn string, attrs ...string) (*ldap.Entry, error) {
	entries, err := d.find(ctx, dn, ldap.ScopeBaseObject, "(objectClass=*)", attrs)
	if err != nil {
		return nil, err
	}
	if len(entries) != 1 {
		return nil, ErrNotFound
	}
	return entries[0], nil
}

// find searches within this domain, without references to others.
func (d *desk) find(ctx context.Context, base string, scope int, filter string, attrs []string) ([]*ldap.Entry, error) {
	var found []*ldap.Entry
	page := ldap.NewControlPaging(500)
	for {
		req := ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, int(d.timeout/time.Second), false, filter, attrs, nil)
		if scope != ldap.ScopeBaseObject {
			req.Controls = []ldap.Control{page, ldap.NewControlString(oidDomainScope, true, "")}
		}
		var res *ldap.SearchResult
		err := d.during(ctx, func() (err error) {
			res, err = d.Search(req)
			return err
		})
		if err != nil {
			return nil, d.readError(ctx, err)
		}
		found = append(found, res.Entries...)
		if scope == ldap.ScopeBaseObject {
			return found, nil
		}
		next, ok := ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok {
			return nil, fmt.Errorf("%w: a page does not say whether another follows (RFC 2696)", ErrIncomplete)
		}
		if len(next.Cookie) == 0 {
			return found, nil
		}
		page.SetCookie(next.Cookie)
	}
}

// during makes a request that ends when ctx does: go-ldap knows no context.
func (d *desk) during(ctx context.Context, request func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = d.Close() })
	defer stop()
	return request()
}

func (d *desk) readError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		return ErrNotFound
	case notNow(err) || unanswered(err):
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, d.dc, err)
	}
	return err
}

// write sends a request that changes something. ErrUnavailable: it was not
// sent, or the controller said that it did not do it. ErrUnknown: sent, and not
// answered. Other errors are the controller's refusal.
func (d *desk) write(ctx context.Context, request func() error) error {
	if ctx.Err() != nil || d.IsClosing() {
		return fmt.Errorf("%w: %s: not sent", ErrUnavailable, d.dc)
	}
	err := d.during(ctx, request)
	switch {
	case err == nil:
		return nil
	case unanswered(err):
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%w: %s: %w", ErrUnknown, d.dc, err)
	case notNow(err):
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, d.dc, err)
	}
	return err
}

// object reads a user or a group that is to be written, and checks that it may
// be.
func (d *desk) object(ctx context.Context, guid identity.GUID, want class, attrs ...string) (*ldap.Entry, error) {
	e, err := d.one(ctx, byGUID(guid), append([]string{"objectClass", "objectSid", "adminCount", "userAccountControl", "sAMAccountName"}, attrs...)...)
	if err != nil {
		return nil, fmt.Errorf("read %s on %s: %w", guid, d.dc, err)
	}
	if classOf(e) != want {
		return nil, fmt.Errorf("%w: %q has another class", ErrNotFound, e.DN)
	}
	if !below(e.DN, d.within) {
		return nil, fmt.Errorf("%w: %q is not below %q; move it there, or take it out of sync", ErrOutside, e.DN, d.within)
	}
	return e, privileged(e)
}

// privileged refuses what is never written.
func privileged(e *ldap.Entry) error {
	control := number(e, "userAccountControl")
	switch {
	case e.GetAttributeValue("adminCount") == "1":
		return fmt.Errorf("%w: %q has adminCount 1; delegated rights do not apply to it, and sync never writes to it", ErrPrivileged, e.DN)
	case wellKnown(e):
		return fmt.Errorf("%w: %q is one of the accounts and groups that Active Directory comes with, to which sync never writes", ErrPrivileged, e.DN)
	case control&trustAccounts != 0 || hasClass(e, "computer"):
		return fmt.Errorf("%w: %q is the account of a computer or a trust, to which sync never writes", ErrPrivileged, e.DN)
	}
	return nil
}

func hasClass(e *ldap.Entry, class string) bool {
	for _, value := range e.GetAttributeValues("objectClass") {
		if strings.EqualFold(value, class) {
			return true
		}
	}
	return false
}
