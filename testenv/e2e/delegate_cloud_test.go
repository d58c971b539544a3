package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// atDC asks the controller whether a password is the account's.
func (w *world) atDC(name, password string) bool {
	w.t.Helper()
	conn, err := w.dc.Dial(patience)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	return conn.Bind(name+"@"+w.name, password) == nil
}

// swap changes a password by the API.
func (w *world) swap(token, name, from, to, want string) {
	w.t.Helper()
	w.curl(token, "/v1/change-password", object(w.installation, map[string]string{"username": name, "oldPassword": from, "newPassword": to}), want)
}

// TestD4_CloudUsersByCurl: with JumpCloud as the authority the API proves and
// changes passwords there: of JumpCloud's own users there alone, of users that
// sync has given an account in AD too.
func TestD4_CloudUsersByCurl(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t, "two-way", false)
	w.cloud.SetPolicy(jcsim.PasswordPolicy{EnableMinLength: true, MinLength: 12})
	for _, name := range []string{"solo", "pat"} {
		id, err := w.cloud.AddUser(jcsim.User{Username: name, Email: name + "@" + w.name, FirstName: "First", LastName: "Last", LDAPBound: true,
			Password: secret.New([]byte("Before.JumpCloud1"))})
		if err == nil && name == "pat" {
			err = w.cloud.BindUser(w.adID, id, true)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w.running()
	eventually(t, patience, "pat has an account", func() bool { return w.enabled("pat") })
	token := w.token("validate,change,status")
	now := "Before.JumpCloud1"
	for _, use := range []string{"two-way", "jumpcloud"} {
		if use == "jumpcloud" {
			w.must("domain", "update", w.name, "--use-case", use, "--yes")
			w.addUser("unasked", []byte(before)) // nobody has decided that it may sign in
			w.validate(token, "unasked", before, `"reason":"bad_credentials"`)
		}
		next := "Changed.By-Curl-" + use
		for _, name := range []string{"solo", "pat"} {
			w.validate(token, name, now, `{"verdict":"accepted","authority":"jumpcloud","passwordCorrect":true`)
			w.validate(token, name, "Wrong.Password-1", `{"verdict":"refused","reason":"bad_credentials","passwordCorrect":false}`)
			w.swap(token, name, "Wrong.Password-2", next, `"reason":"bad_credentials"`)
			w.swap(token, name, now, "Eleven.Chr1", `"violations":[{"side":"jumpcloud","rule":"min_length","limit":12`)
			if name == "pat" { // where the password goes to AD, AD's rules count too
				w.swap(token, name, now, "only small letters", `"violations":[{"side":"ad","rule":"complexity"`)
			}
			begun := time.Now()
			w.swap(token, name, now, next, `{"outcome":"changed"}`)
			if !w.cloud.accepts(t, name, next) || w.cloud.accepts(t, name, now) {
				t.Errorf("%s: JumpCloud has not the new password of %s alone", use, name)
			}
			w.validate(token, name, next, `"verdict":"accepted"`)
			w.validate(token, name, now, `"reason":"bad_credentials"`)
			if name == "pat" {
				eventually(t, patience, use+": AD has the new password of pat", func() bool { return w.atDC("pat", next) })
				t.Logf("%s: from the change at JumpCloud to AD: at most %s", use, time.Since(begun).Round(10*time.Millisecond))
			}
		}
		now = next
	}
	if w.inAD("solo") != nil {
		t.Error("JumpCloud's own user has got an account in AD")
	}
	if list := w.changes(); slices.ContainsFunc(list, func(e identity.Entry) bool { return e.Account.SAM != "pat" }) || len(list) != 2 {
		t.Errorf("passwords on the way to AD: %+v, want the two of pat", list)
	}
	findSecrets(t, "the output", []byte(w.output.String()), []string{now, "Changed.By-Curl-two-way", "Before.JumpCloud1", token})
}
