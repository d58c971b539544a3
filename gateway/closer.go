package gateway

import (
	"net"
	"sync"
	"time"
)

// closer lets another goroutine than the owner close the present connection,
// even while its owner is stuck in a write to it.
type closer struct {
	mu     sync.Mutex
	conn   net.Conn     // guarded by mu
	out    *frameWriter // what writes to conn; guarded by mu
	closed bool         // guarded by mu
}

// set makes conn the present one; after close it is closed at once.
func (c *closer) set(conn net.Conn, out *frameWriter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.out = conn, out
	if c.closed {
		c.closeLocked()
	}
}

func (c *closer) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.out = nil, nil
}

func (c *closer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.conn != nil {
		c.closeLocked()
	}
}

// closeLocked stops the writer before it closes: reads call flushes (see
// package netwait), and Close waits for a read to return.
func (c *closer) closeLocked() {
	c.out.stop()
	_ = c.conn.SetDeadline(time.Unix(1, 0))
	_ = c.conn.Close()
}
