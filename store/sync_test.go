package store

import "github.com/dirgate/dirgate/store/identity"

// syncChange is a password change of a JumpCloud user.
func syncChange(id string) identity.Change {
	return identity.Change{
		Kind: identity.PasswordChange, Direction: identity.Sync, CloudID: id,
		Account: identity.Account{Domain: "corp.example"}, Actor: "portal",
	}
}
