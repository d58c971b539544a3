package delegate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// directory is the connections to the controllers of one domain.
type directory struct {
	*Domain
	service pool // bound as the service account
	fast    pool // in fast bind mode

	mu      sync.Mutex
	asked   bool      // whether hasFast is known; guarded by mu
	hasFast bool      // guarded by mu
	told    time.Time // when the guard was told the lockout policy; guarded by mu

	cloudTries  *limiter    // of each user, at JumpCloud
	cloudPolicy CloudPolicy // that cloudTries has; guarded by mu

	own map[string]ownLockout // by DN of a Password Settings Object; guarded by mu
}

func newDirectory(d *Domain, idle int) *directory {
	return &directory{Domain: d, service: pool{max: idle}, fast: pool{max: idle}, own: make(map[string]ownLockout)}
}

func (d *directory) close() {
	d.service.close()
	d.fast.close()
}

// errService: the service account cannot bind, so nothing can be looked up.
var errService = errors.New("bind as the service account")

// serviceConn makes a connection that is bound as the service account.
func (d *directory) serviceConn(ctx context.Context, dial func(context.Context) (*tls.Conn, string, error)) (*ldapConn, error) {
	password, err := d.Password()
	if err != nil {
		return nil, fmt.Errorf("%w: %w: %w", errNotSent, errService, err)
	}
	defer password.Wipe()
	c, err := newConn(ctx, dial)
	if err != nil {
		return nil, err
	}
	res, err := c.bind(ctx, d.Account, password)
	if err == nil && res.Code != ldapwire.ResultSuccess {
		err = fmt.Errorf("the controller answered %s", res.Code)
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("%w: %w %q: %w", errNotSent, errService, d.Account, err)
	}
	return c, nil
}

// ask runs reads as the service account. A kept connection that turns out to be
// dead is replaced once.
func (d *directory) ask(ctx context.Context, read func(*ldapConn) error) error {
	c := d.service.take()
	if c != nil {
		err := read(c)
		d.service.give(c)
		if err == nil || !c.broken || ctx.Err() != nil {
			return err
		}
	}
	c, err := d.serviceConn(ctx, d.DCs.Dial)
	if err != nil {
		return err
	}
	err = read(c)
	d.service.give(c)
	return err
}

// canFastBind reads the root DSE, once for each registration.
func (d *directory) canFastBind(ctx context.Context) (bool, error) {
	d.mu.Lock()
	asked, has := d.asked, d.hasFast
	d.mu.Unlock()
	if asked {
		return has, nil
	}
	err := d.ask(ctx, func(c *ldapConn) error {
		found, err := c.search(ctx, ldapwire.SearchParams{Scope: ldapwire.ScopeBase, Attributes: []string{"supportedExtension"}})
		if err == nil && len(found) != 1 {
			err = errors.New("read the root DSE: there is none")
		}
		if err == nil {
			has = slices.Contains(found[0].values["supportedextension"], ldapwire.OIDFastBind)
		}
		return err
	})
	if err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked, d.hasFast = true, has
	return has, nil
}

// fastConn gives a connection in fast bind mode. A domain whose controllers
// differ, so that this one does not have it, gets errNoFastBind.
func (d *directory) fastConn(ctx context.Context) (*ldapConn, error) {
	for {
		c := d.fast.take()
		if c == nil {
			break
		}
		if !c.gone() { // a bind that is not answered is not made again
			return c, nil
		}
		c.close()
	}
	c, err := newConn(ctx, d.DCs.Dial)
	if err != nil {
		return nil, err
	}
	res, err := c.extended(ctx, ldapwire.OIDFastBind)
	if err == nil && res.Code != ldapwire.ResultSuccess {
		err = errNoFastBind
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("%w: fast bind: %w", errNotSent, err)
	}
	return c, nil
}

var errNoFastBind = errors.New("the controller does not have it")

func (c *ldapConn) extended(ctx context.Context, oid string) (ldapwire.Result, error) {
	msg, err := c.do(ctx, ldapwire.AppendExtendedRequest(nil, c.next(), oid, nil, false), nil)
	if err != nil {
		return ldapwire.Result{}, err
	}
	res, err := ldapwire.ParseExtendedResponse(msg.Body)
	if err != nil || msg.Op != ldapwire.OpExtendedResponse {
		c.broken = true
		return ldapwire.Result{}, fmt.Errorf("%w: an extended request was answered with something else", errUnanswered)
	}
	return keep(res.Result), nil
}

