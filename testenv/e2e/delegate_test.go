package e2e

import (
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/dirgate/dirgate/testenv/jcsim"
)

// token makes a bearer token. What the command prints, which is the token, is
// not kept with what was said.
func (in *installation) token(scopes string) string {
	in.t.Helper()
	out, err := exec.CommandContext(in.t.Context(), program(in.t), "--config", in.config, "token", "create", "curl", "--scopes", scopes).Output()
	if err != nil {
		in.t.Fatal("token create:", err)
	}
	return strings.TrimSpace(string(out))
}

// curl posts a body to the delegate API; its answer, and the status behind it,
// must contain want.
func (in *installation) curl(token, path, body, want string) {
	in.t.Helper()
	cmd := exec.CommandContext(in.t.Context(), "curl", "-sS", "-i", "--cacert", in.ca, "-H", "authorization: Bearer "+token,
		"-H", "content-type: application/json", "-d", "@-", "-w", " %{http_code}", "https://"+in.delegate+path)
	cmd.Stdin = strings.NewReader(body)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), want) {
		in.t.Errorf("%s: got %s, %v; want %s", path, out, err, want)
	}
}

func object(in *installation, members map[string]string) string {
	raw, err := json.Marshal(members)
	if err != nil {
		in.t.Fatal(err)
	}
	return string(raw)
}

func (in *installation) validate(token, name, password, want string) {
	in.t.Helper()
	in.curl(token, "/v1/validate", object(in, map[string]string{"username": name, "password": password}), want)
}

// changeByAPI changes the password of alice.
func (in *installation) changeByAPI(token, from, to, want string) {
	in.t.Helper()
	in.curl(token, "/v1/change-password", object(in, map[string]string{"username": "alice", "oldPassword": from, "newPassword": to}), want)
}

// TestD2_Curl: with a token of the command line, curl gets verdicts from the
// binary, and a changed password reaches JumpCloud; nothing says a password.
func TestD2_Curl(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { validateByCurl(t, newEmbeddedWorld(t)) })
	t.Run("samba", func(t *testing.T) { validateByCurl(t, newWorld(t)) })
}

func validateByCurl(t *testing.T, w *world) {
	// Without the import alice is AD's alone, so AD decides.
	w.serve("--roles", "gateway,delegate")
	const wrong, changed = "Canary-Wrong-Curl1", "Canary-Changed-By-Curl2"
	token := w.token("validate,change,status")
	ask := func(password, want string) {
		t.Helper()
		w.validate(token, "alice", password, want)
	}
	ask(before, `"verdict":"accepted"`)
	ask(wrong, `"reason":"bad_credentials"`)
	w.validate(token, "nobody", wrong, `"reason":"bad_credentials"`)
	w.changeByAPI(token, before, changed, `{"outcome":"changed"}`)
	ask(changed, `"verdict":"accepted"`)
	list := w.must("token", "list")
	if strings.Contains(list, token) || !strings.Contains(list, "validate,change,status") {
		t.Errorf("token list:\n%s", list)
	}
	w.must("token", "revoke", strings.Split(token, "_")[1])
	ask(changed, " 401")
	if err := w.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	w.serve() // the change was recorded: now it is replicated
	w.cloud.wantAccepted(t, patience, "alice", changed)
	findSecrets(t, "the output", []byte(w.output.String()), []string{wrong, changed, before, token})
}

