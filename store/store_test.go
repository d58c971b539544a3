package store

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	childMain()
	// These outlive a Badger that fails to open, for it cannot be closed.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*DB).monitorCache"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*DB).updateSize"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*DB).flushMemtable"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*levelsController).runCompactor"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*vlogThreshold).listenForValueThresholdUpdate"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4/y.(*WaterMark).process"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/ristretto/v2/z.(*AllocatorPool).freeupAllocators"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/ristretto/v2.(*Cache[...]).processItems"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/ristretto/v2.(*defaultPolicy[...]).processItems"),
	)
}

// keys are the key files of one test.
type keys struct {
	dir    string
	master secret.Bytes
	sealer *secret.Sealer
	opener *secret.Opener
	logKey *secret.LogKey
}

func newKeys(t testing.TB) keys {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	if err := secret.CreateMasterKey(path); err != nil {
		t.Fatal(err)
	}
	k := keys{dir: filepath.Join(dir, "keys")}
	return k.load(t, path)
}

func (k keys) load(t testing.TB, masterPath string) keys {
	t.Helper()
	var err error
	if k.master, err = secret.ReadMasterKey(masterPath); err != nil {
		t.Fatal(err)
	}
	if err := secret.EnsureKeys(k.dir, k.master); err != nil {
		t.Fatal(err)
	}
	if k.sealer, err = secret.OpenSealer(k.dir); err != nil {
		t.Fatal(err)
	}
	if k.opener, err = secret.OpenOpener(k.dir, k.master); err != nil {
		t.Fatal(err)
	}
	if k.logKey, err = secret.NewLogKey(k.master); err != nil {
		t.Fatal(err)
	}
	return k
}

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// fixture is an open store with its keys.
type fixture struct {
	*Store
	keys
	dir string
}

// newStore opens a store on disk in a directory of its own.
func newStore(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{keys: newKeys(t), dir: filepath.Join(t.TempDir(), "log")}
	f.reopen(t)
	return f
}

func (f *fixture) options() Options {
	return Options{Dir: f.dir, Sealer: f.keys.sealer, LogKey: f.keys.logKey, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return start }}
}

// reopen closes the store, if it is open, and opens it again.
func (f *fixture) reopen(t testing.TB) {
	t.Helper()
	if f.Store != nil {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	st, err := Open(f.options())
	if err != nil {
		t.Fatal(err)
	}
	f.Store = st
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func guid(n byte) identity.GUID { return identity.GUID{0: n, 15: 0xEE} }

// change is a password change of account n.
func change(n byte) identity.Change {
	return identity.Change{
		Kind: identity.PasswordChange, Direction: identity.Import, Actor: "CN=app,DC=corp,DC=example",
		Account: identity.Account{Domain: "corp.example", GUID: guid(n), DN: "CN=u,DC=corp,DC=example", SAM: "u"},
	}
}

// intend appends an intent.
func (f *fixture) intend(t testing.TB, n byte, password string) identity.Seq {
	t.Helper()
	seq, err := f.AppendIntent(t.Context(), change(n), secret.New([]byte(password)))
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// pend appends an intent that is accepted.
func (f *fixture) pend(t testing.TB, n byte, password string) identity.Seq {
	t.Helper()
	seq := f.intend(t, n, password)
	ok(t, f.Settle(t.Context(), seq, identity.OutcomeAccepted, ""))
	return seq
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) status(t testing.TB, seq identity.Seq) identity.Status {
	t.Helper()
	e, err := f.Entry(seq)
	if err != nil {
		t.Fatal(err)
	}
	return e.Status
}

// copyTo copies the files of the store, and its mark, as they are.
func (f *fixture) copyTo(t testing.TB, dir string) {
	t.Helper()
	ok(t, os.CopyFS(dir, os.DirFS(f.dir)))
	f.copyMark(t, dir)
}

func (f *fixture) copyMark(t testing.TB, dir string) {
	t.Helper()
	content, err := os.ReadFile(f.dir + ".mark")
	ok(t, err)
	ok(t, os.WriteFile(dir+".mark", content, 0o600))
}
