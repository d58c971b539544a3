package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestSessionsFor(t *testing.T) {
	for files, want := range map[uint64]int{
		0: 1, 64: 16, 1024: 256, 4096: 1792, 20_512: 10_000, 524_288: 261_888, ^uint64(0): 1<<29 - 256,
	} {
		if got := sessionsFor(files); got != want {
			t.Errorf("%d files: %d sessions, want %d", files, got, want)
		}
	}
}

// TestG8_OpenFiles: no more clients are let in than there can be open files
// for, at the start and after a reload, and the log says so.
func TestG8_OpenFiles(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	low := unix.Rlimit{Cur: 300, Max: before.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	})
	d, log := newTestDaemon(t, newInstallation(t))
	const said = "gateway.max_connections is more than the limit of open files allows"
	if n := log.count(said); n != 1 {
		t.Errorf("logged %d times at the start, want once", n)
	}
	if got := d.limits(d.cfg).MaxConnections; got != 75 {
		t.Errorf("%d sessions with 300 files, want 75", got)
	}
	newSettings(d).reload()
	if n := log.count(said); n != 3 {
		t.Errorf("logged %d times after a reload, want once more", n)
	}
	small := *d.cfg
	small.Gateway.MaxConnections, small.Gateway.MaxConnectionsPerIP = 70, 60
	if got := d.limits(&small); got.MaxConnections != 70 || got.MaxPerAddress != 60 {
		t.Errorf("%+v, want what is configured: there are files for it", got)
	}
}
