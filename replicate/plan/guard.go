package plan

import (
	"fmt"

	"github.com/dirgate/dirgate/store/identity"
)

// Class is what a guard counts together.
type Class string

const (
	Removals    Class = "removals"    // users deleted or unbound
	Suspensions Class = "suspensions" // users suspended, passwords expired
	GroupEnds   Class = "groups"      // groups deleted or unbound
	Memberships Class = "memberships" // members taken out of groups

	ADDisables    Class = "ad_disables"    // accounts disabled in AD, or let go by sync
	ADMemberships Class = "ad_memberships" // members taken out of groups in AD
)

// Classes are all of them, the gravest first.
var Classes = [...]Class{Removals, Suspensions, ADDisables, GroupEnds, Memberships, ADMemberships}

// Class is by which guard an action counts; empty: guards let it pass. What
// sync lets go is not replicated any more and is paired anew if it is bound
// again, without what was remembered of it: an answer of JumpCloud's that lists
// nobody does that to everybody.
func (a Action) Class() Class {
	if a.Direction == identity.Sync {
		switch a.Kind {
		case Unlink:
			return ADDisables
		case UnlinkGroup:
			return GroupEnds
		}
	}
	return ClassOf(a.Kind)
}

// ClassOf is the class of a kind of action in whichever direction.
func ClassOf(k Kind) Class {
	switch k {
	case DeleteUser, UnbindUser:
		return Removals
	case Suspend, ExpirePassword:
		return Suspensions
	case DeleteGroup, UnbindGroup:
		return GroupEnds
	case RemoveMember:
		return Memberships
	case ADDisable:
		return ADDisables
	case ADRemoveMember:
		return ADMemberships
	}
	return ""
}

// Limit is a safety threshold (rule I8).
type Limit struct {
	// Count: more than so many are held.
	Count int
	// Percent: more than such a share of all there are is held, if it is more
	// than Few.
	Percent float64
}

// Few is how many may always go by the share: in a company of ten, one leaver
// is a tenth.
const Few = 2

// Holds says why so many of a total are too many at once; empty: they pass.
func (l Limit) Holds(n, total int) string {
	switch share := 100 * float64(n) / float64(max(total, 1)); {
	case n > l.Count:
		return fmt.Sprintf("%d at once, and %d pass by themselves", n, l.Count)
	case n > Few && share > l.Percent:
		return fmt.Sprintf("%d of %d (%.0f %%), and %g %% pass by themselves", n, total, share, l.Percent)
	}
	return ""
}

// Limits are the thresholds of a domain; a class that is missing has the
// default.
type Limits map[Class]Limit

// DefaultLimits suit a company of some hundreds; a larger one loses no more
// people by an accident than its administrators can put right in an hour.
func DefaultLimits() Limits {
	return Limits{Removals: {20, 10}, Suspensions: {20, 10}, GroupEnds: {5, 20}, Memberships: {100, 20},
		ADDisables: {20, 10}, ADMemberships: {100, 20}}
}

// Population is of how many the shares are: what is linked now.
type Population struct {
	Users, Groups, Memberships int
}

func (p Population) of(c Class) int {
	switch c {
	case GroupEnds:
		return p.Groups
	case Memberships, ADMemberships:
		return p.Memberships
	}
	return p.Users
}

// Check counts actions and says, for each class that is over its limit, why.
// An account counts once in a class, however many actions concern it;
// memberships count each.
func (l Limits) Check(actions []Action, all Population) map[Class]string {
	counts := make(map[Class]int)
	seen := make(map[Class]map[identity.GUID]bool)
	for _, a := range actions {
		c := a.Class()
		if c == "" {
			continue
		}
		if c != Memberships && c != ADMemberships {
			if seen[c] == nil {
				seen[c] = make(map[identity.GUID]bool)
			}
			if seen[c][a.GUID] {
				continue
			}
			seen[c][a.GUID] = true
		}
		counts[c]++
	}
	held := make(map[Class]string)
	for c, n := range counts {
		limit, ok := l[c]
		if !ok {
			limit = DefaultLimits()[c]
		}
		if why := limit.Holds(n, all.of(c)); why != "" {
			held[c] = why
		}
	}
	return held
}
