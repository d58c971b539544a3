package main

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// Of the open files that are left to the rest (see reservedFiles) the delegate
// takes at most half: whoever can reach it could else take those of the store
// and of the gateway.
const (
	delegateConnections = 256
	// delegateStreams bounds the requests of one HTTP/2 connection at a time:
	// each holds a body of 16 KiB.
	delegateStreams = 25
)

// delegateConnectionsFor is how many connections the delegate may have at a time.
func delegateConnectionsFor(files uint64) int {
	return int(max(2, min(delegateConnections, files/8)))
}

// openFiles is the limit of them; 0: not known.
func openFiles() uint64 {
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) != nil {
		return 0
	}
	return files.Cur
}

// crowd is a listener with a bound on its connections, and half of that on those
// of one client address (an IPv6 /64). When there are too many, the one is ended
// on which nothing has been asked for longest; when all are busy, the new one.
type crowd struct {
	net.Listener
	most int

	mu   sync.Mutex
	idle *list.List           // of *visitor, the longest idle first; guarded by mu
	open int                  // guarded by mu
	from map[netip.Prefix]int // guarded by mu
}

// visitor is one of its connections.
type visitor struct {
	net.Conn
	crowd *crowd
	from  netip.Prefix
	idle  *list.Element // nil: busy; guarded by crowd.mu
	gone  bool          // guarded by crowd.mu
}

func newCrowd(l net.Listener, most int) *crowd {
	return &crowd{Listener: l, most: most, idle: list.New(), from: make(map[netip.Prefix]int)}
}

// Accept gives the next connection that there is room for.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		v := &visitor{Conn: conn, crowd: c, from: networkOf(conn.RemoteAddr())}
		if c.admit(v) {
			return v, nil
		}
		_ = conn.Close()
	}
}

func (c *crowd) admit(v *visitor) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	perAddress := max(1, c.most/2)
	if c.from[v.from] >= perAddress && !c.evict(func(other *visitor) bool { return other.from == v.from }) ||
		c.open >= c.most && !c.evict(func(*visitor) bool { return true }) {
		return false
	}
	c.open++
	c.from[v.from]++
	v.idle = c.idle.PushBack(v)
	return true
}

// evict ends the longest idle connection of a kind; the caller holds mu.
func (c *crowd) evict(of func(*visitor) bool) bool {
	for e := c.idle.Front(); e != nil; e = e.Next() {
		if v := e.Value.(*visitor); of(v) {
			c.leave(v)
			_ = v.Conn.Close()
			return true
		}
	}
	return false
}

// leave takes a connection out of the count, once; the caller holds mu.
func (c *crowd) leave(v *visitor) {
	if v.gone {
		return
	}
	v.gone = true
	if v.idle != nil {
		c.idle.Remove(v.idle)
		v.idle = nil
	}
	c.open--
	if c.from[v.from]--; c.from[v.from] == 0 {
		delete(c.from, v.from)
	}
}

// state follows http.Server.ConnState.
func (c *crowd) state(conn net.Conn, now http.ConnState) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	v, ok := conn.(*visitor)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case v.gone:
	case now == http.StateActive && v.idle != nil:
		c.idle.Remove(v.idle)
		v.idle = nil
	case now == http.StateIdle && v.idle == nil:
		v.idle = c.idle.PushBack(v)
	}
}

// Close ends the connection.
func (v *visitor) Close() error {
	v.crowd.mu.Lock()
	v.crowd.leave(v)
	v.crowd.mu.Unlock()
	return v.Conn.Close()
}

// networkOf is the client's network: one host usually has a whole IPv6 /64.
func networkOf(address net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := at.Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits)
	return prefix
}
