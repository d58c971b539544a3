package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// nslcd and sssd let people of AD sign in to a Linux machine.

func (w *world) nslcd(t *testing.T) {
	w.linux(t, linuxClient{name: "nslcd", nss: "ldap", pam: "pam_ldap.so", config: "nslcd.conf",
		daemon: []string{"/usr/sbin/nslcd", "-d"}})
}

func (w *world) sssd(t *testing.T) {
	w.linux(t, linuxClient{name: "sssd", nss: "sss", pam: "pam_sss.so", config: "sssd/sssd.conf",
		daemon: []string{"/usr/sbin/sssd", "-i", "-d", "3", "--logger=stderr"}})
}

// linuxClient is what gives a Linux machine its users.
type linuxClient struct {
	name, nss, pam string
	config         string // its file, below /etc
	daemon         []string
}

// machine is a mount namespace where a linuxClient runs.
type machine struct {
	pid int
	log *transcript
}

// firstID keeps clear of the users that a system has.
const firstID = 200000

// asUser runs what follows as the machine's user from AD.
var asUser = slices.Clip([]string{"setpriv", "--reuid=" + strconv.Itoa(firstID+1), "--regid=" + strconv.Itoa(firstID), "--clear-groups"})

func (w *world) linux(t *testing.T, c linuxClient) {
	number := func(n int) []string { return []string{strconv.Itoa(firstID + n)} }
	m := w.boot(t, c)
	p := w.person(t, c.name+"user",
		ldap.Attribute{Type: "uidNumber", Vals: number(1)}, ldap.Attribute{Type: "gidNumber", Vals: number(0)},
		ldap.Attribute{Type: "unixHomeDirectory", Vals: []string{"/home/" + c.name}}, ldap.Attribute{Type: "loginShell", Vals: []string{"/bin/sh"}})
	group := c.name + "group"
	w.dc.Replace(t, w.dc.AddGroup(t, group, p.dn), "gidNumber", number(0)...)

	eventually(t, patience, c.name+" answers", func() bool {
		_, err := m.run(t, "", "getent", "group", group)
		return err == nil
	})
	for _, tt := range []struct {
		command []string
		want    string // a regular expression
	}{
		{[]string{"getent", "passwd", p.name}, fmt.Sprintf("^%s:[^:]*:%d:%d:.*:/home/%s:/bin/sh\n$", p.name, firstID+1, firstID, c.name)},
		{[]string{"getent", "group", group}, fmt.Sprintf("^%s:[^:]*:%d:%s\n$", group, firstID, p.name)},
		{[]string{"id", p.name}, fmt.Sprintf("^uid=%d\\(%s\\) gid=%d\\(%s\\)", firstID+1, p.name, firstID, group)},
	} {
		if out, err := m.run(t, "", tt.command[0], tt.command[1:]...); err != nil || !regexp.MustCompile(tt.want).MatchString(out) {
			t.Errorf("%q: got %v\n%s\nwant %s", tt.command, err, out, tt.want)
		}
	}
	m.wantSignIn(t, p, p.password)
	m.wantNoSignIn(t, p, "Not-The-Password1")
	for _, tt := range []struct{ what, from, to string }{
		{"a password that AD's policy refuses", p.password, "alllowercase"},
		{"a wrong old password", "Not-The-Password1", "Never-Written1"},
	} {
		if out, err := m.passwd(t, tt.from, tt.to); err == nil {
			t.Errorf("passwd with %s: it succeeded\n%s", tt.what, out)
		}
		m.wantSignIn(t, p, p.password)
	}
	const to = "Changed-By-Pässwd1"
	if _, err := m.passwd(t, p.password, to); err != nil {
		t.Fatal(err)
	}
	p.changed(t, to)
	m.wantSignIn(t, p, to)
	m.wantNoSignIn(t, p, before)
}

// signIn is a sign-in by the machine's PAM.
func (m *machine) signIn(t *testing.T, p *person, password string) error {
	t.Helper()
	_, err := m.run(t, password+"\n", "pamtester", "login", p.name, "authenticate", "acct_mgmt")
	return err
}

func (m *machine) wantSignIn(t *testing.T, p *person, password string) {
	t.Helper()
	if err := m.signIn(t, p, password); err != nil {
		t.Errorf("sign in %s: %v", p.name, err)
	}
}

func (m *machine) wantNoSignIn(t *testing.T, p *person, password string) {
	t.Helper()
	if err := m.signIn(t, p, password); err == nil || !strings.Contains(err.Error(), "Authentication failure") {
		t.Errorf("sign in %s with a wrong password: got %v, want an authentication failure", p.name, err)
	}
}

// passwd runs the command of that name as the machine's user.
func (m *machine) passwd(t *testing.T, from, to string) (string, error) {
	t.Helper()
	return m.run(t, strings.Join([]string{from, to, to, ""}, "\n"), asUser[0], append(asUser[1:], "passwd")...)
}

// run runs a program on the machine.
func (m *machine) run(t *testing.T, stdin, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "nsenter", append([]string{"--mount=/proc/" + strconv.Itoa(m.pid) + "/ns/mnt", "--", program}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return string(out), err
}

// boot starts a machine whose users come from AD.
func (w *world) boot(t *testing.T, c linuxClient) *machine {
	t.Helper()
	clientProgram(t, "pamtester")
	script, dir, unpacked := "testdata/clients/system.sh", w.machineFiles(t, c), filepath.Join(unpackedClients(t), "debian", "root")
	if _, err := os.Stat(filepath.Join(unpacked, c.daemon[0])); err != nil {
		missing(t, c.name+" is not unpacked")
	}
	inside := func(command ...string) *exec.Cmd {
		return exec.Command("unshare", append([]string{"--mount", "--propagation", "private", script, dir, unpacked}, command...)...)
	}
	if out, err := inside(append(asUser, "true")...).CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("no mount namespace with other users can be made, as root can: %v: %s", err, out))
	}
	m := &machine{log: new(transcript)}
	cmd := inside(c.daemon...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Stdout, cmd.Stderr = m.log, m.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", c.name, m.log.String())
		}
	})
	return m
}

// machineFiles makes a folder with what the machine has in /etc of its own.
func (w *world) machineFiles(t *testing.T, c linuxClient) (dir string) {
	t.Helper()
	// Not t.TempDir, which nobody else may enter.
	dir, err := os.MkdirTemp("", "dirgate-machine-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ca, err := os.ReadFile(w.ca)
	if err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile("testdata/clients/" + filepath.Base(c.config))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"URI": w.gateway(), "BASE": w.base, "CA": "/etc/ca.crt", "BINDNAME": w.account, "BINDPASSWORD": servicePassword}
	config := os.Expand(string(template), func(name string) string { return values[name] })
	pam := ""
	for _, kind := range []string{"auth", "account", "password"} {
		pam += kind + " required " + c.pam + "\n"
	}
	write := func(name, content string, mode os.FileMode) {
		path := filepath.Join(dir, "etc", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), mode)); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.crt", string(ca), 0o644)
	write(c.config, config, 0o600) // SSSD insists
	write("nsswitch.conf", fmt.Sprintf("passwd: files %[1]s\ngroup: files %[1]s\nshadow: files %[1]s\nhosts: files\n", c.nss), 0o644)
	write("pam.d/login", pam, 0o644)
	write("pam.d/passwd", pam, 0o644)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "over"), 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}
