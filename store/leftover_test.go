package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// TestL3_KilledWhileAFileIsMade: the process was killed after Badger had made
// a file, before it gave the file a size or before it wrote anything to it.
func TestL3_KilledWhileAFileIsMade(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"00099.mem", "000099.sst", "000099.vlog"} {
		for kind, content := range map[string][]byte{
			"no bytes": nil, "one page of zeroes": make([]byte, 4096), "one byte": {0},
		} {
			if filepath.Ext(name) == ".mem" && len(content) == 1 {
				continue // it gets its size at once
			}
			t.Run(name+" of "+kind, func(t *testing.T) {
				f := newStore(t)
				seq := f.pend(t, 1, "Acknowledged-1")
				ok(t, f.Close()) // makes a table
				ok(t, os.WriteFile(filepath.Join(f.dir, name), content, 0o600))
				f.reopen(t)
				if _, err := f.Entry(seq); err != nil {
					t.Error("what was acknowledged is lost:", err)
				}
				if report, err := f.Verify(); err != nil || len(report.Findings) > 0 {
					t.Errorf("got %+v, %v, want a sound store", report, err)
				}
			})
		}
	}
}

// TestL3_NoManifest: Badger removes the tables that its manifest does not
// name, and makes a new one where none is.
func TestL3_NoManifest(t *testing.T) {
	f := newStore(t)
	f.pend(t, 1, "Acknowledged-1")
	ok(t, f.Close())
	f.Store = nil
	before := glob(t, f.dir+"/*.sst")
	ok(t, os.Remove(filepath.Join(f.dir, badger.ManifestFilename)))
	s, err := Open(f.options())
	if err == nil {
		_ = s.Close()
	}
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want that the store is damaged", err)
	}
	if after := glob(t, f.dir+"/*.sst"); len(before) == 0 || len(after) != len(before) {
		t.Errorf("%d tables of %d are left", len(after), len(before))
	}
}
