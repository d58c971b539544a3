package identity

import "slices"

// TranslationRule says how one attribute of an AD object comes from JumpCloud's
// user, or the other way round, as an administrator set it up in JumpCloud.
// JumpCloud adds values to its lists from time to time; one that is not among
// the constants is kept as it is, and such a rule is for nobody to carry out.
type TranslationRule struct {
	ID string `json:"id,omitempty"` // JumpCloud's objectId
	// Source is read as SourceType says.
	Source string `json:"source"`
	// Destination is the attribute that is written: AD's name of it for rules
	// of direction EXPORT, JumpCloud's for IMPORT.
	Destination string        `json:"destination"`
	SourceType  RuleSource    `json:"sourceType"`
	Direction   RuleDirection `json:"direction"`
	// AppliedOn are the occasions: to create the object, to update it. Sorted.
	AppliedOn []RuleOccasion `json:"appliedOn,omitempty"`
	// Required: an object without a value for the rule must not be written.
	Required bool `json:"required,omitempty"`
	// Default: JumpCloud made the rule itself.
	Default bool `json:"default,omitempty"`
}

// Applies reports whether a rule is for an occasion.
func (r *TranslationRule) Applies(on RuleOccasion) bool { return slices.Contains(r.AppliedOn, on) }

// RuleSource is how a rule's Source is read.
type RuleSource string

const (
	RulePath     RuleSource = "PATH"            // the name of a field
	RuleExpr     RuleSource = "EXPR"            // an expression
	RuleConstant RuleSource = "CONSTANT"        // the value itself
	RuleTemplate RuleSource = "GOLANG_TEMPLATE" // a template of Go's text/template
)

// RuleDirection is the way a rule's value travels.
type RuleDirection string

const (
	RuleExport RuleDirection = "EXPORT" // JumpCloud -> AD
	RuleImport RuleDirection = "IMPORT" // AD -> JumpCloud
)

// RuleOccasion is when a rule is applied.
type RuleOccasion string

const (
	RuleOnCreate RuleOccasion = "CREATE"
	RuleOnUpdate RuleOccasion = "UPDATE"
)

// ExportAttributes are the attributes of AD users that sync may write. Names of
// accounts, groups, passwords and whatever decides on rights or on how somebody
// logs on are not among them: who may edit a translation rule at JumpCloud must
// not become an administrator of the domain by it.
func ExportAttributes() []string {
	return []string{"givenName", "sn", "initials", "displayName", "mail", "userPrincipalName", "description", "info",
		"title", "department", "division", "company", "manager", "physicalDeliveryOfficeName", "roomNumber",
		"employeeID", "employeeNumber", "employeeType", "preferredLanguage",
		"telephoneNumber", "otherTelephone", "mobile", "otherMobile", "homePhone", "pager", "facsimileTelephoneNumber", "ipPhone",
		"streetAddress", "street", "l", "st", "postalCode", "co", "c", "countryCode", "postOfficeBox", "wWWHomePage", "url",
		"extensionAttribute1", "extensionAttribute2", "extensionAttribute3", "extensionAttribute4", "extensionAttribute5",
		"extensionAttribute6", "extensionAttribute7", "extensionAttribute8", "extensionAttribute9", "extensionAttribute10",
		"extensionAttribute11", "extensionAttribute12", "extensionAttribute13", "extensionAttribute14", "extensionAttribute15"}
}
