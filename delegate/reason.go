package delegate

import (
	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// fromAD is what AD's answer to a bind means (winerror.h by the sub-code in its
// text). What it does not explain is undecided, but a refusal of the
// credentials, which is a refusal whatever its text.
func fromAD(res ldapwire.Result) Verdict {
	v := Verdict{Verdict: Refused, Authority: ByAD}
	switch res.Code {
	case ldapwire.ResultSuccess:
		v.Verdict, v.PasswordCorrect = Accepted, true
		return v
	case ldapwire.ResultInvalidCredentials:
	default:
		v.Verdict, v.Reason = Undecided, Unavailable
		return v
	}
	v.Reason = BadCredentials
	sub, ok := ldapwire.SubCode(res.Diagnostic)
	if !ok {
		return v
	}
	switch sub {
	case 0x525: // ERROR_NO_SUCH_USER
		v.Reason = NoSuchUser
	case 0x52f, 0x530, 0x531: // ERROR_ACCOUNT_RESTRICTION, _INVALID_LOGON_HOURS, _INVALID_WORKSTATION
		v.Reason, v.PasswordCorrect = NotPermittedNow, sub != 0x52f
	case 0x532: // ERROR_PASSWORD_EXPIRED
		v.Reason, v.PasswordCorrect = Expired, true
	case 0x533: // ERROR_ACCOUNT_DISABLED
		v.Reason, v.PasswordCorrect = Disabled, true
	case 0x701: // ERROR_ACCOUNT_EXPIRED
		v.Reason, v.PasswordCorrect = AccountExpired, true
	case 0x773: // ERROR_PASSWORD_MUST_CHANGE
		v.Reason, v.PasswordCorrect = MustChange, true
	case 0x775: // ERROR_ACCOUNT_LOCKED_OUT
		v.Reason = LockedOut
	}
	return v
}

// fromCloud is what the answer of JumpCloud's LDAP means, which gives no
// reason. The user's state explains it as far as it may be told to a wrong
// password too.
func fromCloud(res ldapwire.Result, u CloudUser) Verdict {
	v := Verdict{Verdict: Refused, Authority: ByJumpCloud}
	switch res.Code {
	case ldapwire.ResultSuccess:
		v.PasswordCorrect = true
		switch {
		case u.Suspended:
			v.Reason = Disabled
		case u.Expired:
			v.Reason = Expired
		default:
			v.Verdict = Accepted
		}
	case ldapwire.ResultInvalidCredentials:
		v.Reason = BadCredentials
		if u.Locked {
			v.Reason = LockedOut
		}
	default:
		v.Verdict, v.Reason = Undecided, Unavailable
	}
	return v
}
