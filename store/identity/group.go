package identity

import "time"

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
	// Privileged: AD's group has adminCount=1, or is one that AD comes with
	// (such as Domain Users): sync never writes to it.
	Privileged bool `json:"privileged,omitempty"`
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

// GroupLink pairs an AD group with a JumpCloud user group, for good.
type GroupLink struct {
	Domain  string    `json:"domain"`
	GUID    GUID      `json:"guid"`
	GroupID string    `json:"groupId"` // JumpCloud's
	Name    string    `json:"name"`    // JumpCloud's at the join, for people
	At      time.Time `json:"at"`
	// Created: the import made the JumpCloud group, so it may delete it.
	Created bool `json:"created,omitempty"`
	// Agreed are the JumpCloud users that were members on both sides when the
	// two were last compared; sorted.
	Agreed []string `json:"agreed,omitempty"`
	// AgreedName is the name that both had then.
	AgreedName string `json:"agreedName,omitempty"`
	// MadeInAD: sync made the AD group.
	MadeInAD bool `json:"madeInAD,omitempty"`
	// BySync: sync made the pair, so the group is replicated without being in
	// the scope group.
	BySync bool `json:"bySync,omitempty"`
	// WasBound: the JumpCloud group was seen bound to the AD object.
	WasBound bool `json:"wasBound,omitempty"`
}
