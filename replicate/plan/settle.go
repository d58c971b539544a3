package plan

import (
	"fmt"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

const (
	// clockSkew is how far a controller's clock may be behind ours; Kerberos
	// allows no more by default (RFC 4120 section 1.6).
	clockSkew = 5 * time.Minute
	// grace is how long AD accepts an account's previous password after a
	// change: 60 minutes by default, and the skew.
	grace = time.Hour + clockSkew
	// replicationPeriod is after how long every controller is taken to know
	// what another accepted: the default interval between sites is 3 hours.
	replicationPeriod = 4 * time.Hour
	// absence is how long an account must have been missing until that is
	// believed, where a password is destroyed for it.
	absence = 24 * time.Hour
)

// Evidence is what was read about an intent whose outcome is unknown.
type Evidence struct {
	AD  *identity.User // with the controller that answered; nil when it is not found
	Now time.Time      // when it was read
	// AnswerLimit is how long a controller may take to answer.
	AnswerLimit time.Duration
	// Bind is the verdict of one bind with the new password; empty while none
	// was made.
	Bind BindVerdict
	// BindReason is the DC's reason when Bind is not proof.
	BindReason string
}

// BindVerdict is what a bind says about a password.
type BindVerdict string

const (
	// BindProved: success, or a refusal that AD gives only to the right
	// password (expired, must change, disabled, account expired, not now).
	BindProved    BindVerdict = "proved"
	BindDisproved BindVerdict = "disproved"
	BindUndecided BindVerdict = "undecided" // locked out, unavailable, unexplained
)

// Settlement is what an unknown outcome turns out to be.
type Settlement struct {
	Outcome identity.Outcome // unknown: not yet
	TryBind bool             // one bind with the new password is needed to tell
	GiveUp  bool             // it matters no more: the change is to be discarded
	Reason  string
}

// Settle judges an intent without a recorded answer (rule G5): first by
// pwdLastSet, which every password write moves, then by a bind. It never asks
// for the request to be sent again.
//
// "Not there", "not moved" and "wrong" destroy a password that may have been
// accepted, so each counts only when the change is old enough that neither
// the controller nor the replication between controllers can be the cause.
// "Right" counts only when the password cannot be the previous one.
//
// A change may cost one bind before AnswerLimit has passed, one after, and
// one for every further day: less than any lockout threshold.
func Settle(c identity.Entry, e Evidence) Settlement {
	age := e.Now.Sub(c.At)
	switch {
	case e.AD == nil && age > absence:
		return refused("the AD account was not found for %v", absence)
	case e.AD == nil:
		return unknown("the AD account is not found: deleted, not yet known to this controller, or hidden from the import account")
	case unmoved(c.Change, e.AD):
		return judgeUnmoved(c.Change, e, age)
	case !bindTells(c.Change, e, age):
		return unknown("pwdLastSet moved, and a controller accepts the previous password for an hour after a change: a bind will tell then")
	case e.Bind != "":
		return judgeBind(e, age)
	case c.Probes >= budget(age, e.AnswerLimit):
		return unknown("a bind did not tell; another is made when %v have passed, and then once a day", e.AnswerLimit)
	}
	return Settlement{Outcome: identity.OutcomeUnknown, TryBind: true, Reason: "pwdLastSet moved: a bind will tell by which change"}
}

// unmoved: a must-change write sets pwdLastSet to 0, and an unreadable entry
// left 0 in the intent; then only a bind tells.
func unmoved(c identity.Change, now *identity.User) bool {
	return c.PwdLastSet != 0 && !c.MustChange && now.PwdLastSet == c.PwdLastSet
}

func judgeUnmoved(c identity.Change, e Evidence, age time.Duration) Settlement {
	limit := max(replicationPeriod, e.AnswerLimit)
	if c.DC != "" && c.DC == e.AD.DC {
		limit = e.AnswerLimit
	}
	if age > limit {
		return refused("pwdLastSet did not move within %v", limit)
	}
	return unknown("pwdLastSet has not moved yet")
}

// bindTells reports whether a bind is worth its cost: pwdLastSet moved when
// this change was being made, or so long ago that only the present password
// is accepted. Of pwdLastSet 0 nobody knows when it was written.
func bindTells(c identity.Change, e Evidence, age time.Duration) bool {
	if e.AD.PwdLastSet == 0 {
		return age > e.AnswerLimit+grace
	}
	set := fileTime(e.AD.PwdLastSet)
	ours := !set.Before(c.At.Add(-clockSkew)) && !set.After(c.At.Add(e.AnswerLimit))
	return ours || e.Now.After(set.Add(grace))
}

func judgeBind(e Evidence, age time.Duration) Settlement {
	switch {
	case e.Bind == BindProved:
		return Settlement{Outcome: identity.OutcomeAccepted, Reason: "proved by a bind with the new password"}
	case e.Bind == BindDisproved && age > e.AnswerLimit:
		return refused("a bind with the new password was refused: %s", e.BindReason)
	case e.Bind == BindDisproved:
		return unknown("a bind with the new password was refused (%s), and the controller may still be at it", e.BindReason)
	}
	return unknown("a bind with the new password was undecided: %s", e.BindReason)
}

func budget(age, answerLimit time.Duration) int {
	if age <= answerLimit {
		return 1
	}
	return 2 + int(age/(24*time.Hour))
}

// fileTime converts 100 ns units since 1601 (MS-DTYP 2.3.3).
func fileTime(units int64) time.Time {
	const unitsPerSecond, secondsTo1970 = 10_000_000, 11_644_473_600
	return time.Unix(units/unitsPerSecond-secondsTo1970, units%unitsPerSecond*100)
}

func refused(format string, args ...any) Settlement {
	return Settlement{Outcome: identity.OutcomeRefused, Reason: fmt.Sprintf(format, args...)}
}

func unknown(format string, args ...any) Settlement {
	return Settlement{Outcome: identity.OutcomeUnknown, Reason: fmt.Sprintf(format, args...)}
}
