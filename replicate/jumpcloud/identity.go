package jumpcloud

import (
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// ToIdentity shows a user as both sides do. Of the restricted fields it has
// those of the AD object adID. A date that cannot be read is none.
func ToIdentity(u *User, adID string) identity.User {
	id := identity.User{
		Side: identity.JumpCloud, ID: u.ID, Username: u.Username, Mail: u.Email, First: u.FirstName, Last: u.LastName,
		Disabled: u.Suspended || u.State == StateSuspended, State: u.State,
		PasswordDate: u.PasswordDate, Profile: u.profile(), Manager: identity.Ref{ID: u.Manager},
		ExternalDN: u.ExternalDN, Restricted: u.restricted(adID), Activated: u.Activated, Sudo: u.Sudo,
	}
	id.PasswordExpires, _ = time.Parse(time.RFC3339, u.ExternalExpiry)
	if a := u.DelegatedAuthority; a != nil && a.Name == nameActiveDirectory {
		id.DelegatedTo = a.ID
	}
	return id
}

func (u *User) profile() identity.Profile {
	p := identity.Profile{
		DisplayName: u.DisplayName, Description: u.Description, JobTitle: u.JobTitle, Department: u.Department,
		Company: u.Company, Location: u.Location, EmployeeType: u.EmployeeType,
		WorkPhone: u.phone("work"), MobilePhone: u.phone("mobile"), HomePhone: u.phone("home"), WorkFax: u.phone("work_fax"),
	}
	if i := slices.IndexFunc(u.Addresses, isWork); i >= 0 {
		a := u.Addresses[i]
		p.Address = identity.Address{Street: a.StreetAddress, Locality: a.Locality, Region: a.Region,
			PostalCode: a.PostalCode, Country: a.Country, POBox: a.POBox}
	}
	return p
}

// phone is the first number of a type.
func (u *User) phone(kind string) string {
	for _, p := range u.PhoneNumbers {
		if strings.EqualFold(p.Type, kind) {
			return p.Number
		}
	}
	return ""
}

// restricted are the names of what only the AD object may write, sorted, with
// a space between two.
func (u *User) restricted(adID string) string {
	var names []string
	for _, r := range u.RestrictedFields {
		if r.of(adID) {
			names = append(names, r.Field)
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// ToIdentity shows a group as both sides do, without members.
func (g *Group) ToIdentity() identity.Group {
	return identity.Group{Side: identity.JumpCloud, ID: g.ID, Name: g.Name, Description: g.Description, Dynamic: g.Dynamic()}
}
