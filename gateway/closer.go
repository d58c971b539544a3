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

// halt makes everything fail that waits on the connection.
func (c *closer) halt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.haltLocked()
}

func (c *closer) haltLocked() {
	if c.conn != nil {
		c.out.stop()
		_ = c.conn.SetDeadline(time.Unix(1, 0))
	}
}

func (c *closer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.closeLocked()
}

func (c *closer) closeLocked() {
	c.haltLocked()
	if c.conn != nil {
		_ = c.conn.Close()
	}
}
