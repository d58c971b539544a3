// Package store keeps what dirgate must not forget: the change log, sealed
// passwords, links between accounts, the mirror of the directory, cursors and domain registrations, in one
// Badger database.
//
// # The change log
//
// A [Record] is appended for everything that happens to a change: the intent
// before the request is sent, the answer, every attempt to apply it, the end.
// Records are numbered from 1 without gaps and never altered. A change is
// known by the number of its intent; its present state, an [identity.Entry],
// is the sum of its records and is written in the same transaction as each of
// them. The rules are one pure function, next in state.go.
//
// One goroutine appends. It takes all requests that have gathered while it
// was writing into the next transaction, so they share one sync. The other
// way, a transaction for each caller and Badger's own sequence, can commit in
// another order than the numbers tell, and a reader that has stepped over a
// number would never see it.
//
// Passwords are sealed (package secret) under a key of their own, bound to
// number, direction, domain and account, so that one can be deleted without
// touching the log and none opens in the place of another. They are deleted
// in the transaction that ends their use: applied, refused, superseded or
// discarded.
//
// # Import and sync
//
// A change of state, [identity.UserChange] or [identity.GroupChange], says that
// an object is not what it was, and no more. [Store.AppendImport] records
// those of AD, pending at once, together with the mirror of the directory and the
// reader's cursor that it comes from; [Store.AppendSync] those of JumpCloud,
// with its reader's cursor. A change of direction import is known by the
// objectGUID, one of direction sync by JumpCloud's id
// ([identity.Change.CloudID]), because the AD account may not exist yet; once
// it does, [Store.IdentifyAccount] says so. Of each account, and of each
// JumpCloud user or group, the newest accepted
// password and the newest change of state are kept open, and neither ends the
// other. A change of state can be held until a person approves it
// ([Store.Hold]); it blocks nobody.
//
// A password is learnt on either side: [Store.AppendIntent] and [Store.Settle]
// record a change that somebody makes, [Store.AppendProven] what a bind
// proved. Of an AD account and a JumpCloud user that are linked, only the
// newest accepted password of both directions is kept open (twins.go), unless
// its direction is not replicated. The link says which password both sides
// last had, so one that was written to a side is not learnt from it again. A
// write that is under way while a newer password of the other direction is
// accepted can still land after it: [Store.MarkApplied] leaves such a change
// superseded and says when it landed ([RecordLanded]), and who applies the newer
// one, and finds that among the pair's [Store.Passwords], gives it to both sides.
//
// # A log that cannot lie
//
// Badger cuts its log off at the first bad byte and says nothing, and a table
// that cannot be read looks like one without the key. So the store keeps its
// own account of itself, authenticated with a key that is derived from the
// master key ([secret.LogKey]):
//
//   - Each record of the log carries the tag of the record before it and its
//     own (HMAC-SHA256, chain.go). An intent names the sealed password that
//     belongs to it: to seal another takes the public key alone.
//   - Everything else is counted and summed by kind: a keyed sum modulo 2^256
//     that a write brings up to date, whatever the number of keys.
//   - The head, written in every transaction, holds end of the log, counts,
//     sums and the number of the transaction.
//   - The mark, a file beside the database, holds that number and the tag of
//     the head. It is synced after the transaction and before anyone is told
//     (mark.go). A database that lost its end, or is an older copy, is behind
//     the mark.
//
// [Open] checks all of it: 40,000 records and 20,000 values in 0.9 s on a loaded
// machine of 2 cores. A store that is not what was written opens for
// reading, so that binds are served, and refuses every write with what is
// wrong and the way back: a backup ([Restore]), or [Store.AcceptLoss].
// Registrations, which say where binds and passwords are sent, are kept a
// second time in an authenticated file (kept.go); in a damaged store they are
// read there, unless the database's are what was written. [Store.Verify] checks again at any time, and replays the log as well.
//
// An older copy of the database and of the mark together cannot be told from
// the present: what lies on another machine would have to tell, and package
// replicate asks AD when the password was last set. A restored
// store, and one whose loss was accepted, hold back what was pending: a newer
// password may have been set since, and only a person can tell.
//
// Retention ([Store.Prune]) removes the oldest records; the head keeps number
// and tag of the last one that is gone, so the rest is a chain from a known
// point.
//
// # Keys
//
// Sealing keys come in epochs (package secret). [Store.RotateKeys] begins one
// and seals credentials again; when nothing on disk is sealed to an older one
// any more, its private key is destroyed, and what was sealed to it is beyond
// the reach of who has Badger's old files and the master key. A backup made
// before has the key in it, wrapped: see [Store.Backup].
//
// # Guarantees
//
// When a method that writes has returned nil, what it wrote is on disk:
// SyncWrites is on (msync of the write-ahead log), the directory is synced
// too, for Badger does not do that when it makes a new log file, and then the
// mark. That is the cost of an append: 1.4 to 1.6 ms with one writer, of which
// the mark is 0.8; 0.18 to 0.20 ms each with 32, who share the syncs by 16, and
// with whom the mark costs too little to be measured (BenchmarkAppendIntent, 2
// cores, ext4 on a virtual disk). When it returns the error
// of its context, nothing was written. After a kill or a power cut the store
// holds every acknowledged write, and of others all or nothing.
//
// When a write to disk fails, the call returns an error that wraps
// [ErrFailed], so do all later ones, and [Store.Run] ends with it: after a
// failed sync nobody knows what the disk holds, and only opening the store
// again tells.
//
// # Not guaranteed
//
// Deleted data stays in Badger's files until compaction rewrites them. The lock
// on the directory is one of this host: a directory on shared storage is not
// protected from another host. When Badger cannot open a file of its own, such
// as its MANIFEST, registrations are all that is left to read, and the way back
// is a backup. A bad byte in its write-ahead log makes Badger cut off all that
// follows, at most 16 MiB: that is found out, and gone. A full disk can end the
// process with SIGBUS, because Badger writes to mapped files; nothing
// acknowledged is lost by it. New changes are refused ([ErrFull]) while less
// than 64 MiB are free, so that it does not come to that unless others fill the
// disk; with less than 16 MiB the database is not opened, and registrations are
// read from their copy.
package store
