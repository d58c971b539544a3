package plan

import (
	"fmt"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// CloudArrived is how long after JumpCloud was given a password its LDAP may
// still answer by the one before.
const CloudArrived = 30 * time.Second

// CloudEvidence is what was read about an intent to change a password at
// JumpCloud whose outcome is unknown.
type CloudEvidence struct {
	Now time.Time // when it was read
	// AnswerLimit is how long JumpCloud may take to answer.
	AnswerLimit time.Duration
	// Newer is a password of the same pair, of either direction, that was
	// accepted and whose intent came later; zero: there is none.
	Newer identity.Seq
	// Rival is a change of the same user at JumpCloud whose intent came later and
	// whose outcome is unknown too; zero: there is none.
	Rival identity.Seq
	// OtherProbes are the binds that were made to settle other changes of the
	// same user, without those of changes that were settled a day ago or more.
	OtherProbes int
	User        *identity.User // nil: JumpCloud has no such user
	// Barred is why JumpCloud's LDAP lets the user in with no password at all;
	// empty: nothing is known that would.
	Barred string
	// NoLDAP: the registration names no LDAP of JumpCloud, so no bind can be made.
	NoLDAP bool
	// Bind is the verdict of one bind with the new password; empty while none
	// was made.
	Bind       BindVerdict
	BindReason string
}

// SettleCloud judges an intent of direction sync without a recorded answer
// (rule G5), as [Settle] does those of AD: first by password_date, which every
// writing of a password moves, then by a bind at JumpCloud's LDAP.
//
// A password that is not the newest of the pair is applied nowhere, whatever
// became of it (rule P2), and costs no bind. "Not moved" and "wrong" count only
// when JumpCloud cannot be at it any more; "right" only when its LDAP cannot
// be answering by the password before. A bind proves more than that the change
// was made: the password is JumpCloud's at this moment.
//
// JumpCloud locks a user out after as many wrong passwords as the organisation
// says. So the budget of binds, which is that of Settle, is one for all unknown
// changes of a user together, and the newest of them is asked about first.
func SettleCloud(c identity.Entry, e CloudEvidence) Settlement {
	age := e.Now.Sub(c.At)
	open := func(format string, args ...any) Settlement {
		s := unknown(format, args...)
		s.Reason += fmt.Sprintf("; to give this password up run `dirgate changelog discard %d`", c.Seq)
		return s
	}
	switch {
	case e.Newer > c.Seq:
		return Settlement{Outcome: identity.OutcomeUnknown, GiveUp: true, Reason: fmt.Sprintf("its outcome was not seen, and change %d of the same user is newer", e.Newer)}
	case e.User == nil && age > absence:
		return refused("the JumpCloud user was not found for %v", absence)
	case e.User == nil:
		return open("the JumpCloud user is not found")
	}
	date, moved := dateMoved(c.Change, e.User)
	switch {
	case !moved && age > e.AnswerLimit:
		return refused("JumpCloud's password_date did not move within %v", e.AnswerLimit)
	case !moved:
		return open("JumpCloud's password_date has not moved yet")
	case e.NoLDAP:
		return open("JumpCloud's password_date moved to %s, and only a bind at JumpCloud's LDAP tells by which change: run `dirgate domain register %s --jumpcloud-ldap-url URL`",
			date.UTC().Format(time.RFC3339), c.Account.Domain)
	case e.Now.Sub(date) < CloudArrived:
		return open("JumpCloud's password_date moved, and its LDAP may answer by the password before for %v", CloudArrived)
	case e.Barred != "":
		return open("JumpCloud's LDAP tells nothing about this user's password: %s", e.Barred)
	case e.Bind != "":
		return judgeCloudBind(e, age, open)
	case e.Rival != 0:
		return open("change %d of the same user is newer, and its outcome is unknown too: that is settled first", e.Rival)
	case c.Probes+e.OtherProbes >= budget(age, e.AnswerLimit):
		return open("a bind at JumpCloud's LDAP did not tell; another is made when %v have passed, and then once a day", e.AnswerLimit)
	}
	return Settlement{Outcome: identity.OutcomeUnknown, TryBind: true, Reason: "JumpCloud's password_date moved: a bind will tell by which change"}
}

// dateMoved reports whether the user was given a password since the date in
// the intent was read, and when. That was a little before the intent. Both dates
// are by JumpCloud's clock; they are not compared with ours, which may be wrong.
func dateMoved(c identity.Change, now *identity.User) (date time.Time, moved bool) {
	date, err := time.Parse(time.RFC3339, now.PasswordDate)
	return date, err == nil && date.After(c.PasswordDate)
}

func judgeCloudBind(e CloudEvidence, age time.Duration, open func(string, ...any) Settlement) Settlement {
	switch {
	case e.Bind == BindProved:
		return Settlement{Outcome: identity.OutcomeAccepted, Reason: "proved by a bind at JumpCloud's LDAP with the new password"}
	case e.Bind == BindDisproved && age > e.AnswerLimit:
		return refused("a bind at JumpCloud's LDAP with the new password was refused: %s", e.BindReason)
	case e.Bind == BindDisproved:
		return open("a bind at JumpCloud's LDAP with the new password was refused (%s), and JumpCloud may still be at it", e.BindReason)
	}
	return open("a bind at JumpCloud's LDAP with the new password was undecided: %s", e.BindReason)
}
