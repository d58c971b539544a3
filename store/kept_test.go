package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"golang.org/x/sys/unix"
)

// registered is a store with a registration and two changes, one pending.
func registered(t *testing.T) (*fixture, Domain) {
	t.Helper()
	f := newStore(t)
	d := Domain{Name: "corp.example", BaseDN: "DC=corp,DC=example", DCs: []string{"ldaps://dc1.corp.example"}, UseCase: UseCaseAD}
	ok(t, f.PutDomain(t.Context(), d, map[string]secret.Bytes{CredImportPassword: secret.New([]byte("import pw"))}))
	f.pend(t, 1, "first")
	f.pend(t, 2, "second")
	return f, d
}

// serves checks that the registration and its credential are as they were.
func (f *fixture) serves(t *testing.T, want Domain) {
	t.Helper()
	all, err := f.Domains()
	ok(t, err)
	one, err := f.Domain(want.Name)
	ok(t, err)
	if len(all) != 1 || !reflect.DeepEqual(all[0], want) || !reflect.DeepEqual(one, want) {
		t.Errorf("registrations %+v and %+v, want %+v", all, one, want)
	}
	password, err := f.Credential(want.Name, CredImportPassword, f.opener)
	ok(t, err)
	if string(password.Expose()) != "import pw" {
		t.Error("the credential is another one")
	}
}

// TestL3_DatabaseThatCannotBeOpened: registrations are there for binds, and
// nothing else is done.
func TestL3_DatabaseThatCannotBeOpened(t *testing.T) {
	f, d := registered(t)
	rotated, _, err := f.RotateKeys(t.Context(), Keys{Dir: f.keys.dir, Master: f.keys.master, Opener: f.opener}) // the copy follows
	ok(t, err)
	ok(t, f.Close())
	manifest := filepath.Join(f.dir, "MANIFEST")
	good, err := os.ReadFile(manifest)
	ok(t, err)
	ok(t, os.WriteFile(manifest, []byte("not one of Badger's files"), 0o600))
	f.Store = nil
	f.reopen(t)
	f.serves(t, d)
	if r := f.Damage(); r == nil || r.Findings[0].Kind != FindingDatabase || r.Last != 4 || !contains(r.Summary(), "manifest") || !contains(r.WayBack(), "dirgate restore") {
		t.Errorf("damage %+v, want one that names the file, the last record and the way back", r)
	}
	if _, err := f.AppendIntent(t.Context(), change(9), secret.New([]byte("pw"))); !errors.Is(err, ErrCorrupt) || !contains(err.Error(), "dirgate restore") {
		t.Errorf("append: %v, want ErrCorrupt and the way back", err)
	}
	if _, err := f.AcceptLoss(t.Context(), "a test"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("accept loss: %v, want ErrCorrupt", err)
	}
	if _, _, err := f.RotateKeys(t.Context(), Keys{Dir: f.keys.dir, Master: f.keys.master, Opener: f.opener}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("rotate keys after epoch %d: %v, want ErrCorrupt", rotated, err)
	}
	if r, err := f.Verify(); err != nil || r.OK() {
		t.Errorf("verify: %+v, %v", r, err)
	}
	if entries, err := f.List(ListOptions{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("list: %v, %v, want ErrCorrupt and not an empty log", entries, err)
	}

	ok(t, f.Close())
	ok(t, os.WriteFile(manifest, good, 0o600))
	f.Store = nil
	f.reopen(t)
	f.verified(t)
	f.serves(t, d)
}

// TestL3_DatabaseAndCopyUnusable: neither says which servers to trust.
func TestL3_DatabaseAndCopyUnusable(t *testing.T) {
	for name, spoil := range map[string]func(path string, content []byte) error{
		"missing":     func(path string, _ []byte) error { return os.Remove(path) },
		"altered":     func(path string, c []byte) error { c[len(c)/2] ^= 1; return os.WriteFile(path, c, 0o600) },
		"cut short":   func(path string, c []byte) error { return os.WriteFile(path, c[:10], 0o600) },
		"not its own": func(path string, c []byte) error { return os.WriteFile(path, keptOfAnother(t), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := registered(t)
			ok(t, f.Close())
			ok(t, os.WriteFile(filepath.Join(f.dir, "MANIFEST"), []byte("not one of Badger's files"), 0o600))
			content, err := os.ReadFile(f.dir + ".domains")
			ok(t, err)
			ok(t, spoil(f.dir+".domains", content))
			st, err := Open(f.options())
			if err == nil {
				_ = st.Close()
			}
			if !errors.Is(err, ErrCorrupt) || !contains(err.Error(), "dirgate restore") {
				t.Errorf("open: %v, want ErrCorrupt and the way back", err)
			}
			f.Store = nil
		})
	}
}

func keptOfAnother(t *testing.T) []byte {
	f, _ := registered(t)
	content, err := os.ReadFile(f.dir + ".domains")
	ok(t, err)
	return content
}

// TestL3_MachineKeepsDatabaseShut: what is no damage is not called a case for a
// backup.
func TestL3_MachineKeepsDatabaseShut(t *testing.T) {
	f, d := registered(t)
	ok(t, f.Close())
	dir, err := os.Open(f.dir)
	ok(t, err)
	ok(t, unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)) // as another program would
	f.Store = nil
	f.reopen(t)
	ok(t, dir.Close())
	f.serves(t, d)
	if r := f.Damage(); r == nil || !r.System || contains(r.WayBack(), "restore") || !contains(r.WayBack(), "restart") {
		t.Errorf("damage %+v, want the machine's fault", r)
	}
	f.reopen(t)
	f.verified(t)

	full := fmt.Errorf("Cannot write pid file %q err: %v", "LOCK", unix.ENOSPC) // in Badger's words
	if !bySystem(full) || bySystem(errors.New("manifest has bad magic")) {
		t.Error("a full disk is taken for damage, or damage for a full disk")
	}
}