// try makes one bind. With own it is on a connection of its own, which is
// returned when the bind was accepted; the caller closes it.
func (d *directory) try(ctx context.Context, dn string, password secret.Bytes, own bool) (ldapwire.Result, *ldapConn, error) {
	if !own {
		has, err := d.canFastBind(ctx)
		if err != nil {
			return ldapwire.Result{}, nil, fmt.Errorf("%w: %w", errNotSent, err)
		}
		if has {
			c, err := d.fastConn(ctx)
			switch {
			case errors.Is(err, errNoFastBind): // this one of them
			case err != nil:
				return ldapwire.Result{}, nil, err
			default:
				res, err := c.bind(ctx, dn, password)
				c.broken = c.broken || err != nil || res.Code != ldapwire.ResultSuccess
				d.fast.give(c)
				return res, nil, err
			}
		}
	}
	c, err := newConn(ctx, d.DCs.Dial)
	if err != nil {
		return ldapwire.Result{}, nil, err
	}
	res, err := c.bind(ctx, dn, password)
	if err != nil || res.Code != ldapwire.ResultSuccess {
		c.close()
		return res, nil, err
	}
	return res, c, nil
}

// userAttributes are what is read of an account.
func userAttributes() []string {
	return []string{"objectGUID", "sAMAccountName", "userPrincipalName", "mail", "displayName", "givenName", "sn",
		"userAccountControl", "pwdLastSet", "accountExpires", "lockoutTime", "msDS-UserPasswordExpiryTimeComputed",
		"msDS-User-Account-Control-Computed", "msDS-ResultantPSO"}
}

// person is (&(objectCategory=person)(objectClass=user)(|...)) with these
// attributes equal to these values.
func person(pairs ...string) []byte {
	var any [][]byte
	for i := 0; i < len(pairs); i += 2 {
		any = append(any, ldapwire.AppendEqualityFilter(nil, pairs[i], []byte(pairs[i+1])))
	}
	or := ldapwire.AppendAndFilter(nil, any...)
	or[0] = 0xa1 // the two differ in the tag (RFC 4511 section 4.5.1)
	return ldapwire.AppendAndFilter(nil, ldapwire.AppendEqualityFilter(nil, "objectCategory", []byte("person")),
		ldapwire.AppendEqualityFilter(nil, "objectClass", []byte("user")), or)
}

// lookUp finds the one account that a name is for in this domain; nil: there is
// none, or there are several.
func (d *directory) lookUp(ctx context.Context, p ldapwire.SearchParams) (found *entry, err error) {
	p.SizeLimit, p.Attributes = 2, userAttributes()
	err = d.ask(ctx, func(c *ldapConn) error {
		all, err := c.search(ctx, p)
		if err == nil && len(all) == 1 {
			found = &all[0]
		}
		return err
	})
	return found, err
}

// byGUID reads an account by its objectGUID.
func (d *directory) byGUID(ctx context.Context, guid identity.GUID) (*entry, error) {
	return d.lookUp(ctx, ldapwire.SearchParams{BaseDN: "<GUID=" + guid.String() + ">", Scope: ldapwire.ScopeBase, Filter: person("objectClass", "user")})
}

// byName looks a logon name, mail address or DN up.
func (d *directory) byName(ctx context.Context, n name) (*entry, error) {
	sub := ldapwire.SearchParams{BaseDN: d.BaseDN, Scope: ldapwire.ScopeSubtree}
	switch n.kind {
	case nameGUID:
		guid, err := identity.ParseGUID(n.text)
		if err != nil {
			return nil, err
		}
		return d.byGUID(ctx, guid)
	case nameDN:
		return d.lookUp(ctx, ldapwire.SearchParams{BaseDN: n.text, Scope: ldapwire.ScopeBase, Filter: person("objectClass", "user")})
	case nameSAM:
		sub.Filter = person("sAMAccountName", n.text)
		return d.lookUp(ctx, sub)
	}
	// userPrincipalName, then what AD makes of the account name and the domain
	// (MS-ADTS 5.1.1.1.1), then the mail address.
	local, suffix, _ := strings.Cut(n.text, "@")
	for _, pair := range [][2]string{{"userPrincipalName", n.text}, {"sAMAccountName", local}, {"mail", n.text}} {
		if pair[0] == "sAMAccountName" && !strings.EqualFold(suffix, d.Name) {
			continue
		}
		sub.Filter = person(pair[0], pair[1])
		if e, err := d.lookUp(ctx, sub); e != nil || err != nil {
			return e, err
		}
	}
	return nil, nil
}
