package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/samba"
	"github.com/go-ldap/ldap/v3"
)

// domain is the Active Directory of a world.
type domain struct {
	url, caFile, name, base string
	adminName               string
	adminPassword           secret.Bytes
	// addUser adds an enabled user and returns the DN.
	addUser func(name string, password []byte) string
	// account is the bind name of the service account.
	account string
}

// world is a registered domain with one user on both sides.
type world struct {
	*installation
	domain
	dc    *samba.DC     // nil: the embedded AD
	ad    *adsim.Server // nil: a real one
	cloud cloud
	dn    string // of alice
	id    string // of alice in JumpCloud
}

const (
	before          = "Start.Pass1"
	servicePassword = "Svc.Secret-77"
)

// newWorld sets everything up the way an administrator does: init, domain
// register, with no daemon running. The domain is a real one.
func newWorld(t *testing.T, opts ...samba.Option) *world {
	t.Helper()
	dc := samba.Start(t, opts...)
	dc.AddServiceAccount(t, "svc-dirgate", []byte(servicePassword))
	return registered(t, dc, domain{url: dc.URL, caFile: dc.CAFile, name: dc.Domain, base: dc.BaseDN,
		adminName: dc.AdminUPN, adminPassword: dc.AdminPassword, account: "svc-dirgate@" + dc.Domain,
		addUser: func(name string, password []byte) string { return dc.AddUser(t, name, password) }})
}

// newEmbeddedWorld is newWorld with the embedded AD, which runs everywhere.
func newEmbeddedWorld(t *testing.T) *world {
	t.Helper()
	ca := certstest.New(t)
	password := secret.New([]byte("Admin.Secret-99"))
	ad, err := adsim.Start(adsim.Config{TLS: ca.Server("127.0.0.1"), AdminPassword: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ad.Close() })
	add := func(u adsim.User) string {
		dn, err := ad.AddUser(u)
		if err != nil {
			t.Fatal(err)
		}
		return dn
	}
	add(adsim.User{Name: "svc-dirgate", Password: secret.New([]byte(servicePassword))})
	w := registered(t, nil, domain{url: ad.URL(), caFile: ca.File(), name: ad.Domain(), base: ad.BaseDN(),
		adminName: ad.AdminDN(), adminPassword: password, account: "svc-dirgate@" + ad.Domain(),
		addUser: func(name string, password []byte) string {
			return add(adsim.User{Name: name, Password: secret.New(password), GivenName: "Given", Surname: "Sur"})
		}})
	w.ad = ad
	return w
}

func registered(t *testing.T, dc *samba.DC, d domain) *world {
	t.Helper()
	w := &world{installation: newInstallation(t), domain: d, dc: dc, cloud: newCloud(t)}
	w.dn = d.addUser("alice", []byte(before))
	w.id = w.cloud.add(t, "alice", "alice@"+d.name)
	w.must("domain", "register", d.name, "--dc", d.url, "--ca-file", d.caFile,
		"--import-account", d.account, "--import-password-file", w.secretFile("pw", []byte(servicePassword)),
		"--jumpcloud-url", w.cloud.URL(), "--jumpcloud-ca-file", w.cloud.ca.File(),
		"--api-key-file", w.secretFile("key", w.cloud.APIKey().Expose()))
	return w
}

