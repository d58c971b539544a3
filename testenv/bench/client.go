package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// server is where a client connects to.
type server struct {
	addr string
	tls  *tls.Config
}

// connectTimeout bounds TCP connect and TLS handshake; a storm of them queues.
const connectTimeout = 30 * time.Second

// maxAnswer bounds one message of the server, in bytes.
const maxAnswer = 1 << 20

// client is one LDAP session of the load, for one goroutine.
type client struct {
	conn  net.Conn
	in    *ldapwire.Reader
	slots []slot // requests outstanding; a message ID's slot is ID % len(slots)
	out   []byte
}

// slot is a request that awaits its answer.
type slot struct {
	id      int32
	at      time.Time
	entries int // seen so far
}

// dial connects. A canceled ctx closes the connection, also later.
func dial(ctx context.Context, s server) (*client, error) {
	dialing, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	d := tls.Dialer{Config: s.tls}
	conn, err := d.DialContext(dialing, "tcp", s.addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return newClient(conn), nil
}

func newClient(conn net.Conn) *client {
	return &client{conn: conn, in: ldapwire.NewReader(conn, maxAnswer)}
}

// endWith closes the connection when ctx ends, which ends whatever uses it.
// The result undoes that.
func (c *client) endWith(ctx context.Context) (undo func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.conn.Close() })
}

// unbind ends the session as a client does (RFC 4511 section 4.3).
func (c *client) unbind() error {
	_, err := c.conn.Write(ldapwire.AppendUnbindRequest(c.out[:0], firstID))
	return errors.Join(err, c.conn.Close())
}

// do sends one request and reads its answer.
func (c *client) do(r request) error {
	return c.exchange(r, 1, func(time.Duration) bool { return false }, func() {})
}

// exchange keeps depth requests outstanding. It tells done how long each took,
// which answers whether to send another, and entry of each search entry. Like
// a client with an event loop it reads everything that has arrived before it
// writes again, all new requests at once.
func (c *client) exchange(r request, depth int, done func(time.Duration) bool, entry func()) error {
	if len(c.slots) != depth {
		c.slots = make([]slot, depth)
		for k := range c.slots {
			c.slots[k].id = slotID(k, depth) - int32(depth)
		}
	}
	c.out = c.out[:0]
	for k := range c.slots {
		c.queue(r, &c.slots[k])
	}
	for outstanding := depth; outstanding > 0; {
		if len(c.out) > 0 && !c.in.Ready() {
			if _, err := c.conn.Write(c.out); err != nil {
				return fmt.Errorf("send: %w", err)
			}
			c.out = c.out[:0]
		}
		s, final, err := c.receive(r)
		switch {
		case err != nil:
			return err
		case !final:
			entry()
		case done(time.Since(s.at)):
			c.queue(r, s)
		default:
			outstanding--
			s.at = time.Time{}
		}
	}
	return nil
}

// queue puts the request of a slot on its way, under the slot's next ID.
func (c *client) queue(r request, s *slot) {
	depth := len(c.slots)
	s.id += int32(depth)
	if s.id > lastID {
		s.id = slotID(int(s.id)%depth, depth)
	}
	s.at, s.entries = time.Now(), 0
	c.out = r.appendTo(c.out, s.id)
}

// slotID is the first message ID of slot k: not below firstID, and k modulo
// depth.
func slotID(k, depth int) int32 { return int32((firstID+depth-1)/depth*depth + k) }

// receive reads one message and checks it against what the request must give.
func (c *client) receive(r request) (s *slot, final bool, err error) {
	msg, err := c.in.Next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the server closed the connection")
		}
		return nil, false, fmt.Errorf("receive: %w", err)
	}
	if msg.ID == 0 {
		return nil, false, fmt.Errorf("receive: unsolicited notification: %s", explain(msg.Body))
	}
	s = &c.slots[int(msg.ID)%len(c.slots)]
	if s.id != msg.ID || s.at.IsZero() {
		return nil, false, fmt.Errorf("receive: answer to message ID %d, which is not outstanding", msg.ID)
	}
	if msg.Op == ldapwire.OpSearchResultEntry {
		s.entries++
		return s, false, nil
	}
	if msg.Op != r.final {
		return nil, false, fmt.Errorf("receive: %v, want %v", msg.Op, r.final)
	}
	res, err := ldapwire.ParseResult(msg.Body)
	if err != nil {
		return nil, false, fmt.Errorf("receive: %w", err)
	}
	if res.Code != ldapwire.ResultSuccess {
		return nil, false, fmt.Errorf("receive: %v: %s", msg.Op, explain(msg.Body))
	}
	if s.entries != r.entries {
		return nil, false, fmt.Errorf("receive: %d entries, want %d", s.entries, r.entries)
	}
	return s, true, nil
}

// explain prints an LDAPResult for people.
func explain(body []byte) string {
	res, err := ldapwire.ParseResult(body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%v (%d) %q", res.Code, res.Code, res.Diagnostic)
}
