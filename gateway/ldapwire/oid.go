package ldapwire

// Extended operations and unsolicited notifications.
const (
	OIDStartTLS              = "1.3.6.1.4.1.1466.20037"     // RFC 4511 section 4.14
	OIDNoticeOfDisconnection = "1.3.6.1.4.1.1466.20036"     // RFC 4511 section 4.4.1
	OIDPasswordModify        = "1.3.6.1.4.1.4203.1.11.1"    // RFC 3062
	OIDWhoAmI                = "1.3.6.1.4.1.4203.1.11.3"    // RFC 4532
	OIDCancel                = "1.3.6.1.1.8"                // RFC 3909
	OIDFastBind              = "1.2.840.113556.1.4.1781"    // MS-ADTS 5.1.1.3
	OIDBatchRequest          = "1.2.840.113556.1.4.2212"    // LDAP_SERVER_BATCH_REQUEST_OID, MS-ADTS 3.1.1.3.4.2.11
	OIDTTLRefresh            = "1.3.6.1.4.1.1466.101.119.1" // RFC 2589
)

// Controls.
const (
	OIDControlPagedResults         = "1.2.840.113556.1.4.319"    // RFC 2696
	OIDControlDirSync              = "1.2.840.113556.1.4.841"    // MS-ADTS 3.1.1.3.4.1.3
	OIDControlNotification         = "1.2.840.113556.1.4.528"    // MS-ADTS 3.1.1.3.4.1.9
	OIDControlShowDeleted          = "1.2.840.113556.1.4.417"    // MS-ADTS 3.1.1.3.4.1.14
	OIDControlShowRecycled         = "1.2.840.113556.1.4.2064"   // MS-ADTS 3.1.1.3.4.1.25
	OIDControlExtendedDN           = "1.2.840.113556.1.4.529"    // MS-ADTS 3.1.1.3.4.1.5
	OIDControlServerSort           = "1.2.840.113556.1.4.473"    // RFC 2891
	OIDControlPolicyHints          = "1.2.840.113556.1.4.2239"   // MS-ADTS 3.1.1.3.4.1.27
	OIDControlPolicyHintsOld       = "1.2.840.113556.1.4.2066"   // same meaning
	OIDControlManageDsaIT          = "2.16.840.1.113730.3.4.2"   // RFC 3296
	OIDControlProxiedAuthorization = "2.16.840.1.113730.3.4.18"  // RFC 4370
	OIDControlPasswordPolicy       = "1.3.6.1.4.1.42.2.27.8.5.1" // draft-behera-ldap-password-policy; not in AD
)
