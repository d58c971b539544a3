package e2e

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// syncCalls are the system calls that bring data to the disk.
const syncCalls = "fsync,fdatasync,msync,sync_file_range"

// tracer is strace, attached to the daemon.
type tracer struct {
	t    *testing.T
	cmd  *exec.Cmd
	said transcript // the calls, in their order

	mu    sync.Mutex
	syncs int         // begun since; guarded by mu
	kill  func(n int) // told of each sync as it begins; guarded by mu
	done  sync.WaitGroup
}

// attach has strace follow the daemon with the given options; it skips, aloud,
// where that is not possible. onSync is called when a sync begins.
func (in *installation) attach(onSync func(n int), options ...string) *tracer {
	in.t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		in.t.Skip("SKIPPED: strace is not installed (Debian: strace)")
	}
	read, write, err := os.Pipe()
	if err != nil {
		in.t.Fatal(err)
	}
	tr := &tracer{t: in.t, kill: onSync}
	tr.cmd = exec.Command("strace", append([]string{"-f", "-p", strconv.Itoa(in.daemon.Process.Pid), "-o", "/proc/self/fd/3", "-s", "0"}, options...)...)
	tr.cmd.ExtraFiles = []*os.File{write}
	stderr, err := tr.cmd.StderrPipe()
	if err != nil {
		in.t.Fatal(err)
	}
	if err := tr.cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	_ = write.Close()
	in.t.Cleanup(tr.detach)
	attached := make(chan string, 1)
	tr.done.Go(func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			select {
			case attached <- lines.Text():
			default:
			}
		}
		close(attached)
	})
	tr.done.Go(func() {
		defer read.Close()
		tr.read(read)
	})
	line, ok := <-attached
	if !ok || !strings.Contains(line, " attached") {
		tr.detach()
		in.t.Skipf("SKIPPED: strace cannot attach to the daemon (it needs root or CAP_SYS_PTRACE): %s", line)
	}
	return tr
}

var beginsSync = regexp.MustCompile(`\b(?:fsync|fdatasync|msync|sync_file_range)\(`)

// read takes what strace prints. A call is printed as far as it is known when
// it begins, so lines are not waited for.
func (tr *tracer) read(from io.Reader) {
	var tail []byte // of the last chunk, in which a name may be cut off
	chunk := make([]byte, 64<<10)
	for {
		n, err := from.Read(chunk)
		if err != nil {
			return
		}
		_, _ = tr.said.Write(chunk[:n])
		text := append(tail, chunk[:n]...)
		end := 0
		for _, at := range beginsSync.FindAllIndex(text, -1) {
			end = at[1]
			tr.mu.Lock()
			tr.syncs++
			tr.kill(tr.syncs)
			tr.mu.Unlock()
		}
		tail = bytes.Clone(text[max(end, len(text)-20):])
	}
}

// detach ends strace and waits for it; a daemon that lives goes on.
func (tr *tracer) detach() {
	if tr.cmd == nil {
		return
	}
	_ = tr.cmd.Process.Signal(syscall.SIGINT)
	// It may wait for threads of a daemon that it has just seen dying.
	end := time.AfterFunc(time.Second, func() { _ = tr.cmd.Process.Kill() })
	defer end.Stop()
	tr.done.Wait()
	_ = tr.cmd.Wait() // it ends by the signal, or because the daemon is dead
	tr.cmd = nil
}
