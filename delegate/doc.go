// Package delegate answers whether a password is an account's, and if it is
// not, or the account may not sign in all the same, why. It is what a user
// portal or a single sign-on service asks, over HTTPS ([Handler]) or in the
// same process ([Validator]).
//
// # Who decides
//
// For every sign-in [Decide] says whose answer counts: AD's, JumpCloud's, or
// nobody's, from the domain's delegation state and the user's two authorities.
// It is a pure function, and its table is in its comment.
//
// # What a verdict is worth
//
//   - Accepted: the authority took this password for this account, just now.
//   - Refused: it said that it does not, or that the account may not sign in.
//   - Undecided: it said neither. A timeout, a controller that is away, an
//     answer that is not understood: none of these is ever a yes or a no.
//
// AD refuses the right password of an account that is disabled, expired,
// outside its hours, or whose password is expired or must be changed (data
// 530, 531, 532, 533, 701 and 773 of its answer), and says so to the right
// password only. Then [Verdict.PasswordCorrect] is true: 532 and 773 mean that
// the user may go on to change the password, and is not signed in before that.
// Locked accounts (775) are told so whatever the password is.
//
// A name that is nobody's gets the answer of a wrong password, after the same
// work: a bind is made at a controller with a name that does not exist.
//
// AD accepts the password before the present one for up to an hour (its
// OldPasswordAllowedPeriod). Such a sign-in is accepted, as AD says, and
// teaches nothing.
//
// # Binds
//
// Where the root DSE says that the controller has fast bind
// (1.2.840.113556.1.4.1781, MS-ADTS 5.1.1.3), connections in that mode are
// kept and used for one bind after the other; elsewhere each bind has a
// connection of its own. After any failure the connection is thrown away. The
// entry is looked up before the bind as the domain's service account, and the
// bind is made with its DN, so that all names of an account are one.
//
// No bind reaches a controller that the lockout guard ([Guard]) holds back. It
// is the gateway's own guard: both count the same failures.
//
// A user whose sign-ins JumpCloud checks, and whose password AD took just now,
// is refused by JumpCloud until it has that password. While one is on its way
// ([Backlog]) AD is asked about what JumpCloud refused, and the right one is
// undecided ([PasswordPending]) and costs nothing.
//
// JumpCloud's LDAP gives no reason for a refusal: the expired password of one of
// its users looks like a wrong one, and cannot be changed here.
//
// # Changing a password
//
// [Validator.Change] proves the old password, holds the new one against the
// policies of both sides, records the intent and makes the change where
// [ChangedAt] says. It is sent once; when no answer comes the outcome is unknown.
//
// To AD it sends the form of the change that carries the old password (delete
// and add of unicodePwd, MS-ADTS 3.1.1.3.1.5), never a reset: AD checks the old
// password, the history and the minimum age once more. An unknown outcome is
// settled by the change log.
//
// At JumpCloud there is no such form: its LDAP proves the old password, and the
// new one is set as an administrator sets it. When no answer comes, its LDAP is
// asked whether it has the new one. It is recorded for AD where passwords travel
// there: the account is linked, the use case has a sync, password-sync is
// capture, and AD is not the password's authority.
//
// # Limits
//
// A name has at most [MaxName] bytes, a password [MaxPassword]. Each client
// address and each account may be refused only so often ([Config.Throttle]).
// Only refusals count. As many sign-ins may be on their way as may still be
// refused; more wait for an answer, within Config.Timeout.
//
// Specifications: RFC 4511 (LDAP), RFC 4513 section 5.1, MS-ADTS 5.1.1.3 and
// 3.1.1.3.1.5, winerror.h for the logon errors, RFC 6750 (bearer tokens).
package delegate
