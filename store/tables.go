package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// checkTables looks at the end of every table that belongs to a Badger
// database. Badger reads the sizes there without checking them, in a goroutine
// whose panic ends the process; what the sizes enclose has a checksum that it
// does check.
//
// The others, which the manifest does not name, Badger removes unread: they
// were being made when the process was killed, and what they were made from is
// still there.
func checkTables(o badger.Options) error {
	paths, err := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(o.Dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) && len(paths) == 0 {
		return nil // a new database
	}
	if errors.Is(err, fs.ErrNotExist) {
		// Badger would take every table for a left-over.
		return fmt.Errorf("%s is missing, and there are %d tables: %w", filepath.Join(o.Dir, badger.ManifestFilename), len(paths), ErrCorrupt)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, 0, o)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	for id := range manifest.Tables {
		path := filepath.Join(o.Dir, fmt.Sprintf("%06d.sst", id))
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
