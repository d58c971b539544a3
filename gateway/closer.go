package gateway

import (
	"net"
	"sync"
)

// closer lets another goroutine than the owner close the present connection.
type closer struct {
	mu     sync.Mutex
	conn   net.Conn // guarded by mu
	closed bool     // guarded by mu
}

// set makes conn the present one; after close it is closed at once.
func (c *closer) set(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	if c.closed {
		_ = conn.Close()
	}
}

func (c *closer) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
}

func (c *closer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.conn != nil {
		_ = c.conn.Close()
	}
}
