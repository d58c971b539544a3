// Package reconcile keeps users and groups of one Active Directory domain and of
// JumpCloud the same, in the directions that the domain's use case has: import,
// from AD to JumpCloud, and sync, from JumpCloud to AD.
//
// A [Reconciler] repeats two steps. [Reconciler.Cycle] reads what has changed on
// both sides, plans each direction over what is known of both, and records in one
// transaction the mirror of AD, the reader's cursor, and a change for every user
// and group that the other side does not have as it should be (rule L1): of import
// for an AD account or group, of sync for a JumpCloud user or group.
// [Reconciler.Apply] takes the recorded changes that are due, looks at JumpCloud
// again, plans again and does what the plan says. Between the two a change waits
// in the log: it can be held by a guard, approved, retried and discarded there,
// and a process that dies in between goes on where it was.
//
// JumpCloud's state is that of a [jumpcloud.Watcher] with what was done since on
// top: the watcher reads that too, and when it has, its state is taken as it is.
// What was written to AD is put into the mirror at once, as it was read back, so
// that neither direction plans the same again before the reader of AD tells of
// it. What both sides agree on is kept in the links, by package plan's functions.
//
// What is to be done is decided by package plan, which is pure; the plan of a
// change that is applied is made of what both sides say then, so a change that
// was recorded twice, or is out of date, does no harm.
//
// # Nothing is lost by mistake (rule I8)
//
// Reads that are not complete are errors and remove nothing. What a complete
// read does not have any more counts as deleted only when it is not found by
// its objectGUID either; an account that sync has made within the hour does not,
// since the controller that is read need not have it yet. Where the import
// account may see deleted objects and there is none of it, it is only out of
// sight, and a person decides. Before an account's
// user is deleted, unbound or suspended the account is read once more, and must be
// as the mirror says. Before an account is disabled in AD, or a member taken out
// of a group there, the user or the group is read from JumpCloud by its id: a
// deleted user must not be found, nor by its names, a suspended one be suspended, a removed member
// be none of a group that is still bound. In AD nothing is ever deleted.
// When a plan would take more from people than the limits allow, every change
// that takes something is held, not only those of the class that is over its
// limit: they have one cause. What a person rejected is held again whenever it
// is wanted again, and what waits for a decision goes on waiting when it is
// edited. The same limits count what is done within an
// hour. Each direction has its own.
//
// A write to AD whose answer is lost is tried again by a call that reads first.
//
// # Running
//
// A [Supervisor] runs one for every registered domain and follows the
// registrations. [Reconciler.Run] makes a pass, a cycle and what follows from
// it, when AD tells of a change, when one of the log is due, when somebody asks
// for it ([Reconciler.Pass]), and every Config.Interval; where it syncs also every
// Config.SyncInterval. Where there are two directions each applies for two
// seconds and then lets the other. While a person has paused a direction
// ([store.Store.SetPaused]) its changes are recorded and none is applied.
// [Reconciler.Status] says where each stands.
//
// # Costs
//
// A cycle without changes does nothing for each user: it asks AD once, and
// JumpCloud as often as [jumpcloud.Watcher] says, or not at all where nothing
// is synced: there its users are listed once at the start and once in every
// Config.FullEvery. A cycle with changes plans over the whole domain, in
// memory. A user that is worked on is read again by its id, or looked for by
// username and mail address, unless there are more than a hundred and
// everything was read within five minutes.
package reconcile
