package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a program that was started here.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // the file with its output
	done chan struct{} // closed when it has ended
	err  error         // how; valid once done is closed
}

// endTimeout is how long a program may take to end before it is killed.
const endTimeout = 5 * time.Second

// startProcess runs a program whose output goes to NAME.log in dir.
func startProcess(dir, name, program string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // an interrupt at the terminal reaches the harness, which ends its programs in order
		Pdeathsig: syscall.SIGKILL, // and they do not outlive it if it is killed
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// end stops the process and waits for it.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(endTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// died says how the process ended by itself; nil while it runs.
func (p *process) died() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself (%v): %s", p.name, p.err, p.lastOutput())
	default:
		return nil
	}
}

func (p *process) lastOutput() []byte {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	const most = 2000
	return bytes.TrimSpace(text[max(0, len(text)-most):])
}

// startTimeout is how long a program may take until it answers a search.
const startTimeout = 15 * time.Second

// awaitAnswer waits until the server finds a person.
func (p *process) awaitAnswer(ctx context.Context, s server) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	probe, err := findUser(0)
	if err != nil {
		return err
	}
	for {
		err := once(ctx, s, probe)
		if err == nil {
			return nil
		}
		if died := p.died(); died != nil {
			return died
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return fmt.Errorf("%s does not answer: %w: %s", p.name, err, p.lastOutput())
		}
	}
}

// once runs one request on a connection of its own.
func once(ctx context.Context, s server, r request) error {
	c, err := dial(ctx, s)
	if err != nil {
		return err
	}
	defer c.endWith(ctx)()
	return errors.Join(c.do(r), c.unbind())
}

// sleep waits; false: ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// find looks for a program on PATH and where the system's administrator has
// its own, which are not on everybody's PATH. It returns "" for none.
func find(name string) string {
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	return ""
}

// freePort finds a port on 127.0.0.1 below the ephemeral ones, which the load's
// own connections occupy by the thousand.
func freePort(from int) (int, error) {
	const ephemeral = 32768
	for port := from; port < ephemeral; port++ {
		l, err := net.Listen("tcp", local(port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port from %d to %d", from, ephemeral-1)
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
