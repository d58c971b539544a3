// Package replicate carries changes from one directory to the other.
//
// An [Engine] works from the change log: it settles intents whose outcome is
// unknown, and applies what is pending. [Engine.Step] makes one pass and is
// what tests call; [Engine.Run] decides when: when the log says that
// something was appended, and when the next retry is due.
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
// good is a dead letter with the other side's own words and holds up nobody
// else; everything else is retried with a growing, jittered pause that obeys
// Retry-After (rule L2).
//
// Not guaranteed: JumpCloud has no call that tells whether a password is
// equal to a given one. An unanswered write counts as applied when the user's
// password_date has moved since the evidence was taken; another change of the
// same password in that moment is not told apart.
package replicate
