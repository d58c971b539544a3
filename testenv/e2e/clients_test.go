package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// requireClients makes a client that is missing a failure.
const requireClients = "DIRGATE_REQUIRE_CLIENTS"

// TestClients: stock clients sign in, search and change a password through the
// gateway as they would at any LDAP server, each as a user of its own.
func TestClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("ldap", `"127.0.0.1:0"`)
	w.serve()
	t.Run("ldap-utils", w.ldapUtils)
	t.Run("python-ldap", w.pythonLDAP)
	t.Run("JNDI", w.jndi)
	t.Run("ldapts", w.ldapts)
	t.Run("Apache mod_authnz_ldap", w.apache)
	t.Run("nslcd", w.nslcd)
	t.Run("SSSD", w.sssd)
	if dead := w.changes("--status", "dead"); len(dead) != 0 {
		t.Errorf("dead letters: %+v", dead)
	}
}

// missing skips a test for want of a client, or fails it where all must be.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv(requireClients) == "1" {
		t.Fatalf("%s, which %s asks for", what, requireClients)
	}
	t.Skipf("SKIPPED: %s: run `make test` as root on Debian", what)
}

// clientProgram is the path of a program that a test needs.
func clientProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name+" is not installed")
	}
	return path
}

// person is a user of AD and JumpCloud, and the password of the moment.
type person struct {
	*world
	name, upn, dn, password string
}

func (w *world) person(t *testing.T, name string, extra ...ldap.Attribute) *person {
	t.Helper()
	w.cloud.add(t, name, name+"@"+w.name)
	return &person{world: w, name: name, upn: name + "@" + w.name,
		dn: w.dc.AddUser(t, name, []byte(before), extra...), password: before}
}

// changed wants a password that a client wrote to be the user's on both sides,
// at the DC itself and in JumpCloud, and the one before to be nobody's.
func (p *person) changed(t *testing.T, to string) {
	t.Helper()
	if err := p.atDC(t, to); err != nil {
		t.Fatalf("the DC does not accept the new password of %s: %v", p.name, err)
	}
	if err := p.atDC(t, p.password); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		t.Errorf("the DC answers %v to the old password of %s", err, p.name)
	}
	p.cloud.wantAccepted(t, soon, p.name, to)
	p.password = to
}

// atDC binds past the gateway.
func (p *person) atDC(t *testing.T, password string) error {
	t.Helper()
	c, err := p.dc.Dial(patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Bind(p.upn, password)
}

// client runs a client's program. What it prints is part of its error.
func client(t *testing.T, env []string, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, out)
	}
	return string(out), err
}

// schemaEntries is how many entries a search has that no page can hold.
func (w *world) schemaEntries(t *testing.T) int {
	t.Helper()
	res, err := w.dc.Conn(t).Search(ldap.NewSearchRequest("CN=Schema,CN=Configuration,"+w.base, ldap.ScopeWholeSubtree,
		0, 0, 0, false, "(objectClass=attributeSchema)", []string{"1.1"}, nil))
	if err != nil || len(res.Entries) <= 1000 {
		t.Fatalf("search the schema: %v", err)
	}
	return len(res.Entries)
}

