// Package plan decides what replication does, as pure functions of what is
// known about both sides. It has no I/O, clock, context or logger, so every
// decision can be tested, replayed and explained.
//
// [Password] decides about one captured password, [Settle] and
// [SettleCloud] about an intent whose answer nobody saw. The caller gathers a [PasswordCase] or an
// [Evidence], carries out the [Decision] or [Settlement] and records its
// Reason, which is written for the administrator who reads `user show` or the
// change log: where a person must act it says how.
//
// Active Directory has several domain controllers, which learn from one
// another with a delay, and rights that are lost by mistake look like accounts
// that are not there. So nothing is destroyed because one look did not find
// it: an accepted password waits until the same answer has come for
// [DoubtLimit], and an outcome stays unknown until what was seen cannot be a
// matter of delay.
//
// # Users and groups
//
// [Import] plans what JumpCloud is to have of AD, [Sync] what AD is to have of
// JumpCloud, and [Both] the two one after the other, from one [World]. [User],
// [Group], [SyncUser] and [SyncGroup] are the rules about one object; the rest
// gathers what they need, and does in mind what they decide, so that later steps
// see it. Nothing here is ever deleted in AD.
//
// Who wins, per field and use case; "both" means that the side with the edit
// wins, and names who does when both sides have one:
//
//	field                            ad      two-way                        jumpcloud
//	first and last name              AD      both: AD; an empty one loses   JumpCloud
//	username                         AD      AD; sAMAccountName is          each its own
//	                                         never changed
//	mail                             AD      both: AD (*)                   each its own (*)
//	further attributes, manager      AD      both: AD (*)                   each its own (*)
//	attribute with a translation     AD      both: AD                       JumpCloud
//	  rule from its own field
//	attribute with another rule      -       JumpCloud                      JumpCloud
//	disabled, suspended              AD      either side disables; only     JumpCloud disables,
//	                                         that side enables again        and lifts only that
//	group name                       AD      both: AD                       JumpCloud
//	membership of imported users     AD      per member, additions and      JumpCloud
//	                                         removals of both are merged
//	membership in a group with a     AD      JumpCloud                      JumpCloud
//	  rule at JumpCloud
//	members of one side alone        stay    stay                           stay
//	dirgate's service accounts       -       -                              -
//	user deleted at JumpCloud        made    account disabled, let go       account disabled,
//	                                 anew                                   let go
//	account deleted in AD            dissociation action                    made anew
//	unbound in JumpCloud             bound   rests (**)                     let go
//	                                 again
//	group deleted at JumpCloud       made    rests (**)                     let go
//	                                 anew
//	group deleted in AD              deleted, if the import made it, else   made anew
//	                                 unbound
//
//	(*)  Without a translation rule an edit made at JumpCloud stays there, until
//	     the attribute is edited in AD.
//	(**) Neither side is written, and the pair is kept, until it is bound again
//	     or AD's object leaves the scope. What sync paired outside the scope
//	     group is let go. A member of a bound group is bound, whatever is said
//	     of the user: and the import binds the groups that it makes.
//
// An account that was let go stays as it is. One that sync disabled for a user
// who was deleted gets a user again when somebody enables it in AD and it is in
// the import's scope.
//
// # What a caller keeps
//
// What both sides last agreed on is kept in the links, by pure functions:
//
//   - Before a verdict's actions, but after its Link or LinkGroup, if it has
//     one: [Agree] or [AgreeGroup], when Verdict.Agreed is set. This is so too
//     for verdicts without actions.
//   - After each action that succeeded: [Applied] or [AppliedGroup]. For Suspend
//     and ADDisable before it is sent.
//   - An action whose outcome is unknown is not noted; the next plan finds out.
//   - New links: of ADCreateUser and ADCreateGroup with MadeInAD and BySync, of
//     Link and LinkGroup in direction sync with BySync, and Applied to them.
//
// A pair that sync made is in scope without being in the scope group: use
// [World.Scope], which knows the pairs, not [NewScope].
package plan
