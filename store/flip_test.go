package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"golang.org/x/sys/unix"
)

// copySparse copies the files of dir without writing the zeroes at their ends.
func copySparse(t testing.TB, from, to string) {
	t.Helper()
	ok(t, os.MkdirAll(to, 0o700))
	entries, err := os.ReadDir(from)
	ok(t, err)
	for _, e := range entries {
		content, size := written(t, filepath.Join(from, e.Name()))
		path := filepath.Join(to, e.Name())
		ok(t, os.WriteFile(path, content, 0o600))
		ok(t, os.Truncate(path, int64(size)))
	}
}

// written gives a file's content but for the zeroes at its end, and its size.
// What was never written is not read: it is most of a log of Badger's, and the
// race detector looks at every byte.
func written(t testing.TB, path string) (content []byte, size int) {
	t.Helper()
	f, err := os.Open(path)
	ok(t, err)
	defer f.Close()
	info, err := f.Stat()
	ok(t, err)
	end := int64(0)
	for {
		data, err := unix.Seek(int(f.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // none behind end
			break
		}
		ok(t, err)
		end, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		ok(t, err)
	}
	content = make([]byte, end)
	_, err = f.ReadAt(content, 0)
	ok(t, err)
	return bytes.TrimRight(content, "\x00"), int(info.Size())
}

// truth is what was acknowledged: every change with its state, and the
// passwords that are still sealed.
func (f *fixture) truth(t testing.TB) (all []string) {
	t.Helper()
	entries, err := f.List(ListOptions{Limit: maxPage})
	ok(t, err)
	for _, e := range entries {
		line := fmt.Sprint(e.Seq, e.Status, e.Account.GUID, e.Attempts, e.Reason)
		if hasSecret(e.Status) {
			password, err := f.Secret(e.Seq, f.opener)
			line += fmt.Sprint(string(password.Expose()), err)
		}
		all = append(all, line)
	}
	return all
}

// TestL3_FlippedBytes flips bytes in every file of the store, as it is while
// it is open and after it was closed. What comes of it must be one of: the
// store does not open and says that it is damaged; it opens and knows that it
// is damaged; or nothing acknowledged is missing or altered.
func TestL3_FlippedBytes(t *testing.T) {
	t.Parallel()
	f := newStore(t)
	f.everything(t)
	for i := range byte(20) {
		f.pend(t, i+20, fmt.Sprint("password ", i))
	}
	ok(t, f.Close())
	f.Store = nil
	f.reopen(t) // a table, and then a write-ahead log
	for i := range byte(20) {
		f.pend(t, i+60, fmt.Sprint("password ", i))
	}
	want := f.truth(t)
	open := filepath.Join(t.TempDir(), "open")
	copySparse(t, f.dir, open)
	f.copyMark(t, open)
	ok(t, f.Close())
	closed := filepath.Join(t.TempDir(), "closed")
	copySparse(t, f.dir, closed)
	f.copyMark(t, closed)

	kinds := make(map[string]map[string]int)
	r := rand.New(rand.NewPCG(1, 2))
	for _, image := range []string{open, closed} {
		for _, path := range slices.Concat(glob(t, image+"/*"), []string{image + ".mark"}) {
			content, size := written(t, path)
			used := len(content)
			name := filepath.Ext(path)
			if name == "" {
				name = filepath.Base(path)
			}
			if name == ".lock" {
				continue // the number of a process
			}
			if kinds[name] == nil {
				kinds[name] = make(map[string]int)
			}
			for _, at := range offsets(r, used, size) {
				outcome := f.flip(t, image, path, at, want)
				kinds[name][outcome]++
			}
		}
	}
	for name, outcomes := range kinds {
		t.Logf("%-12s %v", name, outcomes)
	}
	for _, name := range []string{"MANIFEST", "KEYREGISTRY", ".sst", ".vlog", ".mem", ".mark"} {
		if len(kinds[name]) == 0 {
			t.Errorf("no file %s: nothing was shown of it", name)
		}
	}
	if kinds[".sst"]["found out"] == 0 || kinds[".mem"]["found out"] == 0 {
		t.Error("flips in tables and logs harm nothing: are they flipped at all?")
	}
}

// offsets picks bytes of a file: its first and last ones, some between, and
// one of the zeroes behind.
func offsets(r *rand.Rand, used, size int) (at []int) {
	edge, between := 2, 4
	if raceDetector {
		edge, between = 1, 1
	}
	for i := range min(edge, used) {
		at = append(at, i, used-1-i)
	}
	for range min(between, used) {
		at = append(at, r.IntN(used))
	}
	if used < size {
		at = append(at, used, used+r.IntN(size-used))
	}
	slices.Sort(at)
	return slices.Compact(at)
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	ok(t, err)
	return paths
}

// flip opens a copy of an image with one byte of one file inverted.
func (f *fixture) flip(t *testing.T, image, path string, at int, want []string) string {
	t.Helper()
	root, err := os.MkdirTemp(t.TempDir(), "flip")
	ok(t, err)
	defer os.RemoveAll(root)
	g := &fixture{keys: f.keys, dir: filepath.Join(root, "copy")}
	copySparse(t, image, g.dir)
	(&fixture{dir: image}).copyMark(t, g.dir)
	victim := filepath.Join(g.dir, filepath.Base(path))
	if path == image+".mark" {
		victim = g.dir + ".mark"
	}
	file, err := os.OpenFile(victim, os.O_RDWR, 0)
	ok(t, err)
	b := make([]byte, 1)
	_, err = file.ReadAt(b, int64(at))
	ok(t, err)
	b[0] ^= 0xFF
	_, err = file.WriteAt(b, int64(at))
	ok(t, errors.Join(err, file.Close()))

	st, err := Open(g.options())
	if err != nil {
		if !errors.Is(err, ErrCorrupt) || !contains(err.Error(), "dirgate restore") {
			t.Errorf("byte %d of %s: %v, want ErrCorrupt and the way back", at, filepath.Base(path), err)
		}
		return "refused"
	}
	g.Store = st
	defer func() { ok(t, st.Close()) }()
	if st.Damage() != nil {
		if _, err := st.AcceptLoss(t.Context(), "a test"); err != nil {
			t.Errorf("byte %d of %s: %v", at, filepath.Base(path), err)
		} else {
			g.verified(t)
		}
		return "found out"
	}
	g.verified(t)
	if got := g.truth(t); !slices.Equal(got, want) {
		t.Errorf("byte %d of %s: not found out, and what was acknowledged is not what is there:\n%v\n%v", at, filepath.Base(path), got, want)
	}
	return "harmless"
}

// TestL3_ClockMoved moves the clock by a day both ways: numbers order the log,
// and not the time.
func TestL3_ClockMoved(t *testing.T) {
	f := newStore(t)
	old := f.pend(t, 1, "before")
	for _, days := range []int{1, -2} {
		now := start.AddDate(0, 0, days)
		f.now = func() time.Time { return now }
		newer := f.pend(t, 1, fmt.Sprint("moved by ", days))
		if got := f.status(t, old); got != identity.StatusSuperseded {
			t.Errorf("clock moved by %d days: the older change is %s", days, got)
		}
		old = newer
		f.verified(t)
		f.reopen(t)
		f.verified(t)
		f.check(t)
	}
	if pending, err := f.Pending(identity.Import, 10, 0); err != nil || len(pending) != 1 || pending[0].Seq != old {
		t.Errorf("pending: %v, %v, want the newest by number", pending, err)
	}
}
