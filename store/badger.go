package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"golang.org/x/sys/unix"
)

// Badger maps its files at full size and lets them be sparse: the defaults
// show 2 GiB of value log and 128 MiB of write-ahead log for an empty
// database, which alarms people, breaks copies that are not sparse, and hides
// what is really used. A change costs about a kilobyte, so an 8 MiB memtable
// (write-ahead log: twice that) holds thousands of them.
const (
	memTableSize     = 8 << 20
	valueLogFileSize = 16 << 20
	blockCacheSize   = 4 << 20
)

func badgerOptions(o Options) badger.Options {
	b := badger.DefaultOptions(o.Dir).
		WithInMemory(o.InMemory).
		// Without this a commit survives the process and not the power.
		WithSyncWrites(true).
		// One appender writes, so transactions never conflict.
		WithDetectConflicts(false).
		WithNumVersionsToKeep(1).
		WithMetricsEnabled(false).
		WithMemTableSize(memTableSize).
		WithNumMemtables(2).
		WithValueLogFileSize(valueLogFileSize).
		// Sealed values do not compress, and the rest is small.
		WithCompression(options.None).
		WithBlockCacheSize(blockCacheSize).
		WithNumCompactors(2).
		// Checked when they are opened, Badger leaves a table with one bad
		// byte out whole; block by block more of it can be read.
		WithChecksumVerificationMode(options.OnBlockRead).
		WithLogger(badgerLog{o.Log})
	return b
}

// openBadger takes Badger's panics on files that it cannot read for errors.
func openBadger(o badger.Options) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("database: %v", p)
		}
		if err != nil {
			db = nil // one that is half open cannot be closed
		}
		if err != nil && !bySystem(err) {
			err = fmt.Errorf("%w: %w", err, ErrCorrupt)
		}
	}()
	if !o.InMemory {
		if err := checkTables(o); err != nil {
			return nil, err
		}
	}
	return badger.Open(o)
}

// bySystem tells what the machine lacks from what is wrong with the files. Of
// many errors Badger passes on the text alone.
func bySystem(err error) bool {
	if _, system := errors.AsType[syscall.Errno](err); system {
		return true
	}
	text := err.Error()
	return slices.ContainsFunc([]syscall.Errno{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EACCES, unix.EPERM, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EIO, unix.EAGAIN},
		func(e syscall.Errno) bool { return strings.Contains(text, e.Error()) })
}

// badgerLog passes on Badger's messages: its errors and warnings as warnings,
// the rest for debugging. What fails is returned as an error besides.
type badgerLog struct{ log *slog.Logger }

func (b badgerLog) Errorf(format string, args ...any)   { b.warn(format, args) }
func (b badgerLog) Warningf(format string, args ...any) { b.warn(format, args) }
func (b badgerLog) Infof(format string, args ...any)    { b.debug(format, args) }
func (b badgerLog) Debugf(format string, args ...any)   { b.debug(format, args) }

func (b badgerLog) warn(format string, args []any) {
	b.log.Warn("database", "detail", strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (b badgerLog) debug(format string, args []any) {
	b.log.Debug("database", "detail", strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// commitAndSync commits. Badger has synced its write-ahead log when Commit
// returns, but not the directory in which it may just have made that file.
func (s *Store) commitAndSync(txn *badger.Txn) error {
	if err := txn.Commit(); err != nil {
		return err
	}
	if s.dir == nil {
		return nil
	}
	return s.dir.Sync()
}

// lockFile opens and locks path, or returns an error that wraps ErrLocked and
// names the process that has it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0)
		return nil, fmt.Errorf("%w (pid %s)", ErrLocked, strings.TrimSpace(string(holder[:n])))
	}
	// Always as long, so that it needs no room on a full disk.
	if _, err := f.WriteAt(fmt.Appendf(nil, "%-19d\n", os.Getpid()), 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