// wantPages checks what a client's program says it found, by pages of 500.
func (w *world) wantPages(t *testing.T, out string) {
	t.Helper()
	var entries, pages int
	if _, err := fmt.Sscanf(lastLine(out), "entries=%d pages=%d", &entries, &pages); err != nil {
		t.Fatalf("the client says %q: %v", out, err)
	}
	if want := w.schemaEntries(t); entries != want || pages < (want+499)/500 {
		t.Errorf("the client found %d entries on %d pages, want %d on %d", entries, pages, want, (want+499)/500)
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

func (w *world) ldapUtils(t *testing.T) {
	clientProgram(t, "ldapwhoami")
	p := w.person(t, "utils")
	// at runs a tool against a server as somebody.
	at := func(url, ca, name, password, tool string, args ...string) (string, error) {
		t.Helper()
		return client(t, []string{"LDAPTLS_CACERT=" + ca, "LDAPCONF=/dev/null"}, tool,
			append([]string{"-x", "-H", url, "-D", name, "-w", password}, args...)...)
	}
	must := func(status int, name, password, tool string, args ...string) string {
		t.Helper()
		out, err := at(w.gateway(), w.ca, name, password, tool, args...)
		if exitStatus(err) != status || (err != nil) != (status != 0) {
			t.Fatalf("got %v, want status %d", err, status)
		}
		return out
	}
	ldif := func(text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "change.ldif")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// Samba has no Who am I?, and its answer is what counts.
	direct, derr := at(w.url, w.caFile, p.upn, p.password, "ldapwhoami")
	through, terr := at(w.gateway(), w.ca, p.upn, p.password, "ldapwhoami")
	if direct != through || exitStatus(derr) != exitStatus(terr) || exitStatus(terr) == int(ldap.LDAPResultInvalidCredentials) {
		t.Errorf("ldapwhoami: got %v, want %v", terr, derr)
	}
	must(int(ldap.LDAPResultInvalidCredentials), p.upn, "Not-The-Password1", "ldapwhoami")
	if out, err := at(w.gateway(), w.caFile, p.upn, p.password, "ldapwhoami"); err == nil || !strings.Contains(out, "Can't contact LDAP server") {
		t.Errorf("with another CA: got %v, want no connection", err)
	}
	out := must(0, p.upn, p.password, "ldapsearch", "-LLL", "-E", "pr=500/noprompt", "-b", "CN=Schema,CN=Configuration,"+w.base, "(objectClass=attributeSchema)", "1.1")
	if got, want := strings.Count("\n"+out, "\ndn: "), w.schemaEntries(t); got != want {
		t.Errorf("ldapsearch by pages found %d entries, want %d", got, want)
	}
	must(int(ldap.LDAPResultCompareTrue), p.upn, p.password, "ldapcompare", p.dn, "sAMAccountName:utils")
	must(int(ldap.LDAPResultCompareFalse), p.upn, p.password, "ldapcompare", p.dn, "sAMAccountName:other")

	admin, people := string(w.adminPassword.Expose()), w.dc.PeopleDN()
	must(0, w.adminName, admin, "ldapadd", "-f", ldif("dn: CN=one,"+people+"\nobjectClass: contact\n"))
	must(0, w.adminName, admin, "ldapmodify", "-f", ldif("dn: CN=one,"+people+"\nchangetype: modify\nadd: mail\nmail: one@"+w.name+"\n"))
	must(0, w.adminName, admin, "ldapmodrdn", "-r", "CN=one,"+people, "CN=two")
	if out := must(0, p.upn, p.password, "ldapsearch", "-LLL", "-b", people, "(mail=one@"+w.name+")", "cn"); !strings.Contains(out, "cn: two") {
		t.Errorf("the renamed entry was not found: %s", out)
	}
	must(0, w.adminName, admin, "ldapdelete", "CN=two,"+people)
	must(int(ldap.LDAPResultNoSuchObject), p.upn, p.password, "ldapsearch", "-b", "CN=two,"+people)

	const first, second = "Ldappasswd-Own-1", "Ldapmodify-Own-2"
	must(0, p.upn, p.password, "ldappasswd", "-a", p.password, "-s", first)
	p.changed(t, first)
	must(0, p.dn, p.password, "ldapmodify", "-f", ldif(fmt.Sprintf("dn: %s\nchangetype: modify\ndelete: unicodePwd\nunicodePwd:: %s\n-\nadd: unicodePwd\nunicodePwd:: %s\n",
		p.dn, ldifPassword(t, first), ldifPassword(t, second))))
	p.changed(t, second)
}

func (w *world) pythonLDAP(t *testing.T) {
	// Debian's packages belong to Debian's interpreter.
	const python, script = "/usr/bin/python3", "testdata/clients/python_ldap.py"
	if err := exec.Command(python, "-c", "import ldap").Run(); err != nil {
		missing(t, "python-ldap (Debian: python3-ldap) is not installed")
	}
	p := w.person(t, "python")
	for i, tt := range []struct{ url, way string }{
		{w.gateway(), "passwd_s"},
		{w.gateway(), "modify_s"},
		{"ldap://" + w.plain(), "passwd_s"},
	} {
		to := fmt.Sprintf("Pythön-Ldap-%d", i)
		out, err := client(t, nil, python, script, tt.url, w.ca, w.base, p.upn, p.password, to, tt.way)
		if err != nil {
			t.Fatalf("%s %s: %v", tt.url, tt.way, err)
		}
		w.wantPages(t, out)
		p.changed(t, to)
	}
	if _, err := client(t, nil, python, script, w.gateway(), w.caFile, w.base, p.upn, p.password, "Never-Written1", "passwd_s"); err == nil || !strings.Contains(err.Error(), "SERVER_DOWN") {
		t.Errorf("with another CA: got %v, want no connection", err)
	}
}

func (w *world) jndi(t *testing.T) {
	java, javac, keytool := clientProgram(t, "java"), clientProgram(t, "javac"), clientProgram(t, "keytool")
	const password = "changeit"
	dir, p := t.TempDir(), w.person(t, "java")
	store := filepath.Join(dir, "trust.p12")
	if _, err := client(t, nil, keytool, "-importcert", "-noprompt", "-alias", "ca", "-file", w.ca, "-keystore", store, "-storepass", password); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, nil, javac, "-d", dir, "testdata/clients/Jndi.java"); err != nil {
		t.Fatal(err)
	}
	run := func(url, to, way string, options ...string) (string, error) {
		return client(t, nil, java, append(append([]string{"-XX:TieredStopAtLevel=1", "-Dcom.sun.jndi.ldap.connect.pool.protocol=plain ssl", "-cp", dir}, options...),
			"Jndi", url, w.base, p.upn, p.password, to, way)...)
	}
	trust := []string{"-Djavax.net.ssl.trustStore=" + store, "-Djavax.net.ssl.trustStorePassword=" + password}
	for i, tt := range []struct{ url, way string }{
		{w.gateway(), "unicodePwd"},
		{w.gateway(), "extended"},
		{"ldap://" + w.plain(), "rebind"},
	} {
		to, binds := fmt.Sprintf("Java-Nàming-%d", i), w.acceptedBinds(t)
		out, err := run(tt.url, to, tt.way, trust...)
		if err != nil {
			t.Fatalf("%s %s: %v", tt.url, tt.way, err)
		}
		// The pool keeps bound connections: one bind with each password.
		if binds = w.acceptedBinds(t) - binds; strings.HasPrefix(tt.url, "ldaps:") && binds != 2 {
			t.Errorf("%s: %d binds of pooled connections, want 2", tt.way, binds)
		}
		w.wantPages(t, out)
		p.changed(t, to)
	}
	if _, err := run(w.gateway(), "Never-Written1", "extended"); err == nil || !strings.Contains(err.Error(), "PKIX path") {
		t.Errorf("with Java's own CAs: got %v, want a word about the certificate's path", err)
	}
}

// acceptedBinds is how many binds the gateway has seen a DC accept.
func (w *world) acceptedBinds(t *testing.T) (sum int) {
	t.Helper()
	for _, m := range sayAccepted.FindAllStringSubmatch(w.metrics(), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

var sayAccepted = regexp.MustCompile(`(?m)^dirgate_bind_total\{.*verdict="accepted".*\} (\d+)$`)

func (w *world) ldapts(t *testing.T) {
	node := clientProgram(t, "node")
	modules := filepath.Join(unpackedClients(t), "node", "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "ldapts")); err != nil {
		missing(t, "ldapts is not installed")
	}
	// Node looks for modules beside the program.
	dir := t.TempDir()
	program, err := os.ReadFile("testdata/clients/node/ldapts.mjs")
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "ldapts.mjs")
	if err := errors.Join(os.WriteFile(script, program, 0o600), os.Symlink(modules, filepath.Join(dir, "node_modules"))); err != nil {
		t.Fatal(err)
	}
	p := w.person(t, "node")
	for i, tt := range []struct{ url, way string }{
		{w.gateway(), "modify"},
		{w.gateway(), "exop"},
		{"ldap://" + w.plain(), "modify"},
	} {
		to := fmt.Sprintf("Node-Ldapts-ß%d", i)
		out, err := client(t, nil, node, script, tt.url, w.ca, w.base, p.upn, p.password, to, tt.way)
		if err != nil {
			t.Fatalf("%s %s: %v", tt.url, tt.way, err)
		}
		w.wantPages(t, out)
		p.changed(t, to)
	}
	if _, err := client(t, nil, node, script, w.gateway(), w.caFile, w.base, p.upn, p.password, "Never-Written1", "modify"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with another CA: got %v, want a word about the certificate", err)
	}
}

// unpackedClients is the folder of the clients that are not installed but
// unpacked, by testenv/scripts/clients.sh.
func unpackedClients(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		missing(t, "there is no folder for the clients: "+err.Error())
	}
	return filepath.Join(cache, "dirgate", "clients")
}
