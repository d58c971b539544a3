package gateway

import "github.com/dirgate/dirgate/gateway/ldapwire"

// Reason explains a bind result: the verdict (accepted, refused, undecided)
// and why, from the hexadecimal sub-code that AD puts after "data" in its
// diagnostic text. Only success (RFC 4513 section 5.1.3) is ever accepted; a
// refusal that cannot be explained is still a refusal.
func Reason(code ldapwire.ResultCode, diagnostic []byte) (verdict, reason string) {
	switch code {
	case ldapwire.ResultSuccess:
		return "accepted", "ok"
	case ldapwire.ResultInvalidCredentials:
		return "refused", refusal(diagnostic)
	case ldapwire.ResultUnwillingToPerform, ldapwire.ResultAuthMethodNotSupported,
		ldapwire.ResultInappropriateAuthentication, ldapwire.ResultProtocolError,
		ldapwire.ResultConfidentialityRequired, ldapwire.ResultStrongerAuthRequired:
		return "refused", "not_permitted"
	case ldapwire.ResultUnavailable, ldapwire.ResultBusy:
		return "undecided", "dc_unavailable"
	}
	return "undecided", "other"
}

// refusal names the Win32 logon errors (winerror.h) as the delegate API does.
func refusal(diagnostic []byte) string {
	sub, ok := ldapwire.SubCode(diagnostic)
	if !ok {
		return "unknown"
	}
	switch sub {
	case 0x525:
		return "no_such_user"
	case 0x52e:
		return "bad_credentials"
	case 0x530, 0x531:
		return "not_permitted_now"
	case 0x532:
		return "expired"
	case 0x533:
		return "disabled"
	case 0x701:
		return "account_expired"
	case 0x773:
		return "must_change"
	case 0x775:
		return "locked_out"
	}
	return "unknown"
}
