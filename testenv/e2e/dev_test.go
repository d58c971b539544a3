package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// dev is a running `dirgate dev`.
type dev struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr *transcript
}

func startDev(t *testing.T, args ...string) *dev {
	t.Helper()
	d := &dev{t: t, cmd: exec.Command(program(t), append([]string{"--log-level", "debug", "dev"}, args...)...), stderr: &transcript{}}
	d.cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	d.cmd.Stderr = d.stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.stdout = bufio.NewReader(out)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	return d
}

// stop interrupts it and expects a clean end.
func (d *dev) stop() {
	if d.cmd.ProcessState != nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGINT)
	rest, _ := io.ReadAll(d.stdout)
	if err := d.cmd.Wait(); err != nil {
		d.t.Errorf("dev ended with %v\n%s%s", err, rest, d.stderr)
	}
}

// readUntil reads lines until one that equals last.
func (d *dev) readUntil(last string) string {
	d.t.Helper()
	timer := time.AfterFunc(patience, func() { _ = d.cmd.Process.Kill() })
	defer timer.Stop()
	var all strings.Builder
	for {
		line, err := d.stdout.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			d.t.Fatalf("dev printed no line %q: %v\n%s%s", last, err, all.String(), d.stderr)
		}
		if strings.HasPrefix(line, last) {
			return all.String()
		}
	}
}

// TestDev pastes what `dirgate dev` prints into a shell, as a person does in
// the first five minutes.
func TestDev(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ldapwhoami"); err != nil {
		t.Skip("SKIPPED: ldap-utils is not installed")
	}
	d := startDev(t)
	printed := d.readUntil(program(t) + " --config")
	for range 3 {
		printed += d.readUntil(program(t) + " --config")
	}
	_, script, found := strings.Cut(printed, "export ")
	if !found {
		t.Fatalf("no commands were printed:\n%s", printed)
	}
	paste := func(text string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "bash", "-e")
		cmd.Stdin = strings.NewReader("export LDAPRC= LDAPCONF=/dev/null\n" + text)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	// Everything but the one bind that must fail, waiting for JumpCloud as a
	// person does who pastes the next lines a moment later.
	oldAtJumpCloud := regexp.MustCompile(`(?m)^ldapsearch .*-D uid=alice,.* -w Start\.Pass1 .*$`)
	newAtJumpCloud := regexp.MustCompile(`(?m)^ldapsearch .*-D uid=alice,.* -w Changed\.Pass2 .*$`)
	old := oldAtJumpCloud.FindString(script)
	if old == "" || newAtJumpCloud.FindString(script) == "" {
		t.Fatalf("no binds at JumpCloud's LDAP were printed:\n%s", script)
	}
	export, _, _ := strings.Cut(script, "\n")
	first, last, _ := strings.Cut(script, newAtJumpCloud.FindString(script))
	out, err := paste("export " + first)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`u:CORP\alice`, "memberOf: CN=JumpCloud", "modifying entry"} {
		if !strings.Contains(out, want) {
			t.Errorf("the pasted lines do not print %q:\n%s", want, out)
		}
	}
	eventually(t, soon, "JumpCloud's LDAP accepts the new password", func() bool {
		_, err := paste("export " + export + "\n" + newAtJumpCloud.FindString(script))
		return err == nil
	})
	if out, err := paste("export " + export + "\n" + old); err == nil || !strings.Contains(out, "Invalid credentials") {
		t.Errorf("the old password: got %v, want it refused\n%s", err, out)
	}
	out, err = paste("export " + export + "\n" + oldAtJumpCloud.ReplaceAllString(last, ""))
	if err != nil || !strings.Contains(out, "applied") || !strings.Contains(out, "running") {
		t.Errorf("%v\n%s", err, out)
	}
	findGrace := regexp.MustCompile(`(?m)^curl .*grace'$`).FindString(script)
	eventually(t, patience, "JumpCloud has grace, who is new in AD: "+findGrace, func() bool {
		out, err := paste(findGrace)
		return err == nil && strings.Contains(out, `"username":"grace"`)
	})
}

