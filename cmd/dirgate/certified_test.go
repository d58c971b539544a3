package main

import (
	"crypto/tls"
	"testing"

	"github.com/dirgate/dirgate/certs/certstest"
)

// TestCertifiedFor: the portal answers for the names of the certificate, as it
// is now.
func TestCertifiedFor(t *testing.T) {
	ca := certstest.New(t)
	served := ca.Server("portal.example.test", "127.0.0.1", "::1")
	is := certifiedFor(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &served.Certificates[0], nil }})
	for host, want := range map[string]bool{"portal.example.test": true, "PORTAL.example.test": true, "127.0.0.1": true, "::1": true,
		"other.example.test": false, "127.0.0.2": false, "": false, "portal.example.test.evil.test": false} {
		if is(host) != want {
			t.Errorf("%q: %v, want %v", host, !want, want)
		}
	}
	served = ca.Server("other.example.test")
	if is("portal.example.test") || !is("other.example.test") {
		t.Error("the names are those of a certificate that is not served any more")
	}
}
