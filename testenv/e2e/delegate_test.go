package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

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
	token := strings.TrimSpace(w.must("token", "create", "curl", "--scopes", "validate,change,status"))
	curl := func(path string, body map[string]string, want string) {
		t.Helper()
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "curl", "-sS", "--cacert", w.installation.ca, "-H", "authorization: Bearer "+token,
			"-H", "content-type: application/json", "-d", "@-", "-w", " %{http_code}", "https://"+w.delegate+path)
		cmd.Stdin = strings.NewReader(string(raw))
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: got %s, %v; want %s", path, out, err, want)
		}
	}
	ask := func(password, want string) {
		t.Helper()
		curl("/v1/validate", map[string]string{"username": "alice", "password": password}, want)
	}
	ask(before, `"verdict":"accepted"`)
	ask(wrong, `"reason":"bad_credentials"`)
	curl("/v1/validate", map[string]string{"username": "nobody", "password": wrong}, `"reason":"bad_credentials"`)
	curl("/v1/change-password", map[string]string{"username": "alice", "oldPassword": before, "newPassword": changed}, `{"outcome":"changed"}`)
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
	// The command that made the token printed it, which is what it is for.
	said := strings.ReplaceAll(w.output.String(), token, "")
	findSecrets(t, "the output", []byte(said), []string{wrong, changed, before, token})
}
