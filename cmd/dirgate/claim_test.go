package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func unsaid(string, ...any) {}

// TestDaemonAmongCommands: commands that are run over and over do not keep a
// daemon from starting, and none of them fails because it starts.
func TestDaemonAmongCommands(t *testing.T) {
	cfg := newInstallation(t)
	ctx, stop := context.WithCancel(t.Context())
	var commands sync.WaitGroup
	running := make(chan struct{}, 100)
	for range 3 {
		commands.Go(func() {
			for ctx.Err() == nil {
				client, opened, err := reach(ctx, cfg, quiet(), unsaid, time.Minute)
				switch {
				case err != nil:
					if ctx.Err() == nil {
						t.Error("command:", err)
					}
					return
				case client != nil:
					client.Close()
					return
				default:
					_ = opened.close()
				}
				select {
				case running <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 5 {
		<-running
	}
	o, err := claimStore(ctx, cfg, quiet(), time.Minute)
	if err != nil {
		t.Fatal("daemon:", err)
	}
	l, err := listenAdmin(cfg.Admin.Socket)
	if err != nil {
		t.Fatal(err)
	}
	commands.Wait() // each has reached the daemon
	stop()
	if err := errors.Join(l.Close(), o.close()); err != nil {
		t.Error(err)
	}
}

// TestDaemonWaits: it says for whom it waits, and gives up with that.
func TestDaemonWaits(t *testing.T) {
	cfg := newInstallation(t)
	command, err := openStore(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	holder := fmt.Sprintf("(pid %d)", os.Getpid())
	log := new(logbook)
	_, err = claimStore(t.Context(), cfg, slog.New(slog.NewTextHandler(log, nil)), 100*time.Millisecond)
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), holder) || !strings.Contains(err.Error(), "no daemon") {
		t.Errorf("got %v, want who has the store", err)
	}
	if log.count("waiting for the store") != 1 || log.count(holder) != 1 {
		t.Errorf("the log says %q", log.buf.String())
	}
	if pid, err := claimed(cfg.DataDir); pid != "" || err != nil {
		t.Errorf("the folder stays claimed by %q, %v", pid, err)
	}

	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := claimStore(stopped, cfg, quiet(), time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped while it waits: %v", err)
	}

	done := make(chan error, 1)
	go func() {
		o, err := claimStore(t.Context(), cfg, slog.New(slog.NewTextHandler(log, nil)), time.Minute)
		if err == nil {
			err = o.close()
		}
		done <- err
	}()
	log.wait(t, "at_most=1m0s")
	if err := command.close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error("after the command:", err)
	}
}

// TestTwoDaemons: the second is refused without waiting, and told which is the
// first.
func TestTwoDaemons(t *testing.T) {
	cfg := newInstallation(t)
	first, err := claimStore(t.Context(), cfg, quiet(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer first.close()
	began := time.Now()
	_, err = claimStore(t.Context(), cfg, quiet(), time.Hour)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("another daemon (pid %d) has the data folder %s", os.Getpid(), cfg.DataDir)) {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
}

// TestCommandWhileADaemonStarts: a command does not take the store from a daemon
// that has claimed it and does not answer, says so when it waits, and opens the
// store when the daemon is gone.
func TestCommandWhileADaemonStarts(t *testing.T) {
	cfg := newInstallation(t)
	file, err := claim(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = reach(t.Context(), cfg, quiet(), unsaid, 50*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("a daemon (pid %d) has %s, and nobody answers on %s", os.Getpid(), cfg.DataDir, cfg.Admin.Socket)) {
		t.Errorf("got %v", err)
	}
	_, o, err := reach(t.Context(), cfg, quiet(), func(string, ...any) { _ = file.Close() }, time.Minute)
	if err != nil {
		t.Fatal("after the daemon:", err)
	}
	if err := o.close(); err != nil {
		t.Error(err)
	}
}

// TestCommandsInTurn: one command waits for another.
func TestCommandsInTurn(t *testing.T) {
	cfg := newInstallation(t)
	first, err := openStore(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := reach(t.Context(), cfg, quiet(), unsaid, 50*time.Millisecond); !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "another command") {
		t.Errorf("got %v", err)
	}
	_, second, err := reach(t.Context(), cfg, quiet(), func(string, ...any) { _ = first.close() }, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.close(); err != nil {
		t.Error(err)
	}
}
