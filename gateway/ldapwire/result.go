package ldapwire

import "fmt"

// A ResultCode says how an operation ended (RFC 4511 section 4.1.9 and
// appendix A).
type ResultCode int

// Result codes of RFC 4511; from ResultCanceled on, of RFC 3909, RFC 4528 and
// RFC 4370.
const (
	ResultSuccess                      ResultCode = 0
	ResultOperationsError              ResultCode = 1
	ResultProtocolError                ResultCode = 2
	ResultTimeLimitExceeded            ResultCode = 3
	ResultSizeLimitExceeded            ResultCode = 4
	ResultCompareFalse                 ResultCode = 5
	ResultCompareTrue                  ResultCode = 6
	ResultAuthMethodNotSupported       ResultCode = 7
	ResultStrongerAuthRequired         ResultCode = 8
	ResultReferral                     ResultCode = 10
	ResultAdminLimitExceeded           ResultCode = 11
	ResultUnavailableCriticalExtension ResultCode = 12
	ResultConfidentialityRequired      ResultCode = 13
	ResultSaslBindInProgress           ResultCode = 14
	ResultNoSuchAttribute              ResultCode = 16
	ResultUndefinedAttributeType       ResultCode = 17
	ResultInappropriateMatching        ResultCode = 18
	ResultConstraintViolation          ResultCode = 19
	ResultAttributeOrValueExists       ResultCode = 20
	ResultInvalidAttributeSyntax       ResultCode = 21
	ResultNoSuchObject                 ResultCode = 32
	ResultAliasProblem                 ResultCode = 33
	ResultInvalidDNSyntax              ResultCode = 34
	ResultAliasDereferencingProblem    ResultCode = 36
	ResultInappropriateAuthentication  ResultCode = 48
	ResultInvalidCredentials           ResultCode = 49
	ResultInsufficientAccessRights     ResultCode = 50
	ResultBusy                         ResultCode = 51
	ResultUnavailable                  ResultCode = 52
	ResultUnwillingToPerform           ResultCode = 53
	ResultLoopDetect                   ResultCode = 54
	ResultNamingViolation              ResultCode = 64
	ResultObjectClassViolation         ResultCode = 65
	ResultNotAllowedOnNonLeaf          ResultCode = 66
	ResultNotAllowedOnRDN              ResultCode = 67
	ResultEntryAlreadyExists           ResultCode = 68
	ResultObjectClassModsProhibited    ResultCode = 69
	ResultAffectsMultipleDSAs          ResultCode = 71
	ResultOther                        ResultCode = 80

	ResultCanceled            ResultCode = 118
	ResultNoSuchOperation     ResultCode = 119
	ResultTooLate             ResultCode = 120
	ResultCannotCancel        ResultCode = 121
	ResultAssertionFailed     ResultCode = 122
	ResultAuthorizationDenied ResultCode = 123
)

// String returns the name the RFC gives, such as "invalidCredentials", and
// "resultCode(N)" for codes not listed here.
func (c ResultCode) String() string {
	if c >= 0 && c <= ResultOther {
		if name := resultNames[c]; name != "" {
			return name
		}
	}
	switch c {
	case ResultCanceled:
		return "canceled"
	case ResultNoSuchOperation:
		return "noSuchOperation"
	case ResultTooLate:
		return "tooLate"
	case ResultCannotCancel:
		return "cannotCancel"
	case ResultAssertionFailed:
		return "assertionFailed"
	case ResultAuthorizationDenied:
		return "authorizationDenied"
	}
	return fmt.Sprintf("resultCode(%d)", int(c))
}

// resultNames is a constant table.
var resultNames = [ResultOther + 1]string{
	ResultSuccess:                      "success",
	ResultOperationsError:              "operationsError",
	ResultProtocolError:                "protocolError",
	ResultTimeLimitExceeded:            "timeLimitExceeded",
	ResultSizeLimitExceeded:            "sizeLimitExceeded",
	ResultCompareFalse:                 "compareFalse",
	ResultCompareTrue:                  "compareTrue",
	ResultAuthMethodNotSupported:       "authMethodNotSupported",
	ResultStrongerAuthRequired:         "strongerAuthRequired",
	ResultReferral:                     "referral",
	ResultAdminLimitExceeded:           "adminLimitExceeded",
	ResultUnavailableCriticalExtension: "unavailableCriticalExtension",
	ResultConfidentialityRequired:      "confidentialityRequired",
	ResultSaslBindInProgress:           "saslBindInProgress",
	ResultNoSuchAttribute:              "noSuchAttribute",
	ResultUndefinedAttributeType:       "undefinedAttributeType",
	ResultInappropriateMatching:        "inappropriateMatching",
	ResultConstraintViolation:          "constraintViolation",
	ResultAttributeOrValueExists:       "attributeOrValueExists",
	ResultInvalidAttributeSyntax:       "invalidAttributeSyntax",
	ResultNoSuchObject:                 "noSuchObject",
	ResultAliasProblem:                 "aliasProblem",
	ResultInvalidDNSyntax:              "invalidDNSyntax",
	ResultAliasDereferencingProblem:    "aliasDereferencingProblem",
	ResultInappropriateAuthentication:  "inappropriateAuthentication",
	ResultInvalidCredentials:           "invalidCredentials",
	ResultInsufficientAccessRights:     "insufficientAccessRights",
	ResultBusy:                         "busy",
	ResultUnavailable:                  "unavailable",
	ResultUnwillingToPerform:           "unwillingToPerform",
	ResultLoopDetect:                   "loopDetect",
	ResultNamingViolation:              "namingViolation",
	ResultObjectClassViolation:         "objectClassViolation",
	ResultNotAllowedOnNonLeaf:          "notAllowedOnNonLeaf",
	ResultNotAllowedOnRDN:              "notAllowedOnRDN",
	ResultEntryAlreadyExists:           "entryAlreadyExists",
	ResultObjectClassModsProhibited:    "objectClassModsProhibited",
	ResultAffectsMultipleDSAs:          "affectsMultipleDSAs",
	ResultOther:                        "other",
}
