package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/testenv/browser"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

// visitor is somebody at a browser before the portal.
type visitor struct {
	*browser.Page
	t   *testing.T
	url string
}

// certificateOf is that of a server whose CA is in a file.
func certificateOf(t *testing.T, addr, caFile string) *x509.Certificate {
	t.Helper()
	pem, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", addr, clientTLS(t, pem))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

func (p visitor) signIn(name, password string) {
	p.t.Helper()
	p.Do("Network.clearBrowserCookies", nil)
	p.Open(p.url + "/")
	p.Type("#username", name)
	p.Type("#password", password)
	p.Submit()
}

// change fills the form in and sends it.
func (p visitor) change(old, new string) {
	p.t.Helper()
	p.Open(p.url + "/change-password")
	p.Type("#current", old)
	p.Type("#new", new)
	p.Type("#confirm", new)
	p.Submit()
}

func (p visitor) wants(path, text string) {
	p.t.Helper()
	if got := p.Path(); got != path {
		p.t.Errorf("at %s, want %s", got, path)
	}
	if got := p.Text("main"); !strings.Contains(got, text) {
		p.t.Errorf("at %s, the page does not say %q:\n%s", path, text, got)
	}
}

// page is all that the browser has of a page.
func (p visitor) page() (html string) {
	p.t.Helper()
	p.Eval("document.documentElement.outerHTML + document.cookie + location.href", &html)
	return html
}

// TestD5_PortalInDev signs in as each of the people of `dirgate dev`, and
// changes those passwords that can be changed.
func TestD5_PortalInDev(t *testing.T) {
	t.Parallel()
	browser.Need(t)
	d := startDev(t, "--json")
	var f struct {
		Portal string `json:"delegate_url"`
		CA     string `json:"ca_file"`
		LDAP   string `json:"jumpcloud_ldap_url"`
		Org    string `json:"jumpcloud_org_id"`
		Users  []struct{ SAM, Password string }
	}
	if err := json.Unmarshal([]byte(d.readUntil("{")), &f); err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(f.Portal, "https://")
	p := visitor{browser.Start(t, certificateOf(t, addr, f.CA)).NewPage(t), t, f.Portal}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	accepted := func(name, password string) bool {
		c, err := ldap.DialURL(f.LDAP, ldap.DialWithTLSConfig(clientTLS(t, pem)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Bind("uid="+name+",ou=Users,o="+f.Org+",dc=jumpcloud,dc=com", password) == nil
	}
	want := map[string][2]string{
		"alice": {"/account", "Your password"}, "bob": {"/account", "Your password"}, "carol": {"/sign-in", "is disabled"},
		"dave": {"/change-password", "first sign-in only"}, "erin": {"/sign-in", "is locked"}, "frank": {"/change-password", "has expired"},
	}
	for _, u := range f.Users {
		// The import has come by when AD checks the sign-ins of who is linked.
		eventually(t, patience, u.SAM+" gets the page of its state", func() bool {
			p.signIn(u.SAM, u.Password)
			return p.Path() == want[u.SAM][0]
		})
		p.wants(want[u.SAM][0], want[u.SAM][1])
		p.Screenshot("dev-" + u.SAM)
		if want[u.SAM][0] == "/sign-in" {
			continue
		}
		p.change(u.Password, "Portal.New-Pass7")
		p.wants("/account", "was changed")
		eventually(t, soon, "JumpCloud's LDAP accepts the new password of "+u.SAM, func() bool { return accepted(u.SAM, "Portal.New-Pass7") })
		p.Wait("the page tells that JumpCloud has it", `document.querySelector("#copy").innerText.includes("Has this password")`)
		p.signIn(u.SAM, u.Password)
		p.wants("/sign-in", "name or password is wrong")
	}
}

// TestD4_PortalOnSamba: the pages of every state of an account in a real
// Active Directory, and changes that both sides, one side or none accept.
func TestD4_PortalOnSamba(t *testing.T) {
	t.Parallel()
	browser.Need(t)
	const wrong, changed, jcRefused = "Canary-Wrong-Portal1", "Canary-Changed-Portal2", "Cánary-Jc3"
	later := map[string]string{"expired": "Canary-Later-Portal4", "temporary": "Canary-Later-Portal5"}
	w := newWorld(t)
	for _, name := range []string{"locked", "disabled", "expired", "temporary", "over"} {
		dn := w.addUser(name, []byte(before))
		w.cloud.add(t, name, name+"@"+w.name)
		map[string]func(testing.TB, string){"locked": w.dc.Lock, "disabled": w.dc.Disable, "expired": w.dc.Expire, "temporary": w.dc.MustChange, "over": w.dc.ExpireAccount}[name](t, dn)
	}
	w.cloud.SetPolicy(jcsim.PasswordPolicy{EnableMinLength: true, MinLength: 12})
	var registered struct {
		JumpCloud struct {
			ADID string `json:"adId"`
		} `json:"jumpcloud"`
	}
	out := w.must("--output", "json", "domain", "show", w.name)
	if err := json.Unmarshal([]byte(out), &registered); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := w.cloud.SetDelegation(registered.JumpCloud.ADID, "ENABLED"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.serve()
	p := visitor{browser.Start(t, certificateOf(t, w.delegate, w.installation.ca)).NewPage(t), t, "https://" + w.delegate}
	var seen strings.Builder
	for _, tt := range []struct{ name, password, path, text string }{
		{"alice", wrong, "/sign-in", "name or password is wrong"},
		{"nobody", wrong, "/sign-in", "name or password is wrong"},
		{"disabled", wrong, "/sign-in", "name or password is wrong"},
		{"locked", before, "/sign-in", "is locked"},
		{"disabled", before, "/sign-in", "is disabled"},
		{"over", before, "/sign-in", "has ended"},
		{"expired", before, "/change-password", "has expired"},
		{"temporary", before, "/change-password", "first sign-in only"},
		{"alice", before, "/account", "Your password"},
	} {
		p.signIn(tt.name, tt.password)
		p.wants(tt.path, tt.text)
		seen.WriteString(p.page())
	}
	t.Run("refused by JumpCloud's policy", func(t *testing.T) {
		p.change(before, jcRefused)
		p.wants("/change-password", "JumpCloud: At least 12 characters")
	})
	t.Run("changed on both sides", func(t *testing.T) {
		p.change(before, changed)
		p.wants("/account", "was changed")
		seen.WriteString(p.page())
		w.wantEverywhere(t, "alice", changed)
		p.Wait("the page tells that JumpCloud has it", `document.querySelector("#copy").innerText.includes("Has this password")`)
	})
	t.Run("refused by AD: it was used before", func(t *testing.T) {
		p.change(changed, before+"-once-more")
		p.wants("/account", "was changed")
		p.change(before+"-once-more", changed)
		p.wants("/change-password", "Active Directory: It was used before")
		seen.WriteString(p.page())
	})
	t.Run("expired and temporary, without scripts", func(t *testing.T) {
		p.NoScript()
		for name, own := range later {
			p.signIn(name, before)
			p.change(before, own)
			p.wants("/account", "was changed")
			w.wantEverywhere(t, name, own)
		}
	})
	metrics := w.metrics()
	secrets := []string{wrong, changed, jcRefused, before, later["expired"], later["temporary"]}
	findSecrets(t, "the pages", []byte(seen.String()), secrets)
	w.searchAll(metrics, secrets)
	w.dc.Stop(t)
	p.signIn("alice", changed)
	p.wants("/sign-in", "does not answer")
}
