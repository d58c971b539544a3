package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/go-ldap/ldap/v3"
)

// TestG4_EveryForm writes passwords as directories other than AD want them,
// with the clients that do, and wants each in AD and in JumpCloud.
func TestG4_EveryForm(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) { everyForm(t, newEmbeddedWorld(t)) })
	t.Run("samba", func(t *testing.T) { everyForm(t, newWorld(t)) })
}

// toolFor runs one of ldap-utils as somebody, through the gateway.
func (w *world) toolFor(name, password, stdin, tool string, args ...string) (string, error) {
	w.t.Helper()
	return w.ldapTool(w.ca, stdin, tool, append([]string{"-x", "-H", w.gateway(), "-D", name, "-w", password}, args...)...)
}

// wantEverywhere: AD takes the password at once, JumpCloud soon.
func (w *world) wantEverywhere(t *testing.T, name, password string) {
	t.Helper()
	if err := w.conn().Bind(name+"@"+w.name, password); err != nil {
		t.Fatalf("AD does not accept the new password of %s: %v", name, err)
	}
	w.cloud.wantAccepted(t, soon, name, password)
}

var sayGenerated = regexp.MustCompile(`New password: (\S+)`)

func everyForm(t *testing.T, w *world) {
	w.serve()
	admin := string(w.adminPassword.Expose())
	now := before
	// next is the password of alice from here on.
	next := func(t *testing.T, password string) {
		t.Helper()
		w.wantEverywhere(t, "alice", password)
		now = password
	}
	t.Run("ldappasswd with the old password", func(t *testing.T) {
		const to = "Own-Pässwd-01"
		if _, err := w.toolFor("alice@"+w.name, now, "", "ldappasswd", "-a", now, "-s", to); err != nil {
			t.Fatal(err)
		}
		next(t, to)
	})
	t.Run("ldappasswd by an administrator, by DN and by names", func(t *testing.T) {
		for i, user := range []string{w.dn, "alice", "alice@" + w.name, `CORP\alice`, "<SID=" + w.sid(t) + ">"} {
			to := fmt.Sprintf("Reset-By-Name-%d", i)
			if _, err := w.toolFor(w.adminName, admin, "", "ldappasswd", "-s", to, user); err != nil {
				t.Fatalf("%s: %v", user, err)
			}
			next(t, to)
		}
	})
	t.Run("ldappasswd generates a password", func(t *testing.T) {
		out, err := w.toolFor(w.adminName, admin, "", "ldappasswd", w.dn)
		if err != nil {
			t.Fatal(err)
		}
		generated := sayGenerated.FindStringSubmatch(out)
		if generated == nil {
			t.Fatalf("ldappasswd printed no password: %s", out)
		}
		next(t, generated[1])
	})
	t.Run("python ldap3 modify_password", func(t *testing.T) {
		script, err := os.ReadFile("testdata/modify_password.py")
		if err != nil {
			t.Fatal(err)
		}
		const python, to = "/usr/bin/python3", "From-Ldap3-Std4"
		if err := exec.Command(python, "-c", "import ldap3").Run(); err != nil {
			t.Fatalf("%s has no ldap3 (Debian: python3-ldap3): %v", python, err)
		}
		if _, err := w.ldapTool(w.ca, string(script), python, "-", w.gateway(), w.ca, "alice@"+w.name, now, to); err != nil {
			t.Fatal(err)
		}
		next(t, to)
	})
	t.Run("ldapmodify of userPassword by the user", func(t *testing.T) {
		const to = "User-Pässword-5"
		ldif := fmt.Sprintf("dn: %s\nchangetype: modify\ndelete: userPassword\nuserPassword: %s\n-\nadd: userPassword\nuserPassword:: %s\n-\n",
			w.dn, now, base64.StdEncoding.EncodeToString([]byte(to)))
		if _, err := w.toolFor(w.dn, now, ldif, "ldapmodify"); err != nil {
			t.Fatal(err)
		}
		next(t, to)
	})
	t.Run("ldapmodify of userPassword by an administrator, among others", func(t *testing.T) {
		const to = "Admin-UserPwd-6"
		ldif := fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: description\ndescription: told\n-\nreplace: userPassword\nuserPassword: %s\n-\n", w.dn, to)
		if _, err := w.toolFor(w.adminName, admin, ldif, "ldapmodify"); err != nil {
			t.Fatal(err)
		}
		next(t, to)
		out, err := w.toolFor(w.adminName, admin, "", "ldapsearch", "-LLL", "-b", w.dn, "-s", "base", "description", "userPassword")
		if err != nil || !strings.Contains(out, "description: told") || strings.Contains(strings.ToLower(out), "userpassword") {
			t.Errorf("got %v\n%s\nwant the description, and no userPassword to read", err, out)
		}
	})
	for name, attribute := range map[string]string{"bob": "unicodePwd:: " + ldifPassword(t, "Added-Quoted-7"), "carol": "userPassword: Added-Plain-8"} {
		t.Run("ldapadd with "+attribute[:12], func(t *testing.T) {
			w.cloud.add(t, name, name+"@"+w.name)
			ldif := fmt.Sprintf("dn: CN=%[1]s,CN=Users,%[2]s\nobjectClass: user\nsAMAccountName: %[1]s\nuserPrincipalName: %[1]s@%[3]s\n"+
				"mail: %[1]s@%[3]s\ngivenName: Given\nsn: Sur\nuserAccountControl: 512\n%[4]s\n", name, w.base, w.name, attribute)
			if _, err := w.toolFor(w.adminName, admin, ldif, "ldapadd"); err != nil {
				t.Fatal(err)
			}
			w.wantEverywhere(t, name, map[string]string{"bob": "Added-Quoted-7", "carol": "Added-Plain-8"}[name])
		})
	}
	t.Run("what AD refuses is refused in its words", func(t *testing.T) { w.refusedForms(t, now) })
	if dead := w.changes("--status", "dead"); len(dead) != 0 {
		t.Errorf("dead letters: %+v", dead)
	}
}

