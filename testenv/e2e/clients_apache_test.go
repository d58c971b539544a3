package e2e

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// apacheModules is where Debian has them.
const apacheModules = "/usr/lib/apache2/modules"

// nobodyID is Debian's user and group without rights.
const nobodyID = 65534

// apache protects folders by mod_authnz_ldap: by password alone, and by group.
func (w *world) apache(t *testing.T) {
	const httpd = "/usr/sbin/apache2"
	if _, err := os.Stat(httpd); err != nil {
		missing(t, "apache2 (Debian: apache2-bin) is not installed")
	}
	nobody := strconv.Itoa(nobodyID)
	if err := exec.Command("setpriv", "--reuid="+nobody, "--regid="+nobody, "--clear-groups", "true").Run(); err != nil && os.Geteuid() == 0 {
		missing(t, "Apache does not run as root, and there is nobody else here")
	}
	member, other := w.person(t, "webmember"), w.person(t, "webother")
	group := w.dc.AddGroup(t, "Web", member.dn)
	port := w.startApache(t, httpd, group)
	get := func(path, name, password string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+path+"index.html", nil)
		if err != nil {
			t.Fatal(err)
		}
		if name != "" {
			req.SetBasicAuth(name, password)
		}
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	for _, tt := range []struct {
		what, path, name, password string
		want                       int
	}{
		{"nobody", "/any/", "", "", 401},
		{"a user", "/any/", other.name, other.password, 200},
		{"a wrong password", "/any/", other.name, "Not-The-Password1", 401},
		{"no password", "/any/", other.name, "", 401},
		{"somebody unknown", "/any/", "nobody", "Not-The-Password1", 401},
		{"a user after failures", "/any/", other.name, other.password, 200},
		{"a member", "/members/", member.name, member.password, 200},
		{"a member's wrong password", "/members/", member.name, "Not-The-Password1", 401},
		{"a user who is no member", "/members/", other.name, other.password, 403},
		{"a member again", "/members/", member.name, member.password, 200},
	} {
		if got := get(tt.path, tt.name, tt.password); got != tt.want {
			t.Errorf("%s at %s: status %d, want %d", tt.what, tt.path, got, tt.want)
		}
	}
	// Apache cannot change a password, but must take one that was.
	const to = "Changed-Elsewhere1"
	if _, err := client(t, []string{"LDAPTLS_CACERT=" + w.ca}, clientProgram(t, "ldappasswd"), "-x", "-H", w.gateway(),
		"-D", member.upn, "-w", member.password, "-a", member.password, "-s", to); err != nil {
		t.Fatal(err)
	}
	member.changed(t, to)
	if got := get("/members/", member.name, to); got != 200 {
		t.Errorf("with the new password: status %d, want 200", got)
	}
}

// startApache runs Apache as nobody, in a folder of its own, and returns its port.
func (w *world) startApache(t *testing.T, httpd, group string) (port string) {
	t.Helper()
	// Not t.TempDir, which nobody else may enter.
	dir, err := os.MkdirTemp("", "dirgate-httpd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ca, err := os.ReadFile(w.ca)
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(free.Addr().String())
	conf, err := os.ReadFile("testdata/clients/httpd.conf")
	if err := errors.Join(err, free.Close(), os.Chmod(dir, 0o777),
		os.WriteFile(filepath.Join(dir, "ca.crt"), ca, 0o644),
		os.WriteFile(filepath.Join(dir, "httpd.conf"), conf, 0o644),
		os.MkdirAll(filepath.Join(dir, "htdocs", "any"), 0o755), os.MkdirAll(filepath.Join(dir, "htdocs", "members"), 0o755),
		os.WriteFile(filepath.Join(dir, "htdocs", "any", "index.html"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "htdocs", "members", "index.html"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(httpd, "-f", filepath.Join(dir, "httpd.conf"), "-DFOREGROUND")
	cmd.Env = append(os.Environ(), "DIR="+dir, "CA="+filepath.Join(dir, "ca.crt"), "PORT="+port, "MODULES="+apacheModules, "GATEWAY="+w.ldaps,
		"BASE="+w.base, "GROUP="+group, "BINDNAME="+w.account, "BINDPASSWORD="+servicePassword)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobodyID, Gid: nobodyID}
	}
	var out transcript
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	eventually(t, patience, "Apache listens", func() bool {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err == nil {
			_ = c.Close()
			return true
		}
		log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
		if strings.Contains(out.String(), "rror") {
			t.Fatalf("Apache: %s%s", out.String(), log)
		}
		return false
	})
	return port
}
