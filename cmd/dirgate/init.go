package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
		Description: "Writes into the folder of --config. Nothing that exists is overwritten. With a --config\n" +
			"outside /etc/dirgate, data and admin socket are put beside it too.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "host", Usage: "`NAME` or address by which clients reach the gateway; repeat for more (default: this machine's name, localhost)"},
			&cli.StringFlag{Name: "data-dir", Usage: "`FOLDER` of the store"},
			&cli.StringFlag{Name: "listen", Usage: "LDAPS `ADDRESS`", Value: config.Default().Gateway.LDAPS},
			&cli.StringFlag{Name: "metrics-listen", Usage: "metrics `ADDRESS`", Value: config.Default().Metrics.Listen},
		},
		Action: func(c *cli.Context) error {
			setup := installation{path: c.String("config"), hosts: c.StringSlice("host"), dataDir: c.String("data-dir"),
				listen: c.String("listen"), metrics: c.String("metrics-listen")}
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

	ca *certs.CA // once it was created
}

func (i *installation) dir() string       { return filepath.Dir(i.path) }
func (i *installation) caFile() string    { return filepath.Join(i.dir(), "ca.crt") }
func (i *installation) caKeyFile() string { return filepath.Join(i.dir(), "ca.key") }

// create writes everything, or refuses before it wrote anything.
func (i *installation) create() (*config.Config, error) {
	cfg, err := i.plan()
	if err != nil {
		return nil, err
	}
	for _, p := range []string{cfg.Path, i.caFile(), i.caKeyFile(), cfg.TLS.CertFile, cfg.TLS.KeyFile, cfg.MasterKeyFile, keysDir(cfg)} {
		if _, err := os.Lstat(p); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s exists and is not overwritten; remove it or choose another --config", p)
		}
	}
	for _, dir := range []string{i.dir(), cfg.DataDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if i.ca, err = certs.CreateCA(i.caFile(), i.caKeyFile(), "dirgate private CA"); err != nil {
		return nil, err
	}
	if err := certs.Issue(i.ca, cfg.TLS.CertFile, cfg.TLS.KeyFile, i.hosts...); err != nil {
		return nil, err
	}
	if err := createKeys(cfg); err != nil {
		return nil, err
	}
	// The configuration comes last: with it the installation is complete.
	if err := renameio.WriteFile(cfg.Path, config.Example(*cfg), 0o644); err != nil {
		return nil, err
	}
	return cfg, nil
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
	cfg.Gateway.LDAPS, cfg.Metrics.Listen = i.listen, i.metrics
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
