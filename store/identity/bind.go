package identity

import "time"

// PasswordBind is the kind of a change that nobody asked for: a bind that the
// DC accepted proved what the account's password is. Its PwdLastSet is that of
// the password itself, not of the one before.
const PasswordBind ChangeKind = "password-bind"

// BindOutcome is what becomes of a password that a bind proved.
type BindOutcome string

const (
	BindRecorded  BindOutcome = "recorded"   // it is in the change log, to be applied
	BindInSync    BindOutcome = "in_sync"    // the other side has it
	BindPending   BindOutcome = "pending"    // another change of the account is open, and counts for more
	BindEarly     BindOutcome = "early"      // it cannot be told yet which of two passwords was right; a bind some minutes later may
	BindNotWanted BindOutcome = "not_wanted" // the account is not replicated; the password was not kept
)

// FileTime converts a pwdLastSet, or another count of 100 ns since 1601 UTC
// (MS-DTYP 2.3.3).
func FileTime(units int64) time.Time {
	const unitsPerSecond, secondsTo1970 = 10_000_000, 11_644_473_600
	return time.Unix(units/unitsPerSecond-secondsTo1970, units%unitsPerSecond*100).UTC()
}
