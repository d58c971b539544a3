package adsim

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Bits of userAccountControl (MS-ADTS 2.2.16).
const (
	uacDisabled     = 0x2
	uacLockout      = 0x10
	uacNotRequired  = 0x20
	uacNormal       = 0x200
	uacNeverExpires = 0x10000
	uacSmartCard    = 0x40000
	uacExpired      = 0x800000
)

// An Identity is who a connection acts as. The zero Identity is anonymous.
type Identity struct{ guid guid }

// Anonymous reports whether nobody is bound.
func (i Identity) Anonymous() bool { return i == Identity{} }

// Bind checks a name and a password, with all that follows for the account:
// wrong passwords are counted, the account may be locked. A name with an empty
// password is anonymous (MS-ADTS 5.1.1.1.1). The error is AD's with the reason.
func (d *Directory) Bind(name string, password []byte) (Identity, error) {
	if len(password) == 0 {
		return Identity{}, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e, reason := d.bindName(name)
	if e == nil {
		return Identity{}, refusedBind(reason)
	}
	if reason := d.logon(e, untilNUL(password)); reason != 0 {
		return Identity{}, refusedBind(reason)
	}
	return Identity{e.guid}, nil
}

// untilNUL is what a server that keeps passwords as C strings sees.
func untilNUL(password []byte) []byte {
	for i, b := range password {
		if b == 0 {
			return password[:i]
		}
	}
	return password
}

// bindName finds the account a name means (MS-ADTS 5.1.1.1.1). If there is
// none, it says why.
func (d *Directory) bindName(name string) (*entry, int) {
	name = strings.TrimRight(name, " ")
	if strings.HasPrefix(name, "<") {
		e, _ := d.resolve(name)
		return d.principal(e)
	}
	if n, ok := parseName(name); ok && n.key != "" {
		return d.principal(d.byKey[n.key])
	}
	if account, domain, ok := cutLast(name, "@"); ok {
		if e := d.find("userPrincipalName", name); e != nil {
			return e, 0
		}
		if strings.EqualFold(domain, d.domain) || strings.EqualFold(domain, d.netbios) {
			return d.principal(d.find("sAMAccountName", account))
		}
		return nil, noSuchUser
	}
	if domain, account, ok := strings.Cut(name, `\`); ok {
		if !strings.EqualFold(domain, d.netbios) {
			return nil, logonFailure
		}
		return d.principal(d.find("sAMAccountName", account))
	}
	if strings.HasPrefix(name, "S-1-") {
		return d.principal(d.byID("SID", name))
	}
	if domain, path, ok := strings.Cut(name, "/"); ok && strings.EqualFold(domain, d.domain) {
		for _, e := range d.ordered {
			if !e.deleted && strings.EqualFold(d.canonical(e), d.domain+"/"+strings.ReplaceAll(path, "\n", "/")) {
				return d.principal(e)
			}
		}
		return nil, noSuchUser
	}
	return nil, logonFailure // a bare sAMAccountName, for one
}

func (d *Directory) principal(e *entry) (*entry, int) {
	switch {
	case e == nil || e.deleted:
		return nil, noSuchUser
	case !e.is("user"):
		return nil, logonFailure
	}
	return e, 0
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// logon checks a password and the state of an account, in the order in which
// AD does. It returns the reason, 0 for success.
func (d *Directory) logon(e *entry, password []byte) int {
	now, policy := d.now(), d.policy()
	if policy.locked(e, now) {
		return accountLockedOut
	}
	if !e.secret.matches(password) && !e.secret.wasPrevious(password, now, d.grace) {
		d.countFailure(e, password, policy, now)
		return logonFailure
	}
	if reason := state(e, policy, now); reason != 0 {
		return reason
	}
	e.setNum("badPwdCount", 0)
	e.set("lockoutTime")
	if e.get("lastLogonTimestamp") == nil {
		e.setNum("lastLogonTimestamp", filetime(now))
		d.touch(e)
	}
	return 0
}

// state is why an account whose password was right cannot log on.
func state(e *entry, policy Policy, now time.Time) int {
	uac := e.num("userAccountControl")
	expires := e.num("accountExpires")
	switch {
	case uac&uacDisabled != 0:
		return accountDisabled
	case expires != 0 && expires != never && expires <= filetime(now):
		return accountExpired
	case !withinHours(e.first("logonHours"), now):
		return invalidLogonHours
	case e.first("userWorkstations") != "":
		return invalidWorkstation // no client names a workstation here
	case uac&uacNeverExpires != 0:
		return 0
	case e.num("pwdLastSet") == 0:
		return passwordMustChange
	case policy.expiry(e) <= filetime(now):
		return passwordExpired
	}
	return 0
}

// withinHours checks logonHours: a bit per hour of the week, from Sunday
// midnight, UTC.
func withinHours(hours string, now time.Time) bool {
	if len(hours) != 21 {
		return true
	}
	hour := int(now.UTC().Weekday())*24 + now.UTC().Hour()
	return hours[hour/8]&(1<<(hour%8)) != 0
}

// expiry is msDS-UserPasswordExpiryTimeComputed (MS-ADTS 3.1.1.4.5.36).
func (p Policy) expiry(e *entry) int64 {
	set := e.num("pwdLastSet")
	switch {
	case e.num("userAccountControl")&(uacNeverExpires|uacSmartCard) != 0, p.MaxAge == 0:
		return never
	case set == 0:
		return 0
	}
	return set + int64(p.MaxAge/100)
}

func (p Policy) locked(e *entry, now time.Time) bool {
	since := e.num("lockoutTime")
	if since == 0 {
		return false
	}
	return p.LockoutDuration == 0 || filetime(now) < since+int64(p.LockoutDuration/100)
}

// countFailure counts a wrong password. One of the last two passwords is taken
// for a program that has not heard of the change, and does not count.
func (d *Directory) countFailure(e *entry, password []byte, policy Policy, now time.Time) {
	if e.secret.inHistory(password, 2) {
		return
	}
	last := e.num("badPasswordTime")
	count := e.num("badPwdCount")
	if filetime(now)-last >= int64(policy.LockoutWindow/100) || e.num("lockoutTime") != 0 {
		count = 0 // the window, or an earlier lockout, is over
		e.set("lockoutTime")
	}
	count++
	e.setNum("badPwdCount", count)
	e.setNum("badPasswordTime", filetime(now))
	if policy.LockoutThreshold > 0 && count >= int64(policy.LockoutThreshold) {
		e.setNum("lockoutTime", filetime(now))
		d.touch(e)
	}
}

// WhoAmI is the answer to Who am I? (RFC 4532): u:DOMAIN\account, or nothing
// for nobody.
func (d *Directory) WhoAmI(id Identity) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.byGUID(id.guid)
	if e == nil {
		return ""
	}
	return "u:" + d.netbios + `\` + e.first("sAMAccountName")
}

func escapeDN(s string) string  { return ldap.EscapeDN(s) }
func hexString(b []byte) string { return hex.EncodeToString(b) }