// forge writes a registration that sends binds to a server of the forger's,
// with a credential: to seal one takes the public key alone.
func (f *fixture) forge(t *testing.T, d Domain) func(txn *badger.Txn) error {
	d.DCs = []string{"ldaps://dc.forger.example"}
	value, err := encode(d)
	ok(t, err)
	sealed, err := f.keys.sealer.Seal(secret.New([]byte("forged")), credentialAAD(d.Name, CredImportPassword))
	ok(t, err)
	return func(txn *badger.Txn) error {
		return errors.Join(txn.Set([]byte(prefixDomain+d.Name), value), txn.Set(keyCredential(d.Name, CredImportPassword), sealed))
	}
}

// TestL3_ForgedRegistration: binds are never sent where a registration says
// that this store did not write.
func TestL3_ForgedRegistration(t *testing.T) {
	t.Parallel()
	headless := func(alter func(*badger.Txn) error) func(*badger.Txn) error {
		return func(txn *badger.Txn) error { return errors.Join(alter(txn), txn.Delete([]byte(keyHead))) }
	}
	for _, hidden := range []bool{false, true} { // whether the head, which would tell, is gone too
		t.Run(fmt.Sprint("head gone ", hidden), func(t *testing.T) {
			f, d := registered(t)
			alter := f.forge(t, d)
			if hidden {
				alter = headless(alter)
			}
			f.spoil(t, alter)
			f.refusesWrites(t)
			f.serves(t, d)
			_, err := f.AcceptLoss(t.Context(), "a test")
			ok(t, err)
			for range 2 {
				f.verified(t)
				f.serves(t, d)
				f.reopen(t)
			}
		})
		t.Run(fmt.Sprint("without copy, head gone ", hidden), func(t *testing.T) {
			f, d := registered(t)
			ok(t, os.Remove(f.dir+".domains"))
			alter := f.forge(t, d)
			if hidden {
				alter = headless(alter)
			}
			f.spoil(t, alter)
			f.refusesWrites(t)
			if all, err := f.Domains(); !errors.Is(err, ErrCorrupt) || len(all) > 0 {
				t.Errorf("registrations %v, %v, want ErrCorrupt", all, err)
			}
			if _, err := f.Credential(d.Name, CredImportPassword, f.opener); !errors.Is(err, ErrCorrupt) {
				t.Errorf("credential: %v, want ErrCorrupt", err)
			}
			_, err := f.AcceptLoss(t.Context(), "a test")
			ok(t, err)
			if all, err := f.Domains(); err != nil || len(all) > 0 {
				t.Errorf("after the loss was accepted: registrations %v, %v, want none", all, err)
			}
			f.verified(t)
		})
	}
}

// TestL3_ForgedLink: it would give one person's password to another.
func TestL3_ForgedLink(t *testing.T) {
	f, d := registered(t)
	ok(t, f.PutLink(t.Context(), identity.Link{Domain: d.Name, GUID: guid(1), JumpCloudID: strings.Repeat("a", 24)}))
	f.spoil(t, func(txn *badger.Txn) error {
		value, err := encode(identity.Link{Domain: d.Name, GUID: guid(1), JumpCloudID: strings.Repeat("b", 24)})
		ok(t, err)
		return txn.Set(userLinks.key(d.Name, guid(1)), value)
	})
	f.refusesWrites(t)
	_, err := f.AcceptLoss(t.Context(), "a test")
	ok(t, err)
	if link, err := f.LinkByGUID(d.Name, guid(1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("the link is %+v, %v, want none", link, err)
	}
	f.verified(t)
	f.serves(t, d)
}

// TestL3_CopyFollows: the copy is what the database holds, also after a
// removal, and when it was lost.
func TestL3_CopyFollows(t *testing.T) {
	f, d := registered(t)
	first, err := os.ReadFile(f.dir + ".domains")
	ok(t, err)
	ok(t, os.Remove(f.dir+".domains"))
	f.reopen(t)
	again, err := os.ReadFile(f.dir + ".domains")
	ok(t, err)
	if string(again) != string(first) {
		t.Error("the copy made anew is another one")
	}
	ok(t, f.RemoveDomain(t.Context(), d.Name))
	kept, err := f.readKept()
	ok(t, err)
	if len(kept.Items) != 0 {
		t.Errorf("the copy has %d items of a registration that was removed", len(kept.Items))
	}
}
