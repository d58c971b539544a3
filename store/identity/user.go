package identity

import "time"

// User is an account as one side shows it: the attributes that both sides
// have, under one name each.
type User struct {
	Side     Side   `json:"side"`
	GUID     GUID   `json:"guid,omitzero"`   // AD: objectGUID
	ID       string `json:"id,omitempty"`    // JumpCloud: system user id
	DN       string `json:"dn,omitempty"`    // AD: distinguishedName
	Username string `json:"username"`        // AD: sAMAccountName
	UPN      string `json:"upn,omitempty"`   // AD: userPrincipalName
	Mail     string `json:"mail,omitempty"`  // JumpCloud: email
	First    string `json:"first,omitempty"` // givenName / firstname
	Last     string `json:"last,omitempty"`  // sn / lastname
	// Disabled is ACCOUNTDISABLE of userAccountControl, or JumpCloud's
	// suspended state.
	Disabled bool `json:"disabled"`
	// Privileged is adminCount=1: an account that AdminSDHolder protects and
	// that is never replicated in either direction.
	Privileged bool `json:"privileged,omitempty"`
	// Computer marks an AD account that is no person's: a computer, a managed
	// service account (a subclass of computer) or a trust.
	Computer bool `json:"computer,omitempty"`
	// InScope says whether an AD account is below the domain's root container
	// and a (nested) member of its scope group, as far as the domain has these.
	InScope bool `json:"inScope"`
	// InRoot says whether an AD account is below the domain's root container;
	// the readers that follow all changes set it instead of InScope.
	InRoot bool `json:"inRoot,omitempty"`
	// DC is the domain controller that said all this, as it is named in logs.
	DC string `json:"dc,omitempty"`
	// PwdLastSet is AD's pwdLastSet (100 ns since 1601 UTC; 0: must change).
	PwdLastSet int64 `json:"pwdLastSet,omitempty"`
	// MustChange: AD says that pwdLastSet is 0. One that could not be read is
	// 0 in PwdLastSet too, but says nothing.
	MustChange bool `json:"mustChange,omitempty"`
	// PasswordDate is JumpCloud's password_date as it was answered.
	PasswordDate string `json:"passwordDate,omitempty"`
	State        string `json:"state,omitempty"` // JumpCloud: STAGED, ACTIVATED, SUSPENDED

	// Profile is what people and applications read about the account.
	Profile Profile `json:"profile,omitzero"`
	// Manager is the account that the entry names as its manager; the zero
	// Ref when there is none, or it cannot be read.
	Manager Ref `json:"manager,omitzero"`
	// AccountExpires is AD's accountExpires; zero: never.
	AccountExpires time.Time `json:"accountExpires,omitzero"`
	// PasswordExpires is AD's msDS-UserPasswordExpiryTimeComputed, or
	// JumpCloud's external_password_expiration_date; zero: never, or unknown.
	PasswordExpires time.Time `json:"passwordExpires,omitzero"`

	// JumpCloud only.

	// ExternalDN is external_dn: the DN of the account that the user was
	// imported from.
	ExternalDN string `json:"externalDN,omitempty"`
	// Restricted are the fields that only the AD object AuthorityID may write,
	// sorted, with a space between two (restrictedFields).
	Restricted string `json:"restricted,omitempty"`
	// DelegatedTo is the AD object that checks the user's password; empty:
	// JumpCloud does (delegatedAuthority).
	DelegatedTo string `json:"delegatedTo,omitempty"`
	// Activated: the user has a password at JumpCloud.
	Activated bool `json:"activated,omitempty"`
	// Sudo: administrator on the devices that the user is bound to.
	Sudo bool `json:"sudo,omitempty"`
}

// Ref names an account of either side.
type Ref struct {
	GUID GUID   `json:"guid,omitzero"` // AD
	ID   string `json:"id,omitempty"`  // JumpCloud
}

// Profile is the part of an account that says who somebody is. Every field
// has the name of JumpCloud's field; the comment names AD's attribute.
type Profile struct {
	DisplayName  string  `json:"displayname,omitempty"`  // displayName
	Description  string  `json:"description,omitempty"`  // description
	JobTitle     string  `json:"jobTitle,omitempty"`     // title
	Department   string  `json:"department,omitempty"`   // department
	Company      string  `json:"company,omitempty"`      // company
	Location     string  `json:"location,omitempty"`     // physicalDeliveryOfficeName
	EmployeeType string  `json:"employeeType,omitempty"` // employeeType
	WorkPhone    string  `json:"work,omitempty"`         // telephoneNumber
	MobilePhone  string  `json:"mobile,omitempty"`       // mobile
	HomePhone    string  `json:"home,omitempty"`         // homePhone
	WorkFax      string  `json:"work_fax,omitempty"`     // facsimileTelephoneNumber
	Address      Address `json:"address,omitzero"`       // of work
}

// Address is a postal address; the comments name AD's attributes.
type Address struct {
	Street     string `json:"streetAddress,omitempty"` // streetAddress
	Locality   string `json:"locality,omitempty"`      // l
	Region     string `json:"region,omitempty"`        // st
	PostalCode string `json:"postalCode,omitempty"`    // postalCode
	Country    string `json:"country,omitempty"`       // co, else c
	POBox      string `json:"poBox,omitempty"`         // postOfficeBox, the first
}

// JoinMail is the address by which an AD account is paired: mail, or the UPN
// when it has none.
func (u User) JoinMail() string {
	if u.Mail != "" {
		return u.Mail
	}
	return u.UPN
}
