package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/store"
)

// clientCA signs certificates of clients.
type clientCA struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newClientCA(t *testing.T) *clientCA {
	ca := &clientCA{t: t}
	ca.key, ca.cert = ca.make(&x509.Certificate{Subject: pkix.Name{CommonName: "clients"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)})
	return ca
}

func (ca *clientCA) make(tmpl *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	tmpl.SerialNumber, tmpl.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-2*time.Hour)
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return key, cert
}

func (ca *clientCA) client(until time.Duration) *tls.Certificate {
	key, cert := ca.make(&x509.Certificate{Subject: pkix.Name{CommonName: "portal"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		KeyUsage: x509.KeyUsageDigitalSignature, NotAfter: time.Now().Add(until)})
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (ca *clientCA) write(path string) {
	ca.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), 0o644); err != nil {
		ca.t.Fatal(err)
	}
}

// TestClientCertificates: a certificate of the configured CA opens the API, none
// leaves it to the token, and any other ends the handshake; also after the CA
// was changed.
func TestClientCertificates(t *testing.T) {
	ours, others := newClientCA(t), newClientCA(t)
	cfg := newInstallation(t)
	cfg.Delegate.Listen, cfg.TLS.ClientCAFile = "127.0.0.1:0", filepath.Join(t.TempDir(), "clients.crt")
	ours.write(cfg.TLS.ClientCAFile)
	d, log := newTestDaemon(t, cfg)
	ended := make(chan error, 1)
	go func() { ended <- d.delegate.serve() }()
	_, token, err := d.opened.store.CreateToken(t.Context(), store.Token{Name: "t", Scopes: []string{store.ScopeValidate}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	conf, err := certs.ClientFile(filepath.Join(filepath.Dir(cfg.Path), "ca.crt"), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	// No domain is registered: who has the right gets 503.
	try := func(name string, cert *tls.Certificate, bearer string, want int) {
		t.Helper()
		conf := conf.Clone()
		if cert != nil { // also when the listener does not name its CA
			conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		client := http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+d.delegate.listener.Addr().String()+"/v1/validate",
			strings.NewReader(`{"username":"alice","password":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		code := 0
		if res, err := client.Do(req); err == nil {
			_ = res.Body.Close()
			code = res.StatusCode
		}
		if code != want {
			t.Errorf("%s: got %d, want %d", name, code, want)
		}
	}
	right := string(token.Expose())
	mine, his := ours.client(time.Hour), others.client(time.Hour)
	try("the right CA's", mine, "", http.StatusServiceUnavailable)
	try("the right CA's, expired", ours.client(-time.Hour), right, 0)
	try("another CA's", his, "", 0)
	try("another CA's, with a token", his, right, 0)
	try("none, with a token", nil, right, http.StatusServiceUnavailable)
	try("none, with a wrong token", nil, right[:len(right)-1]+"!", http.StatusUnauthorized)
	try("none", nil, "", http.StatusUnauthorized)
	others.write(cfg.TLS.ClientCAFile)
	try("the CA of before", mine, "", 0)
	try("the new CA's", his, "", http.StatusServiceUnavailable)
	if err := os.WriteFile(cfg.TLS.ClientCAFile, []byte("half a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	try("after a file that is none", his, "", http.StatusServiceUnavailable)
	log.wait(t, "tls.client_ca_file")
	d.close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestClientCAFile: a daemon whose file cannot be used does not start.
func TestClientCAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.crt")
	if _, err := delegateTLS(new(tls.Config), path, nil); err == nil || !strings.Contains(err.Error(), "tls.client_ca_file: open") {
		t.Errorf("no file: got %v", err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := delegateTLS(new(tls.Config), path, nil); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("an empty file: got %v", err)
	}
}
