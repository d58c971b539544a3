package samba

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/store/secret"
)

// A DC is a running domain controller.
type DC struct {
	Addr    string // the address it listens on, alone
	URL     string // ldaps://Addr:636
	Realm   string // CORP.EXAMPLE.TEST
	Domain  string // the DNS name, corp.example.test
	NetBIOS string // CORP
	Host    string // dc1.corp.example.test: in the certificate, as is Addr
	BaseDN  string
	Dir     string // smb.conf, private/sam.ldb, log/log.samba, tls

	AdminDN       string
	AdminUPN      string
	AdminPassword secret.Bytes

	CAPEM  []byte // of the authority that signed its certificate
	CAFile string // the same, as a file in Dir

	options options
	lease   *os.File
	proc    *process // nil while it does not run
}

// readyTimeout is how long a DC may take to its first LDAPS bind: 0.3 s alone,
// 3 s and more on a machine under load.
const readyTimeout = 60 * time.Second

// Run starts a domain controller with its state in dir, an empty folder, and
// returns when it answers. The caller must Close it. Tests use [Start].
func Run(ctx context.Context, dir string, opts ...Option) (_ *DC, err error) {
	o := defaults()
	for _, opt := range opts {
		opt(&o)
	}
	from, err := provisioned()
	if err != nil {
		return nil, fmt.Errorf("start a domain controller: %w", err)
	}
	address, lock, err := lease()
	if err != nil {
		return nil, fmt.Errorf("start a domain controller: %w", err)
	}
	dc := &DC{
		Addr: address, URL: "ldaps://" + net.JoinHostPort(address, "636"),
		Realm: realm, Domain: domain, NetBIOS: netbios, Host: host + "." + domain, BaseDN: baseDN, Dir: dir,
		AdminDN: "CN=Administrator,CN=Users," + baseDN, AdminUPN: "administrator@" + domain,
		AdminPassword: secret.New([]byte(adminPassword)),
		CAFile:        filepath.Join(dir, "tls", "ca.pem"),
		options:       o, lease: lock,
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start a domain controller: %w", errors.Join(err, dc.Close()))
		}
	}()
	if err := copyState(from, dir); err != nil {
		return nil, err
	}
	if err := layOut(dir, address, o); err != nil {
		return nil, err
	}
	if err := dc.certify(); err != nil {
		return nil, err
	}
	if err := dc.start(ctx); err != nil {
		return nil, err
	}
	return dc, dc.applyPolicy()
}

// certify writes a certificate for the DC, of an authority of its own.
func (dc *DC) certify() error {
	ca, err := certs.NewCA("dirgate test domain CA")
	if err != nil {
		return err
	}
	pair, err := ca.Issue(dc.Host, dc.Domain, dc.Addr)
	if err != nil {
		return err
	}
	dc.CAPEM = ca.CertPEM
	if err := os.WriteFile(dc.CAFile, ca.CertPEM, 0o644); err != nil {
		return err
	}
	return pair.Write(filepath.Join(dc.Dir, "tls", "cert.pem"), filepath.Join(dc.Dir, "tls", "key.pem"))
}

// start runs the program and waits until it answers.
func (dc *DC) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	proc, err := startProcess(dc.Dir, dc.options)
	if err != nil {
		return err
	}
	dc.proc = proc
	// A process boundary: nothing tells when it listens, so it is asked.
	for {
		conn, err := dc.dialAdmin(2 * time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-proc.done:
			return fmt.Errorf("samba ended before it answered (%v); the end of its log:\n%s", proc.err, dc.log())
		case <-ctx.Done():
			return fmt.Errorf("samba did not answer: %w (last try: %w); the end of its log:\n%s", ctx.Err(), err, dc.log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (dc *DC) log() []byte {
	text, _ := os.ReadFile(filepath.Join(dc.Dir, "log", "log.samba"))
	return tail(append(text, dc.proc.output()...))
}

// TLS is the configuration of a client that trusts this DC alone.
func (dc *DC) TLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(dc.CAPEM)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: dc.Host}
}

// Dial connects over LDAPS and does not bind. Every request on the connection
// is given the timeout.
func (dc *DC) Dial(timeout time.Duration) (*ldap.Conn, error) {
	conn, err := ldap.DialURL(dc.URL, ldap.DialWithTLSConfig(dc.TLS()), ldap.DialWithDialer(&net.Dialer{Timeout: timeout}))
	if err != nil {
		return nil, err
	}
	conn.SetTimeout(timeout)
	return conn, nil
}

func (dc *DC) dialAdmin(timeout time.Duration) (*ldap.Conn, error) {
	conn, err := dc.Dial(timeout)
	if err != nil {
		return nil, err
	}
	if err := conn.Bind(dc.AdminUPN, string(dc.AdminPassword.Expose())); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Close stops the DC and gives its address back; the folder stays.
func (dc *DC) Close() error {
	err := dc.stop(endTerm)
	if dc.lease != nil {
		err = errors.Join(err, dc.lease.Close())
		dc.lease = nil
	}
	return err
}

func (dc *DC) stop(how ending) error {
	if dc.proc == nil {
		return nil
	}
	err := dc.proc.end(how)
	dc.proc = nil
	return err
}
