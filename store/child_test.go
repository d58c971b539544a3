package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// childDir, in the environment of the test binary, makes it a process that
// appends to the store there until it is killed.
const childDir = "DIRGATE_STORE_TEST_CHILD"

func childMain() {
	root := os.Getenv(childDir)
	if root == "" {
		return
	}
	if err := childAppend(root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childAppend prints the number and the account of every intent when it was
// acknowledged, and "settled" with the number when its settlement was.
func childAppend(root string) error {
	sealer, err := secret.OpenSealer(filepath.Join(root, "keys"))
	if err != nil {
		return err
	}
	master, err := secret.ReadMasterKey(root + "/keys/../master.key")
	if err != nil {
		return err
	}
	logKey, err := secret.NewLogKey(master)
	if err != nil {
		return err
	}
	st, err := Open(Options{Dir: filepath.Join(root, "log"), Sealer: sealer, LogKey: logKey, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	for i := range byte(8) {
		group.Go(func() {
			for n := 0; ; n++ {
				password := secret.New(fmt.Appendf(nil, "password %d", i))
				seq, err := st.AppendIntent(context.Background(), change(i), password)
				if err != nil {
					return
				}
				say("intent %d %d", seq, i)
				if n%2 == 0 {
					if st.Settle(context.Background(), seq, identity.OutcomeAccepted, "") == nil {
						say("settled %d %d", seq, i)
					}
				}
			}
		})
	}
	group.Go(func() { childSync(st, say) })
	group.Wait()
	return nil
}

// childSync appends batches of direction sync, whose cursor counts them, and
// prints "synced" with the count of each that was acknowledged.
func childSync(st *Store, say func(format string, args ...any)) {
	for {
		cursor, err := st.Cursor(childCursor)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return
		}
		n, _ := strconv.Atoi(string(cursor)) // none: 0
		n++
		in := SyncBatch{CursorName: childCursor, Cursor: []byte(strconv.Itoa(n)), Changes: []identity.Change{cloudChange(fmt.Sprint("u", n))}}
		if err := st.AppendSync(context.Background(), "corp.example", in); err != nil {
			return
		}
		say("synced %d 0", n)
	}
}

const childCursor = "jumpcloud"

// checkSynced: as many changes of direction sync as the cursor says, and at
// least as many as were acknowledged.
func (f *fixture) checkSynced(t *testing.T, acknowledged int) {
	t.Helper()
	cursor, err := f.Cursor(childCursor)
	ok(t, err)
	n, err := strconv.Atoi(string(cursor))
	ok(t, err)
	if n < acknowledged {
		t.Errorf("the cursor is at %d, and %d was acknowledged", n, acknowledged)
	}
	for i := range n {
		if e, err := f.NewestCloudState("corp.example", identity.UserChange, fmt.Sprint("u", i+1)); err != nil || e.Status != identity.StatusPending {
			t.Fatalf("change %d of %d: %+v, %v", i+1, n, e, err)
		}
	}
	if stats, err := f.Stats(); err != nil || stats.Pending[identity.Sync] != n {
		t.Errorf("%d changes of sync are pending, and the cursor is at %d, %v", stats.Pending[identity.Sync], n, err)
	}
}

// TestL3_KilledWhileAppending kills a process in the middle of its appends,
// several times on the same store, and looks for everything that it was told
// is on disk. It proves nothing about power: for that see SyncWrites.
func TestL3_KilledWhileAppending(t *testing.T) {
	t.Parallel()
	f := newStore(t)
	ok(t, f.Close())
	f.Store = nil
	root := t.TempDir()
	f.dir = filepath.Join(root, "log")
	ok(t, os.Symlink(f.keys.dir, filepath.Join(root, "keys")))

	intents, settled, synced := make(map[identity.Seq]byte), make(map[identity.Seq]bool), 0
	for _, lines := range []int{1, 40, 150} {
		runChild(t, root, lines, func(kind string, seq identity.Seq, account byte) {
			switch kind {
			case "intent":
				intents[seq] = account
			case "settled":
				settled[seq] = true
			case "synced":
				synced = max(synced, int(seq))
			}
		})
	}
	f.reopen(t)
	f.check(t)
	f.checkSynced(t, synced)
	for seq, account := range intents {
		e, err := f.Entry(seq)
		if err != nil || e.Account.GUID != guid(account) {
			t.Fatalf("acknowledged intent %d of account %d: %+v, %v", seq, account, e, err)
		}
		if settled[seq] && e.Status == identity.StatusUnsettled {
			t.Errorf("change %d is unsettled, and its settlement was acknowledged", seq)
		}
		if !isOpen(e.Status) {
			continue
		}
		password, err := f.Secret(seq, f.opener)
		if want := fmt.Sprintf("password %d", account); err != nil || string(password.Expose()) != want {
			t.Errorf("password of change %d: %v", seq, err)
		}
	}
	t.Logf("%d acknowledged intents and %d settlements, and %d batches of sync, all found", len(intents), len(settled), synced)
}

// runChild starts the child, kills it after so many lines, and reports all
// lines, those that it wrote before it died included.
func runChild(t *testing.T, root string, lines int, report func(kind string, seq identity.Seq, account byte)) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), childDir+"="+root)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	ok(t, err)
	ok(t, child.Start())
	r := bufio.NewReader(out)
	for n := 1; ; n++ {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			break // a line without its end was not said
		}
		ok(t, err)
		var kind string
		var seq identity.Seq
		var account byte
		if _, err := fmt.Sscanf(line, "%s %d %d", &kind, &seq, &account); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		report(kind, seq, account)
		if n == lines {
			ok(t, child.Process.Kill())
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.Exited() {
		t.Fatalf("the child ended by itself: %v", child.ProcessState)
	}
}
