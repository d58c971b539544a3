package plan

import (
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

const restrictPassword = "password"

// Ordered puts what a person ordered for one linked user into what JumpCloud
// is to have of it: who may set the password (an entry of restrictedFields),
// and who checks it (delegatedAuthority). Where nothing was ordered want stays
// as the use case made it.
func Ordered(want *identity.User, link identity.Link, adID string) {
	switch link.PasswordAuthority {
	case identity.AD:
		fields := append(strings.Fields(want.Restricted), restrictPassword)
		slices.Sort(fields)
		want.Restricted = strings.Join(slices.Compact(fields), " ")
	case identity.JumpCloud:
		fields := slices.DeleteFunc(strings.Fields(want.Restricted), func(f string) bool { return f == restrictPassword })
		want.Restricted = strings.Join(fields, " ")
	}
	switch link.Delegation {
	case identity.AD:
		want.DelegatedTo = adID
	case identity.JumpCloud:
		want.DelegatedTo = ""
	}
}
