package certs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/certs/certstest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handshake connects client and server over a pipe and gives both ends, to be
// closed when the test ends. The errors are the client's and the server's. The
// server then sends a byte, since its session tickets stay in the pipe until
// the client reads.
func handshake(tb testing.TB, client, server *tls.Config) (c, s *tls.Conn, cerr, serr error) {
	tb.Helper()
	cp, sp := net.Pipe()
	c, s = tls.Client(cp, client), tls.Server(sp, server)
	done := make(chan error, 1)
	go func() {
		_, err := s.Write([]byte{'!'})
		if err != nil {
			sp.Close()
		}
		done <- err
	}()
	var b [1]byte
	if _, cerr = io.ReadFull(c, b[:]); cerr != nil {
		cp.Close()
	}
	serr = <-done
	tb.Cleanup(func() { cp.Close(); sp.Close() })
	return c, s, cerr, serr
}

// echo sends one byte each way over an established connection.
func echo(tb testing.TB, c, s *tls.Conn) {
	tb.Helper()
	for _, pair := range [][2]*tls.Conn{{c, s}, {s, c}} {
		done := make(chan error, 1)
		go func() {
			_, err := pair[0].Write([]byte{'x'})
			done <- err
		}()
		var b [1]byte
		if _, err := io.ReadFull(pair[1], b[:]); err != nil {
			tb.Fatalf("read: %v", err)
		}
		if err := <-done; err != nil {
			tb.Fatalf("write: %v", err)
		}
	}
}

