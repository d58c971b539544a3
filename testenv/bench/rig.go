package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dirgate/dirgate/certs"
)

// suffix holds the back end's people; password is that of all of them.
const (
	suffix   = "dc=bench,dc=example"
	password = "correct horse battery staple"
)

func uid(n int) string    { return fmt.Sprintf("user%05d", n) }
func userDN(n int) string { return "uid=" + uid(n) + "," + suffix }

// host is in both certificates, besides 127.0.0.1.
const host = "localhost"

// rig is what every measurement needs: the back end, certificates and ports.
type rig struct {
	dir     string
	people  int
	threads int // of HAProxy
	slapd   string
	// maxSessions is how many a relay can hold with the files it may open.
	maxSessions int
	backend     *process
	backPort    int // the back end
	port        int // the program being measured; one at a time
	backCA      string
	certFile    string // the listener's, ECDSA P-256, with its key
	keyFile     string
	client      *tls.Config
}

// backendThreads is few enough to leave the relay a share of a small machine.
const backendThreads = 8

// newRig starts the back end in dir.
func newRig(ctx context.Context, dir string, people, threads, maxSessions int) (*rig, error) {
	r := &rig{dir: dir, people: people, threads: threads, maxSessions: maxSessions, slapd: find("slapd")}
	if r.slapd == "" {
		return nil, errors.New("find slapd, the back end: it is not installed (Debian: apt-get install slapd)")
	}
	var err error
	if r.backPort, err = freePort(21_000); err != nil {
		return nil, err
	}
	if r.port, err = freePort(r.backPort + 1); err != nil {
		return nil, err
	}
	if err := r.makeCertificates(); err != nil {
		return nil, err
	}
	if err := r.load(); err != nil {
		return nil, err
	}
	r.backend, err = startProcess(dir, "backend", r.slapd, "-d", "0", "-f", r.path("backend.conf"), "-h", "ldaps://"+local(r.backPort))
	if err != nil {
		return nil, err
	}
	if err := r.backend.awaitAnswer(ctx, r.direct()); err != nil {
		r.backend.end()
		return nil, err
	}
	return r, nil
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// direct is the back end, relayed the program being measured.
func (r *rig) direct() server  { return server{local(r.backPort), r.client} }
func (r *rig) relayed() server { return server{local(r.port), r.client} }

// makeCertificates gives the back end an RSA certificate, as most domain
// controllers have, and the relays an ECDSA one, as dirgate makes them.
func (r *rig) makeCertificates() error {
	backCA, err := rsaCertificate(r.path("backend.crt"), r.path("backend.key"))
	if err != nil {
		return fmt.Errorf("make the back end's certificate: %w", err)
	}
	r.backCA = r.path("backend-ca.crt")
	if err := os.WriteFile(r.backCA, backCA, 0o644); err != nil {
		return err
	}
	ca, err := certs.NewCA("dirgate bench CA")
	if err != nil {
		return err
	}
	r.certFile, r.keyFile = r.path("listener.crt"), r.path("listener.key")
	if err := certs.Issue(ca, r.certFile, r.keyFile, host, "127.0.0.1"); err != nil {
		return err
	}
	if r.client, err = certs.Client(append(backCA, ca.CertPEM...), host); err != nil {
		return err
	}
	r.client.ClientSessionCache = nil // each login is a full handshake
	return nil
}

// rsaCertificate writes a certificate with an RSA key of 2048 bits and returns
// its issuer's, which has one too.
func rsaCertificate(certFile, keyFile string) (caPEM []byte, err error) {
	const bits = 2048
	caKey, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, err
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, err
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	issuer := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dirgate bench back end CA"}, NotBefore: from, NotAfter: to,
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, NotBefore: from, NotAfter: to,
		DNSNames: []string{host}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, issuer, issuer, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), err
}

// slapdConf is the head of a slapd's configuration. Two of them run here: the
// back end, and back-ldap.
func slapdConf(module, certFile, keyFile, caFile string) string {
	return fmt.Sprintf(`include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload %s
threads %d
loglevel none
sizelimit unlimited
timelimit unlimited
TLSCACertificateFile %s
TLSCertificateFile %s
TLSCertificateKeyFile %s
`, module, backendThreads, caFile, certFile, keyFile)
}

// load writes the back end's configuration and data.
func (r *rig) load() error {
	slapadd := find("slapadd")
	if slapadd == "" {
		return errors.New("find slapadd: it is not installed (Debian: apt-get install slapd)")
	}
	conf := slapdConf("back_mdb", r.path("backend.crt"), r.path("backend.key"), r.backCA) + fmt.Sprintf(`database mdb
suffix %q
directory %q
maxsize 1073741824
index objectClass,uid eq
`, suffix, r.path("db"))
	err := errors.Join(os.Mkdir(r.path("db"), 0o700),
		os.WriteFile(r.path("backend.conf"), []byte(conf), 0o600),
		os.WriteFile(r.path("people.ldif"), ldif(r.people), 0o600))
	if err != nil {
		return err
	}
	if out, err := exec.Command(slapadd, "-q", "-f", r.path("backend.conf"), "-l", r.path("people.ldif")).CombinedOutput(); err != nil {
		return fmt.Errorf("load the back end: slapadd: %w: %s", err, out)
	}
	return nil
}

// ldif is the back end's tree.
func ldif(people int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: bench\no: bench\n", suffix)
	for n := range people {
		fmt.Fprintf(&b, "\ndn: %s\nobjectClass: inetOrgPerson\nuid: %s\ncn: Given%d Family%d\nsn: Family%d\ngivenName: Given%d\n",
			userDN(n), uid(n), n, n, n, n)
		fmt.Fprintf(&b, "mail: %s@bench.example\ntelephoneNumber: +1 555 %07d\n", uid(n), n)
		fmt.Fprintf(&b, "description: An entry of the size that applications usually ask for, number %d of them all\n", n)
		fmt.Fprintf(&b, "userPassword: %s\n", ssha(password, fmt.Sprintf("%08d", n)))
	}
	return []byte(b.String())
}

// ssha is OpenLDAP's default form of a stored password.
func ssha(password, salt string) string {
	sum := sha1.Sum([]byte(password + salt))
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...))
}

// restBusy is the share of a core that a back end at rest may use.
const restBusy = 10 // percent

// rest waits until the back end has finished what an earlier cell left it, and
// gives up after a few seconds: the load of the next cell then says so itself.
func (r *rig) rest(ctx context.Context) error {
	const look, tries = 200 * time.Millisecond, 50
	before, err := cpuTime(r.backend.pid())
	for range tries {
		if err != nil || !sleep(ctx, look) {
			break
		}
		var now time.Duration
		if now, err = cpuTime(r.backend.pid()); now-before <= look*restBusy/100 {
			break
		}
		before = now
	}
	return errors.Join(err, ctx.Err(), r.backend.died())
}