// refusedForms: a refusal is AD's own, and changes nothing.
func (w *world) refusedForms(t *testing.T, now string) {
	self := "alice@" + w.name
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"a short password":        {[]string{"-a", now, "-s", "short"}, "0000052D"},
		"a wrong old password":    {[]string{"-a", "Not-My-Password9", "-s", "Good-Enough-9"}, "00000056"},
		"a reset without a right": {[]string{"-s", "Good-Enough-9"}, "Insufficient access"},
		"somebody unknown":        {[]string{"-s", "Good-Enough-9", "nobody"}, "No such object"},
		"a hash":                  {[]string{"-a", now, "-s", "{SSHA}0123456789abcdef"}, "hashed"},
	} {
		out, err := w.toolFor(self, now, "", "ldappasswd", tt.args...)
		if err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: got %v\n%s\nwant a refusal with %q", name, err, out, tt.want)
		}
	}
	if err := w.conn().Bind(self, now); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
}

func (w *world) sid(t *testing.T) string {
	t.Helper()
	c := w.conn()
	if err := c.Bind(w.adminName, string(w.adminPassword.Expose())); err != nil {
		t.Fatal(err)
	}
	res, err := c.Search(ldap.NewSearchRequest(w.dn, ldap.ScopeBaseObject, 0, 1, 0, false, "(objectClass=*)", []string{"objectSid"}, nil))
	if err != nil || len(res.Entries) != 1 {
		t.Fatalf("read the SID: %v", err)
	}
	raw := res.Entries[0].GetRawAttributeValue("objectSid")
	text := fmt.Sprintf("S-1-%d", raw[7])
	for sub := raw[8:]; len(sub) >= 4; sub = sub[4:] {
		text += fmt.Sprintf("-%d", uint32(sub[0])|uint32(sub[1])<<8|uint32(sub[2])<<16|uint32(sub[3])<<24)
	}
	return text
}

// TestG4_UserPasswordIsThePassword: in a domain that says so (fUserPwdSupport)
// userPassword passes as it is, and what the DC accepts arrives, whether or not
// the gateway may translate.
func TestG4_UserPasswordIsThePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.dc.Replace(t, "CN=Directory Service,CN=Windows NT,CN=Services,CN=Configuration,"+w.base, "dSHeuristics", "000000001")
	w.configure("translate_password_modify", "false")
	w.serve()
	const own, reset = "Plain-Own-Change1", "Plain-By-Admin-2"
	c := w.conn()
	if err := c.Bind(w.dn, before); err != nil {
		t.Fatal(err)
	}
	req := ldap.NewModifyRequest(w.dn, nil)
	req.Delete("userPassword", []string{before})
	req.Add("userPassword", []string{own})
	if err := c.Modify(req); err != nil {
		t.Fatal(err)
	}
	w.wantEverywhere(t, "alice", own)
	c = w.conn()
	if err := c.Bind(w.adminName, string(w.adminPassword.Expose())); err != nil {
		t.Fatal(err)
	}
	req = ldap.NewModifyRequest(w.dn, nil)
	req.Replace("userPassword", []string{reset})
	if err := c.Modify(req); err != nil {
		t.Fatal(err)
	}
	w.wantEverywhere(t, "alice", reset)
}

