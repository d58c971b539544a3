// Package replicate carries changes from one directory to the other.
//
// An [Engine] works from the change log: it settles intents whose outcome is
// unknown, and applies what is pending. [Engine.Run] does both side by side:
// it follows the log, gives every change that has become pending to one of a
// few workers, and comes back to those that were put off when they are due.
// Neither a change that waits nor one whose directory hangs costs the others
// more than its worker. [Engine.Step] makes one pass of the same work and is
// what tests call; the two are not for use at the same time.
//
// What is to be done is decided by package plan, which is pure; this package
// gathers what plan needs to know, does what it says, and records the result
// in the log.
//
// Guarantees: changes of one account are applied one at a time and in order,
// those of different accounts side by side. A write to JumpCloud is announced
// in the log, with evidence of the state before it, before it is sent. If it
// was sent and not answered, or the process died, the user is read back and
// the write is repeated only when it had no effect (rule L1). A refusal for
// good is a dead letter with the other side's own words and a person's next
// step, and holds up nobody else; everything else is retried with a growing,
// jittered pause that obeys Retry-After (rule L2).
//
// No accepted password is destroyed for what one look at one domain
// controller shows. An account that is not found or not in scope must be so
// for [plan.DoubtLimit]; a scope group or root container that is not found is
// an error and no answer. The binds that settle an unknown outcome (rule G5)
// are recorded before they are made, so that neither restarts nor several
// changes make more of them than plan.Settle allows for a change.
//
// Passwords of JumpCloud's side (direction sync) go the other way. An intent of
// the delegate's whose answer was not seen is settled by the user's
// password_date and one bind at JumpCloud's LDAP, within the same budget. Without
// that LDAP it stays unknown once the date has moved, until somebody discards
// it or a newer password of the pair is accepted; neither waits for it.
//
// A password whose account has no JumpCloud user yet waits for the import, and
// is woken by the import's record in the log. Where the import gives the account
// no user, by its own rules, the change is a dead letter with that reason; it
// is applied all the same when the user is made later, unless AD has another
// password since. While JumpCloud is away (see package jumpcloud) changes
// are held as numbers, without attempts or records, and begin in order when it
// is back.
//
// Of passwords that are set on both sides at the same time the newest accepted
// one is what both sides end with: one that crossed an older one on its way is
// written to the side it came from as well (bothsides.go).
//
// Not guaranteed: a request that arrives later than Config.AnswerLimit after it
// was sent, or an intent that is older than that and still comes true, can
// replace a newer password. JumpCloud has no call that tells whether a password is
// equal to a given one. An unanswered write counts as applied when the user's
// password_date has moved since the evidence was taken; another change of the
// same password in that moment is not told apart. A controller is known by
// the URL it was reached at: where one URL leads to several, an outcome may be
// settled as refused by one that has not heard of the change within
// Config.AnswerLimit. JumpCloud's LDAP does not say why it refuses: of a user who
// was unbound from its directory since the old password was proved, a change
// that was made is settled as refused; the next sign-in teaches AD. How long an
// account was not found or not in scope is kept in memory; after a restart the
// time begins anew.
package replicate
