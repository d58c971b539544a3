package adsim

import (
	"fmt"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// A Refusal is a result other than success, with AD's text for it.
type Refusal struct {
	Code      ldapwire.ResultCode
	MatchedDN string
	Text      string // diagnosticMessage; on Windows it ends in a NUL
}

// Error returns the code's name and the text.
func (r *Refusal) Error() string { return r.Code.String() + ": " + r.Text }

// Win32 errors that AD's texts begin with (MS-ERREF section 2.2).
const (
	win32NotSupported     = 0x32
	win32AccessDenied     = 0x5
	win32GenFailure       = 0x1f
	win32InvalidPassword  = 0x56
	win32InvalidParameter = 0x57
	win32PasswordPolicy   = 0x52d
	win32UserExists       = 0x524
	win32MemberNotInGroup = 0x561
	win32MemberInGroup    = 0x562
	win32LockedOut        = 0x775
)

// Reasons in a refused bind (the data field, Win32 errors as well).
const (
	noSuchUser         = 0x525
	logonFailure       = 0x52e
	invalidLogonHours  = 0x530
	invalidWorkstation = 0x531
	passwordExpired    = 0x532
	accountDisabled    = 0x533
	accountExpired     = 0x701
	passwordMustChange = 0x773
	accountLockedOut   = win32LockedOut
)

// build is the version that ends AD's texts: that of Windows Server 2019.
const build = "v4563"

// The DSIDs name places in AD's source. They differ between builds of Windows,
// so nothing may depend on them.

func refusedBind(reason int) *Refusal {
	return &Refusal{Code: ldapwire.ResultInvalidCredentials,
		Text: fmt.Sprintf("80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data %x, %s\x00", reason, build)}
}

func ldapErr(code ldapwire.ResultCode, win32 uint32, comment string) *Refusal {
	return &Refusal{Code: code, Text: fmt.Sprintf("%08X: LdapErr: DSID-0C090A5C, comment: %s, data 0, %s\x00", win32, comment, build)}
}

func notBound() *Refusal {
	return ldapErr(ldapwire.ResultOperationsError, 0x4dc, "In order to perform this operation a successful bind must be completed on the connection.")
}

func badControl() *Refusal {
	return ldapErr(ldapwire.ResultUnavailableCriticalExtension, win32InvalidParameter, "Error processing control")
}

func unwilling(win32 uint32) *Refusal {
	return &Refusal{Code: ldapwire.ResultUnwillingToPerform,
		Text: fmt.Sprintf("%08X: SvcErr: DSID-031A12D2, problem 5003 (WILL_NOT_PERFORM), data 0\n\x00", win32)}
}

func denied(win32 uint32) *Refusal {
	return &Refusal{Code: ldapwire.ResultInsufficientAccessRights,
		Text: fmt.Sprintf("%08X: SecErr: DSID-031A11ED, problem 4003 (INSUFF_ACCESS_RIGHTS), data 0\n\x00", win32)}
}

// attributeErr is an AtrErr: problem is its number and name, as AD prints it.
func attributeErr(code ldapwire.ResultCode, win32 uint32, problem, attribute string) *Refusal {
	return &Refusal{Code: code,
		Text: fmt.Sprintf("%08X: AtrErr: DSID-03191083, #1:\n\t0: %08X: DSID-03191083, problem %s, data 0, Att (%s)\n\x00", win32, win32, problem, attribute)}
}

func constraint(win32 uint32, attribute string) *Refusal {
	return attributeErr(ldapwire.ResultConstraintViolation, win32, "1005 (CONSTRAINT_ATT_TYPE)", attribute)
}

func noAttribute(attribute string) *Refusal {
	return attributeErr(ldapwire.ResultNoSuchAttribute, 0x2085, "1001 (NO_ATTRIBUTE_OR_VAL)", attribute)
}

func unknownAttribute() *Refusal {
	return ldapErr(ldapwire.ResultNoSuchAttribute, win32InvalidParameter, "Error in attribute conversion operation")
}

func badSyntax(attribute string) *Refusal {
	return attributeErr(ldapwire.ResultInvalidAttributeSyntax, win32InvalidParameter, "1003 (INVALID_ATT_SYNTAX)", attribute)
}

func noObject(matched string) *Refusal {
	return &Refusal{Code: ldapwire.ResultNoSuchObject, MatchedDN: matched,
		Text: fmt.Sprintf("0000208D: NameErr: DSID-03100241, problem 2001 (NO_OBJECT), data 0, best match of:\n\t'%s'\n\x00", matched)}
}

func badName() *Refusal {
	return &Refusal{Code: ldapwire.ResultInvalidDNSyntax,
		Text: "0000208F: NameErr: DSID-03100225, problem 2006 (BAD_NAME), data 8350, best match of:\n\t''\n\x00"}
}

func exists(win32 uint32) *Refusal {
	return &Refusal{Code: ldapwire.ResultEntryAlreadyExists,
		Text: fmt.Sprintf("%08X: UpdErr: DSID-031A11E2, problem 6005 (ENTRY_EXISTS), data 0\n\x00", win32)}
}

func updateErr(code ldapwire.ResultCode, win32 uint32, problem string) *Refusal {
	return &Refusal{Code: code, Text: fmt.Sprintf("%08X: UpdErr: DSID-031A11E2, problem %s, data 0\n\x00", win32, problem)}
}
