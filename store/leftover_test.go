package store

import (
	"os"
	"path/filepath"
	"testing"
)

// TestL3_KilledWhileAFileIsMade: the process was killed after Badger had made
// a memtable's file and before it gave the file a size.
func TestL3_KilledWhileAFileIsMade(t *testing.T) {
	f := newStore(t)
	seq := f.pend(t, 1, "Acknowledged-1")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "00099.mem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.reopen(t)
	if _, err := f.Entry(seq); err != nil {
		t.Error("what was acknowledged is lost:", err)
	}
}
