package e2e

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/go-ldap/ldap/v3"
)

// configure replaces the line of a key in the configuration that init wrote.
func (in *installation) configure(key, value string) {
	in.t.Helper()
	text, err := os.ReadFile(in.config)
	if err != nil {
		in.t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^( *)#?` + regexp.QuoteMeta(key) + `:.*$`)
	if n := len(line.FindAll(text, -1)); n != 1 {
		in.t.Fatalf("%d lines set %s, want 1", n, key)
	}
	text = line.ReplaceAll(text, []byte("${1}"+key+": "+value))
	if err := os.WriteFile(in.config, text, 0o644); err != nil {
		in.t.Fatal(err)
	}
}

var sayLDAP = regexp.MustCompile(` ldap=(\S+)`)

// plain is the address where clients begin in clear.
func (in *installation) plain() string {
	in.t.Helper()
	m := sayLDAP.FindStringSubmatch(in.output.String())
	if m == nil {
		in.t.Fatal("the daemon does not say where it listens for StartTLS")
	}
	return m[1]
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// TestG2_StartTLSClients: stock clients log in, search and change a password
// by StartTLS; without it they are told so.
func TestG2_StartTLSClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("ldap", `"127.0.0.1:0"`)
	w.serve()
	url := "ldap://" + w.plain()
	search := []string{"-x", "-LLL", "-H", url, "-D", "alice@" + w.name, "-w", before, "-b", w.base, "(sAMAccountName=alice)", "cn"}

	out, err := w.ldapTool(w.ca, "", "ldapsearch", append([]string{"-ZZ"}, search...)...)
	if err != nil || !strings.Contains(out, "cn: alice") {
		t.Errorf("ldapsearch -ZZ: %v\n%s", err, out)
	}
	out, err = w.ldapTool(w.ca, "", "ldapsearch", search...)
	if exitStatus(err) != int(ldap.LDAPResultConfidentialityRequired) || !strings.Contains(out, "StartTLS") {
		t.Errorf("ldapsearch in clear: got %v, want status 13 and a word about StartTLS", err)
	}
	out, err = w.ldapTool(w.ca, "", "ldapsearch", "-x", "-LLL", "-H", url, "-s", "base", "-b", "", "defaultNamingContext")
	if err != nil || !strings.Contains(out, "defaultNamingContext: "+w.base) {
		t.Errorf("root DSE in clear: %v\n%s", err, out)
	}
	const second = "Second.StartTLS2"
	if _, err := w.ldapTool(w.ca, w.changeByLDIF(before, second), "ldapmodify", "-ZZ", "-x", "-H", url, "-D", w.dn, "-w", before); err != nil {
		t.Fatal(err)
	}
	w.cloud.wantAccepted(t, soon, "alice", second)

	pem, err := os.ReadFile(w.ca)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ldap.DialURL(url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.StartTLS(clientTLS(t, pem)); err != nil {
		t.Fatal("StartTLS of a second client library:", err)
	}
	if err := c.Bind("alice@"+w.name, second); err != nil {
		t.Error(err)
	}
}

// TestG8_ProxyProtocol: the client that a trusted load balancer names is the
// one in the log, and the one that is counted.
func TestG8_ProxyProtocol(t *testing.T) {
	t.Parallel()
	w := newEmbeddedWorld(t)
	w.configure("trusted", "[127.0.0.1]")
	w.configure("max_connections_per_ip", "2")
	w.serve()
	pem, err := os.ReadFile(w.ca)
	if err != nil {
		t.Fatal(err)
	}
	header := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x04\xd2\x02\x7c"
	bind := func(header string) error {
		conn, err := net.Dial("tcp", w.ldaps)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, header); err != nil {
			return err
		}
		tc := tls.Client(conn, clientTLS(t, pem))
		if _, err := tc.Write(ldapwire.AppendBindRequest(nil, 1, "alice@"+w.name, []byte(before))); err != nil {
			return err
		}
		msg, err := ldapwire.NewReader(tc, 0).Next()
		if err != nil {
			return err
		}
		res, err := ldapwire.ParseResult(msg.Body)
		if err == nil && res.Code != ldapwire.ResultSuccess {
			err = errors.New(res.Code.String())
		}
		return err
	}
	for range 2 {
		if err := bind(header); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(w.output.String(), "client=192.0.2.7:1234") {
		t.Error("the log lacks the client's address, 192.0.2.7:1234")
	}
	if err := bind(header); err == nil {
		t.Error("a third connection of the client was served, want it closed")
	}
	for name, header := range map[string]string{"none": "", "version 1": "PROXY TCP4 192.0.2.8 127.0.0.1 1 2\r\n"} {
		if err := bind(header); err == nil {
			t.Errorf("header %s: served, want the connection closed", name)
		}
	}
}

// TestG8_ReloadLimits: a running daemon takes new limits over on SIGHUP, and
// sessions go on.
func TestG8_ReloadLimits(t *testing.T) {
	t.Parallel()
	w := newEmbeddedWorld(t)
	w.serve()
	old := w.conn()
	if err := old.Bind("alice@"+w.name, before); err != nil {
		t.Fatal(err)
	}
	w.configure("max_connections_per_ip", "1")
	if err := w.daemon.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the daemon says that it has the new limits", func() bool {
		return strings.Contains(w.output.String(), `msg="configuration reloaded" changed=gateway.max_connections_per_ip`)
	})
	pem, err := os.ReadFile(w.ca)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := tls.Dial("tcp", w.ldaps, clientTLS(t, pem)); err == nil {
		_ = c.Close()
		t.Error("a second connection was served, want it closed")
	}
	if err := old.Bind("alice@"+w.name, before); err != nil {
		t.Error("the session that existed:", err)
	}
}
