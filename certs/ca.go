package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

const (
	// CALifetime is how long a private CA is valid.
	CALifetime = 10 * 365 * 24 * time.Hour
	// ServerLifetime is how long an issued certificate is valid. Several
	// platforms refuse server certificates that live longer.
	ServerLifetime = 825 * 24 * time.Hour

	// backdate makes a fresh certificate valid on peers whose clock is behind.
	backdate = time.Hour
)

// Pair is a certificate and its private key, both as PEM.
type Pair struct {
	CertPEM []byte
	KeyPEM  []byte
}

// TLS returns the pair as crypto/tls wants it, with Leaf set.
func (p Pair) TLS() (tls.Certificate, error) {
	cert, err := tls.X509KeyPair(p.CertPEM, p.KeyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("load certificate: %w", err)
	}
	return cert, nil
}

// Write stores the pair: the certificate with mode 0644, the key with 0600.
// Each file appears whole or not at all. If either exists, nothing is written
// and the error matches [fs.ErrExist]. The key is written first, so a
// certificate without a key cannot be left behind.
func (p Pair) Write(certFile, keyFile string) error {
	for _, name := range []string{certFile, keyFile} {
		switch _, err := os.Lstat(name); {
		case err == nil:
			return fmt.Errorf("write %s: %w: move it away first if you want a new one", name, fs.ErrExist)
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("write certificate: %w", err)
		}
	}
	if err := renameio.WriteFile(keyFile, p.KeyPEM, 0o600, renameio.WithStaticPermissions(0o600)); err != nil {
		return fmt.Errorf("write private key: %w", err)
	}
	if err := renameio.WriteFile(certFile, p.CertPEM, 0o644, renameio.WithStaticPermissions(0o644)); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}

// CA is a private certificate authority: ECDSA P-256, valid for [CALifetime],
// able to sign end certificates only (path length 0).
type CA struct {
	Pair
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes a certificate authority in memory. The name becomes its common
// name, which is what people see when they look at a certificate's issuer.
func NewCA(name string) (*CA, error) {
	if strings.TrimSpace(name) == "" {
		return nil, errors.New("create certificate authority: name is empty")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create certificate authority: %w", err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(CALifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	pair, err := sign(tmpl, tmpl, key, key)
	if err != nil {
		return nil, fmt.Errorf("create certificate authority: %w", err)
	}
	cert, err := pair.TLS()
	if err != nil {
		return nil, fmt.Errorf("create certificate authority: %w", err)
	}
	return &CA{Pair: pair, cert: cert.Leaf, key: key}, nil
}

// CreateCA makes a certificate authority and writes it (see [Pair.Write]).
func CreateCA(certFile, keyFile, name string) (*CA, error) {
	ca, err := NewCA(name)
	if err != nil {
		return nil, err
	}
	if err := ca.Write(certFile, keyFile); err != nil {
		return nil, err
	}
	return ca, nil
}

// Certificate is the CA's own certificate.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Pool holds the CA alone, for a client that trusts nothing else.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Issue makes a server certificate for the hosts, each a DNS name or an IP
// address, valid for [ServerLifetime].
func (ca *CA) Issue(hosts ...string) (Pair, error) {
	now := time.Now()
	return ca.IssueValid(now.Add(-backdate), now.Add(ServerLifetime), hosts...)
}

// IssueValid is Issue with a validity of the caller's choice.
func (ca *CA) IssueValid(notBefore, notAfter time.Time, hosts ...string) (Pair, error) {
	names, ips, err := splitHosts(hosts)
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate: %w", err)
	}
	tmpl := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName(hosts[0])},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              names,
		IPAddresses:           ips,
	}
	pair, err := sign(tmpl, ca.cert, key, ca.key)
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate: %w", err)
	}
	return pair, nil
}

// Issue makes a server certificate for the hosts and writes it (see
// [CA.Issue] and [Pair.Write]).
func Issue(ca *CA, certFile, keyFile string, hosts ...string) error {
	pair, err := ca.Issue(hosts...)
	if err != nil {
		return err
	}
	return pair.Write(certFile, keyFile)
}

// commonName fits a host into the 64 characters of a common name (RFC 5280
// appendix A.1). Clients read the alternative names, so cutting costs nothing.
func commonName(host string) string { return host[:min(len(host), 64)] }

// splitHosts sorts hosts into DNS names and addresses. A typing error would
// make a certificate that no client accepts, so anything else is refused.
func splitHosts(hosts []string) (names []string, ips []net.IP, err error) {
	if len(hosts) == 0 {
		return nil, nil, errors.New("no host given: name every DNS name and address that clients connect to")
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			ips = append(ips, ip)
			continue
		}
		if !validDNSName(strings.TrimPrefix(h, "*.")) {
			return nil, nil, fmt.Errorf("host %q is neither a DNS name nor an IP address (no port, no scheme)", h)
		}
		names = append(names, strings.ToLower(h))
	}
	return names, ips, nil
}

// validDNSName accepts letters, digits, '-' and '_' in labels of 1 to 63 bytes.
func validDNSName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
	}
	return true
}

// sign fills the template's serial number (chosen at random by crypto/x509)
// and encodes the result.
func sign(tmpl, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}
