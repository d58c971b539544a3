package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// Verb is what is to be done with a change.
type Verb string

const (
	// SetPassword: give the password to JumpCloud user Decision.UserID.
	SetPassword Verb = "set-password"
	// Wait: look again later. What was seen may be the delay of one
	// controller, or a right that is missing for the moment; or the import has
	// yet to make the user ([AwaitsUser]).
	Wait Verb = "wait"
	// DeadLetter: it cannot be applied as things are; a person must act, and
	// the sealed password is kept for a retry.
	DeadLetter Verb = "dead-letter"
	// Discard: it must not be applied; the sealed password is destroyed.
	Discard Verb = "discard"
)

// DoubtLimit is how long AD must have given the same answer until it is
// believed that an account does not exist or is not in scope. Replication
// between the controllers of a domain takes minutes at most where it works.
const DoubtLimit = time.Hour

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
	// AD is the account now; nil when it is not found.
	AD *identity.User
	// Since is when the change became pending, by our clock; zero: not known.
	Since time.Time
	// Doubt is for how long the decision has been to Wait, for the same
	// Reason.
	Doubt time.Duration
	// Link is the stored pair; nil before the first join.
	Link *identity.Link
	// Resting: the last plan found that a person has unbound the user ([Rests]).
	Resting bool
	// Linked is the JumpCloud user that Link names; nil when it is gone.
	Linked *identity.User
	// Candidates are the JumpCloud users that share the username or the mail
	// address; gathered only without a Link.
	Candidates []identity.User
	// Taken are the ids of Candidates that are linked to another AD account.
	Taken map[string]bool

	// Settings are the domain's, and Now the time, by which the import decides
	// whether the account gets a user; without them it gets none.
	Settings Settings
	Now      time.Time
	// Rival says why the accounts taken together leave this one without a user
	// ([Reasons]); empty: nothing is known.
	Rival string
}

const temporary = "temporary password (must change at next logon)"

// Early decides what needs no look at JumpCloud, or returns false. Password
// begins with it; a caller may ask before it gathers the rest.
func Early(c PasswordCase) (Decision, bool) {
	switch {
	case c.Change.MustChange:
		return Decision{Verb: Discard, Reason: temporary}, true
	case c.Change.Account.GUID.IsZero():
		return Decision{Verb: DeadLetter, Reason: "the account could not be read when the password was changed, and its name may since " +
			"have become another person's: let the import account read it, change the password again, and run " + discard(c.Change.Seq)}, true
	case c.AD == nil && c.Doubt < DoubtLimit:
		return Decision{Verb: Wait, Reason: "the AD account is not found: deleted, not yet known to this controller, or hidden from the import account"}, true
	case c.AD == nil:
		return Decision{Verb: DeadLetter, Reason: fmt.Sprintf("the AD account was not found for %v: if it was deleted, run %s; "+
			"if the import account lost a right, restore that%s", DoubtLimit, discard(c.Change.Seq), retry(c.Change.Seq))}, true
	case c.AD.Privileged:
		return Decision{Verb: Discard, Reason: "privileged account (adminCount=1): never replicated"}, true
	case c.AD.Computer:
		return Decision{Verb: Discard, Reason: "not a person's account (a computer, a managed service account or a trust)"}, true
	case c.Settings.service(c.AD):
		return Decision{Verb: Discard, Reason: isService}, true
	case !c.AD.InScope && c.Doubt < DoubtLimit:
		return Decision{Verb: Wait, Reason: "not in scope (root container and scope group) as far as this controller knows"}, true
	case !c.AD.InScope:
		return Decision{Verb: Discard, Reason: fmt.Sprintf(
			"not in the domain's scope (below its root container and in its scope group), for %v", DoubtLimit)}, true
	case c.AD.MustChange && c.Doubt < DoubtLimit:
		// Set in a second step, or the state before this change on a
		// controller that has not learnt of it.
		return Decision{Verb: Wait, Reason: "the account must change its password at next logon, as far as this controller knows"}, true
	case c.AD.MustChange:
		return Decision{Verb: Discard, Reason: temporary}, true
	case c.Change.Kind == identity.PasswordBind && c.AD.PwdLastSet > c.Change.PwdLastSet:
		return Decision{Verb: Discard, Reason: "the password was changed in AD after the one that a bind proved"}, true
	case overtaken(c):
		return Decision{Verb: DeadLetter, Reason: fmt.Sprintf("AD has a password that was set at %s, after this one was accepted at %s: it was changed past dirgate, or the store is an older copy: run %s, and the next sign-in through dirgate records the present one; if this host's clock was wrong, set it%s",
			fileTime(c.AD.PwdLastSet).UTC().Format(time.RFC3339), c.Since.UTC().Format(time.RFC3339), discard(c.Change.Seq), retry(c.Change.Seq))}, true
	}
	return Decision{}, false
}

