package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/urfave/cli/v2"
)

func keyCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:  "key",
		Usage: "the keys that seal passwords and credentials",
		Subcommands: []*cli.Command{command(&cli.Command{
			Name:  "rotate",
			Usage: "begin a new key pair, seal credentials with it, and destroy old private keys that have no more use (a daemon does so every hour by itself)",
			Action: func(c *cli.Context) error {
				ask := func(b admin.Backend) (admin.Rotation, error) { return b.RotateKeys(c.Context) }
				return show(c, io, ask, func(r admin.Rotation) error {
					_, err := fmt.Fprintf(io.out, "epoch %d is in use; destroyed: %v\n", r.Epoch, r.Destroyed)
					return err
				})
			},
		}, 0)},
	}, 0)
}

func backupCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:      "backup",
		Usage:     "write the store and the sealing keys to a new FILE; it may be done while the daemon runs. The master key is not in it: keep that elsewhere",
		ArgsUsage: "FILE",
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "without-passwords", Usage: "leave sealed passwords out; what is pending is lost when such a backup is restored"}},
		Action: func(c *cli.Context) error {
			path := c.Args().First()
			err := withBackend(c, io, func(b admin.Backend) error {
				return writeNew(path, func(f *os.File) error {
					return b.Backup(c.Context, admin.BackupOptions{WithoutPasswords: c.Bool("without-passwords")}, f)
				})
			})
			if err != nil {
				return fmt.Errorf("backup to %s: %w", path, err)
			}
			_, err = fmt.Fprintf(io.out, "wrote %s\nit opens together with the master key only: keep the two apart\n", path)
			return err
		},
	}, 1)
}

// writeNew makes a file, for its owner alone, that is whole and synced, or
// none.
func writeNew(path string, fill func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func restoreCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:      "restore",
		Usage:     "make the store and the sealing keys anew from a backup FILE, where there are none; pending changes become dead letters, for a newer password may have been set since",
		ArgsUsage: "FILE",
		Action: func(c *cli.Context) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			header, err := restoreInto(c.Context, cfg, io, c.String("log-level"), c.Args().First())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(io.out, "restored the store of %s, up to record %d\nsee `dirgate changelog verify` and `dirgate changelog list --status dead`\n", moment(header.At), header.Last)
			return err
		},
	}, 1)
}

func restoreInto(ctx context.Context, cfg *config.Config, io streams, level, path string) (header store.BackupHeader, err error) {
	if client, err := admin.Dial(cfg.Admin.Socket); err == nil {
		client.Close()
		return header, fmt.Errorf("restore: a daemon is running (socket %s); stop it first", cfg.Admin.Socket)
	}
	if err := rightUser(cfg.DataDir, os.Geteuid()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return header, err
	}
	if pid, err := claimed(cfg.DataDir); err != nil || pid != "" {
		return header, cmp.Or(err, fmt.Errorf("restore: a daemon (pid %s) has %s; stop it first", pid, cfg.DataDir))
	}
	log, err := newLog(io.err, cfg, quieter(level))
	if err != nil {
		return header, err
	}
	master, err := secret.ReadMasterKey(cfg.MasterKeyFile)
	if err != nil {
		return header, err
	}
	defer master.Wipe()
	logKey, err := secret.NewLogKey(master)
	if err != nil {
		return header, err
	}
	f, err := os.Open(path)
	if err != nil {
		return header, fmt.Errorf("restore: %w", err)
	}
	defer f.Close()
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return header, fmt.Errorf("restore: %w", err)
	}
	return store.Restore(ctx, f, store.Options{Dir: filepath.Join(cfg.DataDir, "store"), LogKey: logKey, Log: log}, keysDir(cfg))
}

// keysOf gives access to the sealing keys of an installation. The master key
// is read each time, so that it is not kept in memory.
func keysOf(cfg *config.Config, opener *secret.Opener) admin.Keys {
	return func() (store.Keys, error) {
		master, err := secret.ReadMasterKey(cfg.MasterKeyFile)
		if err != nil {
			return store.Keys{}, err
		}
		return store.Keys{Dir: keysDir(cfg), Master: master, Opener: opener}, nil
	}
}

// keyLife is how long passwords are sealed to the same key. An applied
// password can be recovered from old files of the database and the master key
// for that long, and until the last one of its epoch is applied.
const keyLife = time.Hour

// tendKeys exchanges the sealing keys every keyLife in which passwords were
// recorded, and destroys those that have no more use, until ctx ends.
func (d *daemon) tendKeys(ctx context.Context) error {
	keys := keysOf(d.cfg, d.opened.opener)
	ticker := time.NewTicker(keyLife)
	defer ticker.Stop()
	for {
		if err := tendOnce(ctx, d.opened.store, keys); err != nil && ctx.Err() == nil {
			d.log.Warn("exchange sealing keys; it will be tried again", "err", err, "after", keyLife)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func tendOnce(ctx context.Context, st *store.Store, open admin.Keys) error {
	if st.Damage() != nil {
		return nil
	}
	keys, err := open()
	if err != nil {
		return err
	}
	defer keys.Master.Wipe()
	if st.SealedToNewest() {
		_, _, err = st.RotateKeys(ctx, keys)
	} else {
		_, err = st.DestroyUnusedKeys(ctx, keys)
	}
	return err
}
