package delegate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/secret"
)

// errNotSent: the directory was not asked. errUnanswered: it may have been, and
// nothing is known.
var (
	errNotSent    = errors.New("not sent")
	errUnanswered = errors.New("no answer")
)

// maxAnswer bounds one message of a directory, in bytes.
const maxAnswer = 4 << 20

// ldapConn is a connection with one request on its way at a time.
type ldapConn struct {
	tls    *tls.Conn
	in     *ldapwire.Reader
	dc     string
	id     int32
	broken bool
}

func newConn(ctx context.Context, dial func(context.Context) (*tls.Conn, string, error)) (*ldapConn, error) {
	raw, name, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	return &ldapConn{tls: raw, in: ldapwire.NewReader(raw, maxAnswer), dc: name}, nil
}

// close ends the connection at once; a directory takes that for an unbind.
func (c *ldapConn) close() { _ = c.tls.NetConn().Close() }

// do sends a request and gives its final answer, which is valid until the next
// one; each is given those before it. The frame is wiped.
func (c *ldapConn) do(ctx context.Context, frame []byte, each func(ldapwire.Message)) (ldapwire.Message, error) {
	defer clear(frame)
	if err := ctx.Err(); err != nil {
		return ldapwire.Message{}, fmt.Errorf("%w: %w", errNotSent, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.tls.NetConn().SetDeadline(time.Unix(1, 0)) })
	defer stop()
	msg, err := c.exchange(frame, each)
	if err != nil {
		c.broken = true
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
	return msg, err
}

func (c *ldapConn) exchange(frame []byte, each func(ldapwire.Message)) (ldapwire.Message, error) {
	if _, err := c.tls.Write(frame); err != nil {
		return ldapwire.Message{}, fmt.Errorf("%w: %w", errUnanswered, err)
	}
	for {
		msg, err := c.in.Next()
		switch {
		case err != nil:
			return msg, fmt.Errorf("%w: %w", errUnanswered, err)
		case msg.ID == 0:
			return msg, fmt.Errorf("%w: the directory closes the connection", errUnanswered)
		case msg.ID != c.id:
			return msg, fmt.Errorf("%w: an answer to another request came", errUnanswered)
		case msg.Op.IsFinalResponse():
			return msg, nil
		case each != nil:
			each(msg)
		}
	}
}

func (c *ldapConn) next() int32 {
	c.id++
	return c.id
}

// bind makes a simple bind. An error means that there is no answer.
func (c *ldapConn) bind(ctx context.Context, name string, password secret.Bytes) (ldapwire.Result, error) {
	if password.IsEmpty() { // RFC 4513 section 5.1.2: it would succeed and prove nothing
		return ldapwire.Result{}, fmt.Errorf("%w: no password", errNotSent)
	}
	msg, err := c.do(ctx, ldapwire.AppendBindRequest(nil, c.next(), name, password.Expose()), nil)
	if err != nil {
		return ldapwire.Result{}, err
	}
	res, _, _, err := ldapwire.ParseBindResponse(msg.Body)
	if err != nil || msg.Op != ldapwire.OpBindResponse {
		c.broken = true
		return res, fmt.Errorf("%w: a bind was answered with something else", errUnanswered)
	}
	return keep(res), nil
}

// keep copies what is used of a result, which lies in the connection's buffer.
func keep(res ldapwire.Result) ldapwire.Result {
	return ldapwire.Result{Code: res.Code, Diagnostic: slices.Clone(res.Diagnostic)}
}

// result is the answer to any other request.
func (c *ldapConn) result(ctx context.Context, frame []byte, want ldapwire.Op, each func(ldapwire.Message)) (ldapwire.Result, error) {
	msg, err := c.do(ctx, frame, each)
	if err != nil {
		return ldapwire.Result{}, err
	}
	res, err := ldapwire.ParseResult(msg.Body)
	if err != nil || msg.Op != want {
		c.broken = true
		return res, fmt.Errorf("%w: a request was answered with something else", errUnanswered)
	}
	return keep(res), nil
}

// entry is what was read of one: values by attribute in lower case.
type entry struct {
	dn     string
	values map[string][]string
}

func (e entry) get(name string) string {
	if v := e.values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// search reads entries; more than the limit are an error of the directory's.
func (c *ldapConn) search(ctx context.Context, p ldapwire.SearchParams) ([]entry, error) {
	var found []entry
	res, err := c.result(ctx, ldapwire.AppendSearchRequest(nil, c.next(), p), ldapwire.OpSearchResultDone, func(msg ldapwire.Message) {
		if msg.Op != ldapwire.OpSearchResultEntry {
			return
		}
		if e, err := ldapwire.ParseSearchEntry(msg.Body); err == nil {
			found = append(found, readEntry(e))
		}
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("search %q: %w", p.BaseDN, err)
	case res.Code == ldapwire.ResultNoSuchObject, res.Code == ldapwire.ResultInvalidDNSyntax:
		return nil, nil
	case res.Code == ldapwire.ResultSizeLimitExceeded && len(found) > 1, res.Code == ldapwire.ResultSuccess:
		return found, nil
	}
	return nil, fmt.Errorf("search %q: %w: %s", p.BaseDN, errRefused, res.Code)
}

// errRefused: the directory answered, and did not do it.
var errRefused = errors.New("refused")

func readEntry(e ldapwire.SearchEntry) entry {
	out := entry{dn: string(e.DN), values: make(map[string][]string)}
	for attr, ok := e.Next(); ok; attr, ok = e.Next() {
		name := strings.ToLower(string(attr.Type))
		for v, ok := attr.Values.Next(); ok; v, ok = attr.Values.Next() {
			out.values[name] = append(out.values[name], string(v))
		}
	}
	return out
}

// pool keeps idle connections of one kind.
type pool struct {
	max  int
	mu   sync.Mutex
	idle []*ldapConn // guarded by mu
	shut bool        // guarded by mu
}

// take gives an idle connection; nil: there is none.
func (p *pool) take() *ldapConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	c := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return c
}

// give takes a connection back, or ends it.
func (p *pool) give(c *ldapConn) {
	p.mu.Lock()
	keep := !c.broken && !p.shut && len(p.idle) < p.max
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		c.close()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.shut = nil, true
	p.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// gone reports whether the peer has said something, or goodbye, on a connection
// on which nothing is asked.
func (c *ldapConn) gone() bool {
	if c.in.Buffered() > 0 {
		return true
	}
	peer, ok := c.tls.NetConn().(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := peer.SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = !errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err != nil || gone
}
