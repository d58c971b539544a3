package samba

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// A process is a running samba with its children, a process group.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer     // samba ends when this does
	out   *boundedLog   // what it printed
	done  chan struct{} // closed when it has ended
	err   error         // how; valid once done is closed
}

// startProcess runs samba in the foreground. Its standard input is a pipe whose
// other end lives in this process alone, so it cannot outlive it.
func startProcess(dir string, o options) (*process, error) {
	args := []string{"-s", filepath.Join(dir, "smb.conf"), "-l", filepath.Join(dir, "log"), "-i", "-M", o.model, "--no-process-group"}
	p := &process{cmd: exec.Command("samba", args...), out: new(boundedLog), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	// A group of its own, so that its children can be reached, and an
	// interrupt at the terminal cannot reach it before the test has.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = 5 * time.Second
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("run samba: %w", err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// signal sends sig to samba and its children.
func (p *process) signal(sig syscall.Signal) error {
	select {
	case <-p.done:
		return errors.New("signal samba: it has ended")
	default:
		return syscall.Kill(-p.cmd.Process.Pid, sig)
	}
}

// An ending is a way to end a process.
type ending syscall.Signal

const (
	endTerm = ending(syscall.SIGTERM)
	endKill = ending(syscall.SIGKILL)
)

// endTimeout is how long samba may take to end before it is killed. It takes
// less than 0.1 s.
const endTimeout = 10 * time.Second

// end ends the process and waits for it.
func (p *process) end(how ending) error {
	defer p.stdin.Close()
	select {
	case <-p.done:
		return nil // by itself, or by a signal of the test's own
	default:
	}
	err := p.signal(syscall.Signal(how))
	_ = p.signal(syscall.SIGCONT) // a suspended process does not hear SIGTERM
	select {
	case <-p.done:
		return err
	case <-time.After(endTimeout):
	}
	err = errors.Join(fmt.Errorf("samba did not end within %v and was killed", endTimeout), p.signal(syscall.SIGKILL))
	<-p.done
	return err
}

// output is what samba printed last.
func (p *process) output() []byte { return p.out.bytes() }

// A boundedLog keeps the last bytes written to it.
type boundedLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *boundedLog) Write(b []byte) (int, error) {
	const most = 64 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(b)
	if over := l.buf.Len() - most; over > 0 {
		l.buf.Next(over)
	}
	return len(b), nil
}

func (l *boundedLog) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.buf.Bytes())
}
