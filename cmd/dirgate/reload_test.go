package main

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/config"
)

// TestReloadConfig: what may change does, what cannot is told, and a file that
// is wrong or half written changes nothing.
func TestReloadConfig(t *testing.T) {
	d, log := newTestDaemon(t, newInstallation(t))
	d.level = new(slog.LevelVar)
	s := newSettings(d)
	text, err := os.ReadFile(d.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(replace ...string) {
		t.Helper()
		if err := os.WriteFile(d.cfg.Path, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	said := func(what string, want int) {
		t.Helper()
		if n := log.count(what); n != want {
			t.Errorf("logged %d times %q, want %d", n, what, want)
		}
	}
	s.look()
	s.reload()
	said("configuration", 0)

	write(`#level: info`, `level: debug`, `#max_connections: 10000`, `max_connections: 7`)
	s.look()
	said("configuration", 0) // it may not be finished
	s.look()
	s.look()
	said(`configuration reloaded" changed="gateway.max_connections log.level"`, 1)
	if d.level.Level() != slog.LevelDebug {
		t.Errorf("level %s, want debug", d.level.Level())
	}

	write(`#level: info`, `level: loud`)
	s.look()
	s.look()
	s.look()
	said("configuration not reloaded", 1)
	said("want debug, info, warn or error", 1)
	if d.level.Level() != slog.LevelDebug {
		t.Errorf("after a wrong file: level %s, want the one before", d.level.Level())
	}
	s.reload() // whoever sends SIGHUP is told again
	said("configuration not reloaded", 2)

	write(`#workers: 4`, `workers: 5`)
	s.reload()
	said(`keys=replicate.workers`, 1)
	if d.level.Level() != slog.LevelInfo {
		t.Errorf("level %s, want info again", d.level.Level())
	}
	if err := os.Remove(d.cfg.Path); err != nil {
		t.Fatal(err)
	}
	s.look()
	said("configuration not reloaded", 2)
	s.reload()
	said("configuration not reloaded", 3)
}

// TestLevelOfFlag: --log-level holds whatever the file says.
func TestLevelOfFlag(t *testing.T) {
	d, _ := newTestDaemon(t, newInstallation(t))
	if d.log.Enabled(context.Background(), slog.LevelDebug) {
		t.Fatal("debug is on before anything")
	}
	s := newSettings(d) // d.level is nil, as with the flag
	if err := s.apply([]byte("log: {level: debug}\n")); err != nil {
		t.Fatal(err)
	}
	if d.log.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("the file changed the level of the flag")
	}
}

// TestReloadReplication: what concerns the import is what the next reconciler
// is made with, at once.
func TestReloadReplication(t *testing.T) {
	d, _ := newTestDaemon(t, newInstallation(t))
	s := newSettings(d)
	if err := s.apply([]byte("replicate: {import_interval: 5s, sync_interval: 3s}\nguards: {removals: {count: 1}}\n")); err != nil {
		t.Fatal(err)
	}
	got := d.domains.settings.Load()
	_, restart := config.Changed(d.cfg, got)
	if concernsReplication(restart) {
		t.Errorf("these need a restart: %v", restart)
	}
	if time.Duration(got.Replicate.SyncInterval) != 3*time.Second || time.Duration(got.Replicate.ImportInterval) != 5*time.Second || got.Guards.Removals.Count != 1 {
		t.Errorf("in effect: %+v and %+v", got.Replicate, got.Guards)
	}
	for keys, want := range map[string]bool{"": false, "log.level": false, "log.level guards.groups.percent": true, "replicate.full_every": true,
		"replicate.sync_interval": true, "jumpcloud.insights_url": true, "jumpcloud.url": false} {
		if got := concernsReplication(strings.Fields(keys)); got != want {
			t.Errorf("%q: %v, want %v", keys, got, want)
		}
	}
}
