package plan

import (
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// Kind is what one [Action] does. All but Link and Unlink are one or a few
// requests to JumpCloud.
type Kind string

const (
	CreateUser Kind = "create-user"
	UpdateUser Kind = "update-user" // the fields listed, and no others
	DeleteUser Kind = "delete-user"
	Suspend    Kind = "suspend"
	Activate   Kind = "activate" // lifts a suspension
	// ExpirePassword makes JumpCloud ask for a new password.
	ExpirePassword Kind = "expire-password"
	BindUser       Kind = "bind-user"   // to the domain's AD object
	UnbindUser     Kind = "unbind-user" // and lift what only the AD object may write
	Link           Kind = "link"        // pair with a user that was there before
	Unlink         Kind = "unlink"      // forget the pair; JumpCloud is not told

	CreateGroup  Kind = "create-group"
	LinkGroup    Kind = "link-group"
	UnlinkGroup  Kind = "unlink-group"
	UpdateGroup  Kind = "update-group"
	DeleteGroup  Kind = "delete-group"
	BindGroup    Kind = "bind-group"
	UnbindGroup  Kind = "unbind-group"
	AddMember    Kind = "add-member"
	RemoveMember Kind = "remove-member"
)

// Destructive reports whether people lose something by it: these are what
// guards count (rule I8).
func (k Kind) Destructive() bool { return ClassOf(k) != "" }

// Action is one step towards what the policy asks for. Steps of one account
// or group are carried out in their order; when one fails, those after it are
// not.
type Action struct {
	Kind Kind          `json:"kind"`
	GUID identity.GUID `json:"guid,omitzero"` // of the AD account or group
	Name string        `json:"name"`          // its name in AD, else in JumpCloud: for people
	// UserID and GroupID are JumpCloud's; empty for what is created by the
	// step, and for steps that follow it.
	UserID  string  `json:"userId,omitempty"`
	GroupID string  `json:"groupId,omitempty"`
	Fields  []Field `json:"fields,omitempty"` // of CreateUser, UpdateUser, UpdateGroup
	Reason  string  `json:"reason"`
}

// Field is one field of a JumpCloud object, and what it is set to.
type Field struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"`
	To   string `json:"to"`
}

// Names of fields as JumpCloud writes them; a phone number and the parts of
// the work address have a path. See [Action.Fields].
const (
	FieldUsername  = "username"
	FieldEmail     = "email"
	FieldFirst     = "firstname"
	FieldLast      = "lastname"
	FieldDN        = "external_dn"
	FieldExpires   = "external_password_expiration_date"
	FieldRestrict  = "restrictedFields" // names with a space between two
	FieldDelegate  = "delegatedAuthority"
	FieldManager   = "manager"
	FieldSudo      = "sudo"
	FieldGroupName = "name"
	FieldGroupNote = "description"
)

// profileFields are those of identity.Profile, in the order of JumpCloud's
// form, with the restrictedFields name that covers each.
var profileFields = []struct {
	name, restrict string
	of             func(*identity.Profile) *string
}{
	{"displayname", "displayname", func(p *identity.Profile) *string { return &p.DisplayName }},
	{"description", "description", func(p *identity.Profile) *string { return &p.Description }},
	{"jobTitle", "jobTitle", func(p *identity.Profile) *string { return &p.JobTitle }},
	{"department", "department", func(p *identity.Profile) *string { return &p.Department }},
	{"company", "company", func(p *identity.Profile) *string { return &p.Company }},
	{"location", "location", func(p *identity.Profile) *string { return &p.Location }},
	{"employeeType", "employeeType", func(p *identity.Profile) *string { return &p.EmployeeType }},
	{"phoneNumbers.work", "phoneNumbers", func(p *identity.Profile) *string { return &p.WorkPhone }},
	{"phoneNumbers.mobile", "phoneNumbers", func(p *identity.Profile) *string { return &p.MobilePhone }},
	{"phoneNumbers.home", "phoneNumbers", func(p *identity.Profile) *string { return &p.HomePhone }},
	{"phoneNumbers.work_fax", "phoneNumbers", func(p *identity.Profile) *string { return &p.WorkFax }},
	{"addresses.work.streetAddress", "addresses", func(p *identity.Profile) *string { return &p.Address.Street }},
	{"addresses.work.locality", "addresses", func(p *identity.Profile) *string { return &p.Address.Locality }},
	{"addresses.work.region", "addresses", func(p *identity.Profile) *string { return &p.Address.Region }},
	{"addresses.work.postalCode", "addresses", func(p *identity.Profile) *string { return &p.Address.PostalCode }},
	{"addresses.work.country", "addresses", func(p *identity.Profile) *string { return &p.Address.Country }},
	{"addresses.work.poBox", "addresses", func(p *identity.Profile) *string { return &p.Address.POBox }},
}

// Set puts the value of a field into u, under the name that [Action.Fields]
// uses; false when there is no such field.
func Set(u *identity.User, field, value string) bool {
	switch field {
	case FieldUsername:
		u.Username = value
	case FieldEmail:
		u.Mail = value
	case FieldFirst:
		u.First = value
	case FieldLast:
		u.Last = value
	case FieldDN:
		u.ExternalDN = value
	case FieldExpires:
		u.PasswordExpires, _ = time.Parse(time.RFC3339, value)
	case FieldRestrict:
		u.Restricted = value
	case FieldDelegate:
		u.DelegatedTo = value
	case FieldManager:
		u.Manager = identity.Ref{ID: value}
	case FieldSudo:
		u.Sudo = value == "true"
	default:
		for _, f := range profileFields {
			if f.name == field {
				*f.of(&u.Profile) = value
				return true
			}
		}
		return false
	}
	return true
}

// stamp writes a time as JumpCloud's date fields have it; zero is empty.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Truncate(time.Second).Format(time.RFC3339)
}

// diff lists the fields in which a JumpCloud user differs from what it shall
// be. Names and mail addresses are the same in any case of letters.
func diff(is, want *identity.User, basicOnly bool) []Field {
	var fields []Field
	add := func(name, from, to string, same bool) {
		if !same {
			fields = append(fields, Field{name, from, to})
		}
	}
	exact := func(name, from, to string) { add(name, from, to, from == to) }
	add(FieldUsername, is.Username, want.Username, strings.EqualFold(is.Username, want.Username))
	add(FieldEmail, is.Mail, want.Mail, strings.EqualFold(is.Mail, want.Mail))
	exact(FieldFirst, is.First, want.First)
	exact(FieldLast, is.Last, want.Last)
	if !basicOnly {
		for _, f := range profileFields {
			exact(f.name, *f.of(&is.Profile), *f.of(&want.Profile))
		}
		exact(FieldManager, is.Manager.ID, want.Manager.ID)
	}
	exact(FieldDN, is.ExternalDN, want.ExternalDN)
	exact(FieldExpires, stamp(is.PasswordExpires), stamp(want.PasswordExpires))
	exact(FieldRestrict, is.Restricted, want.Restricted)
	exact(FieldDelegate, is.DelegatedTo, want.DelegatedTo)
	return fields
}

// created lists the fields of a new user; empty ones are left out.
func created(want *identity.User, basicOnly bool) []Field {
	return diff(&identity.User{}, want, basicOnly)
}
