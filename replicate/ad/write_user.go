package ad

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/go-ldap/ldap/v3"
)

// NewUser is an account to create.
type NewUser struct {
	Username string // sAMAccountName, 20 characters at most
	UPN      string // empty: none
	// CN is the wanted common name; "CN (Username)" when that is taken in the
	// root container, cut to the 64 characters that AD allows.
	CN          string
	First, Last string
	Mail        string
	Attributes  []Attribute // further ones, from translation rules
	Disabled    bool
}

// attributes are all that the account is to have, but for its class, its name,
// its state and its password. What translation rules say goes before.
func (n NewUser) attributes() []Attribute {
	attrs := make([]Attribute, 0, len(n.Attributes)+5)
	given := make(map[string]bool)
	for _, a := range n.Attributes {
		given[strings.ToLower(a.Name)] = true
		if len(a.Values) > 0 {
			attrs = append(attrs, a)
		}
	}
	for _, a := range []Attribute{{Name: "userPrincipalName", Values: []string{n.UPN}}, {Name: "givenName", Values: []string{n.First}},
		{Name: "sn", Values: []string{n.Last}}, {Name: "displayName", Values: []string{n.CN}}, {Name: "mail", Values: []string{n.Mail}}} {
		if a.Values[0] != "" && !given[strings.ToLower(a.Name)] {
			attrs = append(attrs, a)
		}
	}
	return attrs
}

// passwordTries is how many random passwords are tried: a domain may have a
// filter of its own that dislikes some.
const passwordTries = 3

// CreateUser creates an account in the root container and returns it as AD
// shows it then.
//
// The account gets a random password that nobody learns, and its state, in the
// one request that adds it, so that there never is an account without a password
// or one that waits to be enabled; AD takes unicodePwd in an add over TLS.
// pwdLastSet is left to AD, so the owner is not asked to change the password.
//
// [ErrExists]: the username, UPN or mail address is another object's, which may
// be anywhere in the domain. An account that has them, that this service account
// owns (the owner of an object is who created it) and that is as n wants it was
// made by an earlier call whose answer was lost: it is returned.
func (w *Writer) CreateUser(ctx context.Context, n NewUser) (user identity.User, err error) {
	attrs := n.attributes()
	if err = errors.Join(checkAccountName(n.Username, maxUserName), w.mayWrite(attrs)); err != nil {
		return user, fmt.Errorf("create AD user %q: %w", n.Username, err)
	}
	err = w.do(ctx, func(ctx context.Context, d *desk) error {
		user, err = d.createUser(ctx, n, attrs)
		return err
	})
	if err != nil {
		return identity.User{}, fmt.Errorf("create AD user %q: %w", n.Username, err)
	}
	return user, nil
}

func (d *desk) createUser(ctx context.Context, n NewUser, attrs []Attribute) (identity.User, error) {
	names := commonNames(n.CN, n.Username)
	for attempt := 0; ; {
		dn, err := d.holder(ctx, n.Username, attrs, names)
		switch {
		case err != nil:
			return identity.User{}, err
		case dn != "": // ours
			return d.user(ctx, dn)
		}
		if dn, err = d.freeDN(ctx, names); err != nil {
			return identity.User{}, err
		}
		err = d.addUser(ctx, dn, n, attrs)
		attempt++
		var policy *PolicyError
		switch {
		case err == nil:
			return d.user(ctx, dn)
		case attempt < passwordTries && (taken(err) || errors.As(err, &policy)):
			continue // look again who has the name; draw again
		case taken(err):
			return identity.User{}, fmt.Errorf("%w: AD says: %s", ErrExists, words(err))
		}
		return identity.User{}, err
	}
}

// addUser sends the add.
func (d *desk) addUser(ctx context.Context, dn string, n NewUser, attrs []Attribute) error {
	head, err := d.one(ctx, d.base, "minPwdLength")
	if err != nil {
		return fmt.Errorf("read the password policy: %w", err)
	}
	names := []string{n.Username}
	for _, a := range attrs {
		if strings.EqualFold(a.Name, "displayName") {
			names = append(names, a.Values...)
		}
	}
	password, err := randomPassword(int(number(head, "minPwdLength")), names...)
	if err != nil {
		return err
	}
	defer password.Wipe()
	value, err := unicodePwd(password)
	if err != nil {
		return err
	}
	defer clear(value)
	req := ldap.NewAddRequest(dn, nil)
	req.Attribute("objectClass", []string{"top", "person", "organizationalPerson", "user"})
	req.Attribute("sAMAccountName", []string{n.Username})
	for _, a := range attrs {
		req.Attribute(a.Name, a.Values)
	}
	control := normalAccount
	if n.Disabled {
		control |= accountDisable
	}
	req.Attribute("userAccountControl", []string{strconv.Itoa(control)})
	req.Attribute("unicodePwd", []string{lend(value)})
	err = d.write(ctx, func() error { return d.Add(req) })
	switch {
	case passwordRefused(err):
		return &PolicyError{DN: dn, Code: win32Code(err), Text: words(err)}
	case deniedBy(err):
		return d.denied(ctx, "create the user", dn, d.root, []AccessRight{{CreateObjects, "user", ""}}, err)
	}
	return err
}

