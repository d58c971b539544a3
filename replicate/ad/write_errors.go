package ad

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// What a [Writer]'s error can be; see there for what follows from it.
var (
	// ErrUnknown: a write was sent, and its answer was not seen.
	ErrUnknown = errors.New("sent to Active Directory, and not answered")
	// ErrPrivileged: the object is one that sync never writes to.
	ErrPrivileged = errors.New("privileged object")
	// ErrOutside: the object is outside the root container.
	ErrOutside = errors.New("outside the root container")
	// ErrExists: a name or an address is another object's.
	ErrExists = errors.New("taken in Active Directory")
	// ErrChanged: an attribute is not as [Attribute.Was] says.
	ErrChanged = errors.New("changed in Active Directory meanwhile")
	// ErrName: AD cannot have such a name, or sync may not write such an
	// attribute.
	ErrName = errors.New("not a name for Active Directory")
	// ErrPolicy: AD refuses a password; the error is a *PolicyError.
	ErrPolicy = errors.New("refused by the password policy of Active Directory")
	// ErrRights: the service account lacks a right; the error is a
	// *RightsError.
	ErrRights = errors.New("the sync account lacks a right in Active Directory")
)

// PolicyError is AD's refusal of a password, in its words.
type PolicyError struct {
	DN   string
	Code string // the Win32 error the words begin with, such as 0000052D; empty: none
	Text string // diagnosticMessage
}

// Error never has the password in it: AD does not repeat it.
func (e *PolicyError) Error() string {
	return fmt.Sprintf("set the password of %q: %v: %s", e.DN, ErrPolicy, e.Text)
}

// Unwrap gives ErrPolicy.
func (e *PolicyError) Unwrap() error { return ErrPolicy }

// RightsError names the rights that a write lacked, and what grants them.
type RightsError struct {
	Operation string  // such as "create a user"
	Object    string  // DN of the object that the write was about
	Lacking   []Grant // nil: AD refuses, although the account seems to have all it takes
	Text      string  // AD's words
}

// Error names the rights and the commands that grant them.
func (e *RightsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q: %v", e.Operation, e.Object, ErrRights)
	for i, g := range e.Lacking {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep + strconv.Quote(g.Right.String()))
	}
	fmt.Fprintf(&b, " (AD says: %s)", e.Text)
	for i, g := range e.Lacking {
		if i == 0 {
			b.WriteString("; an administrator of the domain grants it by")
		} else {
			b.WriteString(" and")
		}
		b.WriteString(" `" + g.Windows + "`")
		if g.Samba != "" {
			b.WriteString(" (Samba: `" + g.Samba + "`)")
		}
	}
	if len(e.Lacking) == 0 {
		b.WriteString("; the rights it takes are there, so look for a deny entry, or for inheritance that is switched off, on the object")
	}
	return b.String()
}

// Unwrap gives ErrRights.
func (e *RightsError) Unwrap() error { return ErrRights }

// unanswered reports that an error is not an answer of the controller's.
// go-ldap numbers its own errors from 200 on.
func unanswered(err error) bool {
	var e *ldap.Error
	return !errors.As(err, &e) || e.ResultCode >= ldap.ErrorNetwork
}

// notNow reports that a controller did nothing, and may later.
func notNow(err error) bool {
	return ldap.IsErrorAnyOf(err, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable)
}

func deniedBy(err error) bool {
	return ldap.IsErrorWithCode(err, ldap.LDAPResultInsufficientAccessRights)
}

// words is AD's diagnosticMessage, without the NUL and the line end that
// Windows puts there.
func words(err error) string {
	var e *ldap.Error
	if !errors.As(err, &e) || e.Err == nil {
		return fmt.Sprint(err)
	}
	text := strings.TrimRight(e.Err.Error(), "\x00\r\n \t")
	if text == "" {
		return ldap.LDAPResultCodeMap[e.ResultCode]
	}
	return text
}

// win32 finds the error that AD's words begin with (MS-ERREF section 2.2).
var win32 = regexp.MustCompile(`^([0-9A-Fa-f]{8}): `)

func win32Code(err error) string {
	if m := win32.FindStringSubmatch(words(err)); m != nil {
		return strings.ToUpper(m[1])
	}
	return ""
}

// passwordRefused reports that AD refuses a password: with
// ERROR_PASSWORD_RESTRICTION, in a change as constraintViolation and in a reset
// as unwillingToPerform. Samba has 19 for both.
func passwordRefused(err error) bool {
	return ldap.IsErrorAnyOf(err, ldap.LDAPResultConstraintViolation, ldap.LDAPResultUnwillingToPerform) && win32Code(err) == "0000052D"
}

// taken reports that a name is another object's: of an entry, a
// sAMAccountName (68) or a userPrincipalName (19: ERROR_DS_UPN_VALUE_NOT_UNIQUE_IN_FOREST;
// Samba has another code and says so in words).
func taken(err error) bool {
	if ldap.IsErrorWithCode(err, ldap.LDAPResultEntryAlreadyExists) {
		return true
	}
	return ldap.IsErrorWithCode(err, ldap.LDAPResultConstraintViolation) &&
		(win32Code(err) == "000021C8" || strings.Contains(words(err), "already in use"))
}
