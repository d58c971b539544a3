package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"
)

func initCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:  "init",
		Usage: "write a configuration, a private CA, a server certificate and the master key",
		Description: "Writes into the folder of --config. Nothing that exists is overwritten, and\n" +
			"nothing is left behind when something fails. With a --config\n" +
			"outside /etc/dirgate, data and admin socket are put beside it too.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "host", Usage: "`NAME` or address by which clients reach the gateway; repeat for more (default: this machine's name, localhost)"},
			&cli.StringFlag{Name: "data-dir", Usage: "`FOLDER` of the store"},
			&cli.StringFlag{Name: "listen", Usage: "LDAPS `ADDRESS`", Value: config.Default().Gateway.LDAPS},
			&cli.StringFlag{Name: "delegate-listen", Usage: "`ADDRESS` of the validation API and the user portal, HTTPS; empty: none", Value: ":8443"},
			&cli.StringFlag{Name: "metrics-listen", Usage: "metrics `ADDRESS`", Value: config.Default().Metrics.Listen},
		},
		Action: func(c *cli.Context) error {
			setup := installation{path: c.String("config"), hosts: c.StringSlice("host"), dataDir: c.String("data-dir"),
				listen: c.String("listen"), metrics: c.String("metrics-listen"), delegate: c.String("delegate-listen")}
			cfg, err := setup.create()
			if err != nil {
				return fmt.Errorf("init: %w", err)
			}
			fmt.Fprintf(io.out, "wrote %s\n", cfg.Path)
			fmt.Fprintf(io.out, "wrote %s: give it to clients to trust\n", setup.caFile())
			fmt.Fprintf(io.out, "wrote %s: keep it offline; it is needed only to issue certificates\n", setup.caKeyFile())
			fmt.Fprintf(io.out, "wrote %s: back it up apart from the data; without it no stored secret can be read\n", cfg.MasterKeyFile)
			fmt.Fprintf(io.out, "next: dirgate --config %s domain register DOMAIN --help\n", cfg.Path)
			return nil
		},
	}, 0)
}

// installation is what init and dev set up.
type installation struct {
	path            string // the configuration file
	hosts           []string
	dataDir         string
	listen, metrics string
	delegate        string // empty: none
	ldap            string // address of StartTLS; empty: none

	ca *certs.CA // once it was created
}

func (i *installation) dir() string       { return filepath.Dir(i.path) }
func (i *installation) caFile() string    { return filepath.Join(i.dir(), "ca.crt") }
func (i *installation) caKeyFile() string { return filepath.Join(i.dir(), "ca.key") }

// create makes an installation whole or not at all: what can be refused is
// refused before anything is written, and what was written is removed when a
// later write fails.
func (i *installation) create() (*config.Config, error) {
	cfg, err := i.plan()
	if err != nil {
		return nil, err
	}
	text, err := i.check(cfg)
	if err != nil {
		return nil, err
	}
	if i.ca, err = certs.NewCA("dirgate private CA"); err != nil {
		return nil, err
	}
	server, err := i.ca.Issue(i.hosts...)
	if err != nil {
		return nil, err
	}
	var written undo
	if err := i.write(cfg, text, server, &written); err != nil {
		return nil, errors.Join(err, written.run())
	}
	return cfg, nil
}

