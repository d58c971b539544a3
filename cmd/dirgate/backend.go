package main

import (
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
	client, err := admin.Dial(cfg.Admin.Socket)
	if err == nil {
		defer client.Close()
		return do(client)
	}
	if !errors.Is(err, admin.ErrNoDaemon) {
		return err
	}
	log, err := newLog(io.err, cfg, quieter(c.String("log-level")))
	if err != nil {
		return err
	}
	opened, err := openStore(cfg, log)
	if errors.Is(err, store.ErrLocked) {
		// A daemon that is just starting has the store and no socket yet.
		return fmt.Errorf("%w, and nobody answers on %s: is a daemon starting, or using another admin.socket?", err, cfg.Admin.Socket)
	}
	if err != nil {
		return err
	}
	defer opened.close()
	if c.String("output") != "json" {
		fmt.Fprintf(io.err, "no daemon is running: using the store in %s\n", cfg.DataDir)
	}
	return do(opened.local(cfg, log, peerMetrics{}))
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

func (o *opened) close() error { return o.store.Close() }

// local is the operations of the command line on this store.
func (o *opened) local(cfg *config.Config, log *slog.Logger, observe peerMetrics) *admin.Local {
	return localOn(o.store, newDomains(o.store, o.opener, cfg, log, observe))
}

func localOn(st *store.Store, d *domains) *admin.Local {
	return &admin.Local{Store: st, Opener: d.opener, Connect: d.peersOf, Writer: d.writerOf, Peers: d.peers, Reconciler: d.reconciler, Changed: d.changed, Keys: keysOf(d.cfg, d.opener), Now: time.Now,
		ServiceAccount: d.cfg.JumpCloud.ClientID != "", Node: thisNode(nil)}
}
