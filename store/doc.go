// Package store keeps what dirgate must not forget: the change log, sealed
// passwords, links between accounts, cursors and domain registrations, in one
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
// # Guarantees
//
// When a method that writes has returned nil, what it wrote is on disk:
// SyncWrites is on (msync of the write-ahead log) and the directory is synced
// too, for Badger does not do that when it makes a new log file. That is the
// cost of an append: 0.8 ms with one writer, 0.17 to 0.23 ms each with 32,
// who share a sync by 15 (BenchmarkAppendIntent, 2 cores, ext4 on a virtual
// disk). When it returns the error
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
// Deleted data stays in Badger's files until compaction rewrites them; sealed
// secrets can be put beyond reach by destroying the private key of their
// epoch. The lock on the directory is one of this host: a directory on shared
// storage is not protected from another host. A full disk can end the process
// with SIGBUS, because Badger writes to mapped files; nothing acknowledged is
// lost by it. New changes are refused ([ErrFull]) while less than 64 MiB are
// free, so that it does not come to that unless others fill the disk.
package store
