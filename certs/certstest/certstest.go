// Package certstest gives tests a certificate authority of their own.
//
// Everything lives in memory or in the test's temporary folder and is made
// anew for each test, so that no private key is ever committed. A failure ends
// the test. For a certificate of the wrong host issue another host; for one of
// the wrong authority make a second [CA].
package certstest

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs"
)

// CA is a certificate authority that lasts as long as a test.
type CA struct {
	tb testing.TB
	ca *certs.CA
}

// New makes a certificate authority.
func New(tb testing.TB) *CA {
	tb.Helper()
	ca, err := certs.NewCA("dirgate test CA")
	if err != nil {
		tb.Fatal(err)
	}
	return &CA{tb: tb, ca: ca}
}

// Issue makes a server certificate for DNS names and addresses.
func (c *CA) Issue(hosts ...string) tls.Certificate {
	c.tb.Helper()
	pair, err := c.ca.Issue(hosts...)
	return c.load(pair, err)
}

// Expired makes a server certificate that ended an hour ago.
func (c *CA) Expired(hosts ...string) tls.Certificate {
	c.tb.Helper()
	now := time.Now()
	pair, err := c.ca.IssueValid(now.Add(-24*time.Hour), now.Add(-time.Hour), hosts...)
	return c.load(pair, err)
}

func (c *CA) load(pair certs.Pair, err error) tls.Certificate {
	c.tb.Helper()
	if err != nil {
		c.tb.Fatal(err)
	}
	cert, err := pair.TLS()
	if err != nil {
		c.tb.Fatal(err)
	}
	return cert
}

// Files writes a server certificate and its key into a temporary folder.
func (c *CA) Files(hosts ...string) (certFile, keyFile string) {
	c.tb.Helper()
	dir := c.tb.TempDir()
	certFile, keyFile = filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	if err := certs.Issue(c.ca, certFile, keyFile, hosts...); err != nil {
		c.tb.Fatal(err)
	}
	return certFile, keyFile
}

// Authority is the CA itself, to issue what this package does not offer.
func (c *CA) Authority() *certs.CA { return c.ca }

// Pool trusts this CA alone.
func (c *CA) Pool() *x509.CertPool { return c.ca.Pool() }

// PEM is the CA's certificate.
func (c *CA) PEM() []byte { return c.ca.CertPEM }

// File writes the CA's certificate into a temporary folder.
func (c *CA) File() string {
	c.tb.Helper()
	name := filepath.Join(c.tb.TempDir(), "ca.crt")
	if err := os.WriteFile(name, c.ca.CertPEM, 0o644); err != nil {
		c.tb.Fatal(err)
	}
	return name
}

// Server is a listener's configuration with a certificate for the hosts.
func (c *CA) Server(hosts ...string) *tls.Config {
	c.tb.Helper()
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c.Issue(hosts...)}}
}

// Client is the configuration of a client that trusts this CA alone.
func (c *CA) Client(serverName string) *tls.Config {
	c.tb.Helper()
	config, err := certs.Client(c.PEM(), serverName)
	if err != nil {
		c.tb.Fatal(err)
	}
	return config
}
