package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultPollInterval is how often a [Reloader] looks at its files.
const DefaultPollInterval = 5 * time.Second

// Options of [Server]. The zero value is usable.
type Options struct {
	// MinVersion is the oldest TLS version: "1.2" (also the empty string) or
	// "1.3".
	MinVersion string
	// PollInterval between looks at the files; 0 means DefaultPollInterval.
	PollInterval time.Duration
	// Log receives reloads and refusals; nil discards them.
	Log *slog.Logger
}

// Reloader serves the newest good pair of a certificate and a key file.
//
// It polls and compares contents rather than watching for events: a watch on
// a file is lost by the rename that replaces it, a swapped symbolic link
// higher up the path gives no event for the file, and some file systems give
// none at all. Reading two small files every few seconds catches every kind
// of replacement, including one that keeps size and time.
type Reloader struct {
	certFile, keyFile string
	interval          time.Duration
	log               *slog.Logger
	config            *tls.Config

	current atomic.Pointer[tls.Certificate]

	mu       sync.Mutex // guards what follows; held while the files are read
	served   digest     // contents of the pair in current
	refused  digest     // contents or read error that err tells of
	err      error      // why the newest files are not served; nil if they are
	reported bool       // err has been logged
}

// digest identifies what was read, without keeping the key a second time.
type digest [sha256.Size]byte

// Server loads the pair and returns its reloader. It fails if the files
// cannot be read, do not belong together or hold no usable certificate; an
// expired certificate is served (a client that does not check it still gets
// in) and told of by [Reloader.Err].
func Server(certFile, keyFile string, opts Options) (*Reloader, error) {
	minVersion, err := parseVersion(opts.MinVersion)
	if err != nil {
		return nil, err
	}
	r := &Reloader{certFile: certFile, keyFile: keyFile, interval: opts.PollInterval, log: opts.Log}
	if r.interval <= 0 {
		r.interval = DefaultPollInterval
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	cert, sum, err := r.read()
	if err != nil {
		return nil, err
	}
	r.served = sum
	r.current.Store(cert)
	// One Config for all connections: the session ticket keys live in it, so
	// tickets are good across connections and across reloads. No NextProtos:
	// the listener speaks LDAP, and a client that offers ALPN is not refused.
	r.config = &tls.Config{
		MinVersion: minVersion,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return r.current.Load(), nil
		},
	}
	// TLS 1.3 sends tickets after the handshake, mixed with data. Samba's LDAP
	// clients (seen with 4.17) wait for ever when a ticket and an answer come
	// together; and a resumed session saves little, since it agrees on a new
	// key all the same. In TLS 1.2 tickets are part of the handshake.
	untold := r.config.Clone()
	untold.SessionTicketsDisabled = true
	r.config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
			return untold, nil
		}
		return nil, nil
	}
	return r, nil
}

func parseVersion(s string) (uint16, error) {
	switch s {
	case "", "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("minimum TLS version %q is unknown: use \"1.2\" or \"1.3\"", s)
}

// Config is the listener's configuration: always the same one, to be shared
// by all connections and not to be changed.
func (r *Reloader) Config() *tls.Config { return r.config }

// NotAfter is when the certificate being served expires.
func (r *Reloader) NotAfter() time.Time { return r.current.Load().Leaf.NotAfter }

// Err says why the newest files are not being served, or that the certificate
// being served is outside its validity; nil if all is well.
func (r *Reloader) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if err := checkValidity(r.current.Load(), time.Now()); err != nil {
		return fmt.Errorf("serve certificate %s: %w", r.certFile, err)
	}
	return nil
}

// Run follows the files until ctx is done and then returns nil.
func (r *Reloader) Run(ctx context.Context) error {
	if err := r.Err(); err != nil {
		r.log.Error("listener certificate needs attention", "err", err)
	}
	ticker := time.NewTicker(r.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			r.poll()
		}
	}
}

// Reload reads the files now, as on SIGHUP. If they cannot be served it
// returns and logs why, and the old pair stays.
func (r *Reloader) Reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	r.report()
	return r.err
}

// poll is Reload, except that a refusal is logged only if the same contents
// are found twice: certificate and key are two files, and a look between
// their two renames sees a pair that does not match.
func (r *Reloader) poll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.refused
	r.refresh()
	if r.err != nil && r.refused == before {
		r.report()
	}
}

// report logs the present refusal, once. The caller holds mu.
func (r *Reloader) report() {
	if r.err != nil && !r.reported {
		r.reported = true
		r.log.Error("new listener certificate refused, the old one stays",
			"err", r.err, "expires", r.NotAfter())
	}
}

// refresh brings current, served, refused and err up to date. The caller
// holds mu.
func (r *Reloader) refresh() {
	cert, sum, err := r.read()
	if err == nil && sum != r.served {
		if invalid := checkValidity(cert, time.Now()); invalid != nil {
			err = fmt.Errorf("load certificate %s: %w", r.certFile, invalid)
		}
	}
	if err != nil {
		if r.err == nil || r.refused != sum {
			r.reported = false
		}
		r.err, r.refused = err, sum
		return
	}
	recovered := r.reported
	r.err, r.refused, r.reported = nil, digest{}, false
	if sum == r.served {
		if recovered {
			r.log.Info("listener certificate files are good again", "expires", r.NotAfter())
		}
		return
	}
	r.served = sum
	r.current.Store(cert)
	r.log.Info("listener certificate reloaded", "expires", cert.Leaf.NotAfter, "names", names(cert.Leaf))
}

// read loads both files. The digest also tells two errors apart, so that the
// same error is recognised.
func (r *Reloader) read() (*tls.Certificate, digest, error) {
	certPEM, err := os.ReadFile(r.certFile)
	if err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), fmt.Errorf("load certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(r.keyFile)
	if err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), fmt.Errorf("load private key: %w", err)
	}
	defer clear(keyPEM)
	certSum, keySum := sha256.Sum256(certPEM), sha256.Sum256(keyPEM)
	sum := digest(sha256.Sum256(bytes.Join([][]byte{certSum[:], keySum[:]}, nil)))
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, sum, fmt.Errorf("load certificate %s with key %s: %w", r.certFile, r.keyFile, err)
	}
	return &cert, sum, nil
}

func checkValidity(cert *tls.Certificate, now time.Time) error {
	switch leaf := cert.Leaf; {
	case leaf == nil:
		return errors.New("no certificate in the file")
	case now.After(leaf.NotAfter):
		return fmt.Errorf("it expired on %s: issue a new one", stamp(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("it is not valid before %s: check this machine's clock", stamp(leaf.NotBefore))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
