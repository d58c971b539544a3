package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// newcomer is an account that the import has not seen.
type newcomer struct {
	name, dn, password string
	made               time.Time // when JumpCloud had the user; zero: it has none
}

func (n *newcomer) change(t *testing.T, w *world, from, to string) {
	t.Helper()
	c := w.conn()
	if err := c.Bind(n.dn, from); err != nil {
		t.Fatal(err)
	}
	if err := changeOn(t, c, n.dn, from, to); err != nil {
		t.Fatal(err)
	}
	n.password = to
}

// newestOf is the newest password change of an account.
func (w *world) newestOf(name string) identity.Entry {
	w.t.Helper()
	var newest identity.Entry
	for _, e := range w.changes() {
		if e.Account.SAM == name && e.Seq > newest.Seq {
			newest = e
		}
	}
	return newest
}

// TestP2_PasswordBeforeImport: passwords that are changed before the import has
// made the users wait for it, and are at JumpCloud within 2 s after it has.
// One of an account that gets no user is a dead letter that says why; when the
// account gets one after all, its newest password is applied by itself.
func TestP2_PasswordBeforeImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("change_notification", "false") // so that a test says when it imports
	w.configure("import_interval", "1h")
	w.serve()
	after(t, "the first pass has ended", func() bool { return w.replication().LastPass != "" })

	var people []*newcomer
	for n := range 5 {
		p := &newcomer{name: fmt.Sprint("early", n)}
		p.dn = w.addUser(p.name, []byte(before))
		p.change(t, w, before, fmt.Sprint("Early-Pass", n))
		people = append(people, p)
	}
	nameless := &newcomer{name: "nameless"}
	nameless.dn = w.dc.AddUser(t, nameless.name, []byte(before), ldap.Attribute{Type: "sn"})
	nameless.change(t, w, before, "Older-Pass1")
	w.settles(nameless.name, identity.StatusDead, "JumpCloud needs a first and a last name")
	nameless.change(t, w, "Older-Pass1", "Newer-Pass2")
	for _, p := range people {
		w.settles(p.name, identity.StatusPending, "waits for the import")
	}
	w.settles(nameless.name, identity.StatusDead, "JumpCloud needs a first and a last name")
	if slices.ContainsFunc(append(people, nameless), func(p *newcomer) bool { return w.cloud.person(p.name).ID != "" }) {
		t.Fatal("JumpCloud has a user whom nobody has imported")
	}

	w.arrive(t, people)
	if w.cloud.person(nameless.name).ID != "" {
		t.Error("an account without a surname got a user")
	}
	w.dc.Replace(t, nameless.dn, "sn", "Named")
	w.arrive(t, []*newcomer{nameless})
	if w.cloud.accepts(t, nameless.name, "Older-Pass1") {
		t.Error("JumpCloud has an older password")
	}
	w.settles(nameless.name, identity.StatusApplied, "")
	if open := w.changes("--status", "pending", "--status", "dead"); len(open) != 0 {
		t.Errorf("still open: %+v", open)
	}
}

// settles waits until the newest password change of an account has a status
// and a reason.
func (w *world) settles(name string, status identity.Status, reason string) {
	w.t.Helper()
	eventually(w.t, patience, fmt.Sprintf("the password of %s is %s: %s", name, status, reason), func() bool {
		e := w.newestOf(name)
		return e.Status == status && strings.Contains(e.Reason, reason)
	})
}

// arrive imports, and measures how long after an account's user was made
// JumpCloud has its password.
func (w *world) arrive(t *testing.T, people []*newcomer) {
	t.Helper()
	imported := make(chan error, 1)
	go func() {
		_, err := w.cli("replicate", "run", "--once")
		imported <- err
	}()
	var took []time.Duration
	after(t, "JumpCloud has the passwords", func() bool {
		for _, p := range people {
			if id := w.cloud.person(p.name).ID; p.made.IsZero() && id != "" {
				p.made = time.Now()
				if err := w.cloud.BindToLDAP(id, true); err != nil {
					t.Fatal(err)
				}
			}
			if !p.made.IsZero() && p.password != "" && w.cloud.accepts(t, p.name, p.password) {
				took = append(took, time.Since(p.made))
				p.password = ""
			}
		}
		return len(took) == len(people)
	})
	if err := <-imported; err != nil {
		t.Error(err)
	}
	t.Logf("from the making of a user to its password at JumpCloud, %d users: longest %s", len(took), slices.Max(took).Round(time.Millisecond))
}