// normalAccount is the bit of userAccountControl of a person's account
// (MS-ADTS 2.2.16).
const normalAccount = 0x200

// user reads an account that has just been written.
func (d *desk) user(ctx context.Context, dn string) (identity.User, error) {
	e, err := d.one(ctx, dn, append(whole(), userAttributes...)...)
	if err != nil {
		return identity.User{}, fmt.Errorf("%w: it is written, but not read back: %w", ErrUnknown, err)
	}
	u, err := userFrom(e)
	if err != nil {
		return u, err
	}
	u.DC, u.InRoot, u.Profile = d.dc, below(u.DN, d.within), profileOf(e)
	u.AccountExpires = pointInTime(e.GetAttributeValue("accountExpires"))
	u.PasswordExpires = pointInTime(e.GetAttributeValue("msDS-UserPasswordExpiryTimeComputed"))
	return u, nil
}

// UpdateUser gives attributes of an account the values that they are to have.
// Those that have them already are not written; when none is left, nothing is
// sent and AD counts no change. [ErrChanged]: one is not what it was taken to
// be, and nothing was written.
func (w *Writer) UpdateUser(ctx context.Context, guid identity.GUID, attrs []Attribute) (user identity.User, err error) {
	if err := w.mayWrite(attrs); err != nil {
		return user, fmt.Errorf("update AD user %s: %w", guid, err)
	}
	err = w.do(ctx, func(ctx context.Context, d *desk) error {
		user, err = d.updateUser(ctx, guid, attrs)
		return err
	})
	if err != nil {
		return identity.User{}, fmt.Errorf("update AD user %s: %w", guid, err)
	}
	return user, nil
}

func (d *desk) updateUser(ctx context.Context, guid identity.GUID, attrs []Attribute) (identity.User, error) {
	names := make([]string, len(attrs))
	for i, a := range attrs {
		names[i] = a.Name
	}
	e, err := d.object(ctx, guid, classUser, names...)
	if err != nil {
		return identity.User{}, err
	}
	req, rights := ldap.NewModifyRequest(byGUID(guid), nil), []AccessRight(nil)
	for _, a := range attrs {
		have := e.GetEqualFoldAttributeValues(a.Name)
		if sameValues(have, a.Values) {
			continue
		}
		if err := a.change(req, have); err != nil {
			return identity.User{}, fmt.Errorf("%q: %w", e.DN, err)
		}
		rights = append(rights, AccessRight{WriteAttribute, "user", a.Name})
	}
	if len(req.Changes) == 0 {
		return d.user(ctx, byGUID(guid))
	}
	err = d.write(ctx, func() error { return d.Modify(req) })
	switch {
	case err == nil:
		return d.user(ctx, byGUID(guid))
	case deniedBy(err):
		return identity.User{}, d.denied(ctx, "write", e.DN, e.DN, rights, err)
	case taken(err):
		return identity.User{}, fmt.Errorf("%w: AD says: %s", ErrExists, words(err))
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchAttribute): // of a value that was there when it was read
		return identity.User{}, fmt.Errorf("%q: %w: AD says: %s", e.DN, ErrChanged, words(err))
	}
	return identity.User{}, err
}

// change adds to a request what gives the attribute its values, in place of
// those that it has. Where it is known what they were, AD is asked to take
// exactly those out, and refuses all of the request if one is another by then
// (RFC 4511 section 4.6).
func (a *Attribute) change(req *ldap.ModifyRequest, have []string) error {
	switch {
	case a.Was != nil && *a.Was == "" && len(have) > 0, a.Was != nil && *a.Was != "" && !slices.Contains(have, *a.Was):
		return fmt.Errorf("%s: %w", a.Name, ErrChanged)
	case a.Was == nil || len(have) == 0:
		req.Replace(a.Name, a.Values) // without values it is removed, and may be absent
		return nil
	}
	req.Delete(a.Name, have)
	if len(a.Values) > 0 {
		req.Add(a.Name, a.Values)
	}
	return nil
}

