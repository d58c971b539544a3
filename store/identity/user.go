package identity

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
}

// JoinMail is the address by which an AD account is paired: mail, or the UPN
// when it has none.
func (u User) JoinMail() string {
	if u.Mail != "" {
		return u.Mail
	}
	return u.UPN
}