func TestCA(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	ca, err := certs.CreateCA(certFile, keyFile, "example CA")
	if err != nil {
		t.Fatal(err)
	}
	cert := ca.Certificate()
	if !cert.IsCA || cert.MaxPathLen != 0 || !cert.MaxPathLenZero || cert.Subject.CommonName != "example CA" {
		t.Errorf("CA certificate: IsCA %v, path length %d (%v), name %q", cert.IsCA, cert.MaxPathLen, cert.MaxPathLenZero, cert.Subject.CommonName)
	}
	if left := time.Until(cert.NotAfter); left < 9*365*24*time.Hour || left > certs.CALifetime {
		t.Errorf("CA certificate valid for %v more", left)
	}
	for name, want := range map[string]fs.FileMode{certFile: 0o644, keyFile: 0o600} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != want {
			t.Errorf("%s: mode %v, want %v", filepath.Base(name), got, want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("%d files in the folder, want 2", len(entries))
	}

	before, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := certs.CreateCA(certFile, keyFile, "another"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second CreateCA: got %v, want fs.ErrExist", err)
	}
	if err := certs.Issue(ca, filepath.Join(dir, "new.crt"), keyFile, "localhost"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Issue over a key: got %v, want fs.ErrExist", err)
	}
	if after, _ := os.ReadFile(keyFile); !slices.Equal(before, after) {
		t.Error("the key was overwritten")
	}
	if _, err := os.Stat(filepath.Join(dir, "new.crt")); err == nil {
		t.Error("half of a refused pair was written")
	}
	if _, err := certs.NewCA(" "); err == nil {
		t.Error("a CA without a name was made")
	}
}

func TestIssue(t *testing.T) {
	ca := certstest.New(t)
	long := strings.Repeat("a", 60) + ".example.com"
	leaf := ca.Issue("LDAP.example.com", "*.example.org", "192.0.2.1", "2001:db8::1", long).Leaf
	if want := []string{"ldap.example.com", "*.example.org", long}; !slices.Equal(leaf.DNSNames, want) {
		t.Errorf("DNS names %q, want %q", leaf.DNSNames, want)
	}
	if len(leaf.IPAddresses) != 2 {
		t.Errorf("addresses %v, want two", leaf.IPAddresses)
	}
	if left := time.Until(leaf.NotAfter); left > certs.ServerLifetime || left < certs.ServerLifetime-2*time.Hour {
		t.Errorf("valid for %v more, want %v", left, certs.ServerLifetime)
	}
	for _, host := range []string{"ldap.example.com", "x.example.org", "192.0.2.1", "2001:db8::1", long} {
		opts := x509.VerifyOptions{DNSName: host, Roots: ca.Pool()}
		if _, err := leaf.Verify(opts); err != nil {
			t.Errorf("verify for %s: %v", host, err)
		}
	}
	if leaf.IsCA {
		t.Error("a server certificate is a CA")
	}
	for _, hosts := range [][]string{nil, {""}, {"ldaps://x"}, {"x:636"}, {"a b"}, {"x..y"}, {"-x"}, {"ok", "no/way"}, {strings.Repeat("a", 64)}} {
		if _, err := ca.Authority().Issue(hosts...); err == nil {
			t.Errorf("Issue(%q) succeeded", hosts)
		}
	}
}

func TestClient(t *testing.T) {
	ca := certstest.New(t)
	config, err := certs.ClientFile(ca.File(), "ldap.example.com")
	if err != nil {
		t.Fatal(err)
	}
	c, s, cerr, serr := handshake(t, config, ca.Server("ldap.example.com"))
	if cerr != nil || serr != nil {
		t.Fatalf("handshake: client %v, server %v", cerr, serr)
	}
	echo(t, c, s)
	if got := c.ConnectionState().CurveID; got != tls.X25519 {
		t.Errorf("key exchange %v, want X25519", got)
	}

	old := ca.Server("ldap.example.com")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, _, cerr, _ := handshake(t, config, old); cerr == nil {
		t.Error("handshake with TLS 1.1 succeeded")
	}

	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// An empty file must not mean the system's roots.
	if _, err := certs.ClientFile(empty, ""); err == nil {
		t.Error("ClientFile accepted an empty file")
	}
	if _, err := certs.ClientFile(empty+".absent", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ClientFile of no file: got %v, want fs.ErrNotExist", err)
	}
	if _, err := certs.Client([]byte("junk"), ""); err == nil {
		t.Error("Client accepted junk for a CA")
	}
	system, err := certs.ClientFile("", "localhost")
	if err != nil || system.RootCAs != nil {
		t.Errorf("ClientFile of \"\": roots %v, error %v, want the system's roots", system.RootCAs, err)
	}
}

// TestClientResumes checks that a second connection needs no certificate.
func TestClientResumes(t *testing.T) {
	ca := certstest.New(t)
	client, server := ca.Client("localhost"), ca.Server("localhost")
	for _, want := range []bool{false, true} {
		c, s, cerr, serr := handshake(t, client, server)
		if cerr != nil || serr != nil {
			t.Fatalf("handshake: client %v, server %v", cerr, serr)
		}
		echo(t, c, s)
		if got := c.ConnectionState().DidResume; got != want {
			t.Errorf("resumed %v, want %v", got, want)
		}
	}
}

// TestServerTickets: TLS 1.2 resumes; in TLS 1.3 no ticket follows the
// handshake, since some clients cannot read one beside an answer.
func TestServerTickets(t *testing.T) {
	ca := certstest.New(t)
	cert, key := ca.Files("localhost")
	r, err := certs.Server(cert, key, certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := ca.Client("localhost")
		client.MaxVersion = version
		for _, second := range []bool{false, true} {
			c, s, cerr, serr := handshake(t, client, r.Config())
			if cerr != nil || serr != nil {
				t.Fatalf("handshake: client %v, server %v", cerr, serr)
			}
			echo(t, c, s)
			if got, want := c.ConnectionState().DidResume, second && version == tls.VersionTLS12; got != want {
				t.Errorf("%s, second %v: resumed %v, want %v", tls.VersionName(version), second, got, want)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	ca := certstest.New(t)
	plain := func(tb testing.TB) error {
		cp, sp := net.Pipe()
		tb.Cleanup(func() { cp.Close(); sp.Close() })
		done := make(chan error, 2)
		go func() {
			_, err := sp.Write([]byte("220 ready to serve\r\n"))
			done <- err
		}()
		go func() {
			_, err := io.Copy(io.Discard, sp)
			done <- err
		}()
		err := tls.Client(cp, ca.Client("localhost")).Handshake()
		cp.Close()
		<-done
		<-done
		return err
	}
	verify := func(cert tls.Certificate, name string) func(testing.TB) error {
		return func(tb testing.TB) error {
			_, _, err, _ := handshake(tb, ca.Client(name), &tls.Config{Certificates: []tls.Certificate{cert}})
			return err
		}
	}
	tests := []struct {
		name string
		err  func(testing.TB) error
		want []string
	}{
		{"other authority", verify(certstest.New(t).Issue("localhost"), "localhost"),
			[]string{`issued by "CN=dirgate test CA"`, "not in CA file /etc/ca.pem", "add that issuer"}},
		{"wrong name", verify(ca.Issue("dc1.example.com", "192.0.2.1"), "localhost"),
			[]string{`does not name "localhost"`, `["dc1.example.com" "192.0.2.1"]`}},
		{"expired", verify(ca.Expired("localhost"), "localhost"),
			[]string{`"CN=localhost"`, "is valid from", ca.Expired("localhost").Leaf.NotAfter.UTC().Format("2006-01-02"), "renew it"}},
		{"no TLS", plain, []string{"does not speak TLS", "check scheme and port"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.err(t)
			if err == nil {
				t.Fatal("the handshake succeeded")
			}
			got := certs.Explain(err, "/etc/ca.pem")
			if !errors.Is(got, err) {
				t.Errorf("explanation %v does not wrap %v", got, err)
			}
			for _, part := range tt.want {
				if !strings.Contains(got.Error(), part) {
					t.Errorf("explanation %q lacks %q", got, part)
				}
			}
		})
	}
	if err := certs.Explain(context.DeadlineExceeded, "x"); err != context.DeadlineExceeded {
		t.Errorf("an error that is not about certificates: got %v, want it unchanged", err)
	}
	if err := certs.Explain(nil, "x"); err != nil {
		t.Errorf("no error: got %v", err)
	}
	unknown := certs.Explain(verify(certstest.New(t).Issue("localhost"), "localhost")(t), "")
	if !strings.Contains(unknown.Error(), "the system's trusted roots") {
		t.Errorf("explanation %q does not name the system's roots", unknown)
	}
}

// BenchmarkHandshake measures both ends of a full handshake over a pipe, for
// a client with hybrid post-quantum key shares and one without.
func BenchmarkHandshake(b *testing.B) {
	ca := certstest.New(b)
	server := ca.Server("localhost")
	server.SessionTicketsDisabled = true
	for _, bb := range []struct {
		name   string
		curves []tls.CurveID
	}{
		{"hybrid", nil},
		{"classical", []tls.CurveID{tls.X25519, tls.CurveP256}},
	} {
		client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", CurvePreferences: bb.curves}
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				cp, sp := net.Pipe()
				done := make(chan error, 1)
				go func() { done <- tls.Server(sp, server).Handshake() }() // no tickets: ends by itself
				if err := tls.Client(cp, client).Handshake(); err != nil {
					b.Fatal(err)
				}
				if err := <-done; err != nil {
					b.Fatal(err)
				}
				cp.Close()
				sp.Close()
			}
		})
	}
}
