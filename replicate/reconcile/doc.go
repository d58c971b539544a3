// Package reconcile carries users and groups of one Active Directory domain to
// JumpCloud.
//
// An [Reconciler] repeats two steps. [Reconciler.Cycle] reads what has changed in
// AD, plans over what is known of both sides, and records in one transaction
// the mirror of AD, the reader's cursor, and a change for every user and group
// that JumpCloud does not have as it should be (rule L1). [Reconciler.Apply]
// takes the recorded changes that are due, looks at JumpCloud again, plans
// again and does what the plan says. Between the two a change waits in the
// log: it can be held by a guard, approved, retried and discarded there, and a
// process that dies in between goes on where it was.
//
// What is to be done is decided by package plan, which is pure; the plan of a
// change that is applied is made of what both sides say then, so a change that
// was recorded twice, or is out of date, does no harm.
//
// # Nothing is lost by mistake (rule I8)
//
// Reads that are not complete are errors and remove nothing. What a complete
// read does not have any more counts as deleted only when it is not found by
// its objectGUID either. Before an account's user is deleted, unbound or
// suspended the account is read once more, and must be as the mirror says.
// When a plan would take more from people than the limits allow, every change
// that takes something is held, not only those of the class that is over its
// limit: they have one cause. The same limits count what is done within an
// hour.
//
// # Running
//
// A [Supervisor] runs one for every registered domain and follows the
// registrations. [Reconciler.Run] makes a pass, a cycle and what follows from
// it, when AD tells of a change, when one of the log is due, when somebody asks
// for it ([Reconciler.Pass]), and every Config.Interval. While a person has
// paused the direction ([store.Store.SetPaused]) changes are recorded and none
// is applied. [Reconciler.Status] says where it stands.
//
// # Costs
//
// A cycle without changes asks AD once and JumpCloud not at all. One with
// changes plans over the whole domain, in memory. JumpCloud's users are listed
// once at the start and once in every Config.FullEvery; a user that is worked
// on is read again by its id, or looked for by username and mail address.
package reconcile
