// Package portal is the user portal: pages on which people sign in, see how
// their password stands, and change it.
//
// The pages are made on the server (html/template) and work without
// JavaScript. Where it runs, a small script ticks the password's rules off as
// one types, shows passwords on request, and tells when JumpCloud has got the
// new one. Texts are in English and German, by the browser's Accept-Language.
//
// # What a stranger learns
//
// That a password is right is what makes AD explain why the account may not
// sign in all the same: disabled, expired, to be changed, over, outside its
// hours (MS-ADTS 5.1.1.1.1, data 530 to 533, 701 and 773). Each of these has a
// page of its own, and only who typed the right password sees it. All other
// refusals are one: name or password is wrong, whether or not the name exists.
//
// Locked accounts are an exception. AD says that one is locked (data 775) to
// whatever password, right or wrong, and to everybody who can reach a domain
// controller. The portal says so too, and of users whom JumpCloud checks and has
// locked: the owner, with the right password, has no other way to learn why it
// fails. Who is not the owner learns that a name exists, if it is locked just
// now. Tries here do not lock an account where gateway.lockout_guard is on, the
// limit is known and more than one, and all tries come through dirgate: they are
// stopped before the limit, and then "too many tries" is said, of names that do
// not exist too.
//
// "Cannot be checked now" and "too many tries" come from the Validator, which
// makes them alike for all names as far as its package comment says (package
// delegate, "What a stranger learns").
//
// # Expired passwords
//
// A password that is expired or must be changed was right, and is no sign-in.
// Its owner gets a session that can do nothing but change the password, typing
// the old one once more: no password is kept between two requests, not even in
// memory.
//
// # Sessions and requests
//
//   - The identifier of a session is 128 random bits or more, new at sign-in
//     and after a change of the password. The server keeps its SHA-256 only. A
//     session ends after 10 minutes without use, after an hour in any case (10
//     minutes of one that may only change the password), at sign-out, and when the
//     password is changed in another one. An account of AD is known by its
//     objectGUID, so that a session outlasts renames and moves; a user of JumpCloud
//     alone by the name that was typed, and the session ends when another user has
//     that name. Sessions are in memory: a restart ends them, and several nodes need a balancer that keeps
//     a browser at one of them.
//   - Cookies are __Host-, HttpOnly and SameSite=Strict. Each form carries a
//     token of the session, or, before sign-in, of the visitor's cookie. Requests
//     that a browser calls cross-origin are refused (Sec-Fetch-Site, Origin).
//   - Every POST is answered with a redirect to one of the portal's own paths,
//     so that no page in the history sends a password again.
//   - A body is at most 16 KiB; its fields go into memory that is wiped.
//   - The Content-Security-Policy allows the portal's own style, script and icon
//     and nothing inline; the pages cannot be framed, nor cached.
//   - Tries are bounded by the Validator, for each client address and each
//     account, together with those of the API and of the gateway. Behind a proxy
//     that ends TLS all browsers have one address.
package portal
