// Package netwait tells the reader of a connection when it is about to wait.
//
// A relay gathers what it has to send and sends it when there is nothing more
// to gather: when its next read would block. Neither crypto/tls nor bufio can
// say that: a TLS connection hands over one record per Read, with the next one
// perhaps already in memory, or in the socket. A [Conn] lies below the TLS
// connection, is asked for bytes only when TLS has none left, and calls back
// when the socket has none either. Flushing there instead of after each record
// saves the relay most of its writes, which are half of its CPU time.
//
// The callback runs inside the poller's own read attempt (syscall.RawConn), so
// it costs no system call: the first attempt fails with EAGAIN, the callback
// runs, and the goroutine is parked; data that arrives in between wakes it at
// once. It must not read from the same connection, and a Close of it waits for
// the callback to return, so whoever closes must first make sure that the
// callback cannot block (a deadline in the past does).
package netwait

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is a TCP connection with a callback. One goroutine may read at a time.
type Conn struct {
	net.Conn
	raw    syscall.RawConn // nil: the connection has no descriptor of its own
	onWait func()

	// State of one Read, here so that it allocates nothing.
	buf    []byte
	n      int
	err    error
	waited bool
	try    func(fd uintptr) bool
}

// New wraps conn. One that is not a socket (a pipe of a test) works too; the
// callback then runs before every read.
func New(conn net.Conn) *Conn {
	c := &Conn{Conn: conn}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	c.try = c.attempt
	return c
}

// SyscallConn gives the socket, for who wants to look whether the peer has
// closed it.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.raw == nil {
		return nil, errors.ErrUnsupported
	}
	return c.raw, nil
}

// OnWait sets the callback; nil: none. It must not be called during a Read.
func (c *Conn) OnWait(f func()) { c.onWait = f }

// Read reads what there is, or runs the callback once and waits.
func (c *Conn) Read(b []byte) (int, error) {
	if c.onWait == nil {
		return c.Conn.Read(b)
	}
	if c.raw == nil || len(b) == 0 {
		c.onWait()
		return c.Conn.Read(b)
	}
	c.buf, c.n, c.err, c.waited = b, 0, nil, false
	err := c.raw.Read(c.try)
	c.buf = nil
	switch {
	case err != nil:
		return 0, err
	case c.err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", c.err)}
	case c.n == 0:
		return 0, io.EOF
	}
	return c.n, nil
}

// attempt is one try of the poller: false parks the goroutine until the
// socket is readable.
func (c *Conn) attempt(fd uintptr) bool {
	for {
		n, err := syscall.Read(int(fd), c.buf)
		switch {
		case err == nil:
			c.n = n
			return true
		case errors.Is(err, syscall.EINTR):
		case !errors.Is(err, syscall.EAGAIN):
			c.err = err
			return true
		default:
			if !c.waited {
				c.waited = true
				c.onWait()
			}
			return false
		}
	}
}

// Wait returns when there is something to read, or the deadline has passed, or
// the connection ended: it is for who holds no buffer while nothing comes. A
// TLS connection above must have been read until it had nothing more, or Wait
// may wait for what it already holds.
func (c *Conn) Wait() error {
	if c.raw == nil {
		return nil
	}
	var one [1]byte
	return c.raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR)
	})
}

// Alive reports whether an idle connection is still open and silent: a peer
// that closed it, or sent something unasked, makes it false.
func (c *Conn) Alive() bool {
	if c.raw == nil {
		return true
	}
	alive := false
	var one [1]byte
	err := c.raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		alive = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && alive
}

// HungUp reports whether the peer has closed the connection, or at least its
// own side of it, or the connection broke. It takes nothing, so it sees the end
// behind what was not read yet, and may be called while nobody reads.
func (c *Conn) HungUp() bool {
	if c.raw == nil {
		return false
	}
	hungUp := false
	err := c.raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} // POLLHUP and POLLERR need no asking
		n, err := unix.Poll(fds, 0)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll(fds, 0)
		}
		hungUp = n > 0
	})
	return err != nil || hungUp
}
