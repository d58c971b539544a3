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
// # What a stranger learns
//
// Who does not know a password is told the same of every name, whether or not
// anybody has it and whichever side checks it (unless [Config.TellUnknown]), in
// the same sequence of tries:
//
//   - For a name that is nobody's a bind is made at a controller with a DN that
//     does not exist, and the lockout guard counts it as any other.
//   - Where users may be JumpCloud's (use cases two-way and jumpcloud) it is asked
//     about every name to which a wrong password is typed, also one that AD knows.
//     While it does not answer, or the budget of such looks is used up, every
//     wrong password is undecided: who knows the right one of an account that AD
//     checks is not kept out.
//   - There both sides' limits of tries bound what is told of each name, so that
//     the stricter one shows. Right passwords pass by the other side's limit.
//   - Answers take at least [Config.RefusalTime], or [Config.CloudRefusalTime]
//     while such a domain is registered. What takes longer than that shows.
//
// These are not alike:
//
//   - An account that is locked is told so to everybody (AD's 775, JumpCloud's
//     account_locked), and so is one that AD restricts (52f).
//   - A limit shows that is an account's own: of its Password Settings Object, or
//     what is left after tries at another place, such as the gateway, or under
//     another of its names. NAME, DOMAIN\NAME and NAME@domain are one name of
//     nobody too; a mail address and a userPrincipalName of another form are not.
//   - While JumpCloud's LDAP does not answer, only users whom it checks are
//     undecided, and while JumpCloud does not answer at all what was asked in the
//     last hour is still known.
//   - With the use case ad a user whom JumpCloud checks all the same (not
//     delegated, see [Decide]) takes JumpCloud's time and JumpCloud's limit.
//   - With several domains a bare name of nobody has the first one's limit.
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
// its users looks like a wrong one, and cannot be changed here. Where the
// registration names no LDAP of JumpCloud, nobody decides about the users whom it
// checks: they are refused, and only who knows their password in AD is told why.
//
// What JumpCloud says of a user is remembered for half a minute: for so long a
// sign-in may go by a name or a state that was changed there. A change of password
// does not (see below).
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
// new one is set as an administrator sets it. The proof is by the user's name, and
// the new one is set by the user's id: JumpCloud is asked right before the proof
// and after it whether the two are one user's, and if they are not, or are no
// longer what they were, nothing is set and the change is undecided. When no
// answer comes, its LDAP is asked whether it has the new one. It is recorded for AD where passwords travel
// there: the account is linked, the use case has a sync, password-sync is
// capture, and AD is not the password's authority.
//
// # Limits
//
// A name has at most [MaxName] bytes, a DN [MaxDN], a password [MaxPassword]. Each client
// address and each account may be refused only so often ([Config.Throttle]).
// Only refusals count, and of an account not those of a password that the lockout
// guard remembers as wrong. From a network that an account's right password came
// from in the last 30 days its refusals are counted apart, so that strangers
// elsewhere do not keep its owner out. As many sign-ins may be on their way as may
// still be refused; more wait for an answer, within Config.Timeout.
//
// Specifications: RFC 4511 (LDAP), RFC 4513 section 5.1, MS-ADTS 5.1.1.3 and
// 3.1.1.3.1.5, winerror.h for the logon errors, RFC 6750 (bearer tokens).
package delegate
