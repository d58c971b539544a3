// Package gateway is the LDAPS endpoint in front of Active Directory.
//
// Applications use it as their LDAP server. Each client session has one
// connection of its own to a domain controller (DC), so results can never
// cross sessions, and the DC decides every bind and every operation. Whole
// LDAP messages are relayed byte for byte, in order (rule G1); the gateway
// decodes only what it must understand:
//
//   - Bind, because a session's identity changes with it (rule G2);
//   - Modify, Add and Password Modify, because the password that the DC
//     accepts is captured for replication (rules G4 and G5);
//   - base searches of the root DSE, because it says what is supported;
//   - the envelope and result code of every message, to know what is
//     outstanding and to count it.
//
// # Capture
//
// Of a session one request that sets a password is handled at a time, and of an
// account too, whatever sessions they come from. The target entry is read on
// the client's own connection (its objectGUID is the key, names move), the
// intent with the sealed password is on disk before the DC sees the request,
// and the outcome is on disk before the client sees the answer. A client that
// vanishes does not stop the DC's answer from being read and recorded. A
// request that was sent and not answered is recorded as unknown and settled
// later by evidence; it is never sent twice. When the intent cannot be
// recorded the request is refused with unavailable (52) and never sent. An
// account that is created with its password is read after the DC accepted it,
// by the same session; if that may not read objectGUID, the change is recorded
// without it, and a person must decide.
//
// # Passwords in binds
//
// A bind that the DC accepted teaches the account's password (Config.Binds),
// for users whose password was set where the gateway did not see it. For an
// hour after a change a DC accepts the previous password too, so the bind is
// proof only if pwdLastSet is older than that, by the clock of the same DC. The
// entry is read on the client's connection while the client is silent, before
// its next bind, or when it has gone: never between a request and its answer.
// Privileged accounts are left out, by the groups that the DC counts the
// session in. A password that taught something, or could not, is known by a
// keyed fingerprint in memory for a while, and costs the next bind neither a
// read nor a write. What is proved is recorded in the background: should the
// process end before, or too many wait, a later bind teaches it.
//
// # Passwords under other names
//
// Active Directory keeps the password in unicodePwd. To it userPassword is an
// attribute like others, which everybody may read, and Password Modify (RFC
// 3062) is unknown. The gateway makes both a write of unicodePwd, with the
// client's own rights and controls: a change where the client sends the old
// password, else a reset, which AD grants to those who may reset. It never
// makes one of the other, and never uses an account of its own. AD's answer is
// the client's; only a referral becomes unwillingToPerform, because another
// controller would get the request untranslated. Where the domain says that
// userPassword is the password (fUserPwdSupport, MS-ADTS 3.1.1.3.1.5.2) it is
// relayed, and captured. A hashed value, several values, NUL and what is not
// UTF-8 are refused. Password Modify without userIdentity is for the account
// that the DC says is bound; without newPasswd a password is generated. A
// client that is not bound gets operationsError, so a user whose password has
// expired cannot change it in this way.
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
// ends TLS. Config.RelaySASL passes it on, but EXTERNAL: such a session cannot
// set passwords in domains with Capture, as nobody has shown the gateway who it
// is, and when a security layer begins (RFC 4513 section 5.2.1.4) both
// directions are copied unseen: passwords set within are not captured.
//
// # Names
//
// A bind is for the domain that its name says: by the suffix of a DN or of a
// userPrincipalName, or by the NetBIOS name (MS-ADTS 5.1.1.1.1). Other names are
// for the default domain. A bare sAMAccountName, which AD would compare
// with display names alone, is completed with the default domain's name. A mail
// address that is no userPrincipalName is looked up before AD is asked, where
// Config.Resolve can. DNs of a directory that is not AD go there, and nothing is
// captured. A session is served by the domain of its newest bind: what it asks
// for in another domain is answered by its own with a referral or noSuchObject,
// as without a gateway. Without a bind a request goes to the domain that its DN
// is in, or to the default domain.
//
// # Listeners
//
// TLS begins with the connection (Serve) or with StartTLS (ServeStartTLS, RFC
// 4511 section 4.14). Before StartTLS the root DSE is served and little else;
// nothing said before the handshake outlives it, and bytes that arrive between
// the request and its answer end the connection. From trusted load balancers
// every connection begins with a PROXY protocol header, version 2, and the
// address in it is the client's.
//
// # Lockout guard
//
// A password that a DC refused is remembered for its account as a keyed
// fingerprint, in memory only, and its repetition is answered with the DC's own
// answer, without the DC. Since it may have been set meanwhile, it is tried
// again after 2 minutes and after 8 more, if a new one could still be tried
// after that. A device with a stale password so costs its account three
// refusals at most in half an hour, or in lockOutObservationWindow if that is
// longer. Different passwords pass as long as their refusals stay below the
// domain's lockoutThreshold (5 is assumed until it was read); after that new
// ones are answered with invalidCredentials and data 52e, in a text of the
// gateway's own. That does not say locked (775), since the account is not: the
// password that was accepted last passes at any time, and one refusal is kept
// back for it, as it may have been changed. The old password of a change is
// guarded like that of a bind, in domains whose passwords are not captured too.
// What was wrong may also be tried again after a password change that the
// gateway captured, after another password was accepted, and after the accepted
// one was refused. Answers that only the right password gets (expired, disabled
// and the like) are never taken for wrong.
//
// DOMAIN\name, name@domain and name may be several accounts. They share one
// count, but what a DC said to a password under one form is said under another
// only after the DC has said that they are one account's.
//
// A name that AD counts refusals for is not forgotten to make room for others:
// when 65,536 are remembered and no room is found, a new one is answered with
// busy. As many accounts that were once bound with success are remembered apart
// from those, so that invented names do not drive them out.
//
// Not covered: relayed SASL binds; refusals by other ways than through this
// process, or before it was started; fine-grained password policies, which users cannot read; DN,
// userPrincipalName and logon name of one account before any of them was bound
// with success; an attempt that a DC did not answer, which is counted once,
// however often it is repeated. A domain without a lockout has no limit but the
// one per client address (300 refusals at once, 10 a second), which slows down
// trying one password on many accounts and is answered with busy.
//
// # Failover
//
// With Config.Reconnect a session whose DC connection is lost is moved to
// another one (rule G9). Nothing is done while its client is silent: it is
// connected and bound again with its next request, so that a DC which restarts
// under ten thousand idle sessions does not send them all to its neighbour at
// once. A Compare or Search of which no part was answered is sent again, once,
// if it is of at most 4096 bytes and has no control that belongs to one DC (a
// cookie of paged results, DirSync, change notification, any unknown one).
// Everything else that was outstanding is answered with unavailable; a write is
// never sent twice, and a password change is settled as always. While no DC can
// be reached, requests are answered with unavailable and the session stays.
// Cookies of the lost DC mean nothing to the next one, which says so.
//
// A DC that hangs keeps its connections. When it has been out of rotation for
// 1.5 s (30 s, if no other is in it), those on which an answer is due and
// nothing came for at least half a second are given up; not while a password
// change is outstanding, which has CaptureTimeout.
//
// For this the name and password of the newest accepted bind are kept in memory
// as long as the session, and wiped by the next bind. A password that the session
// sets for its own account takes the old one's place, in domains with Capture.
// They are not sealed: the key would lie beside them. Who can read the process's
// memory can read the passwords of the sessions that are open, where it could
// otherwise read only those of binds under way. Without Reconnect nothing is kept.
//
// A repeated bind passes the lockout guard. When it is refused the session ends
// with a Notice of Disconnection, and it is not tried again: of many sessions
// with a password that was changed meanwhile one costs a refusal, if the guard
// is on and the directory is AD (without the guard each does).
// A bind that a DC did not answer, or answered with busy or unavailable,
// is tried once more on another connection, then with the next request.
//
// A session is served by a writable DC while one is in rotation, and else by a
// read-only one, whose referrals pass; it then stays there.
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
// A session bound by SASL does not survive the loss of its DC connection, and
// none does without Config.Reconnect. Batch requests, in which a password write
// could hide, are refused.
package gateway
