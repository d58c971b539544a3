package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// SyncPasswordCase is what is known about a password that JumpCloud's side
// learnt, and that AD may be to have.
type SyncPasswordCase struct {
	Settings
	Change identity.Change
	Cloud  *identity.User // nil: the user was deleted
	Link   *identity.Link // nil: the user has no account (yet)
	AD     *identity.User // nil: the account is not found
	// Resting: the last plan found that a person has unbound the user ([Rests]).
	Resting bool
	// Sent: the password was written to AD, no answer came, and AD was given one
	// at about that time.
	Sent bool
	// Doubt is for how long the decision has been to Wait, for the same Reason.
	Doubt time.Duration
}

// awaitsAccount is said of a password whose user has no AD account. It is stored
// with the change, and known again by these words.
const awaitsAccount = "the user has no AD account yet"

// AwaitsAccount reports whether a pending change's reason is that sync has not
// made or linked the user's account yet.
func AwaitsAccount(reason string) bool { return strings.Contains(reason, awaitsAccount) }

// SyncPassword decides about one password of a JumpCloud user (rules S4 and
// P2): SetPassword gives it to the AD account of Link. Whether a newer one
// supersedes it is the change log's matter, unless that was applied already.
func SyncPassword(c SyncPasswordCase) Decision {
	discard := func(format string, args ...any) Decision {
		return Decision{Verb: Discard, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case !c.Use.Syncs():
		return discard("use case %s: passwords do not go to Active Directory", c.Use)
	case c.Cloud == nil:
		return discard("the user was deleted at JumpCloud")
	case c.Link == nil:
		return c.wait(awaitsAccount, "bind the user to the AD object in JumpCloud")
	case c.Link.PasswordSeq > c.Change.Seq && c.Change.Seq != 0:
		return discard("stale: both sides have the password of change %d", c.Link.PasswordSeq)
	case c.Link.PasswordAuthority == identity.AD, c.Link.PasswordAuthority == "" && slices.Contains(strings.Fields(c.Cloud.Restricted), restrictPassword):
		return discard("only Active Directory may set the password of this user")
	case c.replaced():
		return discard("the password was changed at JumpCloud after the one that a bind proved")
	case c.AD == nil:
		return c.wait("the linked AD account is not found: deleted, not yet known to this controller, or hidden from the import account",
			"restore the account or the right to read it")
	case c.AD.Privileged:
		return discard("privileged account (adminCount=1): never written")
	case c.AD.Computer:
		return discard("not a person's account (a computer, a managed service account or a trust)")
	case c.service(c.AD):
		return discard(isService)
	case c.overtaken():
		return discard("AD has a password that was set later, at %s", fileTime(c.AD.PwdLastSet).UTC().Format(time.RFC3339))
	case c.Resting:
		return rest(c.Doubt)
	}
	return Decision{Verb: SetPassword, UserID: c.Cloud.ID, Reason: "linked"}
}

// wait believes what would make a change pointless only after DoubtLimit.
func (c *SyncPasswordCase) wait(what, mend string) Decision {
	if c.Doubt < DoubtLimit {
		return Decision{Verb: Wait, Reason: what}
	}
	return Decision{Verb: DeadLetter, Reason: fmt.Sprintf("%s, for %v: %s%s", what, DoubtLimit, mend, retry(c.Change.Seq))}
}

// replaced: JumpCloud has another password by now.
func (c *SyncPasswordCase) replaced() bool {
	if c.Change.Proven().IsZero() {
		return false
	}
	date, err := time.Parse(time.RFC3339, c.Cloud.PasswordDate)
	return err == nil && date.After(c.Change.Proven())
}

// overtaken: AD was given a password after JumpCloud was given this one. The
// random one of an account that sync made is nobody's, and of one that both
// sides had JumpCloud's is the newer.
func (c *SyncPasswordCase) overtaken() bool {
	set := fileTime(c.AD.PwdLastSet)
	switch {
	case c.Sent, c.AD.PwdLastSet == 0, c.AD.PwdLastSet == c.Link.PasswordSet:
		return false
	case c.Link.MadeInAD && c.Link.PasswordSet == 0 && !set.After(c.Link.At.Add(madeWithin)):
		return false
	case c.Change.Proven().IsZero():
		return set.After(c.Change.At.Add(clockSkew + makingInAD))
	}
	return set.After(c.Change.Proven())
}

// makingInAD is how long AD may be at a change that was asked for before JumpCloud
// was given its password, where only our clock tells when that was: as long as
// who asks waits for the answer. That change is older, and is to be replaced. For
// how long AD accepts an account's previous password makes no difference here:
// pwdLastSet is that of the present one.
const makingInAD = 2 * time.Minute

// madeWithin is how long after its link was stored an account may have got the
// random password it was made with, by clocks that disagree.
const madeWithin = 5 * time.Minute
