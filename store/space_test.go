package store

import (
	"errors"
	"strings"
	"testing"
)

// TestL3_Room: the limit is where it is said to be.
func TestL3_Room(t *testing.T) {
	const block = 4096
	for free, ok := range map[uint64]bool{0: false, reserve/block - 1: false, reserve / block: true, 1 << 40: true} {
		err := enough(free, block, "/var/lib/dirgate")
		if (err == nil) != ok || (err != nil && !(errors.Is(err, ErrFull) && strings.Contains(err.Error(), "/var/lib/dirgate"))) {
			t.Errorf("%d blocks free: got %v, want room: %t", free, err, ok)
		}
	}
	f := newStore(t)
	if err := f.Room(); err != nil {
		t.Error("on this machine:", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Room(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: got %v, want ErrClosed", err)
	}
}
