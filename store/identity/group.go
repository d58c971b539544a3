package identity

// Group is a group as one side shows it, with its direct members.
type Group struct {
	Side        Side   `json:"side"`
	GUID        GUID   `json:"guid,omitzero"` // AD: objectGUID
	ID          string `json:"id,omitempty"`  // JumpCloud: user group id
	DN          string `json:"dn,omitempty"`  // AD: distinguishedName
	Name        string `json:"name"`          // AD: sAMAccountName
	Description string `json:"description,omitempty"`
	// Security: AD's groupType has the security bit; others are mailing lists,
	// which are not replicated.
	Security bool `json:"security,omitempty"`
	// InRoot: AD's group is below the domain's root container.
	InRoot bool `json:"inRoot,omitempty"`
	// Members are AD's direct members, users and groups, with those whose
	// primary group it is, which the member attribute does not name; sorted.
	Members []GUID `json:"members,omitempty"`
	// MemberIDs are JumpCloud's members: users only; sorted.
	MemberIDs []string `json:"memberIDs,omitempty"`
	// Dynamic: JumpCloud works the membership out itself by a rule
	// (membershipMethod DYNAMIC_*); nobody else may write it.
	Dynamic bool `json:"dynamic,omitempty"`
}