func ldifPassword(tb testing.TB, password string) string {
	tb.Helper()
	b, err := ldapwire.AppendUnicodePwd(nil, []byte(password))
	if err != nil {
		tb.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func (w *world) changeByLDIF(from, to string) string {
	return fmt.Sprintf("dn: %s\nchangetype: modify\ndelete: unicodePwd\nunicodePwd:: %s\n-\nadd: unicodePwd\nunicodePwd:: %s\n-\n",
		w.dn, ldifPassword(w.t, from), ldifPassword(w.t, to))
}

// TestStory is the whole path: an application's bind and search, and two
// password changes by two kinds of client, from the gateway to JumpCloud.
func TestStory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve()

	t.Run("search through the gateway equals search at the DC", func(t *testing.T) {
		for _, args := range [][]string{
			{"-s", "sub", "-b", w.base, "(objectClass=*)", "*", "+"},
			{"-s", "base", "-b", "", "defaultNamingContext", "supportedControl", "dnsHostName"},
			{"-E", "pr=50/noprompt", "-b", w.base, "(objectClass=top)", "cn", "objectGUID"},
			{"-b", "OU=Nowhere," + w.base, "cn"},
		} {
			common := []string{"-x", "-LLL", "-o", "ldif-wrap=no", "-D", "alice@" + w.name, "-w", before}
			direct, derr := w.ldapTool(w.caFile, "", "ldapsearch", append(append(common, "-H", w.url), args...)...)
			through, terr := w.ldapTool(w.ca, "", "ldapsearch", append(append(common, "-H", w.gateway()), args...)...)
			if direct != through || fmt.Sprint(derr) != fmt.Sprint(terr) {
				t.Errorf("%q: %d bytes directly (%v), %d bytes through the gateway (%v)", args, len(direct), derr, len(through), terr)
			}
			if len(direct) == 0 {
				t.Errorf("%q: nothing was found", args)
			}
		}
	})

	const second, third = "Second-Pässwörd2", "Third€Pass3"
	t.Run("ldapmodify changes the password everywhere", func(t *testing.T) {
		if _, err := w.ldapTool(w.ca, w.changeByLDIF(before, second), "ldapmodify", "-x", "-H", w.gateway(), "-D", w.dn, "-w", before); err != nil {
			t.Fatal(err)
		}
		w.cloud.wantAccepted(t, soon, "alice", second)
		if w.cloud.accepts(t, "alice", "Before.JumpCloud1") {
			t.Error("JumpCloud still accepts the old password")
		}
	})
	t.Run("python ldap3 changes the password everywhere", func(t *testing.T) {
		script, err := os.ReadFile("testdata/change_password.py")
		if err != nil {
			t.Fatal(err)
		}
		// Debian's packages belong to Debian's interpreter.
		const python = "/usr/bin/python3"
		if err := exec.Command(python, "-c", "import ldap3").Run(); err != nil {
			t.Fatalf("%s has no ldap3 (Debian: python3-ldap3): %v", python, err)
		}
		if _, err := w.ldapTool(w.ca, string(script), python, "-", w.gateway(), w.ca, w.dn, second, third); err != nil {
			t.Fatal(err)
		}
		w.cloud.wantAccepted(t, soon, "alice", third)
		if w.cloud.accepts(t, "alice", second) {
			t.Error("JumpCloud still accepts the second password")
		}
	})
	t.Run("an administrator's reset arrives", func(t *testing.T) {
		c := w.conn()
		if err := c.Bind(w.adminName, string(w.adminPassword.Expose())); err != nil {
			t.Fatal(err)
		}
		value, _ := ldapwire.AppendUnicodePwd(nil, []byte("Fourth-Pass4"))
		req := ldap.NewModifyRequest(w.dn, nil)
		req.Replace("unicodePwd", []string{string(value)})
		if err := c.Modify(req); err != nil {
			t.Fatal(err)
		}
		w.cloud.wantAccepted(t, soon, "alice", "Fourth-Pass4")
	})
	t.Run("the command line tells the story", func(t *testing.T) {
		show := w.must("user", "show", "alice")
		for _, want := range []string{"alice@" + w.name, w.id, "Active", "linked since", "password-reset", "applied"} {
			if !strings.Contains(show, want) {
				t.Errorf("user show lacks %q:\n%s", want, show)
			}
		}
		if n := len(w.changes("--status", "applied")); n != 3 {
			t.Errorf("%d applied changes of passwords, want 3:\n%s", n, w.must("changelog", "list", "--status", "applied"))
		}
		if tail := w.must("changelog", "tail", "--after", "0", "--no-follow"); !strings.Contains(tail, "intent") || !strings.Contains(tail, "accepted") {
			t.Errorf("changelog tail lacks records:\n%s", tail)
		}
		if domains := w.must("domain", "list"); !strings.Contains(domains, w.name) {
			t.Errorf("domain list lacks the domain:\n%s", domains)
		}
		if ready := w.get("/readyz"); !strings.Contains(ready, "ok") {
			t.Errorf("/readyz says %s", ready)
		}
		metrics := w.metrics()
		for _, want := range []string{
			`dirgate_capture_total{kind="password-change",outcome="accepted"} 2`,
			`dirgate_capture_total{kind="password-reset",outcome="accepted"} 1`,
			`dirgate_changelog_pending{direction="import"} 0`,
			`dirgate_deadletters{direction="import"} 0`,
			`dirgate_replicate_lag_seconds_count{direction="import"} `, // of the import's changes too
			`dirgate_dc_up{dc="` + w.url + `"} 1`,
		} {
			if !strings.Contains(metrics, want) {
				t.Errorf("metrics lack %s", want)
			}
		}
	})
	t.Run("a graceful stop", func(t *testing.T) {
		if err := w.stop(syscall.SIGTERM); err != nil {
			t.Errorf("the daemon ended with %v\n%s", err, w.output.String())
		}
	})
	t.Run("without a daemon the store is read directly", func(t *testing.T) {
		out, err := w.cli("changelog", "list")
		if err != nil || !strings.Contains(out, "applied") {
			t.Errorf("got %v\n%s", err, out)
		}
	})
}

// TestErrors: what a client and an administrator are told.
func TestErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve()
	t.Run("a wrong password gets AD's own answer", func(t *testing.T) {
		direct, err := w.dc.Dial(patience)
		if err != nil {
			t.Fatal(err)
		}
		defer direct.Close()
		for _, name := range []string{w.dn, "alice@" + w.name, `CORP\alice`, "nobody@" + w.name} {
			want, got := direct.Bind(name, "wrong"), w.conn().Bind(name, "wrong")
			if got == nil || want == nil || got.Error() != want.Error() {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
			if !strings.Contains(got.Error(), "data 52e") {
				t.Errorf("%s: %v lacks the sub-code", name, got)
			}
		}
	})
	t.Run("a refused change is AD's own answer and is not replicated", func(t *testing.T) {
		out, err := w.ldapTool(w.ca, w.changeByLDIF(before, "short"), "ldapmodify", "-x", "-H", w.gateway(), "-D", w.dn, "-w", before)
		if err == nil || !strings.Contains(out, "0000052D") {
			t.Errorf("got %v, want AD's policy error", err)
		}
		if list := w.must("changelog", "list"); !strings.Contains(list, "refused") {
			t.Errorf("the refusal is not in the change log:\n%s", list)
		}
	})
	t.Run("a DC that is gone", func(t *testing.T) {
		w.dc.Stop(t)
		err := w.conn().Bind(w.dn, before)
		if !ldap.IsErrorWithCode(err, ldap.LDAPResultUnavailable) {
			t.Errorf("got %v, want unavailable", err)
		}
		if ready := w.get("/readyz"); !strings.Contains(ready, "no domain controller") {
			t.Errorf("/readyz says %s", ready)
		}
		w.dc.Restart(t)
		w.wantReady()
		if err := w.conn().Bind(w.dn, before); err != nil {
			t.Errorf("after its return: %v", err)
		}
	})
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	good, err := os.ReadFile(in.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ line, key string }{
		{"gateway:\n  max_mesage: 1MiB\n", "gateway.max_mesage"},
		{"metrics:\n  listen: 17\n", "metrics.listen"},
		{"log:\n  level: loud\n", "log.level"},
	} {
		if err := os.WriteFile(in.config, []byte(tt.line), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := in.cli("serve")
		if err == nil || !strings.Contains(out, tt.key) || !strings.Contains(out, in.config) {
			t.Errorf("got %v, want an error that names %s and %s", err, tt.key, in.config)
		}
	}
	if err := os.WriteFile(in.config, good, 0o644); err != nil {
		t.Fatal(err)
	}
	in.serve()
	if err := in.conn().Bind("CN=x", "y"); !ldap.IsErrorWithCode(err, ldap.LDAPResultUnavailable) {
		t.Errorf("without a domain: got %v, want unavailable", err)
	}
}
