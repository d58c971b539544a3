package admin

import (
	"fmt"

	"github.com/dirgate/dirgate/store/identity"
)

// UseCaseEffects says what a change of the use case comes to, a line each, in
// the order in which it is seen: at JumpCloud, for its users, and in AD. It is
// empty when nothing changes.
func UseCaseEffects(from, to identity.UseCase) []string {
	if from == to || from == "" {
		return nil
	}
	lines := []string{fmt.Sprintf("JumpCloud's AD object: useCase %s becomes %s", cloudUseCase(from), cloudUseCase(to))}
	if to == identity.UseAD {
		lines = append(lines, "JumpCloud's AD object: delegationState is set to ENABLED: AD can check passwords for JumpCloud")
	} else {
		lines = append(lines, "JumpCloud's AD object: delegationState is set to DISABLED: JumpCloud checks passwords itself; who never had one there must set one")
	}
	lines = append(lines, agentEffects("import agent", from.Imports(), to.Imports())...)
	lines = append(lines, agentEffects("sync agent", from.Syncs(), to.Syncs())...)
	switch {
	case to == identity.UseAD:
		lines = append(lines, "users at JumpCloud: what AD gives becomes read-only (restrictedFields), the password too; what was edited there is replaced by AD's",
			"users at JumpCloud: AD checks the passwords (delegatedAuthority), once JumpCloud says that delegation is enabled")
	case from == identity.UseAD:
		lines = append(lines, "users at JumpCloud: what AD gave can be edited (restrictedFields is emptied, delegatedAuthority too, except where `user set-authority` or `user set-delegation` says otherwise)")
	}
	switch {
	case !from.Syncs():
		lines = append(lines, "AD: users and groups that are bound to the AD object are made or taken over; names, suspensions, deletions (as disabling) and members are written")
	case !to.Syncs():
		lines = append(lines, "AD: nothing is written any more; what was made there stays")
	}
	switch {
	case !to.Imports():
		lines = append(lines, "JumpCloud: what changes of users and groups in AD is not carried there any more")
	case !from.Imports():
		lines = append(lines, "JumpCloud: what changes of users and groups in AD is carried there; accounts in scope that have no user there get one")
	}
	return append(lines, "every link is kept, and nobody is deleted on either side by the change")
}

func agentEffects(name string, before, after bool) []string {
	switch {
	case before == after:
		return nil
	case after:
		return []string{"JumpCloud's agents: the " + name + " is registered"}
	}
	return []string{"JumpCloud's agents: the " + name + " is removed"}
}

func cloudUseCase(u identity.UseCase) string {
	switch u {
	case identity.UseAD:
		return "ADASAUTHORITY"
	case identity.UseTwoWay:
		return "TWOWAYSYNC"
	}
	return "JCASAUTHORITY"
}
