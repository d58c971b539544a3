package dc

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

const (
	// maxRootDSE bounds the answer to a health read, in bytes. It is some
	// hundreds; a peer that sends more is not a domain controller.
	maxRootDSE = 64 << 10
	// capabilityReadOnly is LDAP_CAP_ACTIVE_DIRECTORY_PARTIAL_SECRETS_OID, of
	// read-only domain controllers (MS-ADTS 3.1.1.3.4.3).
	capabilityReadOnly = "1.2.840.113556.1.4.1920"
)

var (
	errNotSynchronized = errors.New("has not finished its first synchronisation (isSynchronized is FALSE)")
	errClosed          = errors.New("closed the connection for health reads")
	errEnded           = errors.New("ended the connection for health reads with a notice")
	errNoRootDSE       = errors.New("answered the health read without a root DSE")
)

// rootDSE is what a health read finds out.
type rootDSE struct {
	seen            bool
	notSynchronized bool
	readOnly        bool
}

// entry reads a search result entry.
func (r *rootDSE) entry(body []byte) error {
	e, err := ldapwire.ParseSearchEntry(body)
	if err != nil {
		return err
	}
	r.seen = true
	for attr, ok := e.Next(); ok; attr, ok = e.Next() {
		sync := strings.EqualFold(string(attr.Type), "isSynchronized")
		caps := strings.EqualFold(string(attr.Type), "supportedCapabilities")
		for value, ok := attr.Values.Next(); ok; value, ok = attr.Values.Next() {
			r.notSynchronized = r.notSynchronized || sync && bytes.EqualFold(value, []byte("FALSE"))
			r.readOnly = r.readOnly || caps && string(value) == capabilityReadOnly
		}
	}
	return nil
}

// done judges the end of the search.
func (r *rootDSE) done(body []byte) error {
	res, err := ldapwire.ParseResult(body)
	switch {
	case err != nil:
		return err
	case res.Code != ldapwire.ResultSuccess:
		return fmt.Errorf("answered the health read with %v", res.Code)
	case !r.seen:
		return errNoRootDSE
	case r.notSynchronized:
		return errNotSynchronized
	}
	return nil
}

// A link is a connection for health reads. One goroutine reads from it, so
// that its end is noticed when it comes.
type link struct {
	conn *tls.Conn
	made time.Time
	id   int32 // of the last request
	lost bool  // a request could not be sent

	answers chan answer
	quit    chan struct{} // closed by close: nobody takes answers
	done    chan struct{} // closed by the reader when it ends, after err
	err     error
}

type answer struct {
	id   int32
	root rootDSE
	err  error
}

func newLink(conn *tls.Conn) *link {
	l := &link{
		conn: conn, made: time.Now(),
		answers: make(chan answer), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go l.read()
	return l
}

// read takes what the controller sends until the connection ends.
func (l *link) read() {
	defer close(l.done)
	in := ldapwire.NewReader(l.conn, maxRootDSE)
	var root rootDSE
	for {
		msg, err := in.Next()
		if err != nil {
			l.err = err
			if errors.Is(err, io.EOF) {
				l.err = errClosed
			}
			return
		}
		if msg.ID == 0 { // RFC 4511 section 4.4.1
			l.err = errEnded
			return
		}
		a := answer{id: msg.ID}
		switch msg.Op {
		case ldapwire.OpSearchResultEntry:
			if a.err = root.entry(msg.Body); a.err == nil {
				continue
			}
		case ldapwire.OpSearchResultDone:
			a.err = root.done(msg.Body)
		default:
			a.err = fmt.Errorf("answered the health read with a %v", msg.Op)
		}
		a.root, root = root, rootDSE{}
		select {
		case l.answers <- a:
		case <-l.quit:
			return
		}
	}
}

// ask reads the root DSE once (RFC 4512 section 5.1).
func (l *link) ask(ctx context.Context, timeout time.Duration) (rootDSE, error) {
	l.id = l.id%ldapwire.MaxMessageID + 1
	frame := ldapwire.AppendSearchRequest(nil, l.id, ldapwire.SearchParams{
		Scope: ldapwire.ScopeBase, SizeLimit: 1,
		Attributes: []string{"isSynchronized", "supportedCapabilities"},
	})
	end := time.NewTimer(timeout)
	defer end.Stop()
	_ = l.conn.SetWriteDeadline(time.Now().Add(timeout))
	if _, err := l.conn.Write(frame); err != nil {
		l.lost = !errors.Is(err, os.ErrDeadlineExceeded)
		return rootDSE{}, fmt.Errorf("send the health read: %w", err)
	}
	for {
		select {
		case a := <-l.answers:
			if a.id == l.id {
				return a.root, a.err
			}
		case <-l.done:
			return rootDSE{}, l.err
		case <-end.C:
			return rootDSE{}, fmt.Errorf("did not answer the health read within %v", timeout)
		case <-ctx.Done():
			return rootDSE{}, ctx.Err()
		}
	}
}

// broken reports whether the connection has ended.
func (l *link) broken() bool {
	select {
	case <-l.done:
		return true
	default:
		return l.lost
	}
}

// close ends the connection and waits for its reader. polite tells the
// controller (RFC 4511 section 4.3), which one that hangs does not deserve.
func (l *link) close(polite bool) {
	close(l.quit)
	if polite {
		_ = l.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = l.conn.Write(ldapwire.AppendUnbindRequest(nil, l.id%ldapwire.MaxMessageID+1))
	}
	_ = l.conn.NetConn().Close()
	<-l.done
}
