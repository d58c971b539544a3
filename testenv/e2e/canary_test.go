package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

// encodings are the forms in which a leaked secret could lie about.
func encodings(s string) map[string][]byte {
	wide := make([]byte, 0, 2*len(s))
	for _, u := range utf16.Encode([]rune(s)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	escaped, _ := json.Marshal(s)
	forms := map[string][]byte{
		"UTF-8":    []byte(s),
		"UTF-16LE": wide,
		"JSON":     bytes.Trim(escaped, `"`),
		"URL":      []byte(url.QueryEscape(s)),
	}
	for name, raw := range map[string][]byte{"UTF-8": []byte(s), "UTF-16LE": wide} {
		forms["hex of "+name] = []byte(hex.EncodeToString(raw))
		forms["HEX of "+name] = []byte(strings.ToUpper(hex.EncodeToString(raw)))
		// In the middle of other text base64 can begin at any of three offsets;
		// the middle part of each reads the same whatever surrounds it.
		for skip := range 3 {
			b := base64.StdEncoding.EncodeToString(append(make([]byte, skip), raw...))
			forms["base64 of "+name+" at "+string(rune('0'+skip))] = []byte(b[4 : len(b)-4])
		}
	}
	return forms
}

// findSecrets reports where any of the secrets lies in data.
func findSecrets(t *testing.T, where string, data []byte, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		for form, pattern := range encodings(s) {
			if bytes.Contains(data, pattern) {
				t.Errorf("%s holds a secret (%s...) as %s", where, s[:5], form)
			}
		}
	}
}

// TestCanaryFindsWhatIsThere: the search itself must be able to fail.
func TestCanaryFindsWhatIsThere(t *testing.T) {
	t.Parallel()
	const s = "Canary-Pässwörd-1"
	for form, pattern := range encodings(s) {
		hay := append(append([]byte("some text "), pattern...), " and more"...)
		found := false
		for _, p := range encodings(s) {
			found = found || bytes.Contains(hay, p)
		}
		if !found {
			t.Errorf("%s is not found", form)
		}
	}
	wide := base64.StdEncoding.EncodeToString([]byte("xx" + s + "yy"))
	found := false
	for _, p := range encodings(s) {
		found = found || bytes.Contains([]byte(wide), p)
	}
	if !found {
		t.Error("base64 in the middle of other text is not found")
	}
}

// searchAll looks through everything an installation wrote or said.
func (in *installation) searchAll(metrics string, secrets []string) {
	in.t.Helper()
	findSecrets(in.t, "the output of the program", []byte(in.output.String()), secrets)
	findSecrets(in.t, "the metrics", []byte(metrics), secrets)
	files := 0
	err := filepath.WalkDir(in.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		findSecrets(in.t, path, data, secrets)
		return nil
	})
	if err != nil || files < 10 {
		in.t.Errorf("searched %d files: %v", files, err)
	}
}

// TestP4_Canary runs the program at debug level through binds, accepted,
// refused, dead and pending changes and a kill, and then looks for every
// password and key in everything it wrote or said.
func TestP4_Canary(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) { canary(t, newEmbeddedWorld(t)) })
	t.Run("samba", func(t *testing.T) { canary(t, newWorld(t)) })
}

func canary(t *testing.T, w *world) {
	w.must("domain", "register", w.name, "--jumpcloud-ldap-url", w.cloud.LDAPURL())
	w.serve()
	const accepted, refused, wrong, dead, pending, reset = "Canary-Accepted-Pässwörd1", "cánary", "Canary-Wrong-Bind2", "Canary-Dead-Letter3", "Canary-Pending-Secret4", "Canary-Reset-By-Admin5"

	if err := w.conn().Bind(w.dn, wrong); err == nil {
		t.Fatal("the wrong password was accepted")
	}
	if err := w.change(before, accepted); err != nil {
		t.Fatal(err)
	}
	w.cloud.wantAccepted(t, soon, "alice", accepted)
	throughAPI, now := w.canaryByAPI(accepted)
	if err := w.change(now, refused); err == nil {
		t.Fatal("the short password was accepted")
	}
	c := w.conn()
	if err := c.Bind(w.adminName, string(w.adminPassword.Expose())); err != nil {
		t.Fatal(err)
	}
	req := ldap.NewModifyRequest(w.dn, nil)
	req.Replace("unicodePwd", []string{reset}) // not quoted: refused by the gateway itself
	if err := c.Modify(req); err == nil {
		t.Fatal("a malformed unicodePwd was accepted")
	}
	others := append(w.otherForms(c, now), throughAPI...)
	w.cloud.SetPolicy(jcsim.PasswordPolicy{EnableMinLength: true, MinLength: 60})
	if err := w.change(others[0], dead); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, "the change is a dead letter", func() bool { return len(w.changes("--status", "dead")) == 1 })
	w.must("changelog", "show", w.changes("--status", "dead")[0].Seq.String())
	w.cloud.Fail(jcsim.Fault{PathPrefix: "/api", Times: 10_000, Kind: jcsim.Status, Code: 500})
	if err := w.change(dead, pending); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, "the change is pending", func() bool { return len(w.changes("--status", "pending")) == 1 })
	w.must("changelog", "tail", "--after", "0", "--no-follow")
	if out := w.must("user", "show", "alice"); !strings.Contains(out, "500") {
		t.Errorf("user show does not say that JumpCloud is away:\n%s", out)
	}
	metrics := w.metrics()
	secrets := []string{before, accepted, refused, wrong, dead, pending, reset, servicePassword,
		string(w.cloud.APIKey().Expose()), string(w.adminPassword.Expose())}
	secrets = append(secrets, others...)
	w.searchAll(metrics, secrets)
	_ = w.stop(syscall.SIGKILL)
	w.searchAll(metrics, secrets)
	for _, name := range []string{"alice", "CORP", w.dn} {
		if strings.Contains(metrics, name) {
			t.Errorf("the metrics name %q", name)
		}
	}
}

// canaryByAPI sends passwords and tokens to the delegate API, right and wrong,
// and returns them, and what the password of alice is then.
func (w *world) canaryByAPI(now string) (secrets []string, next string) {
	w.t.Helper()
	const wrong, lower, changed = "Canary-Wrong-By-Api11", "canaryrefusedbytheapi", "Canary-Changed-By-Api12"
	token := w.token("validate,change,status")
	broken := token[:len(token)-8] + "canary--"
	w.validate(token, "alice", now, `"verdict":"accepted"`)
	w.validate(token, "alice", wrong, `"reason":"bad_credentials"`)
	w.validate(broken, "alice", now, " 401")
	w.curl(token, "/v1/validate", `{"username":"alice","password":"`+wrong+`"`, " 400") // half an object
	w.curl(token, "/v1/validate", `{"`+wrong+`":"alice","password":"`+wrong+`"}`, " 400")
	w.changeByAPI(token, wrong, changed, `"reason":"bad_credentials"`)
	w.changeByAPI(token, now, lower, `"reason":"policy"`)
	w.changeByAPI(token, now, changed, `{"outcome":"changed"}`)
	w.cloud.wantAccepted(w.t, soon, "alice", changed)
	return []string{wrong, lower, changed, token, broken}, changed
}

// TestP4_NoCoreDumps: the daemon's memory stays its own.
func TestP4_NoCoreDumps(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	in.serve()
	limits, err := os.ReadFile("/proc/" + strconv.Itoa(in.daemon.Process.Pid) + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "Max core file size") && (f[4] != "0" || f[5] != "0") {
			t.Errorf("core dumps are possible: %s", line)
		}
	}
}