// TestDevJSON holds the contract of --json, --dir and --listen-base.
func TestDevJSON(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kept")
	d := startDev(t, "--json", "--dir", dir)
	var f struct {
		LDAPS   string `json:"ldaps_url"`
		Plain   string `json:"ldap_url"`
		Metrics string `json:"metrics_url"`
		Cloud   string `json:"jumpcloud_url"`
		LDAP    string `json:"jumpcloud_ldap_url"`
		Key     string `json:"jumpcloud_api_key"`
		Org     string `json:"jumpcloud_org_id"`
		CA      string `json:"ca_file"`
		Config  string `json:"config"`
		Socket  string `json:"admin_socket"`
		Domain  string `json:"domain"`
		Base    string `json:"base_dn"`
		AD      string `json:"ad_url"`
		Users   []struct{ DN, UPN, SAM, Password string }
		Admin   struct{ DN, Password string }
	}
	line := d.readUntil("{")
	dec := json.NewDecoder(strings.NewReader(line))
	if err := dec.Decode(&f); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	var raw map[string]any
	_ = json.Unmarshal([]byte(line), &raw)
	for _, key := range []string{"ldaps_url", "ldap_url", "delegate_url", "console_url", "metrics_url", "jumpcloud_url", "jumpcloud_ldap_url",
		"jumpcloud_api_key", "jumpcloud_org_id", "ca_file", "config", "admin_socket", "domain", "base_dn", "delegate_token", "users", "admin", "ad_url"} {
		if _, ok := raw[key]; !ok {
			t.Errorf("the line lacks %s", key)
		}
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(url string) *ldap.Conn {
		c, err := ldap.DialURL(url, ldap.DialWithTLSConfig(clientTLS(t, pem)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	plain := dial(f.Plain)
	if err := plain.StartTLS(clientTLS(t, pem)); err != nil {
		t.Error("StartTLS:", err)
	} else if err := plain.Bind(f.Users[0].SAM, f.Users[0].Password); err != nil {
		t.Error("bind by account name after StartTLS:", err)
	}
	want := map[string]string{"alice": "", "bob": "", "carol": "533", "dave": "773", "erin": "775", "frank": "532"}
	for _, u := range f.Users {
		code, ok := want[u.SAM]
		delete(want, u.SAM)
		err := dial(f.LDAPS).Bind(u.UPN, u.Password)
		if !ok || (err == nil) != (code == "") || (err != nil && !strings.Contains(err.Error(), "data "+code+",")) {
			t.Errorf("%s: got %v, want data %q", u.SAM, err, code)
		}
	}
	if len(want) != 0 {
		t.Errorf("users lack %v", want)
	}
	if err := dial(f.AD).Bind(f.Admin.DN, f.Admin.Password); err != nil {
		t.Error("the administrator:", err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: clientTLS(t, pem), DisableKeepAlives: true}}
	ask := func(path string) string {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", f.Cloud+path, nil)
		req.Header.Set("x-api-key", f.Key)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.Status + " " + string(body)
	}
	if got := ask("/api/organizations"); !strings.Contains(got, f.Org) {
		t.Errorf("GET /api/organizations: %s, want organisation %s", got, f.Org)
	}
	people := ask("/api/systemusers?limit=100")
	for _, want := range []string{`"firstname":"Alice"`, `"lastname":"Archer"`, `"firstname":"Frank"`, `"lastname":"Fisher"`} {
		if !strings.Contains(people, want) {
			t.Errorf("JumpCloud's people lack %s: %s", want, people)
		}
	}
	d.stop()
	if _, err := os.Stat(filepath.Join(dir, "dirgate.yaml")); err != nil {
		t.Error("--dir was not kept:", err)
	}
	again := exec.Command(program(t), "dev", "--dir", dir)
	if out, err := again.CombinedOutput(); err == nil || !strings.Contains(string(out), "exists and is not overwritten") {
		t.Errorf("a folder in use: got %v %s, want a refusal", err, out)
	}
}
