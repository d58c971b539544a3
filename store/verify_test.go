package store

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// verified checks that nothing is wrong with the store.
func (f *fixture) verified(t testing.TB) Report {
	t.Helper()
	r, err := f.Verify()
	ok(t, err)
	if !r.OK() {
		t.Fatalf("not whole: %v", r.Findings)
	}
	return r
}

// unpack lays out the store of an earlier version in testdata.
func unpack(t *testing.T, archive string) *fixture {
	t.Helper()
	root := t.TempDir()
	f, err := os.Open(archive)
	ok(t, err)
	defer f.Close()
	zip, err := gzip.NewReader(f)
	ok(t, err)
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		ok(t, err)
		path := filepath.Join(root, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			ok(t, os.MkdirAll(path, 0o700))
			continue
		}
		content, err := io.ReadAll(r)
		ok(t, err)
		ok(t, os.WriteFile(path, content, 0o600))
	}
	k := keys{dir: filepath.Join(root, "keys")}
	return &fixture{keys: k.load(t, filepath.Join(root, "master.key")), dir: filepath.Join(root, "store")}
}

// TestL4_MigratesSchema1 opens a store as the first format left it.
func TestL4_MigratesSchema1(t *testing.T) {
	f := unpack(t, "testdata/schema-1.tar.gz")
	f.reopen(t)
	for _, moment := range []string{"migrated", "opened again"} {
		r := f.verified(t)
		if r.Records < 19 || r.First != 1 || int64(r.Last) != r.Records {
			t.Errorf("%s: %+v, want every record from 1 on", moment, r)
		}
		f.check(t)
		want := []identity.Status{identity.StatusApplied, identity.StatusSuperseded, identity.StatusPending, identity.StatusDead, identity.StatusRefused, identity.StatusUnsettled, identity.StatusPending}
		var got []identity.Status
		entries, err := f.List(ListOptions{})
		ok(t, err)
		for _, e := range entries {
			got = append(got, e.Status)
			if hasSecret(e.Status) {
				password, err := f.Secret(e.Seq, f.opener)
				ok(t, err)
				if !strings.Contains(string(password.Expose()), string(e.Status)) && e.Reason != "down" {
					t.Errorf("password of change %d, which is %s: %q", e.Seq, e.Status, password.Expose())
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", moment, got, want)
		}
		_, err = f.Credential("corp.example", CredAPIKey, f.opener)
		ok(t, err)
		f.reopen(t)
	}
	f.pend(t, 9, "after the migration")
	f.verified(t)
}

// TestL4_MigrationCutShort kills a migration between any two of its writes.
func TestL4_MigrationCutShort(t *testing.T) {
	f := unpack(t, "testdata/schema-1.tar.gz")
	killed := errors.New("killed")
	_, err := open(f.options(), func(func(*badger.Txn) error) func(*badger.Txn) error {
		return func(*badger.Txn) error { return killed } // all records are rewritten, the schema is not
	})
	if !errors.Is(err, killed) {
		t.Fatalf("open: %v", err)
	}
	f.reopen(t)
	f.verified(t)
	f.check(t)
}

// TestL3_OldSchemaWithMark puts a database of schema 1, which anyone can
// write, in the place of a migrated one.
func TestL3_OldSchemaWithMark(t *testing.T) {
	f := unpack(t, "testdata/schema-1.tar.gz")
	old := filepath.Join(t.TempDir(), "old")
	ok(t, os.CopyFS(old, os.DirFS(f.dir)))
	f.reopen(t)
	ok(t, f.Close())
	ok(t, os.RemoveAll(f.dir))
	ok(t, os.CopyFS(f.dir, os.DirFS(old)))
	f.Store = nil
	f.reopen(t)
	if f.Damage() == nil {
		t.Error("a database without a chain was taken in the place of one with it")
	}
}

// TestL3_EveryKeyIsAuthenticated removes every key of the database, one at a
// time, behind the store's back, and of each kind alters and adds one.
func TestL3_EveryKeyIsAuthenticated(t *testing.T) {
	f := newStore(t)
	f.everything(t)
	ok(t, f.Close())
	original := f.dir
	spoils := map[string]func(*badger.Txn, []byte, []byte) error{
		"remove": func(txn *badger.Txn, key, _ []byte) error { return txn.Delete(key) },
		"alter": func(txn *badger.Txn, key, value []byte) error {
			return txn.Set(key, append(slices.Clone(value), ' '))
		},
		"double": func(txn *badger.Txn, key, value []byte) error {
			other := slices.Clone(key)
			other[len(other)-1] ^= 0x40
			return txn.Set(other, value)
		},
	}
	var all [][]byte
	f.Store = nil
	f.reopen(t)
	ok(t, f.view(func(txn *badger.Txn) error {
		return scan(txn, nil, []byte{0}, false, func(item *badger.Item) (bool, error) {
			all = append(all, item.KeyCopy(nil))
			return true, nil
		})
	}))
	if len(all) < 30 {
		t.Fatalf("only %d keys", len(all))
	}
	ok(t, f.Close())
	for name, spoil := range spoils {
		done := make(map[string]bool)
		for _, key := range all {
			kind, _, _ := strings.Cut(string(key), "/")
			if name != "remove" && (done[kind] || string(key) == keySchema) {
				continue // of each kind one; an altered schema: TestNewerSchema
			}
			done[kind] = true
			g := &fixture{keys: f.keys, dir: filepath.Join(t.TempDir(), "spoilt")}
			ok(t, os.CopyFS(g.dir, os.DirFS(original)))
			g.copyMarkOf(t, original)
			db, err := badger.Open(badgerOptions(g.options()))
			ok(t, err)
			ok(t, db.Update(func(txn *badger.Txn) error {
				value, err := getBytes(txn, key)
				ok(t, err)
				return spoil(txn, key, value)
			}))
			ok(t, db.Close())
			g.reopen(t)
			if g.Damage() == nil {
				t.Errorf("%s %q: not found out", name, key)
			}
			ok(t, g.Close())
		}
	}
}

func (f *fixture) copyMarkOf(t *testing.T, dir string) {
	t.Helper()
	(&fixture{dir: dir}).copyMark(t, f.dir)
}

// everything writes a value of every kind.
func (f *fixture) everything(t testing.TB) {
	t.Helper()
	ctx := t.Context()
	a := f.pend(t, 1, "one")
	ok(t, f.BeginAttempt(ctx, a, "date"))
	ok(t, f.MarkApplied(ctx, a, &identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "jc1", PasswordSeq: a}))
	f.pend(t, 2, "two")
	f.intend(t, 3, "three")
	d := f.pend(t, 4, "four")
	ok(t, f.BeginAttempt(ctx, d, "date"))
	ok(t, f.MarkDead(ctx, d, "short"))
	ok(t, f.SetCursor(ctx, "dirsync", []byte("cookie")))
	ok(t, f.PutVerdicts(ctx, "corp.example", []Verdict{{Direction: identity.Import, GUID: guid(1), Skip: "privileged"}}))
	f.pendSync(t, "jc2", "five")
	f.learnCloud(t, SyncBatch{Changes: []identity.Change{cloudChange("jc1")}, Held: []HeldChange{{cloudGroupChange("g1"), "memberships", "many"}}})
	ok(t, f.PutGroupLink(ctx, identity.GroupLink{Domain: "corp.example", GUID: guid(9), GroupID: "g1"}))
	ok(t, f.PutDomain(ctx, Domain{Name: "corp.example"}, map[string]secret.Bytes{CredAPIKey: secret.New([]byte("key"))}))
}
