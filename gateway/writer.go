package gateway

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// frameWriter sends whole messages to one peer. Messages that may wait for
// company are gathered and leave together, so that a burst costs one TLS
// record and one system call. No buffer is held while nothing waits.
type frameWriter struct {
	conn net.Conn

	stopped atomic.Bool // nothing may wait any more

	mu      sync.Mutex
	timeout time.Duration // guarded by mu
	until   time.Time     // the deadline that conn has; guarded by mu
	buf     *[]byte       // waiting, from the pool; nil while nothing waits; guarded by mu
	err     error         // the first failure sticks: a later message must not follow half of an earlier one
}

// gather is how many bytes wait at most; a TLS record holds 16 KiB.
const gather = 16 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, gather); return &b }}

func newFrameWriter(conn net.Conn, timeout time.Duration) *frameWriter {
	return &frameWriter{conn: conn, timeout: timeout}
}

// write sends frame after everything that waits; without now it may wait for
// flush.
func (w *frameWriter) write(frame []byte, now bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.buf != nil && len(*w.buf)+len(frame) > gather {
		if err := w.flushLocked(); err != nil {
			return err
		}
	}
	if w.buf == nil {
		if now || len(frame) > gather {
			return w.send(frame)
		}
		w.buf = buffers.Get().(*[]byte)
	}
	*w.buf = append(*w.buf, frame...)
	if now {
		return w.flushLocked()
	}
	return nil
}

// last sends a frame within a time of its own; nothing can be sent after it
// failed.
func (w *frameWriter) last(frame []byte, within time.Duration) {
	w.mu.Lock()
	w.timeout, w.until = within, time.Time{}
	w.mu.Unlock()
	_ = w.write(frame, true)
}

// flush sends what waits.
func (w *frameWriter) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	return w.flushLocked()
}

func (w *frameWriter) flushLocked() error {
	if w.buf == nil {
		return nil
	}
	buf := w.buf
	w.buf = nil
	err := w.send(*buf)
	clear(*buf) // a request may have carried a password
	*buf = (*buf)[:0]
	buffers.Put(buf)
	return err
}

// send writes within the timeout, or three quarters of it: a deadline that is
// still far away is not set again.
func (w *frameWriter) send(b []byte) error {
	if now := time.Now(); w.until.Sub(now) < w.timeout*3/4 {
		w.until = now.Add(w.timeout)
		_ = w.conn.SetWriteDeadline(w.until)
	}
	if w.stopped.Load() { // stop may have come before the deadline was set
		w.err = net.ErrClosed
		return w.err
	}
	if _, err := w.conn.Write(b); err != nil {
		w.err = err
		return err
	}
	return nil
}

// stop makes a write that waits fail, and every later one. It is the one
// method for other goroutines than those that write.
func (w *frameWriter) stop() {
	w.stopped.Store(true)
	_ = w.conn.SetWriteDeadline(time.Unix(1, 0))
}
