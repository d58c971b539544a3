// Package config reads dirgate's configuration file.
//
// The file is YAML: sections of keys, each key with one plain value, or a list
// of them where it says so. Durations
// and sizes are written with their unit (90s, 16MiB). Every key has a default,
// so an empty file is a valid one. A key that this version does not know is an
// error, also when a later version knows it: a setting that is read and does
// nothing is worse than one that is refused.
//
// The file holds no secrets, only the paths of files that do, so it may be
// readable by everyone. Relative paths in it start at the folder the file is
// in, not at the working directory of the process.
//
// One table ([keys]) says everything about a key: its name, what it means,
// which values it takes. Decoding, errors and the commented file that init
// writes ([Example]) are all made from it; the defaults are in [Default].
//
// Specification: YAML 1.2.2.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Config is a configuration file with defaults filled in and paths absolute.
type Config struct {
	Path string // absolute name of the file; empty for Default

	DataDir       string // folder of the store
	MasterKeyFile string // key that seals the store's secrets
	DNSServer     string // host:port; empty: the system's

	TLS       TLS
	Gateway   Gateway
	Delegate  Delegate
	Metrics   Metrics
	Admin     Admin
	JumpCloud JumpCloud
	Replicate Replicate
	Guards    Guards
	Changelog Changelog
	Log       Log
}

// TLS is the listeners' certificate.
type TLS struct {
	CertFile   string // PEM, leaf first
	KeyFile    string // PEM
	MinVersion string // "1.2" or "1.3"
	// ClientCAFile holds the CA of client certificates of the delegate API;
	// empty: bearer tokens only.
	ClientCAFile string
}

// Gateway is the LDAP listeners.
type Gateway struct {
	LDAPS          string   // listen address
	LDAP           string   // listen address of StartTLS; empty: none
	MaxMessage     Size     // largest LDAP message of a bound client
	IdleTimeout    Duration // until a silent session is ended
	MaxConnections int      // client connections at a time

	AllowPlaintextBind  bool     // on LDAP, without StartTLS
	TranslatePasswords  bool     // userPassword and RFC 3062 to unicodePwd
	LockoutGuard        bool     // keep binds from locking accounts
	Reconnect           bool     // keep sessions when their DC is lost
	SASL                string   // refuse or relay
	MaxConnectionsPerIP int      // the same for one client address; 0: half of MaxConnections
	ProxyTrusted        Prefixes // who may name the client in a PROXY header
}

// Delegate is the HTTPS listener of the validation API and the user portal.
type Delegate struct {
	Listen            string // empty: none
	Preflight         string // of a new password: off, warn or enforce
	TellUnknownUsers  bool   // apart from wrong passwords
	RefusalsPerClient int    // at once; one more every 600 ms
	RefusalsPerUser   int    // at once; one more every minute
}

// Metrics is the HTTP listener of /metrics, /healthz and /readyz.
type Metrics struct {
	Listen string
}

// Admin is the socket by which the command line reaches the daemon.
type Admin struct {
	Socket string
}

// JumpCloud is how JumpCloud's API is asked, and as whom.
type JumpCloud struct {
	ClientID         string // of a service account; empty: each domain's API key is used
	ClientSecretFile string // its secret; empty without ClientID
	TokenURL         string // where it gets tokens; empty: that of JumpCloud's US region

	InsightsURL string // of Directory Insights; empty: that of the console's region

	RequestsPerSecond float64
	MaxInFlight       int
}

// Replicate is the replication engine.
type Replicate struct {
	Workers int // accounts worked on at a time

	ImportInterval     Duration // between two looks at AD when it tells of no change
	ChangeNotification bool     // AD is asked to tell
	SyncInterval       Duration // between two looks at JumpCloud
	FullEvery          Duration // between two compares of everything
}

// Guards are the safety thresholds: what takes more from people at once waits
// for a person.
type Guards struct {
	Removals, Suspensions, Groups, Memberships Guard // of the import
	ADDisables, ADMemberships                  Guard // of sync
}

