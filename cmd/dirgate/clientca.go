package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// clientCAs asks for certificates of the CAs in a file, and needs none. The file
// is read at each handshake, so that a CA that was taken out of it opens nothing
// any more; one that cannot be used leaves the CAs as they were.
type clientCAs struct {
	path string
	base *tls.Config
	log  *slog.Logger

	mu     sync.Mutex
	text   []byte      // guarded by mu
	conf   *tls.Config // guarded by mu
	failed string      // why the file cannot be used, as logged last; guarded by mu
}

// delegateTLS is the configuration of the delegate's listener, with the
// certificate of base. clientCAFile may be empty: no client shows one then.
func delegateTLS(base *tls.Config, clientCAFile string, log *slog.Logger) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: base.MinVersion, GetCertificate: base.GetCertificate, NextProtos: []string{"h2", "http/1.1"}}
	if clientCAFile == "" {
		return conf, nil
	}
	// A resumed session would bring a certificate that was verified before.
	conf.SessionTicketsDisabled = true
	c := &clientCAs{path: clientCAFile, base: conf.Clone(), log: log}
	if err := c.read(); err != nil {
		return nil, err
	}
	conf.GetConfigForClient = c.forClient
	return conf, nil
}

func (c *clientCAs) forClient(*tls.ClientHelloInfo) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch err := c.read(); {
	case err == nil:
		c.failed = ""
	case err.Error() != c.failed:
		c.failed = err.Error()
		c.log.Error("certificates of clients are checked against the CAs of before", "err", err)
	}
	return c.conf, nil
}

// read takes a changed file over; the caller holds mu, or has c alone.
func (c *clientCAs) read() error {
	text, err := os.ReadFile(c.path)
	if err != nil {
		return fmt.Errorf("tls.client_ca_file: %w", err)
	}
	if c.conf != nil && bytes.Equal(text, c.text) {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("tls.client_ca_file: %s holds no certificate in PEM", c.path)
	}
	conf := c.base.Clone()
	conf.ClientCAs, conf.ClientAuth = pool, tls.VerifyClientCertIfGiven
	c.text, c.conf = text, conf
	return nil
}
