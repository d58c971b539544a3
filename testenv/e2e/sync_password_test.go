package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// TestS4_PasswordToAD: a password that JumpCloud's LDAP accepts through the
// gateway becomes the account's in AD; one that AD refuses is a dead letter
// with AD's words.
func TestS4_PasswordToAD(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t, "two-way", true)
	w.running()
	enrol := func(name, password string) {
		t.Helper()
		id, err := w.cloud.AddUser(jcsim.User{Username: name, Email: name + "@" + w.name, FirstName: "First", LastName: "Last", LDAPBound: true,
			Password: secret.New([]byte(password))})
		if err == nil {
			err = w.cloud.BindUser(w.adID, id, true)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const good, short = "From.JumpCloud-7", "abc"
	enrol("pat", good)
	enrol("sam", short)
	set := time.Now()
	eventually(t, patience, "both have accounts", func() bool { return w.enabled("pat") && w.enabled("sam") })
	atDC := func(name, password string) bool {
		conn, err := w.dc.Dial(patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.Bind(name+"@"+w.name, password) == nil
	}
	if atDC("pat", good) {
		t.Fatal("AD has the password before anybody told it")
	}
	// A password is believed once it is older than JumpCloud's LDAP may lag:
	// half a minute.
	select {
	case <-time.After(time.Until(set.Add(31 * time.Second))):
	case <-t.Context().Done():
	}
	w.bindName(w.cloud.UserDN("pat"), good)
	w.bindName(w.cloud.UserDN("sam"), short)
	eventually(t, patience, "AD has the password that JumpCloud accepted", func() bool { return atDC("pat", good) })
	var dead []identity.Entry
	eventually(t, patience, "what AD's policy refuses is a dead letter", func() bool {
		dead = w.changes("--status", "dead")
		return len(dead) == 1
	})
	if why := w.must("user", "why", "sam"); !strings.Contains(dead[0].Reason, "0000052D") || !strings.Contains(why, "0000052D") {
		t.Errorf("AD's words are not told: %s\n%s", dead[0].Reason, why)
	}
	if atDC("sam", short) {
		t.Error("AD accepts the short password")
	}
}
