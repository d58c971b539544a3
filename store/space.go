package store

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrFull: there is not enough room on the disk for another change. Nothing
// was written, and the store works: what it holds already can still be
// settled and applied, and there is room again as soon as some is made.
var ErrFull = errors.New("not enough room on the disk")

// reserve is how much must be free, in bytes, for a new change to be
// recorded. Badger writes to mapped, sparse files, and one page that finds no
// room ends the process with SIGBUS. So new changes are refused while there is
// room for all that older ones may still need: a memtable's file, one of the
// value log, and the tables that both are rewritten to.
const reserve = 2*memTableSize + 2*valueLogFileSize + 2*memTableSize

// Room says why no new change can be recorded, with an error that wraps
// [ErrFull]; nil: there is room.
func (s *Store) Room() error {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return ErrClosed
	}
	return s.room()
}

// room is Room for those who know that the store is open.
func (s *Store) room() error {
	if s.dir == nil {
		return nil
	}
	free, err := s.free(s.dir)
	if err != nil {
		return err
	}
	return enough(free, reserve, s.dir.Name(), "a change")
}

// toOpen is how much must be free, in bytes, for Badger to be opened: it maps
// a new memtable's file, and on some file systems a page that is only read
// needs room too.
const toOpen = 2 * memTableSize

// roomToOpen says why Badger is not to be opened now.
func (s *Store) roomToOpen() error {
	if s.dir == nil {
		return nil
	}
	free, err := s.free(s.dir)
	if err != nil {
		return err
	}
	return enough(free, toOpen, s.dir.Name(), "opening the store")
}

// freeOn measures the room on the disk of a directory, in bytes.
func freeOn(dir *os.File) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil {
		return 0, fmt.Errorf("measure the room on the disk: %w", err)
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

func enough(free, need uint64, dir, what string) error {
	if free < need {
		return fmt.Errorf("%w: %s has %d MiB free, and %s needs %d MiB: free some", ErrFull, dir, free>>20, what, need>>20)
	}
	return nil
}
