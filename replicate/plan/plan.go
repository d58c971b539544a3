// Package plan decides what replication does, as pure functions of what is
// known about both sides. It has no I/O, clock, context or logger, so every
// decision can be tested, replayed and explained.
//
// [Password] decides about one captured password. The caller gathers a
// [PasswordCase], carries out the [Decision] and records its Reason, which is
// written for the administrator who reads `user show` or the change log.
package plan

import (
	"fmt"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// Verb is what is to be done with a change.
type Verb string

const (
	// SetPassword: give the password to JumpCloud user Decision.UserID.
	SetPassword Verb = "set-password"
	// DeadLetter: it cannot be applied as things are; a person must act, and
	// the sealed password is kept for a retry.
	DeadLetter Verb = "dead-letter"
	// Discard: it must not be applied; the sealed password is destroyed.
	Discard Verb = "discard"
)

// Decision is what Password wants done, and why.
type Decision struct {
	Verb   Verb
	UserID string // JumpCloud id; set for SetPassword
	Join   bool   // UserID was found by name and mail now: link the two for good
	Reason string
}

// PasswordCase is what is known about a captured password's account.
type PasswordCase struct {
	Change identity.Change
	// AD is the account now; nil when it no longer exists.
	AD *identity.User
	// Link is the stored pair; nil before the first join.
	Link *identity.Link
	// Linked is the JumpCloud user that Link names; nil when it is gone.
	Linked *identity.User
	// Candidates are the JumpCloud users that share the username or the mail
	// address; gathered only without a Link.
	Candidates []identity.User
	// Taken are the ids of Candidates that are linked to another AD account.
	Taken map[string]bool
}

// Password decides about one captured password of an AD account (rules I1,
// I3, P2). Whether a newer one has superseded it is the change log's matter.
func Password(c PasswordCase) Decision {
	switch {
	case c.AD == nil:
		return Decision{Verb: Discard, Reason: "the AD account no longer exists"}
	case c.AD.Privileged:
		return Decision{Verb: Discard, Reason: "privileged account (adminCount=1): never replicated"}
	case !c.AD.InScope:
		return Decision{Verb: Discard, Reason: "not a member of the domain's scope group"}
	case c.Link != nil && c.Linked == nil:
		return Decision{Verb: DeadLetter, Reason: fmt.Sprintf(
			"the linked JumpCloud user %s (%s) no longer exists", c.Link.Username, c.Link.JumpCloudID)}
	case c.Link != nil:
		return Decision{Verb: SetPassword, UserID: c.Link.JumpCloudID, Reason: "linked"}
	}
	return join(c)
}

// join pairs an AD account with the one JumpCloud user that has both its
// username and its mail address. One of the two is not enough: names and
// addresses are given to other people later, and a wrong pair hands one
// person's password to another's account.
func join(c PasswordCase) Decision {
	name, mail := c.AD.Username, c.AD.JoinMail()
	if name == "" || mail == "" {
		return Decision{Verb: DeadLetter, Reason: "the AD account has no username or no mail address to be paired by"}
	}
	var near []string
	var match *identity.User
	for i, u := range c.Candidates {
		sameName, sameMail := strings.EqualFold(u.Username, name), strings.EqualFold(u.Mail, mail)
		switch {
		case sameName && sameMail && c.Taken[u.ID]:
			return Decision{Verb: DeadLetter, Reason: fmt.Sprintf(
				"JumpCloud user %q (%s) is linked to another AD account", u.Username, u.ID)}
		case sameName && sameMail && match != nil:
			return Decision{Verb: DeadLetter, Reason: fmt.Sprintf(
				"two JumpCloud users have username %q and mail %q", name, mail)}
		case sameName && sameMail:
			match = &c.Candidates[i]
		case sameName:
			near = append(near, fmt.Sprintf("user %s has that username but mail %q", u.ID, u.Mail))
		case sameMail:
			near = append(near, fmt.Sprintf("user %s has that mail but username %q", u.ID, u.Username))
		}
	}
	if match != nil {
		return Decision{Verb: SetPassword, UserID: match.ID, Join: true, Reason: "paired by username and mail"}
	}
	reason := fmt.Sprintf("no JumpCloud user has username %q and mail %q", name, mail)
	if len(near) > 0 {
		reason += " (" + strings.Join(near, "; ") + ")"
	}
	return Decision{Verb: DeadLetter, Reason: reason}
}

// Evidence is what was read about an intent whose outcome is unknown.
type Evidence struct {
	AD *identity.User // nil when the account no longer exists
	// Old says that the intent is older than any DC takes to answer.
	Old bool
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
	Reason  string
}

// Settle judges an intent without a recorded answer (rule G5): first by
// pwdLastSet, which every password write moves, then by one bind. It never
// asks for the request to be sent again.
func Settle(change identity.Change, e Evidence) Settlement {
	if e.AD == nil {
		return Settlement{Outcome: identity.OutcomeRefused, Reason: "the AD account no longer exists"}
	}
	switch e.Bind {
	case BindProved:
		return Settlement{Outcome: identity.OutcomeAccepted, Reason: "proved by a bind with the new password"}
	case BindDisproved:
		return Settlement{Outcome: identity.OutcomeRefused, Reason: "a bind with the new password was refused: " + e.BindReason}
	case BindUndecided:
		return Settlement{Outcome: identity.OutcomeUnknown, Reason: "a bind with the new password was undecided: " + e.BindReason}
	}
	// A must-change write sets pwdLastSet to 0, and an unreadable entry left 0
	// in the intent: then only a bind tells.
	telling := change.PwdLastSet != 0 && !change.MustChange
	if telling && e.AD.PwdLastSet == change.PwdLastSet {
		if e.Old {
			return Settlement{Outcome: identity.OutcomeRefused, Reason: "pwdLastSet did not move"}
		}
		return Settlement{Outcome: identity.OutcomeUnknown, Reason: "pwdLastSet has not moved yet"}
	}
	return Settlement{Outcome: identity.OutcomeUnknown, TryBind: true, Reason: "pwdLastSet moved: a bind will tell by which change"}
}
