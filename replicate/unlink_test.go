package replicate

import (
	"errors"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
)

// TestUnlink: an account made anew under the same name gets out of the dead
// end that the link of the old one is.
func TestUnlink(t *testing.T) {
	w := newWorld(t)
	d := store.Domain{Name: domainName, BaseDN: w.ad.BaseDN()}
	w.accept(w.alice, "Some.Pass1")
	w.step()
	if err := w.ad.Delete(adminOf(t, w), w.alice.DN); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ad.AddUser(adsim.User{Name: "alice", Password: secret.New([]byte("Start.Pass1")), Groups: []string{adsim.ScopeGroup}}); err != nil {
		t.Fatal(err)
	}
	anew := w.accept(w.account("alice"), "Other.Pass2")
	w.step()
	w.want(anew, identity.StatusDead, "run `dirgate user unlink "+w.id+"`")

	if _, err := Unlink(t.Context(), w.store, d, w.peers, "nobody"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unlink of nobody: %v, want ErrNotFound", err)
	}
	for _, name := range []string{w.id, "alice", "ALICE@" + domainName} {
		link, err := Unlink(t.Context(), w.store, d, w.peers, name)
		if strings.Contains(name, "@") {
			name = "" // neither account nor JumpCloud user is called so and linked
		}
		if (err == nil) != (name != "") {
			t.Fatalf("unlink %q: %+v, %v", name, link, err)
		}
		if err == nil && (link.GUID != w.alice.GUID || link.JumpCloudID != w.id) {
			t.Errorf("unlink %q: got %+v, want the link of the old account", name, link)
		}
		if err == nil && name == w.id { // for the next way to name it
			if err := w.store.PutLink(t.Context(), link); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.store.Retry(t.Context(), anew); err != nil {
		t.Fatal(err)
	}
	w.step()
	w.want(anew, identity.StatusApplied, "")
	if link, err := Unlink(t.Context(), w.store, d, w.peers, "alice@"+domainName); err != nil || link.PasswordSeq != anew {
		t.Errorf("unlink by UPN: %+v, %v", link, err)
	}
}
