// Package gateway is the LDAPS endpoint in front of Active Directory.
//
// Applications use it as their LDAP server. Each client session has one
// connection of its own to a domain controller (DC), so results can never
// cross sessions, and the DC decides every bind and every operation. Whole
// LDAP messages are relayed byte for byte, in order (rule G1); the gateway
// decodes only what it must understand:
//
//   - Bind, because a session's identity changes with it (rule G2);
//   - Modify of unicodePwd, because the password that the DC accepts is
//     captured for replication (rules G4 and G5);
//   - the envelope and result code of every message, to know what is
//     outstanding and to count it.
//
// # Capture
//
// Of a session one Modify that sets unicodePwd is handled at a time, and of an
// account too, whatever sessions they come from. The target entry is read on
// the client's own connection (its objectGUID is the key, names move), the
// intent with the sealed password is on disk before the DC sees the request,
// and the outcome is on disk before the client sees the answer. A client that
// vanishes does not stop the DC's answer from being read and recorded. A
// request that was sent and not answered is recorded as unknown and settled
// later by evidence; it is never sent twice. When the intent cannot be
// recorded the request is refused with unavailable (52) and never sent.
//
// What the gateway acts on, it must not mistake. Answers are told apart by
// message ID alone, and an abandoned request may be answered late or never
// (RFC 4511 section 4.11), so the IDs of abandoned requests are remembered for
// as long as the DC connection lives and never used for a bind, a password
// change or a request of the gateway's own.
//
// # Identity
//
// A Bind waits for outstanding operations, makes the session anonymous
// (RFC 4513 section 4) and runs alone (RFC 4511 section 4.2.1). After any
// bind that did not succeed the DC connection is thrown away, because a DC may
// keep the earlier identity on it. A bind with a name and no password is
// refused with unwillingToPerform (RFC 4513 section 5.1.2) and one with a NUL
// in the password with invalidCredentials: neither reaches a DC. SASL is
// refused with authMethodNotSupported, since it cannot cross a gateway that
// ends TLS.
//
// # Names
//
// A bind is for the domain that its name says: by the suffix of a DN or of a
// userPrincipalName, or by the NetBIOS name (MS-ADTS 5.1.1.1.1). Everything
// else is for the default domain. A bare sAMAccountName, which AD would compare
// with display names alone, is completed with the default domain's name; DNs of
// a directory that is not AD go there, and nothing is captured. A session is
// served by the domain of its newest bind: what it asks for in another domain
// is answered by its own with a referral or noSuchObject, as without a gateway.
// Without a bind the default domain answers.
//
// # Why not on gldap
//
// The embedded directories in testenv are served by jimlambrt/gldap; this
// data path is not. Relaying with gldap and go-ldap cost 1.9 to 2.8 times the
// CPU of a frame relay on binds, 4.8 to 7.1 times on searches and 6 to 23
// times on large results, against the same back end on the same machine, and
// it holds whole results in memory (1.4 GB with 16 clients reading 10,000
// entries each). It also drops the value of extended requests, knows neither
// Compare, ModifyDN nor Abandon, serves a bind concurrently with other
// requests, has no message size limit and cannot stop while a client is idle.
//
// # Not guaranteed
//
// A session does not survive the loss of its DC connection: it gets a Notice
// of Disconnection (RFC 4511 section 4.4.1) with unavailable, and the client
// connects again. A password write other than a Modify of unicodePwd is not
// captured: one that comes with an Add is relayed; one to userPassword, which
// AD would store in clear text for everybody to read, and batch requests, in
// which it could hide, are refused.
package gateway