// TestG4_TranslationOff: what AD would publish, or does not know, is refused.
func TestG4_TranslationOff(t *testing.T) {
	t.Parallel()
	w := newEmbeddedWorld(t)
	w.configure("translate_password_modify", "false")
	w.serve()
	c := w.conn()
	if err := c.Bind(w.dn, before); err != nil {
		t.Fatal(err)
	}
	req := ldap.NewModifyRequest(w.dn, nil)
	req.Replace("userPassword", []string{"Published-To-All1"})
	if err := c.Modify(req); !ldap.IsErrorWithCode(err, ldap.LDAPResultUnwillingToPerform) {
		t.Errorf("userPassword: %v, want unwillingToPerform", err)
	}
	if _, err := c.PasswordModify(ldap.NewPasswordModifyRequest("", before, "Some-Password-2")); !ldap.IsErrorWithCode(err, ldap.LDAPResultProtocolError) {
		t.Errorf("password modify: %v, want protocolError", err)
	}
	res, err := c.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, 0, 1, 0, false, "(objectClass=*)", []string{"+"}, nil))
	if err != nil || len(res.Entries) != 1 {
		t.Fatalf("root DSE: %v", err)
	}
	for _, oid := range res.Entries[0].GetAttributeValues("supportedExtension") {
		if oid == ldapwire.OIDPasswordModify {
			t.Error("password modify is offered")
		}
	}
}

// otherForms writes passwords by all the forms but Modify of unicodePwd, as
// an administrator and as alice, some of them refused. It returns them all,
// the one that alice has now first.
func (w *world) otherForms(admin *ldap.Conn, now string) []string {
	w.t.Helper()
	const own, plain, added, hashed, wrong, short = "Canary-Own-Rfc3062-6", "Canary-UserPassword7", "Canary-Added-Account8",
		"{SSHA}Canary-Hash-9", "Canary-Wrong-Old-10", "canaryrefusedinlowercase"
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	refused := func(err error) {
		w.t.Helper()
		if err == nil {
			w.t.Fatal("it was accepted")
		}
	}
	c := w.conn()
	must(c.Bind(w.dn, now))
	_, err := c.PasswordModify(ldap.NewPasswordModifyRequest("", now, own))
	must(err)
	_, err = c.PasswordModify(ldap.NewPasswordModifyRequest("", wrong, plain))
	refused(err)
	_, err = c.PasswordModify(ldap.NewPasswordModifyRequest("", own, short))
	refused(err)
	_, err = c.PasswordModify(ldap.NewPasswordModifyRequest("", own, hashed))
	refused(err)
	w.cloud.add(w.t, "newcomer", "newcomer@"+w.name)
	add := ldap.NewAddRequest("CN=newcomer,CN=Users,"+w.base, nil)
	for name, value := range map[string]string{"objectClass": "user", "sAMAccountName": "newcomer", "mail": "newcomer@" + w.name,
		"givenName": "Given", "sn": "Sur", "userAccountControl": "512", "userPassword": added} {
		add.Attribute(name, []string{value})
	}
	must(admin.Add(add))
	w.cloud.wantAccepted(w.t, soon, "newcomer", added)
	req := ldap.NewModifyRequest(w.dn, nil)
	req.Replace("userPassword", []string{hashed})
	refused(admin.Modify(req))
	result, err := admin.PasswordModify(ldap.NewPasswordModifyRequest(w.dn, "", ""))
	must(err)
	req = ldap.NewModifyRequest(w.dn, nil)
	req.Replace("userPassword", []string{plain})
	must(admin.Modify(req))
	w.cloud.wantAccepted(w.t, soon, "alice", plain)
	return []string{plain, own, added, hashed, wrong, short, result.GeneratedPassword}
}