// TestD2_EveryVerdict: each state of an account of a real domain has its answer,
// and each change of a password.
func TestD2_EveryVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, put := range map[string]func(testing.TB, string){"disabled": w.dc.Disable, "locked": w.dc.Lock, "expired": w.dc.Expire,
		"temporary": w.dc.MustChange, "over": w.dc.ExpireAccount, "bob": func(testing.TB, string) {},
		"night": func(tb testing.TB, dn string) { w.dc.Replace(tb, dn, "logonHours", string(make([]byte, 21))) }} {
		put(t, w.addUser(name, []byte(before)))
	}
	delegateAs := w.delegation()
	w.serve("--roles", "gateway,delegate")
	token := w.token("validate,change")
	for _, tt := range []struct{ name, password, want string }{
		{"alice", before, `"verdict":"accepted"`}, {"alice", "Wrong.Pass1", `{"verdict":"refused","reason":"bad_credentials","passwordCorrect":false}`},
		{"nobody", before, `{"verdict":"refused","reason":"bad_credentials","passwordCorrect":false}`},
		{"disabled", before, `"reason":"disabled"`}, {"disabled", "Wrong.Pass1", `"reason":"bad_credentials"`},
		{"locked", before, `"reason":"locked_out"`}, {"expired", before, `"reason":"expired"`}, {"expired", "Wrong.Pass1", `"reason":"bad_credentials"`},
		{"temporary", before, `"reason":"must_change"`}, {"over", before, `"reason":"account_expired"`}, {"night", before, `"reason":"not_permitted_now"`},
	} {
		w.validate(token, tt.name, tt.password, tt.want)
	}
	for i := range 10 { // as many as the throttle allows of one account
		w.validate(token, "bob", "Wrong.Pass"+strconv.Itoa(i), `"reason":"bad_credentials"`)
	}
	w.validate(token, "bob", before, "429")
	restart := func(state string, args ...string) {
		t.Helper()
		if err := w.stop(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		delegateAs(state)
		if state == "PENDING" {
			delegateAs("ENABLED") // users are delegated by the import
			w.must("replicate", "run", "--once")
			delegateAs(state)
		}
		w.serve(args...)
	}
	restart("PENDING", "--roles", "gateway,delegate")
	w.validate(token, "alice", before, `"reason":"delegation_pending"`)
	w.validate(token, "alice", "Wrong.Pass2", `"reason":"bad_credentials"`)

	w.cloud.SetPolicy(jcsim.PasswordPolicy{EnableMinLength: true, MinLength: 12})
	restart("ENABLED")
	const fresh = "Quite.Fresh.Pass9"
	w.changeByAPI(token, "Wrong.Pass3", fresh, `"reason":"bad_credentials"`)
	w.changeByAPI(token, before, "Ab.1", `"side":"ad","rule":"min_length"`)
	w.changeByAPI(token, before, "Eleven.Chr1", `"violations":[{"side":"jumpcloud","rule":"min_length","limit":12`)
	w.validate(token, "alice", before, `"verdict":"accepted"`) // AD was not asked to take it
	w.validate(token, "alice", "Eleven.Chr1", `"reason":"bad_credentials"`)
	w.changeByAPI(token, before, fresh, `{"outcome":"changed"}`)
	w.cloud.wantAccepted(t, soon, "alice", fresh)
	w.validate(token, "alice", fresh, `"verdict":"accepted","authority":"ad"`)
	w.changeByAPI(token, fresh, "Other."+fresh, `{"outcome":"changed"}`)
	w.changeByAPI(token, "Other."+fresh, fresh, `"side":"ad","rule":"history"`) // by AD's answer
	w.dc.Kill(t)
	w.validate(token, "alice", "Other."+fresh, `"verdict":"undecided","reason":"dc_unavailable"`)
	w.validate(token, "alice", "Wrong.Pass4", "503")
}

// delegation gives what sets the domain's delegation state at JumpCloud.
func (w *world) delegation() func(state string) {
	w.t.Helper()
	var d struct {
		JumpCloud struct {
			ADID string `json:"adID"`
		} `json:"jumpcloud"`
	}
	if err := json.Unmarshal([]byte(w.must("--output", "json", "domain", "show", w.name)), &d); err != nil || d.JumpCloud.ADID == "" {
		w.t.Fatalf("domain show: %+v, %v", d, err)
	}
	return func(state string) {
		w.t.Helper()
		if err := w.cloud.SetDelegation(d.JumpCloud.ADID, state); err != nil {
			w.t.Fatal(err)
		}
	}
}