// Guard is one of them: either is enough.
type Guard struct {
	Count   int
	Percent float64
}

// Changelog is the durable log of changes.
type Changelog struct {
	Retention Duration // how long records are kept after their change ended
}

// Log is the daemon's log.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// Default is the configuration of an empty file.
func Default() Config {
	return Config{
		DataDir:       "/var/lib/dirgate",
		MasterKeyFile: "/etc/dirgate/master.key",
		TLS: TLS{
			CertFile:   "/etc/dirgate/server.crt",
			KeyFile:    "/etc/dirgate/server.key",
			MinVersion: "1.2",
		},
		Gateway: Gateway{
			LDAPS:          ":636",
			MaxMessage:     16 * MiB,
			IdleTimeout:    Duration(15 * time.Minute),
			MaxConnections: 10_000,

			TranslatePasswords: true,
			LockoutGuard:       true,
			Reconnect:          true,
			SASL:               "refuse",
		},
		Delegate:  Delegate{Preflight: "enforce", RefusalsPerClient: 100, RefusalsPerUser: 10},
		Metrics:   Metrics{Listen: "127.0.0.1:9636"},
		Admin:     Admin{Socket: "/run/dirgate/admin.sock"},
		JumpCloud: JumpCloud{RequestsPerSecond: 10, MaxInFlight: 4},
		Replicate: Replicate{Workers: 4, ImportInterval: Duration(90 * time.Second), ChangeNotification: true, SyncInterval: Duration(5 * time.Second), FullEvery: Duration(6 * time.Hour)},
		Guards: Guards{Removals: Guard{20, 10}, Suspensions: Guard{20, 10}, Groups: Guard{5, 20}, Memberships: Guard{100, 20},
			ADDisables: Guard{20, 10}, ADMemberships: Guard{100, 20}},
		Changelog: Changelog{Retention: Duration(90 * 24 * time.Hour)},
		Log:       Log{Level: "info", Format: "text"},
	}
}

// Load reads and checks a file. The error joins everything that is wrong with
// it, an [*Error] each, in the order of the file.
func Load(path string) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	data, err := os.ReadFile(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read config: %w: write one with \"dirgate init\" or name another with --config", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return Parse(abs, data)
}

// Parse checks data as the contents of a file of the given absolute name, which
// need not exist. The error is that of [Load].
func Parse(path string, data []byte) (*Config, error) {
	cfg := Default()
	if err := decode(&cfg, path, data); err != nil {
		return nil, err
	}
	cfg.Path = path
	for _, k := range keys {
		if k.path != nil && *k.path(&cfg) != "" && !filepath.IsAbs(*k.path(&cfg)) {
			*k.path(&cfg) = filepath.Join(filepath.Dir(path), *k.path(&cfg))
		}
	}
	// Checked once the path is absolute, because only then its length is known.
	if err := checkSocketPath(cfg.Admin.Socket); err != nil {
		return nil, &Error{File: path, Line: lineOf(data, "admin.socket"), Key: "admin.socket", Problem: err.Error()}
	}
	if err := checkServiceAccount(cfg.JumpCloud); err != nil {
		return nil, &Error{File: path, Line: lineOf(data, "jumpcloud.client_id"), Key: "jumpcloud.client_id", Problem: err.Error()}
	}
	return &cfg, nil
}

// Error is one thing wrong with a file.
type Error struct {
	File    string
	Line    int    // 1-based; 0 if unknown
	Key     string // dotted; empty if no key is concerned
	Problem string // what is wrong and what was expected
}

// Error gives file:line: key: problem.
func (e *Error) Error() string {
	s := e.File
	if e.Line > 0 {
		s = fmt.Sprintf("%s:%d", s, e.Line)
	}
	if e.Key != "" {
		s += ": " + e.Key
	}
	return s + ": " + e.Problem
}
