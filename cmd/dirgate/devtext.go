package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/testenv/adsim"
)

// devNewPassword is what the printed example changes alice's password to.
const devNewPassword = "Changed.Pass2"

// print says what runs and what to try; every command can be pasted.
func (w *devWorld) print() error {
	var b strings.Builder
	f := w.facts
	row := func(what, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-24s %s\n", what, value)
		}
	}
	b.WriteString("Running until interrupted:\n\n")
	row("dirgate LDAPS", f.LDAPS)
	row("dirgate LDAP, StartTLS", f.LDAP)
	row("user portal", suffixed(f.Delegate, "/"))
	row("validation API", suffixed(f.Delegate, "/v1/openapi.json"))
	row("its token", f.DelegateToken)
	row("dirgate metrics", suffixed(f.Metrics, "/metrics"))
	row("embedded AD", f.AD)
	row("embedded JumpCloud API", f.JumpCloud)
	row("embedded JumpCloud LDAP", f.JumpCloudLDAP)
	row("JumpCloud organisation", f.OrgID)
	row("JumpCloud API key", f.APIKey)
	row("CA of all of them", f.CAFile)
	row("configuration", f.Config)
	if len(f.Users) > 0 {
		row("administrator", f.Admin.DN+"  "+f.Admin.Password)
		var names []string
		for _, u := range f.Users {
			names = append(names, u.SAM)
		}
		row("people", strings.Join(names, " ")+"  (carol disabled, dave must change, erin locked, frank expired)")
		row("their password", devPassword)
	}
	if err := w.examples(&b); err != nil {
		return err
	}
	_, err := w.io.out.Write([]byte(b.String()))
	return err
}

func suffixed(url, path string) string {
	if url == "" {
		return ""
	}
	return url + path
}

// examples adds the commands to try with what is running.
func (w *devWorld) examples(b *strings.Builder) error {
	f := w.facts
	entry := f.LDAPS // of Active Directory
	if entry == "" {
		entry = f.AD
	}
	fmt.Fprintf(b, "\nTry, in another terminal:\n\nexport LDAPTLS_CACERT=%s\n", f.CAFile)
	if entry != "" {
		alice := f.Users[0]
		change, err := w.changeExample(entry, alice)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "\n# who am I?\nldapwhoami -H %s -x -D %s -w %s\n", entry, alice.UPN, alice.Password)
		fmt.Fprintf(b, "\n# a search, as any application makes it\nldapsearch -H %s -x -LLL -D %s -w %s -b %s '(sAMAccountName=alice)' cn mail memberOf\n",
			entry, alice.UPN, alice.Password, f.BaseDN)
		fmt.Fprintf(b, "\n# alice changes her password in AD\n%s", change)
	}
	if f.Delegate != "" {
		b.WriteString(portalExample(f))
		fmt.Fprintf(b, "\n# is this password right, and if not, why?\ncurl --cacert %s -H 'authorization: Bearer %s' -H 'content-type: application/json' -d '{\"username\":\"dave\",\"password\":\"%s\"}' %s/v1/validate\n",
			f.CAFile, f.DelegateToken, devPassword, f.Delegate)
	}
	switch {
	case w.cloud != nil && w.ad != nil:
		who := w.cloud.UserDN("alice")
		fmt.Fprintf(b, "\n# JumpCloud's LDAP accepts the new password, and not the old one\n")
		for _, password := range []string{devNewPassword, devPassword} {
			fmt.Fprintf(b, "ldapsearch -H %s -x -LLL -D %s -w %s -b %s -s base uid mail\n", f.JumpCloudLDAP, who, password, who)
		}
		newcomer, err := w.importExample()
		if err != nil {
			return err
		}
		b.WriteString(newcomer)
		fmt.Fprintf(b, "\n# what dirgate did, and why\n")
		for _, command := range []string{"user show alice", "changelog list", "domain show " + f.Domain} {
			fmt.Fprintf(b, "%s --config %s %s\n", program(), f.Config, command)
		}
	case w.cloud != nil:
		fmt.Fprintf(b, "\n# create a user\ncurl --cacert %s -H 'x-api-key: %s' -H 'content-type: application/json' -d '{\"username\":\"alice\",\"email\":\"alice@corp.example.test\"}' %s/api/systemusers\n",
			f.CAFile, f.APIKey, f.JumpCloud)
	}
	b.WriteString("\n")
	return nil
}

// portalExample is what the user portal shows of each of the people.
func portalExample(f devFacts) string {
	return fmt.Sprintf(`
# the user portal, in a browser that trusts %s (or is told to go on):
#   %s/
# everybody's password is %s, and the pages differ:
#   alice, bob  how the password stands, and a change of it, which JumpCloud has a second later
#   dave        the password is temporary and must be changed first
#   frank       the password has expired and must be changed first
#   carol       disabled; only the right password learns that
#   erin        locked
#   mallory     nobody: the same page as a wrong password
`, f.CAFile, f.Delegate, devPassword)
}

// importExample is a new user in AD, whom the import makes in JumpCloud.
func (w *devWorld) importExample() (string, error) {
	f := w.facts
	password, err := ldapwire.AppendUnicodePwd(nil, []byte(devPassword))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`
# somebody new in AD: a second later JumpCloud has her, and the group that she is in
ldapadd -H %s -x -D %s -w %s <<'END'
dn: CN=grace,OU=People,%s
objectClass: user
sAMAccountName: grace
userPrincipalName: grace@%s
givenName: Grace
sn: Green
mail: grace@%s
userAccountControl: 512
unicodePwd:: %s

dn: CN=%s,OU=Groups,%s
changetype: modify
add: member
member: CN=grace,OU=People,%s
END
sleep 1
curl -s --cacert %s -H 'x-api-key: %s' '%s/api/systemusers?filter=username:$eq:grace'
%s --config %s replicate status
`, f.LDAPS, f.Admin.DN, f.Admin.Password, f.BaseDN, f.Domain, f.Domain, base64.StdEncoding.EncodeToString(password), adsim.ScopeGroup, f.BaseDN, f.BaseDN,
		f.CAFile, f.APIKey, f.JumpCloud, program(), f.Config), nil
}

// changeExample is an ldapmodify that changes a password as its owner.
func (w *devWorld) changeExample(url string, u devUser) (string, error) {
	var values []string
	for _, password := range []string{u.Password, devNewPassword} {
		v, err := ldapwire.AppendUnicodePwd(nil, []byte(password))
		if err != nil {
			return "", err
		}
		values = append(values, base64.StdEncoding.EncodeToString(v))
	}
	return fmt.Sprintf(`ldapmodify -H %s -x -D %s -w %s <<'END'
dn: %s
changetype: modify
delete: unicodePwd
unicodePwd:: %s
-
add: unicodePwd
unicodePwd:: %s
-
END
`, url, u.UPN, u.Password, u.DN, values[0], values[1]), nil
}

// program is how this program was called, for lines to paste.
func program() string {
	name, err := os.Executable()
	if err != nil {
		return "dirgate"
	}
	return name
}
