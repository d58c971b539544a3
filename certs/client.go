package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
)

// Client is the configuration for TLS to a peer whose certificate must be
// issued by a CA in caPEM, or by one of the system's roots if caPEM is empty,
// and must name serverName. An empty serverName leaves it to the dialer to set
// one per connection; crypto/tls refuses to connect without.
//
// Sessions are resumed where the peer gives tickets. The caller may Clone the
// result; the clones share the session cache.
func Client(caPEM []byte, serverName string) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         serverName,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
		CurvePreferences:   []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
	}
	if len(caPEM) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(caPEM) {
			return nil, errors.New("read CA certificates: no usable PEM certificate found " +
				"(a DER file can be converted with openssl x509 -inform der)")
		}
	}
	return config, nil
}

// ClientFile is [Client] with the CA certificates in a PEM file; an empty
// name means the system's roots.
func ClientFile(caFile, serverName string) (*tls.Config, error) {
	if caFile == "" {
		return Client(nil, serverName)
	}
	caPEM, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates: %w", err)
	}
	if len(caPEM) == 0 {
		return nil, fmt.Errorf("read CA certificates: %s is empty", caFile)
	}
	config, err := Client(caPEM, serverName)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", caFile, err)
	}
	return config, nil
}

// Explain makes clear what is wrong with a peer that failed the handshake:
// who issued its certificate, which names it holds, when it expired, and what
// to do. caFile is the file that was given to [ClientFile]. The result wraps
// err; an err that is not about a certificate comes back as it is.
func Explain(err error, caFile string) error {
	trusted := "the system's trusted roots"
	if caFile != "" {
		trusted = "CA file " + caFile
	}
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok && unknown.Cert != nil {
		return fmt.Errorf("the certificate was issued by %q, which is not in %s: add that issuer's certificate to it: %w",
			unknown.Cert.Issuer.String(), trusted, err)
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok && name.Certificate != nil {
		return fmt.Errorf("the certificate does not name %q; %s: use one of its names or issue a new certificate: %w",
			name.Host, describeNames(name.Certificate), err)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Cert != nil {
		return explainInvalid(invalid, err)
	}
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("the peer does not speak TLS on this port (%s): check scheme and port: %w", header.Msg, err)
	}
	return err
}

func explainInvalid(invalid x509.CertificateInvalidError, err error) error {
	cert := invalid.Cert
	switch invalid.Reason {
	case x509.Expired:
		// crypto/x509 uses this reason for both ends of the validity.
		return fmt.Errorf("the certificate of %q is valid from %s to %s only: renew it, or check this machine's clock: %w",
			cert.Subject.String(), stamp(cert.NotBefore), stamp(cert.NotAfter), err)
	case x509.IncompatibleUsage:
		return fmt.Errorf("the certificate of %q is not for TLS servers (extended key usage serverAuth is missing): issue a new one: %w",
			cert.Subject.String(), err)
	case x509.NotAuthorizedToSign:
		return fmt.Errorf("the issuer %q is not a certificate authority: %w", cert.Subject.String(), err)
	}
	return fmt.Errorf("the certificate of %q cannot be used: %w", cert.Subject.String(), err)
}

// names lists what a certificate is good for (RFC 9525 section 2).
func names(cert *x509.Certificate) []string {
	list := append([]string{}, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		list = append(list, net.IP.String(ip))
	}
	return list
}

func describeNames(cert *x509.Certificate) string {
	if list := names(cert); len(list) > 0 {
		return fmt.Sprintf("it names %q", list)
	}
	return fmt.Sprintf("it has no subject alternative name, and its subject %q does not count", cert.Subject.String())
}
