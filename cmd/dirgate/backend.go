package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/urfave/cli/v2"
)

// withBackend runs do against the daemon, when one is running, else against
// the store opened here.
func withBackend(c *cli.Context, io streams, do func(admin.Backend) error) error {
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	log, err := newLog(io.err, cfg, quieter(c.String("log-level")))
	if err != nil {
		return err
	}
	say := func(format string, args ...any) {
		if c.String("output") != "json" {
			fmt.Fprintf(io.err, format+"\n", args...)
		}
	}
	client, opened, err := reach(c.Context, cfg, log, say, lockPatience)
	if err != nil {
		return err
	}
	if client != nil {
		defer client.Close()
		return do(client)
	}
	defer opened.close()
	say("no daemon is running: using the store in %s", cfg.DataDir)
	return do(opened.local(cfg, log, peerMetrics{}))
}

// reach connects to the daemon, or opens the store where none is. It waits while
// a daemon has claimed the store and does not answer yet, or not any more, and
// while another command has it.
func reach(ctx context.Context, cfg *config.Config, log *slog.Logger, say func(string, ...any), patience time.Duration) (*admin.Client, *opened, error) {
	w := waiting{patience: patience, tell: func(cause error) { say("waiting for at most %s: %v", patience, cause) }}
	for {
		client, err := admin.Dial(cfg.Admin.Socket)
		if err == nil || !errors.Is(err, admin.ErrNoDaemon) {
			return client, nil, err
		}
		pid, err := claimed(cfg.DataDir)
		if err != nil {
			return nil, nil, err
		}
		if pid != "" {
			err = fmt.Errorf("a daemon (pid %s) has %s, and nobody answers on %s: it is starting or stopping, or its configuration has another admin.socket; see its log", pid, cfg.DataDir, cfg.Admin.Socket)
		} else {
			opened, failed := openStore(cfg, log)
			if !errors.Is(failed, store.ErrLocked) {
				return nil, opened, failed
			}
			err = fmt.Errorf("%w: another command is at work; try again when it has ended", failed)
		}
		if err := w.after(ctx, err); err != nil {
			return nil, nil, err
		}
	}
}

// quieter keeps a command's output free of the daemon's usual log.
func quieter(level string) string {
	if level == "" {
		return "warn"
	}
	return level
}

// opened is a store with the keys to it.
type opened struct {
	store  *store.Store
	opener *secret.Opener
	claim  *os.File // of a daemon; else nil
}

// keysDir holds the sealing keys. init makes the first: were they made again
// where they are missing, a lost key would look like an empty store.
func keysDir(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "keys") }

// openStore opens the store of an installation.
func openStore(cfg *config.Config, log *slog.Logger) (*opened, error) {
	if err := rightUser(cfg.DataDir, os.Geteuid()); err != nil {
		return nil, err
	}
	master, err := secret.ReadMasterKey(cfg.MasterKeyFile)
	if err != nil {
		return nil, err
	}
	defer master.Wipe()
	sealer, err := secret.OpenSealer(keysDir(cfg))
	if err != nil {
		return nil, err
	}
	opener, err := secret.OpenOpener(keysDir(cfg), master)
	if err != nil {
		return nil, err
	}
	logKey, err := secret.NewLogKey(master)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(store.Options{Dir: filepath.Join(cfg.DataDir, "store"), Sealer: sealer, LogKey: logKey, Retention: time.Duration(cfg.Changelog.Retention), Log: log.With("in", "store")})
	if err != nil {
		return nil, err
	}
	return &opened{store: st, opener: opener}, nil
}

func (o *opened) close() error {
	err := o.store.Close()
	if o.claim != nil {
		err = errors.Join(err, o.claim.Close())
	}
	return err
}

// local is the operations of the command line on this store.
func (o *opened) local(cfg *config.Config, log *slog.Logger, observe peerMetrics) *admin.Local {
	return localOn(o.store, newDomains(o.store, o.opener, cfg, log, observe))
}

func localOn(st *store.Store, d *domains) *admin.Local {
	return &admin.Local{Store: st, Opener: d.opener, Connect: d.peersOf, Writer: d.writerOf, Peers: d.peers, Reconciler: d.reconciler, Changed: d.changed, Keys: keysOf(d.cfg, d.opener), Now: time.Now,
		ServiceAccount: d.cfg.JumpCloud.ClientID != "", Node: thisNode(nil)}
}
