package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// cloudWorld is a domain that is replicated in both directions, whose user pat
// was made by JumpCloud, which has the say over pat's password.
type cloudWorld struct {
	*syncWorld
	token, pat string
}

const patsFirst = "From.JumpCloud-7"

func newCloudWorld(t *testing.T) *cloudWorld {
	t.Helper()
	w := &cloudWorld{syncWorld: newSyncWorld(t, "two-way", true)}
	w.running()
	var err error
	w.pat, err = w.cloud.AddUser(jcsim.User{Username: "pat", Email: "pat@" + w.name, FirstName: "First", LastName: "Last", LDAPBound: true,
		Password: secret.New([]byte(patsFirst))})
	if err == nil {
		err = w.cloud.BindUser(w.adID, w.pat, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "pat has an account", func() bool { return w.enabled("pat") })
	w.must("user", "set-authority", "pat", "--password-authority", "jumpcloud", "--yes")
	w.token = w.installation.token("validate,change")
	return w
}

// changePat asks the delegate's API to change pat's password.
func (w *cloudWorld) changePat(from, to, want string) {
	w.t.Helper()
	w.curl(w.token, "/v1/change-password", object(w.installation, map[string]string{"username": "pat", "oldPassword": from, "newPassword": to}), want)
}

// atDC reports whether AD accepts a password of pat.
func (w *cloudWorld) atDC(password string) bool {
	w.t.Helper()
	conn, err := w.dc.Dial(patience)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	return conn.Bind("pat@"+w.name, password) == nil
}

// fromJumpCloud are the passwords of direction sync.
func (w *cloudWorld) fromJumpCloud() []identity.Entry {
	w.t.Helper()
	return slices.DeleteFunc(w.changes(), func(e identity.Entry) bool { return e.Direction != identity.Sync })
}

func (w *cloudWorld) passwordWrites() (n int) {
	for _, write := range w.cloud.Writes() {
		if write.Path == "/api/systemusers/"+w.pat+"/password" {
			n++
		}
	}
	return n
}

// TestS4_ChangedAtJumpCloud: a password that is changed at JumpCloud by the
// delegate's API is AD's soon after; what AD refuses is a dead letter with AD's
// words, also in `user why`.
func TestS4_ChangedAtJumpCloud(t *testing.T) {
	t.Parallel()
	w := newCloudWorld(t)
	const second = "Second.JumpCloud-7"
	began := time.Now()
	w.changePat(patsFirst, second, `"changed"`)
	answered := time.Now()
	eventually(t, patience, "AD accepts the new password", func() bool { return w.atDC(second) })
	t.Logf("the delegate answered after %v, and AD had the password %v later", round(answered.Sub(began)), round(time.Since(answered)))
	if !w.cloud.accepts(t, "pat", second) {
		t.Error("JumpCloud does not accept the new password")
	}

	// The delegate refuses what AD's policy does: that changes while the password
	// is on its way.
	const short = "Third.JC-7"
	w.must("replicate", "pause", "--direction", "sync")
	w.changePat(second, short, `"changed"`)
	w.dc.Tool(t, "domain", "passwordsettings", "set", "--min-pwd-length=14")
	w.must("replicate", "resume", "--direction", "sync")
	var dead []identity.Entry
	eventually(t, patience, "what AD's policy refuses is a dead letter", func() bool {
		dead = w.changes("--status", "dead")
		return len(dead) == 1
	})
	if why := w.must("user", "why", "pat"); !strings.Contains(dead[0].Reason, "0000052D") || !strings.Contains(why, "0000052D") {
		t.Errorf("AD's words are not told: %s\n%s", dead[0].Reason, why)
	}
	if w.atDC(short) {
		t.Error("AD accepts the short password")
	}
}

// TestG5_KilledBeforeTheCloudOutcome: kill -9 after JumpCloud took a change and
// before that is recorded. It is settled by evidence, AD gets the password, and
// JumpCloud is not given it again.
func TestG5_KilledBeforeTheCloudOutcome(t *testing.T) {
	t.Parallel()
	w := newCloudWorld(t)
	const second = "Second.JumpCloud-7"
	w.cloud.Fail(jcsim.Fault{Method: "POST", PathPrefix: "/api/systemusers/" + w.pat + "/password", Kind: jcsim.TimeoutAfterApply})
	ask := exec.CommandContext(t.Context(), "curl", "-sS", "--cacert", w.ca, "-H", "authorization: Bearer "+w.token,
		"-H", "content-type: application/json", "-d", "@-", "https://"+w.delegate+"/v1/change-password")
	ask.Stdin = strings.NewReader(object(w.installation, map[string]string{"username": "pat", "oldPassword": patsFirst, "newPassword": second}))
	asked := make(chan struct{})
	go func() { // ends with the daemon
		defer close(asked)
		_ = ask.Run() // there is no answer
	}()
	w.cloud.wantAccepted(t, patience, "pat", second)
	_ = w.stop(syscall.SIGKILL)
	<-asked
	sent := w.passwordWrites()
	w.cloud.Heal()
	w.serve()
	unsettled := w.fromJumpCloud()
	if len(unsettled) != 1 || unsettled[0].Status != identity.StatusUnsettled {
		t.Fatalf("got %+v, want one change whose outcome is unknown", unsettled)
	}
	// JumpCloud's LDAP may answer by the password before for half a minute.
	eventually(t, 4*patience, "AD accepts the new password", func() bool { return w.atDC(second) })
	w.wantApplied(unsettled[0].Seq)
	if now := w.passwordWrites(); sent != 1 || now != sent {
		t.Errorf("JumpCloud was given the password %d times before the restart and %d after, want 1 and 0", sent, now-sent)
	}
	entries := w.fromJumpCloud()
	if i := slices.IndexFunc(entries, func(e identity.Entry) bool { return e.Seq == unsettled[0].Seq }); i < 0 || entries[i].Probes != 1 {
		t.Errorf("got %+v, want one bind", entries)
	}
}
