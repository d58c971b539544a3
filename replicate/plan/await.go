package plan

import (
	"slices"
	"strings"
)

// What is said of a password that waits for the import, and of one that the
// import leaves without a user. Both are stored with the change, and known
// again by these words.
const (
	awaitsUser = "waits for the import, which is to make or take over the JumpCloud user of the account"
	noUser     = "the import gives the account no JumpCloud user: "
)

// AwaitsUser reports whether a pending change's reason is that the import has
// not made the user yet.
func AwaitsUser(reason string) bool { return strings.Contains(reason, awaitsUser) }

// LacksUser reports whether a dead letter's reason is that the import makes no
// user: when it makes one after all, the password may be applied.
func LacksUser(reason string) bool { return strings.HasPrefix(reason, noUser) }

// awaited decides about the password of an account that has no JumpCloud user,
// by the rules of the import. lacking is what is true without one.
func (c PasswordCase) awaited(lacking Decision) Decision {
	if !c.Settings.Use.Imports() {
		return lacking
	}
	u := UserCase{Settings: c.Settings, Now: c.Now, AD: c.AD, Rival: c.Rival, Link: c.Link}
	taken := false
	for _, candidate := range c.Candidates {
		if c.Taken[candidate.ID] {
			taken = true // the other account may be gone, or have given up the name
			continue
		}
		u.Holders = append(u.Holders, Holder{User: candidate})
	}
	v := User(u)
	pairs := func(a Action) bool { return a.Kind == CreateUser || a.Kind == Link }
	switch {
	case v.Skip != "":
		next := retry(c.Change.Seq)
		if next != "" {
			next += " should it not be applied by itself then"
		}
		return Decision{Verb: DeadLetter, Reason: noUser + v.Skip + next}
	case !slices.ContainsFunc(v.Actions, pairs):
		return lacking
	case taken && c.Doubt >= DoubtLimit:
		lacking.Reason = noUser + lacking.Reason
		return lacking
	}
	return Decision{Verb: Wait, Reason: awaitsUser}
}
