package delegate

import "github.com/dirgate/dirgate/store/identity"

// Delegation is a domain's switch for password checks by AD (JumpCloud's
// delegationState).
type Delegation string

const (
	DelegationEnabled  Delegation = "ENABLED"
	DelegationWaiting  Delegation = "PENDING"
	DelegationDisabled Delegation = "DISABLED"
)

// Facts are what Decide looks at.
type Facts struct {
	InAD       bool // there is an account in AD
	InCloud    bool // there is a user in JumpCloud, linked with it if there are both
	UseCase    identity.UseCase
	Delegation Delegation
	// PasswordByAD: the user's Password Authority is AD (restrictedFields has
	// the password).
	PasswordByAD bool
	// DelegatedToAD: the user's Delegated Authority is AD
	// (delegatedAuthority).
	DelegatedToAD bool
	// Capture: passwords that AD accepts reach JumpCloud (import agent on all
	// controllers, in JumpCloud's terms; here: password-sync capture).
	Capture bool
}

// Decision says whose answer to a sign-in counts.
type Decision struct {
	Authority Authority // empty: nobody's
	Reason    Reason    // without an authority
}

// Decide is the authority table of rule D1. "any" stands for every value.
//
//	delegated to  domain's     password   passwords   who decides
//	              delegation   authority  captured
//	AD            ENABLED      any        any         AD
//	AD            PENDING      any        any         nobody: delegation_pending
//	AD            DISABLED     AD         no          nobody: not_delegated
//	AD            DISABLED     AD         yes         JumpCloud, with the password it got from AD
//	AD            DISABLED     none       any         JumpCloud
//	none          any          AD         no          nobody: not_delegated
//	none          any          AD         yes         JumpCloud, with the password it got from AD
//	none          any          none       any         JumpCloud; AD with the use case ad
//
// A user of JumpCloud alone is JumpCloud's, and an account of AD without a
// user at JumpCloud is AD's, unless the use case makes JumpCloud the
// authority: then nobody has decided yet that it may sign in, and to the
// outside it does not exist.
//
// What JumpCloud decides it is asked about over its LDAP. Where a registration
// names none, nobody decides: no_jumpcloud_ldap.
//
// With the use case ad AD is every user's authority by definition: who has
// neither of the two is a user whom the import has not come to yet.
func Decide(f Facts) Decision {
	switch {
	case !f.InAD && !f.InCloud:
		return Decision{Reason: NoSuchUser}
	case !f.InCloud && f.UseCase == identity.UseJumpCloud:
		return Decision{Reason: NoSuchUser}
	case !f.InCloud:
		return Decision{Authority: ByAD}
	case !f.InAD:
		return Decision{Authority: ByJumpCloud}
	case f.DelegatedToAD && f.Delegation == DelegationEnabled:
		return Decision{Authority: ByAD}
	case f.DelegatedToAD && f.Delegation == DelegationWaiting:
		return Decision{Reason: DelegationPending}
	case f.PasswordByAD && !f.Capture:
		return Decision{Reason: NotDelegated}
	case !f.DelegatedToAD && !f.PasswordByAD && f.UseCase == identity.UseAD:
		return Decision{Authority: ByAD}
	}
	return Decision{Authority: ByJumpCloud}
}

// ChangedAt says where a user's password is changed: in AD where that takes
// part, unless JumpCloud checks the sign-ins and may set the password itself.
// AD's own accounts are changed in AD, JumpCloud's own users at JumpCloud, and
// with the use case jumpcloud everybody is: a password that is changed in AD does
// not reach JumpCloud there. That holds of users too whose sign-ins AD checks;
// AD, which then proves the old password, gets the new one by sync, and where
// that does not carry it (password-sync validate-only) it is not changed.
func ChangedAt(f Facts) Authority {
	switch {
	case !f.InAD, f.InCloud && !f.UseCase.Imports():
		return ByJumpCloud
	case Decide(f).Authority == ByJumpCloud && !f.PasswordByAD:
		return ByJumpCloud
	}
	return ByAD
}

// NextDelegation says which delegation state a domain should get at JumpCloud,
// if another than it has: PENDING waits for an import agent, and ends when our
// import runs and the use case has one. DISABLED is an administrator's choice
// and stays.
func NextDelegation(now Delegation, use identity.UseCase, importRuns bool) (next Delegation, move bool) {
	if now == DelegationWaiting && importRuns && use.Imports() {
		return DelegationEnabled, true
	}
	return now, false
}
