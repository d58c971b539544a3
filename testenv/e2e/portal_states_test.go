package e2e

import (
	"math"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/browser"
	"github.com/go-ldap/ldap/v3"
)

// signsIn signs in with a browser of each language and wants the sign-in page
// again, with these words.
func (p visitor) signsIn(name, password, english, german string) {
	p.t.Helper()
	for accept, text := range map[string]string{"en-US,en": english, "de-DE,de": german} {
		p.Language(accept)
		p.signIn(name, password)
		p.wants("/sign-in", text)
		var lang string
		if p.Eval("document.documentElement.lang", &lang); !strings.HasPrefix(accept, lang) {
			p.t.Errorf("the page for %s is in %q", accept, lang)
		}
		p.Screenshot("samba-" + name + "-" + lang)
	}
	p.Language("en-US,en")
}

// TestD5_PortalOfPolicies: what a user of a real domain is told who may not sign
// in just now, and who has rules of the user's own, a Password Settings Object.
func TestD5_PortalOfPolicies(t *testing.T) {
	t.Parallel()
	browser.Need(t)
	const wrong, carried = "Canary-Wrong-States1", "Canary-Carried-States2"
	w := newWorld(t)
	names := []string{"night", "carried", "strict", "stale", "lasting"}
	dns := make(map[string]string)
	for _, name := range names {
		dns[name] = w.addUser(name, []byte(before))
		w.cloud.add(t, name, name+"@"+w.name)
	}
	w.dc.Replace(t, dns["night"], "logonHours", string(make([]byte, 21)))
	w.must("domain", "register", w.name, "--jumpcloud-ldap-url", w.cloud.LDAPURL())
	delegateAs := w.delegation()
	delegateAs("ENABLED")
	w.must("replicate", "run", "--once")
	w.must("user", "set-delegation", "carried", "none")

	w.serve("--roles", "gateway,delegate") // without the import what is on its way stays so
	token := w.token("validate,change,status")
	p := visitor{browser.Start(t, certificateOf(t, w.delegate, w.installation.ca)).NewPage(t), t, "https://" + w.delegate}
	refusedAs := func(name string) { // whoever does not know the password is told nothing else
		t.Helper()
		p.signIn(name, wrong)
		p.wants("/sign-in", "User name or password is wrong")
	}
	p.signsIn("night", before, "You may not do this now", "Das ist Ihnen jetzt nicht erlaubt")
	refusedAs("night")

	own := strings.Replace(w.changeByLDIF(before, carried), w.dn, dns["carried"], 1)
	if _, err := w.ldapTool(w.ca, own, "ldapmodify", "-x", "-H", w.gateway(), "-D", dns["carried"], "-w", before); err != nil {
		t.Fatal(err)
	}
	p.signsIn("carried", carried, "Your new password is on its way", "Ihr neues Passwort ist unterwegs")
	refusedAs("carried")
	w.validate(token, "carried", carried, `"verdict":"undecided","reason":"password_pending"`)

	w.ownRules(t, p, token, dns)

	for i := range 10 { // as many as the throttle allows of one account
		w.validate(token, "nobody", "Wrong.Pass"+strconv.Itoa(i), `"reason":"bad_credentials"`)
	}
	p.signsIn("nobody", wrong, "Too many tries", "Zu viele Versuche")

	// A registration that captures nothing, and a delegation that is not ready.
	if err := w.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	delegateAs("PENDING")
	w.must("domain", "register", w.name, "--password-sync", "validate-only")
	w.serve("--roles", "gateway,delegate")
	p.url = "https://" + w.delegate
	p.signsIn("alice", before, "Your account is not ready yet", "Ihr Konto ist noch nicht bereit")
	refusedAs("alice")
	p.signsIn("carried", carried, "Your account is not set up for signing in here", "Ihr Konto ist für die Anmeldung hier nicht eingerichtet")
	refusedAs("carried")
	findSecrets(t, "the output", []byte(w.output.String()), []string{wrong, carried, before, token})
}

// ownRules: a user's Password Settings Object says when the password expires,
// and its rules are shown and told, once the service account may read them.
func (w *world) ownRules(t *testing.T, p visitor, token string, dns map[string]string) {
	t.Helper()
	conn, settings := w.dc.Conn(t), "CN=Password Settings Container,CN=System,"+w.base
	pso := func(user string, length, days int) {
		age := strconv.Itoa(-days * 24 * 3600 * 1e7)
		if days == 0 {
			age = strconv.Itoa(math.MinInt64) // never
		}
		add := ldap.NewAddRequest("CN=for "+user+","+settings, nil)
		for attribute, value := range map[string]string{"objectClass": "msDS-PasswordSettings", "msDS-PasswordSettingsPrecedence": "10",
			"msDS-PasswordReversibleEncryptionEnabled": "FALSE", "msDS-PasswordHistoryLength": "3", "msDS-PasswordComplexityEnabled": "FALSE",
			"msDS-MinimumPasswordLength": strconv.Itoa(length), "msDS-MinimumPasswordAge": "0", "msDS-MaximumPasswordAge": age,
			"msDS-LockoutThreshold": "0", "msDS-LockoutObservationWindow": "-18000000000", "msDS-LockoutDuration": "-18000000000", "msDS-PSOAppliesTo": dns[user]} {
			add.Attribute(attribute, []string{value})
		}
		if err := conn.Add(add); err != nil {
			t.Fatal(err)
		}
	}
	pso("strict", 20, 10)
	pso("stale", 0, 3)
	pso("lasting", 0, 0)
	day := 24 * time.Hour
	set := time.Now().Truncate(time.Second)
	w.dc.SetPwdLastSet(t, dns["strict"], set.Add(-day))
	w.dc.SetPwdLastSet(t, dns["stale"], set.Add(-4*day))
	w.dc.SetPwdLastSet(t, dns["lasting"], set.Add(-400*day))

	w.validate(token, "stale", before, `"reason":"expired"`)
	p.signIn("stale", before)
	p.wants("/change-password", "has expired")
	w.validate(token, "lasting", before, `"verdict":"accepted"`)
	p.signIn("lasting", before)
	p.wants("/account", "Does not expire")
	w.validate(token, "strict", before, `"passwordExpiresAt":"`+set.Add(9*day).UTC().Format(time.RFC3339)+`"`)
	p.signIn("strict", before)
	p.wants("/account", "in 8 days")

	p.change(before, "Nineteen.Characters")
	p.wants("/change-password", "It was used before, or breaks another rule of your organisation") // as AD puts it
	p.wants("/change-password", "Further rules of your organisation, which cannot be shown")
	w.dc.Tool(t, "dsacl", "set", "--objectdn="+settings,
		"--sddl=(A;CI;RPLCLORC;;;"+w.dc.SID(t, "CN=svc-dirgate,OU=Service,"+w.base)+")")
	p.Open(p.url + "/change-password")
	p.wants("/change-password", "At least 20 characters")
	p.change(before, "Nineteen.Characters")
	p.wants("/change-password", "Active Directory: At least 20 characters")
	w.curl(token, "/v1/change-password", object(w.installation, map[string]string{"username": "strict", "oldPassword": before, "newPassword": "Nineteen.Characters"}),
		`"violations":[{"side":"ad","rule":"min_length","limit":20`)
	p.change(before, "twenty small letters") // no rule of the domain's
	p.wants("/account", "was changed")
	p.wants("/account", "in 9 days")
}
