package certs_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/certs/certstest"
)

// served handshakes with the listener and returns the connection's ends and
// the first name in the certificate it showed.
func served(tb testing.TB, ca *certstest.CA, r *certs.Reloader) (c, s *tls.Conn, name string) {
	tb.Helper()
	c, s, cerr, serr := handshake(tb, ca.Client("localhost"), r.Config())
	if cerr != nil || serr != nil {
		tb.Fatalf("handshake: client %v, server %v", cerr, serr)
	}
	return c, s, c.ConnectionState().PeerCertificates[0].DNSNames[0]
}

// newPair issues a certificate whose first name tells it from others.
func newPair(tb testing.TB, ca *certstest.CA, name string) certs.Pair {
	tb.Helper()
	pair, err := ca.Authority().Issue(name, "localhost")
	if err != nil {
		tb.Fatal(err)
	}
	return pair
}

// replace puts new contents under a name by rename, as renewal tools do.
func replace(tb testing.TB, name string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		tb.Fatal(err)
	}
}

func TestServerReload(t *testing.T) {
	ca := certstest.New(t)
	certFile, keyFile := ca.Files("first", "localhost")
	var log bytes.Buffer
	r, err := certs.Server(certFile, keyFile, certs.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	c, s, name := served(t, ca, r)
	if name != "first" {
		t.Fatalf("serves %q, want first", name)
	}

	second := newPair(t, ca, "second")
	replace(t, certFile, second.CertPEM)
	if err := r.Reload(); err == nil || !strings.Contains(err.Error(), certFile) {
		t.Errorf("Reload of a certificate without its key: got %v, want an error that names %s", err, certFile)
	}
	if err := r.Reload(); err == nil || r.Err() == nil {
		t.Errorf("again: Reload %v, Err %v, want both to fail", err, r.Err())
	}
	if n := strings.Count(log.String(), "refused"); n != 1 {
		t.Errorf("refusal logged %d times, want once:\n%s", n, &log)
	}
	if _, _, name := served(t, ca, r); name != "first" {
		t.Errorf("after a refused pair: serves %q, want first", name)
	}

	replace(t, keyFile, second.KeyPEM)
	if err := r.Reload(); err != nil || r.Err() != nil {
		t.Errorf("Reload of a good pair: %v, Err %v", err, r.Err())
	}
	if _, _, name := served(t, ca, r); name != "second" {
		t.Errorf("after a good pair: serves %q, want second", name)
	}
	echo(t, c, s) // the first connection is untouched
	if strings.Contains(log.String(), "PRIVATE") {
		t.Errorf("a key is in the log:\n%s", &log)
	}

	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(); err == nil {
		t.Error("Reload without a key file succeeded")
	}
	replace(t, keyFile, second.KeyPEM)
	if err := r.Reload(); err != nil {
		t.Errorf("Reload when the file is back: %v", err)
	}
	if !strings.Contains(log.String(), "good again") {
		t.Errorf("recovery was not logged:\n%s", &log)
	}
}

// TestServerRefusesExpired checks that an expired pair never replaces a good
// one, but is served, and told of, if it is all there is.
func TestServerRefusesExpired(t *testing.T) {
	ca := certstest.New(t)
	certFile, keyFile := ca.Files("localhost")
	good, err := certs.Server(certFile, keyFile, certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, tt := range []struct {
		from, to time.Time
		want     string
	}{
		{now.Add(-2 * time.Hour), now.Add(-time.Hour), "expired on"},
		{now.Add(time.Hour), now.Add(2 * time.Hour), "not valid before"},
	} {
		pair, err := ca.Authority().IssueValid(tt.from, tt.to, "localhost")
		if err != nil {
			t.Fatal(err)
		}
		replace(t, certFile, pair.CertPEM)
		replace(t, keyFile, pair.KeyPEM)
		if err := good.Reload(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Reload: got %v, want an error with %q", err, tt.want)
		}
		if !good.NotAfter().After(tt.to) {
			t.Errorf("NotAfter %v: the bad pair is being served", good.NotAfter())
		}
		bad, err := certs.Server(certFile, keyFile, certs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := bad.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Err: got %v, want an error with %q", err, tt.want)
		}
		if got, want := bad.NotAfter(), tt.to.Truncate(time.Second); !got.Equal(want) {
			t.Errorf("NotAfter %v, want %v", got, want)
		}
	}
}

// TestServerRun replaces the files in the ways that happen in practice.
func TestServerRun(t *testing.T) {
	type swap func(t *testing.T, dir string, pair certs.Pair)
	for _, tt := range []struct {
		name  string
		setup func(t *testing.T, dir string, pair certs.Pair)
		swap  swap
	}{
		{"rename", writeFiles, func(t *testing.T, dir string, pair certs.Pair) {
			replace(t, filepath.Join(dir, "tls.crt"), pair.CertPEM)
			replace(t, filepath.Join(dir, "tls.key"), pair.KeyPEM)
		}},
		{"write in place, same size and time", writeFiles, func(t *testing.T, dir string, pair certs.Pair) {
			info, err := os.Stat(filepath.Join(dir, "tls.crt"))
			if err != nil {
				t.Fatal(err)
			}
			writeFiles(t, dir, pair)
			for _, name := range []string{"tls.crt", "tls.key"} {
				if err := os.Chtimes(filepath.Join(dir, name), info.ModTime(), info.ModTime()); err != nil {
					t.Fatal(err)
				}
			}
		}},
		// A Kubernetes secret: dir/tls.crt -> ..data/tls.crt, ..data -> a
		// folder, and the update renames a new ..data over the old one.
		{"folder link", func(t *testing.T, dir string, pair certs.Pair) {
			linkFolder(t, dir, "v1", pair)
			for _, name := range []string{"tls.crt", "tls.key"} {
				if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}, func(t *testing.T, dir string, pair certs.Pair) { linkFolder(t, dir, "v2", pair) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				ca := certstest.New(t)
				tt.setup(t, dir, newPair(t, ca, "first"))
				r, err := certs.Server(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), certs.Options{})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()

				c, s, name := served(t, ca, r)
				if name != "first" {
					t.Fatalf("serves %q, want first", name)
				}
				tt.swap(t, dir, newPair(t, ca, "second"))
				time.Sleep(certs.DefaultPollInterval) // in the bubble's time
				synctest.Wait()
				if _, _, name := served(t, ca, r); name != "second" {
					t.Errorf("after the swap: serves %q, want second", name)
				}
				echo(t, c, s)
				cancel()
				if err := <-done; err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}

// TestServerRunHalfSwapped checks that a look between the two renames of a
// renewal logs nothing, and that a pair that stays bad is logged once.
func TestServerRunHalfSwapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := certstest.New(t)
		certFile, keyFile := ca.Files("first", "localhost")
		var log bytes.Buffer
		r, err := certs.Server(certFile, keyFile, certs.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		tick := func() {
			time.Sleep(certs.DefaultPollInterval)
			synctest.Wait()
		}

		second := newPair(t, ca, "second")
		replace(t, certFile, second.CertPEM)
		tick()
		if r.Err() == nil {
			t.Error("half a swap: Err is nil")
		}
		replace(t, keyFile, second.KeyPEM)
		tick()
		if r.Err() != nil || strings.Contains(log.String(), "refused") {
			t.Errorf("whole swap: Err %v, log:\n%s", r.Err(), &log)
		}

		replace(t, certFile, []byte("junk"))
		for range 5 {
			tick()
		}
		if n := strings.Count(log.String(), "refused"); n != 1 {
			t.Errorf("a bad pair was logged %d times in 5 polls, want once:\n%s", n, &log)
		}
		if _, _, name := served(t, ca, r); name != "second" {
			t.Errorf("serves %q, want second", name)
		}
		cancel()
		<-done
	})
}

func TestServerOptions(t *testing.T) {
	ca := certstest.New(t)
	certFile, keyFile := ca.Files("localhost")
	otherCert, _ := ca.Files("localhost")
	r, err := certs.Server(certFile, keyFile, certs.Options{MinVersion: "1.3"})
	if err != nil {
		t.Fatal(err)
	}
	client := ca.Client("localhost")
	client.MaxVersion = tls.VersionTLS12
	if _, _, cerr, _ := handshake(t, client, r.Config()); cerr == nil {
		t.Error("minimum 1.3: a handshake with TLS 1.2 succeeded")
	}
	if _, err := certs.Server(certFile, keyFile, certs.Options{MinVersion: "1.1"}); err == nil {
		t.Error("minimum 1.1 was accepted")
	}
	for _, bad := range [][2]string{{certFile + "x", keyFile}, {certFile, keyFile + "x"}, {otherCert, keyFile}, {keyFile, certFile}} {
		if _, err := certs.Server(bad[0], bad[1], certs.Options{}); err == nil {
			t.Errorf("Server(%s, %s) succeeded", bad[0], bad[1])
		}
	}
	// ALPN: a client that offers protocols we do not name still gets in.
	r, err = certs.Server(certFile, keyFile, certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client = ca.Client("localhost")
	client.NextProtos = []string{"h2", "ldap"}
	c, _, cerr, _ := handshake(t, client, r.Config())
	if cerr != nil || c.ConnectionState().NegotiatedProtocol != "" {
		t.Errorf("client with ALPN: %v, protocol %q, want none", cerr, c.ConnectionState().NegotiatedProtocol)
	}
}

func writeFiles(t *testing.T, dir string, pair certs.Pair) {
	t.Helper()
	for name, data := range map[string][]byte{"tls.crt": pair.CertPEM, "tls.key": pair.KeyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func linkFolder(t *testing.T, dir, version string, pair certs.Pair) {
	t.Helper()
	folder := filepath.Join(dir, version)
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, folder, pair)
	link := filepath.Join(dir, "..data")
	if err := os.Symlink(version, link+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+"_tmp", link); err != nil {
		t.Fatal(err)
	}
}