// overtaken reports whether AD has been given another password since. It is
// what lies outside the store: one that was taken back, with its mark, to an
// earlier time would have old passwords applied again. The margin is for clocks
// that disagree; a person who retries the change vouches for it.
func overtaken(c PasswordCase) bool {
	return !c.Since.IsZero() && c.Change.Kind != identity.PasswordBind && c.AD.PwdLastSet != 0 &&
		fileTime(c.AD.PwdLastSet).After(c.Since.Add(grace))
}

// Password decides about one captured password of an AD account (rules I1,
// I3, P2). Whether a newer one has superseded it is the change log's matter,
// unless that was applied already.
func Password(c PasswordCase) Decision {
	if decision, ok := Early(c); ok {
		return decision
	}
	switch {
	case c.Link != nil && c.Link.PasswordSeq > c.Change.Seq && c.Change.Seq != 0:
		return Decision{Verb: Discard, Reason: fmt.Sprintf("stale: JumpCloud has the password of change %d", c.Link.PasswordSeq)}
	case c.Link != nil && c.Linked == nil:
		return c.awaited(Decision{Verb: DeadLetter, Reason: fmt.Sprintf("the linked JumpCloud user %s (%s) no longer exists: to pair the account anew, run %s%s",
			c.Link.Username, c.Link.JumpCloudID, unlink(c.AD.Username), retry(c.Change.Seq))})
	case c.Link != nil && c.Resting:
		return rest(c.Doubt)
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
	name, mail := Username(c.Settings.Mapping, c.AD), c.AD.JoinMail()
	if name == "" || mail == "" {
		return c.awaited(Decision{Verb: DeadLetter, Reason: "the AD account has no username or no mail address to be paired by: give it one" + retry(c.Change.Seq)})
	}
	var near []string
	var match *identity.User
	for i, u := range c.Candidates {
		sameName, sameMail := strings.EqualFold(u.Username, name), strings.EqualFold(u.Mail, mail)
		switch {
		case sameName && sameMail && c.Taken[u.ID]:
			return c.awaited(Decision{Verb: DeadLetter, Reason: fmt.Sprintf(
				"JumpCloud user %q (%s) is linked to another AD account: if that is gone, run %s%s", u.Username, u.ID, unlink(u.ID), retry(c.Change.Seq))})
		case sameName && sameMail && match != nil:
			return Decision{Verb: DeadLetter, Reason: fmt.Sprintf(
				"two JumpCloud users have username %q and mail %q: change one of them%s", name, mail, retry(c.Change.Seq))}
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
	return c.awaited(Decision{Verb: DeadLetter, Reason: reason + ": make them agree" + retry(c.Change.Seq)})
}

// retry, discard and unlink are the commands by which a person goes on.
func retry(seq identity.Seq) string {
	if seq == 0 {
		return "" // nothing is waiting: a question, not a change
	}
	return fmt.Sprintf(", then run `dirgate changelog retry %d`", seq)
}

func discard(seq identity.Seq) string { return fmt.Sprintf("`dirgate changelog discard %d`", seq) }

func unlink(name string) string { return fmt.Sprintf("`dirgate user unlink %s`", name) }
