package store

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// checkTables looks at the end of every table of a Badger database. Badger
// reads the sizes there without checking them, in a goroutine whose panic ends
// the process; what the sizes enclose has a checksum that it does check.
func checkTables(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := checkTable(path); err != nil {
			return fmt.Errorf("table %s: %w", path, err)
		}
	}
	return nil
}

// checkTable: a table ends in its index, the index's size in 4 bytes, its
// checksum, and the checksum's size in 4 bytes.
func checkTable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	for _, part := range []string{"checksum", "index"} {
		var size [4]byte
		if end < int64(len(size)) {
			return fmt.Errorf("too short: %w", ErrCorrupt)
		}
		if _, err := f.ReadAt(size[:], end-int64(len(size))); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint32(size[:]))
		if end -= int64(len(size)) + n; end < 0 {
			return fmt.Errorf("the size of its %s is wrong (%d bytes): %w", part, n, ErrCorrupt)
		}
	}
	return nil
}
