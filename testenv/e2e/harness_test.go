package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
	"go.uber.org/goleak"
)

// built is the binary, once TestMain has built it.
var built builtProgram

// program is the path of the binary.
func program(t *testing.T) string {
	t.Helper()
	built.note(t)
	return built.path
}

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "dirgate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built.path = filepath.Join(dir, "dirgate")
	build := exec.Command("go", append(append([]string{"build"}, raceFlag...), "-o", built.path, mainPackage)...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	if err := sideBySide(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// sideBySide lets four tests run at a time, unless -parallel says otherwise:
// each has a directory, a daemon and ports of its own, and most of its time it
// waits for a controller or for a retry. The package comment names those that
// run alone.
func sideBySide() error {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", "4")
}

// promised is how long JumpCloud may take to have a password. A machine that
// runs other tests beside may not keep that: soon bounds the waits, and what
// took longer than promised is logged.
const (
	promised = 5 * time.Second
	soon     = patience
)

// patience bounds waits for what has no promised time.
const patience = 30 * time.Second

// transcript keeps everything that a process or command printed, for the
// canary test.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(b)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// installation is a folder made by `dirgate init`, and what was said there.
type installation struct {
	t      *testing.T
	dir    string
	config string
	ca     string
	output transcript // of all commands and of the daemon

	wrap        []string // a command that runs the daemon, with its arguments
	logLevel    string   // of the daemon; empty: debug
	daemon      *exec.Cmd
	exited      chan error
	ldaps       string // host:port
	metricsAddr string
	delegate    string // host:port; empty: it is not served
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	in := &installation{t: t, dir: filepath.Join(t.TempDir(), "etc")}
	in.config = filepath.Join(in.dir, "dirgate.yaml")
	in.ca = filepath.Join(in.dir, "ca.crt")
	in.must("init", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--delegate-listen", "127.0.0.1:0")
	return in
}

// cli runs a command of the binary on this installation.
func (in *installation) cli(args ...string) (string, error) {
	in.t.Helper()
	cmd := exec.CommandContext(in.t.Context(), program(in.t), append([]string{"--config", in.config}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &in.output), io.MultiWriter(&errs, &in.output)
	if err := cmd.Run(); err != nil {
		return out.String() + errs.String(), fmt.Errorf("dirgate %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

func (in *installation) must(args ...string) string {
	in.t.Helper()
	out, err := in.cli(args...)
	if err != nil {
		in.t.Fatal(err)
	}
	return out
}

var (
	sayLDAPS    = regexp.MustCompile(` ldaps=(\S+)`)
	sayMetrics  = regexp.MustCompile(` metrics=(\S+)`)
	sayDelegate = regexp.MustCompile(` delegate=(\S+)`)
)

// serve starts the daemon and waits until it serves.
func (in *installation) serve(args ...string) {
	in.t.Helper()
	argv := append(append(slices.Clone(in.wrap), program(in.t), "--config", in.config, "--log-level", cmp.Or(in.logLevel, "debug"), "serve"), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		in.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	serving := make(chan string, 1)
	exited := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(io.TeeReader(stderr, &in.output))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "msg=serving") {
				serving <- lines.Text()
			}
		}
		_, _ = io.Copy(io.Discard, stderr)
		exited <- cmd.Wait()
	}()
	in.daemon, in.exited = cmd, exited
	in.t.Cleanup(func() { in.stop(syscall.SIGKILL) })
	select {
	case line := <-serving:
		in.ldaps = sayLDAPS.FindStringSubmatch(line)[1]
		in.delegate = ""
		if m := sayDelegate.FindStringSubmatch(line); m != nil {
			in.delegate = m[1]
		}
		in.metricsAddr = sayMetrics.FindStringSubmatch(line)[1]
	case err := <-exited:
		in.daemon = nil
		in.t.Fatalf("the daemon ended: %v\n%s", err, in.output.String())
	case <-time.After(patience):
		in.t.Fatalf("the daemon does not serve\n%s", in.output.String())
	}
}

// stop ends the daemon, waits, and returns how it ended.
func (in *installation) stop(sig syscall.Signal) error {
	if in.daemon == nil {
		return nil
	}
	_ = in.daemon.Process.Signal(sig)
	in.daemon = nil
	select {
	case err := <-in.exited:
		return err
	case <-time.After(patience):
		return errors.New("the daemon does not end")
	}
}

func (in *installation) gateway() string { return "ldaps://" + in.ldaps }

func (in *installation) metrics() string {
	in.t.Helper()
	return in.get("/metrics")
}

func (in *installation) get(path string) string {
	in.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + in.metricsAddr + path)
	if err != nil {
		in.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	return string(b)
}

// wantReady waits until /readyz says that clients can be served.
func (in *installation) wantReady() {
	in.t.Helper()
	eventually(in.t, patience, "/readyz says ok", func() bool { return strings.Contains(in.get("/readyz"), `"ok"`) })
}

// secretFile writes a secret where a command reads it.
func (in *installation) secretFile(name string, content []byte) string {
	in.t.Helper()
	path := filepath.Join(in.t.TempDir(), name)
	if err := os.WriteFile(path, append(bytes.Clone(content), '\n'), 0o600); err != nil {
		in.t.Fatal(err)
	}
	return path
}

// ldapTool runs one of ldap-utils or a script, trusting the given CA alone.
func (in *installation) ldapTool(ca, stdin, name string, args ...string) (string, error) {
	in.t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		in.t.Skipf("SKIPPED: %s is not installed (Debian: ldap-utils, python3-ldap3)", name)
	}
	cmd := exec.CommandContext(in.t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+ca, "LDAPTLS_REQCERT=demand", "LDAPRC=", "LDAPCONF=/dev/null")
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return string(out), err
}

// cloud is the JumpCloud simulator with a CA that a registration can name.
type cloud struct {
	*jcsim.Server
	ca *certstest.CA
}

func newCloud(t *testing.T) cloud {
	t.Helper()
	ca := certstest.New(t)
	s, err := jcsim.Start(jcsim.Config{TLS: ca.Server("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error("close simulator:", err)
		}
	})
	return cloud{s, ca}
}

func (c cloud) add(t *testing.T, name, mail string) string {
	t.Helper()
	id, err := c.AddUser(jcsim.User{Username: name, Email: mail, FirstName: "Given", LastName: "Sur", LDAPBound: true,
		Password: secret.New([]byte("Before.JumpCloud1"))})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// accepts asks JumpCloud's LDAP whether a password is the user's.
func (c cloud) accepts(t *testing.T, name, password string) bool {
	t.Helper()
	conn, err := ldap.DialURL(c.LDAPURL(), ldap.DialWithTLSConfig(c.ca.Client("127.0.0.1")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Bind("uid="+name+",ou=Users,o="+c.OrgID()+",dc=jumpcloud,dc=com", password)
	if err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		t.Fatal("bind at JumpCloud's LDAP:", err)
	}
	return err == nil
}

// wantAccepted waits until JumpCloud has a password.
func (c cloud) wantAccepted(t *testing.T, within time.Duration, name, password string) {
	t.Helper()
	begun := time.Now()
	eventually(t, within, "JumpCloud accepts the new password of "+name, func() bool { return c.accepts(t, name, password) })
	if took := time.Since(begun); took > promised {
		t.Logf("JumpCloud had the new password of %s after %s, promised are %s", name, took.Round(time.Millisecond), promised)
	}
}

// eventually polls another process for something that must become true.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// conn is a connection to the gateway by a third client library.
func (in *installation) conn() *ldap.Conn {
	in.t.Helper()
	pem, err := os.ReadFile(in.ca)
	if err != nil {
		in.t.Fatal(err)
	}
	c, err := ldap.DialURL(in.gateway(), ldap.DialWithTLSConfig(clientTLS(in.t, pem)))
	if err != nil {
		in.t.Fatal(err)
	}
	c.SetTimeout(patience)
	in.t.Cleanup(func() { _ = c.Close() })
	return c
}

// clientTLS trusts one CA for what listens on this machine.
func clientTLS(t *testing.T, caPEM []byte) *tls.Config {
	t.Helper()
	conf, err := certs.Client(caPEM, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	return conf
}