// check gives the text of the configuration, or says why this installation
// cannot be made.
func (i *installation) check(cfg *config.Config) ([]byte, error) {
	text := config.Example(*cfg)
	if _, err := config.Parse(cfg.Path, text); err != nil {
		if wrong, ok := errors.AsType[*config.Error](err); ok {
			return nil, usagef("%s: %s", wrong.Key, wrong.Problem)
		}
		return nil, err
	}
	for _, dir := range []string{i.dir(), cfg.DataDir} {
		if err := rightUser(dir, os.Geteuid()); err != nil {
			return nil, err
		}
	}
	for _, p := range []string{cfg.Path, i.caFile(), i.caKeyFile(), cfg.TLS.CertFile, cfg.TLS.KeyFile, cfg.MasterKeyFile, keysDir(cfg)} {
		switch _, err := os.Lstat(p); {
		case err == nil:
			return nil, fmt.Errorf("%s exists and is not overwritten; remove it or choose another --config", p)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return text, nil
}

// write notes in done how to remove each thing before it is made, because a
// write that fails may leave a part of it.
func (i *installation) write(cfg *config.Config, text []byte, server certs.Pair, done *undo) error {
	for _, dir := range []string{i.dir(), cfg.DataDir} {
		done.folders(dir)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	done.files(i.caFile(), i.caKeyFile())
	if err := i.ca.Write(i.caFile(), i.caKeyFile()); err != nil {
		return err
	}
	done.files(cfg.TLS.CertFile, cfg.TLS.KeyFile)
	if err := server.Write(cfg.TLS.CertFile, cfg.TLS.KeyFile); err != nil {
		return err
	}
	done.files(cfg.MasterKeyFile, keysDir(cfg))
	if err := createKeys(cfg); err != nil {
		return err
	}
	// The configuration comes last: with it the installation is complete.
	return renameio.WriteFile(cfg.Path, text, 0o644)
}

// undo removes what was made here, newest first.
type undo []func() error

// files are those that did not exist before.
func (u *undo) files(paths ...string) {
	for _, p := range paths {
		*u = append(*u, func() error { return os.RemoveAll(p) })
	}
}

// folders are dir and those above it that do not exist yet. They are removed
// only if nothing else has come into them.
func (u *undo) folders(dir string) {
	var missing []string
	for {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		missing = append(missing, dir)
		dir = filepath.Dir(dir)
	}
	for _, dir := range slices.Backward(missing) {
		*u = append(*u, func() error {
			if err := os.Remove(dir); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		})
	}
}

func (u undo) run() error {
	var errs []error
	for _, remove := range slices.Backward(u) {
		errs = append(errs, remove())
	}
	return errors.Join(errs...)
}

// createKeys makes the master key and the first pair of sealing keys.
func createKeys(cfg *config.Config) error {
	if err := secret.CreateMasterKey(cfg.MasterKeyFile); err != nil {
		return err
	}
	master, err := secret.ReadMasterKey(cfg.MasterKeyFile)
	if err != nil {
		return err
	}
	defer master.Wipe()
	return secret.EnsureKeys(keysDir(cfg), master)
}

// plan decides where everything goes.
func (i *installation) plan() (*config.Config, error) {
	abs, err := filepath.Abs(i.path)
	if err != nil {
		return nil, err
	}
	i.path = abs
	cfg := config.Default()
	cfg.Path = abs
	if i.dir() != "/etc/dirgate" {
		cfg.DataDir = filepath.Join(i.dir(), "data")
		cfg.Admin.Socket = filepath.Join(i.dir(), "admin.sock")
		cfg.MasterKeyFile = filepath.Join(i.dir(), "master.key")
		cfg.TLS.CertFile = filepath.Join(i.dir(), "server.crt")
		cfg.TLS.KeyFile = filepath.Join(i.dir(), "server.key")
	}
	if i.dataDir != "" {
		if cfg.DataDir, err = filepath.Abs(i.dataDir); err != nil {
			return nil, err
		}
	}
	cfg.Gateway.LDAPS, cfg.Gateway.LDAP, cfg.Metrics.Listen = i.listen, i.ldap, i.metrics
	cfg.Delegate.Listen = i.delegate
	if len(i.hosts) == 0 {
		i.hosts = []string{"localhost", "127.0.0.1", "::1"}
		if name, err := os.Hostname(); err == nil && name != "" && name != "localhost" {
			i.hosts = append([]string{name}, i.hosts...)
		}
	}
	return &cfg, nil
}

// serverTLS is a listener's configuration with a certificate of the new CA,
// for the embedded directories.
func (i *installation) serverTLS() (*tls.Config, error) {
	pair, err := i.ca.Issue(i.hosts...)
	if err != nil {
		return nil, err
	}
	cert, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}
