package plan

import (
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// Kind is what one [Action] does. Link and Unlink, and those of groups, concern
// the store alone; those that begin with "ad-" are one or a few requests to
// Active Directory, all others to JumpCloud.
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

	ADCreateUser   Kind = "ad-create-user" // enabled, with a random password
	ADUpdateUser   Kind = "ad-update-user" // the attributes listed, and no others
	ADDisable      Kind = "ad-disable"
	ADEnable       Kind = "ad-enable" // lifts what ADDisable did
	ADCreateGroup  Kind = "ad-create-group"
	ADRenameGroup  Kind = "ad-rename-group" // sAMAccountName and cn
	ADAddMember    Kind = "ad-add-member"
	ADRemoveMember Kind = "ad-remove-member"
)

// InAD reports whether an action writes to Active Directory.
func (k Kind) InAD() bool { return strings.HasPrefix(string(k), "ad-") }

// Destructive reports whether people lose something by it: these are what
// guards count (rule I8).
func (k Kind) Destructive() bool { return ClassOf(k) != "" }

// Action is one step towards what the policy asks for. Steps of one account
// or group are carried out in their order; when one fails, those after it are
// not.
type Action struct {
	// Direction says which of [Import] and [Sync] asks for it.
	Direction identity.Direction `json:"direction,omitempty"`
	Kind      Kind               `json:"kind"`
	// GUID is of the AD account or group. In direction sync it is zero for what
	// is created by the step, and for steps that follow it.
	GUID identity.GUID `json:"guid,omitzero"`
	Name string        `json:"name"` // its name in AD, else in JumpCloud: for people
	// UserID and GroupID are JumpCloud's. In direction import they are empty for
	// what is created by the step, and for steps that follow it; in direction
	// sync they are always those of the user or group that it is about.
	UserID  string `json:"userId,omitempty"`
	GroupID string `json:"groupId,omitempty"`
	// Member is the AD account of ADAddMember and ADRemoveMember, of user
	// UserID; zero: it is made by an earlier step of the plan.
	Member identity.GUID `json:"member,omitzero"`
	Fields []Field       `json:"fields,omitempty"` // of what creates, updates or renames
	Reason string        `json:"reason"`
}

// Field is one field of a JumpCloud object, or one attribute of an AD object,
// and what it is set to. An empty value empties it.
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

// Names of attributes as AD writes them, in the Fields of actions on AD.
const (
	AttrSAM     = "sAMAccountName"
	AttrUPN     = "userPrincipalName"
	AttrCN      = "cn"
	AttrFirst   = "givenName"
	AttrLast    = "sn"
	AttrMail    = "mail"
	AttrDisplay = "displayName"
)

// profileFields are those of identity.Profile, in the order of JumpCloud's
// form, with the restrictedFields name that covers each, and AD's attribute.
var profileFields = [...]struct{ name, restrict, attr string }{
	{"displayname", "displayname", "displayName"},
	{"description", "description", "description"},
	{"jobTitle", "jobTitle", "title"},
	{"department", "department", "department"},
	{"company", "company", "company"},
	{"location", "location", "physicalDeliveryOfficeName"},
	{"employeeType", "employeeType", "employeeType"},
	{"phoneNumbers.work", "phoneNumbers", "telephoneNumber"},
	{"phoneNumbers.mobile", "phoneNumbers", "mobile"},
	{"phoneNumbers.home", "phoneNumbers", "homePhone"},
	{"phoneNumbers.work_fax", "phoneNumbers", "facsimileTelephoneNumber"},
	{"addresses.work.streetAddress", "addresses", "streetAddress"},
	{"addresses.work.locality", "addresses", "l"},
	{"addresses.work.region", "addresses", "st"},
	{"addresses.work.postalCode", "addresses", "postalCode"},
	{"addresses.work.country", "addresses", "co"},
	{"addresses.work.poBox", "addresses", "postOfficeBox"},
}

// profile are the values of profileFields, in their order. The table has no
// functions that find them, because whatever is given to a function that the
// compiler does not know goes to the heap: a whole user for each comparison.
func profile(p *identity.Profile) [len(profileFields)]*string {
	return [...]*string{
		&p.DisplayName, &p.Description, &p.JobTitle, &p.Department, &p.Company, &p.Location, &p.EmployeeType,
		&p.WorkPhone, &p.MobilePhone, &p.HomePhone, &p.WorkFax,
		&p.Address.Street, &p.Address.Locality, &p.Address.Region, &p.Address.PostalCode, &p.Address.Country, &p.Address.POBox,
	}
}

// profileIndex is where a field is in profileFields; -1: it is none of them.
func profileIndex(field string) int {
	for i := range profileFields {
		if profileFields[i].name == field {
			return i
		}
	}
	return -1
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
		i := profileIndex(field)
		if i < 0 {
			return false
		}
		*profile(&u.Profile)[i] = value
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
	var room [12 + len(profileFields)]Field // for all; what is returned has the size it needs
	fields := room[:0]
	exact := func(name, from, to string) {
		if from != to {
			fields = append(fields, Field{name, from, to})
		}
	}
	folded := func(name, from, to string) {
		if !strings.EqualFold(from, to) {
			fields = append(fields, Field{name, from, to})
		}
	}
	folded(FieldUsername, is.Username, want.Username)
	folded(FieldEmail, is.Mail, want.Mail)
	exact(FieldFirst, is.First, want.First)
	exact(FieldLast, is.Last, want.Last)
	if !basicOnly {
		if is.Profile != want.Profile {
			from, to := profile(&is.Profile), profile(&want.Profile)
			for i := range profileFields {
				exact(profileFields[i].name, *from[i], *to[i])
			}
		}
		exact(FieldManager, is.Manager.ID, want.Manager.ID)
	}
	exact(FieldDN, is.ExternalDN, want.ExternalDN)
	if !is.PasswordExpires.Equal(want.PasswordExpires) { // within a second it may be the same yet
		exact(FieldExpires, stamp(is.PasswordExpires), stamp(want.PasswordExpires))
	}
	exact(FieldRestrict, is.Restricted, want.Restricted)
	exact(FieldDelegate, is.DelegatedTo, want.DelegatedTo)
	return append([]Field(nil), fields...)
}

// created lists the fields of a new user; empty ones are left out.
func created(want *identity.User, basicOnly bool) []Field {
	return diff(&identity.User{}, want, basicOnly)
}
