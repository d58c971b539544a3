package adsim

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jimlambrt/gldap"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// An inner is the gldap server behind the front. It listens on loopback without
// TLS, since gldap can neither take a connection nor a listener. A connection
// acts for the session whose token it presents first, and for nobody else.
type inner struct {
	dir    *Directory
	server *gldap.Server
	addr   string
	proof  string // shows the front that it talks to this server
	ended  chan error

	mu     sync.Mutex
	tokens map[string]*session // not yet presented
	owners map[int]*session    // by gldap's number of the connection
}

// innerTimeout bounds a request, which takes microseconds.
const innerTimeout = 30 * time.Second

func startInner(d *Directory) (*inner, error) {
	var errs []error
	for range 5 { // the free port that was found may be taken by another
		in, err := tryInner(d)
		if err == nil {
			return in, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("start gldap: %w", errors.Join(errs...))
}

func tryInner(d *Directory) (*inner, error) {
	in := &inner{dir: d, proof: token(), ended: make(chan error, 1), tokens: make(map[string]*session), owners: make(map[int]*session)}
	mux, err := in.routes()
	if err != nil {
		return nil, err
	}
	// A null logger, because at level debug gldap prints whole requests.
	in.server, err = gldap.NewServer(gldap.WithLogger(hclog.NewNullLogger()), gldap.WithOnClose(in.forget))
	if err == nil {
		err = in.server.Router(mux)
	}
	if err == nil {
		in.addr, err = freePort()
	}
	if err != nil {
		return nil, err
	}
	go func() { in.ended <- in.server.Run(in.addr) }()
	if err := in.ready(); err != nil {
		return nil, errors.Join(err, in.server.Stop())
	}
	return in, nil
}

// freePort finds a port, since gldap does not tell which it got for port 0.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ready waits until the server answers: it has no way to say so itself.
func (in *inner) ready() error {
	deadline := time.Now().Add(innerTimeout)
	for {
		c, err := in.dial(new(session))
		if err == nil {
			c.close()
			return nil
		}
		select {
		case ended := <-in.ended:
			return errors.Join(errors.New("gldap ended"), ended)
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

func (in *inner) close() error {
	return errors.Join(in.server.Stop(), <-in.ended)
}

func token() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// An innerConn is a session's connection to gldap.
type innerConn struct {
	conn   net.Conn
	reader *ldapwire.Reader
}

// dial connects a session.
func (in *inner) dial(s *session) (*innerConn, error) {
	t := token()
	in.mu.Lock()
	in.tokens[t] = s
	in.mu.Unlock()
	defer func() {
		in.mu.Lock()
		delete(in.tokens, t)
		in.mu.Unlock()
	}()
	conn, err := net.DialTimeout("tcp", in.addr, innerTimeout)
	if err != nil {
		return nil, err
	}
	c := &innerConn{conn: conn, reader: ldapwire.NewReader(conn, ldapwire.DefaultMaxMessage)}
	hello, err := ldapwire.ParseMessage(ldapwire.AppendBindRequest(nil, 1, t, nil))
	if err == nil {
		err = c.greet(hello, in.proof)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *innerConn) greet(hello ldapwire.Message, proof string) error {
	answer, err := c.roundTrip(hello)
	if err != nil {
		return err
	}
	m, err := ldapwire.ParseMessage(answer)
	if err != nil {
		return err
	}
	r, err := ldapwire.ParseResult(m.Body)
	if err != nil {
		return err
	}
	if r.Code != ldapwire.ResultSuccess || string(r.Diagnostic) != proof {
		return errors.New("greet gldap: another server has its port")
	}
	return nil
}

// roundTrip sends a request and collects all that answers it.
func (c *innerConn) roundTrip(m ldapwire.Message) (answer []byte, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(innerTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(m.Raw); err != nil {
		return nil, err
	}
	for {
		r, err := c.reader.Next()
		if err != nil {
			return nil, err
		}
		if r.ID != m.ID {
			return nil, fmt.Errorf("answer to message %d, want %d", r.ID, m.ID)
		}
		answer = append(answer, r.Raw...)
		if r.Op == m.Op.Response() {
			return answer, nil
		}
	}
}

func (c *innerConn) close() { _ = c.conn.Close() }

// owner is the session a request of gldap's belongs to.
func (in *inner) owner(r *gldap.Request) *session {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.owners[r.ConnectionID()]
}

// claim makes a connection that of the session with the token.
func (in *inner) claim(r *gldap.Request, token string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	s, ok := in.tokens[token]
	if ok {
		delete(in.tokens, token)
		in.owners[r.ConnectionID()] = s
	}
	return ok
}

func (in *inner) forget(connection int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.owners, connection)
}