// sameValues compares values without regard to their order, which AD does not
// keep.
func sameValues(have, want []string) bool {
	if len(have) != len(want) {
		return false
	}
	count := make(map[string]int)
	for i := range have {
		count[have[i]]++
		count[want[i]]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// Disable sets ACCOUNTDISABLE of userAccountControl, and leaves its other bits
// as they are.
func (w *Writer) Disable(ctx context.Context, guid identity.GUID) (identity.User, error) {
	return w.control(ctx, "disable", guid, func(bits int64) int64 { return bits | accountDisable })
}

// Enable clears ACCOUNTDISABLE of userAccountControl. [ErrPolicy]: the account
// has no password that the policy allows.
func (w *Writer) Enable(ctx context.Context, guid identity.GUID) (identity.User, error) {
	return w.control(ctx, "enable", guid, func(bits int64) int64 { return bits &^ accountDisable })
}

func (w *Writer) control(ctx context.Context, what string, guid identity.GUID, change func(int64) int64) (user identity.User, err error) {
	err = w.do(ctx, func(ctx context.Context, d *desk) error {
		user, err = d.control(ctx, what, guid, change)
		return err
	})
	if err != nil {
		return identity.User{}, fmt.Errorf("%s AD user %s: %w", what, guid, err)
	}
	return user, nil
}

// controlTries bounds how often somebody else may be faster.
const controlTries = 5

// control deletes the value that was read and adds the new one, in one request:
// AD refuses it when somebody else has written in between, and nobody's change
// is undone.
func (d *desk) control(ctx context.Context, what string, guid identity.GUID, change func(int64) int64) (identity.User, error) {
	for try := 1; ; try++ {
		e, err := d.object(ctx, guid, classUser)
		if err != nil {
			return identity.User{}, err
		}
		was := e.GetAttributeValue("userAccountControl")
		bits, err := strconv.ParseInt(was, 10, 64)
		if err != nil {
			return identity.User{}, unreadable(e.DN, "userAccountControl", "Read all user information")
		}
		if change(bits) == bits {
			return d.user(ctx, byGUID(guid))
		}
		req := ldap.NewModifyRequest(byGUID(guid), nil)
		req.Delete("userAccountControl", []string{was})
		req.Add("userAccountControl", []string{strconv.FormatInt(change(bits), 10)})
		err = d.write(ctx, func() error { return d.Modify(req) })
		switch {
		case err == nil:
			return d.user(ctx, byGUID(guid))
		case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchAttribute) && try < controlTries:
		case passwordRefused(err):
			return identity.User{}, &PolicyError{DN: e.DN, Code: win32Code(err), Text: words(err)}
		case deniedBy(err):
			return identity.User{}, d.denied(ctx, what, e.DN, e.DN, []AccessRight{{WriteAttribute, "user", "userAccountControl"}}, err)
		default:
			return identity.User{}, err
		}
	}
}

// SetPassword resets a password (MS-ADTS 3.1.1.3.1.5.1). The policy is asked for
// length and complexity; history and minimum age do not bind a reset. The
// account that is returned has the pwdLastSet that AD gave the password.
//
// [ErrPolicy]: AD refuses the password, in the error's words. [ErrUnknown]: it
// may be the account's password or not; setting it again is safe.
func (w *Writer) SetPassword(ctx context.Context, guid identity.GUID, password secret.Bytes) (user identity.User, err error) {
	err = w.do(ctx, func(ctx context.Context, d *desk) error {
		user, err = d.setPassword(ctx, guid, password)
		return err
	})
	if err != nil {
		return identity.User{}, fmt.Errorf("set password of AD user %s: %w", guid, err)
	}
	return user, nil
}

func (d *desk) setPassword(ctx context.Context, guid identity.GUID, password secret.Bytes) (identity.User, error) {
	e, err := d.object(ctx, guid, classUser)
	if err != nil {
		return identity.User{}, err
	}
	value, err := unicodePwd(password)
	if err != nil {
		return identity.User{}, &PolicyError{DN: e.DN, Text: err.Error()}
	}
	defer clear(value)
	req := ldap.NewModifyRequest(byGUID(guid), nil)
	req.Replace("unicodePwd", []string{lend(value)})
	err = d.write(ctx, func() error { return d.Modify(req) })
	switch {
	case err == nil:
		return d.user(ctx, byGUID(guid))
	case passwordRefused(err):
		return identity.User{}, &PolicyError{DN: e.DN, Code: win32Code(err), Text: words(err)}
	case deniedBy(err):
		return identity.User{}, d.denied(ctx, "reset the password of", e.DN, e.DN, []AccessRight{{ResetPasswords, "user", ""}}, err)
	}
	return identity.User{}, err
}

// number reads an integer attribute; 0 when it has none.
func number(e *ldap.Entry, name string) int64 {
	n, _ := strconv.ParseInt(e.GetAttributeValue(name), 10, 64)
	return n
}
