package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/store"
	"golang.org/x/sys/unix"
)

// claimFile is locked by the daemon that has a data folder, or is about to have
// it. The store has a lock of its own, which a command without a daemon holds
// for a moment too. This one tells the two apart: a second daemon is refused at
// once, and commands leave the store to a daemon that starts.
const claimFile = "daemon.lock"

// lockPatience is how long a daemon waits for a command that has the store, and
// a command for a daemon that starts or ends, or for another command.
const lockPatience = 15 * time.Second

// claim takes a data folder for a daemon, until the file is closed.
func claim(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, claimFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	// Of the open file, not of the process: it can be asked about without being
	// taken, even for a moment (fcntl(2), F_OFD_GETLK).
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart})
	if err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("data_dir: lock %s: %w", f.Name(), err)
		}
		return nil, fmt.Errorf("another daemon (pid %s) has the data folder %s: stop it first, or give this one another data_dir", pidIn(f), dir)
	}
	// For messages alone, so a full disk is no reason not to start.
	_, _ = f.WriteAt(fmt.Appendf(nil, "%-19d\n", os.Getpid()), 0)
	return f, nil
}

// claimed names the process that has claimed a data folder; empty: none has.
func claimed(dir string) (pid string, err error) {
	f, err := os.Open(filepath.Join(dir, claimFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("data_dir: %w", err)
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return "", fmt.Errorf("data_dir: lock of %s: %w", f.Name(), err)
	}
	if lock.Type == unix.F_UNLCK {
		return "", nil
	}
	return pidIn(f), nil
}

// pidIn reads what claim has written.
func pidIn(f *os.File) string {
	text := make([]byte, 20)
	n, _ := f.ReadAt(text, 0)
	if pid := strings.TrimSpace(string(text[:n])); pid != "" {
		return pid
	}
	return "unknown"
}

// claimStore claims the data folder, and opens the store, for which it waits
// while a command has it.
func claimStore(ctx context.Context, cfg *config.Config, log *slog.Logger, patience time.Duration) (*opened, error) {
	if err := rightUser(cfg.DataDir, os.Geteuid()); err != nil {
		return nil, err
	}
	file, err := claim(cfg.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return openStore(cfg, log) // says what is missing
	}
	if err != nil {
		return nil, err
	}
	w := waiting{patience: patience, tell: func(cause error) {
		log.Warn("waiting for the store", "err", cause, "at_most", patience)
	}}
	for {
		o, err := openStore(cfg, log)
		if err == nil {
			o.claim = file
			return o, nil
		}
		if errors.Is(err, store.ErrLocked) {
			err = w.after(ctx, fmt.Errorf("%w, which is no daemon: let that command end, or end it, then start again", err))
		}
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
}

// waiting is for something that another process is to let go.
type waiting struct {
	patience time.Duration
	tell     func(cause error) // called once, when it has lasted a second
	began    time.Time
	told     bool
}

// after is a pause before another try. It returns the cause of the last one when
// patience is at its end, and ctx's error when that ends.
func (w *waiting) after(ctx context.Context, cause error) error {
	const pause, silence = 20 * time.Millisecond, time.Second
	now := time.Now()
	if w.began.IsZero() {
		w.began = now
	}
	waited := now.Sub(w.began)
	if waited >= min(silence, w.patience) && !w.told {
		w.told = true
		w.tell(cause)
	}
	if waited >= w.patience {
		return cause
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
